package consumer_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"linepay-worker/consumer"
	"linepay-worker/consumer/consumertest"
	"linepay-worker/idempotency"
	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
	"linepay-worker/schemas"
)

// Each test here is for one branch of the line that something is lost without: it fails when that branch goes.

// What the record says.

func TestAnswerOnRecordIsGivenAgainWithoutACall(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	done, _ := d.ready("DONE", linepay.Confirm)
	d.expect(done, consumer.Ack, "captured")
	refused, _ := d.ready("REFUSED", linepay.Confirm)
	d.fault(simulator.Fault{Operation: linepay.Confirm, Kind: simulator.KindCode, Code: "1142"})
	d.expect(refused, consumer.Ack, "failed")
	calls := d.calls("POST", "/confirm")
	done.delivery, refused.delivery = 2, 2
	d.expect(done, consumer.Ack, "done")
	d.expect(refused, consumer.Ack, "refused before")
	d.wantCalls("POST", "/confirm", calls)
	d.wantVerbs("publish captured", "publish failed", "publish captured", "publish failed")
	if len(d.shelf.events) != 2 {
		t.Errorf("%d events, want the first two under their ids", len(d.shelf.events))
	}
}

func TestParkedCommandIsParkedAgainUnderItsName(t *testing.T) {
	t.Parallel()
	d := newDesk(t, shortBudget)
	d.wire.cut = func(r *http.Request) bool { return r.Method == http.MethodPost }
	o, tx := d.ready("C", linepay.Confirm)
	d.finish(o)
	first := d.wantAnswer("C", schemas.EventParked)
	if first.Data.MoneyMoved != schemas.MoneyMovedNo || first.Data.Reason != schemas.ReasonExhausted {
		t.Errorf("parked says %q, money moved %q; nothing was ever sent", first.Data.Reason, first.Data.MoneyMoved)
	}
	o.delivery = 9
	d.expect(o, consumer.Ack, "parked")
	if len(d.shelf.letters) != 1 || len(d.shelf.events) != 1 {
		t.Errorf("%d dead letters and %d events, want one of each, stored twice under its id", len(d.shelf.letters), len(d.shelf.events))
	}
	d.wantVerbs("park exhausted", "publish parked", "publish parked") // this process knows that the dead letter is stored

	// Parked again from a replay it is another dead letter, and another event.
	o.replay, o.delivery, o.sequence = 5, 1, 2
	d.finish(o)
	if again := d.wantAnswer("C", schemas.EventParked); len(d.shelf.letters) != 2 || again.ID == first.ID {
		t.Errorf("%d dead letters, event %s after %s: a replay that is parked must not look like the first parking", len(d.shelf.letters), again.ID, first.ID)
	}

	// Nothing was sent, so a replay calls without looking first.
	d.wire.cut = nil
	o.replay, o.sequence = 6, 3
	d.expect(o, consumer.Ack, "captured")
	d.wantCalls("GET", "/v3/payments", 0)
	d.wantEffects(tx, "confirm 100")
}

func shortBudget(c *consumer.Config) { c.RetryBudget = 5 * time.Millisecond }

func TestReplayOfAParkedCommandLooksFirstWhereMoneyMayHaveMoved(t *testing.T) {
	t.Parallel()
	d := newDesk(t, shortBudget)
	o, tx := d.ready("C", linepay.Confirm)
	d.fault(simulator.Fault{Operation: linepay.Confirm, Kind: simulator.KindDrop, When: simulator.After})
	d.fault(simulator.Fault{Operation: linepay.Details, Kind: simulator.KindHTTP500, Count: 9})
	d.finish(o)
	if e := d.wantAnswer("C", schemas.EventParked); e.Data.MoneyMoved != schemas.MoneyMovedUnknown {
		t.Errorf("money moved is %q, want unknown", e.Data.MoneyMoved)
	}
	d.pay.Sim.ClearFaults()
	o.replay, o.sequence = 5, 2
	d.expect(o, consumer.Ack, "captured")
	if e := d.wantAnswer("C", schemas.EventCaptured); e.Data.SettledBy != schemas.SettledByLookup {
		t.Errorf("settled by %s", e.Data.SettledBy)
	}
	d.wantEffects(tx, "confirm 100")
}

func TestRecordThatCannotBeReadCallsNothing(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	notes, _ := d.ready("NOTES", linepay.Confirm)
	d.claim(notes, `"damaged"`)
	if fate := d.expect(notes, consumer.Retry, "the record cannot be read"); fate.Err == nil {
		t.Error("the fate does not say why")
	}
	for _, c := range []struct{ name, outcome string }{{"not JSON", `x`}, {"no event", `{"events":[{}]}`}} {
		o, _ := d.ready(c.name, linepay.Confirm)
		claim := d.claim(o, "")
		if err := d.guard.Settle(t.Context(), claim, idempotency.Settlement{State: idempotency.StateDone, Outcome: []byte(c.outcome)}); err != nil {
			t.Fatal(err)
		}
		d.expect(o, consumer.Retry, "the record's outcome cannot be read")
		o.id = "ANOTHER"
		d.expect(o, consumer.Retry, "the record's outcome cannot be read")
	}
	none, _ := d.ready("EMPTY", linepay.Confirm)
	if err := d.guard.Settle(t.Context(), d.claim(none, ""), idempotency.Settlement{State: idempotency.StateDone, Outcome: []byte(`{}`)}); err != nil {
		t.Fatal(err)
	}
	d.expect(none, consumer.Retry, "the record's outcome cannot be read") // it has no answer to give
	none.id = "ANOTHER"
	d.expect(none, consumer.Retry, "the record's outcome cannot be read") // there is nothing to be a duplicate of
	d.wantVerbs()
	d.wantCalls("", "", 0)
}

func TestInvalidDataIsNobodysDuplicate(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	o, _ := d.ready("C", linepay.Confirm)
	d.expect(o, consumer.Ack, "captured")
	o.id, o.data, o.sequence = "INVALID", data{"transactionId": o.data["transactionId"], "orderId": "ORDER-C", "amount": "x", "currency": "TWD"}, 2
	d.expect(o, consumer.Ack, "rejected: invalid")
	if e := d.wantAnswer("INVALID", schemas.EventRejected); e.Data.Calls != 0 {
		t.Errorf("the rejected command is said to have made %d calls", e.Data.Calls)
	}
}

func TestDuplicateMadeNoCalls(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	o, _ := d.ready("C", linepay.Confirm)
	d.expect(o, consumer.Ack, "captured")
	o.id, o.sequence = "AGAIN", 2
	d.expect(o, consumer.Ack, "duplicate")
	if e := d.wantAnswer("AGAIN", schemas.EventDuplicate); e.Data.Calls != 0 || e.Data.Of.Command.ID != "C" {
		t.Errorf("duplicate of %s with %d calls, want of C with none", e.Data.Of.Command.ID, e.Data.Calls)
	}
}

func TestCommandBehindAnotherAsksAgainSoon(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	o, _ := d.ready("C", linepay.Capture)
	request := d.request(o)
	request.Lease = time.Hour
	if _, err := d.guard.Claim(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	behind := order{id: "VOID", op: linepay.Void, data: data{"transactionId": o.data["transactionId"], "orderId": "ORDER-C"}, sequence: 2}
	if fate := d.expect(behind, consumer.Wait, "busy: held by capture:"); fate.After > 10*time.Second {
		t.Errorf("it comes back after %s, the holder may be done in milliseconds", fate.After)
	}
	d.wantVerbs()
	d.wantCalls("", "", 0)
}

// An earlier command that did not come back.

// Another command finds the operation done, in doubt: the first one gets its answer first, under its own name.
func TestOperationIsResolvedInTheNameOfItsOwner(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for _, c := range []struct {
		name      string
		carried   bool
		why, want string
	}{
		{"LANDED", true, "captured, for the command that had claimed it", schemas.EventCaptured},
		{"DEAD", false, "failed, for the command that had claimed it", schemas.EventFailed},
	} {
		first, tx := d.ready(c.name, linepay.Confirm)
		d.claim(first, `{"code":"1142"}`)
		if c.carried {
			if _, err := d.pay.Client(t).Confirm(t.Context(), tx, linepay.MustAmount("100"), "TWD"); err != nil {
				t.Fatal(err)
			}
		}
		second := first
		second.id, second.sequence = "AFTER-"+c.name, 2
		<-time.After(deskTimeout + 10*time.Millisecond) // by then it is believed that the claim's call is over
		fate := d.deliver(second)
		if fate.Kind != consumer.Wait || fate.Why != c.why {
			t.Errorf("%s: the fate is %s: %s", c.name, fate.Kind, fate.Why)
		}
		d.wantAnswer(c.name, c.want)
		for _, e := range d.shelf.events {
			if e.Data.Command.ID == second.id {
				t.Errorf("%s: the second command has the answer %s already", c.name, e.Name())
			}
		}
		// It comes round again and finds the record: a duplicate of what was done, free where it was refused.
		second.delivery = 2
		d.finish(second)
		if c.carried {
			if e := d.wantAnswer(second.id, schemas.EventDuplicate); e.Data.Of.Command.ID != c.name {
				t.Errorf("duplicate of %+v", e.Data.Of)
			}
		} else {
			d.wantAnswer(second.id, schemas.EventCaptured)
		}
		d.wantEffects(tx, "confirm 100")
	}
}

func TestInvalidCommandLeavesAnothersDoubtAlone(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	first, tx := d.ready("C", linepay.Confirm)
	d.claim(first, "")
	if _, err := d.pay.Client(t).Confirm(t.Context(), tx, linepay.MustAmount("100"), "TWD"); err != nil {
		t.Fatal(err)
	}
	invalid := order{id: "INVALID", op: linepay.Confirm, data: data{"transactionId": tx.String(), "orderId": "ORDER-C"}, sequence: 2}
	d.expect(invalid, consumer.Ack, "rejected: invalid")
	d.wantAnswer("INVALID", schemas.EventRejected)
	if len(d.shelf.letters) != 0 {
		t.Error("it was parked, though it was never called")
	}
	first.delivery = 2
	d.expect(first, consumer.Ack, "captured")
	if e := d.wantAnswer("C", schemas.EventCaptured); e.Data.SettledBy != schemas.SettledByLookup {
		t.Errorf("settled by %s: the doubt was forgotten", e.Data.SettledBy)
	}
	d.wantEffects(tx, "confirm 100")
}

// Expiry.

func TestExpiredCommandIsRejectedOnlyWhereItWasNeverCalled(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	past := time.Now().Add(-time.Minute)

	// Redis knows of no call, but a replay may have had one: LINE Pay says no.
	replayed, tx := d.ready("REPLAYED", linepay.Confirm)
	replayed.expiry, replayed.replay = past, 5
	d.expect(replayed, consumer.Wait, "in doubt: too early")
	d.finish(replayed)
	if e := d.wantAnswer("REPLAYED", schemas.EventRejected); e.Data.Reason != schemas.ReasonExpired {
		t.Errorf("rejected for %s", e.Data.Reason)
	}
	d.wantEffects(tx)
	d.wantCalls("POST", "", 0)

	// Nor could it have been carried out.
	unknown := order{id: "UNKNOWN", op: linepay.Refund, data: refundData(77, "O", "1", "R"), expiry: past, replay: 5, stored: time.Now()}
	d.finish(unknown)
	if e := d.wantAnswer("UNKNOWN", schemas.EventRejected); e.Data.Reason != schemas.ReasonExpired {
		t.Errorf("rejected for %s", e.Data.Reason)
	}

	// It was called before it expired, in vain.
	called, tx := d.ready("CALLED", linepay.Confirm)
	d.claim(called, "")
	called.expiry, called.delivery = past, 2
	d.finish(called)
	d.wantAnswer("CALLED", schemas.EventCaptured)
	d.wantEffects(tx, "confirm 100")
}

// Without a claim.

func TestWithoutAClaimNothingIsCalled(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	o, tx := d.ready("C", linepay.Confirm)

	d.redis.Stop()
	if fate := d.expect(o, consumer.Retry, "no claim"); fate.Err == nil || !strings.Contains(fate.Err.Error(), "unavailable") {
		t.Errorf("the reason is %v", fate.Err)
	}
	if err := d.worker.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "Redis") {
		t.Errorf("readiness says %v of a Redis that is away", err)
	}
	d.wantCalls("", "", 0)
	d.wantVerbs()
	d.wantEffects(tx)
}

// It may hide a call, so it is for a person. It is one command's trouble, and Redis is there.
func TestCommandWhoseRecordIsDamagedIsParked(t *testing.T) {
	t.Parallel()
	d := newDesk(t, shortBudget)
	o, tx := d.ready("C", linepay.Confirm)
	if _, err := d.guard.Claim(t.Context(), d.request(o)); err != nil {
		t.Fatal(err)
	}
	store := d.redis.Client(t)
	for _, key := range store.Keys(t.Context(), "*:transaction:*").Val() {
		if err := store.HSet(t.Context(), key, "op:confirm:"+tx.String(), "damaged").Err(); err != nil {
			t.Fatal(err)
		}
	}
	d.expect(o, consumer.Retry, "the record cannot be read") // it may be a newer version's, during an upgrade
	d.finish(o)
	if e := d.wantAnswer("C", schemas.EventParked); e.Data.MoneyMoved != schemas.MoneyMovedUnknown {
		t.Errorf("money moved is %q", e.Data.MoneyMoved)
	}
	d.wantVerbs("park unresolved", "publish parked")
	d.wantCalls("", "", 0)
	if err := d.worker.Ready(t.Context()); err == nil || strings.Contains(err.Error(), "Redis") {
		t.Errorf("readiness says %v of a Redis that answers", err)
	}
}

// A delivery that ended here without a claim is known not to have called: the next one calls, and does not look first.
func TestCommandThatNeverGotAClaimIsNotInDoubt(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	var log safeBuffer
	l.cfg = func(cfg *consumer.Config) { cfg.Logger = zerolog.New(&log) }
	l.start()
	id := l.pay.Paid(t, "ORDER-1", "100", "TWD", true)
	if !consumertest.Eventually(t, func(context.Context) bool { return strings.Contains(log.String(), "Redis answers") }) {
		t.Fatal("Redis was not asked")
	}
	l.redis.Stop()
	command := l.send(linepay.Confirm, confirmData(id, "ORDER-1"))
	if !consumertest.Eventually(t, func(context.Context) bool { return strings.Contains(log.String(), `"why":"no claim"`) }) {
		t.Fatal("the command was not tried")
	}
	l.redis.Start()
	if e := l.done(command, schemas.EventCaptured); e.Data.SettledBy != schemas.SettledByResponse {
		t.Errorf("settled by %s", e.Data.SettledBy)
	}
	if n := l.calls(linepay.Details) + l.calls(linepay.Check); n != 0 {
		t.Errorf("LINE Pay was asked %d times about a call that was never made", n)
	}
}

func TestOtherDataUnderOneKeyIsAConflict(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	o, _ := d.ready("C", linepay.Confirm)
	d.expect(o, consumer.Ack, "captured")
	o.id, o.sequence, o.data["amount"] = "OTHER", 2, "70"
	d.expect(o, consumer.Ack, "rejected: conflict")
	e := d.wantAnswer("OTHER", schemas.EventRejected)
	if e.Data.Reason != schemas.ReasonConflict || !strings.Contains(e.Data.Errors[0].Message, `known with other data from command "C" of "/test"`) {
		t.Errorf("rejected for %s: %+v", e.Data.Reason, e.Data.Errors)
	}
	d.wantVerbs("publish captured", "publish rejected")
}
