package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"linepay-worker/consumer/pull"
	"linepay-worker/schemas"
)

// A work queue has room for one consumer of a subject, and that is the worker's. So the commands that wait are asked for one by one, some
// requests at a time, so that the way to the server costs little.
const (
	walkers = 16
	stretch = 64 // sequences that a walker takes at once
)

// walk reads the commands that wait, on the subjects that match the filter, in no particular order; f is called by one goroutine at a time.
// What is published meanwhile may be missing.
func walk(ctx context.Context, js jetstream.JetStream, filter string, f func(pull.Message)) error {
	stream, err := js.Stream(ctx, schemas.StreamCommands)
	if err != nil {
		return explain(err, schemas.StreamCommands)
	}
	state := stream.CachedInfo().State
	if state.Msgs == 0 {
		return nil
	}
	w := &walker{stream: stream, filter: filter, next: state.FirstSeq, last: state.LastSeq, found: f}
	group, ctx := errgroup.WithContext(ctx)
	for range walkers {
		group.Go(func() error { return w.run(ctx) })
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("read stream %s: %w", schemas.StreamCommands, err)
	}
	return nil
}

type walker struct {
	stream jetstream.Stream
	filter string
	last   uint64

	mu    sync.Mutex
	next  uint64 // the first sequence that nobody has taken
	found func(pull.Message)
}

func (w *walker) run(ctx context.Context) error {
	for {
		first, end, more := w.take()
		if !more {
			return nil
		}
		if err := w.read(ctx, first, end); err != nil {
			return err
		}
	}
}

func (w *walker) take() (first, end uint64, more bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.next > w.last {
		return 0, 0, false
	}
	first, end = w.next, w.next+stretch
	w.next = end
	return first, end, true
}

// read reads the sequences from first up to end.
func (w *walker) read(ctx context.Context, first, end uint64) error {
	for next := first; next < end; {
		msg, err := w.stream.GetMsg(ctx, next, jetstream.WithGetMsgSubject(w.filter))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			w.skip(end, w.last+1)
			return nil
		}
		if err != nil {
			return err
		}
		if msg.Sequence >= end {
			w.skip(end, msg.Sequence)
			return nil
		}
		w.mu.Lock()
		w.found(pull.Message{Sequence: msg.Sequence, Stored: msg.Time, Subject: msg.Subject, Header: msg.Header, Body: msg.Data})
		w.mu.Unlock()
		next = msg.Sequence + 1
	}
	return nil
}

// skip passes over a gap: there is nothing from first up to next.
func (w *walker) skip(first, next uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.next >= first && w.next < next {
		w.next = next
	}
}
