package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"linepay-worker/consumer"
	"linepay-worker/idempotency"
	"linepay-worker/publisher"
)

// Workers are those of the configured channels, which may be others tomorrow: Set changes them while they run. As a collector of metrics
// they give those of every channel that there is. They are safe for concurrent use.
type Workers struct {
	work  Work
	js    jetstream.JetStream
	bus   *publisher.Publisher
	guard *idempotency.Guard
	hands *consumer.Hands

	setting sync.Mutex // held by one Set at a time, which may wait for NATS

	mu      sync.Mutex          // held for a moment
	serving map[string]*serving // by the channel's name; changed with both held
	begin   func(*serving)      // nil before Run
	ended   bool                // nothing is begun any more
}

// serving is the worker of one channel.
type serving struct {
	Channel
	worker  *consumer.Worker
	metrics *prometheus.Registry
	end     context.CancelFunc // has it stop pulling; nil before it runs
}

// NewChannelWorkers looks at the streams, creating those that are missing, and prepares a worker for each of w.Channels.
func NewChannelWorkers(ctx context.Context, w Work) (*Workers, error) {
	js, err := w.provisioned(ctx)
	if err != nil {
		return nil, err
	}
	bus, guard, err := w.stores(ctx, js)
	if err != nil {
		return nil, err
	}
	all := &Workers{work: w, js: js, bus: bus, guard: guard, hands: consumer.NewHands(), serving: map[string]*serving{}}
	for _, channel := range w.Channels {
		if all.serving[channel.Name], err = all.prepare(channel); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// prepare makes a worker that does not run yet. Its metrics are its own: those of the one before it are given no more.
func (w *Workers) prepare(c Channel) (*serving, error) {
	s := &serving{Channel: c, metrics: prometheus.NewRegistry()}
	work := w.work
	work.Metrics = s.metrics
	worker, err := work.worker(c, w.js, w.bus, w.guard, w.hands)
	if err != nil {
		return nil, fmt.Errorf("channel %s: %w", c.Name, err)
	}
	s.worker = worker
	return s, nil
}

// Run has the workers carry commands out until ctx ends, or one of them fails, which ends all. It returns when the last one has finished,
// those of channels that were taken away among them.
func (w *Workers) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	w.mu.Lock()
	w.begin = func(s *serving) {
		own, end := context.WithCancel(ctx)
		s.end = end
		group.Go(func() error {
			defer end()
			err := s.worker.Run(own)
			if err != nil && own.Err() != nil && ctx.Err() == nil { // the others go on
				w.work.Logger.Warn().Err(err).Str("channel", s.Name).Msg("a channel that was taken away, or changed, has not finished in time")
				return nil
			}
			return err
		})
	}
	for _, s := range w.serving {
		w.begin(s)
	}
	w.mu.Unlock()
	group.Go(func() error { // holds the group open for channels that come later
		<-ctx.Done()
		w.mu.Lock()
		defer w.mu.Unlock()
		w.ended = true
		return nil
	})
	return group.Wait()
}

// errStopping refuses other channels at the end.
var errStopping = errors.New("the worker is stopping")

// Set has the workers serve these channels from now on. A channel with another secret and nothing else keeps its worker: calls that begin
// from now on are signed with the new one, and a suspension ends. A channel that is changed otherwise gets a new worker, and the old one, as
// that of a channel that is gone, pulls nothing more and finishes what it has in hand within SHUTDOWN_GRACE. Consumers stay.
//
// With an error nothing has changed.
func (w *Workers) Set(ctx context.Context, channels []Channel) error {
	w.setting.Lock()
	defer w.setting.Unlock()
	next, fresh, err := w.successors(ctx, channels)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return errStopping
	}
	w.retire(next)
	for _, s := range fresh {
		if w.begin != nil { // else Run begins them
			w.begin(s)
		}
		w.work.Logger.Info().Str("channel", s.Name).Str("host", apiHost(s.BaseURL)).Msg("channel is served as it is configured now")
	}
	return w.rotate(next, channels)
}

// successors are those that serve these channels: of those that there are the ones that can go on, and fresh ones, whose consumers it looks
// at.
func (w *Workers) successors(ctx context.Context, channels []Channel) (next map[string]*serving, fresh []*serving, err error) {
	next = map[string]*serving{}
	var p problems
	for _, c := range channels {
		if old := w.serving[c.Name]; old != nil && old.withSecretOf(c) == c {
			next[c.Name] = old
			continue
		}
		s, err := w.prepare(c)
		if err == nil {
			err = s.worker.Prepare(ctx)
		}
		if err != nil {
			p.add(fmt.Errorf("channel %s: %w", c.Name, err))
			continue
		}
		next[c.Name], fresh = s, append(fresh, s)
	}
	return next, fresh, p.error()
}

// withSecretOf is the channel as it was, with the secret of another.
func (s *serving) withSecretOf(c Channel) Channel {
	same := s.Channel
	same.Secret = c.Secret
	return same
}

// retire ends the workers that are not among the next ones, and puts those in their place.
func (w *Workers) retire(next map[string]*serving) {
	for name, old := range w.serving {
		if next[name] == old {
			continue
		}
		if old.end != nil {
			old.end()
		}
		if next[name] == nil {
			w.work.Logger.Info().Str("channel", name).Msg("channel is not served any more: what is in hand is finished, and its commands wait")
		}
	}
	w.serving = next
}

// rotate gives the workers that stay the secrets of their channels. These have been checked when they were loaded.
func (w *Workers) rotate(next map[string]*serving, channels []Channel) error {
	var p problems
	for _, c := range channels {
		s := next[c.Name]
		if s.Secret == c.Secret {
			continue
		}
		if err := s.worker.SetSecret(c.Secret); err != nil {
			p.add(fmt.Errorf("channel %s: %w", c.Name, err))
			continue
		}
		s.Secret = c.Secret
		w.work.Logger.Info().Str("channel", c.Name).Msg("calls that begin from now on are signed with the new secret")
	}
	return p.error()
}

// Checks are one for each channel that is served, in the order of their names.
func (w *Workers) Checks() []Check {
	w.mu.Lock()
	defer w.mu.Unlock()
	var checks []Check
	for _, name := range slices.Sorted(maps.Keys(w.serving)) {
		worker := w.serving[name].worker
		checks = append(checks, Check{Name: "channel " + name, Run: func(ctx context.Context) (string, error) {
			return "takes commands", worker.Ready(ctx)
		}})
	}
	return checks
}

// Served are the channels that are served, sorted by name.
func (w *Workers) Served() (channels []Channel) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(w.serving)) {
		channels = append(channels, w.serving[name].Channel)
	}
	return channels
}

// Names are those of the channels that are served, sorted.
func (w *Workers) Names() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(maps.Keys(w.serving))
}

// Describe tells nothing: which metrics there are depends on the channels.
func (w *Workers) Describe(chan<- *prometheus.Desc) {}

// Collect gives the metrics of every channel that is served.
func (w *Workers) Collect(metrics chan<- prometheus.Metric) {
	w.mu.Lock()
	all := slices.Collect(maps.Values(w.serving))
	w.mu.Unlock()
	for _, s := range all {
		s.metrics.Collect(metrics)
	}
}
