package consumer_test

import (
	"context"
	"testing"

	"linepay-worker/consumer/consumertest"
	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// A worker died with the confirm in its hands, before the claim. JetStream gives the confirm to nobody else for a while, but the commands
// behind it: they must not fail for having come too early.
func TestCommandsBehindOneThatIsStuckAreNotRefused(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	stop := l.start() // creates the consumer
	stop()
	id := l.pay.Paid(t, "ORDER-1", "100", "TWD", false)
	confirm := l.send(linepay.Confirm, confirmData(id, "ORDER-1"))
	l.crashAfter("decode", linepay.Confirm)
	capture := l.send(linepay.Capture, confirmData(id, "ORDER-1"))
	refund := l.send(linepay.Refund, refundData(id, "ORDER-1", "10", "R-1"))
	l.start()
	if !consumertest.Eventually(t, func(context.Context) bool { return l.calls(linepay.Capture) > 0 }) {
		t.Fatal("the capture was not tried")
	}
	l.done(confirm, schemas.EventAuthorized)
	l.done(capture, schemas.EventCaptured)
	l.done(refund, schemas.EventRefunded)
	l.wantEffects(id, "confirm 100", "capture 100", "refund 10")
	l.agree()
}

// Both were in the hands of workers that died. The capture is in doubt and may be claimed first; it must not keep the confirm out.
func TestCommandInDoubtLetsTheEarlierOneGoFirst(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	stop := l.start()
	stop()
	id := l.pay.Paid(t, "ORDER-1", "100", "TWD", false)
	confirm := l.send(linepay.Confirm, confirmData(id, "ORDER-1"))
	l.crashAfter("decode", linepay.Confirm)
	capture := l.send(linepay.Capture, confirmData(id, "ORDER-1"))
	l.crashAfter("decode", linepay.Capture)
	l.start()
	l.done(confirm, schemas.EventAuthorized)
	l.done(capture, schemas.EventCaptured)
	l.wantEffects(id, "confirm 100", "capture 100")
	l.agree()
}
