package simulator_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"go.uber.org/goleak"

	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	channelID     = "1650000001"
	channelSecret = "0123456789abcdef0123456789abcdef"
)

// dawn is when every rig's clock starts; it stands still until advanced.
var dawn = time.Date(2026, 3, 1, 20, 30, 15, 0, time.UTC)

// merchant calls a simulator as a shop would, with a signer of its own.
type merchant struct {
	t       testing.TB
	sim     *simulator.Simulator
	handler http.Handler
	version string
	id      string
	secret  string
	nonces  *atomic.Int64
}

func open(t testing.TB, rules simulator.Rules) *merchant {
	return openWith(t, simulator.Config{Rules: rules})
}

func openWith(t testing.TB, config simulator.Config) *merchant {
	t.Helper()
	if config.Now == nil {
		config.Now = func() time.Time { return dawn }
	}
	sim := simulator.New(config)
	t.Cleanup(sim.Close)
	return &merchant{t: t, sim: sim, handler: sim, version: "v3", id: channelID, secret: channelSecret, nonces: new(atomic.Int64)}
}

// reply is what came back, with ids and amounts left as their literals.
type reply struct {
	Status  int
	Header  http.Header
	Raw     string
	Code    string
	Message string
	Info    jsontext.Value
	Detail  map[string]string
}

func sign(secret, path, payload, nonce string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprint(mac, secret, path, payload, nonce)
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// build makes a signed request; path is behind the version, with its query.
func (m *merchant) build(method, path, body string) *http.Request {
	path = "/" + m.version + "/" + path
	apiPath, query, _ := strings.Cut(path, "?")
	payload := body
	if method == http.MethodGet {
		payload = query
	}
	nonce := strconv.FormatInt(m.nonces.Add(1), 10)
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-LINE-ChannelId", m.id)
	r.Header.Set("X-LINE-Authorization-Nonce", nonce)
	r.Header.Set("X-LINE-Authorization", sign(m.secret, apiPath, payload, nonce))
	return r
}

func (m *merchant) send(r *http.Request) reply {
	m.t.Helper()
	w := httptest.NewRecorder()
	m.handler.ServeHTTP(w, r)
	return decode(m.t, w.Result())
}

func decode(t testing.TB, response *http.Response) reply {
	t.Helper()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	var envelope struct {
		Code    string            `json:"returnCode"`
		Message string            `json:"returnMessage"`
		Info    jsontext.Value    `json:"info"`
		Detail  map[string]string `json:"errorDetailMap"`
	}
	_ = json.Unmarshal(b, &envelope)
	return reply{response.StatusCode, response.Header, string(b), envelope.Code, envelope.Message, envelope.Info, envelope.Detail}
}

func (m *merchant) post(path, body string) reply {
	m.t.Helper()
	return m.send(m.build(http.MethodPost, path, body))
}

func (m *merchant) get(path string) reply {
	m.t.Helper()
	return m.send(m.build(http.MethodGet, path, ""))
}

// want fails unless a call was answered with the code.
func (m *merchant) want(code string, got reply) reply {
	m.t.Helper()
	if got.Code != code {
		m.t.Fatalf("returnCode %q, want %q: %s", got.Code, code, got.Raw)
	}
	return got
}

// order is a request's body for one product.
func order(orderID, amount, currency, options string) string {
	if options == "" {
		options = "{}"
	}
	return fmt.Sprintf(`{"amount":%[2]s,"currency":%[3]q,"orderId":%[1]q,"options":%[4]s,
		"packages":[{"id":"p1","amount":%[2]s,"products":[{"name":"Brown pen","quantity":1,"price":%[2]s}]}],
		"redirectUrls":{"confirmUrl":"https://shop.example/confirm","cancelUrl":"https://shop.example/cancel"}}`,
		orderID, amount, currency, options)
}

const (
	holds     = `{"payment":{"capture":false}}`
	registers = `{"payment":{"payType":"PREAPPROVED"}}`
)

// reserve requests a payment and gives its id.
func (m *merchant) reserve(orderID, amount, options string) linepay.TransactionID {
	m.t.Helper()
	return m.id64(m.want("0000", m.post("payments/request", order(orderID, amount, "TWD", options))), "transactionId")
}

// authenticated requests a payment that the customer then pays on the page.
func (m *merchant) authenticated(orderID, amount, options string) linepay.TransactionID {
	m.t.Helper()
	id := m.reserve(orderID, amount, options)
	if err := m.sim.Authenticate(id); err != nil {
		m.t.Fatal(err)
	}
	return id
}

// paid is a confirmed payment.
func (m *merchant) paid(orderID, amount, options string) linepay.TransactionID {
	m.t.Helper()
	id := m.authenticated(orderID, amount, options)
	m.want("0000", m.confirm(id, amount))
	return id
}

// key is a pre-approved key, issued with a payment for an order of its own.
func (m *merchant) key(orderID string) string {
	m.t.Helper()
	id := m.authenticated(orderID, "100", registers)
	return m.member(m.want("0000", m.confirm(id, "100")), "regKey")
}

func (m *merchant) confirm(id linepay.TransactionID, amount string) reply {
	m.t.Helper()
	return m.post("payments/"+id.String()+"/confirm", `{"amount":`+amount+`,"currency":"TWD"}`)
}

func (m *merchant) capture(id linepay.TransactionID, amount string) reply {
	m.t.Helper()
	return m.post("payments/authorizations/"+id.String()+"/capture", `{"amount":`+amount+`,"currency":"TWD"}`)
}

func (m *merchant) void(id linepay.TransactionID) reply {
	m.t.Helper()
	return m.post("payments/authorizations/"+id.String()+"/void", "{}")
}

func (m *merchant) refund(id linepay.TransactionID, body string) reply {
	m.t.Helper()
	return m.post("payments/"+id.String()+"/refund", body)
}

func (m *merchant) check(id linepay.TransactionID) reply {
	m.t.Helper()
	return m.get("payments/requests/" + id.String() + "/check")
}

func (m *merchant) details(id linepay.TransactionID) reply {
	m.t.Helper()
	return m.get("payments?transactionId=" + id.String())
}

func keyPayment(orderID, amount string) string {
	return fmt.Sprintf(`{"productName":"Coffee","amount":%s,"currency":"TWD","orderId":%q}`, amount, orderID)
}

// member gives one member of an answer's info: a string's text, else the literal.
func (m *merchant) member(r reply, name string) string {
	m.t.Helper()
	var info map[string]jsontext.Value
	if err := json.Unmarshal(r.Info, &info); err != nil {
		m.t.Fatalf("no info: %s", r.Raw)
	}
	value := info[name]
	if value.Kind() == '"' {
		var text string
		_ = json.Unmarshal(value, &text)
		return text
	}
	return string(value)
}

func (m *merchant) id64(r reply, name string) linepay.TransactionID {
	m.t.Helper()
	id, err := linepay.ParseTransactionID(m.member(r, name))
	if err != nil {
		m.t.Fatal(err)
	}
	return id
}

// transaction is a payment's line in the ledger.
func (m *merchant) transaction(id linepay.TransactionID) simulator.Transaction {
	m.t.Helper()
	for _, each := range m.sim.Ledger().Transactions {
		if each.TransactionID == id {
			return each
		}
	}
	m.t.Fatalf("%v is not in the ledger", id)
	return simulator.Transaction{}
}

func (m *merchant) wantState(id linepay.TransactionID, want simulator.State) {
	m.t.Helper()
	if got := m.transaction(id).State; got != want {
		m.t.Fatalf("state %q, want %q", got, want)
	}
}

func (m *merchant) wantEffects(id linepay.TransactionID, want ...string) {
	m.t.Helper()
	var got []string
	for _, each := range m.transaction(id).Effects {
		got = append(got, string(each.Operation)+" "+each.Amount.String())
	}
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		m.t.Fatalf("effects %q, want %q", got, want)
	}
}

func (m *merchant) fault(f simulator.Fault) {
	m.t.Helper()
	if err := m.sim.AddFault(f); err != nil {
		m.t.Fatal(err)
	}
}

func (m *merchant) advance(d time.Duration) {
	m.t.Helper()
	if err := m.sim.Advance(d); err != nil {
		m.t.Fatal(err)
	}
}

// lastCall is the newest call of the ledger.
func (m *merchant) lastCall() simulator.Call {
	m.t.Helper()
	calls := m.sim.Ledger().Calls
	return calls[len(calls)-1]
}

func contextWithCancel(t *testing.T) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	return ctx, cancel
}

func decimalOf(n int) linepay.Amount { return linepay.MustAmount(strconv.Itoa(n)) }
