package simulator_test

import (
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
)

// recorded is the folder with answers and signatures recorded from LINE Pay's pages, beside the repository; "" where there is none.
func recorded(t *testing.T) string {
	t.Helper()
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		}
		if root == filepath.Dir(root) {
			t.Fatal("no go.mod above the package")
		}
		root = filepath.Dir(root)
	}
	folder := filepath.Join(root, "..", "shared", "linepay")
	if _, err := os.Stat(folder); err != nil {
		return ""
	}
	return folder
}

type signatureVector struct {
	ID            string `json:"id"`
	Method        string `json:"method"`
	ChannelSecret string `json:"channelSecret"`
	Path          string `json:"path"`
	Query         string `json:"query"`
	Body          string `json:"body"`
	Nonce         string `json:"nonce"`
	Signature     string `json:"signature"`
}

// The signatures were made by another program, so that signer and simulator cannot be wrong together.
func TestKnownSignaturesAreAccepted(t *testing.T) {
	t.Parallel()
	vectors := []signatureVector{
		{
			"confirm", "POST", channelSecret, "/v3/payments/2026030100000000110/confirm", "", `{"amount":1000,"currency":"TWD"}`,
			"1772397015000", "2JvEibbI0DYA/PYoG8ePHbzlN6dSqZboZS/OE7fbYyk=",
		},
		{
			"details", "GET", channelSecret, "/v4/payments", "orderId=A%201%262&transactionId=2026030100000000110", "",
			"8a0f0c3e-6f0b-4c55-9a2e-0d6a0f6f9b11", "UYdT3eBuoCtXSi0lmdsRlaBD3qi8W4gVdFs6Ian0qnE=",
		},
	}
	if folder := recorded(t); folder != "" {
		b, err := os.ReadFile(filepath.Join(folder, "hmac.json"))
		if err != nil {
			t.Fatal(err)
		}
		var file struct {
			Vectors []signatureVector `json:"vectors"`
		}
		if err := json.Unmarshal(b, &file); err != nil {
			t.Fatal(err)
		}
		vectors = append(vectors, file.Vectors...)
	}
	for _, v := range vectors {
		m := openWith(t, simulator.Config{Channels: []simulator.Channel{{ID: "1", Secret: linepay.Secret(v.ChannelSecret)}}})
		r := httptest.NewRequest(v.Method, v.Path, strings.NewReader(v.Body))
		r.URL.RawQuery = v.Query
		r.Header.Set("X-LINE-ChannelId", "1")
		r.Header.Set("X-LINE-Authorization-Nonce", v.Nonce)
		r.Header.Set("X-LINE-Authorization", v.Signature)
		if got := m.send(r); got.Code == "" || got.Code == "1106" {
			t.Errorf("%s: %s", v.ID, got.Raw)
		}
	}
}

// answers gives one successful answer of each call, by the name of the recorded file that it is held against.
func answers(m *merchant) map[string]string {
	m.t.Helper()
	m.version = "v4"
	all := map[string]reply{"request.json": m.post("payments/request", order("o1", "100", "TWD", holds))}
	id := m.id64(all["request.json"], "transactionId")
	all["check.doc.json"] = m.check(id)
	if err := m.sim.Authenticate(id); err != nil {
		m.t.Fatal(err)
	}
	all["confirm.v4.json"] = m.confirm(id, "100")
	all["capture.v4.json"] = m.capture(id, "100")
	all["refund.json"] = m.refund(id, `{"refundAmount":1}`)
	all["details.v4.json"] = m.details(id)
	registered := m.authenticated("o2", "100", registers)
	all["confirm.preapproved.json"] = m.confirm(registered, "100")
	base := "payments/preapprovedPay/" + m.member(all["confirm.preapproved.json"], "regKey")
	all["preapproved-check.json"] = m.get(base + "/check")
	all["preapproved-payment.v4.json"] = m.post(base+"/payment", keyPayment("o3", "100"))
	all["preapproved-expire.json"] = m.post(base+"/expire", "{}")
	all["void.json"] = m.void(m.paid("o4", "100", holds))
	texts := map[string]string{}
	for name, r := range all {
		texts[name] = m.want("0000", r).Raw
	}
	if err := m.sim.SetRules(simulator.Rules{LegacyErrorBody: true}); err != nil {
		m.t.Fatal(err)
	}
	m.id = "1650009999"
	texts["error.1104.legacy-shape.v3-overview.json"] = m.check(id).Raw
	return texts
}

// members lists the members of a JSON text with their kinds, in any order and without array positions.
func members(t *testing.T, text string) []string {
	t.Helper()
	decoder := jsontext.NewDecoder(strings.NewReader(text))
	var list []string
	for {
		token, err := decoder.ReadToken()
		if err != nil {
			break
		}
		kind := string(token.Kind().String())
		var path []string
		for each := range decoder.StackPointer().Tokens() {
			if strings.Trim(each, "0123456789") != "" {
				path = append(path, each)
			}
		}
		if kind != "}" && kind != "]" {
			list = append(list, strings.Join(path, ".")+" "+kind)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Every member that LINE Pay's own examples have is in the simulator's answer, with the same kind of value.
func TestAnswersHaveTheMembersOfLINEPaysExamples(t *testing.T) {
	t.Parallel()
	got := answers(open(t, simulator.Rules{}))
	examples := map[string]string{
		"request.json":                `{"returnCode":"0","returnMessage":"","info":{"paymentUrl":{"web":"","app":""},"transactionId":1,"paymentAccessToken":"1"}}`,
		"confirm.v4.json":             `{"returnCode":"0","returnMessage":"","info":{"orderId":"","transactionId":1,"authorizationExpireDate":"","payInfo":[{"method":"","amount":1}],"paymentProvider":""}}`,
		"refund.json":                 `{"returnCode":"0","returnMessage":"","info":{"refundTransactionId":1,"refundTransactionDate":""}}`,
		"details.v4.json":             `{"returnCode":"0","returnMessage":"","info":[{"transactionId":1,"payStatus":"","refundList":[{"refundTransactionId":1,"refundAmount":-1}]}]}`,
		"void.json":                   `{"returnCode":"0","returnMessage":""}`,
		"capture.v4.json":             `{"returnCode":"0","returnMessage":"","info":{"transactionId":1,"orderId":"","payInfo":[{"method":"","amount":1}],"paymentProvider":""}}`,
		"preapproved-payment.v4.json": `{"returnCode":"0","returnMessage":"","info":{"transactionId":1,"transactionDate":"","orderId":"","paymentProvider":""}}`,
	}
	hold := func(name, example string) {
		t.Helper()
		if got[name] == "" {
			t.Errorf("%s: no call of the simulator answers it", name)
			return
		}
		have := members(t, got[name])
		for _, want := range members(t, example) {
			if !slices.Contains(have, want) {
				t.Errorf("%s: %q is missing in %s", name, want, got[name])
			}
		}
	}
	for name, example := range examples {
		hold(name, example)
	}
	folder := recorded(t)
	if folder == "" {
		return
	}
	files, err := filepath.Glob(filepath.Join(folder, "responses", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no recorded answers in %s: %v", folder, err)
	}
	for _, file := range files {
		example, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		hold(filepath.Base(file), string(example))
	}
}

// The bodies of LINE Pay's examples are taken as they are.
func TestLINEPaysExampleRequestsAreTaken(t *testing.T) {
	t.Parallel()
	folder := recorded(t)
	body := func(name, otherwise string) string {
		if folder == "" {
			return otherwise
		}
		b, err := os.ReadFile(filepath.Join(folder, "requests", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	m := open(t, simulator.Rules{})
	m.want("0000", m.post("payments/request", body("request-normal.json", order("o1", "100", "TWD", ""))))
	m.want("0000", m.post("payments/request", body("request-capture-false.json", order("o1", "100", "TWD", holds))))
	id := m.authenticated("thousand", "1000", "")
	m.want("0000", m.post(fmt.Sprintf("payments/%v/confirm", id), body("confirm.json", `{"amount":1000,"currency":"TWD"}`)))
	m.want("0000", m.refund(id, body("refund.json", `{"refundAmount":1000}`)))
	for i, each := range []string{body("capture.json", `{"amount":1000,"currency":"TWD"}`), body("capture-partial.json", `{"amount":800,"currency":"TWD"}`)} {
		id := m.paid(fmt.Sprint("held", i), "1000", holds)
		m.want("0000", m.post(fmt.Sprintf("payments/authorizations/%v/capture", id), each))
	}
	m.want("0000", m.post("payments/preapprovedPay/"+m.key("key")+"/payment", body("preapproved-payment.json", keyPayment("o9", "1000"))))
}
