package simulator_test

import (
	"strings"
	"testing"

	"linepay-worker/linepay/simulator"
)

// Whatever a signed body or query holds, the answer is a result code and the books stay empty of effects that nobody asked for.
func FuzzCalls(f *testing.F) {
	f.Add("payments/request", order("o1", "100", "TWD", holds), true)
	f.Add("payments/2026030100000000110/confirm", `{"amount":1e99,"currency":"TWD"}`, true)
	f.Add("payments/2026030100000000110/refund", `{"refundAmount":"-0.0"}`, true)
	f.Add("payments/preapprovedPay/RK%2F/payment", `{"amount":"","orderId":"\ud800"}`, true)
	f.Add("payments", `transactionId=1,2&orderId=%`, false)
	f.Fuzz(func(t *testing.T, path, body string, post bool) {
		if strings.ContainsAny(path, "?# \x00\r\n\t%") || !plain(path) || !plain(body) && !post {
			return // not something that an HTTP client could send
		}
		m := open(t, simulator.Rules{})
		var got reply
		if post {
			got = m.post(path, body)
		} else {
			r := m.build("GET", path, "")
			r.URL.RawQuery = body
			r.Header.Set("X-LINE-Authorization", sign(m.secret, "/v3/"+path, body, r.Header.Get("X-LINE-Authorization-Nonce")))
			got = m.send(r)
		}
		if got.Status != 200 || len(got.Code) != 4 || got.Code == "1106" {
			t.Errorf("HTTP %d %s", got.Status, got.Raw)
		}
		for _, tx := range m.sim.Ledger().Transactions {
			if len(tx.Effects) != 0 {
				t.Errorf("one call moved money: %+v", tx)
			}
		}
	})
}

func plain(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}

// Whatever the control side is sent, it answers, and keeps no fault or rule that it could not obey.
func FuzzControl(f *testing.F) {
	f.Add(`{"operation":"refund","kind":"drop","count":-1,"probability":0.5,"delayMs":5,"code":"1198","when":"after"}`)
	f.Add(`{"kind":"code","code":"99999"}`)
	f.Add(`{"waitingTimeMs":-1,"openOrderCode":"1145","points":"1"}`)
	f.Add(`{"advanceMs":1e3}`)
	f.Fuzz(func(t *testing.T, body string) {
		m := open(t, simulator.Rules{})
		for _, path := range []string{"faults", "rules", "clock", "payments/1/refund"} {
			w := m.controlAny("POST", path, body)
			if w.Code < 200 || w.Code >= 500 {
				t.Errorf("%s: HTTP %d %s", path, w.Code, w.Body)
			}
		}
		for _, fault := range m.sim.Faults() {
			if err := m.sim.AddFault(fault); err != nil {
				t.Errorf("kept: %v", err)
			}
		}
		if err := m.sim.SetRules(m.sim.Rules()); err != nil {
			t.Errorf("kept: %v", err)
		}
	})
}
