package consumer_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"linepay-worker/consumer"
	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// What the answer to a command says, and who gets it.

func TestEventSaysWhatTheCommandWasAbout(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.wire.answer = func(r *http.Request) string {
		if r.Method == http.MethodGet {
			return strings.NewReplacer("{tx}", "7", "{order}", "O", "{now}", past).Replace(shown(payment(linepay.StatusCapture, "100")))
		}
		return `{"returnCode":"0000","returnMessage":"Success.","info":{"transactionId":7,"refundTransactionId":99}}`
	}
	paid := data{"transactionId": "7", "orderId": "O", "amount": "100", "currency": "TWD"}
	pay := func(order string, capture any) data {
		fields := payData("KEY", order)
		if capture != nil {
			fields["capture"] = capture
		}
		return fields
	}
	for i, c := range []struct {
		op   linepay.Operation
		data data
		want string
	}{
		{linepay.Request, requestData(t, "O"), "requested 7: 100 TWD"},
		{linepay.Confirm, paid, "captured 7: 100 TWD"},
		{linepay.Capture, paid, "captured 7: 100 TWD"},
		{linepay.Void, data{"transactionId": "7", "orderId": "O"}, "voided 7: 0 "},
		{linepay.Refund, refundData(7, "O", "10", "R-1"), "refunded 7: 0 TWD gave 10 by 99"},
		{linepay.PreapprovedPay, pay("P-1", nil), "captured 7: 100 TWD"},
		{linepay.PreapprovedPay, pay("P-2", true), "captured 7: 100 TWD"},
		{linepay.PreapprovedPay, pay("P-3", false), "authorized 7: 100 TWD"},
		{linepay.PreapprovedExpire, data{"regKey": "KEY"}, "preapproval : 0 "},
	} {
		id := fmt.Sprintf("%d", i)
		d.expect(order{id: id, op: c.op, data: c.data, sequence: uint64(i + 1)}, consumer.Ack, strings.Fields(c.want)[0])
		e := d.answer(id)
		got := fmt.Sprintf("%s %s: %s %s", e.Name(), e.Data.TransactionID, e.Data.Amount, e.Data.Currency)
		if e.Data.RefundTransactionID != 0 {
			got += fmt.Sprintf(" gave %s by %s", e.Data.RefundAmount, e.Data.RefundTransactionID)
		}
		if got != c.want || e.Data.ReturnCode != "0000" || e.Data.ReturnMessage != "Success." || e.Data.SettledBy != schemas.SettledByResponse || e.Data.Calls != 1 {
			t.Errorf("%s: %q, want %q: %+v", c.op, got, c.want, e.Data)
		}
	}
}

func TestRefusalOfEveryOperationSaysWhatWasRefused(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.wire.answer = func(r *http.Request) string {
		if r.Method == http.MethodGet && !strings.HasSuffix(r.URL.Path, "/check") {
			return strings.NewReplacer("{tx}", "7", "{order}", "O", "{now}", past).Replace(shown(payment(linepay.StatusCapture, "100")))
		}
		return code("1194")
	}
	paid := data{"transactionId": "7", "orderId": "O", "amount": "100", "currency": "TWD"}
	for i, c := range []struct {
		op   linepay.Operation
		data data
	}{
		{linepay.Request, requestData(t, "O")},
		{linepay.Confirm, paid},
		{linepay.Capture, paid},
		{linepay.Void, data{"transactionId": "7", "orderId": "O"}},
		{linepay.Refund, refundData(7, "O", "10", "R-1")},
		{linepay.PreapprovedPay, payData("KEY", "O")},
		{linepay.PreapprovedExpire, data{"regKey": "KEY"}},
		{linepay.Check, data{"transactionId": "7"}},
		{linepay.PreapprovedCheck, data{"regKey": "KEY"}},
	} {
		id := fmt.Sprintf("%d", i)
		d.expect(order{id: id, op: c.op, data: c.data, sequence: uint64(i + 1)}, consumer.Ack, "failed")
		e := d.wantAnswer(id, schemas.EventFailed)
		if e.Data.ReturnCode != "1194" || e.Data.SettledBy != schemas.SettledByResponse {
			t.Errorf("%s: failed with %q by %s", c.op, e.Data.ReturnCode, e.Data.SettledBy)
		}
		if c.op == linepay.Refund && e.Data.RefundAmount.String() != "10" {
			t.Errorf("the refused refund was one of %s", e.Data.RefundAmount)
		}
	}
}

func TestTraceOfTheCommandGoesOnInItsEvent(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	o, _ := d.ready("C", linepay.Confirm)
	const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	m := o.message(t)
	m.Body = []byte(strings.Replace(string(m.Body), `"id":`, `"traceparent":"`+trace+`","id":`, 1))
	if fate := d.worker.Handle(t.Context(), m); fate.Kind != consumer.Ack {
		t.Fatalf("the fate is %s: %s (%v)", fate.Kind, fate.Why, fate.Err)
	}
	if got := d.answer("C").TraceParent; got != trace {
		t.Errorf("the event's trace is %q", got)
	}
}

// A producer took one source and id for two commands. Where no money moved, the first answer is the answer; a money event has to be stored.
func TestAnswerUnderATakenIDIsGivenUpUnlessItIsAboutMoney(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.shelf.fail = func(string) error { return fmt.Errorf("publish: %w", schemas.ErrOtherContent) }
	rejected := order{id: "REJECTED", op: linepay.Confirm, data: data{"transactionId": "7", "orderId": "O"}}
	if fate := d.expect(rejected, consumer.Ack, "answered before"); fate.Err == nil {
		t.Error("the fate does not say why")
	}
	captured, _ := d.ready("CAPTURED", linepay.Confirm)
	d.expect(captured, consumer.Retry, "event not stored")

	d.shelf.fail = func(string) error { return errNoBus }
	rejected.id = "LATER"
	d.expect(rejected, consumer.Retry, "event not stored")
}

// Nobody can tell which refund is the owner's. The owner hears of it first, and each command is parked in its own name.
func TestCommandsOfOneUnresolvedOperationAreParkedEachUnderItsName(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	first, tx := d.ready("FIRST", linepay.Refund)
	d.claim(first, `{"payment":{"refunds":[],"left":"100","currency":"TWD","orderId":"ORDER-FIRST"}}`)
	for range 2 {
		if _, err := d.pay.Sim.RefundByHand(tx, linepay.MustAmount("10")); err != nil {
			t.Fatal(err)
		}
	}
	<-time.After(deskTimeout + 10*time.Millisecond)
	second := first
	second.id, second.sequence = "SECOND", 2
	d.expect(second, consumer.Wait, "its owner is to be parked: unresolved")
	d.wantVerbs()

	first.delivery, second.delivery = 2, 2
	d.finish(first)
	own := d.wantAnswer("FIRST", schemas.EventParked)
	d.finish(second)
	d.wantAnswer("SECOND", schemas.EventParked)
	if len(d.shelf.letters) != 2 {
		t.Errorf("%d dead letters, want one of each command", len(d.shelf.letters))
	}
	// The record is still the owner's: it gets the same answer again.
	if fate := d.deliver(first); fate.Kind != consumer.Ack || fate.Why != "parked" {
		t.Errorf("the owner's fate is %s: %s", fate.Kind, fate.Why)
	}
	if again := d.wantAnswer("FIRST", schemas.EventParked); again.ID != own.ID || len(d.shelf.events) != 2 {
		t.Errorf("the owner's answer is event %s after %s, of %d", again.ID, own.ID, len(d.shelf.events))
	}
	d.wantCalls("POST", "/refund", 0)
	effects := d.pay.Sim.Ledger().Transactions[0].Effects
	for _, e := range effects[len(effects)-2:] {
		if evidence := d.shelf.details[0]; !strings.HasPrefix(evidence, "2 refunds of transaction "+tx.String()) || !strings.Contains(evidence, e.TransactionID.String()) {
			t.Errorf("the dead letter says %q, want it to name %s", evidence, e.TransactionID)
		}
	}
}

func TestDeadLetterNamesThePaymentsThatCouldBeTheOne(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	o := order{id: "C", op: linepay.PreapprovedPay, data: payData("KEY", "O"), delivery: 2}
	d.wire.answer = func(*http.Request) string {
		one := strings.NewReplacer("{tx}", "7", "{order}", "O", "{now}", past).Replace(payment(linepay.StatusCapture, "100"))
		return shown(one, strings.Replace(one, "7", "8", 1))
	}
	d.expect(o, consumer.Ack, "parked: unresolved")
	if want := "2 payments of 100 TWD for order O could be this one: 7 of " + past + ", 8 of " + past; d.shelf.details[0] != want {
		t.Errorf("the dead letter says %q, want %q", d.shelf.details[0], want)
	}
}

// Until when money is held is told where it is held, and nowhere else: LINE Pay's details have a date for either.
func TestHeldMoneySaysUntilWhen(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for i, c := range []struct {
		status linepay.PayStatus
		want   string
	}{
		{linepay.StatusAuthorization, schemas.EventAuthorized},
		{linepay.StatusCapture, schemas.EventCaptured},
	} {
		name := fmt.Sprintf("O-%d", i)
		d.wire.answer = func(*http.Request) string {
			body := strings.NewReplacer("{tx}", "7", "{order}", name, "{now}", time.Now().UTC().Format(time.RFC3339))
			return body.Replace(shown(payment(c.status, "100", `"authorizationExpireDate":"2030-01-01T00:00:00Z"`)))
		}
		id := string(c.status)
		d.expect(order{id: id, op: linepay.PreapprovedPay, data: payData("KEY", name), delivery: 2}, consumer.Ack, c.want)
		e := d.wantAnswer(id, c.want)
		if until := e.Data.AuthorizationExpireDate; (until != "") != (c.want == schemas.EventAuthorized) || len(e.Data.PayInfo) != 1 {
			t.Errorf("%s until %q, paid by %v", c.want, until, e.Data.PayInfo)
		}
	}
}
