package idempotency

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// world is what is true of one entity, kept beside the guard by workers that crash, come late, repeat themselves and lose their Redis.
type world struct {
	*rapid.T
	s       *scene
	advance func(time.Duration)
	actors  []*actor
	held    []*holding
	moved   map[string]bool // operation: a call may have happened, and nothing since has said otherwise
	done    map[string]bool
}

// actor is a command.
type actor struct {
	request   ClaimRequest
	delivered bool // before
	recorded  bool // Redis has not forgotten it since it was here
}

// holding is a granted claim, from the claimant's side.
type holding struct {
	*Claim
	before bool // moved, as of before the call this claim intends
	called bool // that call may have been made
	ended  bool
	lost   bool // taken over or forgotten
}

func TestNoTwoClaimsLiveAndNoCallIsRepeated(t *testing.T) {
	t.Parallel()
	s, advance := clockScene(t)
	twice := false
	s.redis.AddHook(echo{t, &twice})
	s.guard.grace = 0
	round := 0
	rapid.Check(t, func(t *rapid.T) {
		round++
		twice = round%4 == 0
		s.entity.ID = fmt.Sprint(round)
		w := &world{T: t, s: s, advance: advance, moved: map[string]bool{}, done: map[string]bool{}}
		for i, key := range []string{refundA, refundA, refundA, refundB, confirm} {
			r := s.request(string(rune('A'+i)), operation(key), sequence(uint64(i+1)))
			r.CallFor, r.Lease, r.Place = time.Second, 2*time.Second, 3*time.Second
			w.actors = append(w.actors, &actor{request: r})
		}
		t.Repeat(map[string]func(*rapid.T){
			"claim":   func(t *rapid.T) { w.T = t; w.claim() },
			"extend":  func(t *rapid.T) { w.T = t; w.extend() },
			"settle":  func(t *rapid.T) { w.T = t; w.settle() },
			"release": func(t *rapid.T) { w.T = t; w.release() },
			"pass":    func(t *rapid.T) { advance(time.Duration(rapid.IntRange(1, 8000).Draw(t, "ms")) * time.Millisecond) },
			"forget": func(t *rapid.T) {
				if rapid.IntRange(0, 4).Draw(t, "mercy") == 0 {
					w.forget()
				}
			},
		})
	})
}

func (w *world) claim() {
	a := rapid.SampledFrom(w.actors).Draw(w.T, "actor")
	r := a.request
	r.Redelivered = a.delivered
	r.Probe = rapid.IntRange(0, 9).Draw(w.T, "probe") == 0
	if rapid.IntRange(0, 9).Draw(w.T, "replay") == 0 {
		r.Replay, r.Redelivered = uint64(rapid.IntRange(1, 3).Draw(w.T, "number")), false
		r.Sequence += 100 * r.Replay
	}
	c, err := w.s.guard.Claim(w.s.ctx, r)
	if err != nil {
		w.Fatal(err)
	}
	key := r.Operation
	switch c.Answer {
	case Fresh:
		if w.moved[key] || w.done[key] {
			w.Fatalf("fresh (%s) for %s, though a call may have happened (%v) or has (%v)", c.Reason, key, w.moved[key], w.done[key])
		}
		if (r.Redelivered || r.Replay > 0) && !a.recorded && a.delivered {
			w.Fatalf("fresh (%s) for %s, which Redis has forgotten", c.Reason, r.Command.ID)
		}
	case InDoubt, Conflict:
		if w.done[key] {
			w.Fatalf("%v for %s, which is done", c.Answer, key)
		}
	}
	a.delivered = true
	if c.Answer == Fresh || c.Answer == InDoubt || c.Answer == Busy || c.Answer == Rejected {
		a.recorded = true
	}
	if c.Granted() {
		w.grant(c, key)
	}
}

func (w *world) grant(c *Claim, key string) {
	for _, h := range w.held {
		if !h.ended && !h.lost && h.Until.After(c.Now) {
			w.Fatalf("%s was granted to %s while %s is held by %s until %v", key, c.request.Command.ID, h.request.Operation,
				h.request.Command.ID, h.Until)
		}
		if h.request.Operation == key {
			h.lost = true
		}
	}
	h := &holding{Claim: c, before: w.moved[key], called: c.Answer == Fresh}
	if c.Answer == InDoubt {
		h.before = true
	}
	w.moved[key] = true
	w.held = append(w.held, h)
}

// pick is any claim ever granted, the latest more often than not, with what its claimant should hear.
func (w *world) pick() *holding {
	if len(w.held) == 0 {
		w.Skip("nothing is held")
	}
	if rapid.Bool().Draw(w.T, "latest") {
		return w.held[len(w.held)-1]
	}
	return rapid.SampledFrom(w.held).Draw(w.T, "claim")
}

// hear says whether the guard accepted, and checks that it did so only from the rightful claimant.
func (w *world) hear(h *holding, err error) bool {
	switch {
	case err == nil:
		return true
	case !errors.Is(err, ErrLost):
		w.Fatal(err)
	case !h.lost && !h.ended:
		w.Fatalf("the claim of %s on %s was lost to nobody", h.request.Command.ID, h.request.Operation)
	}
	return false
}

func (w *world) extend() {
	h := w.pick()
	e := Extension{Lease: 2 * time.Second, Proven: rapid.Bool().Draw(w.T, "proven"), Call: rapid.Bool().Draw(w.T, "call")}
	if e.Call {
		e.CallFor = time.Second
	}
	if !w.hear(h, w.s.guard.Extend(w.s.ctx, h.Claim, e)) {
		return
	}
	if h.lost || h.ended {
		w.Fatal("a claim that had ended was extended")
	}
	key := h.request.Operation
	switch {
	case e.Proven:
		h.before, h.called = false, false
	case e.Call && h.called:
		h.before = true
	}
	h.called = h.called || e.Call
	w.moved[key] = h.before || h.called
}

func (w *world) release() {
	h := w.pick()
	r := Release{
		Unknown:    rapid.Bool().Draw(w.T, "unknown"),
		RetryAfter: time.Duration(rapid.IntRange(0, 3).Draw(w.T, "s")) * time.Second,
	}
	key, over := h.request.Operation, h.ended
	if !w.hear(h, w.s.guard.Release(w.s.ctx, h.Claim, r)) {
		if r.Unknown && h.called {
			w.moved[key] = true
		}
		if r.Unknown || h.doubt {
			w.record(h)
		}
		return
	}
	h.ended = true
	if !over {
		w.moved[key] = h.before || r.Unknown
	}
}

func (w *world) settle() {
	h := w.pick()
	state := rapid.SampledFrom([]State{StateDone, StateRefused, StateParked}).Draw(w.T, "state")
	settlement := Settlement{State: state, Outcome: []byte("{}"), MoneyUnknown: state == StateParked && rapid.Bool().Draw(w.T, "unknown")}
	key, over := h.request.Operation, h.ended
	if !w.hear(h, w.s.guard.Settle(w.s.ctx, h.Claim, settlement)) {
		if state == StateDone || (settlement.MoneyUnknown && h.called) {
			w.moved[key] = true
		}
		if settlement.MoneyUnknown {
			w.record(h)
		}
		return
	}
	if state == StateDone {
		w.done[key] = true // also where Redis had forgotten the claim
	}
	h.ended = true
	if !over && !h.lost {
		w.moved[key] = settlement.MoneyUnknown
	}
}

// record notes that a lost claim may have put its command back on record, in doubt.
func (w *world) record(h *holding) {
	for _, a := range w.actors {
		if a.request.Command == h.request.Command {
			a.recorded = true
		}
	}
}

func (w *world) forget() {
	w.s.forget()
	clear(w.moved)
	clear(w.done)
	for _, a := range w.actors {
		a.recorded = false
	}
	for _, h := range w.held {
		h.lost = true
	}
	w.held = slices.Clone(w.held)
}
