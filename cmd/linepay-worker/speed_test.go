package main

import (
	"net/http"
	"testing"
	"time"
)

// A worker that starts slowly makes every rollout and every crash longer. Other tests keep the processors busy while this one measures: one
// start of several within the time shows that nothing in it waits.
func TestWorkerAnswersSoonAfterItsStart(t *testing.T) {
	t.Parallel()
	const limit, attempts = 300 * time.Millisecond, 20
	s := startServers(t)
	var best time.Duration
	for range attempts {
		began := time.Now()
		worker := start(t, s.env())
		admin := "http://" + worker.awaitLog(t, "serving /healthz, /readyz and /metrics").Address
		awaitAnswer(t, worker, admin+"/healthz", func(status int, _ string) bool { return status == http.StatusOK })
		took := time.Since(began)
		if code := worker.stop(t); code != 0 {
			t.Fatalf("exit code %d:\n%s", code, worker.said())
		}
		if best == 0 || took < best {
			best = took
		}
		if best < limit {
			t.Logf("/healthz answers %s after the start", best)
			return
		}
	}
	t.Errorf("/healthz answers %s after the start at best, want less than %s", best, limit)
}
