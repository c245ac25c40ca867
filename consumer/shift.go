package consumer

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/sony/gobreaker/v2"
)

// shift is one run of a worker.
type shift struct {
	stopping  context.Context // ends when the worker is told to stop: nothing is begun any more
	alive     context.Context // ends with the shutdown grace: what is in flight is given up
	slots     *slots
	last      *turn         // of the message delivered last
	delivered chan delivery // to be handled, in the order in which they came
	handlers  sync.WaitGroup
	running   int // handlers, Concurrency of them at most
}

func newShift(stopping, alive context.Context, concurrency int) *shift {
	return &shift{stopping: stopping, alive: alive, slots: newSlots(concurrency), delivered: make(chan delivery, concurrency+mostAhead)}
}

// A handler that has to wait for a round trip to JetStream before its next command stands idle while there is work. So a worker pulls a little
// ahead: what it is going to begin within a moment, at the pace that it has. What is slow is not worth it, and would only keep commands from
// other workers; so would anything that lets commands wait.
const (
	mostAhead = 16
	aheadFor  = 10 * time.Millisecond
)

// ahead is how many messages may wait in this process, beyond those that are in flight.
func (w *Worker) ahead() int {
	if w.guardDown.Load() || w.breaker.State() != gobreaker.StateClosed || w.cfg.Hands.suspects.Load() > 0 {
		return 0
	}
	return int(min(mostAhead, int64(w.cfg.Concurrency)*int64(aheadFor)/max(1, w.usual.Load())))
}

// note counts the last command for an eighth of what is usual. Of two that are noted at once, one may be left out.
func (w *Worker) note(took time.Duration) {
	usual := w.usual.Load()
	w.usual.Store(usual + (int64(took)-usual)/8)
}

// delivery is a message that JetStream has delivered. It is kept alive until it is let go.
type delivery struct {
	msg   *nats.Msg
	turn  *turn
	at    time.Time
	letGo func()
}

func (w *Worker) delivery(msg *nats.Msg, turn *turn) delivery {
	sign := func() { _ = msg.InProgress() } // a lost one is followed by another
	return delivery{msg, turn, time.Now(), keepGiving(sign, w.cfg.ackWait()/3)}
}

// keepGiving gives signs of life until it is stopped; then there is none any more.
func keepGiving(sign func(), every time.Duration) (stop func()) {
	var mu sync.Mutex
	stopped := false
	mu.Lock()
	defer mu.Unlock()
	var timer *time.Timer
	timer = time.AfterFunc(every, func() {
		mu.Lock()
		defer mu.Unlock()
		if !stopped { // as it came
			sign()
			timer.Reset(every)
		}
	})
	return func() {
		mu.Lock()
		defer mu.Unlock()
		stopped = true
		timer.Stop()
	}
}

// slots bound the messages that a process has in hand: those in flight, and those that were pulled ahead.
type slots struct {
	inFlight int // at most
	mu       sync.Mutex
	taken    int
	freed    chan struct{} // holds one word that some have been given back since somebody looked
}

func newSlots(inFlight int) *slots { return &slots{inFlight: inFlight, freed: make(chan struct{}, 1)} }

// take waits until there is a slot for a message that can be begun, or for half of those that may wait, and takes all that are free. It takes
// none when ctx ends first.
func (s *slots) take(ctx context.Context, ahead func() int) (n int) {
	for {
		if n := s.takeFree(ahead()); n > 0 {
			return n
		}
		select {
		case <-ctx.Done():
			return 0
		case <-s.freed:
		}
	}
}

func (s *slots) takeFree(ahead int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	free := s.inFlight + ahead - s.taken
	if free <= ahead/2 {
		return 0
	}
	s.taken += free
	return free
}

func (s *slots) give(n int) {
	s.mu.Lock()
	s.taken -= n
	s.mu.Unlock()
	select {
	case s.freed <- struct{}{}:
	default:
	}
}
