package consumer_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"linepay-worker/linepay"
)

// modelWorld is everything outside the workers, driven by one goroutine, its dice and a virtual clock. Workers run as they are; wherever one
// of them touches Redis, LINE Pay or NATS it stands still until the world answers. The world acts only while all workers stand still, so that
// a seed always tells the same story.
type modelWorld struct {
	plan  *modelPlan
	dice  *rand.Rand
	story func(string) // nil: nobody listens
	began time.Time
	seen  *modelCoverage

	redis     *memoryRedis
	nats      *modelNATS
	pay       *modelPay
	processes []*modelProcess
	calm      bool                           // faults are over
	before    map[linepay.TransactionID]int  // effects from before the schedule
	byHand    map[linepay.TransactionID]bool // refunds that a person made
	sent      map[uint64]*modelCommand       // by sequence
	replays   map[string]int                 // by command
	planned   int                            // what is still to happen in any case

	mu      sync.Mutex
	arrived []*modelStep
	wake    chan struct{}
	broken  []string // what should never happen

	events []*modelEvent
	serial int
}

// modelEvent is something that will happen.
type modelEvent struct {
	at     time.Time
	serial int
	p      *modelProcess // who has to be running for it; nil: nobody
	do     func()
}

// modelStep is a worker's touch of the world.
type modelStep struct {
	p      *modelProcess
	what   string
	ctx    context.Context
	handle func(*modelStep)
	done   chan struct{}
	err    error
}

// at has something happen after a delay.
func (w *modelWorld) at(after time.Duration, p *modelProcess, do func()) {
	w.serial++
	w.events = append(w.events, &modelEvent{time.Now().Add(max(after, 0)), w.serial, p, do})
}

func (w *modelWorld) breaks(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.broken = append(w.broken, what)
}

func (w *modelWorld) tell(format string, args ...any) {
	if w.story != nil {
		w.story(fmt.Sprintf("%9.3f  ", time.Since(w.began).Seconds()) + fmt.Sprintf(format, args...))
	}
}

// some is a random time up to a limit.
func (w *modelWorld) some(most time.Duration) time.Duration {
	return time.Duration(w.dice.Int64N(int64(most)))
}

// strike says which of n faults strikes, if any: 0 is none.
func (w *modelWorld) strike(probability float64, n int) int {
	if w.calm || w.dice.Float64() >= probability {
		return 0
	}
	return 1 + w.dice.IntN(n)
}

// contact is called by workers. The world handles it and answers in its own time; ctx bounds how long the worker waits for that.
func (p *modelProcess) contact(ctx context.Context, what string, handle func(*modelStep)) error {
	s := &modelStep{p: p, what: what, ctx: ctx, handle: handle, done: make(chan struct{})}
	p.w.arrive(s)
	var err error
	select {
	case <-s.done:
		err = s.err
	case <-ctx.Done():
		err = ctx.Err()
	case <-p.died:
	}
	if p.gone() {
		return errDead
	}
	return err
}

// errDead is what is left of a process that has died: it hears nothing but errors, and nobody hears of it, until its goroutines have ended.
var errDead = errors.New("the process is dead")

// notify is a contact without an answer.
func (p *modelProcess) notify(what string, handle func()) {
	s := &modelStep{p: p, what: what, ctx: context.Background(), done: make(chan struct{})}
	s.handle = func(*modelStep) { handle() }
	p.w.arrive(s)
}

func (w *modelWorld) arrive(s *modelStep) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.p.dead {
		close(s.done)
		return
	}
	w.arrived = append(w.arrived, s)
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (p *modelProcess) gone() bool {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	return p.dead
}

func (p *modelProcess) paused() bool { return time.Now().Before(p.resumes) }

// answer lets the worker go on.
func (s *modelStep) answer(after time.Duration, err error) {
	release := func() {
		s.err = err
		close(s.done)
	}
	if after == 0 && !s.p.paused() {
		release()
		return
	}
	s.p.w.at(after, s.p, release)
}

// admit takes in what has arrived, in an order that does not depend on the machine.
func (w *modelWorld) admit() {
	w.mu.Lock()
	arrived := w.arrived
	w.arrived = nil
	w.mu.Unlock()
	slices.SortStableFunc(arrived, func(a, b *modelStep) int {
		return cmp.Or(cmp.Compare(a.p.number, b.p.number), strings.Compare(a.what, b.what))
	})
	for _, s := range arrived {
		w.at(w.some(2*time.Millisecond), s.p, func() { w.meet(s) })
	}
}

// meet handles a step; before or after it the process may crash or stand still.
func (w *modelWorld) meet(s *modelStep) {
	misfortune := w.strike(w.plan.faults.crash, 2)
	if misfortune == 1 {
		w.tell("process %d crashes before: %s", s.p.number, s.what)
		w.crash(s.p)
		return
	}
	if w.strike(w.plan.faults.pause, 1) > 0 {
		s.p.resumes = time.Now().Add(w.some(4 * time.Minute))
		w.tell("process %d stands still for %s at: %s", s.p.number, time.Until(s.p.resumes), s.what)
		if w.dice.IntN(2) == 0 { // before it reaches the world
			w.at(0, s.p, func() { w.handle(s) })
			return
		}
	}
	w.handle(s)
	if misfortune == 2 {
		w.tell("process %d crashes after: %s", s.p.number, s.what)
		w.crash(s.p)
	}
}

func (w *modelWorld) handle(s *modelStep) {
	if s.ctx.Err() == nil { // else the worker has gone on without it
		s.handle(s)
	}
	w.mu.Lock() // what was written for the worker is written before it looks
	defer w.mu.Unlock()
}

// run lets things happen until finished says so, or the limit of virtual time is reached.
func (w *modelWorld) run(limit time.Duration, finished func() bool) bool {
	end := time.Now().Add(limit)
	for {
		synctest.Wait()
		w.admit()
		w.nats.deliver()
		synctest.Wait()
		w.admit()
		if finished() {
			return true
		}
		if !time.Now().Before(end) {
			return false
		}
		e, until := w.next(), end
		if e != nil && e.at.Before(end) {
			until = e.at
		}
		if d := time.Until(until); d > 0 {
			timer := time.NewTimer(d)
			select {
			case <-w.wake:
				timer.Stop()
			case <-timer.C:
			}
			continue // somebody's timer may have fired at the same moment
		}
		w.events = slices.DeleteFunc(w.events, func(other *modelEvent) bool { return other == e })
		if e.p != nil && e.p.dead {
			continue
		}
		if e.p != nil && e.p.paused() {
			w.at(time.Until(e.p.resumes)+w.some(time.Millisecond), e.p, e.do)
			continue
		}
		e.do()
	}
}

func (w *modelWorld) next() (first *modelEvent) {
	for _, e := range w.events {
		if first == nil || e.at.Before(first.at) || e.at.Equal(first.at) && e.serial < first.serial {
			first = e
		}
	}
	return first
}
