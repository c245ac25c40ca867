package consumer_test

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strings"
	"testing"

	"linepay-worker/consumer"
	"linepay-worker/consumer/consumertest"
	"linepay-worker/idempotency"
	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// parked is parkedJustNow, once no call can be under way any more.
func (d *desk) parked(op linepay.Operation) (o order, letter *consumer.Message, tx linepay.TransactionID) {
	d.t.Helper()
	o, letter, tx = d.parkedJustNow(op)
	d.waitUntilOver(o)
	return o, letter, tx
}

// waitUntilOver waits until no call of a command can be under way any more.
func (d *desk) waitUntilOver(o order) {
	d.t.Helper()
	request := d.request(o)
	request.Replay = math.MaxUint64 // as one that may be called again
	seen, err := d.guard.Foresee(d.t.Context(), request)
	if err != nil {
		d.t.Fatal(err)
	}
	if !consumertest.Eventually(d.t, func(ctx context.Context) bool {
		now, err := d.guard.Time(ctx)
		return err == nil && now.After(seen.MaySendUntil.Add(deskTimeout+deskMargin))
	}) {
		d.t.Fatal("time does not pass")
	}
}

// parkedJustNow is a command that was called, whose answer was lost, and about which LINE Pay does not say enough.
func (d *desk) parkedJustNow(op linepay.Operation) (o order, letter *consumer.Message, tx linepay.TransactionID) {
	d.t.Helper()
	o, tx = d.ready("A", op)
	d.wire.answer = func(r *http.Request) string { return "garbage" }
	if op == linepay.Refund { // which does not get as far as a call then
		d.wire.answer = nil
		d.lapse(o, nil)
		for range 2 {
			if _, err := d.pay.Client(d.t).Refund(d.t.Context(), tx, new(linepay.MustAmount("10"))); err != nil {
				d.t.Fatal(err)
			}
		}
	}
	d.finish(o)
	d.wire.answer = nil
	if e := d.wantAnswer("A", schemas.EventParked); e.Data.MoneyMoved != schemas.MoneyMovedUnknown {
		d.t.Fatalf("money moved: %s", e.Data.MoneyMoved)
	}
	o.replay = 7
	return o, o.message(d.t), tx
}

func (d *desk) mustResolve(m *consumer.Message, r consumer.Resolution) *schemas.Event {
	d.t.Helper()
	e, err := d.worker.Resolve(d.t.Context(), m, r)
	if err != nil {
		d.t.Fatal(err)
	}
	return e
}

// wantRefusal demands that a resolution is refused, and that the bus hears nothing of it.
func (d *desk) wantRefusal(m *consumer.Message, r consumer.Resolution, want string) {
	d.t.Helper()
	told := len(d.shelf.verbs)
	if _, err := d.worker.Resolve(d.t.Context(), m, r); !errors.Is(err, consumer.ErrRefused) || !strings.Contains(err.Error(), want) {
		d.t.Errorf("error %v, want it refused with %q", err, want)
	}
	if len(d.shelf.verbs) != told {
		d.t.Errorf("the bus was told %v", d.shelf.verbs[told:])
	}
}

// refundOf makes a refund by hand, and gives its id.
func (d *desk) refundOf(tx linepay.TransactionID, amount string) linepay.TransactionID {
	d.t.Helper()
	info, err := d.pay.Client(d.t).Refund(d.t.Context(), tx, new(linepay.MustAmount(amount)))
	if err != nil {
		d.t.Fatal(err)
	}
	return info.RefundTransactionID
}

func impatient(cfg *consumer.Config) { cfg.RetryBudget = cfg.RetryMax }

func TestResolvedCommandIsToldAsItsOperatorSays(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		op    linepay.Operation
		r     consumer.Resolution
		event string
	}{
		"a confirm that took the money":    {linepay.Confirm, consumer.Resolution{Done: true}, schemas.EventCaptured},
		"a confirm that holds it":          {linepay.Confirm, consumer.Resolution{Done: true, Held: true}, schemas.EventAuthorized},
		"a confirm that did not happen":    {linepay.Confirm, consumer.Resolution{}, schemas.EventFailed},
		"a capture":                        {linepay.Capture, consumer.Resolution{Done: true}, schemas.EventCaptured},
		"a void":                           {linepay.Void, consumer.Resolution{Done: true}, schemas.EventVoided},
		"a refund":                         {linepay.Refund, consumer.Resolution{Done: true, Currency: "TWD"}, schemas.EventRefunded},
		"a refund that was never made":     {linepay.Refund, consumer.Resolution{}, schemas.EventFailed},
		"a refund, with its amount, in it": {linepay.Refund, consumer.Resolution{Done: true, Currency: "TWD", Amount: linepay.MustAmount("10.0")}, schemas.EventRefunded},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, impatient)
			o, letter, tx := d.parked(c.op)
			c.r.Reason = "seen in the merchant centre"
			if c.event == schemas.EventRefunded {
				c.r.TransactionID = d.refundOf(tx, "10") // the third one of that amount, made in time
			}
			sent := len(d.wire.sent)
			for range 2 { // the second time changes nothing
				e, err := d.worker.Resolve(t.Context(), letter, c.r)
				if err != nil {
					t.Fatal(err)
				}
				got := e.Data
				if e.Name() != c.event || got.SettledBy != schemas.SettledByOperator || got.Reason != c.r.Reason || got.TransactionID != tx ||
					got.Command.ID != "A" || got.RefundTransactionID != c.r.TransactionID {
					t.Errorf("told as %s: %+v", e.Name(), got)
				}
			}
			if c.event == schemas.EventRefunded && d.answer("A").Data.RefundAmount.String() != "10" {
				t.Errorf("refunded %s", d.answer("A").Data.RefundAmount)
			}
			if c.r.Done && c.op != linepay.Refund && len(d.wire.sent) > sent {
				t.Errorf("LINE Pay was asked: %v", d.wire.sent[sent:])
			}
			d.expect(o, consumer.Ack, map[string]string{schemas.EventFailed: "refused before"}[c.event])
			d.wantAnswer("A", c.event)
			again := o
			again.id, again.sequence, again.replay = "B", 2, 0
			if c.r.Done {
				d.finish(again)
				d.wantAnswer("B", schemas.EventDuplicate)
			}
		})
	}
}

func TestResolutionThatContradictsWhatIsKnownIsRefused(t *testing.T) {
	t.Parallel()
	resolved := func(r consumer.Resolution) func(*desk, *consumer.Message) {
		return func(d *desk, m *consumer.Message) { d.mustResolve(m, r) }
	}
	for name, c := range map[string]struct {
		op     linepay.Operation
		before func(*desk, *consumer.Message)
		r      consumer.Resolution
		want   string
	}{
		"it was resolved as not done":      {linepay.Confirm, resolved(consumer.Resolution{}), consumer.Resolution{Done: true}, "says failed already"},
		"it was resolved as done":          {linepay.Confirm, resolved(consumer.Resolution{Done: true}), consumer.Resolution{}, "says captured already"},
		"a refund without an id":           {linepay.Refund, nil, consumer.Resolution{Done: true}, "a transaction id of its own: give it"},
		"a refund by the payment's id":     {linepay.Refund, nil, consumer.Resolution{Done: true, TransactionID: 1}, "a refund has one of its own"},
		"a refund with another amount":     {linepay.Refund, nil, consumer.Resolution{Done: true, TransactionID: 7, Amount: linepay.MustAmount("11")}, "commanded with 10, and not 11"},
		"a refund in a currency unknown":   {linepay.Refund, nil, consumer.Resolution{Done: true, TransactionID: 7}, "know the currency: give it"},
		"a held void":                      {linepay.Void, nil, consumer.Resolution{Done: true, Held: true}, "only a confirm"},
		"a confirm of another transaction": {linepay.Confirm, nil, consumer.Resolution{Done: true, TransactionID: 5}, "and not 5"},
		"a refund that another one owns": {linepay.Refund, func(d *desk, _ *consumer.Message) {
			d.put(schemas.EventRefunded, "refund:other", schemas.EventData{OrderID: "ORDER-A", RefundTransactionID: 7})
		}, consumer.Resolution{Done: true, TransactionID: 7}, "told by another event"},
		"its event is there": {linepay.Confirm, func(d *desk, m *consumer.Message) {
			d.put(schemas.EventCaptured, "confirm:"+strings.Split(string(m.Body), `"transactionId":"`)[1][:19], schemas.EventData{OrderID: "ORDER-A"})
		}, consumer.Resolution{}, "of the order says captured"},
		"it is under way": {linepay.Confirm, func(d *desk, m *consumer.Message) {
			o, _ := d.ready("B", linepay.Confirm)
			o.data["transactionId"], o.data["orderId"] = strings.Split(string(m.Body), `"transactionId":"`)[1][:19], "ORDER-A"
			request := d.request(o)
			request.Command.ID, request.Replay = "A", 3
			if c, err := d.guard.Claim(d.t.Context(), request); err != nil || !c.Granted() {
				d.t.Fatalf("%+v, %v", c, err)
			}
		}, consumer.Resolution{}, "try again later"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, impatient)
			_, letter, tx := d.parked(c.op)
			if c.before != nil {
				c.before(d, letter)
			}
			if c.r.TransactionID == 1 {
				c.r.TransactionID = tx
			}
			d.wantRefusal(letter, c.r, c.want)
		})
	}
}

func TestCommandsThatCannotBeResolvedAreRefused(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	check, tx := d.ready("A", linepay.Confirm)
	check.op, check.data = linepay.Check, data{"transactionId": tx.String(), "orderId": "ORDER-A"}
	unreadable := check.message(t)
	unreadable.Body = []byte("{")
	for name, m := range map[string]*consumer.Message{"a reading": check.message(t), "unreadable": unreadable} {
		if _, err := d.worker.Resolve(t.Context(), m, consumer.Resolution{Done: true}); !errors.Is(err, consumer.ErrRefused) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	d.wantVerbs()
}

// Negative evidence is a person's, too: what LINE Pay is still working on is not to be seen yet.
func TestNotDoneIsNotBelievedWhileACallMayBeUnderWay(t *testing.T) {
	t.Parallel()
	d := newDesk(t, impatient)
	_, letter, _ := d.parkedJustNow(linepay.Confirm)
	d.wantRefusal(letter, consumer.Resolution{}, "may still be at work")
	if _, err := d.worker.Resolve(t.Context(), letter, consumer.Resolution{Done: true}); err != nil {
		t.Errorf("what was carried out can be told at once: %v", err)
	}
}

// An operator who is mistaken would have it carried out twice: the next command for the operation is called, once it is free.
func TestWhatLINEPayShowsIsNotResolvedAsNotDone(t *testing.T) {
	t.Parallel()
	d := newDesk(t, impatient)
	o, letter, tx := d.parked(linepay.Confirm)
	if _, err := d.pay.Client(t).Confirm(t.Context(), tx, linepay.MustAmount("100"), "TWD"); err != nil {
		t.Fatal(err)
	}
	d.wantRefusal(letter, consumer.Resolution{Reason: "nothing to be seen"}, "LINE Pay shows")
	d.finish(o)
	d.wantAnswer("A", schemas.EventCaptured)
	d.wantEffects(tx, "confirm 100")
}

// The id of a refund is typed by hand, and a refund that is told by mistake is booked.
func TestRefundThatLINEPayShowsOtherwiseIsNotResolvedAsDone(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	o, tx := d.ready("A", linepay.Refund)
	done := func(id linepay.TransactionID) consumer.Resolution {
		return consumer.Resolution{Done: true, TransactionID: id, Currency: "TWD"}
	}
	o.replay = 7
	letter := o.message(t)
	d.wantRefusal(letter, done(77), "LINE Pay shows no refund of transaction "+tx.String())
	before := d.refundOf(tx, "10")
	d.claim(o, `{"payment":{"refunds":["`+before.String()+`"],"left":"90","currency":"TWD","orderId":"ORDER-A"}}`)
	other, ours := d.refundOf(tx, "20"), d.refundOf(tx, "10")
	d.wantRefusal(letter, done(77), "LINE Pay shows no refund 77 of transaction "+tx.String()+", but "+before.String())
	d.wantRefusal(letter, done(other), "LINE Pay shows refund "+other.String()+" with 20, and not 10")
	d.wantRefusal(letter, done(before), "LINE Pay had shown refund "+before.String()+" before this one was called")
	if e := d.mustResolve(letter, done(ours)); e.Data.RefundTransactionID != ours {
		t.Errorf("told with refund %s, want %s", e.Data.RefundTransactionID, ours)
	}
}

// Where LINE Pay does not answer, a person's word is all there is.
func TestRefundIsResolvedAsDoneWhileLINEPayCannotBeAsked(t *testing.T) {
	t.Parallel()
	d := newDesk(t, impatient)
	_, letter, _ := d.parked(linepay.Refund)
	d.wire.answer = func(*http.Request) string { return "garbage" }
	d.mustResolve(letter, consumer.Resolution{Done: true, TransactionID: 77, Currency: "TWD"})
	if got := d.wantAnswer("A", schemas.EventRefunded).Data.RefundTransactionID; got != 77 {
		t.Errorf("told with refund %s", got)
	}
}

// A dead letter of one that joined the parking of another: the other one's outcome is the operation's.
func TestOnlyTheOwnerIsResolved(t *testing.T) {
	t.Parallel()
	d := newDesk(t, impatient)
	o, owner, _ := d.parked(linepay.Confirm)
	joined := o
	joined.id, joined.sequence, joined.replay = "B", 2, 0
	d.wire.answer = func(*http.Request) string { return "garbage" }
	d.finish(joined)
	d.wantAnswer("B", schemas.EventParked)
	joined.replay = 8
	d.wantRefusal(joined.message(t), consumer.Resolution{Done: true}, `was begun by command "A"`)
	d.wire.answer = nil
	d.mustResolve(owner, consumer.Resolution{Done: true})
	// Its answer is "duplicate", and not the event of the other one.
	says := "event " + d.wantAnswer("A", schemas.EventCaptured).ID + " says captured already: replay it"
	d.wantRefusal(joined.message(t), consumer.Resolution{Done: true}, says)
	d.wantAnswer("B", schemas.EventParked)
}

// A publisher may write any number of a replay into its command, and the stream of dead letters may have been made anew: then what is on
// record has a higher number than any dead letter, and no replay opens it again.
func TestParkedUnderAHigherReplayNumberIsResolved(t *testing.T) {
	t.Parallel()
	for _, r := range []consumer.Resolution{{Done: true}, {}} {
		d := newDesk(t, impatient)
		o, tx := d.ready("A", linepay.Confirm)
		o.replay = math.MaxInt64
		d.wire.answer = func(*http.Request) string { return "garbage" }
		d.finish(o)
		d.wire.answer = nil
		d.wantAnswer("A", schemas.EventParked)
		o.replay = 7
		if seen, err := d.guard.Foresee(t.Context(), d.request(o)); err != nil || seen.Answer != idempotency.InDoubt && seen.Answer != idempotency.Parked {
			t.Fatalf("%+v, %v", seen, err)
		}
		d.waitUntilOver(o)
		for range 2 {
			e, err := d.worker.Resolve(t.Context(), o.message(t), r)
			if err != nil || (e.Name() == schemas.EventCaptured) != r.Done {
				t.Fatalf("%+v, %v", e, err)
			}
		}
		d.wantEffects(tx)
	}
}

// A resolution whose event could not be stored is done again; until then the guard knows it, and the dead letter is kept by its caller.
func TestResolutionIsDoneAgainWhereItsEventWasNotStored(t *testing.T) {
	t.Parallel()
	d := newDesk(t, impatient)
	o, letter, _ := d.parked(linepay.Confirm)
	d.shelf.fail = func(string) error { return errNoBus }
	if _, err := d.worker.Resolve(t.Context(), letter, consumer.Resolution{Done: true}); !errors.Is(err, errNoBus) {
		t.Fatalf("error %v", err)
	}
	d.shelf.fail = nil
	if _, err := d.worker.Resolve(t.Context(), letter, consumer.Resolution{Done: true}); err != nil {
		t.Fatal(err)
	}
	d.wantAnswer("A", schemas.EventCaptured)
	if c, err := d.guard.Foresee(t.Context(), d.request(o)); err != nil || c.Answer != idempotency.Done {
		t.Errorf("%+v, %v", c, err)
	}
}
