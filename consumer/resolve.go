package consumer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"linepay-worker/idempotency"
	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// Resolution is what a person has found out, in LINE Pay's merchant centre say, about a parked command.
type Resolution struct {
	// Done says that LINE Pay has carried the command out; without it, that LINE Pay has not, and will not.
	Done bool
	// TransactionID is what LINE Pay gave for it: a refund's own id, or that of a payment with a key. Other commands have none of their own.
	TransactionID linepay.TransactionID
	// Amount and Currency are of a full refund, whose command has none; where the guard knows them they may be left out.
	Amount   linepay.Amount
	Currency string
	// Held says of a confirm that the money is held, and not taken.
	Held   bool
	Reason string // for the final event: how it is known
}

// ErrRefused is wrapped by every error of Resolve after which nothing was changed, because it would contradict what is known, or is not enough.
var ErrRefused = errors.New("not resolved")

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrRefused, fmt.Errorf(format, args...))
}

// Resolve settles a parked command by what a person has found out, and publishes its final event. m is the command as it was parked, and its
// Replay the number of its dead letter, which is for the caller to delete. Doing it again with the same resolution is harmless.
//
// Errors: ErrRefused; the guard's; those of the bus, after which it can be done again.
func (w *Worker) Resolve(ctx context.Context, m *Message, r Resolution) (*schemas.Event, error) {
	cmd, err := w.decode(m)
	switch {
	case err != nil:
		return nil, refuse("the command cannot be read, so it was never called: drop it (%w)", err)
	case cmd.key == "":
		return nil, refuse("a %s has no outcome that could be told: replay it, or drop it", cmd.Operation)
	}
	request := w.cfg.question(m, cmd)
	foreseen, err := w.cfg.Guard.Foresee(ctx, request) // a claim that is given back would no longer be parked
	if err == nil && foreseen.Answer == idempotency.Parked {
		// By a replay of a higher number: one that its publisher made up, or of a dead letter whose stream was made anew. A person has the last word.
		request.Replay = math.MaxUint64
		foreseen, err = w.cfg.Guard.Foresee(ctx, request)
	}
	if err != nil {
		return nil, err
	}
	t := &task{worker: w, m: m, cmd: cmd, claim: foreseen, redis: foreseen.Now, answered: time.Now()}
	if foreseen.Answer == idempotency.Done || foreseen.Answer == idempotency.RefusedBefore || foreseen.Answer == idempotency.Duplicate {
		return t.toldAgain(ctx, r)
	}
	e, err := t.learnt(ctx, r)
	if err != nil {
		return nil, err
	}
	if t.claim, err = w.cfg.Guard.Claim(ctx, request); err != nil {
		return nil, err
	}
	if t.claim.Answer != foreseen.Answer || !t.isOwner() {
		w.settle(ctx, t.claim, t.putBack())
		return nil, refuse("%s has changed meanwhile: look at it again", cmd.key)
	}
	if t.claim.Answer == idempotency.Fresh {
		t.claim.Calls-- // the one that a claim counts is not made
	}
	o := t.failed(linepay.Answer{Code: t.notes.Code}, schemas.SettledByOperator, r.Reason)
	if r.Done {
		o = t.done(e, schemas.SettledByOperator)
	}
	return w.tell(ctx, m, w.settle(ctx, t.claim, o))
}

// tell publishes what was resolved.
func (w *Worker) tell(ctx context.Context, m *Message, o Outcome) (*schemas.Event, error) {
	fate := w.publish(ctx, m, o)
	if fate.Kind != Ack {
		return nil, fmt.Errorf("%s: do it again: %w", fate.Why, fate.Err)
	}
	return o.events[len(o.events)-1], nil
}

// toldAgain: the operation is settled. If that was by this same resolution, its event may not be stored yet.
func (t *task) toldAgain(ctx context.Context, r Resolution) (*schemas.Event, error) {
	o := t.asStored()
	if len(o.events) == 0 {
		return nil, fmt.Errorf("%s: %w", o.fate.Why, o.fate.Err)
	}
	told := o.events[len(o.events)-1]
	same := idempotency.Command(told.Data.Command) == t.cmd.name() && told.Data.SettledBy == schemas.SettledByOperator &&
		r.Done == (told.Name() != schemas.EventFailed)
	if !same {
		return nil, refuse("event %s says %s already: replay it, to have it answered so", told.ID, told.Name())
	}
	return t.worker.tell(ctx, t.m, o)
}

// putBack leaves a record as it was found.
func (t *task) putBack() Outcome {
	if len(t.claim.Outcome) > 0 {
		return Outcome{standing: parked, kept: t.claim.Outcome, owner: schemas.CommandRef(t.claim.Owner)}
	}
	return t.stillInDoubt(undecided(wait(0, "")))
}

// learnt is what LINE Pay has carried out, by what a person has found out; an error where that contradicts what is known.
func (t *task) learnt(ctx context.Context, r Resolution) (e effect, err error) {
	switch {
	case t.claim.Answer == idempotency.Busy:
		return e, refuse("%s is not free, %s: try again later", t.cmd.key, t.claim.Reason)
	case t.claim.Answer != idempotency.Fresh && t.claim.Answer != idempotency.InDoubt:
		return e, refuse("the guard answers %s: replay it, to have it answered so", t.claim.Answer)
	case t.claim.Owner != t.cmd.name():
		return e, refuse("%s was begun by command %q of %q: resolve that one, and replay this one afterwards",
			t.cmd.key, t.claim.Owner.ID, t.claim.Owner.Source)
	}
	if err := t.readNotes(); err != nil {
		return e, err
	}
	history, err := t.worker.cfg.Bus.History(ctx, t.cmd.Channel, t.cmd.Data.Order())
	if err != nil {
		return e, err
	}
	if told := effectEvent(history, t.cmd.key); told != nil {
		return e, refuse("event %s of the order says %s: replay it, to have it answered so", told.ID, told.Name())
	}
	if !r.Done { // what LINE Pay shows is not overruled; where it cannot be asked, or does not tell, a person knows better
		called, early := t.claim.Calls > 0 && t.claim.Answer == idempotency.InDoubt && t.cmd.Operation.MovesMoney(), t.tooEarly()
		switch f := operations[t.cmd.Operation].lookUp(ctx, t, history); {
		case f.evidence == happened:
			return e, refuse("LINE Pay shows that %s was carried out: replay it, and the worker will find that, too", t.cmd.key)
		case called && early > 0: // without a call on record its time is just now, and always would be
			return e, refuse("LINE Pay may still be at work on the last call: look, and try again, in %s", early.Round(time.Second)+time.Second)
		}
		return e, nil
	}
	if e, err = t.carriedOut(ctx, r, history); err != nil {
		return e, err
	}
	fill := e.fill
	e.fill = func(d *schemas.EventData) {
		if fill != nil {
			fill(d)
		}
		d.Reason = r.Reason
	}
	return e, nil
}

// carriedOut is what LINE Pay has done, as far as its command and a person tell.
func (t *task) carriedOut(ctx context.Context, r Resolution, history []*schemas.Event) (effect, error) {
	own := t.cmd.Operation == linepay.Refund || t.cmd.Operation == linepay.PreapprovedPay
	switch {
	case own && r.TransactionID == 0:
		return effect{}, refuse("a %s that was carried out has a transaction id of its own: give it", t.cmd.Operation)
	case own && r.TransactionID == t.cmd.Data.Transaction():
		return effect{}, refuse("%s is the payment's transaction, and a refund has one of its own: give that", r.TransactionID)
	case !own && r.TransactionID != 0 && r.TransactionID != t.cmd.Data.Transaction():
		return effect{}, refuse("it is about transaction %s, and not %s", t.cmd.Data.Transaction(), r.TransactionID)
	case r.Held && t.cmd.Operation != linepay.Confirm:
		return effect{}, refuse("only a confirm may have left money held; of a payment with a key its command tells")
	case own && slices.ContainsFunc(history, func(e *schemas.Event) bool { // others merely mention it, as the answer to a check does
		return schemas.IsMoneyEvent(e.Name()) && (e.Data.TransactionID == r.TransactionID || e.Data.RefundTransactionID == r.TransactionID)
	}):
		return effect{}, refuse("transaction %s is told by another event of the order already", r.TransactionID)
	}
	switch d := t.cmd.Data.(type) {
	case *schemas.ConfirmData:
		e := taken(r.Held, nil, "")
		e.keyLost = issuesKey(history, d.TransactionID)
		return e, nil
	case *schemas.CaptureData:
		e := taken(false, nil, "")
		e.id = byCapture
		return e, nil
	case *schemas.VoidData:
		return effect{event: schemas.EventVoided}, nil
	case *schemas.RefundData:
		return t.refundedBy(ctx, r, d, history)
	case *schemas.PreapprovedPayData:
		return taken(d.Capture != nil && !*d.Capture, nil, "").of(r.TransactionID), t.showsPayment(ctx, d, r.TransactionID)
	case *schemas.PreapprovedExpireData:
		return usable(false, linepay.Answer{}), nil
	default:
		return effect{}, refuse("a %s moves no money, and its answer is lost: replay it", t.cmd.Operation)
	}
}

// refundedBy is a refund by its own id. The amount of a full one is what was left before it.
func (t *task) refundedBy(ctx context.Context, r Resolution, d *schemas.RefundData, history []*schemas.Event) (effect, error) {
	amount, currency := r.Amount, r.Currency
	if before := t.notes.Payment; before != nil {
		currency = or(currency, before.Currency)
		if amount.IsZero() {
			amount = before.Left
		}
	}
	for _, e := range history {
		if e.Data.TransactionID == d.TransactionID {
			currency = or(currency, e.Data.Currency)
		}
	}
	switch {
	case d.RefundAmount != nil && !r.Amount.IsZero() && !r.Amount.Equal(*d.RefundAmount):
		return effect{}, refuse("it is commanded with %s, and not %s", *d.RefundAmount, r.Amount)
	case d.RefundAmount != nil:
		amount = *d.RefundAmount
	case amount.Sign() <= 0:
		return effect{}, refuse("a full refund does not say its amount: give it")
	}
	if currency == "" {
		return effect{}, refuse("neither the guard nor the order's events know the currency: give it")
	}
	return refunded(r.TransactionID, amount, currency, ""), t.shows(ctx, d, r.TransactionID, amount)
}

// shows refuses a refund that LINE Pay's details of its payment deny: its id is typed by hand, and what is told once cannot be taken back. Where
// LINE Pay cannot be asked, or does not show the payment, a person knows better.
func (t *task) shows(ctx context.Context, d *schemas.RefundData, id linepay.TransactionID, amount linepay.Amount) error {
	payment, _, _ := t.payment(ctx, d.TransactionID)
	if payment == nil {
		return nil
	}
	at := slices.IndexFunc(payment.RefundList, func(r linepay.RefundEntry) bool { return r.RefundTransactionID == id })
	switch {
	case len(payment.RefundList) == 0:
		return refuse("LINE Pay shows no refund of transaction %s", d.TransactionID)
	case at < 0:
		return refuse("LINE Pay shows no refund %s of transaction %s, but %s", id, d.TransactionID, listRefunds(payment.RefundList))
	case !given(payment.RefundList[at]).Equal(amount):
		return refuse("LINE Pay shows refund %s with %s, and not %s", id, given(payment.RefundList[at]), amount)
	case t.notes.Payment != nil && slices.Contains(t.notes.Payment.Refunds, id.String()):
		return refuse("LINE Pay had shown refund %s before this one was called", id)
	}
	return nil
}

// showsPayment is the same for a payment with a key.
func (t *task) showsPayment(ctx context.Context, d *schemas.PreapprovedPayData, id linepay.TransactionID) error {
	info, err := t.client().Details(ctx, linepay.DetailsQuery{OrderIDs: []string{d.OrderID}})
	if err != nil {
		return nil
	}
	payments := slices.DeleteFunc(info.Payments, func(p linepay.Payment) bool { return p.OrderID != d.OrderID })
	at := slices.IndexFunc(payments, func(p linepay.Payment) bool { return p.TransactionID == id })
	switch {
	case len(payments) == 0:
		return nil
	case at < 0:
		return refuse("LINE Pay shows no transaction %s of order %s, but %s", id, d.OrderID, listPayments(payments))
	case !paid(&payments[at], d.Amount):
		return refuse("LINE Pay shows transaction %s with %s, and not %s", id, total(&payments[at]), d.Amount)
	default:
		return nil
	}
}
