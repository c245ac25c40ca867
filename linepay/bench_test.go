package linepay

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func BenchmarkSign(b *testing.B) {
	const path, nonce = "/v3/payments/2026110112345678910/confirm", "0b9e1c6e-3c0e-4c3f-9d8e-2f5a7c1d4b60"
	b.ReportAllocs()
	for b.Loop() {
		Sign(secretForTests, path, `{"amount":1000,"currency":"TWD"}`, nonce)
	}
}

const confirmedForBenchmarks = `{"returnCode":"0000","returnMessage":"Success.","info":{"orderId":"ORDER-1",` +
	`"transactionId":2026110112345678910,"payInfo":[{"method":"CREDIT_CARD","amount":1000,"maskedCreditCardNumber":"************1111"}]}}`

// inMemory is a connection that answers at once: what is left is the client's own work.
type inMemory struct{}

func (inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(confirmedForBenchmarks)), Request: r}, nil
}

func BenchmarkConfirm(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, confirmedForBenchmarks)
	}))
	b.Cleanup(server.Close)
	for _, row := range []struct {
		name      string
		transport http.RoundTripper
	}{{"in-memory", inMemory{}}, {"loopback", nil}} {
		b.Run(row.name, func(b *testing.B) {
			client, err := New(Config{BaseURL: server.URL, ChannelID: channelForTests, Secret: secretForTests, Transport: row.transport})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(client.CloseIdle)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := client.Confirm(b.Context(), 2026110112345678910, MustAmount("1000"), "TWD"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
