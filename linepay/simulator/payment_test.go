package simulator_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
)

func TestCheckFollowsTheReservation(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{})
	m.want("1159", m.get("payments/requests/2026030100000000010/check"))
	id := m.reserve("o1", "100", "")
	if got := m.want("0000", m.check(id)); got.Message != "reserved transaction." || got.Info != nil {
		t.Errorf("answer %s", got.Raw)
	}
	if err := m.sim.Authenticate(id); err != nil {
		t.Fatal(err)
	}
	m.want("0110", m.check(id))
	m.want("0000", m.confirm(id, "100"))
	m.want("0123", m.check(id))

	cancelled := m.reserve("o2", "100", "")
	if err := m.sim.Cancel(cancelled); err != nil {
		t.Fatal(err)
	}
	m.want("0121", m.check(cancelled))
	m.wantState(cancelled, simulator.Cancelled)
}

func TestReservationsEndOnTheSimulatorsClock(t *testing.T) {
	t.Parallel()
	for name, each := range map[string]struct {
		rules   simulator.Rules
		pays    bool
		after   time.Duration
		check   string
		confirm string
		state   simulator.State
	}{
		"waiting, just in time":       {after: 20*time.Minute - 1, check: "0000", confirm: "1169", state: simulator.Reserved},
		"waiting, too late":           {after: 20 * time.Minute, check: "0121", confirm: "1180", state: simulator.Expired},
		"waiting, other rule":         {rules: simulator.Rules{WaitingTime: time.Minute}, after: time.Minute, check: "0121", confirm: "1180", state: simulator.Expired},
		"waiting for ever":            {rules: simulator.Rules{WaitingTime: -1}, after: 24 * time.Hour, check: "0000", confirm: "1169", state: simulator.Reserved},
		"authenticated, just in time": {pays: true, after: 20*time.Minute - 1, check: "0110", confirm: "0000", state: simulator.Captured},
		"authenticated, too late":     {pays: true, after: 20 * time.Minute, check: "0121", confirm: "1180", state: simulator.Expired},
		"authenticated, other code": {
			rules: simulator.Rules{ConfirmTime: time.Hour, DeadConfirmCode: "1159"}, pays: true, after: time.Hour,
			check: "0121", confirm: "1159", state: simulator.Expired,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := open(t, each.rules)
			id := m.reserve("o1", "100", "")
			if each.pays {
				if err := m.sim.Authenticate(id); err != nil {
					t.Fatal(err)
				}
			}
			m.advance(each.after)
			m.want(each.check, m.check(id))
			m.want(each.confirm, m.confirm(id, "100"))
			m.wantState(id, each.state)
		})
	}
}

func TestConfirmTakesTheMoneyOnce(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{})
	id := m.authenticated("o1", "100", "")
	got := m.want("0000", m.confirm(id, "100"))
	want := fmt.Sprintf(`{"orderId":"o1","transactionId":%v,"payInfo":[{"method":"CREDIT_CARD","amount":100}],"packages":[{"id":"p1","amount":100,"userFeeAmount":0}]}`, id)
	if string(got.Info) != want {
		t.Errorf("info %s, want %s", got.Info, want)
	}
	m.want("1172", m.confirm(id, "100"))
	m.want("1172", m.confirm(id, "99"))
	m.wantEffects(id, "confirm 100")
	if tx := m.transaction(id); tx.State != simulator.Captured || tx.Captured.String() != "100" || tx.Effects[0].TransactionID != id || !tx.Effects[0].At.Equal(dawn) {
		t.Errorf("ledger: %+v", tx)
	}
	if call := m.lastCall(); call.Operation != linepay.Confirm || call.OrderID != "o1" || call.TransactionID != id || call.ReturnCode != "1172" {
		t.Errorf("ledger: %+v", call)
	}
	other := open(t, simulator.Rules{RepeatedConfirmCode: "1152"})
	other.want("1152", other.confirm(other.paid("o1", "100", ""), "100"))
}

func TestConfirmMustMatchTheRequest(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{})
	id := m.authenticated("o1", "100", "")
	path := "payments/" + id.String() + "/confirm"
	m.want("1153", m.confirm(id, "101"))
	m.want("1153", m.post(path, `{"amount":100,"currency":"USD"}`))
	m.want("1124", m.confirm(id, "100.0"))
	m.want("2101", m.post(path, `{"currency":"TWD"}`))
	m.want("2101", m.post(path, `{"amount":100}`))
	m.want("2101", m.post(path, ``))
	m.wantEffects(id)
	m.want("0000", m.confirm(id, `"100"`))

	other := open(t, simulator.Rules{WrongCurrencyCode: "1178", RefuseNumericStrings: true})
	id = other.authenticated("o1", "100", "")
	other.want("1178", other.post("payments/"+id.String()+"/confirm", `{"amount":100,"currency":"USD"}`))
	other.want("2101", other.confirm(id, `"100"`))
}

func TestAConfirmBeforeTheCustomerPaidIsRefused(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{})
	id := m.reserve("o1", "100", "")
	m.want("1169", m.confirm(id, "100"))
	m.want("0000", m.check(id))

	deadly := open(t, simulator.Rules{PrematureConfirmFails: true})
	id = deadly.reserve("o1", "100", "")
	deadly.want("1169", deadly.confirm(id, "100"))
	deadly.want("0122", deadly.check(id))
	deadly.want("1180", deadly.confirm(id, "100"))
	deadly.wantState(id, simulator.Failed)
}

func TestOneOrderIsPaidOnce(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{})
	first, second := m.authenticated("o1", "100", ""), m.authenticated("o1", "100", holds)
	m.want("0000", m.confirm(second, "100"))
	m.want("1172", m.confirm(first, "100"))
	m.want("0000", m.void(second))
	m.want("1172", m.confirm(first, "100")) // the voided one's details exist still
	m.wantEffects(first)
}

func TestUnknownTransactionsAreRefused(t *testing.T) {
	t.Parallel()
	for rule, want := range map[string]string{"": "1150", "1159": "1159"} {
		m := open(t, simulator.Rules{UnknownTransactionCode: rule})
		const id = linepay.TransactionID(2026030199999999910)
		m.want(want, m.confirm(id, "1"))
		m.want(want, m.capture(id, "1"))
		m.want(want, m.void(id))
		m.want(want, m.refund(id, "{}"))
	}
}

func TestARefundsIDIsNoPayment(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{})
	id := m.id64(m.want("0000", m.refund(m.paid("o1", "100", ""), "{}")), "refundTransactionId")
	m.want("1155", m.confirm(id, "1"))
	m.want("1155", m.capture(id, "1"))
	m.want("1155", m.void(id))
	m.want("1155", m.refund(id, "{}"))
	m.want("1159", m.check(id))
}

func TestUnpaidPaymentsHaveNothingToCaptureVoidOrRefund(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{})
	for _, id := range []linepay.TransactionID{m.reserve("o1", "100", holds), m.authenticated("o2", "100", holds)} {
		m.want("1150", m.capture(id, "100"))
		m.want("1150", m.void(id))
		m.want("1150", m.refund(id, "{}"))
		m.want("1150", m.details(id))
		m.wantEffects(id)
	}
}

func TestAnAuthorizationIsCapturedOnce(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{})
	id := m.authenticated("o1", "100", holds)
	confirmed := m.want("0000", m.confirm(id, "100"))
	if got := m.member(confirmed, "authorizationExpireDate"); got != "2026-03-31T20:30:15Z" {
		t.Errorf("authorizationExpireDate %q", got)
	}
	if tx := m.transaction(id); tx.State != simulator.Authorized || !tx.Captured.IsZero() {
		t.Errorf("ledger: %+v", tx)
	}
	m.want("1184", m.capture(id, "101"))
	m.want("1124", m.capture(id, "80.0"))
	m.want("1183", m.capture(id, "0"))
	m.want("1153", m.post("payments/authorizations/"+id.String()+"/capture", `{"amount":80,"currency":"USD"}`))
	got := m.want("0000", m.capture(id, "80"))
	want := fmt.Sprintf(`{"transactionId":%v,"orderId":"o1","payInfo":[{"method":"CREDIT_CARD","amount":80}]}`, id)
	if string(got.Info) != want {
		t.Errorf("info %s, want %s", got.Info, want)
	}
	m.want("1179", m.capture(id, "20")) // the rest was released
	m.want("1155", m.void(id))
	m.want("1164", m.refund(id, `{"refundAmount":81}`))
	m.wantEffects(id, "confirm 100", "capture 80")
	m.want("1179", m.capture(m.paid("o2", "100", ""), "100")) // taken with the confirm already
}

func TestAVoidReleasesTheHold(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{})
	id := m.paid("o1", "100", holds)
	if got := m.want("0000", m.void(id)); got.Info != nil {
		t.Errorf("info %s", got.Info)
	}
	m.want("1165", m.void(id))
	m.want("1179", m.capture(id, "100"))
	m.want("1155", m.refund(id, "{}"))
	m.wantEffects(id, "confirm 100", "void 100")
	m.wantState(id, simulator.Voided)
	m.want("0123", m.check(id))
}

func TestAuthorizationsExpire(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{AuthorizationValidity: time.Hour})
	id := m.paid("o1", "100", holds)
	m.advance(time.Hour - 1)
	m.wantState(id, simulator.Authorized)
	m.advance(1)
	m.want("1179", m.capture(id, "100"))
	m.want("1165", m.void(id))
	m.want("1155", m.refund(id, "{}"))
	m.wantState(id, simulator.AuthorizationExpired)
	if got := m.want("0000", m.details(id)); !strings.Contains(got.Raw, `"payStatus":"EXPIRED_AUTHORIZATION"`) {
		t.Errorf("details %s", got.Raw)
	}
	m.wantEffects(id, "confirm 100")
}

func TestTheUndocumentedCodesAreRules(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{
		RepeatedCaptureCode: "1172", CaptureAfterVoidCode: "1165", CaptureAfterExpiryCode: "1150", CaptureAboveCode: "1153",
		VoidOfCapturedCode: "1179", VoidAfterExpiryCode: "1150", RefundOfAuthorizedCode: "1150", RefundOfVoidedCode: "1165",
	})
	held := m.paid("o1", "100", holds)
	m.want("1153", m.capture(held, "101"))
	m.want("1150", m.refund(held, "{}"))
	captured := m.paid("o2", "100", "")
	m.want("1172", m.capture(captured, "100"))
	m.want("1179", m.void(captured))
	voided := m.paid("o3", "100", holds)
	m.want("0000", m.void(voided))
	m.want("1165", m.capture(voided, "100"))
	m.want("1165", m.refund(voided, "{}"))
	m.advance(30 * 24 * time.Hour)
	m.want("1150", m.capture(held, "100"))
	m.want("1150", m.void(held))
}

func TestAPartialRefundRunsAgainWhileEnoughIsLeft(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{})
	id := m.paid("o1", "100", "")
	first := m.want("0000", m.refund(id, `{"refundAmount":40}`))
	second := m.want("0000", m.refund(id, `{"refundAmount":40}`))
	if m.id64(first, "refundTransactionId") == m.id64(second, "refundTransactionId") {
		t.Error("two refunds with one id")
	}
	if got := m.member(first, "refundTransactionDate"); got != "2026-03-01T20:30:15Z" {
		t.Errorf("refundTransactionDate %q", got)
	}
	m.want("1164", m.refund(id, `{"refundAmount":40}`))
	m.want("1124", m.refund(id, `{"refundAmount":20.0}`))
	m.want("1124", m.refund(id, `{"refundAmount":0}`))
	m.want("1124", m.refund(id, `{"refundAmount":-1}`))
	m.wantState(id, simulator.Captured)
	m.want("0000", m.refund(id, `{"refundAmount":null}`)) // all that is left
	m.want("1165", m.refund(id, `{"refundAmount":1}`))
	m.want("1165", m.refund(id, ``))
	m.wantEffects(id, "confirm 100", "refund 40", "refund 40", "refund 20")
	tx := m.transaction(id)
	if tx.State != simulator.Refunded || tx.Refunded.String() != "100" || tx.Captured.String() != "100" {
		t.Errorf("ledger: %+v", tx)
	}
	if tx.Effects[1].TransactionID != m.id64(first, "refundTransactionId") {
		t.Error("a refund's effect bears the refund's own id")
	}
}

func TestHeldMoneyCannotBeRefunded(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{})
	id := m.paid("o1", "100", holds)
	m.want("1155", m.refund(id, `{"refundAmount":1}`))
	m.wantEffects(id, "confirm 100")
}

func TestTheRefundPeriodEnds(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{RefundPeriod: 48 * time.Hour})
	id := m.paid("o1", "100", holds)
	m.advance(24 * time.Hour)
	m.want("0000", m.capture(id, "100"))
	m.advance(48*time.Hour - 1)
	m.want("0000", m.refund(id, `{"refundAmount":1}`))
	m.advance(1)
	m.want("1163", m.refund(id, `{"refundAmount":1}`))
	m.wantEffects(id, "confirm 100", "capture 100", "refund 1")
}

func TestAmountsKeepTheirCents(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{})
	id := m.id64(m.want("0000", m.post("payments/request", order("o1", "10.50", "USD", ""))), "transactionId")
	if err := m.sim.Authenticate(id); err != nil {
		t.Fatal(err)
	}
	got := m.want("0000", m.post("payments/"+id.String()+"/confirm", `{"amount":10.5,"currency":"USD"}`))
	if !strings.Contains(got.Raw, `"payInfo":[{"method":"CREDIT_CARD","amount":10.5}]`) {
		t.Errorf("answer %s", got.Raw)
	}
	m.want("0000", m.refund(id, `{"refundAmount":0.1}`))
	m.want("0000", m.refund(id, `{"refundAmount":0.2}`))
	m.want("1164", m.refund(id, `{"refundAmount":10.21}`))
	m.want("0000", m.refund(id, `{"refundAmount":10.20}`))
	m.want("1165", m.refund(id, ``))
}

func TestPayInfoAddsUpToTheAmount(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{Points: linepay.MustAmount("30"), PayMethod: "BALANCE"})
	id := m.paid("o1", "100", holds)
	held := m.want("0000", m.details(id))
	if want := `"payInfo":[{"method":"BALANCE","amount":70},{"method":"POINT","amount":30}]`; !strings.Contains(held.Raw, want) {
		t.Errorf("details %s, want %s", held.Raw, want)
	}
	if got := m.details(m.paid("o2", "9", "")); !strings.Contains(got.Raw, `"payInfo":[{"method":"POINT","amount":9}]`) {
		t.Errorf("details %s", got.Raw)
	}
	got := m.want("0000", m.capture(id, "20"))
	if want := `"payInfo":[{"method":"POINT","amount":20}]`; !strings.Contains(got.Raw, want) {
		t.Errorf("capture %s, want %s", got.Raw, want)
	}
}
