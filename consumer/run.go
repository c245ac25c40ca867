package consumer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/sony/gobreaker/v2"
	"golang.org/x/time/rate"

	"linepay-worker/consumer/pull"
	"linepay-worker/idempotency"
	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// Worker carries out the commands of one channel.
type Worker struct {
	cfg         Config
	breaker     *breaker
	rate        *rate.Limiter
	order       *claimOrder
	deliveries  deliveries
	memory      atomic.Pointer[memory]
	usual       atomic.Int64  // nanoseconds that the handling of a command has taken lately
	forgotten   chan struct{} // a claim has found that Redis lost its memory
	disbelieves atomic.Bool   // Redis has forgotten something that is not made up for yet
	guardDown   atomic.Bool   // Redis did not answer a claim, or has not been asked yet: pull nothing until it does
	pulling     atomic.Bool
	round       atomic.Int64            // when the loop of Run went round last, in ns since 1970; 0 before the first time
	unpublished atomic.Pointer[error]   // why the last event or dead letter could not be stored, nil if it could
	trouble     atomic.Pointer[trouble] // what LINE Pay last had against us, nil while it works
	metrics     metrics
}

// New checks the configuration. Nothing is connected to before Run.
func New(cfg Config) (*Worker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	w := &Worker{
		cfg:        cfg.withDefaults(),
		order:      &claimOrder{last: map[idempotency.Entity]*turn{}},
		deliveries: newDeliveries(),
		forgotten:  make(chan struct{}, 1),
	}
	w.cfg.Logger = cfg.Logger.With().Str("channel", cfg.Channel).Logger()
	w.breaker = newBreaker(w)
	w.rate = rate.NewLimiter(rate.Inf, 1)
	if cfg.Rate > 0 {
		w.rate = rate.NewLimiter(rate.Limit(cfg.Rate), 1)
	}
	w.usual.Store(int64(time.Minute)) // for as long as nothing is known
	w.cfg.LINEPay = cfg.LINEPay.Observed(w.beginCall)
	w.metrics = newMetrics(cfg.Metrics, w)
	return w, nil
}

const (
	breakerFaults = 10              // faults of LINE Pay in a row that open the breaker, unless the channel has a number of its own
	breakerPauses = 5               // of RetryMin each, until one command may try again; likewise
	longestPull   = 2 * time.Second // how long a pull waits for messages; a stopping worker waits that long for its last one
)

// Prepare makes sure that the channel's consumer is there, as Run does, and may be asked before it.
func (w *Worker) Prepare(ctx context.Context) error {
	_, err := w.cfg.source(ctx)
	return err
}

// SetSecret signs calls that begin from now on with another secret, while the worker runs. It ends a suspension at once: LINE Pay may
// accept the channel now.
func (w *Worker) SetSecret(secret linepay.Secret) error {
	if err := w.cfg.LINEPay.SetSecret(secret); err != nil {
		return err
	}
	w.breaker.renew()
	return nil
}

// Run carries commands out until ctx ends. Then it pulls nothing more, finishes what is in flight within ShutdownGrace, and returns
// nil; what is unfinished by then is in doubt, and the next worker looks it up.
func (w *Worker) Run(ctx context.Context) error {
	err := pull.Answered(ctx, func() error { return w.Prepare(ctx) })
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	stopping, stop := context.WithCancel(ctx)
	defer stop()
	alive, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	s := newShift(stopping, alive, w.cfg.Concurrency)
	s.handlers.Go(func() { // what waits in this process is handed back at once, though all handlers may be busy
		<-stopping.Done()
		for d := range s.delivered {
			s.handlers.Go(func() { w.work(s, d) })
		}
	})
	w.guardDown.Store(true) // until Redis' memory has been looked at
	defer w.watchMemory(ctx)()
	for w.readyToPull(ctx) {
		n := s.slots.take(ctx, w.ahead)
		if n == 0 {
			break
		}
		w.pull(s, n)
		if w.cfg.JetStream.Conn().IsClosed() {
			err = errors.New("the connection to NATS is closed for good")
			break
		}
	}
	stop()
	close(s.delivered)
	return errors.Join(err, w.finish(cancel, &s.handlers))
}

// pull asks for n messages, has each handled that comes, and gives back the slots of those that did not. There is one pull at a time: JetStream
// spreads messages over all that wait, and their order would be lost.
func (w *Worker) pull(s *shift, n int) {
	wait := min(longestPull, 5*w.cfg.RetryMin)
	err := pull.Fetch(s.alive, w.cfg.JetStream, schemas.StreamCommands, ConsumerName(w.cfg.Channel), n, wait, func(msg *nats.Msg) {
		n--
		s.last = next(s.last)
		s.delivered <- w.delivery(msg, s.last)
		if s.running < w.cfg.Concurrency { // it stays, for messages that come later
			s.running++
			s.handlers.Go(func() {
				for d := range s.delivered {
					w.work(s, d)
				}
			})
		}
	})
	s.slots.give(n)
	if err != nil {
		w.pullFailed(s.stopping, err)
		return
	}
	if !w.pulling.Swap(true) {
		w.cfg.Logger.Info().Msg("taking commands")
	}
}

// work handles one message, and carries its fate out.
func (w *Worker) work(s *shift, d delivery) {
	defer s.slots.give(1)
	defer d.turn.done()
	began, ctx := time.Now(), s.alive
	m, err := w.message(d.msg, d.turn)
	if err != nil {
		d.letGo()
		w.conclude(ctx, d.msg, retry(w.cfg.RetryMax, "the message has no JetStream metadata", err))
		return
	}
	w.metrics.inFlight.Inc()
	defer w.metrics.inFlight.Dec()
	m.stopping, m.arrived = s.stopping.Done(), d.at
	var fate Fate
	if w.rate.Wait(s.stopping) == nil { // before the claim, whose time runs
		fate = w.handleSafely(ctx, m)
	} else {
		fate = w.handBack(ctx, m)
	}
	d.letGo()
	if fate.Kind == Ack {
		w.deliveries.forget(m.Sequence)
	}
	w.note(time.Since(began))
	w.observe(m, fate, time.Since(d.at))
	w.conclude(ctx, d.msg, fate)
}

// conclude carries a fate out: the only acknowledgements there are. While NATS is away it tries again, for as long as JetStream keeps the
// message for this worker, unless the connection is closed for good; a fate that is lost all the same costs a redelivery, which the record answers.
func (w *Worker) conclude(ctx context.Context, msg *nats.Msg, f Fate) {
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
		gone := errors.Is(err, nats.ErrConnectionClosed) // for good
		if !gone {
			pause(ctx, w.cfg.RetryMin)
		}
		if gone || ctx.Err() != nil {
			w.cfg.Logger.Warn().Err(err).Stringer("fate", f.Kind).Msg("the fate of a message could not be sent; JetStream will deliver it again")
			return
		}
	}
}

func (w *Worker) message(msg *nats.Msg, turn *turn) (*Message, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return nil, err
	}
	return &Message{
		Subject: msg.Subject, Header: msg.Header, Body: msg.Data,
		Sequence: meta.Sequence.Stream, Deliveries: meta.NumDelivered, Stored: meta.Timestamp,
		Replay:      schemas.ParseReplay(msg.Header.Get(schemas.HeaderReplay)),
		Redelivered: w.deliveries.redelivered(meta.Sequence.Stream, meta.NumDelivered),
		alone:       w.deliveries.suspected(meta.Sequence.Stream),
		turn:        turn,
	}, nil
}

// readyToPull waits while Redis is away, and while the breaker keeps commands from LINE Pay. It is false when ctx has ended.
func (w *Worker) readyToPull(ctx context.Context) bool {
	for ctx.Err() == nil {
		w.round.Store(time.Now().UnixNano())
		switch {
		case w.guardDown.Load() && w.recallNow(ctx):
			w.guardDown.Store(false)
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
	case w.stalled() > 0:
		return fmt.Errorf("the pull of commands has stalled: none was begun for %s", w.stalled().Round(time.Second))
	case w.unpublished.Load() != nil:
		return fmt.Errorf("what is done cannot be told: %w", *w.unpublished.Load())
	default:
		return nil
	}
}

// stalled is for how long no pull was begun, if that is longer than commands in hand, a pull and the sending of a fate can hold one up. It is 0
// while all is well.
func (w *Worker) stalled() time.Duration {
	last := w.round.Load()
	since := time.Since(time.Unix(0, last))
	if last == 0 || since < 2*w.cfg.ackWait()+longestPull {
		return 0
	}
	return since
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
	if _, err := w.cfg.source(ctx); err != nil && ctx.Err() == nil { // where it was deleted, it is created again
		w.cfg.Logger.Warn().Err(err).Msg("no consumer to pull from")
	}
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
