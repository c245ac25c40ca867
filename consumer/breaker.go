package consumer

import (
	"sync/atomic"

	"github.com/sony/gobreaker/v2"
)

// breaker keeps a channel's commands from LINE Pay while it is down, or refuses the channel.
type breaker struct {
	current atomic.Pointer[gobreaker.CircuitBreaker[Outcome]]
	make    func() *gobreaker.CircuitBreaker[Outcome]
}

func newBreaker(w *Worker) *breaker {
	settings := gobreaker.Settings{
		Name: w.cfg.Channel, Timeout: w.cfg.BreakerPause,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			return int(c.ConsecutiveFailures) >= w.cfg.BreakerFaults || w.trouble.Load().withChannel()
		},
		OnStateChange: func(_ string, from, to gobreaker.State) {
			w.cfg.Logger.Warn().Stringer("from", from).Stringer("to", to).Str("trouble", w.trouble.Load().String()).Msg("circuit breaker")
		},
	}
	b := &breaker{make: func() *gobreaker.CircuitBreaker[Outcome] { return gobreaker.NewCircuitBreaker[Outcome](settings) }}
	b.renew()
	return b
}

// renew closes it, whatever it knows. What is under way counts for the one before: it was begun with another secret.
func (b *breaker) renew() { b.current.Store(b.make()) }

// Execute runs f, unless the breaker is open or its one probe is under way.
func (b *breaker) Execute(f func() (Outcome, error)) (Outcome, error) {
	return b.current.Load().Execute(f)
}

// State says whether it is closed, open, or has a probe under way.
func (b *breaker) State() gobreaker.State { return b.current.Load().State() }
