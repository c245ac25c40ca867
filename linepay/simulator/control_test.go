package simulator_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
)

func (m *merchant) controlAny(method, path, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	m.sim.ServeHTTP(w, httptest.NewRequest(method, "/_simulator/"+path, strings.NewReader(body)))
	return w
}

// control calls the control side and gives the answer without its spaces.
func (m *merchant) control(status int, method, path, body string) string {
	m.t.Helper()
	w := m.controlAny(method, path, body)
	if w.Code != status {
		m.t.Fatalf("%s %s: HTTP %d, want %d: %s", method, path, w.Code, status, w.Body)
	}
	return strings.Join(strings.Fields(w.Body.String()), "")
}

func TestTheLedgerIsWrittenWithStringsForIDsAndAmounts(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{})
	if got, want := m.control(200, "GET", "ledger", ""), `{"transactions":[],"calls":[]}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	id := m.paid("o1", "100", "")
	refund := m.id64(m.refund(id, `{"refundAmount":30}`), "refundTransactionId")
	const at = "2026-03-01T20:30:15Z"
	want := fmt.Sprintf(`{"transactions":[{"transactionId":"%[1]v","orderId":"o1","state":"captured","currency":"TWD","requested":"100","captured":"100","refunded":"30",`+
		`"effects":[{"operation":"confirm","amount":"100","at":"%[3]s","transactionId":"%[1]v"},{"operation":"refund","amount":"30","at":"%[3]s","transactionId":"%[2]v"}]}],`+
		`"calls":[{"operation":"request","path":"/v3/payments/request","orderId":"o1","transactionId":"%[1]v","returnCode":"0000","at":"%[3]s"},`+
		`{"operation":"confirm","path":"/v3/payments/%[1]v/confirm","orderId":"o1","transactionId":"%[1]v","returnCode":"0000","at":"%[3]s"},`+
		`{"operation":"refund","path":"/v3/payments/%[1]v/refund","orderId":"o1","transactionId":"%[1]v","returnCode":"0000","at":"%[3]s"}]}`, id, refund, at)
	if got := m.control(200, "GET", "ledger", ""); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

func TestTheCustomerActsThroughTheControlSide(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{})
	id := m.reserve("o1", "100", "")
	path := "payments/" + id.String()
	if got := m.control(200, "POST", path+"/authenticate", ""); !strings.Contains(got, `"state":"authenticated"`) {
		t.Error(got)
	}
	m.control(200, "POST", path+"/authenticate", "")
	m.control(200, "POST", path+"/cancel", "") // after paying on the page, before the confirm
	m.control(200, "POST", path+"/cancel", "")
	if got := m.control(409, "POST", path+"/authenticate", ""); !strings.Contains(got, "itiscancelled") {
		t.Error(got)
	}
	m.control(409, "POST", "payments/"+m.paid("o2", "100", "").String()+"/cancel", "")
	m.control(404, "POST", "payments/7/authenticate", "")
	m.control(404, "POST", "payments/7/cancel", "")
	m.control(400, "POST", "payments/x/cancel", "")
	m.control(405, "GET", path+"/cancel", "")
	m.wantEffects(id)
}

func TestARefundByHandIsAnEffectWithoutACall(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{})
	id := m.paid("o1", "100", "")
	calls := len(m.sim.Ledger().Calls)
	path := "payments/" + id.String() + "/refund"
	answer := m.control(200, "POST", path, `{"amount":"30"}`)
	effects := m.transaction(id).Effects
	if want := fmt.Sprintf(`{"refundTransactionId":"%v"}`, effects[1].TransactionID); answer != want {
		t.Errorf("%s, want %s", answer, want)
	}
	m.wantEffects(id, "confirm 100", "refund 30")
	m.control(409, "POST", path, `{"amount":"71"}`)
	m.control(400, "POST", path, `{"amount":"0"}`)
	m.control(400, "POST", path, `{"amount":"1.5"}`)
	m.control(400, "POST", path, `{"sum":"1"}`)
	m.control(404, "POST", "payments/7/refund", `{"amount":"1"}`)
	m.control(409, "POST", "payments/"+m.reserve("o2", "5", "").String()+"/refund", `{"amount":"1"}`)
	if got := len(m.sim.Ledger().Calls); got != calls+1 { // the second order's request
		t.Errorf("%d calls, want %d", got, calls+1)
	}
	if _, err := m.sim.RefundByHand(7, linepay.MustAmount("1")); !errors.Is(err, simulator.ErrNoPayment) {
		t.Errorf("error %v", err)
	}
}

func TestFaultsAreSetAndClearedThroughTheControlSide(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{})
	got := m.control(201, "POST", "faults", `{"operation":"check","kind":"code","code":"9000","when":"after","delayMs":20}`)
	want := `{"operation":"check","kind":"code","count":1,"probability":1,"delayMs":20,"code":"9000","when":"after"}`
	if got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := m.control(200, "GET", "faults", ""); got != `{"faults":[`+want+`]}` {
		t.Errorf("%s", got)
	}
	for _, body := range []string{``, `{}`, `[]`, `{"kind":"drop","opperation":"refund"}`, `{"kind":"drop","delayMs":1.5}`, `{"kind":"drop","count":"1"}`} {
		if got := m.control(400, "POST", "faults", body); !strings.HasPrefix(got, `{"error":"`) {
			t.Errorf("%s: %s", body, got)
		}
	}
	m.control(204, "DELETE", "faults", "")
	if got := m.control(200, "GET", "faults", ""); got != `{"faults":[]}` {
		t.Errorf("%s", got)
	}
}

func TestTheClockMovesForwardOnly(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{})
	if got := m.control(200, "POST", "clock", `{"advanceMs":60000}`); got != `{"now":"2026-03-01T20:31:15Z"}` {
		t.Error(got)
	}
	if got := m.control(200, "GET", "clock", ""); got != `{"now":"2026-03-01T20:31:15Z"}` {
		t.Error(got)
	}
	m.control(400, "POST", "clock", `{"advanceMs":-1}`)
	m.control(400, "POST", "clock", `{"advanceMs":9223372036854775807}`)
	m.control(400, "POST", "clock", `{"advance":1}`)
	if got := m.sim.Time(); !got.Equal(dawn.Add(time.Minute)) {
		t.Errorf("clock %v", got)
	}
}

func TestRulesAreReadAndChangedThroughTheControlSide(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{PrematureConfirmFails: true})
	got := m.control(200, "POST", "rules", `{"repeatedCaptureCode":"1155","waitingTimeMs":5000,"maximumAmount":"50"}`)
	for _, want := range []string{
		`"prematureConfirmFails":true`, `"repeatedCaptureCode":"1155"`, `"waitingTimeMs":5000`, `"confirmTimeMs":1200000`, `"maximumAmount":"50"`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s lacks %s", got, want)
		}
	}
	if again := m.control(200, "GET", "rules", ""); again != got {
		t.Errorf("%s, want %s", again, got)
	}
	m.want("1184", m.post("payments/request", order("o1", "51", "TWD", "")))
	got = m.control(200, "POST", "rules", `{"repeatedCaptureCode":"","waitingTimeMs":null}`)
	if !strings.Contains(got, `"repeatedCaptureCode":"1179"`) || !strings.Contains(got, `"waitingTimeMs":1200000`) {
		t.Error(got)
	}
	for _, body := range []string{`{"repeatCaptureCode":"1155"}`, `{"openOrderCode":"x"}`, `{"openOrderCode":"0000"}`, `{"lookupLagMs":-1}`, `{"minimumAmount":"-1"}`} {
		m.control(400, "POST", "rules", body)
	}
}

func TestRulesThatCannotBeObeyedStopTheStart(t *testing.T) {
	t.Parallel()
	defer func() {
		if got := fmt.Sprint(recover()); !strings.Contains(got, "deadConfirmCode") {
			t.Errorf("panic %q does not name the rule", got)
		}
	}()
	simulator.New(simulator.Config{Rules: simulator.Rules{DeadConfirmCode: "no"}})
}

func TestTheDefaultChannelIsServedWithoutConfiguration(t *testing.T) {
	t.Parallel()
	channel := simulator.DefaultChannel()
	if channel.ID != channelID || channel.Secret.Reveal() != channelSecret {
		t.Errorf("default channel %s", channel.ID)
	}
	server := httptest.NewServer(simulator.New(simulator.Config{}))
	defer server.Close()
	response, err := http.Get(server.URL + "/v3/payments?orderId=x")
	if err != nil {
		t.Fatal(err)
	}
	if got := decode(t, response); got.Code != "1106" {
		t.Errorf("answer %s", got.Raw)
	}
}

func TestTheLedgerOfOrdersHoldsNothingOfOthers(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{})
	ids := map[string]linepay.TransactionID{}
	for _, order := range []string{"o1", "o2", "o 3"} {
		ids[order] = m.paid(order, "100", "")
	}
	for query, orders := range map[string][]string{
		"": {"o1", "o2", "o 3"}, "?orderId=o2": {"o2"}, "?orderId=o+3&orderId=o1": {"o1", "o 3"}, "?orderId=o": nil,
	} {
		got := m.control(200, "GET", "ledger"+query, "")
		for order, id := range ids {
			if slices.Contains(orders, order) != strings.Contains(got, id.String()) {
				t.Errorf("ledger%s, order %s: %s", query, order, got)
			}
		}
		if calls := strings.Count(got, `"path"`); calls != 2*len(orders) {
			t.Errorf("ledger%s has %d calls, want two for each of %q", query, calls, orders)
		}
	}
	if got := m.control(200, "GET", "ledger?orderId=none", ""); got != `{"transactions":[],"calls":[]}` {
		t.Error(got)
	}
}
