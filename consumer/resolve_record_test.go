package consumer_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"linepay-worker/consumer"
	"linepay-worker/idempotency"
	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// What a resolution makes of the guard's record, and what it leaves there.

// unsent is a parked command of which it is known that it was not sent.
func (d *desk) unsent() (order, linepay.TransactionID) {
	d.t.Helper()
	o, tx := d.ready("A", linepay.Confirm)
	d.wire.cut = func(r *http.Request) bool { return r.Method == http.MethodPost }
	d.finish(o)
	d.wire.cut = nil
	if e := d.wantAnswer("A", schemas.EventParked); e.Data.MoneyMoved != schemas.MoneyMovedNo {
		d.t.Fatalf("money moved: %s", e.Data.MoneyMoved)
	}
	o.replay = 7
	return o, tx
}

// A person may know better, and no call of the worker's can be under way.
func TestCommandThatWasNotSentIsResolvedWithoutACall(t *testing.T) {
	t.Parallel()
	for r, want := range map[consumer.Resolution]string{{Done: true}: schemas.EventCaptured, {}: schemas.EventFailed} {
		d := newDesk(t, impatient, func(cfg *consumer.Config) { cfg.LookupMargin = time.Hour })
		o, tx := d.unsent()
		if e := d.mustResolve(o.message(t), r); e.Name() != want || e.Data.Calls != 0 {
			t.Errorf("told as %s after %d calls, want %s after none", e.Name(), e.Data.Calls, want)
		}
		d.wantEffects(tx)
	}
}

// It was parked before it was called, and has expired by now: a replay has it rejected, and so it will not be called.
func TestCommandThatHasExpiredUncalledIsNotResolved(t *testing.T) {
	t.Parallel()
	d := newDesk(t, impatient)
	o, _ := d.unsent()
	o.expiry = time.Now().Add(-time.Minute)
	d.wantRefusal(o.message(t), consumer.Resolution{Done: true}, "the guard answers rejected: replay it, to have it answered so")
}

// Without a call on record its time would always be just now, and "not done" would never be believed. Nor is there anything to wait for
// where no money moves.
func TestNotDoneIsBelievedAtOnceWhereNoCallOfMoneyIsKnown(t *testing.T) {
	t.Parallel()
	for name, ready := range map[string]func(*desk) order{
		"Redis has forgotten it": func(d *desk) order {
			o, _ := d.ready("A", linepay.Confirm)
			return o
		},
		"it asks for a payment page": func(d *desk) order {
			o := order{id: "A", op: linepay.Request, data: requestData(d.t, "ORDER-A")}
			d.claim(o, "")
			return o
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, func(cfg *consumer.Config) { cfg.LookupMargin = time.Hour })
			o := ready(d)
			o.replay = 7
			if e := d.mustResolve(o.message(t), consumer.Resolution{}); e.Name() != schemas.EventFailed {
				t.Errorf("told as %s: %+v", e.Name(), e.Data)
			}
		})
	}
}

// A replay has carried it out by itself: its event says how that is known, and an operator's word does not change it.
func TestCommandThatWasCarriedOutByAReplayIsNotResolved(t *testing.T) {
	t.Parallel()
	d := newDesk(t, impatient)
	o, letter, _ := d.parked(linepay.Confirm)
	d.finish(o)
	d.wantAnswer("A", schemas.EventCaptured)
	d.wantRefusal(letter, consumer.Resolution{Done: true}, "says captured already: replay it")
}

// A command that was published twice has two dead letters. That it was not carried out leaves the second one to be replayed.
func TestLaterDeadLetterIsReplayedThoughTheFirstOneWasResolvedAsNotDone(t *testing.T) {
	t.Parallel()
	d := newDesk(t, impatient)
	o, letter, tx := d.parked(linepay.Confirm)
	d.mustResolve(letter, consumer.Resolution{})
	o.replay = 8
	d.finish(o)
	d.wantAnswer("A", schemas.EventCaptured)
	d.wantEffects(tx, "confirm 100")
}

// What nobody can read may hide a call, or the refunds that were there before it.
func TestNothingIsResolvedByARecordThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		damage func(*desk, order)
		want   string
	}{
		"its notes": {func(d *desk, o order) { d.claim(o, "{") }, "notes on record"},
		"its outcome": {func(d *desk, o order) {
			done := idempotency.Settlement{State: idempotency.StateDone, Outcome: []byte("{")}
			if err := d.guard.Settle(d.t.Context(), d.claim(o, ""), done); err != nil {
				d.t.Fatal(err)
			}
		}, "the record's outcome cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			o, _ := d.ready("A", linepay.Confirm)
			c.damage(d, o)
			o.replay = 7
			e, err := d.worker.Resolve(t.Context(), o.message(t), consumer.Resolution{Done: true})
			if err == nil || errors.Is(err, consumer.ErrRefused) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("resolved with %+v, %v, want an error that says %q", e, err, c.want)
			}
			d.wantVerbs()
		})
	}
}

func TestNothingIsResolvedWhileRedisOrTheBusIsAway(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		away func(*desk)
		want error
	}{
		"Redis, from the beginning": {func(d *desk) { d.redis.Kill() }, idempotency.ErrUnavailable},
		"Redis, before the claim": {func(d *desk) {
			d.shelf.reading = func(context.Context) error { d.redis.Kill(); return nil }
		}, idempotency.ErrUnavailable},
		"the order's events": {func(d *desk) {
			d.shelf.reading = func(context.Context) error { return errNoBus }
		}, errNoBus},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			o, _ := d.ready("A", linepay.Confirm)
			o.replay = 7
			c.away(d)
			if e, err := d.worker.Resolve(t.Context(), o.message(t), consumer.Resolution{Done: true}); !errors.Is(err, c.want) {
				t.Errorf("resolved with %+v, %v, want %v", e, err, c.want)
			}
			d.wantVerbs()
		})
	}
}

// Redis has forgotten the command. While the operator's word is weighed, another worker carries it out, or takes up another command for the
// same operation: that one's record is left as it is found.
func TestWhatChangesWhileItIsResolvedIsLeftAlone(t *testing.T) {
	t.Parallel()
	outcome := []byte(`{"events":[]}`)
	settle := func(d *desk, o order, s idempotency.Settlement) {
		s.Outcome = outcome
		if err := d.guard.Settle(d.t.Context(), d.claim(o, ""), s); err != nil {
			d.t.Error(err)
		}
	}
	for name, c := range map[string]struct {
		by        string // whose doing it is
		meanwhile func(*desk, order)
		want      idempotency.Answer
		outcome   []byte
	}{
		"it is carried out": {"A", func(d *desk, o order) {
			settle(d, o, idempotency.Settlement{State: idempotency.StateDone})
		}, idempotency.Done, outcome},
		"another one is called": {"B", func(d *desk, o order) { d.claim(o, "") }, idempotency.InDoubt, nil},
		"another one is parked": {"B", func(d *desk, o order) {
			settle(d, o, idempotency.Settlement{State: idempotency.StateParked, MoneyUnknown: true})
		}, idempotency.Parked, outcome},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			o, _ := d.ready("A", linepay.Confirm)
			other := o
			other.id, other.sequence, o.replay = c.by, 2, 7
			d.shelf.reading = func(context.Context) error { c.meanwhile(d, other); return nil }
			d.wantRefusal(o.message(t), consumer.Resolution{Done: true}, "has changed meanwhile: look at it again")
			left, err := d.guard.Foresee(t.Context(), d.request(other))
			if err != nil || left.Answer != c.want || left.Owner.ID != c.by || !slices.Equal(left.Outcome, c.outcome) {
				t.Errorf("the other one finds %+v, %v, want %s", left, err, c.want)
			}
		})
	}
}
