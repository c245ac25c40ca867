package consumer

import (
	"sync"

	"linepay-worker/idempotency"
)

// A refund must not overtake the confirm before it. Commands are handled at the same time, so this process lets their claims on one
// entity out one by one, in the order in which JetStream delivered them; from there on the guard keeps the order.
//
// Every message takes a turn as it is delivered. Before its claim it waits until the message before it knows its entity (a decode away),
// queues up behind the last claim on its own entity, and lets the next message do the same.

// claimOrder knows the last claim of every entity that has one under way.
type claimOrder struct {
	mu   sync.Mutex
	last map[idempotency.Entity]*turn
}

// turn is one message's place.
type turn struct {
	before  *turn         // of the message delivered before this one
	queued  chan struct{} // closed when this message is queued on its entity, or needs no claim
	claimed chan struct{} // closed when its claim has been answered
	once    sync.Once
	leave   func()
}

// next is the turn of the next message; before is nil for the first.
func next(before *turn) *turn {
	return &turn{before: before, queued: make(chan struct{}), claimed: make(chan struct{})}
}

// wait returns when it is this message's turn to claim; false when the worker was told to stop before that. Without a turn it waits for nobody.
func (t *turn) wait(order *claimOrder, entity idempotency.Entity, stopping <-chan struct{}) bool {
	if t != nil {
		t.queueUp(order, entity, stopping)
	}
	select {
	case <-stopping: // those ahead may have given up for the same reason, with a claim before them still under way
		return false
	default:
		return true
	}
}

// queueUp returns when the claim ahead on the same entity has been answered.
func (t *turn) queueUp(order *claimOrder, entity idempotency.Entity, stopping <-chan struct{}) {
	t.follow()
	order.mu.Lock()
	ahead := order.last[entity]
	order.last[entity] = t
	t.leave = func() {
		order.mu.Lock()
		defer order.mu.Unlock()
		if order.last[entity] == t {
			delete(order.last, entity)
		}
	}
	order.mu.Unlock()
	close(t.queued)
	if ahead != nil {
		select {
		case <-ahead.claimed:
		case <-stopping:
		}
	}
}

// follow returns when the message before this one is queued, and lets go of it.
func (t *turn) follow() {
	if t != nil && t.before != nil {
		<-t.before.queued
		t.before = nil
	}
}

// done lets those behind go on. It may be called more than once, and without wait.
func (t *turn) done() {
	if t == nil {
		return
	}
	t.once.Do(func() {
		if t.leave == nil {
			t.follow() // whoever comes after this one must not get past those before it
			close(t.queued)
		} else {
			t.leave()
		}
		close(t.claimed)
	})
}
