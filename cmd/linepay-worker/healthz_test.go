package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestHealthzTellsWhetherTheWorkerRuns(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	worker := start(t, s.env())
	address := "ADMIN_ADDR=" + strings.TrimPrefix(ready(t, worker), "http://")
	if asked := start(t, []string{address, "HTTP_PROXY=http://127.0.0.1:1", "CONCURRENCY=0"}, "healthz"); asked.end() != 0 || asked.said() != "ok\n" {
		t.Errorf("of a worker that runs, healthz says %q", asked.said())
	}
	worker.stop(t)
	asked := start(t, []string{address}, "healthz")
	if code := asked.end(); code != 1 || !strings.Contains(asked.said(), "no worker answers at ADMIN_ADDR (--admin-addr)") {
		t.Errorf("of a worker that has ended: exit code %d, %q, want 1", code, asked.said())
	}
}

func TestHealthzBelievesNobodyElse(t *testing.T) {
	t.Parallel()
	other := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(other.Close)
	address := strings.TrimPrefix(other.URL, "http://")
	for _, row := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"healthz", "--admin-addr", address}, 1, "answers 404 Not Found to /healthz: another program may listen there"},
		{[]string{"healthz", "--admin-addr", "off"}, 1, "ADMIN_ADDR (--admin-addr) is off: there is nobody to ask"},
		{[]string{"healthz", "--admin-addr", "nowhere"}, 2, "ADMIN_ADDR (--admin-addr) is nowhere: must be host:port"},
		{[]string{"healthz", "--nonsense"}, 2, "unknown flag --nonsense"},
		{[]string{"healthz", "--help"}, 0, "Usage: linepay-worker healthz [flags]"},
	} {
		asked := start(t, nil, row.args...)
		if code := asked.end(); code != row.code || !strings.Contains(asked.said(), row.want) {
			t.Errorf("%v: exit code %d, %q, want %d and %q", row.args, code, asked.said(), row.code, row.want)
		}
	}
}

func TestAddressThatStandsForAllIsReachedAtTheLoopbackOne(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		":8080": "127.0.0.1:8080", "0.0.0.0:8080": "127.0.0.1:8080", "[::]:8080": "[::1]:8080",
		"127.0.0.1:8080": "127.0.0.1:8080", "worker:8080": "worker:8080", "10.0.0.1:1": "10.0.0.1:1",
	} {
		if got := reachable(address); got != want {
			t.Errorf("%s is reached at %s, want %s", address, got, want)
		}
	}
}
