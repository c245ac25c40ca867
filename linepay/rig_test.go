package linepay

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

const channelForTests = "1234567890"

// exchange is one request as it arrived.
type exchange struct {
	Method, Path, Query, Body string
	Header                    http.Header
}

// linePay is a server that checks signatures, records every request and gives one answer.
type linePay struct {
	*httptest.Server
	mu        sync.Mutex
	exchanges []exchange
}

// newLINEPay starts a server that gives every request the same answer with HTTP status 200.
func newLINEPay(t *testing.T, answer string) *linePay {
	return newLINEPayWith(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, answer) })
}

func newLINEPayWith(t *testing.T, answer http.HandlerFunc) *linePay {
	t.Helper()
	s := new(linePay)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		payload := string(body)
		if r.Method == http.MethodGet {
			payload = r.URL.RawQuery
		}
		want := Sign(secretForTests, r.URL.EscapedPath(), payload, r.Header.Get("X-LINE-Authorization-Nonce"))
		if got := r.Header.Get("X-LINE-Authorization"); got != want {
			t.Errorf("%s %s: signature %s, want %s", r.Method, r.URL, got, want)
		}
		s.mu.Lock()
		s.exchanges = append(s.exchanges, exchange{r.Method, r.URL.EscapedPath(), r.URL.RawQuery, string(body), r.Header.Clone()})
		s.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// requests gives what has arrived so far.
func (s *linePay) requests() []exchange {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]exchange(nil), s.exchanges...)
}

// last gives the latest request.
func (s *linePay) last() exchange {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.exchanges[len(s.exchanges)-1]
}

// client makes a client for the server at url; change may be nil.
func client(t *testing.T, url string, change func(*Config)) *Client {
	t.Helper()
	config := Config{BaseURL: url, ChannelID: channelForTests, Secret: secretForTests}
	if change != nil {
		change(&config)
	}
	c, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdle)
	return c
}

// failure gives the Error that err must be.
func failure(t *testing.T, err error) *Error {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("error %T %v, want *Error", err, err)
	}
	if VerdictOf(err) != e.Verdict {
		t.Errorf("VerdictOf = %s, the error says %s", VerdictOf(err), e.Verdict)
	}
	return e
}

const (
	idForTests  TransactionID = 2026112300000000110
	keyForTests               = "RK/0 key%2F"
)

// tenCalls makes each of the ten calls with plain arguments.
var tenCalls = map[Operation]func(context.Context, *Client) (any, error){
	Request: func(ctx context.Context, c *Client) (any, error) { return c.Request(ctx, &PaymentRequest{}) },
	Check:   func(ctx context.Context, c *Client) (any, error) { return c.Check(ctx, idForTests) },
	Confirm: func(ctx context.Context, c *Client) (any, error) {
		return c.Confirm(ctx, idForTests, MustAmount("1000"), "TWD")
	},
	Capture: func(ctx context.Context, c *Client) (any, error) {
		return c.Capture(ctx, idForTests, MustAmount("12.50"), "USD")
	},
	Void:   func(ctx context.Context, c *Client) (any, error) { return c.Void(ctx, idForTests) },
	Refund: func(ctx context.Context, c *Client) (any, error) { return c.Refund(ctx, idForTests, nil) },
	Details: func(ctx context.Context, c *Client) (any, error) {
		return c.Details(ctx, DetailsQuery{TransactionIDs: []TransactionID{idForTests}})
	},
	PreapprovedCheck: func(ctx context.Context, c *Client) (any, error) { return c.CheckPreapproved(ctx, keyForTests, false) },
	PreapprovedPay: func(ctx context.Context, c *Client) (any, error) {
		return c.PayPreapproved(ctx, keyForTests, PreapprovedPayment{
			ProductName: "pen", Amount: MustAmount("1000"), Currency: "TWD", OrderID: "order-1",
		})
	},
	PreapprovedExpire: func(ctx context.Context, c *Client) (any, error) { return c.ExpirePreapproved(ctx, keyForTests) },
}

// eachCall runs a test for each of the ten calls.
func eachCall(t *testing.T, test func(t *testing.T, op Operation, call func(context.Context, *Client) (any, error))) {
	t.Helper()
	for _, op := range Operations() {
		t.Run(string(op), func(t *testing.T) {
			t.Parallel()
			test(t, op, tenCalls[op])
		})
	}
}

// successes are answers that each call can use.
var successes = map[Operation]string{
	Request: `{"returnCode":"0000","returnMessage":"Success.","info":{"transactionId":2026112300000000110,
		"paymentUrl":{"web":"https://pay.example/w","app":"line://pay/payment/a"},"paymentAccessToken":"012345678901"}}`,
	Check: `{"returnCode":"0000","returnMessage":"reserved transaction."}`,
	Confirm: `{"returnCode":"0000","returnMessage":"OK","info":{"orderId":"order-1","transactionId":2026112300000000110,
		"payInfo":[{"method":"BALANCE","amount":1000}]}}`,
	Capture: `{"returnCode":"0000","returnMessage":"OK","info":{"orderId":"order-1","transactionId":2026112300000000110,
		"payInfo":[{"method":"BALANCE","amount":12.5}]}}`,
	Void: `{"returnCode":"0000","returnMessage":"OK"}`,
	Refund: `{"returnCode":"0000","returnMessage":"OK","info":{"refundTransactionId":2026112300000000212,
		"refundTransactionDate":"2026-11-23T09:15:01Z"}}`,
	Details: `{"returnCode":"0000","returnMessage":"OK","info":[{"transactionId":2026112300000000110,"orderId":"order-1","payStatus":"CAPTURE",
		"currency":"TWD","payInfo":[{"method":"BALANCE","amount":1000}]}]}`,
	PreapprovedCheck:  `{"returnCode":"0000","returnMessage":"OK"}`,
	PreapprovedPay:    `{"returnCode":"0000","returnMessage":"OK","info":{"transactionId":2026112300000000310,"transactionDate":"2026-11-23T09:00:31Z"}}`,
	PreapprovedExpire: `{"returnCode":"0000","returnMessage":"OK"}`,
}

// quiet is for servers whose complaints are what a test wants.
func quiet() *log.Logger { return log.New(io.Discard, "", 0) }
