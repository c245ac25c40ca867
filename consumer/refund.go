package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// A partial refund is the one operation that LINE Pay would simply carry out again, and LINE Pay's refunds carry no reference of the
// merchant's. So every refund first writes down, under its claim, what the payment looked like before its call. Afterwards its own
// entry is a difference and not a guess.

// snapshot is a payment just before a refund.
type snapshot struct {
	Refunds  []string       `json:"refunds"` // transaction ids of the refunds that were there already
	Left     linepay.Amount `json:"left"`    // what can still be refunded
	Currency string         `json:"currency"`
	OrderID  string         `json:"orderId"`
}

// snapshotRefunds reads the payment. It also catches what LINE Pay would not: an orderId that is not the payment's, and the refund that
// the order's events show although the guard has forgotten it.
func snapshotRefunds(ctx context.Context, t *task) (o Outcome, ready bool) {
	d := t.cmd.Data.(*schemas.RefundData)
	history, err := t.worker.cfg.Bus.History(ctx, t.cmd.Channel, d.OrderID)
	if err != nil {
		return t.unsent(err), false
	}
	if e := effectEvent(history, t.cmd.key); e != nil {
		return t.doneBefore(e), false
	}
	if parkedInDoubt(history, t.cmd.key) && !t.proven {
		return t.parkedFor(schemas.ReasonUnresolved, "it was parked with unknown outcome before, and the guard has forgotten that", "",
			schemas.MoneyMovedUnknown), false
	}
	payment, answer, err := t.payment(ctx, d.TransactionID)
	t.note(err)
	switch {
	case err != nil:
		return t.unsent(err), false
	case payment == nil && t.overtook(ctx):
		return t.goBehind(), false
	case payment == nil && t.shownByNow(ctx):
		return t.unsent(errNotShown), false
	case payment == nil:
		t.claim.Calls-- // the one that the claim had counted is not made
		return t.failed(answer, schemas.SettledByLookup, "LINE Pay shows no such payment, so there is nothing to refund"), false
	case payment.OrderID != "" && payment.OrderID != d.OrderID:
		return t.rejectedFor(schemas.ReasonConflict, schemas.FieldError{
			Path: "/data/orderId", Message: fmt.Sprintf("transaction %s belongs to another order", d.TransactionID),
		}), false
	}
	if scale, known := linepay.CurrencyScale(payment.Currency); known && d.RefundAmount != nil && d.RefundAmount.Scale() > scale {
		return t.rejectedFor(schemas.ReasonInvalid, schemas.FieldError{
			Path: "/data/refundAmount", Message: fmt.Sprintf("%s takes %d decimals at most", payment.Currency, scale),
		}), false
	}
	// The look-up that proved that nothing happened was another read than this one.
	if t.proven && len(t.candidates(payment, history)) > 0 {
		return t.stillInDoubt(undecided(retry(t.worker.cfg.RetryMin, "a refund has turned up since the look-up", nil))), false
	}
	taken, known := takenFrom(payment, history)
	if !known && d.RefundAmount == nil {
		return t.unsent(errors.New("neither LINE Pay's details nor the order's events say what was paid, so what is left is unknown")), false
	}
	t.notes.Payment = newSnapshot(payment, taken, history)
	return Outcome{}, true
}

// newSnapshot also has the refunds that the order's events tell and LINE Pay's details do not show yet.
func newSnapshot(payment *linepay.Payment, taken linepay.Amount, history []*schemas.Event) *snapshot {
	s := &snapshot{Left: taken, Currency: payment.Currency, OrderID: payment.OrderID}
	for _, r := range payment.RefundList {
		s.Refunds = append(s.Refunds, r.RefundTransactionID.String())
		s.Left = s.Left.Sub(given(r))
	}
	for _, e := range history {
		id := e.Data.RefundTransactionID
		if e.Data.TransactionID == payment.TransactionID && id != 0 && !slices.Contains(s.Refunds, id.String()) {
			s.Refunds = append(s.Refunds, id.String())
			s.Left = s.Left.Sub(e.Data.RefundAmount)
		}
	}
	return s
}

// takenFrom is what the customer paid: by details, or by the event of the operation that took it.
func takenFrom(payment *linepay.Payment, history []*schemas.Event) (amount linepay.Amount, known bool) {
	if len(payment.PayInfo) > 0 {
		return total(payment), true
	}
	for _, e := range history {
		if e.Name() == schemas.EventCaptured && e.Data.TransactionID == payment.TransactionID {
			return e.Data.Amount, true
		}
	}
	return linepay.Amount{}, false
}

// parkedInDoubt: the order's events say that a person has yet to find out whether this refund was made.
func parkedInDoubt(history []*schemas.Event, key string) (doubt bool) {
	for _, e := range history {
		if e.Data.OperationKey == key {
			switch e.Name() {
			case schemas.EventParked:
				doubt = doubt || e.Data.MoneyMoved == schemas.MoneyMovedUnknown
			case schemas.EventFailed: // the final word after it
				doubt = false
			}
		}
	}
	return doubt
}

// given is the amount of a refund, which LINE Pay writes as a negative number.
func given(r linepay.RefundEntry) linepay.Amount {
	if r.RefundAmount.Sign() > 0 {
		return r.RefundAmount
	}
	return r.RefundAmount.Neg()
}

func refund(ctx context.Context, t *task) (effect, error) {
	d := t.cmd.Data.(*schemas.RefundData)
	// A full refund asks for what is left by its amount: LINE Pay's answer holds none, and "all" would be whatever is left by then. Where
	// nothing is left it asks for all, which LINE Pay refuses as it should.
	amount, asked := t.notes.Payment.Left, d.RefundAmount
	switch {
	case asked != nil:
		amount = *asked
	case amount.Sign() > 0:
		asked = &amount
	}
	info, err := t.client().Refund(ctx, d.TransactionID, asked)
	if err != nil {
		return effect{}, err
	}
	e := refunded(info.RefundTransactionID, amount, t.notes.Payment.Currency, info.RefundTransactionDate)
	e.answer = info.Answer
	return e, nil
}

func refunded(id linepay.TransactionID, amount linepay.Amount, currency, date string) effect {
	return effect{event: schemas.EventRefunded, id: id.String(), fill: func(d *schemas.EventData) {
		d.RefundTransactionID, d.RefundAmount, d.Currency, d.RefundTransactionDate = id, amount, currency, date
	}}
}

// lookUpRefund tells our refund from others: an entry that the snapshot does not have, of our amount, that no other refund of ours owns.
// Where Redis has forgotten the snapshot, the command's own age takes its place.
func lookUpRefund(ctx context.Context, t *task, history []*schemas.Event) finding {
	d := t.cmd.Data.(*schemas.RefundData)
	payment, answer, err := t.payment(ctx, d.TransactionID)
	if err != nil {
		return learntNothing(err)
	}
	switch {
	case payment == nil:
		return t.absent(ctx, history, answer)
	case payment.OrderID != "" && payment.OrderID != d.OrderID: // no call gets past the snapshot with such an order
		return isOver(answer, fmt.Sprintf("transaction %s belongs to another order", d.TransactionID))
	}
	candidates := t.candidates(payment, history)
	switch {
	case len(candidates) == 0:
		return finding{evidence: nothing}
	// A record without a snapshot has lost it, or has never got as far as a call: then a single entry may be anybody's.
	case len(candidates) == 1 && (t.notes.Payment != nil ||
		t.claim.Calls == 0 && t.madeSince(candidates[0].RefundTransactionDate) && !parkedInDoubt(history, t.cmd.key)):
		r := candidates[0]
		e := refunded(r.RefundTransactionID, given(r), payment.Currency, r.RefundTransactionDate)
		e.answer = answer
		return found(e)
	}
	noun := "refunds"
	if len(candidates) == 1 {
		noun = "refund"
	}
	return finding{evidence: ambiguous, detail: fmt.Sprintf("%d %s of transaction %s could be this one: %s",
		len(candidates), noun, d.TransactionID, listRefunds(candidates))}
}

// candidates are the entries that can be this refund.
func (t *task) candidates(payment *linepay.Payment, history []*schemas.Event) []linepay.RefundEntry {
	amount := t.cmd.Data.(*schemas.RefundData).RefundAmount
	if amount == nil && t.notes.Payment == nil && left(payment).Sign() > 0 {
		return nil // a full refund leaves nothing
	}
	return slices.DeleteFunc(slices.Clone(payment.RefundList), func(r linepay.RefundEntry) bool {
		return t.ownedByOther(r, history) || !t.notes.Payment.mayBe(t, r, amount)
	})
}

// left is what LINE Pay's details say is not refunded.
func left(payment *linepay.Payment) linepay.Amount {
	sum := total(payment)
	for _, r := range payment.RefundList {
		sum = sum.Sub(given(r))
	}
	return sum
}

// mayBe says whether an entry can be the refund that was called after the snapshot.
func (s *snapshot) mayBe(t *task, r linepay.RefundEntry, amount *linepay.Amount) bool {
	if s == nil {
		// An entry without a readable date may be any. So may an older one where no call is on record: a replay, or a command that was sent
		// again, is younger than the call of its first life.
		_, err := time.Parse(time.RFC3339, r.RefundTransactionDate)
		return (t.claim.Calls == 0 || err != nil || t.madeSince(r.RefundTransactionDate)) && (amount == nil || given(r).Equal(*amount))
	}
	if amount == nil {
		amount = &s.Left
	}
	return !slices.Contains(s.Refunds, r.RefundTransactionID.String()) && given(r).Equal(*amount)
}

// ownedByOther: another refund of ours brought this entry about, by its record or by its event.
func (t *task) ownedByOther(r linepay.RefundEntry, history []*schemas.Event) bool {
	id := r.RefundTransactionID
	return slices.Contains(t.claim.Owned, id.String()) || slices.ContainsFunc(history, func(e *schemas.Event) bool {
		return e.Data.RefundTransactionID == id
	})
}

func listRefunds(entries []linepay.RefundEntry) string {
	var parts []string
	for _, r := range entries {
		parts = append(parts, fmt.Sprintf("%s of %s, %s", r.RefundTransactionID, r.RefundTransactionDate, given(r)))
	}
	return strings.Join(parts, "; ")
}
