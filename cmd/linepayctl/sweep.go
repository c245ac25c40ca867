package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"linepay-worker/consumer/pull"
	"linepay-worker/schemas"
)

// sweep is how often those are looked for whose answer is no news, and how much is read for that.
const (
	sweepEvery = 500 * time.Millisecond
	sweepReads = 256
)

func (f *follower) sweepOften(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := f.sweep(ctx); err != nil && ctx.Err() == nil {
				f.warn(err)
			}
		}
	}
}

// sweep finds open replays whose messages have left LINEPAY_COMMANDS, and looks up their answers.
func (f *follower) sweep(ctx context.Context) error {
	open := f.openFrom()
	if len(open) == 0 {
		return nil
	}
	gone, err := f.departed(ctx, open)
	if err != nil {
		return fmt.Errorf("look whether commands are done with: %w", err)
	}
	looking, within := errgroup.WithContext(ctx)
	looking.SetLimit(lookers)
	var shared []*replay
	for _, r := range gone {
		if r.readable && r.order == "" {
			shared = append(shared, r)
			continue
		}
		looking.Go(func() error { return f.lookUp(within, r) })
	}
	if err := looking.Wait(); err != nil || len(shared) == 0 {
		return err
	}
	return f.lookUpShared(ctx, shared)
}

// openFrom gives the open replays by sequence, from where the last sweep has ended.
func (f *follower) openFrom() []*replay {
	f.mu.Lock()
	defer f.mu.Unlock()
	var open []*replay
	for _, r := range f.all {
		if r.result == resultOpen && r.sequence != 0 {
			open = append(open, r)
		}
	}
	slices.SortFunc(open, func(a, b *replay) int { return cmp.Compare(a.sequence, b.sequence) })
	at, _ := slices.BinarySearchFunc(open, f.cursor, func(r *replay, cursor uint64) int { return cmp.Compare(r.sequence, cursor) })
	if at == len(open) {
		at = 0
	}
	return open[at:]
}

// departed walks the stream: between two messages that are there, all others are gone.
func (f *follower) departed(ctx context.Context, open []*replay) (gone []*replay, err error) {
	stream, err := f.js.Stream(ctx, schemas.StreamCommands)
	if err != nil {
		return nil, err
	}
	at := 0
	for range sweepReads {
		if at == len(open) {
			break
		}
		there, err := stream.GetMsg(ctx, open[at].sequence, jetstream.WithGetMsgSubject(schemas.SubjectsCommands))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			gone, at = append(gone, open[at:]...), len(open)
			break
		}
		if err != nil {
			return nil, err
		}
		for ; at < len(open) && open[at].sequence <= there.Sequence; at++ {
			if open[at].sequence < there.Sequence {
				gone = append(gone, open[at])
			}
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cursor = 0; at < len(open) {
		f.cursor = open[at].sequence
	}
	return gone, nil
}

// lookUp finds the event that a replay was answered with, among those of its order.
func (f *follower) lookUp(ctx context.Context, r *replay) error {
	var history []*schemas.Event
	if r.readable {
		var err error
		if history, err = f.bus.History(ctx, r.channel, r.order); err != nil {
			return err
		}
	}
	f.settle(r, history)
	return nil
}

// settle ends a replay whose message is gone. Its answer is the command's last event; that it was parked counts where it was parked after
// this very replay, or where there is no other answer.
func (f *follower) settle(r *replay, history []*schemas.Event) {
	var answer, parked *schemas.Event
	for _, e := range history {
		switch {
		case (identity{e.Data.Channel, e.Data.Command, e.Data.Operation, e.Data.OperationKey}) != r.identity() || !answersCommand(e):
		case e.Name() == schemas.EventParked && e.ID != r.parkedID:
			parked = e
		default:
			answer = e
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case r.result != resultOpen: // the feed was quicker
	case answer != nil:
		f.endByLocked(r, answer)
	case parked != nil:
		f.endByLocked(r, parked)
	case !r.readable:
		r.why = cannotBeRead
		f.endLocked(r, resultParked)
	default:
		f.endLocked(r, resultUnknown)
	}
}

// lookUpShared is lookUp for commands without an order, whose events share their subjects with all others that have none: one reading for
// all of them.
func (f *follower) lookUpShared(ctx context.Context, replays []*replay) error {
	none := ""
	wanted, history := map[identity]bool{}, map[identity][]*schemas.Event{}
	for _, r := range replays {
		wanted[r.identity()] = true
	}
	err := readEvents(ctx, f.js, pull.Reading{Filters: []string{filter("*", "*", &none)}}, func(found stored) (bool, error) {
		if e := found.event; e != nil {
			if id := (identity{e.Data.Channel, e.Data.Command, e.Data.Operation, e.Data.OperationKey}); wanted[id] {
				history[id] = append(history[id], e)
			}
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	for _, r := range replays {
		f.settle(r, history[r.identity()])
	}
	return nil
}
