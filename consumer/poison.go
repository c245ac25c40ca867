package consumer

import (
	"context"
	"fmt"
	"math"
	"runtime/debug"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"linepay-worker/idempotency"
	"linepay-worker/schemas"
)

// A command can take its worker down: by a panic, which ends here, or by a crash of the process, of which only claims are left that nobody
// comes back to. All that the process had in hand is suspected then. After a second crash a suspect is handled with nothing else in hand, so
// that a third one is its own doing, and the others are cleared. Where others wait to be cleared, a third crash may have hit just anybody, and
// a fourth one decides.

// What idempotency.Claim.Suspicion leads to.
const (
	suspicious = 2 // it is handled alone
	poisonous  = 4 // it is parked
)

// Hands are what the workers of one process have in hand together: each command takes one, a suspect all of them.
type Hands struct {
	free     *semaphore.Weighted
	suspects atomic.Int64 // that have, or wait for, all of them
}

const allHands = math.MaxInt64

// NewHands gives what the workers of one process share.
func NewHands() *Hands { return &Hands{free: semaphore.NewWeighted(allHands)} }

// take waits for one hand, or for all of them; those who come later wait for it. It is called in the order of turns.
func (h *Hands) take(ctx context.Context, m *Message) (give func()) {
	m.turn.follow() // nobody with a hand may wait for one who has none, who may be waiting behind a suspect, who waits for that hand
	if !m.alone {
		return h.acquire(ctx, 1)
	}
	m.turn.done()
	m.turn = nil
	h.suspects.Add(1)
	let := h.acquire(ctx, allHands)
	m.only = h.suspects.Load() == 1
	return func() { h.suspects.Add(-1); let() }
}

func (h *Hands) acquire(ctx context.Context, n int64) (give func()) {
	if h.free.Acquire(ctx, n) != nil { // the shutdown grace is over
		return func() {}
	}
	return func() { h.free.Release(n) }
}

// handleSafely turns a panic into a fate: the one command is parked, and the process goes on with the others.
func (w *Worker) handleSafely(ctx context.Context, m *Message) (fate Fate) {
	defer w.cfg.Hands.take(ctx, m)()
	defer func() {
		if p := recover(); p != nil {
			w.cfg.Logger.Error().Uint64("sequence", m.Sequence).Str("panic", fmt.Sprintf("%T", p)).Bytes("stack", debug.Stack()).Msg("panic")
			fate = w.poisoned(ctx, m, fmt.Sprintf("its handling panicked with a %T; the worker's log has the stack", p))
		}
	}()
	return w.Handle(ctx, m)
}

// poisoned parks a command whose handling panicked, unless its answer is on record already. If even that panics, it comes back later.
func (w *Worker) poisoned(ctx context.Context, m *Message, detail string) (fate Fate) {
	fate = retry(w.cfg.RetryMax, "panic", nil)
	defer func() { _ = recover() }()
	m.turn.done()
	cmd, err := w.decode(m)
	if err != nil {
		return w.unreadable(ctx, m, err)
	}
	claim := m.claim
	if claim == nil {
		claim = &idempotency.Claim{Now: time.Now()}
	}
	if !claim.Granted() && claim.Answer != 0 {
		return fate
	}
	moved := schemas.MoneyMovedNo
	if cmd.Operation.MovesMoney() && (claim.Granted() || m.Redelivered) {
		moved = schemas.MoneyMovedUnknown
	}
	t := &task{worker: w, m: m, cmd: cmd, claim: claim, redis: claim.Now, answered: time.Now()}
	return w.publish(ctx, m, w.settle(ctx, claim, t.parkedFor(schemas.ReasonPoison, detail, "", moved)))
}

// isSuspect: processes have crashed with the command in hand, so that it may not be handled here and now.
func (t *task) isSuspect() bool {
	return t.claim.Granted() && t.claim.Suspicion >= suspicious && (!t.m.alone || t.claim.Suspicion >= poisonous)
}

// suspected: processes have crashed with this command in hand. It steps aside, to come back alone; or it is parked without another try, not
// even a look-up, which may be what took them down.
func (t *task) suspected() Outcome {
	if t.claim.Suspicion >= poisonous {
		moved := schemas.MoneyMovedNo
		if t.cmd.Operation.MovesMoney() {
			moved = schemas.MoneyMovedUnknown
		}
		o := t.parkedFor(schemas.ReasonPoison, "worker processes end without a word whenever they have this command in hand, and nothing else", t.notes.Code, moved)
		o.aside = true // where its owner is to be parked instead
		return o
	}
	t.worker.deliveries.suspect(t.m.Sequence)
	o := t.stillInDoubt(undecided(wait(leastDelay, "two processes crashed with it in hand: it is handled alone")))
	o.aside = true
	return o
}
