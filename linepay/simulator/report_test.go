package simulator_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
)

// reporting is a merchant at a simulator whose reports are kept.
func reporting(t *testing.T) (*merchant, func() simulator.Report) {
	t.Helper()
	var reports []simulator.Report // calls come one after the other here
	m := openWith(t, simulator.Config{OnCall: func(r simulator.Report) { reports = append(reports, r) }})
	return m, func() simulator.Report {
		t.Helper()
		if len(reports) != 1 {
			t.Fatalf("reports %+v, want one", reports)
		}
		last := reports[0]
		reports = nil
		return last
	}
}

func TestEveryCallIsReportedOnceAndWithoutKeys(t *testing.T) {
	t.Parallel()
	m, report := reporting(t)
	check := func(want simulator.Report) {
		t.Helper()
		if want.Channel = channelID; want.Method == "" {
			want.Method = "POST"
		}
		if diff := cmp.Diff(want, report()); diff != "" {
			t.Errorf("report (-want +got):\n%s", diff)
		}
	}
	m.post("payments/7/confirm", `{"amount":1,"currency":"TWD"}`)
	check(simulator.Report{Operation: "confirm", Path: "/v3/payments/7/confirm", ReturnCode: "1150", Remark: "Transaction record not found."})
	m.send(m.build("GET", "payments/preapprovedPay/RKSECRET/check", ""))
	check(simulator.Report{
		Operation: "preapproved-check", Method: "GET", Path: "/v3/payments/preapprovedPay/{key}/check", ReturnCode: "1190", Remark: "The regKey does not exist.",
	})
	m.post("payments/preapprovedPay/RKSECRET/nothing", "")
	check(simulator.Report{Path: "/v3/payments/preapprovedPay/{key}/nothing", ReturnCode: "2104", Remark: "Invalid request."})
	if err := m.sim.AddFault(simulator.Fault{Operation: linepay.Void, Kind: simulator.KindHTTP500}); err != nil {
		t.Fatal(err)
	}
	m.post("payments/authorizations/7/void", "")
	check(simulator.Report{Operation: "void", Path: "/v3/payments/authorizations/7/void", Fault: simulator.KindHTTP500})
}

func TestReportSaysWhichPartOfASignatureIsWrong(t *testing.T) {
	t.Parallel()
	m, report := reporting(t)
	const body, query = ` {"amount":1,"currency":"TWD"}`, "orderId=A%20B"
	post := func(secret, path, payload string) (*http.Request, string) {
		return m.build("POST", "payments/7/confirm", body), sign(secret, path, payload, "n")
	}
	get := func(path, payload string) (*http.Request, string) {
		return m.build("GET", "payments?"+query, ""), sign(channelSecret, path, payload, "n")
	}
	const confirm = "/v3/payments/7/confirm"
	for want, make := range map[string]func() (*http.Request, string){
		"the body was not signed":                            func() (*http.Request, string) { return post(channelSecret, confirm, "") },
		"the body is signed byte for byte":                   func() (*http.Request, string) { return post(channelSecret, confirm, strings.TrimSpace(body)) },
		"the path is signed whole, from /v3 on":              func() (*http.Request, string) { return post(channelSecret, confirm[3:], body) },
		"the path is signed without scheme and host":         func() (*http.Request, string) { return post(channelSecret, "http://example.com"+confirm, body) },
		"the secret is another one, or what was signed":      func() (*http.Request, string) { return post("other", confirm, body) },
		"the query was not signed":                           func() (*http.Request, string) { return get("/v3/payments", "") },
		"signed behind the path, without the question mark":  func() (*http.Request, string) { return get("/v3/payments?"+query, "") },
		"the query is signed as it is sent, percent-encoded": func() (*http.Request, string) { return get("/v3/payments", "orderId=A B") },
	} {
		r, signature := make()
		r.Header.Set("X-LINE-Authorization-Nonce", "n")
		r.Header.Set("X-LINE-Authorization", signature)
		m.send(r)
		if got := report(); got.ReturnCode != "1106" || !strings.HasPrefix(got.Remark, "wrong signature: ") || !strings.Contains(got.Remark, want) || strings.Contains(got.Remark, channelSecret) {
			t.Errorf("report %+v, want 1106 and %q", got, want)
		}
	}
	r := m.build("POST", "payments/7/confirm", body)
	r.Header.Del("X-LINE-Authorization")
	m.send(r)
	if got := report(); got.Remark != "Header information error. X-LINE-Authorization data is invalid." {
		t.Errorf("report %+v, want that the signature is missing", got)
	}
}

func TestControlSideSaysWhatIsWrongInPlainWords(t *testing.T) {
	t.Parallel()
	m := open(t, simulator.Rules{})
	for body, want := range map[string]string{
		`"drop"`:                           "the body must be a JSON object",
		`{"kind":"drop"`:                   "the body is not JSON in good order: it breaks off after byte 14",
		`{kind}`:                           "the body is not JSON in good order: the mistake is at byte 2",
		`{"kind":"drop","kind":"code"}`:    "the body has /kind twice",
		`{"kind":"drop","count":"one"}`:    "/count has a value of the wrong kind or form",
		`{"kind":"drop","delayMs":"1s"}`:   "/delayMs: a time is a whole number of milliseconds",
		`{"kind":"drop","operations":"x"}`: "/operations is unknown here",
	} {
		if got := m.control(400, "POST", "faults", body); got != `{"error":"`+strings.ReplaceAll(want, " ", "")+`"}` { // without spaces, as control gives it
			t.Errorf("%s: answer %s, want %q", body, got, want)
		}
	}
}
