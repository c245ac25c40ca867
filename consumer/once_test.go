package consumer_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
	"linepay-worker/schemas"
)

func TestOneCommandPublishedFiftyTimesMakesOneCallAndOneEvent(t *testing.T) {
	t.Parallel()
	l := startLine(t)
	id := l.pay.Paid(t, "ORDER-1", "100", "TWD", true)
	for range 50 {
		l.sendAs("C-1", linepay.Confirm, confirmData(id, "ORDER-1"))
	}
	l.idle()
	if n := l.calls(linepay.Confirm); n != 1 {
		t.Errorf("%d confirms reached LINE Pay, want 1", n)
	}
	if events := l.events(); len(events) != 1 || events[0].Name() != schemas.EventCaptured {
		t.Errorf("%d events, want the one that says captured", len(events))
	}
}

func TestFiftyCommandsForOneOperationOnTwoWorkersMakeOneCall(t *testing.T) {
	t.Parallel()
	for _, op := range []linepay.Operation{linepay.Confirm, linepay.Refund} {
		t.Run(string(op), func(t *testing.T) {
			t.Parallel()
			l := startLine(t)
			l.start()
			var id linepay.TransactionID
			var d data
			if op == linepay.Confirm {
				id = l.pay.Paid(t, "ORDER-1", "100", "TWD", true)
				d = confirmData(id, "ORDER-1")
			} else {
				id = l.confirmed("ORDER-1")
				d = refundData(id, "ORDER-1", "10", "R-1")
			}
			var sent sync.WaitGroup
			for i := range 50 {
				sent.Go(func() { l.sendAs(fmt.Sprintf("C-%d", i), op, d) })
			}
			sent.Wait()
			l.idle()
			if n := l.calls(op); n != 1 {
				t.Errorf("%d calls reached LINE Pay, want 1", n)
			}
			if n := count(l.events(), schemas.EventDuplicate); n != 49 {
				t.Errorf("%d duplicate events, want 49", n)
			}
			l.agree()
		})
	}
}

func TestDuplicateNamesWhatItDuplicates(t *testing.T) {
	t.Parallel()
	l := startLine(t)
	id := l.pay.Paid(t, "ORDER/1", "100", "TWD", true)
	first := l.done(l.send(linepay.Confirm, confirmData(id, "ORDER/1")), schemas.EventCaptured)
	second := l.done(l.send(linepay.Confirm, confirmData(id, "ORDER/1")), schemas.EventDuplicate)
	want := schemas.DuplicateOf{
		Command: first.Data.Command, EventID: first.ID, EventType: first.Type, EventSubject: "linepay.events.tw.captured.ORDER%2F1",
	}
	if second.Data.Of == nil || *second.Data.Of != want {
		t.Errorf("duplicate of %+v, want %+v", second.Data.Of, want)
	}
}

func TestOtherAmountUnderOneKeyIsAConflict(t *testing.T) {
	t.Parallel()
	l := startLine(t)
	id := l.confirmed("ORDER-1")
	l.done(l.send(linepay.Refund, refundData(id, "ORDER-1", "10", "R-1")), schemas.EventRefunded)
	rejected := l.done(l.send(linepay.Refund, refundData(id, "ORDER-1", "20", "R-1")), schemas.EventRejected)
	if rejected.Data.Reason != schemas.ReasonConflict {
		t.Errorf("rejected for %q, want conflict", rejected.Data.Reason)
	}
	// The same value in another spelling is the same refund.
	l.done(l.send(linepay.Refund, refundData(id, "ORDER-1", "10.00", "R-1")), schemas.EventDuplicate)
	l.wantEffects(id, "confirm 100", "refund 10")
}

func TestTwoEqualRefundsUnderTwoNamesAreTwo(t *testing.T) {
	t.Parallel()
	l := startLine(t)
	id := l.confirmed("ORDER-1")
	first := l.send(linepay.Refund, refundData(id, "ORDER-1", "10", "R-1"))
	second := l.send(linepay.Refund, refundData(id, "ORDER-1", "10", "R-2"))
	a, b := l.done(first, schemas.EventRefunded), l.done(second, schemas.EventRefunded)
	if a.Data.RefundTransactionID == b.Data.RefundTransactionID {
		t.Error("two refunds have one transaction id")
	}
	l.wantEffects(id, "confirm 100", "refund 10", "refund 10")
	l.agree()
}

// Commands on one payment are carried out in the order of the stream, also when they are fetched together.
func TestCommandsOnOnePaymentKeepTheirOrder(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	var last []string
	var ids []linepay.TransactionID
	for i := range 20 {
		order := fmt.Sprintf("ORDER-%d", i)
		id := l.pay.Paid(t, order, "100", "TWD", false)
		ids = append(ids, id)
		l.send(linepay.Confirm, confirmData(id, order))
		l.send(linepay.Capture, confirmData(id, order))
		l.send(linepay.Refund, refundData(id, order, "10", "R-1"))
		last = append(last, l.send(linepay.Refund, data{"transactionId": id.String(), "orderId": order}))
	}
	l.start()
	for i := range ids {
		l.done(last[i], schemas.EventRefunded)
		l.wantEffects(ids[i], "confirm 100", "capture 100", "refund 10", "refund 90")
	}
	l.agree()
}

func TestAnswersThatSayAlreadyAreNoFailures(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		fault simulator.Fault
	}{
		{"carried out, then 1198", simulator.Fault{Kind: simulator.KindCode, Code: "1198", When: simulator.After}},
		{"carried out, then 1172", simulator.Fault{Kind: simulator.KindCode, Code: "1172", When: simulator.After}},
		{"carried out, then 1199", simulator.Fault{Kind: simulator.KindCode, Code: "1199", When: simulator.After}},
		{"carried out, then 9000", simulator.Fault{Kind: simulator.KindCode, Code: "9000", When: simulator.After}},
		{"carried out, then 1900", simulator.Fault{Kind: simulator.KindCode, Code: "1900", When: simulator.After}},
		{"answer lost", simulator.Fault{Kind: simulator.KindDrop, When: simulator.After}},
		{"HTTP 500", simulator.Fault{Kind: simulator.KindHTTP500, When: simulator.After}},
		{"garbage", simulator.Fault{Kind: simulator.KindGarbage, When: simulator.After}},
		{"a page", simulator.Fault{Kind: simulator.KindHTML, When: simulator.After}},
		{"answer too late", simulator.Fault{Kind: simulator.KindDelay, Delay: 3 * readTimeout, When: simulator.After}},
		{"not carried out, 1900", simulator.Fault{Kind: simulator.KindCode, Code: "1900", When: simulator.Before}},
		{"call lost", simulator.Fault{Kind: simulator.KindDrop, When: simulator.Before}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := startLine(t)
			commands, actions := map[linepay.Operation]string{}, map[linepay.Operation]action{}
			for op, act := range moneyOperations {
				actions[op] = act(l, "ORDER-"+string(op))
			}
			for op, a := range actions {
				c.fault.Operation = op
				l.fault(c.fault)
				commands[op] = l.send(op, a.data)
			}
			for op, a := range actions {
				e := l.event(commands[op])
				if !schemas.IsMoneyEvent(e.Name()) {
					body, _ := e.Encode()
					t.Errorf("%s: event is %s: %s", op, e.Name(), body)
				}
				if got := a.effects(l); !slices.Equal(got, a.want) {
					t.Errorf("%s: effects at LINE Pay are %v, want %v", op, got, a.want)
				}
			}
			l.agree()
		})
	}
}

// A confirm that meets 1172 because its order was paid with another transaction did not take money.
func TestConfirmOfAnOrderPaidOtherwiseFails(t *testing.T) {
	t.Parallel()
	l := startLine(t)
	other := l.pay.Paid(t, "ORDER-1", "100", "TWD", true)
	l.confirmed("ORDER-1")
	failed := l.done(l.send(linepay.Confirm, confirmData(other, "ORDER-1")), schemas.EventFailed)
	if failed.Data.ReturnCode != "1172" {
		t.Errorf("failed with %q, want 1172", failed.Data.ReturnCode)
	}
	l.wantEffects(other)
	l.agree()
}

// action is a money operation that is ready to be commanded.
type action struct {
	data    data
	effects func(*line) []string
	want    []string
}

// moneyOperations prepares each operation that moves money.
var moneyOperations = map[linepay.Operation]func(*line, string) action{
	linepay.Confirm: func(l *line, order string) action {
		id := l.pay.Paid(l.t, order, "100", "TWD", true)
		return action{confirmData(id, order), ofTransaction(id), []string{"confirm 100"}}
	},
	linepay.Capture: func(l *line, order string) action {
		id := l.authorized(order)
		return action{confirmData(id, order), ofTransaction(id), []string{"confirm 100", "capture 100"}}
	},
	linepay.Void: func(l *line, order string) action {
		id := l.authorized(order)
		return action{data{"transactionId": id.String(), "orderId": order}, ofTransaction(id), []string{"confirm 100", "void 100"}}
	},
	linepay.Refund: func(l *line, order string) action {
		id := l.confirmed(order)
		return action{refundData(id, order, "10", "R-1"), ofTransaction(id), []string{"confirm 100", "refund 10"}}
	},
	linepay.PreapprovedPay: func(l *line, order string) action {
		return action{payData(l.newKey(order+"-KEY"), order), ofOrder(order), []string{"preapproved-pay 100"}}
	},
}

func ofTransaction(id linepay.TransactionID) func(*line) []string {
	return func(l *line) []string { return l.effects(id) }
}

func ofOrder(order string) func(*line) []string {
	return func(l *line) (all []string) {
		for _, tx := range l.pay.Sim.Ledger().Transactions {
			if tx.OrderID == order {
				all = append(all, l.effects(tx.TransactionID)...)
			}
		}
		return all
	}
}

// newKey has a confirm issue a key.
func (l *line) newKey(order string) string {
	l.t.Helper()
	request := requestData(l.t, order)
	request["options"] = data{"payment": data{"payType": "PREAPPROVED"}}
	id := l.done(l.send(linepay.Request, request), schemas.EventRequested).Data.TransactionID
	if err := l.pay.Sim.Authenticate(id); err != nil {
		l.t.Fatal(err)
	}
	l.done(l.send(linepay.Confirm, confirmData(id, order)), schemas.EventCaptured)
	return issuedKey(l.t, l)
}

// Ids survive command, call and event, whatever their size. LINE Pay knows none of them: the line has to carry them all the same.
func TestEveryTransactionIDSurvivesTheLine(t *testing.T) {
	t.Parallel()
	l := startLine(t)
	rapid.Check(t, func(r *rapid.T) {
		id := rapid.OneOf(rapid.Just(int64(1<<63-1)), rapid.Just(int64(2018082512345678910)), rapid.Int64Range(1, 1<<63-1)).Draw(r, "id")
		spelling := rapid.SampledFrom([]any{id, fmt.Sprint(id)}).Draw(r, "spelling")
		e := l.event(l.send(linepay.Check, data{"transactionId": spelling}))
		if e.Data.TransactionID != linepay.TransactionID(id) {
			r.Fatalf("id %d became %s", id, e.Data.TransactionID)
		}
		body, err := e.Encode()
		if err != nil || !strings.Contains(string(body), fmt.Sprintf(`"transactionId":"%d"`, id)) {
			r.Fatalf("the event has no string %d: %s", id, body)
		}
		calls := l.pay.Sim.Ledger().Calls
		if last := calls[len(calls)-1]; !strings.Contains(last.Path, fmt.Sprintf("/%d/", id)) {
			r.Fatalf("LINE Pay was called at %s", last.Path)
		}
	})
}
