package main

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"linepay-worker/cmd/internal/app"
)

func TestMain(m *testing.M) {
	app.LogRedis(zerolog.Nop())
	goleak.VerifyTestMain(m)
}

// screen is what a person sees. Tests wait for a text on it.
type screen struct {
	mu      sync.Mutex
	text    bytes.Buffer
	written chan struct{}
}

func newScreen() *screen { return &screen{written: make(chan struct{})} }

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.written)
	s.written = make(chan struct{})
	return s.text.Write(b)
}

func (s *screen) read() (string, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String(), s.written
}

func (s *screen) String() string {
	text, _ := s.read()
	return text
}

// running is the program with a command line.
type running struct {
	out, err *screen
	end      context.CancelFunc
	code     chan int
}

func start(t *testing.T, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{out: newScreen(), err: newScreen(), end: cancel, code: make(chan int, 1)}
	go func() {
		r.code <- sandbox{stdout: r.out, stderr: r.err, limit: onceLimit, exit: func(int) { cancel() }}.run(ctx, args)
	}()
	t.Cleanup(func() { cancel() })
	return r
}

// exit waits for the program's end.
func (r *running) exit(t *testing.T, want int) {
	t.Helper()
	if code := <-r.code; code != want {
		t.Fatalf("exit code %d, want %d\n%s\n%s", code, want, r.out, r.err)
	}
}

// waitFor returns when a text is on the program's standard output.
func (r *running) waitFor(t *testing.T, text string) {
	t.Helper()
	for {
		seen, written := r.out.read()
		if strings.Contains(seen, text) {
			return
		}
		select {
		case <-written:
		case code := <-r.code:
			t.Fatalf("the program ended with %d before %q appeared:\n%s\n%s", code, text, seen, r.err)
		}
	}
}
