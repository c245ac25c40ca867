package main

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// world is a history of one payment, and the books that agree with it.
func world(t *rapid.T) *books {
	b := newBooks()
	amount := rapid.Int64Range(1, 1_000_000).Draw(t, "amount")
	sum := func(n int64) string { return fmt.Sprint(n) }
	switch rapid.SampledFrom([]string{"captured", "held", "in part", "voided", "expired"}).Draw(t, "course") {
	case "held":
		b.tell(schemas.EventAuthorized, linepay.Confirm, confirmKey, sum(amount))
		b.show(linepay.StatusAuthorization, sum(amount))
		return b
	case "expired":
		b.tell(schemas.EventAuthorized, linepay.Confirm, confirmKey, sum(amount))
		b.show(linepay.StatusExpired, sum(amount))
		return b
	case "voided":
		b.tell(schemas.EventAuthorized, linepay.Confirm, confirmKey, sum(amount))
		b.tell(schemas.EventVoided, linepay.Void, "void:1", "0")
		b.show(linepay.StatusVoided, sum(amount))
		return b
	case "in part":
		b.tell(schemas.EventAuthorized, linepay.Confirm, confirmKey, sum(amount))
		amount = rapid.Int64Range(1, amount).Draw(t, "part")
		b.tell(schemas.EventCaptured, linepay.Capture, "capture:1", sum(amount))
	default:
		b.tell(schemas.EventCaptured, linepay.Confirm, confirmKey, sum(amount))
	}
	b.show(linepay.StatusCapture, sum(amount))
	for n := linepay.TransactionID(1); amount > 0 && rapid.Bool().Draw(t, "another refund"); n++ {
		back := rapid.Int64Range(1, amount).Draw(t, "back")
		amount -= back
		b.tell(schemas.EventRefunded, linepay.Refund, fmt.Sprintf("refund:1:%d", n), sum(back), ofRefund(payment+n))
		b.payments[0].RefundList = append(b.payments[0].RefundList, entryOf(payment+n, sum(back)))
	}
	return b
}

func TestEveryDifferenceIsFoundAndNothingElse(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b := world(t)
		if got := b.compare(); len(got) > 0 {
			t.Fatalf("findings %+v in books that agree", got)
		}
		if diff := cmp.Diff(b.shown(), b.told()); diff != "" && b.payments[0].PayStatus != linepay.StatusExpired {
			t.Fatalf("sums differ (-LINE Pay +events):\n%s", diff)
		}
		p := &b.payments[0]
		one := linepay.MustAmount("1")
		changes := map[string]func(){
			"an event is missing": func() {
				n := rapid.IntRange(0, len(b.events)-1).Draw(t, "event")
				b.events = slices.Delete(b.events, n, n+1)
			},
			"the payment is missing": func() { b.payments = nil },
			"another amount":         func() { p.PayInfo[0].Amount = p.PayInfo[0].Amount.Add(one) },
			"another refund":         func() { p.RefundList = append(p.RefundList, entryOf(payment+100, "1")) },
		}
		if len(p.RefundList) > 0 {
			n := rapid.IntRange(0, len(p.RefundList)-1).Draw(t, "refund")
			changes["a refund is missing"] = func() { p.RefundList = slices.Delete(p.RefundList, n, n+1) }
			changes["another refund's amount"] = func() { p.RefundList[n].RefundAmount = p.RefundList[n].RefundAmount.Sub(one) }
		}
		change := rapid.SampledFrom(sortedKeys(changes)).Draw(t, "change")
		changes[change]()
		if got := b.compare(); len(got) == 0 {
			t.Fatalf("nothing is found where %s", change)
		}
	})
}
