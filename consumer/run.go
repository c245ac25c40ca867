package consumer

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sony/gobreaker/v2"
	"golang.org/x/time/rate"

	"linepay-worker/idempotency"
	"linepay-worker/schemas"
)

// Worker carries out the commands of one channel.
type Worker struct {
	cfg        Config
	breaker    *gobreaker.CircuitBreaker[Outcome]
	rate       *rate.Limiter
	order      *claimOrder
	deliveries deliveries
	guardDown  atomic.Bool // Redis did not answer a claim: pull nothing until it does
	pulling    atomic.Bool
	trouble    atomic.Pointer[trouble] // what LINE Pay last had against us, nil while it works
	metrics    metrics
}

// New checks the configuration. Nothing is connected to before Run.
func New(cfg Config) (*Worker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	w := &Worker{
		cfg:        cfg.withDefaults(),
		order:      &claimOrder{last: map[idempotency.Entity]*turn{}},
		deliveries: deliveries{unclaimed: map[uint64]uint64{}},
	}
	w.cfg.Logger = cfg.Logger.With().Str("channel", cfg.Channel).Logger()
	w.breaker = gobreaker.NewCircuitBreaker[Outcome](gobreaker.Settings{
		Name: cfg.Channel, Timeout: breakerPauses * w.cfg.RetryMin,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			return c.ConsecutiveFailures >= breakerFaults || w.trouble.Load().withChannel()
		},
		OnStateChange: func(_ string, from, to gobreaker.State) {
			w.cfg.Logger.Warn().Stringer("from", from).Stringer("to", to).Str("trouble", w.trouble.Load().String()).Msg("circuit breaker")
		},
	})
	w.rate = rate.NewLimiter(rate.Inf, 1)
	if cfg.Rate > 0 {
		w.rate = rate.NewLimiter(rate.Limit(cfg.Rate), 1)
	}
	w.metrics = newMetrics(cfg.Metrics, cfg.Channel)
	return w, nil
}

const (
	breakerFaults = 10              // faults of LINE Pay in a row that open the breaker
	breakerPauses = 5               // of RetryMin each, until one command may try again
	longestPull   = 2 * time.Second // how long a pull waits for messages; a stopping worker waits that long for its last one
)

// Run carries commands out until ctx ends. Then it pulls nothing more, finishes what is in flight within ShutdownGrace, and returns
// nil; what is unfinished by then is in doubt, and the next worker looks it up.
func (w *Worker) Run(ctx context.Context) error {
	source, err := w.cfg.source(ctx)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	alive, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	slots := newSlots(w.cfg.Concurrency)
	var handlers sync.WaitGroup
	var last *turn
	for w.readyToPull(ctx) && slots.take(ctx) {
		last = w.pull(alive, source, slots, 1+slots.takeFree(), last, &handlers)
	}
	return w.finish(cancel, &handlers)
}

// pull asks for as many messages as there are free slots, starts the handling of each as it comes, and gives back the slots of those
// that did not. There is one pull at a time: JetStream spreads messages over all that wait, and their order would be lost.
func (w *Worker) pull(ctx context.Context, source jetstream.Consumer, slots slots, n int, last *turn, handlers *sync.WaitGroup) *turn {
	batch, err := source.Fetch(n, jetstream.FetchMaxWait(min(longestPull, 5*w.cfg.RetryMin)))
	if err != nil {
		slots.give(n)
		w.pullFailed(ctx, err)
		return last
	}
	for msg := range batch.Messages() {
		n--
		last = next(last)
		turn := last
		handlers.Go(func() {
			defer slots.give(1)
			defer turn.done()
			w.work(ctx, msg, turn)
		})
	}
	slots.give(n)
	if err := batch.Error(); err != nil && !errors.Is(err, nats.ErrTimeout) {
		w.pullFailed(ctx, err)
		return last
	}
	if !w.pulling.Swap(true) {
		w.cfg.Logger.Info().Msg("taking commands")
	}
	return last
}

// work handles one message, keeps it alive meanwhile, and carries its fate out.
func (w *Worker) work(ctx context.Context, msg jetstream.Msg, turn *turn) {
	began := time.Now()
	m, err := w.message(msg, turn)
	if err != nil {
		w.conclude(ctx, msg, retry(w.cfg.RetryMax, "the message has no JetStream metadata", err))
		return
	}
	w.metrics.inFlight.Inc()
	defer w.metrics.inFlight.Dec()
	stop := keepAlive(msg, w.cfg.ackWait()/3)
	_ = w.rate.Wait(ctx) // before the claim, whose time runs; it fails only when ctx has ended, and then the calls tell
	fate := w.handleSafely(ctx, m)
	stop()
	if fate.Kind == Ack {
		w.deliveries.forget(m.Sequence)
	}
	w.observe(m, fate, time.Since(began))
	w.conclude(ctx, msg, fate)
}

// handleSafely turns a panic into a fate: one command comes back later, and the process goes on with the others.
func (w *Worker) handleSafely(ctx context.Context, m *Message) (fate Fate) {
	defer func() {
		if p := recover(); p != nil {
			w.cfg.Logger.Error().Uint64("sequence", m.Sequence).Str("panic", fmt.Sprintf("%T", p)).Bytes("stack", debug.Stack()).Msg("panic")
			fate = retry(w.cfg.RetryMax, "panic", nil)
		}
	}()
	return w.Handle(ctx, m)
}

// conclude carries a fate out: the only acknowledgements there are. While NATS is away it tries again, for as long as JetStream keeps the
// message for this worker; a fate that is lost all the same costs a redelivery, which the record answers.
func (w *Worker) conclude(ctx context.Context, msg jetstream.Msg, f Fate) {
	ctx, cancel := context.WithTimeout(ctx, w.cfg.ackWait())
	defer cancel()
	for {
		var err error
		if f.Kind == Ack {
			err = msg.Ack()
		} else {
			err = msg.NakWithDelay(f.After)
		}
		if err == nil {
			return
		}
		pause(ctx, w.cfg.RetryMin)
		if ctx.Err() != nil {
			w.cfg.Logger.Warn().Err(err).Stringer("fate", f.Kind).Msg("the fate of a message could not be sent; JetStream will deliver it again")
			return
		}
	}
}

func (w *Worker) message(msg jetstream.Msg, turn *turn) (*Message, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return nil, err
	}
	replay, _ := strconv.ParseUint(nats.Header(msg.Headers()).Get(schemas.HeaderReplay), 10, 64)
	return &Message{
		Subject: msg.Subject(), Header: msg.Headers(), Body: msg.Data(),
		Sequence: meta.Sequence.Stream, Deliveries: meta.NumDelivered, Stored: meta.Timestamp, Replay: replay,
		Redelivered: w.deliveries.redelivered(meta.Sequence.Stream, meta.NumDelivered),
		turn:        turn,
	}, nil
}

// keepAlive tells JetStream that a message is being worked on, until it is stopped.
func keepAlive(msg jetstream.Msg, every time.Duration) (stop func()) {
	stopped := make(chan struct{})
	var alive sync.WaitGroup
	alive.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-stopped:
				return
			case <-tick.C:
				_ = msg.InProgress() // a lost one is followed by another
			}
		}
	})
	return func() { close(stopped); alive.Wait() }
}

// readyToPull waits while Redis is away, and while the breaker keeps commands from LINE Pay. It is false when ctx has ended.
func (w *Worker) readyToPull(ctx context.Context) bool {
	for ctx.Err() == nil {
		switch {
		case w.guardDown.Load() && w.cfg.Guard.Ping(ctx) == nil:
			w.guardDown.Store(false)
			w.cfg.Logger.Info().Msg("Redis answers again")
		case w.guardDown.Load(), w.breaker.State() == gobreaker.StateOpen:
			pause(ctx, w.cfg.RetryMin/4)
		default:
			return true
		}
	}
	return false
}

// Ready says why the worker is not working, if it is not: for readiness.
func (w *Worker) Ready(context.Context) error {
	switch {
	case w.guardDown.Load():
		return errors.New("no answer from Redis: no call is made, and commands wait")
	case w.breaker.State() != gobreaker.StateClosed:
		return fmt.Errorf("the circuit breaker is %s: %s", w.breaker.State(), w.trouble.Load())
	case !w.pulling.Load():
		return errors.New("not pulling commands from JetStream")
	default:
		return nil
	}
}

// pullFailed reports why there are no messages and gives NATS a moment.
func (w *Worker) pullFailed(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	if w.pulling.Swap(false) {
		w.cfg.Logger.Warn().Err(err).Msg("no commands from JetStream; trying again")
	}
	pause(ctx, w.cfg.RetryMin)
}

// finish waits for the commands in flight, no longer than the grace.
func (w *Worker) finish(cancel context.CancelFunc, handlers *sync.WaitGroup) error {
	finished := make(chan struct{})
	go func() {
		handlers.Wait()
		close(finished)
	}()
	grace := time.NewTimer(w.cfg.ShutdownGrace)
	defer grace.Stop()
	select {
	case <-finished:
		return nil
	case <-grace.C:
		cancel()
		return fmt.Errorf("channel %s: commands still in flight after the shutdown grace of %s; they are in doubt and will be looked up",
			w.cfg.Channel, w.cfg.ShutdownGrace)
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// slots bound the commands in flight.
type slots chan struct{}

func newSlots(n int) slots {
	s := make(slots, n)
	s.give(n)
	return s
}

// take waits for one slot. It is false when ctx ended first.
func (s slots) take(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-s:
		return true
	}
}

// takeFree takes the slots that are free right now.
func (s slots) takeFree() (n int) {
	for {
		select {
		case <-s:
			n++
		default:
			return n
		}
	}
}

func (s slots) give(n int) {
	for range n {
		s <- struct{}{}
	}
}
