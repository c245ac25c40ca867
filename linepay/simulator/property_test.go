package simulator_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
)

// Whatever is called in whatever order, with whatever faults, the books balance.
func TestTheLedgerBalancesAfterAnySequenceOfCalls(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		m := openWith(t, simulator.Config{Seed: rapid.Uint64Min(1).Draw(rt, "seed")})
		defer m.sim.Close()
		ids := []linepay.TransactionID{m.reserve("o0", "100", ""), m.reserve("o1", "50", holds)}
		key := m.key("key")
		base := "payments/preapprovedPay/" + key
		answered := 0
		amount := func() string {
			return rapid.SampledFrom([]string{"10", "50", "100", "101", "0", "7.0"}).Draw(rt, "amount")
		}
		id := func() linepay.TransactionID { return rapid.SampledFrom(ids).Draw(rt, "id") }
		count := func(r reply) {
			if r.Code == "0000" {
				answered++
			}
		}
		actions := map[string]func(*rapid.T){
			"request": func(*rapid.T) {
				options := rapid.SampledFrom([]string{"", holds, registers}).Draw(rt, "options")
				r := m.post("payments/request", order(rapid.SampledFrom([]string{"o0", "o1", "o2"}).Draw(rt, "order"), amount(), "TWD", options))
				if r.Code == "0000" {
					ids = append(ids, m.id64(r, "transactionId"))
				}
			},
			"authenticate": func(*rapid.T) { _ = m.sim.Authenticate(id()) },
			"cancel":       func(*rapid.T) { _ = m.sim.Cancel(id()) },
			"confirm":      func(*rapid.T) { count(m.confirm(id(), amount())) },
			"capture":      func(*rapid.T) { count(m.capture(id(), amount())) },
			"void":         func(*rapid.T) { count(m.void(id())) },
			"refund":       func(*rapid.T) { count(m.refund(id(), `{"refundAmount":`+amount()+`}`)) },
			"refund all":   func(*rapid.T) { count(m.refund(id(), "")) },
			"charge":       func(*rapid.T) { count(m.post(base+"/payment", keyPayment("k"+amount(), amount()))) },
			"advance": func(*rapid.T) {
				m.advance(rapid.SampledFrom([]time.Duration{time.Minute, time.Hour, 700 * time.Hour}).Draw(rt, "d"))
			},
			"fault": func(*rapid.T) {
				m.fault(simulator.Fault{Kind: simulator.KindCode, Code: "9000", When: simulator.Before, Probability: 0.5})
			},
		}
		rt.Repeat(actions)
		balanced(rt, m.sim.Ledger(), answered+1) // and the confirm that issued the key
	})
}

func balanced(t *rapid.T, ledger simulator.Ledger, answered int) {
	effects, paid, seen := 0, map[string]bool{}, map[linepay.TransactionID]bool{}
	for _, tx := range ledger.Transactions {
		refunded, kinds := linepay.Amount{}, map[linepay.Operation]int{}
		for _, effect := range tx.Effects {
			effects++
			kinds[effect.Operation]++
			if effect.Operation == linepay.Refund {
				refunded = refunded.Add(effect.Amount)
				if seen[effect.TransactionID] {
					t.Fatalf("two refunds bear the id %v", effect.TransactionID)
				}
				seen[effect.TransactionID] = true
			} else if effect.TransactionID != tx.TransactionID {
				t.Fatalf("%s bears another id: %+v", effect.Operation, tx)
			}
		}
		paidTimes := kinds[linepay.Confirm] + kinds[linepay.PreapprovedPay]
		switch {
		case paidTimes > 1, kinds[linepay.Capture]+kinds[linepay.Void] > 1:
			t.Fatalf("more than one: %+v", tx)
		case paidTimes == 0 && len(tx.Effects) > 0:
			t.Fatalf("money moved without a payment: %+v", tx)
		case tx.Captured.Cmp(tx.Requested) > 0, refunded.Cmp(tx.Captured) > 0, !refunded.Equal(tx.Refunded):
			t.Fatalf("sums: %+v", tx)
		case kinds[linepay.Void] > 0 && !tx.Captured.IsZero():
			t.Fatalf("voided and captured: %+v", tx)
		case (tx.State == simulator.Refunded) != (!tx.Captured.IsZero() && refunded.Equal(tx.Captured)):
			t.Fatalf("state: %+v", tx)
		}
		if paidTimes == 1 {
			if paid[tx.OrderID] {
				t.Fatalf("order %s was paid twice", tx.OrderID)
			}
			paid[tx.OrderID] = true
		}
	}
	if effects != answered {
		t.Fatalf("%d effects for %d calls answered 0000", effects, answered)
	}
	for _, call := range ledger.Calls {
		if !strings.HasPrefix(call.Path, "/v3/") || call.ReturnCode == "" {
			t.Fatalf("call %+v", call)
		}
	}
}
