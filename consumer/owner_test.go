package consumer_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/consumer"
	"linepay-worker/consumer/consumertest"
	"linepay-worker/idempotency"
	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
	"linepay-worker/schemas"
)

// The command that holds the payment is gone with its worker: somebody has purged it. Who waits behind it finds out what it did, tells it under
// its id, and goes on.
func TestWhoWaitsResolvesTheOperationInTheWayInItsOwnersName(t *testing.T) {
	t.Parallel()
	purge := func(l *line) {
		stream, err := l.js.Stream(l.t.Context(), schemas.StreamCommands)
		if err == nil {
			err = stream.Purge(l.t.Context(), jetstream.WithPurgeSubject(schemas.CommandSubject("tw", "*")))
		}
		if err != nil {
			l.t.Fatal(err)
		}
	}
	t.Run("it happened", func(t *testing.T) {
		t.Parallel()
		l := newLine(t)
		l.start()()
		id := l.pay.Paid(t, "ORDER-1", "100", "TWD", true)
		purged := l.send(linepay.Confirm, confirmData(id, "ORDER-1"))
		l.crashAfter("call", linepay.Confirm)
		purge(l)
		refund := l.send(linepay.Refund, refundData(id, "ORDER-1", "10", "R-1"))
		l.start()
		l.done(refund, schemas.EventRefunded)
		if e := l.done(purged, schemas.EventCaptured); e.Data.SettledBy != schemas.SettledByLookup || e.Data.Amount.String() != "100" {
			t.Errorf("settled by %s, amount %s", e.Data.SettledBy, e.Data.Amount)
		}
		l.idle()
		l.wantEffects(id, "confirm 100", "refund 10")
		l.agree()
	})
	t.Run("a refund, told from the one made by hand", func(t *testing.T) {
		t.Parallel()
		l := newLine(t)
		stop := l.start()
		id := l.confirmed("ORDER-1")
		stop()
		purged := l.send(linepay.Refund, refundData(id, "ORDER-1", "10", "R-1"))
		l.crashAfter("call", linepay.Refund)
		purge(l)
		next := l.send(linepay.Refund, refundData(id, "ORDER-1", "10", "R-2"))
		l.start()
		first, second := l.done(purged, schemas.EventRefunded), l.done(next, schemas.EventRefunded)
		if first.Data.RefundTransactionID == second.Data.RefundTransactionID {
			t.Error("both tell the same refund")
		}
		l.idle()
		l.wantEffects(id, "confirm 100", "refund 10", "refund 10")
		l.agree()
	})
	t.Run("nothing happened, and its owner alone may call", func(t *testing.T) {
		t.Parallel()
		l := newLine(t)
		stop := l.start()
		id := l.authorized("ORDER-1")
		stop()
		l.fault(simulator.Fault{Operation: linepay.Capture, Kind: simulator.KindDrop, When: simulator.Before})
		l.send(linepay.Capture, confirmData(id, "ORDER-1"))
		l.crashAfter("call", linepay.Capture)
		purge(l)
		void := l.send(linepay.Void, data{"transactionId": id.String(), "orderId": "ORDER-1"})
		l.start()
		l.done(void, schemas.EventVoided)
		l.idle()
		l.wantEffects(id, "confirm 100", "void 100")
		l.agree()
	})
}

// errand is what a worker leaves with the claim for an order.
func (d *desk) errand(o order) []byte {
	d.t.Helper()
	text, err := json.Marshal(map[string]any{"op": o.op, "data": o.data, "fp": d.request(o).Fingerprint, "stored": o.stored.UTC()})
	if err != nil {
		d.t.Fatal(err)
	}
	return text
}

// What only its own command can decide, or LINE Pay does not tell, is left in doubt, and the payment stays held.
func TestWhoWaitsLeavesInDoubtWhatItCannotResolve(t *testing.T) {
	t.Parallel()
	down := func(d *desk) { d.wire.cut = func(*http.Request) bool { return true } }
	ambiguous := func(d *desk, tx linepay.TransactionID) {
		for range 2 {
			if _, err := d.pay.Client(d.t).Refund(d.t.Context(), tx, new(linepay.MustAmount("10"))); err != nil {
				d.t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		errand func(*desk, order) []byte
		before func(*desk, linepay.TransactionID)
		looks  int // at LINE Pay
		alters []string
	}{
		"LINE Pay is away":           {(*desk).errand, func(d *desk, _ linepay.TransactionID) { down(d) }, 0, nil},
		"two refunds could be it":    {(*desk).errand, ambiguous, 1, []string{"refund 10", "refund 10"}},
		"its owner left nothing":     {func(*desk, order) []byte { return nil }, nil, 0, nil},
		"nobody can read the errand": {func(*desk, order) []byte { return []byte(`{"op":"details"}`) }, nil, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, func(cfg *consumer.Config) { cfg.RetryBudget = cfg.RetryMax })
			o, tx := d.ready("owner", linepay.Refund)
			d.lapse(o, c.errand(d, o))
			if c.before != nil {
				c.before(d, tx)
			}
			other := order{id: "other", op: linepay.Refund, data: refundData(tx, "ORDER-owner", "20", "R-2"), sequence: 2}
			for range 5 {
				if fate := d.deliver(other); fate.Kind != consumer.Wait {
					t.Fatalf("the fate is %s: %s (%v)", fate.Kind, fate.Why, fate.Err)
				}
			}
			d.wantCalls("GET", "", c.looks)
			d.wantCalls("POST", "", 0)
			d.wantVerbs()
			d.wantEffects(tx, append([]string{"confirm 100"}, c.alters...)...)
			if left, err := d.guard.Foresee(t.Context(), d.request(o)); err != nil || left.Answer != idempotency.InDoubt {
				t.Errorf("its owner finds %+v, %v", left, err)
			}
		})
	}
}

// lapse claims as a worker does that is never heard of again.
func (d *desk) lapse(o order, errand []byte) {
	d.t.Helper()
	request := d.request(o)
	request.CallFor, request.Lease, request.Errand = time.Millisecond, 2*time.Millisecond, errand
	claim, err := d.guard.Claim(d.t.Context(), request)
	if err != nil {
		d.t.Fatal(err)
	}
	d.untilLapsed(claim)
}

func (d *desk) untilLapsed(claim *idempotency.Claim) {
	d.t.Helper()
	if !consumertest.Eventually(d.t, func(ctx context.Context) bool {
		now, err := d.guard.Time(ctx)
		return err == nil && now.After(claim.Until)
	}) {
		d.t.Fatal("the lease does not lapse")
	}
}
