package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/trace"

	"linepay-worker/idempotency"
	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// Config is one worker: one channel (merchant), its LINE Pay client, and the stores it works with.
type Config struct {
	Channel   string // the channel's name: a token of every subject
	ChannelID string // LINE Pay's id of the channel; with the client's host it names what the guard guards
	LINEPay   *linepay.Client
	Guard     *idempotency.Guard
	Bus       Bus
	JetStream jetstream.JetStream

	Concurrency   int           // commands in flight, 1 to 10,000; default 64
	Rate          int           // commands started a second, each of which is one or two calls to LINE Pay; 0 = no limit
	BreakerFaults int           // faults of LINE Pay in a row that open the circuit breaker; default 10
	BreakerPause  time.Duration // until one command may try again; default five times RetryMin
	LookupMargin  time.Duration // on top of the read timeout before "it did not happen" is believed; no default
	RetryBudget   time.Duration // time spent on retries before a command is parked; default 24 h
	RetryMin      time.Duration // first pause between tries; default 1 s
	RetryMax      time.Duration // longest pause between tries; default 5 min
	ShutdownGrace time.Duration // for commands in flight when the worker is told to stop; default 75 s
	Provision     bool          // create the JetStream consumer, or widen its AckWait, where needed
	Hands         *Hands        // what the process has in hand, shared by its workers; nil = this worker's alone

	Logger  zerolog.Logger
	Metrics prometheus.Registerer // nil = none
	Tracer  trace.Tracer          // nil = no traces
}

// Bus is what the line writes to and reads from besides the commands: package publisher, or a test's own.
type Bus interface {
	// Publish stores an event unless it is stored already, however long ago.
	Publish(ctx context.Context, e *schemas.Event) error
	// History reads all events of an order, oldest first.
	History(ctx context.Context, channel, order string) ([]*schemas.Event, error)
	// Newest is when the latest event of a channel was stored; the zero time where there is none.
	Newest(ctx context.Context, channel string) (time.Time, error)
	// Proofs reads the events of a channel, stored since a time, that say what became of an operation, oldest first.
	Proofs(ctx context.Context, channel string, since time.Time, f func(*schemas.Event)) error
	// Park stores a command among the dead letters. The same id is stored once.
	Park(ctx context.Context, id string, d schemas.DeadLetter, header map[string][]string, body []byte) error
}

func (c Config) withDefaults() Config {
	c.Concurrency = or(c.Concurrency, 64)
	c.RetryBudget = or(c.RetryBudget, 24*time.Hour)
	c.RetryMin = or(c.RetryMin, time.Second)
	c.RetryMax = or(c.RetryMax, 5*time.Minute)
	c.BreakerFaults = or(c.BreakerFaults, breakerFaults)
	c.BreakerPause = or(c.BreakerPause, breakerPauses*c.RetryMin)
	c.ShutdownGrace = or(c.ShutdownGrace, 75*time.Second)
	if c.Hands == nil {
		c.Hands = NewHands()
	}
	return c
}

func or[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}

// Validate names the first field that breaks a rule, and the rule.
func (c Config) Validate() error {
	c = c.withDefaults()
	switch {
	case c.LINEPay == nil, c.Guard == nil, c.Bus == nil, c.JetStream == nil:
		return errors.New("consumer: LINEPay, Guard, Bus and JetStream are required")
	case schemas.ValidChannel(c.Channel) != nil:
		return fmt.Errorf("consumer: Channel: %w", schemas.ValidChannel(c.Channel))
	case c.ChannelID == "":
		return errors.New("consumer: ChannelID is required")
	case c.Concurrency < 1 || c.Concurrency > 10_000:
		return fmt.Errorf("consumer: Concurrency is %d, must be 1 to 10000", c.Concurrency)
	case c.Rate < 0:
		return fmt.Errorf("consumer: Rate is %d, must be 0 (no limit) or more commands a second", c.Rate)
	case c.BreakerFaults < 1:
		return fmt.Errorf("consumer: BreakerFaults is %d, must be 1 or more", c.BreakerFaults)
	case c.BreakerPause < 0:
		return fmt.Errorf("consumer: BreakerPause is %s, must not be negative", c.BreakerPause)
	case c.LookupMargin < 0:
		return fmt.Errorf("consumer: LookupMargin is %s, must not be negative", c.LookupMargin)
	case c.RetryMin < time.Millisecond || c.RetryMin > c.RetryMax || c.RetryMax > c.RetryBudget:
		return fmt.Errorf("consumer: RetryMin (%s) <= RetryMax (%s) <= RetryBudget (%s) must hold", c.RetryMin, c.RetryMax, c.RetryBudget)
	case c.ShutdownGrace < c.longest():
		return fmt.Errorf("consumer: ShutdownGrace is %s, must not be shorter than the longest call, %s", c.ShutdownGrace, c.longest())
	default:
		return nil
	}
}

// Time limits follow from LINE Pay's read timeouts and from each other:
//
//	read timeout < callFor < lease ≤ ackWait
//
// so that a call is over before its claim lapses, and its claim lapses before JetStream delivers the command to somebody else.

// slack is for everything around a call: connecting, Redis, the scheduler. It shrinks with the timeouts of tests.
func slack(readTimeout time.Duration) time.Duration { return min(5*time.Second, readTimeout) }

// callFor is how long a call may be under way, connecting included, and for a refund the reading before it.
func (c Config) callFor(op linepay.Operation) time.Duration {
	read := c.LINEPay.ReadTimeout(op)
	if op == linepay.Refund {
		return read + slack(read) + c.callFor(linepay.Details)
	}
	return read + slack(read)
}

// lease is how long a claim holds without a sign of life. A look-up reads twice at most.
func (c Config) lease(op linepay.Operation) time.Duration {
	longest := max(c.callFor(op), 2*c.callFor(linepay.Details))
	return longest + slack(c.LINEPay.ReadTimeout(op))
}

// believable is how long after the latest moment of sending a look-up that finds nothing proves that nothing happened.
func (c Config) believable(op linepay.Operation) time.Duration {
	return c.LINEPay.ReadTimeout(op) + c.LookupMargin
}

// longest is the longest read timeout.
func (c Config) longest() (longest time.Duration) {
	for _, op := range linepay.Operations() {
		longest = max(longest, c.LINEPay.ReadTimeout(op))
	}
	return longest
}

// ackWait is when JetStream gives a command to somebody else after a worker's last sign of life.
func (c Config) ackWait() (longest time.Duration) {
	for _, op := range linepay.Operations() {
		longest = max(longest, c.lease(op))
	}
	return longest
}

// place is how long a command that waits for another one keeps its place. Its own next delivery may be as far off as that.
func (c Config) place() time.Duration { return c.ackWait() + longestInLine }
