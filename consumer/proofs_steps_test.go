package consumer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
	"github.com/sony/gobreaker/v2"

	"linepay-worker/consumer/consumertest"
	"linepay-worker/consumer/pull"
	"linepay-worker/idempotency"
	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// logged is a worker that connects to nothing, and its log.
func logged(t *testing.T, change ...func(*Config)) (*Worker, *safeBuffer) {
	t.Helper()
	cfg, log := plain(t, 0), &safeBuffer{}
	cfg.Logger = zerolog.New(log)
	for _, c := range change {
		c(&cfg)
	}
	w, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return w, log
}

func ended(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

func TestNothingIsClaimedOnceTheWorkerStops(t *testing.T) {
	t.Parallel()
	w, log := logged(t)
	m := &Message{Sequence: 3, Deliveries: 1, turn: next(nil), stopping: ended(t).Done()}
	_, _, err := w.claim(t.Context(), m, &command{Command: &schemas.Command{Operation: linepay.Confirm}, key: "confirm:1"})
	if !errors.Is(err, errStopping) {
		t.Fatalf("error %v, want errStopping", err)
	}
	fate := w.unclaimed(t.Context(), m, nil, err)
	if fate.Kind != Wait || !strings.HasPrefix(fate.Why, "handed back") || w.deliveries.redelivered(3, 2) || log.count("Redis") > 0 {
		t.Errorf("the fate is %s: %s", fate.Kind, fate.Why)
	}
}

func TestRedisThatIsAwayIsLoggedOnce(t *testing.T) {
	t.Parallel()
	w, log := logged(t)
	for range 3 {
		w.unclaimed(t.Context(), &Message{Deliveries: 1}, nil, fmt.Errorf("claim: %w", idempotency.ErrUnavailable))
	}
	if n := log.count("Redis does not answer"); n != 1 || !w.guardDown.Load() {
		t.Errorf("it was logged %d times, want once", n)
	}
}

// quietBus takes everything.
type quietBus struct{ Bus }

func (quietBus) Publish(context.Context, *schemas.Event) error { return nil }
func (quietBus) Park(context.Context, string, schemas.DeadLetter, map[string][]string, []byte) error {
	return nil
}

func TestWorkerIsReadyAgainOnceSomethingIsTold(t *testing.T) {
	t.Parallel()
	w, _ := logged(t, func(c *Config) { c.Bus = quietBus{} })
	for name, c := range map[string]struct {
		o     Outcome
		ready bool
	}{
		"nothing":       {Outcome{}, false},
		"an event":      {Outcome{events: []*schemas.Event{{}}}, true},
		"a dead letter": {Outcome{park: &schemas.DeadLetter{}}, true},
	} {
		w.untold(&Message{Deliveries: 1}, "event not stored", errors.New("full"))
		w.publish(t.Context(), &Message{}, c.o)
		if ready := w.unpublished.Load() == nil; ready != c.ready {
			t.Errorf("after telling %s the worker is ready: %t", name, ready)
		}
	}
}

func TestOnlyWhatIsAcknowledgedIsAnswered(t *testing.T) {
	t.Parallel()
	events := []*schemas.Event{
		schemas.NewEvent(schemas.EventPreapproval, time.Now(), schemas.EventData{}),
		schemas.NewEvent(schemas.EventCaptured, time.Now(), schemas.EventData{}),
	}
	for _, c := range []struct {
		o    Outcome
		want string
	}{
		{Outcome{fate: ack("captured"), events: events}, schemas.EventCaptured},
		{Outcome{fate: ack("parked"), events: events, park: &schemas.DeadLetter{}}, schemas.EventParked},
		{Outcome{fate: ack("nothing to tell")}, ""},
		{Outcome{fate: retry(0, "done, but not on record", nil), events: events}, ""},
		{Outcome{fate: wait(0, "its event was stored already"), events: events, park: &schemas.DeadLetter{}}, ""},
	} {
		if got := c.o.answer(); got != c.want {
			t.Errorf("%s: %s is answered with %q, want %q", c.o.fate.Kind, c.o.fate.Why, got, c.want)
		}
	}
}

func TestOnlyLINEPayItselfIsTrouble(t *testing.T) {
	t.Parallel()
	w, _ := logged(t)
	refused := &linepay.Error{Verdict: linepay.ChannelFault, Code: "1106"} // the channel's signature is not accepted
	task := &task{worker: w}
	for _, c := range []struct {
		name          string
		err           error
		sick, trouble bool
	}{
		{"a fault", refused, true, true},
		{"what is wrong with us says nothing about LINE Pay", errNotShown, false, true},
		{"an answer", nil, false, false},
		{"what is wrong with us is none", errNotShown, false, false},
	} {
		task.note(c.err)
		if (task.sick != nil) != c.sick || (w.trouble.Load() != nil) != c.trouble {
			t.Errorf("%s: sick %v, trouble %v", c.name, task.sick, w.trouble.Load())
		}
	}
}

func TestMessageThatIsWorkedOnIsKeptAlive(t *testing.T) {
	t.Parallel()
	conn := consumertest.NATS(t).Connect(t)
	signs, err := conn.SubscribeSync("signs.of.life")
	if err != nil {
		t.Fatal(err)
	}
	sub, err := conn.SubscribeSync("command")
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.PublishRequest("command", "signs.of.life", nil); err != nil {
		t.Fatal(err)
	}
	msg, err := sub.NextMsg(10 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	stop := keepGiving(func() { _ = msg.InProgress() }, time.Millisecond)
	for range 2 {
		if sign, err := signs.NextMsg(10 * time.Second); err != nil || string(sign.Data) != "+WPI" {
			t.Errorf("the sign of life is %v, %v", sign, err)
		}
	}
	stop()
}

func TestNothingIsPulledWhileTheBreakerIsOpen(t *testing.T) {
	t.Parallel()
	w, _ := logged(t)
	if !w.readyToPull(t.Context()) {
		t.Error("it does not pull while all is well")
	}
	for range breakerFaults {
		_, _ = w.breaker.Execute(func() (Outcome, error) { return Outcome{}, errors.New("LINE Pay is down") })
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if w.breaker.State() != gobreaker.StateOpen || w.readyToPull(ctx) {
		t.Errorf("it pulls while the breaker is %s", w.breaker.State())
	}
}

func TestPullThatFailsIsToldOnceAndNotWhileStopping(t *testing.T) {
	t.Parallel()
	log := &safeBuffer{}
	w, _, s, stream := pulling(t, func(c *Config) { c.Logger = zerolog.New(log) })
	pullOne(t, w, s)
	w.pullFailed(ended(t), pull.ErrSilent)
	if !w.pulling.Load() || log.count("no commands from JetStream") > 0 {
		t.Error("a worker that stops says that it is in trouble")
	}
	for range 2 {
		w.pullFailed(t.Context(), pull.ErrSilent)
	}
	if n := log.count("no commands from JetStream"); n != 1 || w.pulling.Load() || log.count("no consumer") > 0 {
		t.Errorf("it was told %d times that no commands come, want once, and nothing about a consumer that is there", n)
	}
	if err := w.cfg.JetStream.DeleteStream(t.Context(), stream.CachedInfo().Config.Name); err != nil {
		t.Fatal(err)
	}
	w.pullFailed(t.Context(), pull.ErrSilent)
	if n := log.count("no consumer to pull from"); n != 1 {
		t.Errorf("it was told %d times that there is no consumer, want once", n)
	}
	// Told to stop during the pause.
	w.cfg.RetryMin = time.Hour
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	w.pullFailed(ctx, pull.ErrSilent)
	if n := log.count("no consumer to pull from"); n != 1 {
		t.Error("a worker that stops looks for its consumer")
	}
}

func TestShutdownWaitsNoLongerThanItsGrace(t *testing.T) {
	t.Parallel()
	w, _ := logged(t)
	w.cfg.ShutdownGrace = time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	var handlers sync.WaitGroup
	handlers.Go(func() { <-ctx.Done() })
	if err := w.finish(cancel, &handlers); err == nil || !strings.Contains(err.Error(), "still in flight after the shutdown grace of 1ms") {
		t.Errorf("error %v, want one that says what is still in flight", err)
	}
	handlers.Wait() // they were told to give up
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	t.Parallel()
	over := make(chan bool, 1)
	go func() { pause(ended(t), time.Hour); over <- newSlots(0).take(ended(t), none) > 0 }()
	select {
	case took := <-over:
		if took {
			t.Error("a slot was taken where there is none")
		}
	case <-time.After(10 * time.Second):
		t.Error("it waits on, though the context has ended")
	}
}

func TestLimitOfPendingCommandsIsLifted(t *testing.T) {
	t.Parallel()
	cfg, stream := sourceConfig(t)
	narrow := cfg.consumerConfig()
	narrow.MaxAckPending = 10
	if _, err := stream.CreateConsumer(t.Context(), narrow); err != nil {
		t.Fatal(err)
	}
	if _, err := cfg.source(t.Context()); err != nil {
		t.Error(err)
	}
	if got := onServer(t, stream); got.MaxAckPending != -1 {
		t.Errorf("MaxAckPending is %d", got.MaxAckPending)
	}
}

func TestConsumerWithABackOffListIsLeftAsItIs(t *testing.T) {
	t.Parallel()
	cfg, stream := sourceConfig(t)
	other := cfg.consumerConfig()
	other.BackOff, other.MaxDeliver = []time.Duration{time.Second, time.Minute}, 5
	if _, err := stream.CreateConsumer(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	js := &unchangeable{JetStream: cfg.JetStream}
	cfg.JetStream = js
	if _, err := cfg.source(t.Context()); err == nil || !strings.Contains(err.Error(), "it has a BackOff list") || js.updates != 0 {
		t.Errorf("error %v after %d updates, want one that names the BackOff list", err, js.updates)
	}
}

func TestConsumerThatJetStreamRefusesIsNamed(t *testing.T) {
	t.Parallel()
	cfg, stream := sourceConfig(t)
	rival := cfg.consumerConfig()
	rival.Durable = "rival" // of a work queue each message has one consumer
	if _, err := stream.CreateConsumer(t.Context(), rival); err != nil {
		t.Fatal(err)
	}
	if _, err := cfg.source(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "create consumer linepay-worker-tw: ") {
		t.Errorf("error %v, want one that names the consumer", err)
	}
}

// unchangeable is a JetStream that refuses to change a consumer.
type unchangeable struct {
	jetstream.JetStream
	updates int
}

type unchangeableStream struct {
	jetstream.Stream
	of *unchangeable
}

func (u *unchangeable) Stream(ctx context.Context, name string) (jetstream.Stream, error) {
	stream, err := u.JetStream.Stream(ctx, name)
	return unchangeableStream{stream, u}, err
}

func (u unchangeableStream) UpdateConsumer(context.Context, jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	u.of.updates++
	return nil, errors.New("permissions violation")
}

func TestConsumerIsChangedOnlyWhereItIsTooNarrow(t *testing.T) {
	t.Parallel()
	cfg, stream := sourceConfig(t)
	js := &unchangeable{JetStream: cfg.JetStream}
	cfg.JetStream = js
	for range 2 { // created, then found
		if _, err := cfg.source(t.Context()); err != nil || js.updates != 0 {
			t.Errorf("error %v after %d updates", err, js.updates)
		}
	}
	narrow := cfg.consumerConfig()
	narrow.AckWait = time.Second
	if _, err := stream.UpdateConsumer(t.Context(), narrow); err != nil {
		t.Fatal(err)
	}
	if _, err := cfg.source(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "widen AckWait of consumer linepay-worker-tw") {
		t.Errorf("error %v, want one that says what could not be widened", err)
	}
}

func TestNothingIsEarlierInAStreamWithoutCommands(t *testing.T) {
	t.Parallel()
	w, _, _, stream := pulling(t)
	if err := stream.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	if earlier, err := w.earlier(t.Context(), idempotency.Entity{}, 9); earlier || err != nil {
		t.Errorf("earlier %t, error %v", earlier, err)
	}
	if w.cfg.JetStream.DeleteStream(t.Context(), schemas.StreamCommands) != nil {
		t.Fatal("the stream cannot be deleted")
	}
	if earlier, err := w.earlier(t.Context(), idempotency.Entity{}, 9); earlier || !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("without a stream: earlier %t, error %v", earlier, err)
	}
}

// A budget is spent on what LINE Pay cannot be blamed for, also while it is down for others.
func TestBudgetIsSparedOnlyByAFaultOfLINEPays(t *testing.T) {
	t.Parallel()
	w, _ := logged(t)
	for range breakerFaults {
		_, _ = w.breaker.Execute(func() (Outcome, error) { return Outcome{}, errors.New("LINE Pay is down") })
	}
	for spares, sick := range map[bool]error{true: errNotShown, false: nil} {
		task := &task{
			worker: w, m: &Message{}, claim: &idempotency.Claim{Answer: idempotency.InDoubt, Token: "t"}, sick: sick,
			cmd: &command{Command: &schemas.Command{Operation: linepay.Confirm}},
		}
		if o := task.later("look-up failed", errNotShown); (o.spend == 0) != spares {
			t.Errorf("with LINE Pay at fault: %t; %s of the budget is spent", spares, o.spend)
		}
	}
}
