package consumer

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"linepay-worker/idempotency"
)

// The end of a quarantine says that all that was under way is done. Too early, and a command that was called is called again; never, and every
// command is looked up first for ever.
func TestQuarantineEndsOnceAllThatWasUnderWayIsDone(t *testing.T) {
	t.Parallel()
	done := func(p *past) { p.commands.messages = nil }
	longAgo := func(p *past) { p.memory.Load().restored = time.Now().Add(-p.cfg.ackWait() - time.Minute) }
	all := func(steps ...func(*past)) func(*past) {
		return func(p *past) {
			for _, step := range steps {
				step(p)
			}
		}
	}
	for name, c := range map[string]struct {
		before   func(*past)
		believed bool
		readings int // of the events, beside the first
	}{
		"it is done":                        {done, true, 1},
		"it is done, and another one waits": {all(done, func(p *past) { p.commands.put(2, "confirm", confirmOf(8)) }), true, 1},
		"it is not done":                    {func(*past) {}, false, 0},
		// What another server had on record, or a worker told without a record, may be what keeps it from being done.
		"it is not done for long":     {longAgo, false, 1},
		"the stream is away":          {all(done, func(p *past) { p.commands.away = errAway }), false, 0},
		"what is left cannot be read": {all(done, func(p *past) { p.commands.unreadable = errAway }), false, 0},
		"the events are away":         {all(done, func(p *past) { p.annals.reading = func(context.Context) error { return errAway } }), false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPast(t)
			p.underWayIs(confirmOf(7))
			known := p.mustRecall()
			c.before(p)
			restored, first := known.restored, p.annals.readings
			p.endQuarantine(t.Context(), known)
			p.wantBelieved(c.believed)
			if n := p.annals.readings - first; n != c.readings {
				t.Errorf("the events were read %d times, want %d", n, c.readings)
			}
			if again := known.restored.After(restored); again != (c.readings == 1 && p.annals.reading == nil) {
				t.Errorf("the events count as written back again: %t", again)
			}
			p.wantLogged("Redis' memory is believed", map[bool]int{true: 1}[c.believed])
		})
	}
}

// While a command is under way the events are written back no more often than it could have told something.
func TestLongQuarantineWritesBackOnceInAWhile(t *testing.T) {
	t.Parallel()
	p := newPast(t)
	p.underWayIs(confirmOf(7))
	known := p.mustRecall()
	known.restored = time.Now().Add(-p.cfg.ackWait())
	first := p.annals.readings
	for range 3 {
		p.endQuarantine(t.Context(), known)
	}
	if n := p.annals.readings - first; n != 1 {
		t.Errorf("the events were read %d times, want once", n)
	}
}

func TestWatchEndsAQuarantine(t *testing.T) {
	t.Parallel()
	p := newPast(t)
	p.underWayIs(confirmOf(7))
	p.mustRecall()
	p.commands.messages = nil
	p.watched(1)
	p.wantBelieved(true)
}

// Another worker may have ended the quarantine, or this one's word of it was lost.
func TestWatchSeesThatTheMemoryIsBelieved(t *testing.T) {
	t.Parallel()
	p := newPast(t)
	p.mustRecall()
	p.wantBelieved(true)
	p.disbelieves.Store(true)
	p.watched(1)
	if p.disbelieves.Load() {
		t.Error("the metric says for ever that it is not")
	}
}

// A flush is made up for as soon as it is noticed: until then every claim is refused.
func TestWatchMakesUpForALoss(t *testing.T) {
	t.Parallel()
	p := newPast(t)
	p.annals.happened(7)
	before := p.mustRecall()
	p.redis.FlushAll()
	p.watched(1)
	if p.memory.Load() == before {
		t.Error("it is not made up for")
	}
	p.wantOnRecord(7, idempotency.Duplicate)
	p.wantLogged("it cannot be made up for yet", 0)
}

// An operator must see why commands wait; that the worker is told to stop is no fault.
func TestLossThatCannotBeMadeUpForIsToldUnlessTheWorkerStops(t *testing.T) {
	t.Parallel()
	p := newPast(t)
	p.mustRecall()
	p.redis.FlushAll()
	p.annals.reading = func(context.Context) error { return errAway }
	p.watched(2)
	if p.log.count("it cannot be made up for yet") < 2 {
		t.Error("it is not told")
	}

	p = newPast(t)
	p.mustRecall()
	p.redis.FlushAll()
	reading := make(chan struct{}, 1)
	p.annals.reading = func(ctx context.Context) error {
		reading <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}
	p.cfg.RetryMin = time.Millisecond
	stop := p.watchMemory(t.Context())
	<-reading
	stop()
	p.wantLogged("it cannot be made up for yet", 0)
}

// While Redis is away the pull asks for it, and makes up for what is lost before it goes on; two at once would get in each other's way. Nor is
// there anything to watch before the memory has been made up for once.
func TestWatchLeavesARedisThatIsAwayToThePull(t *testing.T) {
	t.Parallel()
	p := newPast(t)
	p.watched(1) // nothing is known yet
	before := p.mustRecall()
	p.redis.FlushAll()
	p.guardDown.Store(true)
	p.watched(1)
	if p.memory.Load() != before {
		t.Error("it was made up for while Redis was away")
	}
	p.guardDown.Store(false)
	p.redis.Close() // it goes away unnoticed: the next claim will say so
	p.watched(1)
	if p.memory.Load() != before || p.log.count("cannot be made up for") > 0 {
		t.Errorf("the log says %s", &p.log.text)
	}
}

// looks counts when all epochs are looked at in one go.
type looks struct {
	mu sync.Mutex
	at []time.Time
}

func (l *looks) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (l *looks) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (l *looks) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, commands []redis.Cmder) error {
		l.mu.Lock()
		l.at = append(l.at, time.Now())
		l.mu.Unlock()
		return next(ctx, commands)
	}
}

func (l *looks) seen() []time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]time.Time(nil), l.at...)
}

// Claims keep the epochs of a busy worker alive. An idle one must not ask Redis all the time whether it still remembers.
func TestMemoryThatIsBelievedIsLookedAtSeldom(t *testing.T) {
	t.Parallel()
	p := newPast(t)
	p.mustRecall()
	p.cfg.RetryMin = 5 * time.Millisecond
	l := &looks{}
	p.store.AddHook(l)
	stop := p.watchMemory(t.Context())
	defer stop()
	var at []time.Time
	for len(at) < 5 && t.Context().Err() == nil {
		pause(t.Context(), time.Millisecond)
		at = l.seen()
	}
	for i := 1; i < len(at); i++ {
		if gap := at[i].Sub(at[i-1]); gap < heartbeat*p.cfg.RetryMin {
			t.Errorf("look %d came %s after the one before it, want %s", i, gap, heartbeat*p.cfg.RetryMin)
		}
	}
}

// The watch sleeps until its time, until a claim finds the memory gone, or until it is told to stop: whichever comes first.
func TestWatchSleepsNoLongerThanItMay(t *testing.T) {
	t.Parallel()
	for name, wake := range map[string]func(*Worker) (context.Context, time.Duration){
		"it is told to stop":  func(*Worker) (context.Context, time.Duration) { return ended(t), time.Hour },
		"its time has come":   func(*Worker) (context.Context, time.Duration) { return t.Context(), time.Millisecond },
		"a claim has told it": func(w *Worker) (context.Context, time.Duration) { w.lookAtMemory(); return t.Context(), time.Hour },
	} {
		w, _ := logged(t)
		ctx, most := wake(w)
		awake := make(chan struct{})
		go func() { w.untilForgotten(ctx, most); close(awake) }()
		select {
		case <-awake:
		case <-time.After(10 * time.Second):
			t.Errorf("it sleeps on, though %s", name)
		}
	}
}

// Many claims find the memory gone at once, and none of them waits for the watch to hear it.
func TestClaimThatFindsTheMemoryGoneHasItLookedAt(t *testing.T) {
	t.Parallel()
	w, _ := logged(t)
	for sequence := range uint64(3) {
		m := &Message{Sequence: sequence + 1, Deliveries: 1}
		if fate := w.unclaimed(t.Context(), m, nil, idempotency.ErrForgotten); fate.Kind != Wait {
			t.Errorf("the fate is %s: %s, want wait", fate.Kind, fate.Why)
		}
		if w.deliveries.redelivered(sequence+1, 2) {
			t.Error("its next delivery counts as one that may have been called before")
		}
	}
	if len(w.forgotten) != 1 {
		t.Error("nobody is told to look at the memory")
	}
}
