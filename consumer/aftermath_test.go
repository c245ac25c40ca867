package consumer_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"linepay-worker/consumer"
	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
	"linepay-worker/schemas"
)

// Shutdown, and Redis going away, in the middle.

func TestShutdownDuringACallLosesNeitherTheEffectNorTheDoubt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		fault string // the code that is answered instead; "" for the true answer
		kind  consumer.FateKind
		why   string
	}{
		{"carried out", "", consumer.Ack, "captured"},
		{"refused after a proof", "1172", consumer.Retry, "outcome unknown"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			o, tx := d.ready("C", linepay.Confirm)
			if c.fault != "" {
				d.fault(simulator.Fault{Operation: linepay.Confirm, Kind: simulator.KindCode, Code: c.fault, When: simulator.After})
			}
			ctx, shutdown := context.WithCancel(t.Context())
			d.during("/confirm", shutdown)
			fate := d.worker.Handle(ctx, o.message(t))
			if fate.Kind != c.kind || !strings.HasPrefix(fate.Why, c.why) {
				t.Fatalf("the fate is %s: %s (%v), want %s: %s", fate.Kind, fate.Why, fate.Err, c.kind, c.why)
			}
			if ctx.Err() == nil {
				t.Fatal("nothing was called")
			}
			if c.kind == consumer.Ack {
				d.wantAnswer("C", schemas.EventCaptured)
				return
			}
			claim, err := d.guard.Claim(t.Context(), d.request(o))
			if err != nil || !strings.Contains(string(claim.Snapshot), "1172") {
				t.Errorf("LINE Pay's answer is not on record: %s, %v", claim.Snapshot, err)
			}
			d.wantEffects(tx, "confirm 100")
		})
	}
}

// during does something while the call of an operation is under way, when LINE Pay has done its part.
func (d *desk) during(end string, do func()) {
	var done bool
	d.wire.after = func(r *http.Request) {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, end) && !done {
			done = true
			do()
		}
	}
}

func TestEffectIsToldOnceWhenItCannotBeRecorded(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	o, tx := d.ready("C", linepay.Confirm)
	d.during("/confirm", d.redis.Stop)
	if fate := d.expect(o, consumer.Retry, "done, but not on record"); fate.Err == nil {
		t.Error("the fate does not say why")
	}
	d.wantVerbs("publish captured")
	d.redis.Start()
	o.delivery = 2
	d.finish(o)
	if len(d.shelf.events) != 1 {
		t.Errorf("%d events", len(d.shelf.events))
	}
	d.wantEffects(tx, "confirm 100")
}

func TestRefusalIsNotToldWhileItCannotBeRecorded(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	o, _ := d.ready("C", linepay.Confirm)
	d.fault(simulator.Fault{Operation: linepay.Confirm, Kind: simulator.KindCode, Code: "1142"})
	d.during("/confirm", d.redis.Stop)
	d.expect(o, consumer.Retry, "not on record")
	d.wantVerbs()
}

// Somebody else has taken the claim over: what they find out is the answer, and they have been warned.
func TestOutcomeOfALostClaimIsNotPublished(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	o, tx := d.ready("C", linepay.Confirm)
	other := o
	other.id, other.sequence = "OTHER", 2
	d.during("/confirm", func() {
		d.redis.FlushAll()
		d.claim(other, "")
	})
	d.expect(o, consumer.Wait, "somebody else took the claim over")
	d.wantVerbs()
	other.delivery = 2
	d.finish(other)
	if e := d.wantAnswer("OTHER", schemas.EventCaptured); e.Data.SettledBy != schemas.SettledByLookup {
		t.Errorf("settled by %s", e.Data.SettledBy)
	}
	d.wantEffects(tx, "confirm 100")
}

func TestRefundIsNotCalledWhenItsSnapshotCannotBeRecorded(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	o, tx := d.ready("C", linepay.Refund)
	d.wire.after = func(r *http.Request) {
		if r.Method == http.MethodGet {
			d.redis.Stop()
		}
	}
	if fate := d.expect(o, consumer.Retry, "not sent"); fate.Err == nil || !strings.Contains(fate.Err.Error(), "unavailable") {
		t.Errorf("the reason is %v", fate.Err)
	}
	d.wantCalls("POST", "", 0)
	d.wantEffects(tx, "confirm 100")
}

func TestReleaseThatFailsIsTold(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	o, _ := d.ready("C", linepay.Confirm)
	d.wire.cut = func(r *http.Request) bool { d.redis.Stop(); return true }
	if fate := d.expect(o, consumer.Retry, "not sent"); fate.Err == nil || !strings.Contains(fate.Err.Error(), "unavailable") {
		t.Errorf("the reason is %v, want it to name Redis too", fate.Err)
	}
}

// The bus going away.

func TestNothingIsAcknowledgedThatIsNotStored(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.shelf.fail = func(string) error { return errNoBus }
	for _, c := range []struct {
		name string
		data data
		why  string
	}{
		{"captured", nil, "event not stored"},
		{"rejected", data{"transactionId": "7", "orderId": "O"}, "event not stored"},
	} {
		o, _ := d.ready(c.name, linepay.Confirm)
		if c.data != nil {
			o.data = c.data
		}
		if fate := d.expect(o, consumer.Retry, c.why); fate.Err == nil || fate.After < 2*time.Millisecond {
			t.Errorf("%s: comes back after %s with %v", c.name, fate.After, fate.Err)
		}
	}
	// The dead letter comes first: without it the event would say of a command that is in no dead letters that it is.
	unreadable := order{id: "", op: linepay.Confirm, data: data{}}
	d.expect(unreadable, consumer.Retry, "dead letter not stored")
	o := order{id: "PARKED", op: linepay.Confirm, data: confirmData(8, "O"), delivery: 2}
	d.claim(o, "")
	o.data = data{"transactionId": "8", "orderId": "O"} // called when it was valid
	d.expect(o, consumer.Retry, "dead letter not stored")
	d.wantVerbs("publish captured", "publish rejected", "park invalid", "park unresolved")

	d.shelf.fail = nil
	o.delivery = 2
	d.expect(o, consumer.Ack, "parked")
	if len(d.shelf.letters) != 1 {
		t.Errorf("%d dead letters", len(d.shelf.letters))
	}
}

// A reading has no record: what tells a second delivery from a first is the event alone.
func TestReadingIsPublishedOnlyIfItIsNotStored(t *testing.T) {
	t.Parallel()
	d := newDesk(t, shortBudget)
	o := order{id: "C", op: linepay.Check, data: data{"transactionId": d.pay.Paid(t, "ORDER", "100", "TWD", true).String()}}
	d.expect(o, consumer.Ack, "status")
	unknown := order{id: "UNKNOWN", op: linepay.Check, data: data{"transactionId": "7"}}
	d.expect(unknown, consumer.Ack, "failed")
	// Its age alone is nothing against it: it may have waited for a worker.
	d.fault(simulator.Fault{Operation: linepay.Check, Kind: simulator.KindHTTP500, Count: -1})
	old := order{id: "OLD", op: linepay.Check, data: o.data, stored: time.Now().Add(-time.Hour)}
	d.expect(old, consumer.Retry, "outcome unknown")
	old.delivery = 2
	d.finish(old)
	if e := d.wantAnswer("OLD", schemas.EventParked); e.Data.MoneyMoved != schemas.MoneyMovedNo {
		t.Errorf("a reading is said to have moved %q money", e.Data.MoneyMoved)
	}
	d.wantVerbs("publish status", "publish failed", "park exhausted", "publish parked")
}
