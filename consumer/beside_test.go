package consumer_test

import (
	"testing"
	"time"

	"linepay-worker/consumer"
	"linepay-worker/idempotency"
	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// Commands that are answered for themselves, while another one owns the operation.

// An expired command resolves nobody's doubt but its own.
func TestExpiredCommandLeavesAnothersDoubtAlone(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	first, tx := d.ready("FIRST", linepay.Confirm)
	request := d.request(first)
	request.Replay, request.CallFor, request.Lease = 5, time.Millisecond, 2*time.Millisecond // in doubt, and never called since
	if claim, err := d.guard.Claim(t.Context(), request); err != nil || claim.Answer != idempotency.InDoubt {
		t.Fatalf("the claim: %+v, %v", claim, err)
	}
	<-time.After(deskTimeout + 10*time.Millisecond)
	expired := first
	expired.id, expired.sequence, expired.expiry = "EXPIRED", 2, time.Now().Add(-time.Minute)
	d.expect(expired, consumer.Ack, "rejected: expired")
	d.wantCalls("POST", "", 0)
	looked := d.calls("GET", "")
	first.delivery, first.replay = 2, 5
	d.finish(first)
	if d.calls("GET", "") == looked {
		t.Error("the first command was called without a look: its doubt was forgotten")
	}
	d.wantAnswer("FIRST", schemas.EventCaptured)
	d.wantEffects(tx, "confirm 100")
	// Its acknowledgement was lost: its answer stays what it was, though the operation is done by now.
	expired.delivery = 2
	d.expect(expired, consumer.Ack, "rejected: expired")
}

// What contradicts the events of the order, while another command owns the doubtful operation, stays a conflict when its acknowledgement is lost
// and the operation is done by then.
func TestConflictBesideTheOwnerStaysOne(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	first, tx := d.ready("FIRST", linepay.Confirm)
	d.lapse(first, nil)
	d.put(schemas.EventCaptured, "confirm:"+tx.String(), schemas.EventData{
		OrderID: "ORDER-FIRST", TransactionID: tx, Fingerprint: "other data's", Command: schemas.CommandRef{Source: "/test", ID: "EARLIER"},
	})
	second := first
	second.id, second.sequence = "SECOND", 2
	d.expect(second, consumer.Ack, "rejected: conflict")
	d.shelf.events = nil // and Redis is what is left: the operation is done, by the same data
	request := d.request(first)
	request.Redelivered = true
	claim, err := d.guard.Claim(t.Context(), request)
	if err == nil {
		err = d.guard.Settle(t.Context(), claim, idempotency.Settlement{State: idempotency.StateDone, Outcome: []byte("{}")})
	}
	if err != nil {
		t.Fatal(err)
	}
	second.delivery = 2
	d.expect(second, consumer.Ack, "rejected: conflict")
	d.wantCalls("POST", "", 0)
}

// What is invalid is told so, and not that it contradicts what the events of the order tell.
func TestInvalidCommandIsNoConflictWithWhatTheEventsTell(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	first, tx := d.ready("FIRST", linepay.Confirm)
	d.put(schemas.EventCaptured, "confirm:"+tx.String(), schemas.EventData{OrderID: "ORDER-FIRST", TransactionID: tx, Fingerprint: "first's"})
	invalid := first
	invalid.id, invalid.sequence, invalid.delivery = "INVALID", 2, 2
	invalid.data = data{"transactionId": tx.String(), "orderId": "ORDER-FIRST", "amount": "-1", "currency": "TWD"}
	d.finish(invalid)
	if e := d.wantAnswer("INVALID", schemas.EventRejected); e.Data.Reason != schemas.ReasonInvalid {
		t.Errorf("rejected as %s", e.Data.Reason)
	}
	d.wantCalls("POST", "", 0)
}
