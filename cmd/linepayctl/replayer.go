package main

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"

	"golang.org/x/time/rate"

	"linepay-worker/publisher"
	"linepay-worker/schemas"
)

// lanes are how many replays are under way at a time. Those of one order share a lane, so that its commands keep their order.
const lanes = 32

// replayer publishes what is chosen.
type replayer struct {
	*replayCommand
	console  console
	box      *box
	record   *record
	follower *follower
	lanes    [lanes]chan *letter
	working  sync.WaitGroup // replays that are under way
	seed     maphash.Seed
}

// publish replays until all is done, enough have failed, or the context ends; stopped says why it ended early, if by itself. What is begun
// is brought to its end.
func (r *replayer) publish(ctx context.Context, list numbers) (stopped, err error) {
	r.seed = maphash.MakeSeed()
	var open sync.WaitGroup
	for i := range r.lanes {
		r.lanes[i] = make(chan *letter)
		open.Go(func() { r.lane(ctx, r.lanes[i]) })
	}
	limit := rate.NewLimiter(rate.Inf, 1)
	if r.Rate > 0 {
		limit = rate.NewLimiter(rate.Limit(r.Rate), 1)
	}
	taken := 0
	err = r.each(ctx, r.box, list, func(l *letter) error {
		err := r.mayGoOn(ctx, taken)
		if err == nil {
			err = limit.Wait(ctx)
		}
		if err != nil {
			return err
		}
		taken++
		return r.hand(ctx, l)
	}, func(number uint64) error {
		r.follower.gone(number)
		return nil
	})
	for _, lane := range r.lanes {
		close(lane)
	}
	open.Wait()
	if stop, ok := errors.AsType[*stoppedError](err); ok {
		return stop, nil
	}
	if errors.Is(err, errEnough) {
		err = nil
	}
	return nil, err
}

// mayGoOn says, as an error, why no more are published.
func (r *replayer) mayGoOn(ctx context.Context, taken int) error {
	if r.Max > 0 && taken == r.Max {
		return errEnough
	}
	if r.Canary > 0 && taken == r.Canary {
		if err := r.judgeCanary(ctx); err != nil {
			return err
		}
	}
	if failed := r.follower.failures(); r.StopAfter > 0 && failed >= r.StopAfter {
		return &stoppedError{fmt.Errorf("stopped after %s (--stop-after %d): the rest stays in %s",
			plural(failed, "failure"), r.StopAfter, schemas.StreamDeadLetters)}
	}
	return nil
}

// stoppedError is why publishing ended before all was published.
type stoppedError struct{ error }

// hand gives a dead letter to the lane of its order.
func (r *replayer) hand(ctx context.Context, l *letter) error {
	r.working.Add(1)
	select {
	case r.lanes[maphash.String(r.seed, l.lane())%lanes] <- l:
		return nil
	case <-ctx.Done():
		r.working.Done()
		return ctx.Err()
	}
}

// lane names what a dead letter must not overtake others of.
func (l *letter) lane() string {
	switch {
	case l.order() != "":
		return "order " + l.order()
	case l.transaction() != "":
		return "transaction " + l.transaction()
	default:
		return fmt.Sprint("number ", l.Number)
	}
}

// judgeCanary waits for what becomes of the first ones.
func (r *replayer) judgeCanary(ctx context.Context) error {
	r.working.Wait()
	r.follower.wait(ctx, r.Wait)
	switch failed, open := r.follower.failures(), r.follower.open(); {
	case ctx.Err() != nil:
		return ctx.Err()
	case failed > 0:
		return &stoppedError{fmt.Errorf("of the first %d (--canary), %d failed: the rest stays in %s", r.Canary, failed, schemas.StreamDeadLetters)}
	case open > 0:
		return &stoppedError{fmt.Errorf("of the first %d (--canary), %d are open yet: the rest stays in %s", r.Canary, open, schemas.StreamDeadLetters)}
	default:
		return nil
	}
}

// lane replays one after the other. Behind one that could not be published, those of the same order stay where they are.
func (r *replayer) lane(ctx context.Context, letters <-chan *letter) {
	held := map[string]uint64{}
	for l := range letters {
		if first, stays := held[l.lane()]; stays {
			r.follower.held(l, first)
		} else if !r.replay(ctx, l) {
			held[l.lane()] = l.Number
		}
		r.working.Done()
	}
}

// replay puts one replay on record and carries it out. It is not interrupted in between: what may have been published is to be told.
func (r *replayer) replay(ctx context.Context, l *letter) bool {
	if ctx.Err() != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), acknowledged)
	defer cancel()
	if err := publisher.Replayable(l.Letter); err != nil {
		r.follower.refused(l, err)
		return false
	}
	r.follower.expect(l)
	entry := l.audited(schemas.ActionReplay)
	entry.Reason = r.Because
	if err := r.record.add(ctx, entry); err != nil {
		r.follower.notReplayed(l, err)
		return false
	}
	replayed, err := r.box.letters.Replay(ctx, l.Letter)
	_, refused := errors.AsType[*publisher.RefusedError](err)
	switch {
	case refused:
		r.follower.refused(l, err)
		return false
	case errors.Is(err, publisher.ErrGone):
		r.follower.gone(l.Number)
		return true
	case err != nil && replayed.Sequence == 0:
		r.follower.notReplayed(l, err)
		return false
	case err != nil: // it is published, and its dead letter is there yet
		r.follower.warn(err)
	}
	r.follower.published(l, replayed.Sequence)
	return true
}
