package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"
)

// standIn answers as LINE Pay does, after a delay, and remembers what it has carried out, and nothing else. It checks no signatures and no
// amounts: its own work must not be what is measured.
type standIn struct {
	delay time.Duration

	mu      sync.Mutex
	tries   map[int64]int           // calls for transactions that are called again
	took    map[int64]time.Duration // to answer for a transaction: a sleep ends up to a millisecond later than it was to
	effects map[string]int
	tally   tally
}

// tally is what a stand-in has done.
type tally struct {
	Calls   int `json:"calls"`
	Effects int `json:"effects"`
	Doubles int `json:"doubles"` // effects that there had been before
}

// serveLINEPay listens on BENCH_ADDR and answers BENCH_DELAY after a call.
func serveLINEPay(ctx context.Context) error {
	delay, err := time.ParseDuration(os.Getenv("BENCH_DELAY"))
	if err != nil {
		return fmt.Errorf("BENCH_DELAY: %w", err)
	}
	server := &http.Server{Addr: os.Getenv("BENCH_ADDR"), Handler: newStandIn(delay).routes(), ReadHeaderTimeout: time.Minute}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func newStandIn(delay time.Duration) *standIn {
	return &standIn{delay: delay, tries: map[int64]int{}, took: map[int64]time.Duration{}, effects: map[string]int{}}
}

func (s *standIn) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v3/payments/{id}/{operation}", s.post)
	mux.HandleFunc("GET /v3/payments", s.details)
	mux.HandleFunc("GET /v3/payments/requests/{id}/check", func(w http.ResponseWriter, _ *http.Request) {
		s.wait()
		answer(w, `{"returnCode":"0110","returnMessage":"Authenticated."}`)
	})
	mux.HandleFunc("GET /tally", func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		_ = json.NewEncoder(w).Encode(s.tally) // whoever asked has gone, if it fails
	})
	mux.HandleFunc("GET /took", func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		_ = json.NewEncoder(w).Encode(s.took)
	})
	return mux
}

// wait is what LINE Pay takes. Without a delay not even a timer is set.
func (s *standIn) wait() {
	if s.delay > 0 {
		time.Sleep(s.delay)
	}
}

func answer(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, body)
}

// post carries out a confirm or a refund.
func (s *standIn) post(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	_, _ = io.Copy(io.Discard, r.Body)
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	s.wait()
	switch s.carryOut(id, r.PathValue("operation"), began) {
	case fateRefused:
		answer(w, `{"returnCode":"1142","returnMessage":"Insufficient balance."}`)
	case fateRetried:
		answer(w, `{"returnCode":"1900","returnMessage":"Please try again."}`)
	case fateLost:
		panic(http.ErrAbortHandler) // closes the connection without an answer
	default:
		s.done(w, id, r.PathValue("operation"))
	}
}

// carryOut notes the call, and says what is answered to it.
func (s *standIn) carryOut(id int64, operation string, began time.Time) (fate int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tally.Calls++
	if s.delay > 0 {
		s.took[id] = time.Since(began)
	}
	fate = id % 10
	if fate == fateRetried {
		if s.tries[id]++; s.tries[id] > 1 {
			fate = fateDone
		}
	}
	if fate == fateDone || fate == fateLost {
		effect := operation + strconv.FormatInt(id, 10)
		if s.effects[effect]++; s.effects[effect] > 1 {
			s.tally.Doubles++
		}
		s.tally.Effects++
	}
	return fate
}

func (s *standIn) done(w http.ResponseWriter, id int64, operation string) {
	if operation == "refund" {
		answer(w, fmt.Sprintf(`{"returnCode":"0000","returnMessage":"Success.","info":{"refundTransactionId":%d,`+
			`"refundTransactionDate":"2026-01-01T00:00:00Z"}}`, id+5))
		return
	}
	answer(w, fmt.Sprintf(`{"returnCode":"0000","returnMessage":"Success.","info":{"orderId":%q,"transactionId":%d,`+
		`"payInfo":[{"method":"BALANCE","amount":%s}]}}`, orderOf(id), id, amount))
}

// details shows every payment as confirmed, but for those that are yet to be called again.
func (s *standIn) details(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseInt(r.URL.Query().Get("transactionId"), 10, 64)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	s.wait()
	s.mu.Lock()
	open := id%10 == fateRetried && s.tries[id] < 2
	s.mu.Unlock()
	if open {
		answer(w, `{"returnCode":"1150","returnMessage":"Transaction record not found."}`)
		return
	}
	answer(w, fmt.Sprintf(`{"returnCode":"0000","returnMessage":"Success.","info":[{"transactionId":%d,`+
		`"transactionDate":"2026-01-01T00:00:00Z","transactionType":"PAYMENT","payStatus":"CAPTURE","productName":"Tea",`+
		`"merchantName":"Shop","currency":%q,"orderId":%q,"payInfo":[{"method":"BALANCE","amount":%s}]}]}`, id, currency, orderOf(id), amount))
}
