package consumertest

import (
	"net/http/httptest"
	"testing"

	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
)

// LINEPay is the simulator behind a loopback address, and the account of one merchant there.
type LINEPay struct {
	URL       string
	ChannelID string
	Secret    linepay.Secret
	Sim       *simulator.Simulator
}

// Simulator starts a simulator for the test. Without rules it behaves as the simulator does by default.
func Simulator(t testing.TB, rules ...simulator.Rules) *LINEPay {
	t.Helper()
	channel := simulator.DefaultChannel()
	config := simulator.Config{Channels: []simulator.Channel{channel}}
	if len(rules) > 0 {
		config.Rules = rules[0]
	}
	sim := simulator.New(config)
	server := httptest.NewServer(sim)
	t.Cleanup(func() {
		sim.Close() // calls that a fault delays end first, so that the server does not wait for them
		server.CloseClientConnections()
		server.Close()
	})
	return &LINEPay{URL: server.URL, ChannelID: channel.ID, Secret: channel.Secret, Sim: sim}
}

// Client gives a client of this account, closed when the test ends.
func (l *LINEPay) Client(t testing.TB) *linepay.Client {
	t.Helper()
	client, err := linepay.New(linepay.Config{BaseURL: l.URL, ChannelID: l.ChannelID, Secret: l.Secret})
	if err != nil {
		t.Fatalf("consumertest: %v", err)
	}
	t.Cleanup(client.CloseIdle)
	return client
}

// Paid makes a payment that the customer has authenticated, ready for confirm. With capture false, confirm will only authorise it.
func (l *LINEPay) Paid(t testing.TB, orderID, amount, currency string, capture bool) linepay.TransactionID {
	t.Helper()
	id := l.Requested(t, orderID, amount, currency, capture)
	if err := l.Sim.Authenticate(id); err != nil {
		t.Fatalf("consumertest: authenticating the payment of order %s: %v", orderID, err)
	}
	return id
}

// Requested makes a payment that the customer has not seen yet.
func (l *LINEPay) Requested(t testing.TB, orderID, amount, currency string, capture bool) linepay.TransactionID {
	t.Helper()
	request := Order(orderID, amount, currency)
	request.Options = &linepay.RequestOptions{Payment: &linepay.PaymentOptions{Capture: &capture}}
	answer, err := l.Client(t).Request(t.Context(), request)
	if err != nil {
		t.Fatalf("consumertest: requesting the payment of order %s: %v", orderID, err)
	}
	return answer.TransactionID
}

// Order is a valid payment request for one product. It panics on a malformed amount.
func Order(orderID, amount, currency string) *linepay.PaymentRequest {
	total := linepay.MustAmount(amount)
	return &linepay.PaymentRequest{
		Amount: total, Currency: currency, OrderID: orderID,
		Packages: []linepay.RequestPackage{{
			ID: "1", Amount: total, Products: []linepay.Product{{Name: "A book", Quantity: linepay.MustAmount("1"), Price: total}},
		}},
		RedirectURLs: linepay.RedirectURLs{ConfirmURL: "https://shop.example/confirm", CancelURL: "https://shop.example/cancel"},
	}
}
