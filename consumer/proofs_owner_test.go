package consumer_test

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"linepay-worker/consumer"
	"linepay-worker/idempotency"
	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// between does something between a worker's first and second word to Redis: between the claim that has to wait, and that of what is in the way.
type between struct {
	words atomic.Int64
	do    func()
}

func (b *between) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (b *between) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, command redis.Cmder) error {
		if command.Name() == "evalsha" && b.words.Add(1) == 2 && b.do != nil {
			b.do()
		}
		return next(ctx, command)
	}
}

func (b *between) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// otherProcess is the guard of another worker process.
func (d *desk) otherProcess(hook *between, cautious bool) *idempotency.Guard {
	d.t.Helper()
	client := d.redis.Client(d.t)
	if hook != nil {
		client.AddHook(hook)
	}
	guard, err := idempotency.New(idempotency.Config{Redis: client, Retention: time.Hour, Cautious: cautious})
	if err != nil {
		d.t.Fatal(err)
	}
	return guard
}

// use has the worker work with another guard.
func (d *desk) use(guard *idempotency.Guard) {
	d.t.Helper()
	d.cfg.Guard = guard
	var err error
	if d.worker, err = consumer.New(d.cfg); err != nil {
		d.t.Fatal(err)
	}
}

// Between the claim that has to wait and the claim of what is in the way everything can change. Whoever waits then waits on: nothing is looked
// up, and nothing is told, in the name of a command that is on its way, or of nobody.
func TestWhoWaitsKeepsOutOfWhatChangesInTheMeantime(t *testing.T) {
	t.Parallel()
	renew := func(d *desk, o order) *idempotency.Claim {
		request := d.request(o)
		request.Redelivered, request.Errand = true, d.errand(o)
		claim, err := d.guard.Claim(t.Context(), request)
		if err != nil || claim.Answer != idempotency.InDoubt {
			t.Errorf("the owner's claim is %+v, %v", claim, err)
		}
		return claim
	}
	for name, c := range map[string]struct {
		meanwhile func(*desk, order)
		cautious  bool
	}{
		"Redis goes away":      {func(d *desk, _ order) { d.redis.Kill() }, false},
		"its owner comes back": {func(d *desk, o order) { renew(d, o) }, false},
		// Only a worker that believes no record, beside one that does, gets as far as a claim of its own.
		"its owner proves that nothing happened, and gives up": {func(d *desk, o order) {
			claim := renew(d, o)
			if err := d.guard.Extend(t.Context(), claim, idempotency.Extension{Lease: time.Second, Proven: true}); err != nil {
				t.Error(err)
			}
			if err := d.guard.Release(t.Context(), claim, idempotency.Release{}); err != nil {
				t.Error(err)
			}
			request := d.request(o)
			request.Redelivered, request.Probe = true, true
			if claim, err := d.guard.Claim(t.Context(), request); err != nil || claim.Answer != idempotency.Rejected {
				t.Errorf("the owner's last claim is %+v, %v", claim, err)
			}
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			o, tx := d.ready("owner", linepay.Refund)
			d.lapse(o, d.errand(o))
			hook := &between{do: func() { c.meanwhile(d, o) }}
			d.use(d.otherProcess(hook, c.cautious))
			other := order{id: "other", op: linepay.Refund, data: refundData(tx, "ORDER-owner", "20", "R-2"), sequence: 2}
			d.expect(other, consumer.Wait, "busy: held by refund:")
			if hook.words.Load() < 2 {
				t.Error("nothing was asked about what is in the way")
			}
			d.wantCalls("", "/payments", 0)
			d.wantVerbs()
			d.wantEffects(tx, "confirm 100")
		})
	}
}

// In a long line everybody asks about the one in the way only when it has given no sign of life.
func TestWhoWaitsForALivingOwnerAsksOnce(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	o, tx := d.ready("owner", linepay.Refund)
	if claim, err := d.guard.Claim(t.Context(), d.request(o)); err != nil || !claim.Granted() {
		t.Fatalf("the owner's claim is %+v, %v", claim, err)
	}
	hook := &between{}
	d.use(d.otherProcess(hook, false))
	other := order{id: "other", op: linepay.Refund, data: refundData(tx, "ORDER-owner", "20", "R-2"), sequence: 2}
	d.expect(other, consumer.Wait, "busy: held by refund:")
	if n := hook.words.Load(); n != 1 {
		t.Errorf("Redis was asked %d times, want once", n)
	}
}

// Two processes have crashed with it in hand. Whoever waits behind it must not be the third: only its own command comes back alone.
func TestWhoWaitsKeepsItsHandsOffASuspect(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	o, tx := d.ready("owner", linepay.Refund)
	for range 2 {
		d.guard = d.otherProcess(nil, false)
		d.lapse(o, d.errand(o))
	}
	other := order{id: "other", op: linepay.Refund, data: refundData(tx, "ORDER-owner", "20", "R-2"), sequence: 2}
	d.expect(other, consumer.Wait, "busy: held by refund:")
	d.wantCalls("", "/payments", 0)
	claim, err := d.otherProcess(nil, false).Claim(t.Context(), d.request(o))
	if err != nil || claim.Answer != idempotency.InDoubt || claim.Suspicion < 2 {
		t.Errorf("its owner finds %+v, %v; want it in doubt after two crashes", claim, err)
	}
}

// A proof that Redis has not heard of lets nobody by: the next one would find the doubt, and this one's call.
func TestWhoWaitsIsNotLetByWithoutAProofOnRecord(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	o, tx := d.ready("owner", linepay.Capture)
	d.lapse(o, d.errand(o))
	<-time.After(deskTimeout + 10*time.Millisecond)
	d.wire.after = func(*http.Request) { d.redis.Kill() }
	other := order{id: "other", op: linepay.Void, data: data{"transactionId": tx.String(), "orderId": "ORDER-owner"}, sequence: 2}
	if fate := d.deliver(other); fate.Kind != consumer.Wait || !strings.Contains(fate.Why, "proof not on record") {
		t.Errorf("the fate is %s: %s (%v)", fate.Kind, fate.Why, fate.Err)
	}
	d.wantCalls("POST", "/void", 0)
	d.wantVerbs()
}

// Redis has forgotten the refund, and LINE Pay shows one of its amount. The events say that a person has yet to find out whose it is.
func TestRefundParkedInDoubtIsNotTakenForTheOneThatIsShown(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.put(schemas.EventParked, "refund:7:R-1", schemas.EventData{
		Operation: linepay.Refund, OrderID: "O", TransactionID: 7, MoneyMoved: schemas.MoneyMovedUnknown,
	})
	o := order{id: "C", op: linepay.Refund, data: refundData(7, "O", "10", "R-1"), stored: time.Now().Add(-time.Minute), delivery: 2}
	d.wire.answer = paidBy(7, "O", payment(linepay.StatusCapture, "100", refunds(entry(5, "10", now))))
	if got := d.conclusion(o); got != "parked: unresolved" {
		t.Errorf("concluded %q, want parked: unresolved", got)
	}
	d.wantCalls("POST", "", 0)
}

// It failed in its first life, and was replayed. The answer to the replay's call was lost: only what that call did counts.
func TestFailureOfAnEarlierLifeIsNoAnswerAfterACall(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.put(schemas.EventFailed, "confirm:7", schemas.EventData{
		Operation: linepay.Confirm, OrderID: "O", TransactionID: 7, Command: schemas.CommandRef{Source: "/test", ID: "C"},
	})
	o := order{id: "C", op: linepay.Confirm, data: confirmData(7, "O"), stored: time.Now(), delivery: 2}
	d.claim(o, "")
	d.wire.answer = paidBy(7, "O", payment(linepay.StatusCapture, "100"))
	if got := d.conclusion(o); got != schemas.EventCaptured {
		t.Errorf("concluded %q, want captured", got)
	}
}

// Options of a request need not say anything about the payment.
func TestRequestMayHaveOptionsThatSayNothingOfThePayment(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for _, c := range []struct {
		id, payType string
		options     data
	}{
		{"DISPLAY", "", data{"display": data{"locale": "en"}}},
		{"KEY", "PREAPPROVED", data{"payment": data{"payType": "PREAPPROVED"}}},
	} {
		o := order{id: c.id, op: linepay.Request, data: requestData(t, "O-"+c.id), stored: time.Now()}
		o.data["options"] = c.options
		d.expect(o, consumer.Ack, "requested")
		if e := d.wantAnswer(c.id, schemas.EventRequested); e.Data.PayType != c.payType {
			t.Errorf("%s: payType %q is told, want %q", c.id, e.Data.PayType, c.payType)
		}
	}
}
