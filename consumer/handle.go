package consumer

import (
	"context"
	"time"

	"linepay-worker/idempotency"
)

// Handle carries one command out, from delivery to the fate of its message. Each step says what a crash right after it costs.
func (w *Worker) Handle(ctx context.Context, m *Message) Fate {
	// 1. Decode. Crash: nothing is known to Redis or LINE Pay yet, and the next delivery does everything.
	cmd, err := w.decode(m)
	if err != nil {
		return w.unreadable(ctx, m, err)
	}
	ctx = w.trace(ctx, m, cmd)

	// 2. Claim, before any call: the claim is the intent. Crash: the next delivery finds a lapsed claim, which is doubt, and looks up
	// before it calls.
	cmd, claim, err := w.claim(ctx, m, cmd)
	if err != nil {
		return w.unclaimed(ctx, m, cmd, err)
	}

	// 3. Call LINE Pay, or look up what an earlier call did, or answer from the record. Crash: as after the claim; what the look-up
	// finds is settled then.
	outcome := w.carryOut(ctx, m, cmd, claim)

	// 4. Settle, before publishing: an event that is out must never be contradicted by a second try. Crash: the next delivery finds the
	// stored event and publishes it.
	outcome = w.settle(ctx, claim, outcome)

	// 5. Publish, before acknowledging: a command leaves the stream only when its answer is stored. Crash: the next delivery publishes
	// the stored event again, under the same id.
	return w.publish(ctx, m, outcome)
}

// carryOut is the third step: what the claim's answer leads to.
func (w *Worker) carryOut(ctx context.Context, m *Message, cmd *command, claim *idempotency.Claim) Outcome {
	t := &task{worker: w, m: m, cmd: cmd, claim: claim, began: m.claimed, redis: claim.Now, answered: time.Now()}
	if err := t.readNotes(); err != nil {
		return undecided(retry(w.cfg.RetryMax, "the record cannot be read", err))
	}
	switch {
	case cmd.absent:
		return t.inAbsence(ctx)
	case t.isSuspect():
		return t.suspected()
	}
	switch claim.Answer {
	case idempotency.Fresh:
		return w.throughBreaker(ctx, t, (*task).call)
	case idempotency.InDoubt:
		return w.throughBreaker(ctx, t, (*task).lookUp)
	case idempotency.Done, idempotency.RefusedBefore, idempotency.Parked:
		return t.asStored()
	case idempotency.Duplicate:
		if cmd.invalid != nil { // Invalid data has no fingerprint, so nobody's data can be said to be the same.
			return t.rejected()
		}
		return t.duplicate()
	case idempotency.Conflict:
		return t.conflict()
	case idempotency.Rejected:
		return t.rejected()
	case idempotency.Busy:
		return t.behind()
	default:
		return undecided(retry(w.cfg.RetryMin, "the guard gave no answer", nil))
	}
}
