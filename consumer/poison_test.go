package consumer_test

import (
	"context"
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
	crashes := l.supervise(poison)
	e := l.done(first, schemas.EventParked)
	if e.Data.Reason != schemas.ReasonPoison || e.Data.MoneyMoved != schemas.MoneyMovedUnknown {
		t.Errorf("parked as %s, money moved %s", e.Data.Reason, e.Data.MoneyMoved)
	}
	for command, id := range bystanders {
		l.done(command, schemas.EventCaptured)
		l.wantEffects(id, "confirm 100")
	}
	l.idle()
	if n := crashes(); n < 3 || n > 4 { // the third one decides, unless another suspect was waiting then
		t.Errorf("%d crashes, want 3 or 4", n)
	}
	if letters := consumertest.Collect(t, l.js, schemas.StreamDeadLetters, schemas.SubjectsDeadLetters); len(letters) != 1 {
		t.Errorf("%d dead letters, want 1", len(letters))
	}
	l.wantEffects(poison)
}

// supervise keeps a worker process running that one payment takes down, and counts how often it did.
func (l *line) supervise(poison linepay.TransactionID) (crashes func() int) {
	ctx, cancel := context.WithCancel(context.Background())
	n, ended := 0, make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			process := l.crashing(ctx, "poison", linepay.Confirm, crashPayment+"="+poison.String())
			if _ = process.Run(); killed(process) {
				n++
			}
		}
	}()
	stop := func() int {
		cancel()
		<-ended
		return n
	}
	l.t.Cleanup(func() { stop() })
	return stop
}
