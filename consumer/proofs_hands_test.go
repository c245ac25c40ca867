package consumer

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"linepay-worker/linepay"
)

// A suspect waits until nothing is in hand. Whoever has a hand by then must get to its end without those who have to wait behind the suspect,
// or the whole process stands still, all channels of it.
func TestSuspectDoesNotComeBetweenThoseWhoClaimInTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, order := NewHands(), newOrder()
		var handlers sync.WaitGroup
		handle := func(m *Message) {
			handlers.Go(func() {
				give := h.take(t.Context(), m)
				defer give()
				m.turn.wait(order, entity(7), nil)
				m.turn.done()
			})
			synctest.Wait() // until it cannot go on
		}
		first := &Message{turn: next(nil)}
		handle(&Message{turn: next(first.turn)}) // the scheduler has the second one go first
		handle(&Message{turn: next(nil), alone: true})
		handle(first)
		handlers.Wait()
	})
}

// Told to stop while it waits for the others to end, a suspect is left to the next worker: what is begun now may not end in time, and would
// count as one crash more.
func TestSuspectIsHandedBackWhereTheWorkerStops(t *testing.T) {
	t.Parallel()
	w, _ := logged(t)
	m := delivered(linepay.Confirm, confirmOf(7))
	m.alone, m.stopping = true, ended(t).Done()
	defer w.cfg.Hands.take(context.Background(), m)()
	cmd, err := w.decode(m)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.claim(t.Context(), m, cmd); !errors.Is(err, errStopping) {
		t.Errorf("error %v, want errStopping", err)
	}
}
