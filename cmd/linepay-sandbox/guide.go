package main

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"linepay-worker/linepay/simulator"
	"linepay-worker/schemas"
)

// guide tells a person how to go on, with an order of their own to pay.
func guide(ctx context.Context, servers *servers, l *line, out *printer) error {
	ctx, cancel := context.WithTimeout(ctx, scenarioLimit)
	defer cancel()
	s, err := newStage(ctx, l.deployment(servers), out)
	if err != nil {
		return err
	}
	defer s.close()
	out.blank()
	out.title("Your turn: an order waits to be paid")
	if err := send(request("coffee", "120 TWD")).answers(schemas.EventRequested).play(ctx, s); err != nil {
		return s.stopped(ctx, err)
	}
	yours := s.order("coffee")
	out.line("Open LINE Pay's page and press Pay. The shop's page that follows shows how to confirm.")
	out.commands(yours.page)
	out.blank()
	out.title("In a second terminal")
	cake := (&order{name: "cake", id: "cake-" + s.run}).priced("80 TWD")
	request, err := marshal(paymentRequest(cake, servers.simulatorURL(), nil))
	if err != nil {
		return err
	}
	for _, hint := range [][2]string{
		{"Watch the events:", "events --follow"},
		{"Send a command of your own:", fmt.Sprintf("send check --transaction-id %s --order-id %s --wait", yours.transaction, yours.id)},
		{"Order a cake:", "send request --data " + shellQuote(string(request)) + " --wait"},
		{"See what became of an order:", "events --order " + yours.id},
	} {
		out.line(hint[0])
		out.commands(servers.ctl(hint[1]))
	}
	out.blank()
	controlCalls(out, servers.simulatorURL())
	out.blank()
	out.line("The sandbox stays up; Ctrl-C ends it. (Started with --log-level info, it shows the worker's log.)")
	return nil
}

// ctl is a linepayctl command line that reaches these servers.
func (s *servers) ctl(arguments string) string {
	line := "go run ./cmd/linepayctl " + arguments
	if url := s.natsURL(); url != "nats://"+usualNATS {
		line = "NATS_URL=" + url + " " + line
	}
	return line
}

var shellWord = regexp.MustCompile(`^[A-Za-z0-9_.:/-]+$`)

// shellQuote writes text as one word of a POSIX shell.
func shellQuote(text string) string {
	if shellWord.MatchString(text) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// The shop's pages, to which LINE Pay sends the customer back.
const (
	shopPaid      = "/shop/paid"
	shopCancelled = "/shop/cancelled"
)

// withShop serves the shop's pages beside the simulator.
func withShop(s *servers) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", s.simulator)
	page := func(write func(simulator.Transaction) string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.Header().Set("X-Content-Type-Options", "nosniff")
			w.Header().Set("Cache-Control", "no-store")
			t, known := s.transaction(r.URL.Query().Get("transactionId"))
			if !known {
				w.WriteHeader(http.StatusNotFound)
				_, _ = fmt.Fprintln(w, "LINE Pay knows no such payment.")
				return
			}
			_, _ = fmt.Fprintln(w, write(t))
		}
	}
	mux.HandleFunc("GET "+shopPaid, page(func(t simulator.Transaction) string {
		confirm := s.ctl(fmt.Sprintf("send confirm --transaction-id %s --order-id %s --amount %s --currency %s --wait",
			t.TransactionID, shellQuote(t.OrderID), t.Requested, t.Currency))
		return fmt.Sprintf("Back at the shop. You have approved %s %s for order %s, and LINE Pay waits for the shop to confirm:\n\n  %s",
			t.Requested, t.Currency, t.OrderID, confirm)
	}))
	mux.HandleFunc("GET "+shopCancelled, page(func(t simulator.Transaction) string {
		return fmt.Sprintf("Back at the shop. You have cancelled order %s; nothing was paid.", t.OrderID)
	}))
	return mux
}

func (s *servers) transaction(id string) (found simulator.Transaction, known bool) {
	for _, t := range s.simulator.Ledger().Transactions {
		if t.TransactionID.String() == id {
			return t, true
		}
	}
	return found, false
}
