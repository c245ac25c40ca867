package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Check is one thing that a program needs to be ready.
type Check struct {
	Name    string
	Timeout time.Duration // 0: two seconds
	// Run says in a few words how things stand; an error means not ready. It is called from one goroutine at a time and should
	// return when its context ends; the answer does not wait for one that does not.
	Run func(context.Context) (detail string, err error)
}

const defaultCheckTimeout = 2 * time.Second

// Admin serves health, readiness and metrics. Its handler is safe for concurrent use.
type Admin struct {
	handler http.Handler
	checks  []*gauge

	mu       sync.Mutex
	changing func() []Check
	turns    map[string]chan struct{} // of the changing checks, by name
}

// gauge is a check with its turn: who holds the turn may run it.
type gauge struct {
	Check
	turn chan struct{}
}

// NewAdmin prepares the three pages:
//
//   - /healthz says "ok" while the process runs. It asks nobody else: to restart a worker because Redis is away would only cut off calls
//     in flight.
//   - /readyz runs all checks and answers 200 or 503, with one line for each.
//   - /metrics is what metrics gathers, in Prometheus' text form.
func NewAdmin(metrics prometheus.Gatherer, checks ...Check) *Admin {
	a := &Admin{}
	for _, check := range checks {
		a.checks = append(a.checks, newGauge(check, make(chan struct{}, 1)))
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("GET /readyz", a.ready)
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	a.handler = mux
	return a
}

// Follow adds checks that come and go: they are asked for whenever somebody wants to know whether the program is ready.
func (a *Admin) Follow(changing func() []Check) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.changing, a.turns = changing, map[string]chan struct{}{}
}

// gauges are those that there are right now.
func (a *Admin) gauges() []*gauge {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := slices.Clone(a.checks)
	if a.changing == nil {
		return all
	}
	for _, check := range a.changing() {
		if a.turns[check.Name] == nil {
			a.turns[check.Name] = make(chan struct{}, 1)
		}
		all = append(all, newGauge(check, a.turns[check.Name]))
	}
	return all
}

func newGauge(check Check, turn chan struct{}) *gauge {
	if check.Timeout <= 0 {
		check.Timeout = defaultCheckTimeout
	}
	return &gauge{Check: check, turn: turn}
}

// ServeHTTP answers the three pages.
func (a *Admin) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.handler.ServeHTTP(w, r) }

// Readiness is the answer of /readyz.
type Readiness struct {
	Ready  bool          `json:"ready"`
	Checks []CheckResult `json:"checks"`
}

// CheckResult is how one check came out.
type CheckResult struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

// Ready runs all checks side by side, each within its timeout, and gives the results in the order of NewAdmin and then
// of Follow.
func (a *Admin) Ready(ctx context.Context) Readiness {
	checks := a.gauges()
	answers := make([]chan CheckResult, len(checks))
	for i, check := range checks {
		answers[i] = make(chan CheckResult, 1)
		go func() { answers[i] <- check.result(ctx) }()
	}
	readiness := Readiness{Ready: true, Checks: make([]CheckResult, 0, len(checks))}
	for _, answer := range answers {
		result := <-answer
		readiness.Ready = readiness.Ready && result.OK
		readiness.Checks = append(readiness.Checks, result)
	}
	return readiness
}

// result runs the check if nobody else does: a check that hangs must not gather goroutines with every probe.
func (g *gauge) result(ctx context.Context) CheckResult {
	ctx, cancel := context.WithTimeout(ctx, g.Timeout)
	defer cancel()
	late := CheckResult{Name: g.Name, Detail: fmt.Sprintf("no answer within %s", g.Timeout)}
	select {
	case g.turn <- struct{}{}:
	case <-ctx.Done():
		return late
	}
	done := make(chan CheckResult, 1)
	go func() {
		defer func() { <-g.turn }()
		detail, err := g.Run(ctx)
		if err != nil {
			detail = err.Error()
		}
		done <- CheckResult{Name: g.Name, OK: err == nil, Detail: detail}
	}()
	select {
	case result := <-done:
		return result
	case <-ctx.Done():
		return late
	}
}

func (a *Admin) ready(w http.ResponseWriter, r *http.Request) {
	readiness := a.Ready(r.Context())
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if !readiness.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(readiness)
}

// Listen opens the admin address.
func (s AdminSettings) Listen() (net.Listener, error) {
	listener, err := net.Listen("tcp", s.Addr)
	if err != nil {
		return nil, &SettingError{Setting: "ADMIN_ADDR", Value: s.Addr, Rule: fmt.Sprintf("cannot be listened on: %v", err)}
	}
	return listener, nil
}

// Serve is an Actor once the listener is given: it answers until ctx ends, then lets requests in hand finish, at most five seconds.
func (a *Admin) Serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler: a, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: time.Minute,
		IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("the admin server on %s ended: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := server.Shutdown(last); err != nil {
		_ = server.Close()
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
