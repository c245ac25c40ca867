package consumer

import (
	"bytes"
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"golang.org/x/time/rate"

	"linepay-worker/consumer/consumertest"
	"linepay-worker/idempotency"
	"linepay-worker/schemas"
)

// bin is a bus that takes dead letters and counts them.
type bin struct {
	Bus
	parked atomic.Int64
	then   func() // nil for nothing
}

func (b *bin) Park(context.Context, string, schemas.DeadLetter, map[string][]string, []byte) error {
	b.parked.Add(1)
	if b.then != nil {
		b.then()
	}
	return nil
}

func (*bin) Newest(context.Context, string) (time.Time, error) { return time.Time{}, nil }

func (*bin) Proofs(context.Context, string, time.Time, func(*schemas.Event)) error { return nil }

// safeBuffer is a log that is read while it is written.
type safeBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *safeBuffer) count(part string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.text.String(), part)
}

// pulling is a worker on a NATS server with one message that nobody can read in LINEPAY_COMMANDS, and a shift that it works in.
func pulling(t *testing.T, change ...func(*Config)) (*Worker, *bin, *shift, jetstream.Stream) {
	t.Helper()
	cfg, stream := sourceConfig(t)
	letters := &bin{}
	cfg.Bus, cfg.RetryMin = letters, 5*time.Millisecond
	var err error
	if cfg.Guard, err = idempotency.New(idempotency.Config{Redis: consumertest.Redis(t).Client(t), Retention: time.Hour}); err != nil {
		t.Fatal(err)
	}
	for _, c := range change {
		c(&cfg)
	}
	w, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cfg.source(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := cfg.JetStream.Publish(t.Context(), "linepay.commands.tw.confirm", []byte("unreadable")); err != nil {
		t.Fatal(err)
	}
	s := newShift(t.Context(), t.Context(), 4)
	return w, letters, s, stream
}

// pullOne pulls one message, waits until it is handled, and demands its slot back.
func pullOne(t *testing.T, w *Worker, s *shift) {
	t.Helper()
	s.delivered, s.running = make(chan delivery, 1), 0
	s.slots.taken = 1
	w.pull(s, 1)
	close(s.delivered)
	s.handlers.Wait()
	if s.slots.taken != 0 {
		t.Error("its slot is not given back")
	}
}

func TestNothingIsRememberedOfAMessageThatIsDoneWith(t *testing.T) {
	t.Parallel()
	w, letters, s, _ := pulling(t)
	pullOne(t, w, s)
	d := &w.deliveries
	if letters.parked.Load() != 1 || len(d.parked)+len(d.spent)+len(d.unclaimed) != 0 {
		t.Errorf("%d dead letters; still remembered: %v, %v, %v", letters.parked.Load(), d.parked, d.spent, d.unclaimed)
	}
}

func TestMessageThatArrivesAsTheWorkerStopsIsHandedBackUnread(t *testing.T) {
	t.Parallel()
	w, letters, s, stream := pulling(t, func(c *Config) { c.Rate = 1000 })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.stopping = ctx
	pullOne(t, w, s)
	if letters.parked.Load() != 0 {
		t.Error("it was handled, though the worker was told to stop")
	}
	if info, err := stream.Info(t.Context()); err != nil || info.State.Msgs != 1 {
		t.Errorf("the message is gone: %+v, %v", info, err)
	}
	if w.deliveries.redelivered(1, 2) {
		t.Error("its next delivery counts as one that may have been called before")
	}
}

func TestFirstPullIsToldOnce(t *testing.T) {
	t.Parallel()
	log := &safeBuffer{}
	w, _, s, _ := pulling(t, func(c *Config) { c.Logger = zerolog.New(log) })
	for range 3 {
		pullOne(t, w, s)
	}
	if n := log.count("taking commands"); n != 1 {
		t.Errorf("it was told %d times that commands are taken, want once", n)
	}
}

func TestMessageThatIsNotJetStreamsIsNotHandled(t *testing.T) {
	t.Parallel()
	w, letters, s, _ := pulling(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.alive = ctx // nobody waits for its acknowledgement, which there is not
	w.work(s, w.delivery(nats.NewMsg("linepay.commands.tw.confirm"), nil))
	if letters.parked.Load() != 0 {
		t.Error("a message without JetStream's metadata was handled")
	}
}

func TestRateIsALimitOnlyWhereItIsGiven(t *testing.T) {
	t.Parallel()
	for given, want := range map[int]rate.Limit{0: rate.Inf, 7: 7} {
		cfg := plain(t, 0)
		cfg.Rate = given
		w, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if w.rate.Limit() != want {
			t.Errorf("with Rate %d the limit is %v, want %v", given, w.rate.Limit(), want)
		}
	}
}

func TestRunEndsWhereThereIsNothingToPullFrom(t *testing.T) {
	t.Parallel()
	cfg := plain(t, 0)
	cfg.JetStream = consumertest.NATS(t).JetStream(t)
	w, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { ended <- w.Run(ctx) }()
	select {
	case err := <-ended:
		if err == nil || !strings.HasPrefix(err.Error(), "look at stream LINEPAY_COMMANDS: ") {
			t.Errorf("error %v, want one that names the stream", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it goes on without a stream")
	}
}

func TestRunEndsWhenTheConnectionIsClosedForGood(t *testing.T) {
	t.Parallel()
	w, letters, _, _ := pulling(t)
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { ended <- w.Run(ctx) }()
	if !consumertest.Eventually(t, func(context.Context) bool { return letters.parked.Load() > 0 }) {
		t.Fatal("it does not work")
	}
	w.cfg.JetStream.Conn().Close()
	select {
	case err := <-ended:
		if err == nil || !strings.HasPrefix(err.Error(), "the connection to NATS is closed for good") {
			t.Errorf("error %v, want one that says that the connection is closed", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it goes on with a closed connection")
	}
}

// What became of the last command cannot be sent any more: there is nothing to wait for.
func TestRunEndsWhenTheConnectionIsClosedBeforeAFateIsSent(t *testing.T) {
	t.Parallel()
	w, letters, _, _ := pulling(t)
	letters.then = w.cfg.JetStream.Conn().Close
	ended := make(chan error, 1)
	go func() { ended <- w.Run(t.Context()) }()
	select {
	case err := <-ended:
		if err == nil || !strings.HasPrefix(err.Error(), "the connection to NATS is closed for good") {
			t.Errorf("error %v, want one that says that the connection is closed", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it goes on with a closed connection")
	}
}

// A Redis that hangs up on everybody counts how often it is asked.
func TestNothingIsPulledWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			asked.Add(1)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close() })
	store := redis.NewClient(&redis.Options{Addr: l.Addr().String(), MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() { _ = store.Close() })
	w, letters, _, _ := pulling(t, func(c *Config) {
		if c.Guard, err = idempotency.New(idempotency.Config{Redis: store, Retention: time.Hour}); err != nil {
			t.Fatal(err)
		}
	})
	w.guardDown.Store(true)
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { ended <- w.Run(ctx) }()
	if !consumertest.Eventually(t, func(context.Context) bool { return asked.Load() > 20 }) {
		t.Error("Redis is not asked whether it is back")
	}
	if letters.parked.Load() != 0 {
		t.Error("a message was pulled while Redis was away")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestParkedCommandIsLoggedAsAWarning(t *testing.T) {
	t.Parallel()
	log := &safeBuffer{}
	cfg := plain(t, 0)
	cfg.Logger = zerolog.New(log)
	w, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	fate := ack("parked: unresolved")
	fate.Outcome = schemas.EventParked
	w.observe(&Message{Subject: "linepay.commands.tw.confirm"}, fate, time.Millisecond)
	if log.count(`"level":"warn"`) != 1 {
		t.Errorf("the log says %s", &log.text)
	}
}

func TestEventThatCannotBeWrittenIsNoOutcomeOnRecord(t *testing.T) {
	t.Parallel()
	e := schemas.NewEvent(schemas.EventFailed, time.Now(), schemas.EventData{Channel: "tw", Reason: "\xff"})
	if stored, err := (Outcome{events: []*schemas.Event{e}}).encode(); err == nil {
		t.Errorf("it was written as %q", stored)
	}
}

// Those far behind ask the less often the more are ahead of them; the next in line asks often.
func TestLongLineAsksSeldom(t *testing.T) {
	t.Parallel()
	for ahead, want := range map[int]bool{0: false, 1: false, 1000: true} {
		longest := time.Duration(0)
		for range 200 {
			task := &task{
				claim: &idempotency.Claim{Answer: idempotency.Busy, Ahead: ahead, Until: time.Now().Add(time.Hour)},
				m:     &Message{Stored: time.Now().Add(-time.Hour)}, redis: time.Now(), answered: time.Now(),
			}
			longest = max(longest, task.behind().fate.After)
		}
		if seldom := longest > mostPolite+leastDelay; seldom != want {
			t.Errorf("with %d ahead the longest pause is %s", ahead, longest)
		}
	}
}
