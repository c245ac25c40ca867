package consumer_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"linepay-worker/consumer"
	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
	"linepay-worker/schemas"
)

// What LINE Pay may answer to a look-up.

func code(code string) string {
	return fmt.Sprintf(`{"returnCode":%q,"returnMessage":"-"}`, code)
}

func shown(payments ...string) string {
	return `{"returnCode":"0000","returnMessage":"-","info":[` + strings.Join(payments, ",") + `]}`
}

// payment is one of transaction {tx} and order {order}; a row's own values are filled in.
func payment(status linepay.PayStatus, amount string, more ...string) string {
	return fmt.Sprintf(`{"transactionId":{tx},"transactionDate":"{now}","payStatus":%q,"orderId":"{order}","currency":"TWD",`+
		`"payInfo":[{"method":"BALANCE","amount":%s}]%s}`, status, amount, strings.Join(append([]string{""}, more...), ","))
}

func refunds(entries ...string) string { return `"refundList":[` + strings.Join(entries, ",") + `]` }

func entry(id int, amount, date string) string {
	return fmt.Sprintf(`{"refundTransactionId":%d,"refundAmount":-%s,"refundTransactionDate":%q}`, id, amount, date)
}

const (
	nothingThere = `{"returnCode":"1150","returnMessage":"-"}`
	garbage      = `{"returnCode":"00`
	now, past    = "{now}", "2020-01-01T00:00:00Z"
)

// told is an event in the order's history.
type told struct {
	name, key string
	data      schemas.EventData
}

// lookUp is one operation in doubt, what LINE Pay answers about it, and what is concluded.
type lookUp struct {
	name    string
	op      linepay.Operation
	data    data // beside transactionId and orderId
	notes   string
	history []told
	details string
	check   string
	want    string
}

// conclusions puts every row's operation in doubt, waits until a look-up is believed, and compares what is concluded.
func conclusions(t *testing.T, rows []lookUp) {
	t.Helper()
	d := newDesk(t)
	orders := make([]order, len(rows))
	for i, row := range rows {
		tx, name := fmt.Sprint(1000+i), fmt.Sprintf("O-%d", i)
		fields := data{"transactionId": tx, "orderId": name}
		switch row.op {
		case linepay.Confirm, linepay.Capture:
			fields["amount"], fields["currency"] = "100", "TWD"
		case linepay.PreapprovedPay:
			fields = payData("KEY", name)
		case linepay.PreapprovedExpire:
			fields = data{"regKey": fmt.Sprintf("KEY%d", i)}
		}
		for name, value := range row.data {
			fields[name] = value
		}
		orders[i] = order{id: row.name, op: row.op, data: fields, stored: time.Now(), delivery: 2}
		d.claim(orders[i], row.notes)
		for _, e := range row.history {
			e.data.OrderID = name
			if e.data.TransactionID == 0 {
				e.data.TransactionID = linepay.TransactionID(1000 + i)
			}
			d.put(e.name, strings.ReplaceAll(e.key, "{tx}", tx), e.data)
		}
	}
	<-time.After(deskTimeout + 10*time.Millisecond)
	for i, row := range rows {
		d.wire.answer = func(r *http.Request) string {
			if r.Method == http.MethodPost { // carried out at once
				return `{"returnCode":"0000","returnMessage":"-","info":{"refundTransactionId":99` +
					map[bool]string{true: `,"transactionId":55`}[row.op == linepay.PreapprovedPay] + `}}`
			}
			body := row.details
			if strings.HasSuffix(r.URL.Path, "/check") {
				body = row.check
			}
			return strings.NewReplacer("{tx}", fmt.Sprint(1000+i), "{order}", fmt.Sprintf("O-%d", i), "{now}", time.Now().UTC().Format(time.RFC3339)).Replace(body)
		}
		if got := d.conclusion(orders[i]); got != row.want {
			t.Errorf("%s, %s: concluded %q, want %q", row.op, row.name, got, row.want)
		}
	}
}

// conclusion delivers once and puts the result in a few words.
func (d *desk) conclusion(o order) string {
	d.t.Helper()
	fate := d.deliver(o)
	if fate.Kind != consumer.Ack {
		return fate.Why
	}
	e := d.answer(o.id)
	if e.Data.SettledBy != "" && e.Data.ReturnCode == "" {
		d.t.Errorf("%s: %s without LINE Pay's code", o.id, e.Name())
	}
	switch {
	case e.Data.SettledBy == schemas.SettledByResponse:
		return "called"
	case e.Name() == schemas.EventFailed:
		return "failed " + e.Data.ReturnCode
	case e.Name() == schemas.EventParked:
		return "parked: " + e.Data.Reason
	case e.Name() == schemas.EventRefunded:
		return fmt.Sprintf("refunded %s: %s %s", e.Data.RefundTransactionID, e.Data.RefundAmount, e.Data.Currency)
	case e.Data.Operation == linepay.PreapprovedPay:
		return e.Name() + " " + e.Data.TransactionID.String()
	default:
		return e.Name()
	}
}

func TestConfirmInDoubtIsConcludedFromItsOwnTransaction(t *testing.T) {
	t.Parallel()
	held, captured := payment(linepay.StatusAuthorization, "100"), payment(linepay.StatusCapture, "100")
	other := `{"transactionId":1,"payStatus":"CAPTURE","payInfo":[{"method":"BALANCE","amount":100}]}`
	conclusions(t, []lookUp{
		{name: "captured", op: linepay.Confirm, details: shown(captured), want: "captured"},
		{name: "paid in parts", op: linepay.Confirm, details: shown(strings.Replace(captured, `"payInfo":[`, `"payInfo":[{"method":"POINT","amount":0},`, 1)), want: "captured"},
		{name: "no parts are shown", op: linepay.Confirm, details: shown(`{"transactionId":{tx},"payStatus":"CAPTURE"}`), want: "captured"},
		{name: "held", op: linepay.Confirm, details: shown(held), want: "authorized"},
		{name: "held, and voided since", op: linepay.Confirm, details: shown(payment(linepay.StatusVoided, "100")), want: "authorized"},
		{name: "another amount", op: linepay.Confirm, details: shown(payment(linepay.StatusCapture, "70")), want: "failed 0000"},
		{name: "shown behind another one", op: linepay.Confirm, details: shown(other, held), want: "authorized"},
		{name: "its own failure in the history proves nothing", op: linepay.Confirm, history: []told{{name: schemas.EventFailed, key: "confirm:{tx}"}}, details: nothingThere, check: code("0110"), want: "called"},
		{name: "not among those shown, and authenticated", op: linepay.Confirm, details: shown(other), check: code("0110"), want: "called"},
		{name: "details fail", op: linepay.Confirm, details: garbage, check: code("0110"), want: "look-up failed"},

		{name: "authenticated", op: linepay.Confirm, details: nothingThere, check: code("0110"), want: "called"},
		{name: "waiting", op: linepay.Confirm, details: nothingThere, check: code("0000"), want: "failed 1169"},
		{name: "cancelled", op: linepay.Confirm, details: nothingThere, check: code("0121"), want: "failed 0121"},
		{name: "failed", op: linepay.Confirm, details: nothingThere, check: code("0122"), want: "failed 0122"},
		{name: "no such request", op: linepay.Confirm, details: nothingThere, check: code("1159"), want: "failed 1159"},
		{name: "check fails", op: linepay.Confirm, details: nothingThere, check: garbage, want: "look-up failed"},
		{name: "check says what nobody knows", op: linepay.Confirm, details: nothingThere, check: code("7777"), want: "look-up failed"},
	})
}

func TestCaptureInDoubtIsConcludedFromTheAuthorization(t *testing.T) {
	t.Parallel()
	captured := shown(payment(linepay.StatusCapture, "100"))
	conclusions(t, []lookUp{
		{name: "captured", op: linepay.Capture, details: captured, want: "captured"},
		{name: "captured, after the confirm that held it", op: linepay.Capture, details: captured, history: []told{{name: schemas.EventAuthorized, key: "confirm:{tx}"}}, want: "captured"},
		{name: "captured, and another payment of the order", op: linepay.Capture, details: captured, history: []told{{schemas.EventCaptured, "confirm:1", schemas.EventData{TransactionID: 1}}}, want: "captured"},
		{name: "captured by the confirm", op: linepay.Capture, details: captured, history: []told{{name: schemas.EventCaptured, key: "confirm:{tx}"}}, want: "failed 0000"},
		{name: "captured with another amount", op: linepay.Capture, details: shown(payment(linepay.StatusCapture, "70")), want: "failed 0000"},
		{name: "still held", op: linepay.Capture, details: shown(payment(linepay.StatusAuthorization, "100")), want: "called"},
		{name: "voided", op: linepay.Capture, details: shown(payment(linepay.StatusVoided, "100")), want: "failed 0000"},
		{name: "expired", op: linepay.Capture, details: shown(payment(linepay.StatusExpired, "100")), want: "failed 0000"},
		{name: "unknown", op: linepay.Capture, details: nothingThere, want: "failed 1150"},
		{name: "details fail", op: linepay.Capture, details: garbage, want: "look-up failed"},
	})
}

func TestVoidInDoubtIsConcludedFromTheAuthorization(t *testing.T) {
	t.Parallel()
	conclusions(t, []lookUp{
		{name: "voided", op: linepay.Void, details: shown(payment(linepay.StatusVoided, "100")), want: "voided"},
		{name: "still held", op: linepay.Void, details: shown(payment(linepay.StatusAuthorization, "100")), want: "called"},
		{name: "captured", op: linepay.Void, details: shown(payment(linepay.StatusCapture, "100")), want: "failed 0000"},
		{name: "expired", op: linepay.Void, details: shown(payment(linepay.StatusExpired, "100")), want: "failed 0000"},
		{name: "unknown", op: linepay.Void, details: nothingThere, want: "failed 1150"},
		{name: "details fail", op: linepay.Void, details: garbage, want: "look-up failed"},
	})
}

func TestPaymentByKeyInDoubtIsConcludedFromTheOrdersPayments(t *testing.T) {
	t.Parallel()
	captured, held := payment(linepay.StatusCapture, "100"), payment(linepay.StatusAuthorization, "100")
	dated := func(date string) string { return shown(strings.Replace(captured, "{now}", date, 1)) }
	ago := func(d time.Duration) string { return time.Now().Add(-d).UTC().Format(time.RFC3339) }
	conclusions(t, []lookUp{
		{name: "one payment", op: linepay.PreapprovedPay, details: shown(captured), want: "captured 1000"},
		{name: "one that is held", op: linepay.PreapprovedPay, details: shown(held), want: "authorized 1001"},
		{name: "none", op: linepay.PreapprovedPay, details: nothingThere, want: "called"},
		{name: "another amount", op: linepay.PreapprovedPay, details: shown(payment(linepay.StatusCapture, "70")), want: "called"},
		{name: "another order", op: linepay.PreapprovedPay, details: shown(strings.Replace(captured, "{order}", "OTHER", 1)), want: "called"},
		{name: "told by another operation", op: linepay.PreapprovedPay, details: shown(captured), history: []told{{name: schemas.EventCaptured, key: "confirm:{tx}"}}, want: "called"},
		{name: "merely mentioned by another operation", op: linepay.PreapprovedPay, details: shown(captured), history: []told{{name: schemas.EventStatus, key: ""}}, want: "captured 1006"},
		{name: "two", op: linepay.PreapprovedPay, details: shown(captured, strings.Replace(captured, "{tx}", "7", 1)), want: "parked: unresolved"},
		{name: "two, one told by another", op: linepay.PreapprovedPay, details: shown(captured, strings.Replace(captured, "{tx}", "7", 1)), history: []told{{schemas.EventCaptured, "confirm:7", schemas.EventData{TransactionID: 7}}}, want: "captured 1008"},
		{name: "older than the command", op: linepay.PreapprovedPay, details: dated(past), want: "parked: unresolved"},
		{name: "older by less than clocks differ", op: linepay.PreapprovedPay, details: dated(ago(4 * time.Minute)), want: "captured 1010"},
		{name: "older by more than clocks differ", op: linepay.PreapprovedPay, details: dated(ago(6 * time.Minute)), want: "parked: unresolved"},
		{name: "undated", op: linepay.PreapprovedPay, details: dated("yesterday"), want: "parked: unresolved"},
		{name: "details fail", op: linepay.PreapprovedPay, details: garbage, want: "look-up failed"},
	})
}

func TestExpiryOfAKeyInDoubtIsConcludedFromTheKey(t *testing.T) {
	t.Parallel()
	conclusions(t, []lookUp{
		{name: "no such key", op: linepay.PreapprovedExpire, check: code("1190"), want: "preapproval"},
		{name: "expired", op: linepay.PreapprovedExpire, check: code("1193"), want: "preapproval"},
		{name: "discarded with the account", op: linepay.PreapprovedExpire, check: code("1141"), want: "preapproval"},
		{name: "usable", op: linepay.PreapprovedExpire, check: code("0000"), want: "called"},
		{name: "another refusal", op: linepay.PreapprovedExpire, check: code("1194"), want: "look-up failed"},
		{name: "check fails", op: linepay.PreapprovedExpire, check: garbage, want: "look-up failed"},
	})
}

func TestRefundInDoubtIsConcludedFromWhatIsNew(t *testing.T) {
	t.Parallel()
	const before = `{"payment":{"refunds":["5"],"left":"90","currency":"TWD","orderId":"O"}}`
	ours, full := data{"refundAmount": "10", "refundId": "R-1"}, data{}
	with := func(entries ...string) string {
		return shown(payment(linepay.StatusCapture, "100", refunds(entries...)))
	}
	old := entry(5, "10", now)
	byOther := []told{{schemas.EventRefunded, "refund:{tx}:R-2", schemas.EventData{RefundTransactionID: 6, RefundAmount: linepay.MustAmount("10")}}}
	conclusions(t, []lookUp{
		{name: "one new", op: linepay.Refund, data: ours, notes: before, details: with(old, entry(6, "10", now)), want: "refunded 6: 10 TWD"},
		{name: "one new, undated", op: linepay.Refund, data: ours, notes: before, details: with(old, entry(6, "10", past)), want: "refunded 6: 10 TWD"},
		{name: "none new", op: linepay.Refund, data: ours, notes: before, details: with(old), want: "called"},
		{name: "new, of another amount", op: linepay.Refund, data: ours, notes: before, details: with(old, entry(6, "11", now)), want: "called"},
		{name: "new, told by another refund", op: linepay.Refund, data: ours, notes: before, history: byOther, details: with(old, entry(6, "10", now)), want: "called"},
		{name: "two new, one told by another", op: linepay.Refund, data: ours, notes: before, history: byOther, details: with(old, entry(6, "10", now), entry(7, "10", now)), want: "refunded 7: 10 TWD"},
		{name: "two new", op: linepay.Refund, data: ours, notes: before, details: with(old, entry(6, "10", now), entry(7, "10", now)), want: "parked: unresolved"},
		{name: "three new", op: linepay.Refund, data: ours, notes: before, details: with(entry(6, "10", now), entry(7, "10", now), entry(8, "10", now)), want: "parked: unresolved"},
		{name: "all that was left", op: linepay.Refund, data: full, notes: before, details: with(old, entry(6, "90", now)), want: "refunded 6: 90 TWD"},
		{name: "less than was left", op: linepay.Refund, data: full, notes: before, details: with(old, entry(6, "10", now)), want: "called"},

		{name: "no snapshot, one since", op: linepay.Refund, data: ours, details: with(entry(6, "10", now)), want: "parked: unresolved"},
		{name: "no snapshot, one before", op: linepay.Refund, data: ours, details: with(entry(6, "10", past)), want: "called"},
		{name: "no snapshot, another amount", op: linepay.Refund, data: ours, details: with(entry(6, "11", now)), want: "called"},
		{name: "no snapshot, undated", op: linepay.Refund, data: ours, details: with(entry(6, "10", "yesterday")), want: "parked: unresolved"},
		{name: "no snapshot, of all", op: linepay.Refund, data: full, details: with(entry(6, "100", now)), want: "parked: unresolved"},
		{name: "no snapshot, and not of all", op: linepay.Refund, data: full, details: with(entry(6, "33", now)), want: "called"},

		{name: "no such payment, which there was", op: linepay.Refund, data: ours, notes: before, details: nothingThere, want: "look-up failed"},
		{name: "no such payment", op: linepay.Refund, data: ours, details: nothingThere, want: "failed 1150"},
		{name: "another order", op: linepay.Refund, data: ours, notes: before, details: strings.Replace(with(old, entry(6, "10", now)), "{order}", "OTHER", 1), want: "failed 0000"},
		{name: "LINE Pay names no order", op: linepay.Refund, data: ours, notes: before, details: strings.Replace(with(old, entry(6, "10", now)), `"orderId":"{order}",`, "", 1), want: "refunded 6: 10 TWD"},
		{name: "details fail, no snapshot", op: linepay.Refund, data: ours, details: garbage, want: "look-up failed"},
		{name: "details fail", op: linepay.Refund, data: ours, notes: before, details: garbage, want: "look-up failed"},
	})
}

// The order's own events are the first thing to be looked at, and the last word.
func TestMoneyEventOfTheOrderSettlesTheDoubt(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	own, tx := d.ready("OWN", linepay.Refund)
	key := "refund:" + tx.String() + ":R-1"
	d.put(schemas.EventRefunded, key, schemas.EventData{
		Operation: linepay.Refund, OrderID: "ORDER-OWN", TransactionID: tx, RefundTransactionID: 77, Command: schemas.CommandRef{Source: "/test", ID: "OWN"},
	})
	own.delivery = 2
	d.expect(own, consumer.Ack, "its event was stored already")
	d.wantVerbs("publish refunded")
	d.wantCalls("", "", 0)

	// What it had brought about belongs to it from now on, also when the events are out of reach.
	d.shelf.events = nil
	next := own
	next.id, next.data, next.sequence = "NEXT", refundData(tx, "ORDER-OWN", "10", "R-2"), 2
	d.claim(next, `{"payment":{"refunds":[],"left":"100","currency":"TWD","orderId":"ORDER-OWN"}}`)
	d.wire.answer = func(r *http.Request) string {
		if r.Method != http.MethodGet {
			return ""
		}
		at := time.Now().UTC().Format(time.RFC3339)
		return strings.NewReplacer("{tx}", tx.String(), "{order}", "ORDER-OWN").Replace(
			shown(payment(linepay.StatusCapture, "100", refunds(entry(77, "10", at), entry(78, "10", at)))))
	}
	if got := d.conclusion(next); got != "refunded 78: 10 TWD" {
		t.Errorf("concluded %q: 77 belongs to another refund", got)
	}
}

func TestMoneyEventByAnotherCommandMakesADuplicate(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for _, op := range []linepay.Operation{linepay.Confirm, linepay.Refund} { // one looks up, the other looks before its call
		o, tx := d.ready(string(op), op)
		name, key := schemas.EventCaptured, "confirm:"+tx.String()
		if op == linepay.Refund {
			name, key = schemas.EventRefunded, "refund:"+tx.String()+":R-1"
		} else {
			d.claim(o, "")
			o.delivery = 2
		}
		d.put(name, key, schemas.EventData{Operation: op, OrderID: "ORDER-" + o.id, TransactionID: tx, Command: schemas.CommandRef{Source: "/test", ID: "FIRST-" + o.id}})
		d.expect(o, consumer.Wait, "its event, by another command, was stored already")
		d.expect(o, consumer.Ack, "duplicate")
		if e := d.wantAnswer(o.id, schemas.EventDuplicate); e.Data.Of.Command.ID != "FIRST-"+o.id {
			t.Errorf("duplicate of %+v", e.Data.Of)
		}
	}
	d.wantCalls("", "", 0)
}

// A refund reads the payment before its call.
func TestRefundIsJudgedByThePaymentBeforeItsCall(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	paid := payment(linepay.StatusCapture, "100")
	for i, c := range []struct{ name, amount, details, want string }{
		{"the payment", "10", shown(paid), "called"},
		{"all of it", "", shown(paid), "called"},
		{"LINE Pay names no order", "10", shown(strings.Replace(paid, `"orderId":"{order}",`, "", 1)), "called"},
		{"another order", "10", shown(strings.Replace(paid, "{order}", "OTHER", 1)), "rejected: conflict"},
		{"decimals of a currency that has none", "10.5", shown(paid), "rejected: invalid"},
		{"decimals of a currency that nobody knows", "10.5", shown(strings.Replace(paid, "TWD", "EUR", 1)), "called"},
		{"all of it in a currency that nobody knows", "", shown(strings.Replace(paid, "TWD", "EUR", 1)), "called"},
		{"no such payment", "10", nothingThere, "failed 1150"},
		{"details fail", "10", garbage, "not sent"},
	} {
		tx := linepay.TransactionID(1000 + i)
		o := order{id: c.name, op: linepay.Refund, data: data{"transactionId": tx.String(), "orderId": "O"}, stored: time.Now()}
		if c.amount != "" {
			o.data = refundData(tx, "O", c.amount, "R-1")
		}
		d.wire.answer = func(r *http.Request) string {
			if r.Method == http.MethodPost {
				return `{"returnCode":"0000","info":{"refundTransactionId":99}}`
			}
			return strings.NewReplacer("{tx}", tx.String(), "{order}", "O", "{now}", past).Replace(c.details)
		}
		before := d.calls("POST", "/refund")
		got := d.conclusion(o)
		if strings.HasPrefix(c.want, "rejected") {
			e := d.wantAnswer(c.name, schemas.EventRejected)
			got = "rejected: " + e.Data.Reason
		}
		if called := d.calls("POST", "/refund") > before; got != c.want || called != (c.want == "called") {
			t.Errorf("%s: concluded %q, called %v; want %q", c.name, got, called, c.want)
		}
	}
}

func TestKeyThatIsGoneIsAnAnswerToItsCheck(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for _, c := range []struct {
		code, want string
		usable     bool
	}{
		{"0000", schemas.EventPreapproval, true},
		{"1190", schemas.EventPreapproval, false},
		{"1193", schemas.EventPreapproval, false},
		{"1194", schemas.EventFailed, false},
	} {
		d.wire.answer = func(*http.Request) string { return code(c.code) }
		o := order{id: c.code, op: linepay.PreapprovedCheck, data: data{"regKey": "KEY"}}
		d.expect(o, consumer.Ack, c.want)
		e := d.wantAnswer(c.code, c.want)
		if c.want == schemas.EventPreapproval && (e.Data.Usable == nil || *e.Data.Usable != c.usable || e.Data.ReturnCode != c.code) {
			t.Errorf("%s: the event says %+v", c.code, e.Data)
		}
	}
}

// LINE Pay says that the payment is completed and does not show it: only later is that taken for what it is.
func TestConfirmThatIsCompletedAndNotShownIsNotCalledAgain(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	o, tx := d.ready("C", linepay.Confirm)
	d.claim(o, "")
	if _, err := d.pay.Client(t).Confirm(t.Context(), tx, linepay.MustAmount("100"), "TWD"); err != nil {
		t.Fatal(err)
	}
	d.fault(simulator.Fault{Operation: linepay.Details, Kind: simulator.KindCode, Code: "1150", Count: -1})
	o.delivery = 2
	if fate := d.deliver(o); fate.Kind == consumer.Ack && d.answer("C").Name() != schemas.EventCaptured {
		t.Errorf("the fate is %s: %s", fate.Kind, fate.Why)
	}
	<-time.After(deskTimeout + 10*time.Millisecond)
	d.deliver(o)
	d.wantCalls("POST", "/confirm", 0)
	d.wantEffects(tx, "confirm 100")
}
