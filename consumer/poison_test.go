package consumer_test

import (
	"testing"

	"linepay-worker/consumer/consumertest"
	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
	"linepay-worker/schemas"
)

// Whatever was in hand during two crashes is handled alone. The third crash shows whose doing it is; the bystanders are carried out.
func TestThirdCrashParksTheCommandThatCausesItAndNoOther(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	stop := l.start()
	stop()
	l.fault(simulator.Fault{Operation: linepay.Confirm, Kind: simulator.KindDelay, Delay: readTimeout * 4 / 5, Count: 1000})
	poison := l.pay.Paid(t, "POISON", "100", "TWD", true)
	first := l.send(linepay.Confirm, confirmData(poison, "POISON"))
	bystanders := map[string]linepay.TransactionID{}
	for _, order := range []string{"ORDER-1", "ORDER-2", "ORDER-3"} {
		id := l.pay.Paid(t, order, "100", "TWD", true)
		bystanders[l.send(linepay.Confirm, confirmData(id, order))] = id
	}
	for range 3 {
		l.crashAfter("poison", linepay.Confirm, crashPayment+"="+poison.String())
	}
	l.start()
	e := l.done(first, schemas.EventParked)
	if e.Data.Reason != schemas.ReasonPoison || e.Data.MoneyMoved != schemas.MoneyMovedUnknown {
		t.Errorf("parked as %s, money moved %s", e.Data.Reason, e.Data.MoneyMoved)
	}
	for command, id := range bystanders {
		l.done(command, schemas.EventCaptured)
		l.wantEffects(id, "confirm 100")
	}
	l.idle()
	if letters := consumertest.Collect(t, l.js, schemas.StreamDeadLetters, schemas.SubjectsDeadLetters); len(letters) != 1 {
		t.Errorf("%d dead letters, want 1", len(letters))
	}
	l.wantEffects(poison)
}
