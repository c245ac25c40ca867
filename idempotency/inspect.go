package idempotency

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Inspection is what the guard has on record of one entity at one moment, for people to look at. Nothing is decided by it: between looking
// and acting, a worker may have gone on. All times are Redis' clock.
type Inspection struct {
	Now     time.Time // in a cluster, of any one node
	Records []Record  // sorted by operation; none where the entity is not known, was forgotten or has expired
	Held    *Hold     // nil where no operation keeps the others out
	Waiters []Waiter  // those in the queue whose place has not lapsed, in their order
	Owned   []Effect  // sorted by operation
	Damaged []Damage  // what could not be read; the worker does not touch such an entity
}

// Standing is the state of a record.
type Standing string

// The standings.
const (
	StandingWaiting Standing = "waiting" // its command has only waited, or was answered without a claim
	StandingClaimed Standing = "claimed" // a worker has it, until Lease
	StandingOpen    Standing = "open"    // given back without an outcome; its owner comes back at Retry
	StandingParked  Standing = "parked"  // in the dead letters; where Doubt, money may have moved
	StandingDone    Standing = "done"    // carried out at LINE Pay
	StandingRefused Standing = "refused" // definitely refused; another command may try it again
)

// Record is one operation on the entity. What does not apply is zero.
type Record struct {
	Operation   string // the operation key
	Standing    Standing
	Owner       Command // who claimed it first, or did it; zero where nobody owns it any more
	Fingerprint string  // of the owner's data
	First       time.Time
	Claimed     time.Time // when it was claimed last
	Answer      string    // of that claim: fresh or in doubt
	Reason      string    // of that answer
	Lease       time.Time // when that claim lapses; of StandingClaimed alone
	// Calls made to LINE Pay, with the one that a running claim intends.
	Calls        int
	MaySendUntil time.Time // when the latest call must have been over
	// Doubt says that a call may have happened that nobody knows the outcome of. Why is what raised it.
	Doubt  bool
	Why    string
	Spent  time.Duration // of the retry budget
	Retry  time.Time     // when the owner means to come back; of StandingOpen alone
	Replay uint64        // highest replay number of the owner; 0 for none
	// Outcome is what the worker stored when the operation was done: its events. They may hold secrets, such as an issued key.
	Outcome   []byte
	Parked    *Answered  // the command that was parked last
	Refusals  []Answered // of commands that were refused, oldest first; the guard keeps a limited number
	Delivered []uint64   // stream sequences of the commands that were here, oldest first; the guard keeps a limited number
}

// Answered is a command that had its answer about an operation.
type Answered struct {
	Command Command
	Replay  uint64 // the replay that was answered; 0 for the command itself
	Outcome []byte // as stored by Settle; may hold secrets
}

// Hold is the operation that keeps the others of its entity out.
type Hold struct {
	Operation string
	Since     time.Time // when it was claimed last
	// Until is when its lease ends or its owner means to come back. From then on, and a grace that each claimant chooses, a command that
	// waits resolves it. Zero where its record is damaged: then a person has to look at it.
	Until time.Time
}

// Waiter is a command that keeps a place in the queue.
type Waiter struct {
	Sequence  uint64 // in the stream of commands
	Operation string // what it waits for
	Until     time.Time
}

// Effect is what an operation brought about at LINE Pay, or, parked with its money unknown, may have.
type Effect struct {
	Operation string
	Effect    string // such as the transaction id of a refund
}

// Damage is a part of the entity that cannot be read.
type Damage struct {
	Operation string // "" where it is not one operation's record
	Err       error  // wraps ErrRecord
}

// Inspect reads what is on record of an entity: one HGETALL, and the time. It changes nothing, neither a record nor its time to live. A
// record that cannot be read is listed as damaged, beside the others.
//
// Errors: an entity that breaks a rule; ErrUnavailable.
func (g *Guard) Inspect(ctx context.Context, entity Entity) (*Inspection, error) {
	if err := entity.validate(); err != nil {
		return nil, fmt.Errorf("inspect: %w", err)
	}
	_, key := entityKey(entity)
	fields, err := g.config.Redis.HGetAll(ctx, key).Result()
	if err != nil {
		return nil, unavailable("inspect", err)
	}
	now, err := g.Time(ctx)
	if err != nil {
		return nil, err
	}
	i := &Inspection{Now: now}
	for name, text := range fields {
		if operation, ok := strings.CutPrefix(name, "op:"); ok {
			i.addRecord(operation, text)
		}
	}
	i.addWaiters(fields["waiters"])
	i.addEffects(fields["owned"])
	slices.SortFunc(i.Records, func(a, b Record) int { return strings.Compare(a.Operation, b.Operation) })
	slices.SortFunc(i.Waiters, func(a, b Waiter) int { return cmp.Compare(a.Sequence, b.Sequence) })
	slices.SortFunc(i.Owned, func(a, b Effect) int { return strings.Compare(a.Operation, b.Operation) })
	slices.SortFunc(i.Damaged, func(a, b Damage) int { return strings.Compare(a.Operation, b.Operation) })
	i.Held = i.holder(fields["gate"])
	return i, nil
}

func (e Entity) validate() error {
	switch {
	case e.Host == "":
		return broken("Host", "empty", "it must be given")
	case e.ChannelID == "":
		return broken("ChannelID", "empty", "it must be given")
	case e.ID == "":
		return broken("ID", "empty", "it must be given")
	case !slices.Contains([]string{KindTransaction, KindOrder, KindKey}, e.Kind):
		return broken("Kind", strconv.Quote(e.Kind), "it must be transaction, order or key")
	}
	return nil
}

// layout is a record as the scripts write it; record.lua says what its members are.
type layout struct {
	Version int      `json:"v"`
	State   Standing `json:"st"`
	Own     Command  `json:"own"`
	Print   string   `json:"fp"`
	Answer  string   `json:"ans"`
	Reason  string   `json:"reason"`
	Lease   int64    `json:"lease"`
	At      int64    `json:"at"`
	Until   int64    `json:"msu"`
	Calls   int      `json:"calls"`
	Doubt   bool     `json:"doubt"`
	Why     string   `json:"why"`
	Spent   int64    `json:"spent"`
	Retry   int64    `json:"retry"`
	Replay  number   `json:"replay"`
	Outcome string   `json:"out"`
	Park    *told    `json:"park"`
	Refused []told   `json:"ref"`
	Seen    []number `json:"seen"`
	First   int64    `json:"first"`
}

type told struct {
	Source  string `json:"source"`
	ID      string `json:"id"`
	Replay  number `json:"replay"`
	Outcome string `json:"out"`
}

func (t told) answered() Answered {
	return Answered{Command{t.Source, t.ID}, uint64(t.Replay), bytesOrNil(t.Outcome)}
}

// number is written as a string of digits.
type number uint64

// UnmarshalText reads the digits.
func (n *number) UnmarshalText(text []byte) error {
	value, err := strconv.ParseUint(string(text), 10, 64)
	*n = number(value)
	return err
}

// decodeStored reads what the scripts wrote: they take text as it comes.
func decodeStored(text string, into any) error {
	if err := json.Unmarshal([]byte(text), into, jsontext.AllowInvalidUTF8(true)); err != nil {
		return fmt.Errorf("inspect: %w: %w", ErrRecord, err)
	}
	return nil
}

func (i *Inspection) addRecord(operation, text string) {
	var in layout
	err := decodeStored(text, &in)
	switch {
	case err != nil:
	case in.Version != 1:
		err = fmt.Errorf("inspect: %w: version %d", ErrRecord, in.Version)
	case !in.State.known():
		err = fmt.Errorf("inspect: %w: state %q", ErrRecord, in.State)
	}
	if err != nil {
		i.Damaged = append(i.Damaged, Damage{operation, err})
		return
	}
	r := Record{
		Operation: operation, Standing: in.State, Owner: in.Own, Fingerprint: in.Print, First: moment(in.First), Claimed: moment(in.At),
		Answer: in.Answer, Reason: in.Reason, Calls: in.Calls, MaySendUntil: moment(in.Until), Doubt: in.Doubt,
		Spent: time.Duration(in.Spent) * time.Millisecond, Replay: uint64(in.Replay), Outcome: bytesOrNil(in.Outcome),
	}
	switch in.State {
	case StandingClaimed:
		r.Lease = moment(in.Lease)
	case StandingOpen:
		r.Retry = moment(in.Retry)
	}
	if in.Doubt {
		r.Why = in.Why
	}
	if in.Park != nil {
		parked := in.Park.answered()
		r.Parked = &parked
	}
	for _, refusal := range in.Refused {
		r.Refusals = append(r.Refusals, refusal.answered())
	}
	for _, sequence := range in.Seen {
		r.Delivered = append(r.Delivered, uint64(sequence))
	}
	i.Records = append(i.Records, r)
}

func (s Standing) known() bool {
	switch s {
	case StandingWaiting, StandingClaimed, StandingOpen, StandingParked, StandingDone, StandingRefused:
		return true
	default:
		return false
	}
}

func (i *Inspection) addWaiters(text string) {
	if text == "" {
		return
	}
	waiters := map[number]struct {
		Operation string `json:"op"`
		Until     int64  `json:"till"`
	}{}
	if err := decodeStored(text, &waiters); err != nil {
		i.Damaged = append(i.Damaged, Damage{Err: fmt.Errorf("waiters: %w", err)})
		return
	}
	for sequence, w := range waiters {
		if until := moment(w.Until); until.After(i.Now) {
			i.Waiters = append(i.Waiters, Waiter{uint64(sequence), w.Operation, until})
		}
	}
}

func (i *Inspection) addEffects(text string) {
	if text == "" {
		return
	}
	effects := map[string]string{}
	if err := decodeStored(text, &effects); err != nil {
		i.Damaged = append(i.Damaged, Damage{Err: fmt.Errorf("owned effects: %w", err)})
		return
	}
	for operation, effect := range effects {
		i.Owned = append(i.Owned, Effect{operation, effect})
	}
}

// holder is what claim.lua takes for the holder, but for the grace that only a claimant knows: the operation granted last, as long as its
// record says so, or one that fell into doubt while another one had the gate.
func (i *Inspection) holder(gate string) *Hold {
	if slices.ContainsFunc(i.Damaged, func(d Damage) bool { return gate != "" && d.Operation == gate }) {
		return &Hold{Operation: gate}
	}
	for _, r := range i.Records {
		if r.Operation == gate && i.holds(r) {
			return r.hold()
		}
	}
	for _, r := range i.Records {
		if r.Standing == StandingOpen && r.Doubt {
			return r.hold()
		}
	}
	return nil
}

// hold gives what the record of a holder says: a lease where it is claimed, the time to come back where it is open.
func (r Record) hold() *Hold {
	until := r.Retry
	if r.Standing == StandingClaimed {
		until = r.Lease
	}
	return &Hold{r.Operation, r.Claimed, until}
}

func (i *Inspection) holds(r Record) bool {
	return r.Standing == StandingClaimed || r.Standing == StandingOpen && (r.Doubt || i.Now.Before(r.Retry))
}

// Known says whether anything is on record of the entity.
func (i *Inspection) Known() bool { return len(i.Records)+len(i.Damaged) > 0 }
