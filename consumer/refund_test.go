package consumer_test

import (
	"context"
	"strings"
	"testing"

	"linepay-worker/consumer/consumertest"
	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
	"linepay-worker/schemas"
)

func TestLostRefundIsFoundAmongEqualOnes(t *testing.T) {
	t.Parallel()
	l := startLine(t)
	id := l.confirmed("ORDER-1")
	first := l.done(l.send(linepay.Refund, refundData(id, "ORDER-1", "10", "R-1")), schemas.EventRefunded)
	l.fault(simulator.Fault{Operation: linepay.Refund, Kind: simulator.KindDrop, When: simulator.After})
	second := l.done(l.send(linepay.Refund, refundData(id, "ORDER-1", "10", "R-2")), schemas.EventRefunded)
	if second.Data.SettledBy != schemas.SettledByLookup || second.Data.RefundTransactionID == first.Data.RefundTransactionID {
		t.Errorf("the lost refund is %+v, the one before it %s", second.Data, first.Data.RefundTransactionID)
	}
	l.wantEffects(id, "confirm 100", "refund 10", "refund 10")
	l.agree()
}

func TestFullRefundWhoseAnswerIsLostSaysWhatItGaveBack(t *testing.T) {
	t.Parallel()
	l := startLine(t)
	id := l.confirmed("ORDER-1")
	l.done(l.send(linepay.Refund, refundData(id, "ORDER-1", "30", "R-1")), schemas.EventRefunded)
	l.fault(simulator.Fault{Operation: linepay.Refund, Kind: simulator.KindDrop, When: simulator.After})
	full := l.done(l.send(linepay.Refund, data{"transactionId": id.String(), "orderId": "ORDER-1"}), schemas.EventRefunded)
	if full.Data.RefundAmount.String() != "70" || full.Data.Currency != "TWD" {
		t.Errorf("the full refund says %s %s, want 70 TWD", full.Data.RefundAmount, full.Data.Currency)
	}
	l.agree()
}

// An equal refund made by hand while ours is unknown: nobody can tell them apart, so a person decides.
func TestRefundThatCannotBeToldFromAnotherIsParkedWithEvidence(t *testing.T) {
	t.Parallel()
	l := startLine(t)
	id := l.confirmed("ORDER-1")
	// The worker still waits for the answer while the other refund is made.
	l.fault(simulator.Fault{Operation: linepay.Refund, Kind: simulator.KindDelay, Delay: 3 * readTimeout, When: simulator.After})
	command := l.send(linepay.Refund, refundData(id, "ORDER-1", "10", "R-1"))
	if !consumertest.Eventually(t, func(context.Context) bool { return len(l.effects(id)) == 2 }) {
		t.Fatal("the refund was not carried out")
	}
	if _, err := l.pay.Sim.RefundByHand(id, linepay.MustAmount("10")); err != nil {
		t.Fatal(err)
	}
	e := l.event(command)
	letters := consumertest.Collect(t, l.js, schemas.StreamDeadLetters, "linepay.deadletters.>")
	if e.Name() != schemas.EventParked || e.Data.MoneyMoved != schemas.MoneyMovedUnknown || len(letters) != 1 {
		t.Fatalf("event is %s, %d dead letters", e.Name(), len(letters))
	}
	d, err := schemas.ParseDeadLetter(letters[0].Header)
	if err != nil || d.Reason != schemas.ReasonUnresolved || !strings.Contains(d.Detail, "2 refunds of transaction") {
		t.Errorf("dead letter says %+v, %v", d, err)
	}
}

// Redis forgets everything; the order's own events still know the refund.
func TestRefundThatRedisForgotIsNotRepeated(t *testing.T) {
	t.Parallel()
	l := startLine(t)
	id := l.confirmed("ORDER-1")
	l.done(l.send(linepay.Refund, refundData(id, "ORDER-1", "10", "R-1")), schemas.EventRefunded)
	l.idle()
	l.redis.FlushAll()
	l.done(l.send(linepay.Refund, refundData(id, "ORDER-1", "10", "R-1")), schemas.EventDuplicate)
	l.wantEffects(id, "confirm 100", "refund 10")
	l.agree()
}

func TestRefundScaleFollowsThePaymentsCurrency(t *testing.T) {
	t.Parallel()
	l := startLine(t)
	id := l.confirmed("ORDER-1")
	rejected := l.done(l.send(linepay.Refund, refundData(id, "ORDER-1", "10.5", "R-1")), schemas.EventRejected)
	if rejected.Data.Reason != schemas.ReasonInvalid || rejected.Data.Errors[0].Path != "/data/refundAmount" {
		t.Errorf("rejected for %s: %+v", rejected.Data.Reason, rejected.Data.Errors)
	}
	if n := l.calls(linepay.Refund); n != 0 {
		t.Errorf("%d refunds were called", n)
	}
}
