package idempotency

import "time"

// Kinds of entities.
const (
	KindTransaction = "transaction" // confirm, capture, void, refund
	KindOrder       = "order"       // request, preapproved-pay
	KindKey         = "key"         // preapproved-expire
)

// Entity is what LINE Pay serialises on. All four parts are needed; none of them reaches Redis in the clear.
type Entity struct {
	Host      string // of the API, with the port if it has one, in lower case: sandbox and production never meet
	ChannelID string // LINE Pay's channel id
	Kind      string // KindTransaction, KindOrder or KindKey
	ID        string // the transaction id, order id or regKey
}

// Command names a command for ever, as CloudEvents do.
type Command struct {
	Source string `json:"source"`
	ID     string `json:"id"`
}

// ClaimRequest asks for one operation on one entity.
type ClaimRequest struct {
	Entity    Entity
	Operation string  // the operation key; what stands before its first colon is the operation
	Command   Command // who asks
	// Fingerprint of the command's data ([Fingerprint]). Only a probe may leave it empty; then it agrees with every other.
	Fingerprint string
	// Sequence of the message in the stream, from 1. It orders those who wait.
	Sequence uint64
	// Redelivered says that JetStream has delivered the message before. Then a missing record means that Redis forgot. A probe of some
	// other command's operation leaves it false: this message has no business there.
	Redelivered bool
	// Replay is the number of the replay this command comes from, 0 for none. A number higher than that of the refusal or parking on
	// record reopens the operation.
	Replay uint64
	// CallFor is how long the call may be under way: nothing is sent, or waited for, after the claim's time plus CallFor.
	CallFor time.Duration
	// Lease is how long the claim is held without a sign of life; longer than CallFor.
	Lease time.Duration
	// Place is how long a command that has to wait keeps its place in the queue, and one that has announced a retry is believed to come
	// back after its time: longer than the pause until it asks again, and than JetStream's AckWait, should a negative ack be lost.
	Place time.Duration
	// Probe says that the command will never be called (it is invalid or expired) and only asks whether it was called before, or that it
	// asks about another command's operation, to resolve it. Where it would be granted Fresh it is Rejected; what the command itself
	// had waiting is given up. A probe keeps no place in the queue and, unless it has to look up, waits for no other operation. CallFor
	// and Place may be 0.
	Probe bool
	// Memory is what the claimant has made up for of what Redis has forgotten; nil where it does not look at that. While a bucket is in
	// quarantine, what would be Fresh is InDoubt for a command that was delivered or replayed before, and for one that has a sibling.
	Memory *Memory
	// Errand is what it takes to look the operation up when its command is not at hand, in UTF-8, without secrets. It is kept while the
	// operation is open, and given to a probe: see Claim.Errand.
	Errand []byte
	// Sibling says that another command of the operation had been delivered when Memory was looked at, and was not done.
	Sibling bool
	// Alone says that the claimant's process has nothing else in hand, and Only that no other suspect waits there: see Claim.Suspicion.
	Alone, Only bool
}

// Answer is what the guard says to a claim. The zero value is no answer at all.
type Answer int

// The answers. Only Fresh and InDoubt grant a claim, with a token and a lease; a probe may be granted InDoubt, never Fresh.
const (
	_ Answer = iota
	// Fresh: never tried, and no witness says otherwise. Call.
	Fresh
	// InDoubt: a call may have happened. Look up; call only on proof that nothing happened.
	InDoubt
	// Done: this same command carried it out. Publish the stored outcome again.
	Done
	// Duplicate: another command with the same fingerprint carried it out.
	Duplicate
	// RefusedBefore: this same command was definitely refused. Publish the stored refusal again.
	RefusedBefore
	// Conflict: the operation is known with another fingerprint, and was not refused.
	Conflict
	// Busy: somebody else holds it or comes before. Wait, without using up the retry budget.
	Busy
	// Parked: this same command was parked, and has not been replayed since. Dead-letter it again.
	Parked
	// Rejected: a probe that need not look up; nothing was granted, nor will be to this command.
	Rejected
)

// String gives the answer in lower-case words.
func (a Answer) String() string {
	switch a {
	case Fresh:
		return "fresh"
	case InDoubt:
		return "in doubt"
	case Done:
		return "done"
	case Duplicate:
		return "duplicate"
	case RefusedBefore:
		return "refused before"
	case Conflict:
		return "conflict"
	case Busy:
		return "busy"
	case Parked:
		return "parked"
	case Rejected:
		return "rejected"
	default:
		return "none"
	}
}

// Reasons given with an answer. Those ending in a colon or a space are followed by a name.
const (
	ReasonNew            = "never tried"                     // Fresh: there is no record, or one that only waited
	ReasonNotSent        = "not sent before"                 // Fresh: released without a call, or parked with no money moved
	ReasonFreed          = "refused before, another command" // Fresh: a definite refusal of another command freed it
	ReasonReopened       = "replay reopens"                  // Fresh: a replay of this command's own refusal or parking
	ReasonLapsed         = "lease lapsed"                    // InDoubt: the claimant gave no sign of life
	ReasonUnknown        = "outcome unknown"                 // InDoubt: released in doubt, or doubt from before
	ReasonParkedUnknown  = "parked with unknown outcome"     // InDoubt
	ReasonForgotten      = "redelivered without a record"    // InDoubt: Redis forgot
	ReasonReplay         = "replay without a record"         // InDoubt
	ReasonCautious       = "cautious"                        // InDoubt: Config.Cautious
	ReasonQuarantine     = "quarantine"                      // InDoubt: Redis' memory is not believed yet
	ReasonSettled        = "settled"                         // Done, Duplicate, RefusedBefore, Parked
	ReasonNever          = "never to be called"              // Rejected
	ReasonFingerprint    = "other fingerprint"               // Conflict
	ReasonClaimed        = "claimed"                         // Busy: this operation, by a claim whose lease has not lapsed
	ReasonOwnerRetries   = "its owner tries again"           // Busy: another command owns this open operation and will come back
	ReasonHeldPrefix     = "held by "                        // Busy: + operation key that holds the entity
	ReasonSequencePrefix = "behind sequence "                // Busy: + the lower sequence that waits
)

// Claim is the guard's answer and, where it grants, the right to act until Until. It is not safe for concurrent use.
type Claim struct {
	Answer Answer
	Reason string    // one of the Reason constants
	Token  string    // of the grant; what Extend, Settle and Release demand
	Now    time.Time // Redis' clock when it answered
	// Owner is the command that first claimed the operation. A claim in doubt is resolved in the owner's name.
	Owner Command
	// Outcome is what Settle stored: for Done, Duplicate, RefusedBefore, Parked, and for InDoubt of a parked operation.
	Outcome []byte
	// Calls made to LINE Pay, with the one that this claim intends when Fresh.
	Calls int
	// MaySendUntil is when the latest call must have been over, by Redis' clock. "It did not happen" counts only well after it.
	MaySendUntil time.Time
	// Spent of the retry budget so far.
	Spent time.Duration
	// Snapshot as stored by Extend; nil if there is none.
	Snapshot []byte
	// Owned are the effects (ids of refund transactions, say) of the other operations of this entity that are done, or parked and may be,
	// sorted.
	Owned []string
	// Holder is the operation key that stands in the way of a Busy claim.
	Holder string
	// Ahead is how many commands with a lower sequence wait for the entity, where Busy.
	Ahead int
	// Errand is what the owner left with its claim, where a probe is InDoubt; nil if nothing.
	Errand []byte
	// Suspicion is how far the operation is suspected of taking processes down. A claim that lapsed under a process that was not heard of again
	// adds 1, up to 2: other commands were in its hands, too. From then on, a claim that was Alone adds 1, and 2 if it was Only. A claim that is
	// given back or settled ends it.
	Suspicion int
	// Until is when the lease ends, where granted. Where Busy, when what stands in the way gives way: the end of the holder's lease, or
	// of its owner's time to come back, from when on anybody may resolve the holder; or the end of the other command's place.
	Until time.Time

	request ClaimRequest
	doubt   bool // a call may have happened, as of before the claim's own
	intends bool // the claim has a call of its own that no proof has disposed of
}

// Granted says whether the claim gives a right to act: to call when Fresh, to look up when InDoubt.
func (c *Claim) Granted() bool { return c.Token != "" && (c.Answer == Fresh || c.Answer == InDoubt) }

// Extension changes a granted claim.
type Extension struct {
	// CallFor and Lease count from now, as in ClaimRequest. A CallFor above 0 moves MaySendUntil to now plus CallFor, never back.
	CallFor, Lease time.Duration
	// Call says that a call beside those of Claim.Calls is intended; it needs a CallFor. Without Proven, a call this claim has made
	// before counts as one that may have happened.
	Call bool
	// Snapshot replaces the stored one; nil keeps it.
	Snapshot []byte
	// Proven says that a look-up has proved that nothing happened so far.
	Proven bool
}

// State is what an operation is settled as. The zero value is refused by Settle.
type State int

// The states.
const (
	_            State = iota
	StateDone          // carried out; remembered for Config.Retention
	StateRefused       // definitely refused, no money moved; frees the operation for other commands
	StateParked        // given up for a person to look at
)

// String gives the state in lower case.
func (s State) String() string {
	switch s {
	case StateDone:
		return "done"
	case StateRefused:
		return "refused"
	case StateParked:
		return "parked"
	default:
		return "none"
	}
}

// Settlement is how an operation ended.
type Settlement struct {
	State   State
	Outcome []byte // the event or dead letter, given back by later claims as it is
	// Effect is what this operation brought about at LINE Pay, or, parked with its money unknown, may have: such as the transaction id of a
	// refund. See Claim.Owned.
	Effect string
	// Command whose outcome it is; the zero value means the claim's Owner.
	Command Command
	// MoneyUnknown says of a parked operation that money may have moved: it stays in doubt and never expires.
	MoneyUnknown bool
	// Unsent says that the call which this claim intended was certainly not sent: it no longer counts among Claim.Calls.
	Unsent bool
	// Told: see Release.
	Told Answer
}

// Release gives a granted claim back without an outcome.
type Release struct {
	// Unknown says that a call may have happened. Without it, it is certain that the call this claim intended was not sent.
	Unknown bool
	// RetryAfter is when the claimant means to come back; until then, and a grace, the entity stays held.
	RetryAfter time.Duration
	// Spend counts against the retry budget.
	Spend time.Duration
	// Yield lets go of the entity and keeps the command's place in the queue: an earlier command, which has not been here yet, goes first.
	// An operation in doubt holds on all the same.
	Yield bool
	// Aside says that the claimant has not begun: it will come back alone. Without it, Claim.Suspicion starts anew.
	Aside bool
	// Told is what the claimant's command is answered for good, beside the owner whose operation it is: Rejected or Conflict. Its later claims
	// answer that, whatever becomes of the operation. Zero is no such answer.
	Told Answer
}
