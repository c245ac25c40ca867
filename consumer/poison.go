package consumer

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"linepay-worker/idempotency"
	"linepay-worker/schemas"
)

// handleSafely turns a panic into a fate: the one command is parked, and the process goes on with the others.
func (w *Worker) handleSafely(ctx context.Context, m *Message) (fate Fate) {
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
	if !claim.Granted() && claim.Answer != 0 && cmd.key != "" {
		return fate
	}
	moved := schemas.MoneyMovedNo
	if cmd.Operation.MovesMoney() && (claim.Granted() || m.Redelivered) {
		moved = schemas.MoneyMovedUnknown
	}
	t := &task{worker: w, m: m, cmd: cmd, claim: claim, redis: claim.Now, answered: time.Now()}
	return w.publish(ctx, m, w.settle(ctx, claim, t.parkedFor(schemas.ReasonPoison, detail, "", moved)))
}
