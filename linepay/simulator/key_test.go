package simulator_test

import (
	"fmt"
	"regexp"
	"testing"
	"time"

	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
)

func TestAConfirmIssuesAKeyWhereTheRequestRegistersOne(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{})
	key := m.key("o1")
	if !regexp.MustCompile(`^RK[A-Z0-9]{13}$`).MatchString(key) {
		t.Errorf("regKey %q", key)
	}
	if got := m.want("0000", m.get("payments/preapprovedPay/"+key+"/check?creditCardAuth=false")); got.Info != nil {
		t.Errorf("info %s", got.Info)
	}
	m.want("1190", m.get("payments/preapprovedPay/RK0000000000000/check"))
}

func TestAKeyPaysWithoutTheCustomer(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{})
	key := m.key("o1")
	path := "payments/preapprovedPay/" + key + "/payment"
	got := m.want("0000", m.post(path, keyPayment("o2", "70")))
	id := m.id64(got, "transactionId")
	if want := fmt.Sprintf(`{"transactionId":%v,"transactionDate":"2026-03-01T20:30:15Z","orderId":"o2"}`, id); string(got.Info) != want {
		t.Errorf("info %s, want %s", got.Info, want)
	}
	if call := m.lastCall(); call.OrderID != "o2" || call.TransactionID != id {
		t.Errorf("ledger: %+v", call)
	}
	m.wantEffects(id, "preapproved-pay 70")
	m.wantFound(m.get("payments?orderId=o2"), id)
	m.want("1159", m.check(id)) // nobody requested it
	m.want("1172", m.confirm(id, "70"))
	m.want("1172", m.post(path, keyPayment("o2", "70")))
	m.want("1172", m.post(path, keyPayment("o1", "70"))) // paid when the key was issued
	m.want("0000", m.refund(id, "{}"))

	held := m.want("0000", m.post(path, `{"amount":5,"currency":"TWD","orderId":"o3","capture":false}`))
	if got := m.member(held, "authorizationExpireDate"); got != dawn.Add(30*24*time.Hour).Format(time.RFC3339) {
		t.Errorf("authorizationExpireDate %q", got)
	}
	m.want("0000", m.capture(m.id64(held, "transactionId"), "5"))
}

func TestKeyPaymentsAreChecked(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{MaximumAmount: linepay.MustAmount("100")})
	path := "payments/preapprovedPay/" + m.key("o1") + "/payment"
	m.want("2101", m.post(path, `{"amount":5,"currency":"TWD"}`))
	m.want("2101", m.post(path, `{"currency":"TWD","orderId":"o2"}`))
	m.want("1178", m.post(path, `{"amount":5,"currency":"EUR","orderId":"o2"}`))
	m.want("1124", m.post(path, keyPayment("o2", "5.0")))
	m.want("1183", m.post(path, keyPayment("o2", "0")))
	m.want("1184", m.post(path, keyPayment("o2", "101")))
	m.want("1190", m.post("payments/preapprovedPay/RKNONE/payment", keyPayment("o2", "5")))
	if n := len(m.sim.Ledger().Transactions); n != 1 {
		t.Errorf("%d transactions", n)
	}
	m.want("0000", m.post(path, `{"amount":5,"orderId":"o2"}`)) // the key's currency
	if err := m.sim.SetRules(simulator.Rules{RefuseSeparateCapture: true}); err != nil {
		t.Fatal(err)
	}
	m.want("2103", m.post(path, `{"amount":5,"orderId":"o3","capture":false}`))
}

func TestADiscardedKeyPaysNothing(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{})
	base := "payments/preapprovedPay/" + m.key("o1")
	if got := m.want("0000", m.post(base+"/expire", "")); got.Info != nil {
		t.Errorf("info %s", got.Info)
	}
	m.want("1193", m.post(base+"/expire", "{}"))
	m.want("1193", m.get(base+"/check"))
	m.want("1193", m.post(base+"/payment", keyPayment("o2", "5")))
	m.want("1190", m.post("payments/preapprovedPay/RKNONE/expire", "{}"))
}

func TestCodesDoWhatLINEPayDocumentsWhereTheRulesSaySo(t *testing.T) {
	t.Parallel()
	for _, consequences := range []bool{false, true} {
		m := open(t, simulator.Rules{CodesHaveConsequences: consequences})
		held, key := m.paid("o1", "100", holds), m.key("o2")
		m.fault(simulator.Fault{Operation: "capture", Kind: simulator.KindCode, Code: "1281"})
		m.want("1281", m.capture(held, "100"))
		m.fault(simulator.Fault{Operation: "preapproved-pay", Kind: simulator.KindCode, Code: "1292"})
		m.want("1292", m.post("payments/preapprovedPay/"+key+"/payment", keyPayment("o3", "5")))
		state, code := simulator.Authorized, "0000"
		if consequences {
			state, code = simulator.Voided, "1193"
		}
		m.wantState(held, state)
		m.wantEffects(held, "confirm 100")
		m.want(code, m.get("payments/preapprovedPay/"+key+"/check"))
	}
}
