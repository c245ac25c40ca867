package consumer

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"linepay-worker/consumer/consumertest"
)

func none() int { return 0 }

func TestSlotsBoundWhatIsInHand(t *testing.T) {
	t.Parallel()
	s, ahead := newSlots(3), func() int { return 4 }
	expect := func(what string, bound func() int, want int) {
		t.Helper()
		if n := s.takeFree(bound()); n != want {
			t.Errorf("%s, %d slots are taken, want %d", what, n, want)
		}
	}
	expect("where none may wait", none, 3)
	expect("where none is free", none, 0)
	expect("where four may wait", ahead, 4)
	s.give(2)
	expect("where half of them still wait", ahead, 0)
	s.give(1)
	expect("where less than half of them wait", ahead, 3)
	s.give(5)
	expect("where none may wait any more", none, 1)
}

func TestWhoWaitsForASlotIsToldWhenOneComesBack(t *testing.T) {
	t.Parallel()
	s := newSlots(3)
	if n := s.take(t.Context(), none); n != 3 {
		t.Errorf("%d slots are taken, want 3", n)
	}
	taken := make(chan int)
	go func() { taken <- s.take(t.Context(), none) }()
	s.give(1)
	if n := <-taken; n != 1 {
		t.Errorf("%d slots are taken, want the one that came back", n)
	}
}

func TestWorkerPullsAheadOnlyWhatItIsAboutToBegin(t *testing.T) {
	t.Parallel()
	w, _ := logged(t)
	w.cfg.Concurrency = 4
	expect := func(what string, want int) {
		t.Helper()
		if n := w.ahead(); n != want {
			t.Errorf("%s: %d, want %d", what, n, want)
		}
	}
	expect("nothing is known yet", 0)
	for range 200 {
		w.note(4 * time.Millisecond)
	}
	expect("four commands take 4 ms", 9)
	w.guardDown.Store(true)
	expect("Redis is away", 0)
	w.guardDown.Store(false)
	w.cfg.Hands.suspects.Store(1)
	expect("a suspect is handled alone", 0)
	w.cfg.Hands.suspects.Store(0)
	w.note(20 * time.Second)
	expect("one has just taken 20 s", 0)
	for range 200 {
		w.note(0)
	}
	expect("they take no time", mostAhead)
	for range breakerFaults {
		_, _ = w.breaker.Execute(func() (Outcome, error) { return Outcome{}, errors.New("LINE Pay is down") })
	}
	expect("the breaker is open", 0)
}

// Of what waits behind a slow command, nothing has to wait until that is over.
func TestWhatWasPulledAheadIsHandedBackAtOnceWhenTheWorkerStops(t *testing.T) {
	t.Parallel()
	w, letters, _, stream := pulling(t, func(c *Config) { c.Concurrency = 1 })
	for range 3 {
		if _, err := w.cfg.JetStream.Publish(t.Context(), "linepay.commands.tw.confirm", []byte("unreadable")); err != nil {
			t.Fatal(err)
		}
	}
	w.usual.Store(1)
	inFlight, goOn := make(chan struct{}, 4), make(chan struct{})
	letters.then = func() { // the first one stays in flight
		inFlight <- struct{}{}
		<-goOn
	}
	ctx, stop := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- w.Run(ctx) }()
	pending := func(n int) func(context.Context) bool {
		return func(ctx context.Context) bool {
			c, err := stream.Consumer(ctx, ConsumerName("tw"))
			return err == nil && c.CachedInfo().NumAckPending == 4 && c.CachedInfo().NumRedelivered == n
		}
	}
	if !consumertest.Eventually(t, pending(0)) {
		t.Fatal("the four messages are not in the process' hands")
	}
	<-inFlight
	stop()
	fetched := make(chan uint64, 8)
	cons, err := stream.Consumer(t.Context(), ConsumerName("tw"))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		msg, err := cons.Next()
		if err != nil {
			t.Fatalf("it is not handed back while another is in flight: %v", err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			t.Fatal(err)
		}
		fetched <- meta.Sequence.Stream
	}
	close(fetched)
	var sequences []uint64
	for s := range fetched {
		sequences = append(sequences, s)
	}
	slices.Sort(sequences)
	if !slices.Equal(sequences, []uint64{2, 3, 4}) || letters.parked.Load() != 1 {
		t.Errorf("handed back are %v, and %d are parked; want 2, 3 and 4, and one", sequences, letters.parked.Load())
	}
	close(goOn)
	if err := <-over; err != nil {
		t.Error(err)
	}
}

// Not even the sign that was due just then.
func TestThereIsNoSignOfLifeOnceItIsStopped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for range 100 {
			var over atomic.Bool
			given := 0
			stop := keepGiving(func() {
				if given++; over.Load() {
					t.Error("there is one after the end")
				}
			}, time.Second)
			time.Sleep(3 * time.Second)
			stop()
			over.Store(true)
			time.Sleep(3 * time.Second)
			if given < 2 || given > 3 {
				t.Errorf("there were %d in 3 s, want one each", given)
			}
		}
	})
}
