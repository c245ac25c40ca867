package consumer_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"linepay-worker/consumer"
	"linepay-worker/idempotency"
	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
	"linepay-worker/schemas"
)

// What counts as evidence, and for whom, where Redis, LINE Pay and the events do not say the same.

// JetStream says that the command was delivered before, and Redis has no record of it: Redis forgot.
func TestRedeliveredCommandThatRedisForgotIsLookedUp(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for _, o := range []order{{delivery: 2}, {replay: 5}} {
		ready, tx := d.ready(map[uint64]string{0: "REPLAYED", 2: "REDELIVERED"}[o.delivery], linepay.Confirm)
		ready.delivery, ready.replay = o.delivery, o.replay
		if _, err := d.pay.Client(t).Confirm(t.Context(), tx, linepay.MustAmount("100"), "TWD"); err != nil {
			t.Fatal(err)
		}
		d.expect(ready, consumer.Ack, "captured")
		if e := d.wantAnswer(ready.id, schemas.EventCaptured); e.Data.SettledBy != schemas.SettledByLookup {
			t.Errorf("%s: settled by %s", ready.id, e.Data.SettledBy)
		}
	}
	d.wantCalls("POST", "", 0)
}

// The budget is spent in the very try that proved that nothing had happened, and the call after it was not sent.
func TestCommandThatIsParkedAfterAProofMovedNoMoney(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	o, tx := d.ready("C", linepay.Confirm)
	claim, err := d.guard.Claim(t.Context(), d.request(o))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.guard.Release(t.Context(), claim, idempotency.Release{Unknown: true, Spend: 100 * time.Hour}); err != nil {
		t.Fatal(err)
	}
	<-time.After(deskTimeout + 10*time.Millisecond)
	d.wire.cut = func(r *http.Request) bool { return r.Method == http.MethodPost }
	o.delivery = 2
	d.expect(o, consumer.Ack, "parked: exhausted")
	if e := d.wantAnswer("C", schemas.EventParked); e.Data.MoneyMoved != schemas.MoneyMovedNo || e.Data.Calls != 1 {
		t.Errorf("money moved is %q after %d calls: it was proved that none did, and the second call was not sent", e.Data.MoneyMoved, e.Data.Calls)
	}
	d.wantEffects(tx)
}

// No call outlives its claim, whatever the client's own limits are.
func TestCallGoesOutUnderTheDeadlineOfItsClaim(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for _, op := range []linepay.Operation{linepay.Confirm, linepay.Refund} {
		o, _ := d.ready(string(op), op)
		asked := time.Now()
		d.wire.before = func(r *http.Request) {
			if r.Method != http.MethodPost {
				return
			}
			most := 2 * deskTimeout // of a call, and as much for the refund's reading
			if op == linepay.Refund {
				most *= 2
			}
			if deadline, ok := r.Context().Deadline(); !ok || deadline.After(time.Now().Add(most)) || deadline.Before(asked) {
				t.Errorf("%s: the call may take until %s (%v), and its claim was asked for at %s", op, deadline, ok, asked)
			}
		}
		d.finish(o)
	}
}

// A confirm that issued a key has two events; a duplicate is one of the payment.
func TestDuplicateOfAConfirmThatIssuedAKeyNamesThePayment(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.wire.answer = func(*http.Request) string {
		return `{"returnCode":"0000","info":{"transactionId":7,"orderId":"O","regKey":"KEY"}}`
	}
	o := order{id: "C", op: linepay.Confirm, data: data{"transactionId": "7", "orderId": "O", "amount": "100", "currency": "TWD"}}
	d.expect(o, consumer.Ack, "captured")
	o.id, o.sequence = "AGAIN", 2
	d.expect(o, consumer.Ack, "duplicate")
	if of := d.wantAnswer("AGAIN", schemas.EventDuplicate).Data.Of; of.EventType != schemas.EventType(schemas.EventCaptured) {
		t.Errorf("duplicate of %+v", of)
	}
	d.wantVerbs("publish preapproval", "publish captured", "publish duplicate")
}

// LINE Pay says that there is no such payment, and an event of the order says that there was one: then LINE Pay's word proves nothing.
func TestPaymentThatTheEventsKnowIsNotGone(t *testing.T) {
	t.Parallel()
	known := []told{{name: schemas.EventAuthorized, key: "confirm:{tx}"}}
	conclusions(t, []lookUp{
		{name: "capture", op: linepay.Capture, history: known, details: nothingThere, want: "look-up failed"},
		{name: "void", op: linepay.Void, history: known, details: nothingThere, want: "look-up failed"},
		{name: "refund", op: linepay.Refund, data: data{"refundAmount": "10", "refundId": "R-1"}, history: known, details: nothingThere, want: "look-up failed"},
		{name: "another payment of the order", op: linepay.Capture, history: []told{{schemas.EventAuthorized, "confirm:1", schemas.EventData{TransactionID: 1}}}, details: nothingThere, want: "failed 1150"},
		{name: "merely mentioned", op: linepay.Void, history: []told{{name: schemas.EventFailed, key: "confirm:{tx}"}}, details: nothingThere, want: "failed 1150"},
		// Nor is it where LINE Pay answers, and shows another one.
		{name: "not among those shown", op: linepay.Capture, details: shown(`{"transactionId":1,"payStatus":"VOIDED_AUTHORIZATION"}`), want: "look-up failed"},
		{name: "completed, and not among those shown", op: linepay.Confirm, details: shown(`{"transactionId":1,"payStatus":"CAPTURE"}`), check: code("0123"), want: "look-up failed"},
	})
	d := newDesk(t)
	d.put(schemas.EventCaptured, "confirm:7", schemas.EventData{Operation: linepay.Confirm, OrderID: "O", TransactionID: 7})
	d.wire.answer = func(*http.Request) string { return nothingThere }
	fresh := order{id: "C", op: linepay.Refund, data: refundData(7, "O", "10", "R-1")}
	d.expect(fresh, consumer.Retry, "not sent")
	d.wantVerbs()
	d.wantCalls("POST", "", 0)
}

// The confirm held the money, and a capture has taken it since: the confirm's own event must not say that it took any.
func TestConfirmWhoseMoneyWasCapturedSinceHeldIt(t *testing.T) {
	t.Parallel()
	since := []told{{name: schemas.EventCaptured, key: "capture:{tx}"}}
	conclusions(t, []lookUp{
		{name: "all of it", op: linepay.Confirm, history: since, details: shown(payment(linepay.StatusCapture, "100")), want: "authorized"},
		{name: "less", op: linepay.Confirm, history: since, details: shown(payment(linepay.StatusCapture, "70")), want: "authorized"},
	})
}

// An event of the order tells this operation with other data than this command has.
func TestMoneyEventWithOtherDataIsAConflict(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	o, tx := d.ready("C", linepay.Refund)
	d.put(schemas.EventRefunded, "refund:"+tx.String()+":R-1", schemas.EventData{
		Operation: linepay.Refund, OrderID: "ORDER-C", TransactionID: tx, RefundTransactionID: 77, Fingerprint: "of other data",
		Command: schemas.CommandRef{Source: "/test", ID: "FIRST"},
	})
	d.expect(o, consumer.Ack, "rejected: conflict")
	if e := d.wantAnswer("C", schemas.EventRejected); e.Data.Reason != schemas.ReasonConflict || !strings.Contains(e.Data.Errors[0].Message, "with other data") {
		t.Errorf("rejected for %s: %+v", e.Data.Reason, e.Data.Errors)
	}
	d.wantCalls("POST", "", 0)
}

// The look-up and the snapshot are two readings. What turns up between them is looked into before anything is called.
func TestRefundThatTurnsUpAfterTheLookUpIsNotRepeated(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	o, tx := d.ready("C", linepay.Refund)
	d.claim(o, `{"payment":{"refunds":[],"left":"100","currency":"TWD","orderId":"ORDER-C"}}`)
	<-time.After(deskTimeout + 10*time.Millisecond)
	reading := 0
	d.wire.after = func(r *http.Request) {
		if r.Method == http.MethodGet {
			if reading++; reading == 1 {
				if _, err := d.pay.Sim.RefundByHand(tx, linepay.MustAmount("10")); err != nil {
					t.Error(err)
				}
			}
		}
	}
	o.delivery = 2
	d.expect(o, consumer.Retry, "a refund has turned up since the look-up")
	d.expect(o, consumer.Ack, "refunded")
	if e := d.wantAnswer("C", schemas.EventRefunded); e.Data.SettledBy != schemas.SettledByLookup {
		t.Errorf("settled by %s", e.Data.SettledBy)
	}
	d.wantCalls("POST", "/refund", 0)
	d.wantEffects(tx, "confirm 100", "refund 10")
}

// The full refund's amount is what is left: by details, less what the order's events tell and details do not show yet.
func TestFullRefundAsksForWhatIsLeft(t *testing.T) {
	t.Parallel()
	bare := `{"transactionId":{tx},"payStatus":"CAPTURE","orderId":"O","currency":"TWD"}`
	paid := func(tx linepay.TransactionID) told {
		return told{schemas.EventCaptured, "confirm:" + tx.String(), schemas.EventData{TransactionID: tx, Amount: linepay.MustAmount("100")}}
	}
	gave := func(tx linepay.TransactionID, id linepay.TransactionID) told {
		return told{schemas.EventRefunded, "refund:" + tx.String() + ":R-9", schemas.EventData{TransactionID: tx, RefundTransactionID: id, RefundAmount: linepay.MustAmount("30")}}
	}
	held := func(tx linepay.TransactionID) told {
		return told{schemas.EventAuthorized, "confirm:" + tx.String(), schemas.EventData{TransactionID: tx, Amount: linepay.MustAmount("130")}}
	}
	d := newDesk(t)
	for i, c := range []struct {
		name    string
		details string
		history []told
		want    string // the body of the call, "" for none
	}{
		{"nothing given back yet", payment(linepay.StatusCapture, "100"), nil, `{"refundAmount":100}`},
		{"some given back", payment(linepay.StatusCapture, "100", refunds(entry(5, "30", past))), nil, `{"refundAmount":70}`},
		{"some given back, by the events", payment(linepay.StatusCapture, "100"), []told{gave(1002, 5)}, `{"refundAmount":70}`},
		{"some given back, by both", payment(linepay.StatusCapture, "100", refunds(entry(5, "30", past))), []told{gave(1003, 5)}, `{"refundAmount":70}`},
		{"some of another payment", payment(linepay.StatusCapture, "100"), []told{gave(1, 5)}, `{"refundAmount":100}`},
		{"refunds written as positive numbers", payment(linepay.StatusCapture, "100", refunds(strings.Replace(entry(5, "30", past), "-30", "30", 1))), nil, `{"refundAmount":70}`},
		{"nothing left", payment(linepay.StatusCapture, "100", refunds(entry(5, "100", past))), nil, `{}`},
		{"paid by the events alone", bare, []told{paid(1007)}, `{"refundAmount":100}`},
		{"paid by an event of another payment", bare, []told{paid(1)}, ""},
		{"nobody knows what was paid", bare, nil, ""},
		{"held and then taken, by the events alone", bare, []told{held(1010), paid(1010)}, `{"refundAmount":100}`},
	} {
		tx := linepay.TransactionID(1000 + i)
		d.shelf.events = nil
		for _, e := range c.history {
			e.data.OrderID = "O"
			d.put(e.name, e.key, e.data)
		}
		var body string
		d.wire.answer = func(r *http.Request) string {
			if r.Method == http.MethodPost {
				all := make([]byte, r.ContentLength)
				_, _ = r.Body.Read(all)
				body = string(all)
				return `{"returnCode":"0000","info":{"refundTransactionId":99}}`
			}
			return strings.NewReplacer("{tx}", tx.String(), "{order}", "O", "{now}", past).Replace(shown(c.details))
		}
		fate := d.deliver(order{id: c.name, op: linepay.Refund, data: data{"transactionId": tx.String(), "orderId": "O"}, sequence: uint64(i + 1)})
		if body != c.want || (fate.Kind == consumer.Ack) != (c.want != "") {
			t.Errorf("%s: called with %q, and the fate is %s: %s (%v); want %q", c.name, body, fate.Kind, fate.Why, fate.Err, c.want)
		}
	}
}

// A command that has waited long in the stream has not been tried for long.
func TestOldCommandHasItsWholeBudget(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	o, tx := d.ready("C", linepay.Confirm)
	o.stored = time.Now().Add(-48 * time.Hour)
	d.fault(simulator.Fault{Operation: linepay.Confirm, Kind: simulator.KindDrop, When: simulator.After})
	d.expect(o, consumer.Retry, "outcome unknown")
	o.delivery = 2
	d.expect(o, consumer.Ack, "captured")
	d.wantEffects(tx, "confirm 100")
}

// What the log line and the metrics are made of.
func TestFateNamesTheCommandsAnswer(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	o, _ := d.ready("C", linepay.Confirm)
	m := o.message(t)
	for _, why := range []string{"captured", "done"} {
		fate := d.worker.Handle(t.Context(), m)
		if fate.Why != why || fate.Outcome != schemas.EventCaptured || fate.Err != nil {
			t.Errorf("the fate is %s with outcome %q (%v), want %s with captured", fate.Why, fate.Outcome, fate.Err, why)
		}
	}
	if m.Source != "/test" || m.ID != "C" {
		t.Errorf("the message is of %s %s", m.Source, m.ID)
	}
	parked := order{id: "PARKED", op: linepay.Confirm, data: data{"transactionId": "8", "orderId": "O"}, delivery: 2}
	called := parked // by a version that took it for valid
	called.data = confirmData(8, "O")
	d.claim(called, "")
	if fate := d.deliver(parked); fate.Outcome != schemas.EventParked {
		t.Errorf("the outcome of a parked command is %q", fate.Outcome)
	}
	unreadable := order{op: linepay.Confirm, data: data{}}
	if fate := d.deliver(unreadable); fate.Outcome != schemas.EventParked {
		t.Errorf("the outcome of an unreadable command is %q", fate.Outcome)
	}
	d.shelf.fail = func(string) error { return errNoBus }
	waiting, _ := d.ready("WAITING", linepay.Confirm)
	if fate := d.deliver(waiting); fate.Outcome != "" {
		t.Errorf("the outcome of a command that comes back is %q", fate.Outcome)
	}
}

// An operator reads why nothing is done from readiness.
func TestReadinessNamesTheTroubleWithTheChannel(t *testing.T) {
	t.Parallel()
	for code, advice := range map[string]bool{"1106": true, "9000": false} {
		d := newDesk(t, func(c *consumer.Config) { c.RetryMin, c.RetryMax = time.Second, time.Second })
		d.fault(simulator.Fault{Operation: linepay.Request, Kind: simulator.KindCode, Code: code, Count: -1})
		if !d.struck(order{id: "C", op: linepay.Request, data: requestData(t, "ORDER-C")}, 12) {
			t.Fatalf("%s: the breaker is not open", code)
		}
		text := d.worker.Ready(t.Context()).Error()
		if !strings.Contains(text, code) || strings.Contains(text, "merchant centre") != advice {
			t.Errorf("%s: readiness says %q", code, text)
		}
	}
}

// A payment is dated against the latest call, for every call before it was proved to have done nothing; without one on record, against the
// command.
func TestPaymentIsDatedAgainstTheLatestCall(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	made := time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
	for i, c := range []struct {
		name   string
		called bool
		want   string
	}{
		{"made between the command and its call", true, "parked: unresolved"},
		{"made since the command, of which no call is on record", false, "captured 7"},
	} {
		name := fmt.Sprintf("O-%d", i)
		d.wire.answer = func(*http.Request) string {
			return strings.NewReplacer("{tx}", "7", "{order}", name, "{now}", made).Replace(shown(payment(linepay.StatusCapture, "100")))
		}
		o := order{id: c.name, op: linepay.PreapprovedPay, data: payData("KEY", name), stored: time.Now().Add(-2 * time.Hour), delivery: 2}
		if c.called {
			d.claim(o, "")
		}
		if got := d.conclusion(o); got != c.want {
			t.Errorf("%s: concluded %q, want %q", c.name, got, c.want)
		}
	}
}

// What is invalid was never called, so neither a replay nor a lost memory of Redis makes it a case for a person; unless the record has a call.
func TestInvalidCommandIsParkedOnlyIfItWasCalled(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		called bool
		want   string
	}{
		{"replayed", false, "rejected: invalid"},
		{"called by an older version", true, "parked: unresolved"},
	} {
		d := newDesk(t)
		valid, tx := d.ready("C", linepay.Confirm)
		if c.called {
			d.claim(valid, "")
		}
		invalid := valid
		invalid.data = data{"transactionId": tx.String(), "orderId": "ORDER-C"}
		invalid.replay, invalid.delivery = 5, 2
		d.expect(invalid, consumer.Ack, c.want)
		if e := d.answer("C"); c.called && (e.Data.MoneyMoved != schemas.MoneyMovedUnknown || e.Data.Reason != schemas.ReasonUnresolved) {
			t.Errorf("parked says %q, money moved %q", e.Data.Reason, e.Data.MoneyMoved)
		}
		d.wantCalls("POST", "", 0)
		d.wantEffects(tx)
	}
}

// Where the amount is named, nobody needs to know what was paid.
func TestPartialRefundNeedsNoPaidAmount(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.wire.answer = func(r *http.Request) string {
		if r.Method == http.MethodPost {
			return `{"returnCode":"0000","info":{"refundTransactionId":99}}`
		}
		return shown(`{"transactionId":7,"payStatus":"CAPTURE","orderId":"O","currency":"TWD"}`)
	}
	if got := d.conclusion(order{id: "C", op: linepay.Refund, data: refundData(7, "O", "10", "R-1")}); got != "called" {
		t.Errorf("concluded %q", got)
	}
}

// A replay is younger than the call of its first life, and Redis has forgotten that one: whatever entry there is may be the refund.
func TestReplayedRefundThatRedisForgotIsParkedBesideAnyEqualEntry(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for i, c := range []struct{ name, date, want string }{
		{"made since", now, "refunded 60: 10 TWD"},
		{"made long before", past, "parked: unresolved"},
		{"undated", "yesterday", "parked: unresolved"},
	} {
		tx := linepay.TransactionID(1000 + i)
		d.wire.answer = func(*http.Request) string {
			return strings.NewReplacer("{tx}", tx.String(), "{order}", "O", "{now}", time.Now().UTC().Format(time.RFC3339)).Replace(
				shown(payment(linepay.StatusCapture, "100", refunds(entry(60+i, "10", c.date)))))
		}
		o := order{id: c.name, op: linepay.Refund, data: refundData(tx, "O", "10", "R-1"), stored: time.Now(), replay: 5, sequence: uint64(i + 1)}
		if got := d.conclusion(o); got != c.want {
			t.Errorf("%s: concluded %q, want %q", c.name, got, c.want)
		}
	}
	d.wantCalls("POST", "", 0)
}

// An equal refund that somebody made before this one was commanded has nothing to do with it.
func TestRefundIsMadeBesideAnEqualOneMadeByHand(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	o, tx := d.ready("C", linepay.Refund)
	if _, err := d.pay.Sim.RefundByHand(tx, linepay.MustAmount("10")); err != nil {
		t.Fatal(err)
	}
	d.expect(o, consumer.Ack, "refunded")
	d.wantEffects(tx, "confirm 100", "refund 10", "refund 10")
}

func TestRefundOfNothingWasNotCalled(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.wire.answer = func(*http.Request) string { return nothingThere }
	d.expect(order{id: "C", op: linepay.Refund, data: refundData(7, "O", "10", "R-1")}, consumer.Ack, "failed")
	if e := d.answer("C"); e.Data.Calls != 0 {
		t.Errorf("%d calls are told of a refund that was not called", e.Data.Calls)
	}
}

// A reading that LINE Pay refuses is an answer; one that it does not answer is asked again.
func TestDetailsThatFailAreNotAnEmptyAnswer(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	o := order{id: "C", op: linepay.Details, data: data{"transactionIds": []string{"7"}}, stored: time.Now()}
	for _, c := range []struct {
		body, why string
		kind      consumer.FateKind
	}{
		{garbage, "outcome unknown", consumer.Retry},
		{code("1177"), "failed", consumer.Ack},
	} {
		d.wire.answer = func(*http.Request) string { return c.body }
		d.expect(o, c.kind, c.why)
	}
}
