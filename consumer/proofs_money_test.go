package consumer_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"linepay-worker/consumer"
	"linepay-worker/idempotency"
	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
	"linepay-worker/schemas"
)

// An answer that the bus does not take is only replaced where it is a reading's: an effect is told as it is, or not at all.
func TestEffectThatIsTooLargeForTheBusIsNotToldAsAFailure(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.shelf.fail = func(verb string) error {
		if verb == "publish captured" {
			return nats.ErrMaxPayload
		}
		return nil
	}
	o, tx := d.ready("C", linepay.Confirm)
	d.expect(o, consumer.Retry, "event not stored")
	d.wantVerbs("publish captured")
	d.wantEffects(tx, "confirm 100")
}

func TestReadingIsAnsweredOnce(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	_, tx := d.ready("PAID", linepay.Refund)
	d.expect(order{id: "READ", op: linepay.Details, data: data{"transactionIds": []string{tx.String()}}}, consumer.Ack, "details")
	if e := d.wantAnswer("READ", schemas.EventDetails); len(e.Data.Payments) != 1 {
		t.Errorf("it shows %d payments, want 1", len(e.Data.Payments))
	}
	d.wantVerbs("publish details")
}

// Redis forgot an earlier call. What the next one is refused for may be what the first has done since the look-up.
func TestRefusalAfterAProofIsLookedIntoThoughNoCallIsOnRecord(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	o, tx := d.ready("C", linepay.Confirm)
	o.delivery = 2
	d.expect(o, consumer.Wait, "in doubt: too early")
	<-time.After(deskTimeout + 10*time.Millisecond)
	d.wire.answer = func(r *http.Request) string {
		if r.Method != http.MethodPost {
			return ""
		}
		d.wire.answer = nil
		if _, err := d.pay.Client(t).Confirm(t.Context(), tx, linepay.MustAmount("100"), "TWD"); err != nil {
			t.Error(err)
		}
		return code("1142")
	}
	if fate := d.deliver(o); fate.Kind == consumer.Ack {
		t.Errorf("the fate is %s: %s", fate.Kind, fate.Why)
	}
	d.finish(o)
	d.wantAnswer("C", schemas.EventCaptured)
	d.wantEffects(tx, "confirm 100")
}

// LINE Pay says 1198 to a capture also where it has yet to authorise anew: what it does in the end shows later.
func TestCaptureThatIsStillRunningIsNotTakenForRefused(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	o, tx := d.ready("C", linepay.Capture)
	d.fault(simulator.Fault{Operation: linepay.Capture, Kind: simulator.KindCode, Code: "1198"})
	d.expect(o, consumer.Retry, "outcome unknown")
	d.finish(o)
	d.wantAnswer("C", schemas.EventCaptured)
	d.wantEffects(tx, "confirm 100", "capture 100")
}

// Redis forgot, the events did not: the customer is on the first payment page.
func TestPaymentPageThatTheEventsTellOfIsNotMadeAgain(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	o := order{id: "C", op: linepay.Request, data: requestData(t, "O"), delivery: 2, stored: time.Now()}
	d.put(schemas.EventRequested, "request:O", schemas.EventData{
		Operation: linepay.Request, OrderID: "O", TransactionID: 7, Command: schemas.CommandRef{Source: "/test", ID: "C"},
	})
	d.expect(o, consumer.Ack, "its event was stored already")
	d.wantCalls("", "", 0)
}

// A command that is answered beside a parked owner leaves the owner's doubt and its dead letter as they were.
func TestOwnerStaysParkedInDoubtWhateverIsAnsweredBesideIt(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	tx := linepay.TransactionID(7)
	d.wire.answer = paidBy(tx, "O", payment(linepay.StatusCapture, "100", refunds(entry(5, "10", now), entry(6, "10", now))))
	owner := order{id: "OWNER", op: linepay.Refund, data: refundData(tx, "O", "10", "R-1"), stored: time.Now()}
	d.claim(owner, "")
	<-time.After(deskTimeout + 10*time.Millisecond)
	owner.delivery = 2
	d.expect(owner, consumer.Ack, "parked: unresolved")

	beside := owner
	beside.id, beside.sequence, beside.delivery = "BESIDE", 2, 1
	d.put(schemas.EventFailed, "", schemas.EventData{
		Operation: linepay.Refund, OrderID: "O", Command: schemas.CommandRef{Source: "/test", ID: "BESIDE"},
	})
	d.expect(beside, consumer.Ack, "its event was stored already")

	owner.delivery = 3
	d.expect(owner, consumer.Ack, "parked")
	d.wantVerbs("park unresolved", "publish parked", "publish failed", "publish parked")
	if e := d.wantAnswer("OWNER", schemas.EventParked); e.Data.MoneyMoved != schemas.MoneyMovedUnknown {
		t.Errorf("the owner's answer says %+v", e.Data)
	}
	d.shelf.events = nil // so that only the guard knows of the doubt
	owner.replay, owner.delivery = 9, 1
	d.expect(owner, consumer.Ack, "parked: unresolved")
	d.wantCalls("POST", "", 0)
}

// Redis goes away during a call that is refused after an earlier one: the refusal cannot be noted, and that is told.
func TestRefusalThatCannotBeNotedIsTold(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	o, _ := d.ready("C", linepay.Confirm)
	d.claim(o, "")
	<-time.After(deskTimeout + 10*time.Millisecond)
	d.wire.answer = func(r *http.Request) string {
		if r.Method != http.MethodPost {
			return ""
		}
		d.redis.Kill()
		return code("1142")
	}
	o.delivery = 2
	fate := d.expect(o, consumer.Retry, "outcome unknown")
	text := fate.Err.Error()
	if !errors.Is(fate.Err, idempotency.ErrUnavailable) || !strings.Contains(text, "extend: ") || !strings.Contains(text, "1142") {
		t.Errorf("the error is %v, want LINE Pay's code and what could not be noted", fate.Err)
	}
}
