package consumer_test

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"linepay-worker/consumer"
	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// explosive is a bus that panics on the first event of one order.
type explosive struct {
	consumer.Bus
	order string
	once  sync.Once
}

func (b *explosive) Publish(ctx context.Context, e *schemas.Event) error {
	if e.Data.OrderID == b.order {
		b.once.Do(func() { panic(e.Data.OrderID) })
	}
	return b.Bus.Publish(ctx, e)
}

// safeBuffer may be written by many.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// A panic is one command's trouble: it comes back, and the process goes on with the others.
func TestPanicInOneCommandEndsNeitherItNorTheWorker(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	var log safeBuffer
	l.cfg = func(cfg *consumer.Config) {
		cfg.Bus = &explosive{Bus: cfg.Bus, order: "SECRET-ORDER"}
		cfg.Logger = zerolog.New(&log)
		cfg.Concurrency = 1 // its slot comes back too
	}
	l.start()
	id := l.pay.Paid(t, "SECRET-ORDER", "100", "TWD", true)
	exploding := l.send(linepay.Confirm, confirmData(id, "SECRET-ORDER"))
	other := l.pay.Paid(t, "ORDER-2", "100", "TWD", true)
	l.done(l.send(linepay.Confirm, confirmData(other, "ORDER-2")), schemas.EventCaptured)
	l.done(exploding, schemas.EventCaptured)
	l.idle()
	l.wantEffects(id, "confirm 100")
	l.agree()
	if text := log.String(); !strings.Contains(text, `"panic":"string"`) || strings.Contains(text, "SECRET-ORDER") {
		t.Errorf("the log must tell of a panic and not what it said: %s", text)
	}
}
