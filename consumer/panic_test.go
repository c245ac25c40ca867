package consumer_test

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"linepay-worker/consumer"
	"linepay-worker/consumer/consumertest"
	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
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

// landmine is a way to LINE Pay that panics on one payment.
type landmine struct{ transaction string }

func (l landmine) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.Contains(r.URL.Path, l.transaction) {
		panic("a mine")
	}
	return http.DefaultTransport.RoundTrip(r)
}

// One whose handling panics every time is parked, and nothing else is.
func TestPanicParksItsCommandAlone(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	id := l.pay.Paid(t, "ORDER-1", "100", "TWD", true)
	l.cfg = func(cfg *consumer.Config) {
		channel := simulator.DefaultChannel()
		client, err := linepay.New(linepay.Config{
			BaseURL: l.pay.URL, ChannelID: channel.ID, Secret: channel.Secret, Transport: landmine{id.String()}, ReadTimeout: time.Second,
		})
		if err != nil {
			t.Error(err)
			return
		}
		cfg.LINEPay = client
	}
	l.start()
	exploding := l.send(linepay.Confirm, confirmData(id, "ORDER-1"))
	reading := l.send(linepay.Check, data{"transactionId": id.String(), "orderId": "ORDER-1"})
	other := l.pay.Paid(t, "ORDER-2", "100", "TWD", true)
	l.done(l.send(linepay.Confirm, confirmData(other, "ORDER-2")), schemas.EventCaptured)
	for command, moved := range map[string]string{exploding: schemas.MoneyMovedUnknown, reading: schemas.MoneyMovedNo} {
		if e := l.done(command, schemas.EventParked); e.Data.Reason != schemas.ReasonPoison || e.Data.MoneyMoved != moved {
			t.Errorf("parked as %s, money moved %s, want %s", e.Data.Reason, e.Data.MoneyMoved, moved)
		}
	}
	l.idle()
	if letters := consumertest.Collect(t, l.js, schemas.StreamDeadLetters, schemas.SubjectsDeadLetters); len(letters) != 2 {
		t.Errorf("%d dead letters, want 2", len(letters))
	}
	l.wantEffects(id)
}
