package simulator_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
)

func TestHeadersAndSignatureAreCheckedBeforeAnythingElse(t *testing.T) {
	t.Parallel()
	for name, each := range map[string]struct {
		spoil  func(*http.Request)
		rules  simulator.Rules
		code   string
		detail string
	}{
		"no channel id":       {spoil: func(r *http.Request) { r.Header.Del("X-LINE-ChannelId") }, code: "1106", detail: "X-LINE-ChannelId data is invalid."},
		"malformed channel":   {spoil: func(r *http.Request) { r.Header.Set("X-LINE-ChannelId", "shop") }, code: "1106", detail: "X-LINE-ChannelId"},
		"unknown channel":     {spoil: func(r *http.Request) { r.Header.Set("X-LINE-ChannelId", "1650000009") }, code: "1104", detail: "Merchant not found."},
		"no nonce":            {spoil: func(r *http.Request) { r.Header.Del("X-LINE-Authorization-Nonce") }, code: "1106", detail: "Nonce"},
		"no signature":        {spoil: func(r *http.Request) { r.Header.Del("X-LINE-Authorization") }, code: "1106", detail: "X-LINE-Authorization data"},
		"another nonce":       {spoil: func(r *http.Request) { r.Header.Set("X-LINE-Authorization-Nonce", "x") }, code: "1106", detail: "Header information error."},
		"unpadded signature":  {spoil: func(r *http.Request) { trim(r, "=") }, code: "1106"},
		"suspended":           {spoil: func(*http.Request) {}, rules: simulator.Rules{MerchantUnavailable: true}, code: "1105"},
		"forged beats closed": {spoil: func(r *http.Request) { trim(r, "=") }, rules: simulator.Rules{MerchantUnavailable: true}, code: "1106"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := open(t, each.rules)
			r := m.build("POST", "payments/request", "not even JSON")
			each.spoil(r)
			got := m.want(each.code, m.send(r))
			if got.Status != 200 || got.Header.Get("Content-Type") != "application/json" {
				t.Errorf("HTTP %d %s", got.Status, got.Header.Get("Content-Type"))
			}
			if !strings.Contains(got.Message, each.detail) {
				t.Errorf("returnMessage %q, want %q", got.Message, each.detail)
			}
			if call := m.lastCall(); call.ReturnCode != each.code || call.Operation != linepay.Request || call.Path != "/v3/payments/request" {
				t.Errorf("ledger: %+v", call)
			}
		})
	}
}

func trim(r *http.Request, suffix string) {
	r.Header.Set("X-LINE-Authorization", strings.TrimSuffix(r.Header.Get("X-LINE-Authorization"), suffix))
}

func TestTheSignatureCoversTheBytesOfTheBody(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{})
	id := m.paid("o1", "100", "")
	signed := m.build("POST", "payments/"+id.String()+"/refund", `{"refundAmount":1}`)
	forged := m.build("POST", "payments/"+id.String()+"/refund", `{"refundAmount":99}`)
	forged.Header = signed.Header
	m.want("1106", m.send(forged))
	m.wantEffects(id, "confirm 100")
}

func TestAGetIsSignedOverItsRawQuery(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{})
	m.paid("A+1&2", "100", "")
	m.want("0000", m.get("payments?orderId=A%2B1%262"))
	m.want("1150", m.get("payments?orderId=A+1%262")) // signed as sent, and an order of another name
	r := m.build("GET", "payments?orderId=A%2B1%262", "")
	r.URL.RawQuery = "orderId=A%2b1%262" // equal once decoded, other bytes
	m.want("1106", m.send(r))
}

func TestAnEmptyBodyIsSignedAsSuchAndReadAsAnEmptyObject(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{})
	for name, body := range map[string]string{"nothing": "", "object": "{}", "spaced": " { } \n"} {
		id := m.paid("void-"+name, "100", holds)
		m.want("0000", m.post("payments/authorizations/"+id.String()+"/void", body))
	}
}

func TestANonceMayBeUsedTwiceUnlessTheRulesSayOtherwise(t *testing.T) {
	t.Parallel()
	for _, refuse := range []bool{false, true} {
		m := open(t, simulator.Rules{RefuseRepeatedNonce: refuse})
		id := m.reserve("o1", "100", "")
		r := m.build("GET", "payments/requests/"+id.String()+"/check", "")
		m.want("0000", m.send(r))
		want := "0000"
		if refuse {
			want = "1106"
		}
		m.want(want, m.send(r))
	}
}

func TestPathsThatAreNoCallAreInvalidRequests(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{})
	m.want("2104", m.get("payments/request"))
	if call := m.lastCall(); call.Operation != linepay.Request {
		t.Errorf("operation %q", call.Operation)
	}
	m.want("2104", m.post("payments", "{}"))
	m.want("2104", m.get("nothing/here"))
	m.want("2104", m.post("payments/1/confirm/", "{}"))
	if call := m.lastCall(); call.Operation != "" || call.Path != "/v3/payments/1/confirm/" {
		t.Errorf("ledger: %+v", call)
	}
}

func TestATransactionIDBeyond64BitsIsAParameterError(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{})
	for _, id := range []string{"9999999999999999999", "abc", "1.5"} {
		got := m.want("2101", m.get("payments/requests/"+id+"/check"))
		if got.Detail["unrecognizedPathVariable"] != "transactionId" || got.Detail["requiredType"] != "long" || !strings.Contains(got.Detail["cause"], id) {
			t.Errorf("errorDetailMap %v", got.Detail)
		}
	}
	m.want("1159", m.get("payments/requests/9223372036854775807/check"))
	m.want("1159", m.get("payments/requests/-1/check"))
}

func TestOversizedAndBrokenBodiesAreFormatErrors(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{})
	for _, body := range []string{"{", "amount=1", `{"amount":1,}`, strings.Repeat(" ", 1<<20+1)} {
		m.want("2102", m.post("payments/request", body))
	}
	id := m.paid("o1", "100", holds)
	m.want("2102", m.post("payments/authorizations/"+id.String()+"/void", "{"))
	m.want("2101", m.post("payments/request", "[]"))
	m.want("2101", m.post("payments/request", `{"orderId":5}`))
}

func TestChannelsDoNotSeeEachOthersPayments(t *testing.T) {
	t.Parallel()
	m := openWith(t, simulator.Config{Channels: []simulator.Channel{simulator.DefaultChannel(), {ID: "2", Secret: "other", Currencies: []string{"USD"}}}})
	other := *m
	other.id, other.secret = "2", "other"
	id := m.paid("o1", "100", "")
	regKey := m.key("o2")
	other.want("1159", other.check(id))
	other.want("1150", other.details(id))
	other.want("1150", other.refund(id, "{}"))
	other.want("1190", other.get("payments/preapprovedPay/"+regKey+"/check"))
	other.want("1178", other.post("payments/request", order("o1", "100", "TWD", "")))
	refund := m.id64(m.want("0000", m.refund(id, "{}")), "refundTransactionId")
	other.want("1150", other.void(refund))
	other.want("0000", other.post("payments/request", order("o1", "100", "USD", ""))) // order ids are the channel's own
}

func TestErrorsTakeTheOlderFormWhereTheRulesAskForIt(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{LegacyErrorBody: true})
	got := m.get("payments?orderId=none")
	if want := `{"resultCode":1150,"statusMessage":"Transaction record not found."}`; got.Raw != want {
		t.Errorf("%s, want %s", got.Raw, want)
	}
	id := m.authenticated("o1", "100", "")
	m.want("0110", m.check(id)) // a state is no error
}

func TestBothVersionsAreServedAndDifferAsDocumented(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"v3", "v4"} {
		m := open(t, simulator.Rules{})
		m.version = version
		id := m.authenticated("o1", "100", holds)
		confirmed := m.want("0000", m.confirm(id, "100"))
		captured := m.want("0000", m.capture(id, "100"))
		details := m.want("0000", m.details(id))
		key := m.key("o2")
		charged := m.want("0000", m.post("payments/preapprovedPay/"+key+"/payment", keyPayment("o3", "7")))
		for _, each := range []reply{confirmed, captured, details, charged} {
			if strings.Contains(each.Raw, `"paymentProvider":"TSP"`) != (version == "v4") {
				t.Errorf("%s paymentProvider: %s", version, each.Raw)
			}
		}
		for _, each := range []reply{confirmed, details} {
			if strings.Contains(each.Raw, `"userFeeAmount":0`) != (version == "v3") {
				t.Errorf("%s userFeeAmount: %s", version, each.Raw)
			}
		}
	}
}

func TestUnknownAddressesAreNotFound(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{})
	w := httptest.NewRecorder()
	m.sim.ServeHTTP(w, httptest.NewRequest("GET", "/v2/payments", nil))
	if w.Code != http.StatusNotFound || len(m.sim.Ledger().Calls) != 0 {
		t.Errorf("HTTP %d, %d calls", w.Code, len(m.sim.Ledger().Calls))
	}
}

func TestMerchantChangesTheSecret(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{})
	id := m.paid("o1", "100", "")
	before := m.build("POST", "payments/"+id.String()+"/refund", `{"refundAmount":1}`)
	if err := m.sim.SetSecrets(simulator.DefaultChannel().ID, "another", simulator.DefaultChannel().Secret); err != nil {
		t.Fatal(err)
	}
	m.want("0000", m.send(before)) // which is accepted beside the new one
	old := m.build("POST", "payments/"+id.String()+"/refund", `{"refundAmount":2}`)
	if err := m.sim.SetSecrets(simulator.DefaultChannel().ID, "another"); err != nil {
		t.Fatal(err)
	}
	m.want("1106", m.send(old))
	m.wantEffects(id, "confirm 100", "refund 1")
	if m.sim.SetSecrets("1650000009", "x") == nil || m.sim.SetSecrets(simulator.DefaultChannel().ID) == nil {
		t.Error("a channel that is not there, or no secret, is taken")
	}
}
