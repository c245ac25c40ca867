package linepay

import (
	"context"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

func TestEachCallIsSentAsLINEPayDocumentsIt(t *testing.T) {
	t.Parallel()
	amount := MustAmount("30.00")
	yes := true
	for _, row := range []struct {
		name                      string
		version                   string
		op                        Operation
		call                      func(context.Context, *Client) (any, error)
		method, path, query, body string
	}{
		{
			"request", "", Request, func(ctx context.Context, c *Client) (any, error) {
				return c.Request(ctx, &PaymentRequest{
					Amount: MustAmount("100.0"), Currency: "TWD", OrderID: "order-1",
					Packages: []RequestPackage{{ID: "1", Amount: MustAmount("100"), Products: []Product{
						{Name: "筆 <&>", Quantity: MustAmount("2"), Price: MustAmount("50")},
					}}},
					RedirectURLs: RedirectURLs{ConfirmURL: "https://shop.example/ok?a=1&b=2", CancelURL: "https://shop.example/no"},
					Options:      &RequestOptions{Payment: &PaymentOptions{Capture: new(bool)}},
				})
			},
			"POST", "/v3/payments/request", "", `{"amount":100,"currency":"TWD","orderId":"order-1","packages":[{"id":"1","amount":100,"products":[` +
				`{"name":"筆 <&>","quantity":2,"price":50}]}],"redirectUrls":{"confirmUrl":"https://shop.example/ok?a=1&b=2",` +
				`"cancelUrl":"https://shop.example/no"},"options":{"payment":{"capture":false}}}`,
		},
		{"check", "", Check, tenCalls[Check], "GET", "/v3/payments/requests/2026112300000000110/check", "", ""},
		{"confirm", "", Confirm, tenCalls[Confirm], "POST", "/v3/payments/2026112300000000110/confirm", "", `{"amount":1000,"currency":"TWD"}`},
		{
			"capture v4", "v4", Capture, tenCalls[Capture],
			"POST", "/v4/payments/authorizations/2026112300000000110/capture", "", `{"amount":12.5,"currency":"USD"}`,
		},
		{"void v4", "v4", Void, tenCalls[Void], "POST", "/v4/payments/authorizations/2026112300000000110/void", "", `{}`},
		{"full refund", "", Refund, tenCalls[Refund], "POST", "/v3/payments/2026112300000000110/refund", "", `{}`},
		{
			"partial refund", "v3", Refund, func(ctx context.Context, c *Client) (any, error) { return c.Refund(ctx, idForTests, &amount) },
			"POST", "/v3/payments/2026112300000000110/refund", "", `{"refundAmount":30}`,
		},
		{
			"details", "", Details, func(ctx context.Context, c *Client) (any, error) {
				return c.Details(ctx, DetailsQuery{TransactionIDs: []TransactionID{1, 9223372036854775807}, OrderIDs: []string{"a b&c=d", "筆+1"}})
			},
			"GET", "/v3/payments", "transactionId=1&transactionId=9223372036854775807&orderId=a%20b%26c%3Dd&orderId=%E7%AD%86%2B1", "",
		},
		{"details by order alone", "v4", Details, func(ctx context.Context, c *Client) (any, error) {
			return c.Details(ctx, DetailsQuery{OrderIDs: []string{"order-1"}})
		}, "GET", "/v4/payments", "orderId=order-1", ""},
		{"key check", "", PreapprovedCheck, tenCalls[PreapprovedCheck], "GET", "/v3/payments/preapprovedPay/RK%2F0%20key%252F/check", "", ""},
		{
			"key check with card", "", PreapprovedCheck, func(ctx context.Context, c *Client) (any, error) { return c.CheckPreapproved(ctx, "RK0", true) },
			"GET", "/v3/payments/preapprovedPay/RK0/check", "creditCardAuth=true", "",
		},
		{
			"key payment", "", PreapprovedPay, func(ctx context.Context, c *Client) (any, error) {
				return c.PayPreapproved(ctx, keyForTests, PreapprovedPayment{Amount: MustAmount("5"), Currency: "THB", OrderID: "order-1", Capture: &yes})
			},
			"POST", "/v3/payments/preapprovedPay/RK%2F0%20key%252F/payment", "", `{"amount":5,"currency":"THB","orderId":"order-1","capture":true}`,
		},
		{"key expiry", "", PreapprovedExpire, tenCalls[PreapprovedExpire], "POST", "/v3/payments/preapprovedPay/RK%2F0%20key%252F/expire", "", `{}`},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			server := newLINEPay(t, successes[row.op])
			if _, err := row.call(t.Context(), client(t, server.URL, func(c *Config) { c.Version = row.version })); err != nil {
				t.Fatal(err)
			}
			got := server.requests()
			for i := range got {
				got[i].Header = nil
			}
			want := []exchange{{Method: row.method, Path: row.path, Query: row.query, Body: row.body}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("sent (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEachCallCarriesLINEPaysHeaders(t *testing.T) {
	t.Parallel()
	eachCall(t, func(t *testing.T, op Operation, call func(context.Context, *Client) (any, error)) {
		server := newLINEPay(t, successes[op])
		c := client(t, server.URL, func(c *Config) { c.DeviceProfileID, c.DeviceType = "till-7", "POS" })
		for range 2 {
			if _, err := call(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		requests := server.requests()
		var nonces []string
		for _, r := range requests {
			for name, want := range map[string]string{
				"Content-Type": "application/json", "X-LINE-ChannelId": channelForTests,
				"X-LINE-MerchantDeviceProfileId": "till-7", "X-LINE-MerchantDeviceType": "POS",
			} {
				if got := r.Header.Get(name); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
			nonce := r.Header.Get("X-LINE-Authorization-Nonce")
			if id, err := uuid.Parse(nonce); err != nil || id.Version() != 4 {
				t.Errorf("nonce %q is not a UUID of version 4", nonce)
			}
			nonces = append(nonces, nonce)
			for _, never := range []string{"Idempotency-Key", "X-Idempotency-Key", "Accept-Encoding"} {
				if got, there := r.Header[never]; there {
					t.Errorf("%s was sent: %q", never, got)
				}
			}
		}
		if len(nonces) != 2 || nonces[0] == nonces[1] {
			t.Errorf("two calls had the nonces %q", nonces)
		}
	})
}

func TestRequestsCannotBeSentAgainByTheTransport(t *testing.T) {
	t.Parallel()
	eachCall(t, func(t *testing.T, op Operation, call func(context.Context, *Client) (any, error)) {
		c := client(t, SandboxURL, func(c *Config) {
			c.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
				if r.GetBody != nil || (r.Body == nil) != op.Reads() {
					t.Errorf("GetBody is set: %v; has a body: %v", r.GetBody != nil, r.Body != nil)
				}
				return nil, http.ErrServerClosed
			})
		})
		if _, err := call(t.Context(), c); err == nil {
			t.Fatal("no error")
		}
	})
}

func TestHeaderNamesAreWrittenInLINEPaysSpelling(t *testing.T) {
	t.Parallel()
	var names []string
	c := client(t, SandboxURL, func(c *Config) {
		c.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			for name := range r.Header {
				names = append(names, name)
			}
			return nil, http.ErrServerClosed
		})
	})
	if _, err := c.Void(t.Context(), idForTests); err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"X-LINE-ChannelId", "X-LINE-Authorization", "X-LINE-Authorization-Nonce"} {
		if !slices.Contains(names, want) {
			t.Errorf("no header is spelt %s: %q", want, names)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestCheckReadsTheStateFromTheCode(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]Status{"0000": Waiting, "0110": Authenticated, "0121": Cancelled, "0122": Failed, "0123": Completed} {
		server := newLINEPay(t, `{"returnCode":"`+code+`","returnMessage":"-","info":{"shipping":{"methodId":"x"}}}`)
		info, err := client(t, server.URL, nil).Check(t.Context(), idForTests)
		if err != nil || info.Status != want || info.Code != code {
			t.Errorf("%s: %+v, %v; want %s", code, info, err, want)
		}
	}
}

func TestCallsThatLINEPayCouldNotTakeAreNotMade(t *testing.T) {
	t.Parallel()
	server := newLINEPay(t, `{}`)
	c := client(t, server.URL, nil)
	zero, negative := MustAmount("0"), MustAmount("-1")
	for name, row := range map[string]struct {
		call   func(ctx context.Context) (any, error)
		reason string
	}{
		"request of nothing":       {func(ctx context.Context) (any, error) { return c.Request(ctx, nil) }, "no payment"},
		"text that is not UTF-8":   {func(ctx context.Context) (any, error) { return c.Request(ctx, &PaymentRequest{OrderID: "\xff"}) }, "UTF-8"},
		"check without id":         {func(ctx context.Context) (any, error) { return c.Check(ctx, 0) }, "transaction id"},
		"confirm without id":       {func(ctx context.Context) (any, error) { return c.Confirm(ctx, 0, MustAmount("1"), "TWD") }, "transaction id"},
		"confirm of less than 0":   {func(ctx context.Context) (any, error) { return c.Confirm(ctx, 1, negative, "TWD") }, "negative"},
		"capture with negative id": {func(ctx context.Context) (any, error) { return c.Capture(ctx, -1, MustAmount("1"), "TWD") }, "transaction id"},
		"capture of less than 0":   {func(ctx context.Context) (any, error) { return c.Capture(ctx, 1, negative, "TWD") }, "negative"},
		"void without id":          {func(ctx context.Context) (any, error) { return c.Void(ctx, 0) }, "transaction id"},
		"refund without id":        {func(ctx context.Context) (any, error) { return c.Refund(ctx, 0, nil) }, "transaction id"},
		"refund of 0":              {func(ctx context.Context) (any, error) { return c.Refund(ctx, 1, &zero) }, "more than 0"},
		"refund of less than 0":    {func(ctx context.Context) (any, error) { return c.Refund(ctx, 1, &negative) }, "more than 0"},
		"details of nothing":       {func(ctx context.Context) (any, error) { return c.Details(ctx, DetailsQuery{}) }, "no order id"},
		"details of id 0": {func(ctx context.Context) (any, error) {
			return c.Details(ctx, DetailsQuery{TransactionIDs: []TransactionID{0}})
		}, "transaction id"},
		"key check without key":   {func(ctx context.Context) (any, error) { return c.CheckPreapproved(ctx, "", false) }, "registered key"},
		"key payment up the path": {func(ctx context.Context) (any, error) { return c.PayPreapproved(ctx, "..", PreapprovedPayment{}) }, "registered key"},
		"key payment of negative": {func(ctx context.Context) (any, error) {
			return c.PayPreapproved(ctx, "k", PreapprovedPayment{Amount: negative})
		}, "negative"},
		"key expiry along the path": {func(ctx context.Context) (any, error) { return c.ExpirePreapproved(ctx, ".") }, "registered key"},
	} {
		_, err := row.call(t.Context())
		if e := failure(t, err); e.Verdict != Refused || e.Sent || !strings.Contains(e.Error(), row.reason) {
			t.Errorf("%s: %s, sent %v: %v; want a refusal for %q", name, e.Verdict, e.Sent, e, row.reason)
		}
	}
	if got := server.requests(); len(got) != 0 {
		t.Errorf("%d calls were made", len(got))
	}
}

func TestConnectionIsUsedAgainAfterEveryAnswer(t *testing.T) {
	t.Parallel()
	remotes := make(map[string]bool)
	answers := []string{successes[Void], `{"returnCode":"1165","returnMessage":"-"}`, `<html>` + strings.Repeat("x", 100_000), `{"returnCode":`, ``}
	next := 0
	server := newLINEPayWith(t, func(w http.ResponseWriter, r *http.Request) {
		remotes[r.RemoteAddr] = true
		w.WriteHeader(200 + 300*(next%2))
		_, _ = w.Write([]byte(answers[next%len(answers)]))
		next++
	})
	c := client(t, server.URL, nil)
	for range 2 * len(answers) {
		// What each answer means is tested elsewhere.
		_, _ = c.Void(t.Context(), idForTests)
	}
	if len(remotes) != 1 || next != 2*len(answers) {
		t.Errorf("%d calls came over %d connections, want 1", next, len(remotes))
	}
}

func TestReadTimeoutIsLINEPaysUnlessConfigured(t *testing.T) {
	t.Parallel()
	documented, short := client(t, SandboxURL, nil), client(t, SandboxURL, func(c *Config) { c.ReadTimeout = time.Second })
	for _, op := range Operations() {
		if got := documented.ReadTimeout(op); got != op.ReadTimeout() {
			t.Errorf("%s waits %s", op, got)
		}
		if got := short.ReadTimeout(op); got != time.Second {
			t.Errorf("%s waits %s, configured is 1s", op, got)
		}
	}
}

func TestErrorTextsNameOperationHostAndOutcome(t *testing.T) {
	t.Parallel()
	server := newLINEPay(t, `{"returnCode":"1164","returnMessage":"Refund limit exceeded."}`)
	_, err := client(t, server.URL, nil).Refund(t.Context(), idForTests, nil)
	want := regexp.MustCompile(`^LINE Pay refund at 127\.0\.0\.1:\d+: code 1164 "Refund limit exceeded\." \(refused\)$`)
	if err == nil || !want.MatchString(err.Error()) {
		t.Errorf("error %v, want %s", err, want)
	}
}
