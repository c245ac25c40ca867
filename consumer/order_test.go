package consumer

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"linepay-worker/idempotency"
)

func entity(n int) idempotency.Entity { return idempotency.Entity{ID: fmt.Sprint(n)} }

// turns gives n turns, in the order of delivery.
func turns(n int) (all []*turn) {
	var last *turn
	for range n {
		last = next(last)
		all = append(all, last)
	}
	return all
}

func newOrder() *claimOrder { return &claimOrder{last: map[idempotency.Entity]*turn{}} }

// Messages are decoded and claimed at random speeds; the claims on one entity follow each other all the same, in the order of delivery.
func TestClaimsOnOneEntityKeepTheOrderOfDelivery(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			order := newOrder()
			var mu sync.Mutex
			began, answered := map[idempotency.Entity][]int{}, map[idempotency.Entity][]int{}
			var handlers sync.WaitGroup
			for i, turn := range turns(100) {
				e, decode, claim := entity(random.IntN(4)), time.Duration(random.IntN(1000)), time.Duration(random.IntN(1000))
				handlers.Go(func() {
					<-time.After(decode)
					turn.wait(order, e, nil)
					mu.Lock()
					if len(began[e]) != len(answered[e]) {
						t.Errorf("seed %d: message %d claims while the claim of %v is under way", seed, i, began[e][len(began[e])-1])
					}
					began[e] = append(began[e], i)
					mu.Unlock()
					<-time.After(claim)
					mu.Lock()
					answered[e] = append(answered[e], i)
					mu.Unlock()
					turn.done()
					turn.done() // the loop around the handler says so again
				})
			}
			handlers.Wait()
			for e, sequence := range began {
				if !slices.IsSorted(sequence) {
					t.Errorf("seed %d: entity %s was claimed in the order %v", seed, e.ID, sequence)
				}
			}
			if len(order.last) != 0 {
				t.Errorf("seed %d: %d entities are remembered for nothing", seed, len(order.last))
			}
		})
	}
}

func TestSlowClaimHoldsUpItsOwnEntityAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		order, all := newOrder(), turns(3)
		all[0].wait(order, entity(1), nil) // and its claim takes for ever
		all[1].wait(order, entity(2), nil)
		all[1].done()
		passed := false
		go func() {
			all[2].wait(order, entity(1), nil)
			passed = true
			all[2].done()
		}()
		synctest.Wait()
		if passed {
			t.Error("a message claims before the claim of the one before it was answered")
		}
		all[0].done()
		synctest.Wait()
		if !passed {
			t.Error("it still waits after that claim was answered")
		}
	})
}

// A message waits for the one delivered before it to say which entity it is for, however long that takes.
func TestMessageWaitsUntilTheOneBeforeItIsDecoded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		order, all := newOrder(), turns(2)
		passed := false
		go func() {
			all[1].wait(order, entity(1), nil)
			passed = true
		}()
		synctest.Wait()
		if passed {
			t.Error("it claims before the message before it is known to be for another entity")
		}
		all[0].wait(order, entity(2), nil)
		synctest.Wait()
		if !passed {
			t.Error("it still waits")
		}
	})
}

// Readings, unreadable commands and panics end without a claim.
func TestMessageWithoutAClaimFreesThoseBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		order, all := newOrder(), turns(4)
		func() {
			defer func() { _ = recover() }()
			defer all[0].done()
			panic("while decoding")
		}()
		func() {
			defer func() { _ = recover() }()
			defer all[1].done()
			all[1].wait(order, entity(1), nil)
			panic("while claiming")
		}()
		all[2].done()
		all[3].wait(order, entity(1), nil) // synctest reports a deadlock if this does not return
		all[3].done()
		if len(order.last) != 0 {
			t.Errorf("%d entities are remembered for nothing", len(order.last))
		}
	})
}

// It says at once that it claims nothing, but those behind it still come after those before it.
func TestMessageWithoutAClaimLetsNobodyOvertake(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		order, all := newOrder(), turns(3)
		passed := false
		go all[1].done()
		go func() {
			all[2].wait(order, entity(1), nil)
			passed = true
			all[2].done()
		}()
		synctest.Wait()
		all[0].wait(order, entity(1), nil) // decoded late
		synctest.Wait()
		if passed {
			t.Error("the third message claims before the first one, on the same entity")
		}
		all[0].done()
		synctest.Wait()
		if !passed {
			t.Error("it still waits")
		}
		for i, turn := range all {
			if turn.before != nil {
				t.Errorf("turn %d is over and keeps the one before it, and so all there ever were", i)
			}
		}
	})
}

// A worker that is told to stop claims nothing more for those who wait.
func TestMessageThatWaitsIsHandedBackWhenTheWorkerStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		order, all, stopping := newOrder(), turns(2), make(chan struct{})
		if !all[0].wait(order, entity(1), stopping) {
			t.Error("the first message waits for nobody, and has to stop")
		}
		mayClaim := true
		go func() { mayClaim = all[1].wait(order, entity(1), stopping) }()
		synctest.Wait()
		close(stopping)
		synctest.Wait()
		if mayClaim {
			t.Error("it may claim, or still waits")
		}
		all[0].done()
		all[1].done()
		if len(order.last) != 0 {
			t.Errorf("%d entities are remembered for nothing", len(order.last))
		}
	})
}

// The one in between gives up: that is no leave to claim beside the first one, whose claim is still under way.
func TestStoppingWorkerLetsNobodyOvertake(t *testing.T) {
	t.Parallel()
	for range 50 { // which of two open ways is taken is up to chance
		synctest.Test(t, func(t *testing.T) {
			order, all, stopping := newOrder(), turns(3), make(chan struct{})
			all[0].wait(order, entity(1), stopping)
			overtakes := false
			go func() {
				all[1].wait(order, entity(1), stopping)
				all[1].done()
			}()
			synctest.Wait()
			close(stopping)
			synctest.Wait()
			overtakes = all[2].wait(order, entity(1), stopping)
			if overtakes {
				t.Fatal("the third message claims while the claim of the first one is under way")
			}
		})
	}
}

func TestMessageWithoutATurnWaitsForNobody(t *testing.T) {
	t.Parallel()
	var none *turn
	none.wait(newOrder(), entity(1), nil)
	none.done()
}
