package consumer

import (
	"context"
	"fmt"
	"slices"
	"strings"

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
	if e := moneyEvent(history, t.cmd.key); e != nil {
		return t.doneBefore(e), false
	}
	payment, answer, err := t.payment(ctx, d.TransactionID)
	t.note(err)
	switch {
	case linepay.VerdictOf(err) == linepay.ChannelFault:
		return t.judge(ctx, effect{}, err), false
	case err != nil:
		return t.unsent(err), false
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
	t.notes.Payment = &snapshot{Left: total(payment), Currency: payment.Currency, OrderID: payment.OrderID}
	for _, r := range payment.RefundList {
		t.notes.Payment.Refunds = append(t.notes.Payment.Refunds, r.RefundTransactionID.String())
		t.notes.Payment.Left = t.notes.Payment.Left.Add(r.RefundAmount) // refund amounts are negative
	}
	return Outcome{}, true
}

func refund(ctx context.Context, t *task) (effect, error) {
	d := t.cmd.Data.(*schemas.RefundData)
	info, err := t.client().Refund(ctx, d.TransactionID, d.RefundAmount)
	if err != nil {
		return effect{}, err
	}
	amount := t.notes.Payment.Left
	if d.RefundAmount != nil {
		amount = *d.RefundAmount
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
	if payment == nil {
		return isOver(answer, "LINE Pay shows no such payment")
	}
	candidates := slices.DeleteFunc(slices.Clone(payment.RefundList), func(r linepay.RefundEntry) bool {
		return t.ownedByOther(r, history) || !t.notes.Payment.mayBe(t, r, d.RefundAmount)
	})
	switch len(candidates) {
	case 0:
		return finding{evidence: nothing}
	case 1:
		r := candidates[0]
		e := refunded(r.RefundTransactionID, r.RefundAmount.Neg(), payment.Currency, r.RefundTransactionDate)
		e.answer = answer
		return found(e)
	}
	return finding{evidence: ambiguous, detail: fmt.Sprintf("%d refunds of transaction %s could be this one: %s",
		len(candidates), d.TransactionID, listRefunds(candidates))}
}

// mayBe says whether an entry can be the refund that was called after the snapshot.
func (s *snapshot) mayBe(t *task, r linepay.RefundEntry, amount *linepay.Amount) bool {
	given := r.RefundAmount.Neg()
	if s == nil {
		return t.madeSince(r.RefundTransactionDate) && (amount == nil || given.Equal(*amount))
	}
	if amount == nil {
		amount = &s.Left
	}
	return !slices.Contains(s.Refunds, r.RefundTransactionID.String()) && given.Equal(*amount)
}

// ownedByOther: another refund of ours brought this entry about, by its record or by its event.
func (t *task) ownedByOther(r linepay.RefundEntry, history []*schemas.Event) bool {
	id := r.RefundTransactionID
	return slices.Contains(t.claim.Owned, id.String()) || slices.ContainsFunc(history, func(e *schemas.Event) bool {
		return e.Data.RefundTransactionID == id && e.Data.OperationKey != t.cmd.key
	})
}

func listRefunds(entries []linepay.RefundEntry) string {
	var parts []string
	for _, r := range entries {
		parts = append(parts, fmt.Sprintf("%s of %s, %s", r.RefundTransactionID, r.RefundTransactionDate, r.RefundAmount.Neg()))
	}
	return strings.Join(parts, "; ")
}
