package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"linepay-worker/idempotency"
	"linepay-worker/schemas"
)

// command is a readable command with the names that the guard knows it by.
type command struct {
	*schemas.Command
	invalid     *schemas.InvalidError // what is wrong with its data, if anything
	expired     bool
	entity      idempotency.Entity
	key         string // the operation key; "" for a reading, or where the data is too broken to tell
	fingerprint string

	absent bool // it is another command than the delivered one, which waits behind it
	stored time.Time
}

func (c *command) name() idempotency.Command { return idempotency.Command{Source: c.Source, ID: c.ID} }

// unfit commands are never sent to LINE Pay.
func (c *command) unfit() bool { return c.invalid != nil || c.expired }

// decode is the first step.
func (w *Worker) decode(m *Message) (*command, error) { return w.cfg.decode(m) }

func (c Config) decode(m *Message) (*command, error) {
	read, err := schemas.DecodeCommand(m.Subject, m.Header, m.Body)
	invalid, _ := errors.AsType[*schemas.InvalidError](err)
	if err != nil && invalid == nil {
		return nil, err
	}
	cmd := &command{Command: read, invalid: invalid}
	m.Source, m.ID = read.Source, read.ID
	cmd.expired = !read.ExpiryTime.IsZero() && time.Now().After(read.ExpiryTime)
	cmd.entity.Host, cmd.entity.ChannelID = c.LINEPay.Host(), c.ChannelID
	cmd.entity.Kind, cmd.entity.ID, _ = guarded(read.Data)
	if cmd.key, cmd.fingerprint, err = Names(read.Data, invalid == nil); err != nil {
		return nil, err
	}
	return cmd, nil
}

// unreadable parks what cannot even be named. It was never called.
func (w *Worker) unreadable(ctx context.Context, m *Message, cause error) Fate {
	m.turn.done()
	letter := schemas.DeadLetter{
		Reason: schemas.ReasonInvalid, Detail: cause.Error(), Subject: m.Subject, Sequence: m.Sequence, Deliveries: m.Deliveries, At: time.Now(),
	}
	return w.publish(ctx, m, Outcome{standing: settled, park: &letter, fate: ack("parked: unreadable")})
}

// claim is the second step. Claims for one entity leave this process in the order in which JetStream delivered the commands. Readings
// need none. It gives the command that the claim is for: this one, or one that is in its way and did not come back.
func (w *Worker) claim(ctx context.Context, m *Message, cmd *command) (*command, *idempotency.Claim, error) {
	defer m.turn.done()
	m.claimed = time.Now()
	switch {
	case cmd.key == "" && cmd.unfit():
		return cmd, &idempotency.Claim{Answer: idempotency.Rejected, Now: m.claimed}, nil
	case cmd.key == "":
		return cmd, &idempotency.Claim{Answer: idempotency.Fresh, Now: m.claimed, Calls: 1}, nil
	}
	if !m.turn.wait(w.order, cmd.entity, m.stopping) {
		return cmd, nil, errStopping
	}
	m.claimed = time.Now()
	request := w.cfg.question(m, cmd)
	request.Only = m.only && !w.deliveries.suspecting()
	w.remembering(&request)
	asking, end := w.step(ctx, "claim")
	claim, err := w.cfg.Guard.Claim(asking, request)
	end(err)
	w.metrics.claimed(m.operation(), claim, err)
	if m.claim = claim; err != nil {
		return cmd, nil, err
	}
	cmd, claim = w.standIn(ctx, m, cmd, claim)
	return cmd, claim, nil
}

// remembering adds what the worker has made up for of what Redis has forgotten.
func (w *Worker) remembering(request *idempotency.ClaimRequest) {
	if known := w.memory.Load(); known != nil {
		request.Memory, request.Sibling = known.redis, known.sibling(request.Operation, request.Sequence)
	}
}

// question is what the guard is asked, but for what this worker knows of Redis' memory.
func (c Config) question(m *Message, cmd *command) idempotency.ClaimRequest {
	return idempotency.ClaimRequest{
		Entity: cmd.entity, Operation: cmd.key, Command: cmd.name(), Fingerprint: cmd.fingerprint,
		Sequence: m.Sequence, Redelivered: m.Redelivered, Replay: m.Replay,
		CallFor: c.callFor(cmd.Operation), Lease: c.lease(cmd.Operation), Place: c.place(),
		Probe: cmd.unfit(), Alone: m.alone, Errand: newErrand(m, cmd),
	}
}

// unclaimed: without Redis nothing is called. The command comes back, and pulling stops until Redis answers again. A record that nobody can
// read is for a person: it may hide a call.
func (w *Worker) unclaimed(ctx context.Context, m *Message, cmd *command, err error) Fate {
	if errors.Is(err, errStopping) {
		return w.handBack(ctx, m)
	}
	next := func(spent time.Duration) time.Duration { return backoff(spent, w.cfg.RetryMin, w.cfg.RetryMax) }
	if errors.Is(err, idempotency.ErrRecord) { // or written by a newer version, as during an upgrade: so not at once
		if spent, pause := w.deliveries.spend(m.Sequence, next); spent+pause <= w.cfg.RetryBudget {
			return retry(pause, "the record cannot be read", err)
		}
		t := &task{worker: w, m: m, cmd: cmd, claim: &idempotency.Claim{}, redis: time.Now(), answered: time.Now()}
		return w.publish(ctx, m, t.parkedFor(schemas.ReasonUnresolved, err.Error(), "", schemas.MoneyMovedUnknown))
	}
	if errors.Is(err, idempotency.ErrForgotten) {
		w.deliveries.neverClaimed(m)
		w.lookAtMemory()
		return wait(w.cfg.RetryMin, "Redis' memory has to be made up for first")
	}
	if errors.Is(err, idempotency.ErrUnavailable) {
		if !w.guardDown.Swap(true) {
			w.cfg.Logger.Error().Err(err).Msg("Redis does not answer: no call is made, and commands wait")
		}
	}
	w.deliveries.neverClaimed(m)
	return retry(backoff(m.tried(w.cfg.RetryMin), w.cfg.RetryMin, min(w.cfg.RetryMax, mostImpatient)), "no claim", err)
}

var errStopping = errors.New("the worker was told to stop")

// handBack gives a command to another worker. It leaves word that it was not called, or the other would have to look it up first.
func (w *Worker) handBack(ctx context.Context, m *Message) Fate {
	w.deliveries.neverClaimed(m)
	fate := wait(leastDelay, "handed back: the worker stops")
	if cmd, err := w.decode(m); err == nil && cmd.key != "" && !m.Redelivered {
		ctx, cancel := aftermath(ctx)
		defer cancel()
		fate.Err = w.cfg.Guard.Pass(ctx, cmd.entity, cmd.key, m.Sequence)
	}
	return fate
}

// mostImpatient is the longest pause while only NATS or Redis is in the way: what is done wants to be told.
const mostImpatient = 30 * time.Second

// What already happened in the world is written down even while the worker is told to stop.
const aftermathTimeout = 10 * time.Second

func aftermath(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), aftermathTimeout)
}

// settle is the fourth step: it stores the outcome, or gives the claim back.
func (w *Worker) settle(ctx context.Context, claim *idempotency.Claim, o Outcome) Outcome {
	if !claim.Granted() {
		return o
	}
	ctx, cancel := aftermath(ctx)
	defer cancel()
	ctx, end := w.step(ctx, "settle")
	defer end(nil)
	state := map[standing]idempotency.State{done: idempotency.StateDone, refused: idempotency.StateRefused, parked: idempotency.StateParked}[o.standing]
	if state == 0 {
		err := w.cfg.Guard.Release(ctx, claim, idempotency.Release{
			Unknown: !o.untouched, RetryAfter: o.fate.After, Spend: o.spend, Yield: o.yield, Aside: o.aside, Told: o.told,
		})
		if err != nil { // The lease lapses by itself, and lapsed means in doubt.
			o.fate.Err = errors.Join(o.fate.Err, err)
		}
		return o
	}
	stored, err := o.encode()
	if err == nil {
		err = w.cfg.Guard.Settle(ctx, claim, idempotency.Settlement{
			State: state, Outcome: stored, Effect: o.effect, Command: idempotency.Command(o.owner), MoneyUnknown: o.moneyUnknown(), Told: o.told,
			Unsent: o.untouched,
		})
	}
	switch {
	case err == nil:
		return o
	case errors.Is(err, idempotency.ErrLost):
		return undecided(wait(w.cfg.RetryMin, "somebody else took the claim over"))
	case o.standing == done:
		// The money has moved: the event stream is the second record. It goes out now, and the command comes back to mend the first.
		o.fate = retry(w.cfg.RetryMin, "done, but not on record", err)
		return o
	default:
		return undecided(retry(w.cfg.RetryMin, "not on record", err))
	}
}

func (o Outcome) moneyUnknown() bool {
	return o.kept != nil || o.events[len(o.events)-1].Data.MoneyMoved == schemas.MoneyMovedUnknown
}

// publish is the fifth step: events, or the dead letter and then its event, which would otherwise tell of a dead letter that there is not.
func (w *Worker) publish(ctx context.Context, m *Message, o Outcome) Fate {
	ctx, cancel := aftermath(ctx)
	defer cancel()
	if o.park != nil {
		if err := w.park(ctx, m, *o.park); err != nil {
			return w.untold(m, "dead letter not stored", err)
		}
	}
	for i, e := range o.events {
		err := w.store(ctx, e)
		if errors.Is(err, nats.ErrMaxPayload) && len(e.Data.Payments) > 0 {
			o.events[i] = tooLarge(e)
			err = w.store(ctx, o.events[i])
		}
		switch {
		case errors.Is(err, schemas.ErrOtherContent) && !schemas.IsMoneyEvent(e.Name()):
			o.fate = ack("answered before, for other data under the same source and id")
			o.fate.Err = err
		case err != nil:
			return w.untold(m, "event not stored", err)
		}
	}
	if len(o.events) > 0 || o.park != nil {
		w.unpublished.Store(nil)
	}
	o.fate.Outcome = o.answer()
	return o.fate
}

// store stores one event.
func (w *Worker) store(ctx context.Context, e *schemas.Event) error {
	began := time.Now()
	ctx, end := w.publishing(ctx, e)
	err := w.cfg.Bus.Publish(ctx, e)
	end(err)
	w.metrics.published(anEvent, time.Since(began), err)
	return err
}

// tooLarge is the answer to a reading whose answer the bus would not take.
func tooLarge(e *schemas.Event) *schemas.Event {
	d := e.Data
	d.Payments, d.Reason = nil, "LINE Pay's answer is larger than NATS lets a message be: ask for fewer payments at a time"
	return schemas.NewEvent(schemas.EventFailed, e.Time, d)
}

// park stores the dead letter, and remembers it: JetStream knows a second copy only within its duplicate window, and the event after it may
// have to be tried for longer.
func (w *Worker) park(ctx context.Context, m *Message, letter schemas.DeadLetter) error {
	id := fmt.Sprintf("%d-%d-%d", m.Sequence, m.Replay, m.Stored.UnixNano())
	if w.deliveries.isParked(m.Sequence, id) {
		return nil
	}
	began := time.Now()
	ctx, end := w.step(ctx, "publish dead letter")
	err := w.cfg.Bus.Park(ctx, id, letter, m.Header, m.Body)
	end(err)
	w.metrics.published(aDeadLetter, time.Since(began), err)
	if err != nil {
		return err
	}
	w.metrics.parked.WithLabelValues(letter.Reason).Inc()
	w.deliveries.park(m.Sequence, id)
	return nil
}

// untold: the command stays in the stream until its answer is stored.
func (w *Worker) untold(m *Message, why string, err error) Fate {
	w.unpublished.Store(&err)
	return retry(backoff(m.tried(w.cfg.RetryMin), w.cfg.RetryMin, min(w.cfg.RetryMax, mostImpatient)), why, err)
}

// answer names the event that answers the command, "" while none does.
func (o Outcome) answer() string {
	switch {
	case o.fate.Kind != Ack:
		return ""
	case o.park != nil:
		return schemas.EventParked
	case len(o.events) > 0:
		return o.events[len(o.events)-1].Name()
	default:
		return ""
	}
}
