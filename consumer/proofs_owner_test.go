package consumer_test

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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

// reclaim claims as the owner does when its command comes back.
func (d *desk) reclaim(guard *idempotency.Guard, o order) *idempotency.Claim {
	d.t.Helper()
	request := d.request(o)
	request.Redelivered, request.Replay, request.Errand = true, o.replay, d.errand(o)
	claim, err := guard.Claim(d.t.Context(), request)
	if err != nil || claim.Answer != idempotency.InDoubt {
		d.t.Errorf("the owner's claim is %+v, %v", claim, err)
	}
	return claim
}

// behindOwner has an owner fall silent, and delivers the refund behind it. Meanwhile something happens, between the claim that has to wait and
// the claim of what is in the way.
func behindOwner(t *testing.T, cautious bool, meanwhile func(*desk, order)) (*desk, order, linepay.TransactionID) {
	t.Helper()
	d := newDesk(t)
	o, tx := d.ready("owner", linepay.Refund)
	d.lapse(o, d.errand(o))
	hook := &between{do: func() { meanwhile(d, o) }}
	d.use(d.otherProcess(hook, cautious))
	behind := order{id: "behind", op: linepay.Refund, data: refundData(tx, "ORDER-owner", "20", "R-2"), sequence: 2, stored: time.Now()}
	d.expect(behind, consumer.Wait, "busy: held by refund:")
	if hook.words.Load() < 2 {
		t.Error("nothing was asked about what is in the way")
	}
	d.wantCalls("", "/payments", 0)
	d.wantVerbs()
	d.wantEffects(tx, "confirm 100")
	return d, behind, tx
}

// Whoever waits waits on: nothing is looked up, and nothing is told, in the name of a command that is on its way.
func TestWhoWaitsKeepsOutOfTheWayOfAnOwnerThatComesBack(t *testing.T) {
	t.Parallel()
	behindOwner(t, false, func(d *desk, o order) { d.reclaim(d.guard, o) })
}

func TestWhoWaitsWaitsOnWhereRedisGoesAway(t *testing.T) {
	t.Parallel()
	behindOwner(t, false, func(d *desk, _ order) { d.redis.Kill() })
}

// The owner is answered in the meantime. A worker that believes no record (CAUTIOUS) claims what is left all the same, and then it is nobody's:
// nothing is told of it, and it does not hold the payment for ever.
func TestWhoWaitsIsNotHeldUpByWhatIsNobodys(t *testing.T) {
	t.Parallel()
	for name, meanwhile := range map[string]func(*desk, order){
		"its owner was refused": func(d *desk, o order) {
			refused := idempotency.Settlement{State: idempotency.StateRefused, Outcome: []byte("{}")}
			if err := d.guard.Settle(t.Context(), d.reclaim(d.guard, o), refused); err != nil {
				t.Error(err)
			}
		},
		"its owner was not called, and has expired": func(d *desk, o order) { // by a worker that believes records
			claim := d.reclaim(d.guard, o)
			err := d.guard.Extend(t.Context(), claim, idempotency.Extension{Lease: time.Second, Proven: true})
			if err == nil {
				err = d.guard.Release(t.Context(), claim, idempotency.Release{})
			}
			if err != nil {
				t.Error(err)
			}
			request := d.request(o)
			request.Redelivered, request.Probe = true, true
			if claim, err := d.guard.Claim(t.Context(), request); err != nil || claim.Answer != idempotency.Rejected {
				t.Errorf("the owner's last claim is %+v, %v", claim, err)
			}
		},
		"its owner was parked uncalled, replayed, and has expired": func(d *desk, o order) {
			uncalled := idempotency.Settlement{State: idempotency.StateParked, Outcome: []byte(`{"events":[]}`), Unsent: true}
			if err := d.guard.Settle(t.Context(), d.reclaim(d.guard, o), uncalled); err != nil {
				t.Error(err)
			}
			o.replay = 7
			claim := d.reclaim(d.otherProcess(nil, true), o)
			err := d.guard.Extend(t.Context(), claim, idempotency.Extension{Lease: time.Second, Proven: true})
			if err == nil {
				err = d.guard.Release(t.Context(), claim, idempotency.Release{})
			}
			if err != nil {
				t.Error(err)
			}
			request := d.request(o)
			request.Redelivered, request.Probe, request.Replay = true, true, o.replay
			if claim, err := d.guard.Claim(t.Context(), request); err != nil || claim.Answer != idempotency.Rejected {
				t.Errorf("the owner's last claim is %+v, %v", claim, err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, behind, tx := behindOwner(t, true, meanwhile)
			d.finish(behind)
			d.wantAnswer("behind", schemas.EventRefunded)
			d.wantVerbs("publish refunded")
			d.wantEffects(tx, "confirm 100", "refund 20")
			other := d.request(order{id: "other", op: linepay.Refund, data: refundData(tx, "ORDER-owner", "10", "R-1"), sequence: 3})
			if seen, err := d.guard.Foresee(t.Context(), other); err != nil || seen.Answer != idempotency.Fresh {
				t.Errorf("another command for it finds %s: %s (%v); want no doubt, for nobody is left to resolve it", seen.Answer, seen.Reason, err)
			}
		})
	}
}

// Two commands for one refund were parked. A copy of the second that was on its way meanwhile opens the operation again, and nobody will come
// back for it: who waits behind it puts it back as it was parked.
func TestWhatALateCopyOpenedAgainIsPutBackAsItWasParked(t *testing.T) {
	t.Parallel()
	d := newDesk(t, impatient)
	o, _, tx := d.parked(linepay.Refund)
	late := o
	late.id, late.sequence, late.replay = "late", 2, 0
	d.lapse(late, nil)
	told := len(d.shelf.verbs)
	behind := order{id: "behind", op: linepay.Refund, data: refundData(tx, "ORDER-A", "20", "R-2"), sequence: 3, stored: time.Now()}
	d.finish(behind)
	d.wantAnswer("behind", schemas.EventRefunded)
	if diff := cmp.Diff([]string{"publish refunded"}, d.shelf.verbs[told:]); diff != "" {
		t.Errorf("on the bus (-want +got):\n%s", diff)
	}
	o.replay = 0
	if seen, err := d.guard.Foresee(t.Context(), d.request(o)); err != nil || seen.Answer != idempotency.Parked {
		t.Errorf("%+v, %v, want that the owner is parked as before", seen, err)
	}
	d.wantEffects(tx, "confirm 100", "refund 10", "refund 10", "refund 20")
}

// An operator has replayed what was parked, and two processes have crashed with it in hand. Its own command comes back for it, alone: it must not
// find the answer of its earlier life instead.
func TestReplayIsNotPutBackAsItWasParkedBefore(t *testing.T) {
	t.Parallel()
	d := newDesk(t, impatient)
	o, _, tx := d.parked(linepay.Refund)
	told := len(d.shelf.verbs)
	request := d.request(o)
	request.Replay, request.Errand, request.CallFor, request.Lease = o.replay, d.errand(o), time.Millisecond, 2*time.Millisecond
	for range 2 {
		claim, err := d.otherProcess(nil, false).Claim(t.Context(), request)
		if err != nil || claim.Answer != idempotency.InDoubt || len(claim.Outcome) == 0 {
			t.Fatalf("the replay's claim is %+v, %v", claim, err)
		}
		d.untilLapsed(claim)
	}
	behind := order{id: "behind", op: linepay.Refund, data: refundData(tx, "ORDER-A", "20", "R-2"), sequence: 3, stored: time.Now()}
	d.expect(behind, consumer.Wait, "busy: held by refund:")
	if seen, err := d.otherProcess(nil, false).Foresee(t.Context(), request); err != nil || seen.Answer != idempotency.InDoubt || seen.Suspicion < 2 {
		t.Errorf("the replay finds %+v, %v; want it in doubt after two crashes", seen, err)
	}
	if len(d.shelf.verbs) != told {
		t.Errorf("the bus was told %q", d.shelf.verbs[told:])
	}
}

// Who has let the owner's operation go takes no second place in the line, which would hold up those behind it for minutes when it is done itself.
func TestOperationThatIsLetGoHoldsUpNobodyBehind(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	o, tx := d.ready("owner", linepay.Capture)
	d.lapse(o, d.errand(o))
	<-time.After(deskTimeout + 10*time.Millisecond)
	second := order{id: "second", op: linepay.Void, data: data{"transactionId": tx.String(), "orderId": "ORDER-owner"}, sequence: 2, stored: time.Now()}
	d.expect(second, consumer.Wait, "in the name of the command that is in the way: nothing happened")
	d.expect(second, consumer.Ack, "voided")
	third := order{id: "third", op: linepay.Refund, data: refundData(tx, "ORDER-owner", "20", "R-2"), sequence: 3, stored: time.Now()}
	d.expect(third, consumer.Ack, "failed")
	d.wantEffects(tx, "confirm 100", "void 100")
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
	if want := "1 refund of transaction 7 could be this one: 5 of "; len(d.shelf.details) != 1 || !strings.HasPrefix(d.shelf.details[0], want) {
		t.Errorf("the dead letters say %q, want one that says %q", d.shelf.details, want)
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
