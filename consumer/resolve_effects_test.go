package consumer_test

import (
	"net/http"
	"testing"

	"linepay-worker/consumer"
	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// What a resolution tells, by the command, the guard, the order's events and the operator. Redis has forgotten these commands, unless it is
// said otherwise.

// payLetter is a parked payment with a key.
func payLetter(capture any) order {
	o := order{id: "A", op: linepay.PreapprovedPay, data: payData("KEY", "ORDER-A"), replay: 7}
	if capture != nil {
		o.data["capture"] = capture
	}
	return o
}

func TestResolvedPaymentWithAKeyIsToldAsItsCommandSays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		capture any
		want    string
	}{{nil, schemas.EventCaptured}, {true, schemas.EventCaptured}, {false, schemas.EventAuthorized}} {
		d := newDesk(t)
		e := d.mustResolve(payLetter(c.capture).message(t), consumer.Resolution{Done: true, TransactionID: 77})
		if e.Name() != c.want || e.Data.TransactionID != 77 || e.Data.Amount.String() != "100" || e.Data.Currency != "TWD" {
			t.Errorf("capture %v is told as %s: %+v, want %s", c.capture, e.Name(), e.Data, c.want)
		}
		d.wantCalls("POST", "", 0)
	}
}

// Two events that tell one payment would be booked twice. Where it is merely mentioned, nothing is booked.
func TestPaymentWithAKeyIsResolvedByATransactionThatNoOtherEventTells(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	letter := payLetter(nil).message(t)
	d.wantRefusal(letter, consumer.Resolution{Done: true}, "a transaction id of its own: give it")
	d.put(schemas.EventCaptured, "confirm:55", schemas.EventData{OrderID: "ORDER-A", TransactionID: 55})
	d.wantRefusal(letter, consumer.Resolution{Done: true, TransactionID: 55}, "told by another event")
	d.put(schemas.EventStatus, "", schemas.EventData{OrderID: "ORDER-A", TransactionID: 77})
	if e := d.mustResolve(letter, consumer.Resolution{Done: true, TransactionID: 77}); e.Data.TransactionID != 77 {
		t.Errorf("told %+v", e.Data)
	}
}

func TestPaymentWithAKeyThatLINEPayShowsOtherwiseIsNotResolvedAsDone(t *testing.T) {
	t.Parallel()
	for amount, want := range map[string]string{"50": "with 50, and not 100", "100": ""} {
		d := newDesk(t)
		tx := d.pay.Paid(t, "ORDER-A", amount, "TWD", true)
		if _, err := d.pay.Client(t).Confirm(t.Context(), tx, linepay.MustAmount(amount), "TWD"); err != nil {
			t.Fatal(err)
		}
		letter := payLetter(nil).message(t)
		d.wantRefusal(letter, consumer.Resolution{Done: true, TransactionID: 77}, "LINE Pay shows no transaction 77 of order ORDER-A, but "+tx.String())
		if r := (consumer.Resolution{Done: true, TransactionID: tx}); want != "" {
			d.wantRefusal(letter, r, want)
		} else if e := d.mustResolve(letter, r); e.Data.TransactionID != tx {
			t.Errorf("told %+v", e.Data)
		}
	}
}

// What LINE Pay shows of other orders says nothing about this one.
func TestPaymentWithAKeyThatLINEPayDoesNotShowIsResolvedByAPersonsWord(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.wire.answer = func(*http.Request) string {
		return shown(`{"transactionId":55,"orderId":"ORDER-B","payInfo":[{"method":"BALANCE","amount":50}]}`)
	}
	if e := d.mustResolve(payLetter(nil).message(t), consumer.Resolution{Done: true, TransactionID: 77}); e.Data.TransactionID != 77 {
		t.Errorf("told %+v", e.Data)
	}
}

// A capture has no transaction of its own: that of the payment may be given, and other events of the order tell it.
func TestCaptureIsResolvedByThePaymentsTransactionOrByNone(t *testing.T) {
	t.Parallel()
	for _, given := range []linepay.TransactionID{0, 9} {
		d := newDesk(t)
		d.put(schemas.EventAuthorized, "confirm:9", schemas.EventData{OrderID: "ORDER-A", TransactionID: 9})
		o := order{id: "A", op: linepay.Capture, data: confirmData(9, "ORDER-A"), replay: 7}
		e := d.mustResolve(o.message(t), consumer.Resolution{Done: true, TransactionID: given})
		if e.Name() != schemas.EventCaptured || e.Data.TransactionID != 9 {
			t.Errorf("given %s it is told as %s: %+v", given, e.Name(), e.Data)
		}
	}
}

func TestKeyThatWasDiscardedIsToldAsUnusable(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	o := order{id: "A", op: linepay.PreapprovedExpire, data: data{"regKey": "KEY"}, replay: 7}
	e := d.mustResolve(o.message(t), consumer.Resolution{Done: true})
	if e.Name() != schemas.EventPreapproval || e.Data.Usable == nil || *e.Data.Usable {
		t.Errorf("told as %s: %+v", e.Name(), e.Data)
	}
}

// The address of the page was in LINE Pay's answer alone.
func TestPaymentPageIsNotResolvedAsMade(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	o := order{id: "A", op: linepay.Request, data: requestData(t, "ORDER-A"), replay: 7}
	d.wantRefusal(o.message(t), consumer.Resolution{Done: true}, "a request moves no money, and its answer is lost: replay it")
}

func TestResolvedRefundSaysHowMuchFromWhatIsKnown(t *testing.T) {
	t.Parallel()
	const before = `{"payment":{"refunds":[],"left":"70","currency":"TWD","orderId":"ORDER-A"}}`
	told := func(d *desk) {
		d.put(schemas.EventCaptured, "confirm:8", schemas.EventData{OrderID: "ORDER-A", TransactionID: 8, Currency: "USD"})
		d.put(schemas.EventCaptured, "confirm:9", schemas.EventData{OrderID: "ORDER-A", TransactionID: 9, Currency: "TWD"})
	}
	sum := linepay.MustAmount
	for name, c := range map[string]struct {
		amount string // of the command, "" for a full refund
		notes  string // on record
		before func(*desk)
		r      consumer.Resolution
		want   string // told, or why it is refused
	}{
		"all that was left before it":              {notes: before, want: "70 TWD"},
		"all, by the operator, who knows better":   {notes: before, r: consumer.Resolution{Amount: sum("60")}, want: "60 TWD"},
		"all, in what the payment was made in":     {before: told, r: consumer.Resolution{Amount: sum("60")}, want: "60 TWD"},
		"all, by the operator alone":               {r: consumer.Resolution{Amount: sum("60.5"), Currency: "USD"}, want: "60.5 USD"},
		"all, of which nobody knows how much":      {before: told, want: "does not say its amount: give it"},
		"all, where nothing was left":              {notes: `{"payment":{"left":"0","currency":"TWD"}}`, want: "does not say its amount: give it"},
		"a part, in what was on record":            {amount: "10", notes: before, want: "10 TWD"},
		"a part, in what the payment was made in":  {amount: "10", before: told, want: "10 TWD"},
		"a part, in what the operator says":        {amount: "10", r: consumer.Resolution{Currency: "THB"}, want: "10 THB"},
		"by the transaction of another payment":    {amount: "10", before: told, r: consumer.Resolution{TransactionID: 8}, want: "told by another event"},
		"in a currency that nobody knows":          {amount: "10", want: "know the currency: give it"},
		"a part, where the operator says how much": {amount: "10", notes: before, r: consumer.Resolution{Amount: sum("11")}, want: "commanded with 10, and not 11"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			o := order{id: "A", op: linepay.Refund, data: data{"transactionId": "9", "orderId": "ORDER-A"}}
			if c.amount != "" {
				o.data = refundData(9, "ORDER-A", c.amount, "R-1")
			}
			if c.notes != "" {
				d.claim(o, c.notes)
			}
			if c.before != nil {
				c.before(d)
			}
			o.replay, c.r.Done = 7, true
			if c.r.TransactionID == 0 {
				c.r.TransactionID = 77
			}
			if c.want[0] > '9' {
				d.wantRefusal(o.message(t), c.r, c.want)
				return
			}
			e := d.mustResolve(o.message(t), c.r)
			got := e.Data.RefundAmount.String() + " " + e.Data.Currency
			if e.Name() != schemas.EventRefunded || got != c.want || e.Data.RefundTransactionID != 77 {
				t.Errorf("told as %s of %s: %+v, want %s", e.Name(), got, e.Data, c.want)
			}
		})
	}
}
