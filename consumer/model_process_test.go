package consumer_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"github.com/rs/zerolog"

	"linepay-worker/consumer"
	"linepay-worker/idempotency"
	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
)

// modelProcess is a worker process. When it dies another one takes its place.
type modelProcess struct {
	w        *modelWorld
	number   int
	resumes  time.Time // it stands still until then
	dead     bool      // guarded by modelWorld.mu
	died     chan struct{}
	wire     *modelWire
	stopping bool

	consumer *jetstream.ConsumerConfig // once it has made it
	store    *redis.Client
	server   int64         // of Redis, that its connections lead to
	dialling chan struct{} // one connection at a time
	stop     context.CancelFunc
	ended    chan struct{}

	why    map[uint64]string        // what the log said last, by sequence
	pauses map[uint64]time.Duration // drawn for a retry, by sequence
	spent  map[uint64]time.Duration
}

// oneByOne is a client that does not send scripts in pipelines: these arrive in one order, and the model tries them all.
type oneByOne struct{ *redis.Client }

func (w *modelWorld) start() {
	p := &modelProcess{
		w: w, number: len(w.processes) + 1, ended: make(chan struct{}), died: make(chan struct{}),
		server: -1, dialling: make(chan struct{}, 1),
		why: map[uint64]string{}, pauses: map[uint64]time.Duration{}, spent: map[uint64]time.Duration{},
	}
	w.processes = append(w.processes, p)
	store := redis.NewClient(&redis.Options{ // it connects to nothing: the hook answers
		Addr: "127.0.0.1:1", MaxRetries: -1,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	store.AddHook(modelRedisHook{p})
	p.store = store
	guard, err := idempotency.New(idempotency.Config{
		Redis: oneByOne{store}, Retention: 90 * 24 * time.Hour, Cautious: w.plan.cautious,
	})
	if err != nil {
		panic(err)
	}
	channel := simulator.DefaultChannel()
	client, err := linepay.New(linepay.Config{
		BaseURL: "https://linepay.example", ChannelID: channel.ID, Secret: channel.Secret, Transport: modelTransport{p},
	})
	if err != nil {
		panic(err)
	}
	worker, err := consumer.New(consumer.Config{
		Channel: modelChannel, ChannelID: channel.ID, LINEPay: client, Guard: guard, Bus: modelBus{p}, JetStream: modelJetStream{p: p},
		Concurrency: w.plan.concurrency, RetryBudget: w.plan.budget, RetryMax: min(5*time.Minute, w.plan.budget), Provision: true,
		Logger: zerolog.New(modelLog{p}),
	})
	if err != nil {
		panic(err)
	}
	p.wire = newModelWire(p)
	var ctx context.Context
	ctx, p.stop = context.WithCancel(context.Background())
	go func() {
		defer close(p.ended)
		if err := worker.Run(ctx); err != nil && !p.gone() {
			w.tell("process %d ended: %v", p.number, err)
		}
	}()
}

// crash ends a process: nothing of it touches the world any more. Another one starts later.
func (w *modelWorld) crash(p *modelProcess) {
	w.bury(p)
	if !p.stopping { // else there is another one already
		w.at(time.Second+w.some(time.Minute), nil, w.start)
	}
}

func (w *modelWorld) bury(p *modelProcess) {
	w.mu.Lock()
	if !p.dead {
		p.dead = true
		close(p.died)
	}
	w.mu.Unlock()
	p.stop()
	p.wire.cut()
	w.nats.forget(p)
}

// shutDown tells a process to stop, as SIGTERM does. Another one starts.
func (w *modelWorld) shutDown(p *modelProcess) {
	w.tell("process %d is told to stop", p.number)
	p.stopping = true
	p.stop()
	w.at(w.some(10*time.Second), nil, w.start)
}

// alive are the processes that run.
func (w *modelWorld) alive() []*modelProcess {
	return slices.DeleteFunc(slices.Clone(w.processes), func(p *modelProcess) bool { return p.dead || p.stopping })
}

// finish ends all processes and lets their goroutines end.
func (w *modelWorld) finish() {
	for _, p := range w.processes {
		w.bury(p)
	}
	for _, p := range w.processes {
		<-p.ended
	}
	time.Sleep(w.nats.ackWait) // for the goroutines that keep messages alive
}

// The worker's pauses between tries are random. Those that matter are drawn again from the world's dice, within the same bounds, or no seed
// would tell its story twice.

const modelRetryMin = time.Second

func (w *modelWorld) jitter(spent time.Duration) time.Duration {
	most := min(max(2*spent, modelRetryMin), 5*time.Minute, w.plan.budget)
	return modelRetryMin/2 + w.some(most).Truncate(time.Millisecond)
}

// fixPause replaces the pause in a release that counts against the budget.
func (p *modelProcess) fixPause(args []any) []any {
	argv := scriptArgs(args)
	if !isRelease(argv) || fmt.Sprint(argv[4]) == "0" {
		return args
	}
	args = slices.Clone(args)
	argv = scriptArgs(args)
	sequence, _ := strconv.ParseUint(fmt.Sprint(argv[12]), 10, 64)
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if _, drawn := p.pauses[sequence]; !drawn {
		dice := rand.New(rand.NewPCG(p.w.plan.seed, sequence<<32|uint64(p.spent[sequence]/time.Millisecond)))
		most := min(max(2*p.spent[sequence], modelRetryMin), 5*time.Minute, p.w.plan.budget)
		p.pauses[sequence] = (modelRetryMin/2 + time.Duration(dice.Int64N(int64(most)))).Truncate(time.Millisecond)
	}
	argv[3], argv[4] = p.pauses[sequence].Milliseconds(), p.pauses[sequence].Milliseconds()
	return args
}

// pause is how long a message that was given back stays away.
func (w *modelWorld) pause(p *modelProcess, m *modelMessage, asked time.Duration) time.Duration {
	w.mu.Lock()
	why, fixed := p.why[m.sequence], p.pauses[m.sequence]
	delete(p.pauses, m.sequence)
	w.mu.Unlock()
	switch {
	case strings.HasPrefix(why, "busy"):
		if w.dice.IntN(3) == 0 {
			return 20*time.Millisecond + w.some(2*time.Second)
		}
		return 2*time.Second + w.some(18*time.Second) // JetStream may be late, and polling is dear
	case fixed > 0:
		return fixed
	case slices.Contains([]string{"no claim", "dead letter not stored", "event not stored"}, why):
		return w.jitter(0)
	case slices.Contains([]string{"outcome unknown", "not sent", "look-up failed", "events of the order cannot be read"}, why):
		pause := w.jitter(time.Since(m.stored))
		if w.plan.class == "ordered" { // where the place in the line counts: it is kept until the owner is back, or late
			pause = min(pause, asked+5*time.Second)
		}
		return pause
	default:
		return asked
	}
}

// modelLog reads the worker's log: one line for each fate.
type modelLog struct{ p *modelProcess }

func (l modelLog) Write(line []byte) (int, error) {
	var sequence uint64
	text := string(line)
	if _, rest, found := strings.Cut(text, `"sequence":`); found {
		_, _ = fmt.Sscan(strings.SplitN(rest, ",", 2)[0], &sequence)
	}
	fate, why := logged(text, "fate"), logged(text, "why")
	l.p.w.mu.Lock()
	defer l.p.w.mu.Unlock()
	if l.p.dead {
		return len(line), nil
	}
	if fate != "" {
		l.p.why[sequence] = why
		l.p.w.seen.fate(logged(text, "operation"), fate, why)
	}
	if logged(text, "message") == "panic" {
		l.p.w.broken = append(l.p.w.broken, "a panic: "+text)
	}
	l.p.w.tell("process %d: %s", l.p.number, strings.TrimSpace(text))
	return len(line), nil
}

func logged(line, field string) string {
	_, rest, _ := strings.Cut(line, `"`+field+`":"`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}
