package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/sony/gobreaker/v2"

	"linepay-worker/idempotency"
	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// task is one command during step 3.
type task struct {
	worker *Worker
	m      *Message
	cmd    *command
	claim  *idempotency.Claim
	began  time.Time // by this process' clock, just before the claim or its last extension was asked for

	redis    time.Time // by Redis' clock, when it answered the claim
	answered time.Time // by this process' clock, when the answer was here
	notes    notes     // what earlier tries, or this one, put on record
	proven   bool      // a look-up has just proved that no earlier call happened
	sick     error     // what the last exchange with LINE Pay says against LINE Pay or the channel, if anything
}

// now is Redis' clock, carried on by this process' own since the claim was answered: behind rather than ahead, so that nothing is believed
// too early.
func (t *task) now() time.Time { return t.redis.Add(time.Since(t.answered)) }

// effect is what LINE Pay carried out.
type effect struct {
	event  string                   // the event that says so
	fill   func(*schemas.EventData) // what it says beyond data
	answer linepay.Answer
	id     string // for a refund: its transaction id; for a capture: byCapture
	regKey string // for a confirm: the key that it issued

	keyLost bool // for a confirm: it issued a key, in an answer that was lost
}

// finding is what a look-up has learnt about one operation.
type finding struct {
	evidence evidence
	effect   effect         // where it happened
	answer   linepay.Answer // where it is over: LINE Pay's answer that says so
	detail   string         // where it is over or ambiguous: for a person
	err      error          // where nothing was learnt
}

// evidence is the kind of a finding. The zero value is no evidence at all.
type evidence int

const (
	unsure    evidence = iota // nothing was learnt: look again later
	happened                  // the operation was carried out. Counts at once
	nothing                   // it was not carried out so far, and can be. Counts once no call can be under way
	over                      // it was not carried out, and cannot be any more. Counts likewise
	ambiguous                 // what was carried out cannot be told from somebody else's doing
)

func found(e effect) finding { return finding{evidence: happened, effect: e} }

func learntNothing(err error) finding { return finding{err: err} }

func isOver(a linepay.Answer, detail string) finding {
	return finding{evidence: over, answer: a, detail: detail}
}

// call sends the operation to LINE Pay. It is reached from a fresh claim, or from a look-up that has proved that nothing happened.
func (t *task) call(ctx context.Context) Outcome {
	op := operations[t.cmd.Operation]
	if op.prepare != nil {
		if o, ready := op.prepare(ctx, t); !ready {
			return o
		}
	}
	if o, ready := t.intend(ctx); !ready {
		return o
	}
	deadline := t.began.Add(t.worker.cfg.callFor(t.cmd.Operation))
	if !time.Now().Before(deadline) {
		return t.unsent(errors.New("the claim was too old to start a call"))
	}
	// Shutdown must not make an unknown outcome of a good call: its own deadline ends it, nothing else.
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	defer cancel()
	e, err := op.call(ctx, t)
	t.note(err)
	return t.judge(ctx, e, err)
}

// intend puts on record what the claim has not: a refund's snapshot, and the call that follows a proof. A fresh claim is an intent
// already, and a call that follows it keeps within the claim's own time.
func (t *task) intend(ctx context.Context) (o Outcome, ready bool) {
	if t.notes.Payment == nil && !t.proven {
		return Outcome{}, true
	}
	began := time.Now()
	t.notes.Code = ""
	err := t.record(ctx, idempotency.Extension{Call: t.proven, Proven: t.proven, CallFor: t.worker.cfg.callFor(t.cmd.Operation)})
	if err != nil {
		return t.unsent(err), false
	}
	if t.proven {
		t.began = began
	}
	return Outcome{}, true
}

// notes are what one try leaves on record for the next.
type notes struct {
	// Code is LINE Pay's answer to the call that left the doubt, where it was definite: should a look-up find nothing, it stands.
	Code string `json:"code,omitzero"`
	// Payment is the payment just before a refund's call.
	Payment *snapshot `json:"payment,omitzero"`
}

func (t *task) readNotes() error {
	if len(t.claim.Snapshot) == 0 {
		return nil
	}
	if err := json.Unmarshal(t.claim.Snapshot, &t.notes); err != nil {
		return fmt.Errorf("notes on record: %w", err)
	}
	return nil
}

// record puts the notes on record and prolongs the claim.
func (t *task) record(ctx context.Context, e idempotency.Extension) (err error) {
	if e.Snapshot, err = json.Marshal(t.notes); err != nil {
		return err
	}
	e.Lease = t.worker.cfg.lease(t.cmd.Operation)
	return t.worker.cfg.Guard.Extend(ctx, t.claim, e)
}

// judge turns the answer to the call into an outcome.
func (t *task) judge(ctx context.Context, e effect, err error) Outcome {
	answer := answerOf(err)
	switch linepay.VerdictOf(err) {
	case linepay.Done:
		return t.done(e, schemas.SettledByResponse)
	case linepay.Refused:
		if t.proven || t.claim.Calls > 1 { // An earlier call may have landed after the look-up that let this one go: look once more.
			return t.inDoubt(ctx, err)
		}
		if t.overtook(ctx) {
			return t.goBehind()
		}
		return t.failed(answer, schemas.SettledByResponse, "LINE Pay refused it")
	case linepay.NotSent:
		return t.unsent(err)
	case linepay.ChannelFault:
		return t.unsent(err)
	default:
		return t.inDoubt(ctx, err)
	}
}

// inDoubt: the call may have been carried out. A definite answer is kept: should a look-up find nothing, the answer stands. Where no
// money moves there is nothing to find, so "still running" (1145, 1198) is not a last word there; nor is it for a capture, where 1198 also
// means that LINE Pay authorises anew and may yet capture (its older manual); nor that the key is busy with another payment (1197).
func (t *task) inDoubt(ctx context.Context, err error) Outcome {
	v, code := linepay.VerdictOf(err), answerOf(err).Code
	mayGoOn := !t.cmd.Operation.MovesMoney() || t.cmd.Operation == linepay.Capture
	running := code == "1197" || mayGoOn && (code == "1145" || code == "1198")
	if v == linepay.Refused || v == linepay.Already && !running { // never of a reading, which has no record
		t.notes.Code = code
		ctx, cancel := aftermath(ctx)
		defer cancel()
		if lost := t.record(ctx, idempotency.Extension{}); lost != nil { // Then the next try asks LINE Pay once more, after a look-up.
			err = errors.Join(err, lost)
		}
	}
	return t.later("outcome unknown", err)
}

// overtook: what LINE Pay refused may only have come too early. An earlier command on the same payment can still be in the stream, in the
// hands of a worker that was stopped, or that died, before its claim.
func (t *task) overtook(ctx context.Context) bool {
	switch t.cmd.Operation {
	case linepay.Capture, linepay.Void, linepay.Refund:
		earlier, _ := t.worker.earlier(ctx, t.cmd.entity, t.m.Sequence)
		return earlier
	default:
		return false
	}
}

// goBehind gives the claim back after a definite refusal, or before any call, and lets the earlier command go first.
func (t *task) goBehind() Outcome {
	o := t.stillInDoubt(undecided(wait(t.worker.cfg.RetryMin, "an earlier command on the same payment goes first")))
	o.yield = true
	return o
}

// unsent: certainly nothing was sent under this claim.
func (t *task) unsent(err error) Outcome {
	o := t.later("not sent", err)
	if o.standing == parked {
		t.claim.Calls-- // the one that was intended
		o = t.parkedFor(schemas.ReasonExhausted, o.park.Detail, o.park.Code, schemas.MoneyMovedNo)
	}
	o.untouched = true
	return o
}

// later has the command come back, or parks it once it has spent its retry budget.
func (t *task) later(why string, err error) Outcome {
	cfg := t.worker.cfg
	if linepay.VerdictOf(err) == linepay.ChannelFault { // nothing is wrong with the command: it waits, and spends nothing
		return undecided(wait(cfg.RetryMin, "LINE Pay does not accept the channel: "+answerOf(err).Code))
	}
	if t.sick != nil && t.worker.breaker.State() != gobreaker.StateClosed { // nor while LINE Pay is down
		return undecided(retry(cfg.RetryMin, why, err))
	}
	next := func(spent time.Duration) time.Duration { return backoff(spent, cfg.RetryMin, cfg.RetryMax) }
	spent, pause := t.claim.Spent, next(t.claim.Spent)
	if !t.claim.Granted() {
		spent, pause = t.worker.deliveries.spend(t.m.Sequence, next)
	}
	if spent+pause > cfg.RetryBudget {
		moved := schemas.MoneyMovedNo
		if t.cmd.Operation.MovesMoney() {
			moved = schemas.MoneyMovedUnknown
		}
		return t.parkedFor(schemas.ReasonExhausted, fmt.Sprintf("%s: %v", why, err), answerOf(err).Code, moved)
	}
	return Outcome{spend: pause, fate: retry(pause, why, err)}
}

// lookUp finds out what became of an earlier call: from the order's own events, then from LINE Pay. Positive evidence counts at once;
// that nothing happened is believed only when no call can be under way any more.
func (t *task) lookUp(ctx context.Context) Outcome {
	if t.cmd.invalid != nil && t.claim.Calls > 0 && t.isOwner() {
		return t.parkedFor(schemas.ReasonUnresolved, "it was called before and is refused as invalid now: "+t.cmd.invalid.Error(), "",
			schemas.MoneyMovedUnknown)
	}
	ctx, cancel := context.WithDeadline(ctx, t.began.Add(t.worker.cfg.lease(t.cmd.Operation)))
	defer cancel()
	history, err := t.worker.cfg.Bus.History(ctx, t.cmd.Channel, t.cmd.Data.Order())
	if err != nil {
		return t.stillInDoubt(t.later("events of the order cannot be read", err))
	}
	if e := answered(history, t.cmd); e != nil && (t.claim.Calls == 0 || !t.isOwner()) { // after its own call, only what that did counts
		t.lookedUp(byEvents)
		return t.answeredBefore(e)
	}
	if e := effectEvent(history, t.cmd.key); e != nil {
		t.lookedUp(byEvents)
		return t.doneBefore(e)
	}
	if t.cmd.invalid != nil { // what is invalid was never called, by any version: rules are never narrowed
		return t.rejected()
	}
	early := t.tooEarly() // before LINE Pay is asked: it answers as of then, however late the answer comes
	f := operations[t.cmd.Operation].lookUp(ctx, t, history)
	t.note(f.err)
	t.lookedUp(f.evidence.String())
	switch {
	case f.evidence == happened:
		return t.done(f.effect, schemas.SettledByLookup)
	case f.evidence == ambiguous:
		return t.parkedFor(schemas.ReasonUnresolved, f.detail, t.notes.Code, schemas.MoneyMovedUnknown)
	case f.evidence == unsure:
		return t.stillInDoubt(t.later("look-up failed", f.err))
	case t.cmd.Operation.MovesMoney() && early > 0:
		return t.stillInDoubt(undecided(wait(early, "in doubt: too early to believe that nothing happened")))
	case t.cmd.expired && t.claim.Calls == 0:
		return t.rejected()
	case f.evidence == over:
		return t.failed(f.answer, schemas.SettledByLookup, f.detail)
	case t.notes.Code != "":
		answer := linepay.Answer{Code: t.notes.Code}
		return t.failed(answer, schemas.SettledByLookup, "LINE Pay answered "+answer.Code+", and a look-up found nothing of this operation")
	}
	t.proven = true
	if t.cmd.absent {
		return t.letGo(ctx)
	}
	if t.overtook(ctx) {
		if err := t.record(ctx, idempotency.Extension{Proven: true}); err != nil {
			return t.stillInDoubt(t.later("proof not on record", err))
		}
		return t.goBehind()
	}
	return t.call(ctx)
}

// tooEarly is how long it is until no earlier call can be under way any more: only then does it count that LINE Pay shows nothing.
func (t *task) tooEarly() time.Duration {
	return t.claim.MaySendUntil.Add(t.worker.cfg.believable(t.cmd.Operation)).Sub(t.now())
}

// stillInDoubt gives the claim back as it was found: no call was sent under it.
func (t *task) stillInDoubt(o Outcome) Outcome {
	o.untouched = true
	return o
}

// answered finds the terminal event that a command has had already, as when a worker died between publishing it and acknowledging the
// command. Nothing may be called for it any more.
func answered(history []*schemas.Event, cmd *command) *schemas.Event {
	for _, e := range history {
		switch e.Name() {
		case schemas.EventRejected, schemas.EventDuplicate, schemas.EventFailed:
			if idempotency.Command(e.Data.Command) == cmd.name() && e.Data.Operation == cmd.Operation {
				return e
			}
		}
	}
	return nil
}

// effectEvent finds the event of what the operation has brought about: money moved, or a payment page made.
func effectEvent(history []*schemas.Event, key string) *schemas.Event {
	for _, e := range history {
		if e.Data.OperationKey == key && (schemas.IsMoneyEvent(e.Name()) || e.Name() == schemas.EventRequested) {
			return e
		}
	}
	return nil
}

// note remembers whether the exchange speaks against LINE Pay or the channel: for the breaker.
func (t *task) note(err error) {
	t.sick = nil
	if _, ok := errors.AsType[*linepay.Error](err); err != nil && !ok {
		return // our own: LINE Pay answered well enough, and not what was hoped for
	}
	switch linepay.VerdictOf(err) {
	case linepay.NotSent, linepay.ChannelFault:
		t.sick = err
	case linepay.Unknown:
		if code := answerOf(err).Code; code == "" || code == "9000" {
			t.sick = err
		}
	}
	if t.sick == nil {
		t.worker.trouble.Store(nil)
	} else {
		t.worker.trouble.Store(&trouble{t.sick})
	}
}

// trouble is what keeps LINE Pay from working for this channel.
type trouble struct{ cause error }

// withChannel: LINE Pay does not accept the channel, and every further command would hear the same.
func (t *trouble) withChannel() bool {
	return t != nil && linepay.VerdictOf(t.cause) == linepay.ChannelFault
}

// String tells an operator what to look at.
func (t *trouble) String() string {
	switch {
	case t == nil:
		return "LINE Pay works again"
	case t.withChannel():
		return t.cause.Error() + ": check the channel's id and secret, and its standing in LINE Pay's merchant centre"
	default:
		return t.cause.Error()
	}
}

// throughBreaker keeps commands from LINE Pay while it is down, or while it refuses the channel. A command that does not get through
// gives its claim back as it found it and waits without using up its budget.
func (w *Worker) throughBreaker(ctx context.Context, t *task, step func(*task, context.Context) Outcome) Outcome {
	o, err := w.breaker.Execute(func() (Outcome, error) {
		o := step(t, ctx)
		return o, t.sick
	})
	if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
		return t.stillInDoubt(undecided(wait(w.cfg.RetryMin, "breaker open")))
	}
	return o
}

// answerOf gives LINE Pay's answer in an error, if there was one.
func answerOf(err error) linepay.Answer {
	if e, ok := errors.AsType[*linepay.Error](err); ok {
		return linepay.Answer{Code: e.Code, Message: e.Message}
	}
	return linepay.Answer{}
}
