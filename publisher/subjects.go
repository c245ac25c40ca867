package publisher

import (
	"context"
	"sync"
)

// subjects remembers what this process has read of, or stored on, each subject lately, so that no event is read twice, and lets one publish
// at a time through to a subject, so that the process does not get in its own way. What it forgets is read again.
type subjects struct {
	mu    *sync.Mutex
	known map[string]*subject
}

// subject is read up to last, and holds these ids so far.
type subject struct {
	turn   chan struct{}
	shared bool // by commands without an order: such a subject has no end, and only its last event counts
	last   uint64
	ids    map[string]bool
}

const (
	mostSubjects = 4096
	mostShared   = 16384 // ids of a shared subject
)

func newSubjects() subjects {
	return subjects{mu: new(sync.Mutex), known: map[string]*subject{}}
}

// subject waits for its turn on a subject; the caller leaves it.
func (s subjects) subject(ctx context.Context, name string, shared bool) (*subject, error) {
	s.mu.Lock()
	if len(s.known) >= mostSubjects && s.known[name] == nil {
		clear(s.known)
	}
	if s.known[name] == nil {
		s.known[name] = &subject{turn: make(chan struct{}, 1), shared: shared, ids: map[string]bool{}}
	}
	known := s.known[name]
	s.mu.Unlock()
	select {
	case known.turn <- struct{}{}:
		return known, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *subject) leave() { <-s.turn }

func (s *subject) add(sequence uint64, id string) {
	if s.shared && len(s.ids) >= mostShared {
		clear(s.ids)
	}
	s.last = max(s.last, sequence)
	s.ids[id] = true
}

func (s *subject) forget() {
	s.last = 0
	clear(s.ids)
}
