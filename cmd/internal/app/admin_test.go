package app

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

func fine(context.Context) (string, error)   { return "answers", nil }
func broken(context.Context) (string, error) { return "", errors.New("connection refused") }

func get(handler http.Handler, path string) *httptest.ResponseRecorder {
	response := httptest.NewRecorder()
	handler.ServeHTTP(response, httptest.NewRequest(http.MethodGet, path, nil))
	return response
}

func TestHealthAsksNobody(t *testing.T) {
	t.Parallel()
	admin := NewAdmin(prometheus.NewRegistry(), Check{Name: "redis", Run: broken})
	if response := get(admin, "/healthz"); response.Code != http.StatusOK || response.Body.String() != "ok\n" {
		t.Errorf("%d %q, want 200 ok", response.Code, response.Body)
	}
}

func TestReadinessNamesEveryCheckInOrder(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		checks []Check
		code   int
		want   Readiness
	}{
		"nothing to check": {nil, 200, Readiness{Ready: true, Checks: []CheckResult{}}},
		"all well": {
			[]Check{{Name: "nats", Run: fine}, {Name: "redis", Run: fine}},
			200,
			Readiness{Ready: true, Checks: []CheckResult{{"nats", true, "answers"}, {"redis", true, "answers"}}},
		},
		"one broken": {
			[]Check{{Name: "redis", Run: broken}, {Name: "nats", Run: fine}},
			503,
			Readiness{Ready: false, Checks: []CheckResult{{"redis", false, "connection refused"}, {"nats", true, "answers"}}},
		},
	} {
		response := get(NewAdmin(prometheus.NewRegistry(), row.checks...), "/readyz")
		var got Readiness
		if err := json.Unmarshal(response.Body.Bytes(), &got); err != nil {
			t.Fatalf("%s: %v in %s", name, err, response.Body)
		}
		if response.Code != row.code {
			t.Errorf("%s: status %d, want %d", name, response.Code, row.code)
		}
		if diff := cmp.Diff(row.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestCheckThatHangsFailsInTimeAndRunsOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var started atomic.Int32
		released := make(chan struct{})
		admin := NewAdmin(prometheus.NewRegistry(), Check{Name: "redis", Run: func(context.Context) (string, error) {
			started.Add(1)
			<-released
			return "answers", nil
		}})
		began := time.Now()
		want := Readiness{Checks: []CheckResult{{"redis", false, "no answer within 2s"}}}
		for range 3 {
			if diff := cmp.Diff(want, admin.Ready(t.Context())); diff != "" {
				t.Errorf("readiness (-want +got):\n%s", diff)
			}
		}
		if took := time.Since(began); took != 3*defaultCheckTimeout {
			t.Errorf("three probes took %s, want %s", took, 3*defaultCheckTimeout)
		}
		if started.Load() != 1 {
			t.Errorf("the hanging check was started %d times, want once", started.Load())
		}
		close(released)
		synctest.Wait()
		if !admin.Ready(t.Context()).Ready {
			t.Error("not ready although the check answers again")
		}
	})
}

func TestMetricsAreThoseOfTheGivenRegistry(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "linepay_test_total", Help: "A test."})
	registry.MustRegister(counter)
	counter.Add(3)
	if response := get(NewAdmin(registry), "/metrics"); !strings.Contains(response.Body.String(), "\nlinepay_test_total 3\n") {
		t.Errorf("no counter in:\n%s", response.Body)
	}
	if response := get(NewAdmin(registry), "/other"); response.Code != http.StatusNotFound {
		t.Errorf("/other answers %d, want 404", response.Code)
	}
}

func TestAdminServerFinishesRequestsInHandAndEnds(t *testing.T) {
	t.Parallel()
	listener, err := AdminSettings{Addr: "127.0.0.1:0"}.Listen()
	if err != nil {
		t.Fatal(err)
	}
	running, answer := make(chan struct{}), make(chan struct{})
	admin := NewAdmin(prometheus.NewRegistry(), Check{Name: "slow", Timeout: time.Minute, Run: func(context.Context) (string, error) {
		close(running)
		<-answer
		return "done", nil
	}})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- admin.Serve(ctx, listener) }()

	body := make(chan string, 1)
	go func() {
		response, err := http.Get("http://" + listener.Addr().String() + "/readyz")
		if err != nil {
			body <- err.Error()
			return
		}
		defer response.Body.Close()
		text, _ := io.ReadAll(response.Body)
		body <- string(text)
	}()
	<-running
	cancel()
	close(answer)
	if got := <-body; !strings.Contains(got, `"detail":"done"`) {
		t.Errorf("the request in hand got %q", got)
	}
	if err := <-ended; err != nil {
		t.Errorf("the server ended with %v", err)
	}
}

// Who says nothing, or too much, is shown out, and the others are answered meanwhile.
func TestNobodyHoldsTheAdminServerUp(t *testing.T) {
	t.Parallel()
	listener, err := AdminSettings{Addr: "127.0.0.1:0"}.Listen()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- NewAdmin(prometheus.NewRegistry()).Serve(ctx, listener) }()
	address := listener.Addr().String()
	const most = 20 * time.Second // a busy machine takes longer than the five seconds that are meant
	var asking sync.WaitGroup
	for name, row := range map[string]struct{ says, hears string }{
		"silence":                 {"", ""},
		"half a request":          {"GET /readyz HTTP/1.1\r\nHost: a\r\nX-", "HTTP/1.1 400 "},
		"a header without an end": {"GET /readyz HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 64<<10), "HTTP/1.1 431 "},
		"a body that never comes": {"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n", "HTTP/1.1 405 "},
	} {
		asking.Go(func() {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(most))
			_, _ = conn.Write([]byte(row.says)) // it may be refused before its end
			heard, err := io.ReadAll(conn)
			if errors.Is(err, os.ErrDeadlineExceeded) || !strings.HasPrefix(string(heard), row.hears) || row.hears == "" && len(heard) > 0 {
				t.Errorf("%s: heard %.60q, error %v, want %q and an end", name, heard, err, row.hears)
			}
		})
	}
	response, err := http.Get("http://" + address + "/healthz")
	if err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("meanwhile: %v, error %v", response, err)
	} else {
		response.Body.Close()
	}
	asking.Wait()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestTakenAdminAddressIsNamed(t *testing.T) {
	t.Parallel()
	first, err := AdminSettings{Addr: "127.0.0.1:0"}.Listen()
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	_, err = AdminSettings{Addr: first.Addr().String()}.Listen()
	if err == nil || !strings.Contains(err.Error(), "ADMIN_ADDR (--admin-addr) is "+first.Addr().String()+": cannot be listened on") {
		t.Errorf("error %v, want one that names ADMIN_ADDR", err)
	}
}

func TestServeReportsALostListener(t *testing.T) {
	t.Parallel()
	listener, err := AdminSettings{Addr: "127.0.0.1:0"}.Listen()
	if err != nil {
		t.Fatal(err)
	}
	_ = listener.Close()
	if err := NewAdmin(prometheus.NewRegistry()).Serve(t.Context(), listener); err == nil || !strings.Contains(err.Error(), "the admin server on") {
		t.Errorf("error %v, want that the admin server ended", err)
	}
}

func TestChecksThatComeAndGoAreThoseOfTheMoment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var started atomic.Int32
		released := make(chan struct{})
		hanging := Check{Name: "channel tw", Run: func(context.Context) (string, error) {
			started.Add(1)
			<-released
			return "answers", nil
		}}
		var there []Check
		admin := NewAdmin(prometheus.NewRegistry(), Check{Name: "redis", Run: fine})
		admin.Follow(func() []Check { return there })
		want := Readiness{Ready: true, Checks: []CheckResult{{"redis", true, "answers"}}}
		if diff := cmp.Diff(want, admin.Ready(t.Context())); diff != "" {
			t.Errorf("readiness (-want +got):\n%s", diff)
		}
		there = []Check{hanging, {Name: "channel th", Run: broken}}
		want = Readiness{Checks: append(
			want.Checks, CheckResult{"channel tw", false, "no answer within 2s"}, CheckResult{"channel th", false, "connection refused"},
		)}
		for range 2 { // it is asked for anew each time, and still started once
			if diff := cmp.Diff(want, admin.Ready(t.Context())); diff != "" {
				t.Errorf("readiness (-want +got):\n%s", diff)
			}
		}
		if started.Load() != 1 {
			t.Errorf("the hanging check was started %d times, want once", started.Load())
		}
		close(released)
		synctest.Wait()
	})
}

// Nothing can be changed over the admin address, so that it needs no token.
func TestAdminAnswersReadingAlone(t *testing.T) {
	t.Parallel()
	admin := NewAdmin(prometheus.NewRegistry(), Check{Name: "redis", Run: fine})
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "RELOAD"} {
		for _, path := range []string{"/healthz", "/readyz", "/metrics", "/", "/-/reload", "/debug/pprof/", "/debug/vars", "/readyz/"} {
			response := httptest.NewRecorder()
			admin.ServeHTTP(response, httptest.NewRequest(method, path, nil))
			known := path == "/healthz" || path == "/readyz" || path == "/metrics"
			answered := response.Code == http.StatusOK
			if want := known && (method == "GET" || method == "HEAD"); answered != want {
				t.Errorf("%s %s answers %d", method, path, response.Code)
			}
		}
	}
}

func TestAdminListensOnLoopbackUnlessToldOtherwise(t *testing.T) {
	t.Parallel()
	addr, err := netip.ParseAddrPort(defaults().Admin.Addr)
	if err != nil || !addr.Addr().IsLoopback() {
		t.Errorf("the default is %s (error %v), want an address on loopback", defaults().Admin.Addr, err)
	}
}
