package main

import (
	"testing"

	"github.com/go-json-experiment/json"

	"linepay-worker/consumer/consumertest"
	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
)

// Both stores are set back to before the work was done: the commands are in the stream again, their events are gone, and Redis knows nothing.
// Only LINE Pay knows. A worker that is started with CAUTIOUS looks first, and tells what it finds.
func TestCautiousWorkerDoublesNothingWhenNATSAndRedisAreSetBack(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	hasty := append(s.env(), "READ_TIMEOUT=1s", "LOOKUP_MARGIN=1s", "RETRY_MIN=200ms", "RETRY_MAX=1s", "SHUTDOWN_GRACE=10s")
	provide := start(t, hasty) // the streams
	ready(t, provide)
	provide.stop(t)

	client := s.pay.Client(t)
	confirmed := s.pay.Paid(t, "CONFIRMED", "100", "TWD", true)
	refunded := s.pay.Paid(t, "REFUNDED", "100", "TWD", true)
	fresh := s.pay.Paid(t, "FRESH", "100", "TWD", true)
	if _, err := client.Confirm(t.Context(), refunded, linepay.MustAmount("100"), "TWD"); err != nil {
		t.Fatal(err)
	}
	s.send(t, linepay.Confirm, "c-1", confirmOf(confirmed, "CONFIRMED"))
	s.send(t, linepay.Refund, "r-1", map[string]any{"transactionId": refunded, "orderId": "REFUNDED", "refundAmount": "30", "refundId": "R-1"})
	snapshot := s.nats.Snapshot()

	before := start(t, hasty)
	s.settledBy(t, "captured.CONFIRMED", "response")
	s.settledBy(t, "refunded.REFUNDED", "response")
	if code := before.stop(t); code != 0 {
		t.Fatalf("exit code %d:\n%s", code, before.said())
	}

	s.nats.Restore(snapshot)
	s.redis.FlushAll()
	after := start(t, append(hasty, "CAUTIOUS=true"))
	s.settledBy(t, "captured.CONFIRMED", "lookup")
	s.settledBy(t, "refunded.REFUNDED", "lookup")
	s.send(t, linepay.Confirm, "c-2", confirmOf(fresh, "FRESH")) // what LINE Pay shows has not happened is called
	s.settledBy(t, "captured.FRESH", "response")
	if code := after.stop(t); code != 0 {
		t.Errorf("exit code %d:\n%s", code, after.said())
	}
	want := map[linepay.TransactionID]int{confirmed: 1, refunded: 2, fresh: 1}
	for _, transaction := range s.pay.Sim.Ledger().Transactions {
		if n := want[transaction.TransactionID]; len(transaction.Effects) != n {
			t.Errorf("order %s has %d effects, want %d: %+v", transaction.OrderID, len(transaction.Effects), n, effects(transaction))
		}
	}
}

// NATS alone is set back: Redis answers the commands that come again, and their events are told again, under the same ids.
func TestWhatIsOnRecordIsToldAgainWhenNATSAloneIsSetBack(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	provide := start(t, s.env()) // the streams
	ready(t, provide)
	provide.stop(t)
	id := s.pay.Paid(t, "ORDER", "100", "TWD", true)
	s.send(t, linepay.Confirm, "c-1", confirmOf(id, "ORDER"))
	snapshot := s.nats.Snapshot()
	told := func() string {
		worker := start(t, s.env())
		s.settledBy(t, "captured.ORDER", "response")
		event := consumertest.Await(t, s.js, "LINEPAY_EVENTS", "linepay.events.default.captured.ORDER", 1)[0]
		if code := worker.stop(t); code != 0 {
			t.Errorf("exit code %d:\n%s", code, worker.said())
		}
		return event.Header.Get("Nats-Msg-Id")
	}
	before := told()
	s.nats.Restore(snapshot)
	if after := told(); after != before || before == "" {
		t.Errorf("the event is %s, and was %s", after, before)
	}
	if calls := s.pay.Sim.Ledger().Transactions[0].Effects; len(calls) != 1 {
		t.Errorf("%d effects, want 1", len(calls))
	}
}

func effects(transaction simulator.Transaction) (list []string) {
	for _, e := range transaction.Effects {
		list = append(list, string(e.Operation)+" "+e.Amount.String())
	}
	return list
}

// settledBy waits for an event, and checks where its outcome is known from.
func (s *servers) settledBy(t *testing.T, subject, want string) {
	t.Helper()
	var e struct {
		Data struct {
			SettledBy string `json:"settledBy"`
		} `json:"data"`
	}
	stored := consumertest.Await(t, s.js, "LINEPAY_EVENTS", "linepay.events.default."+subject, 1)
	if err := json.Unmarshal(stored[0].Data, &e); err != nil || len(stored) != 1 || e.Data.SettledBy != want {
		t.Errorf("%s: %d events, settled by %q, want one, settled by %s (error %v)", subject, len(stored), e.Data.SettledBy, want, err)
	}
}
