package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/schemas"
)

// sample is what one round has shown.
type sample struct {
	rate    float64       // commands a second
	cpu     time.Duration // of the subject, for 1,000 commands
	peak    float64       // memory of the largest process in MiB
	servers []float64     // CPU seconds of the servers, in the order of serverNames, for 1,000 commands
	latency []time.Duration
	tally   tally
}

func (s sample) String() string {
	if len(s.latency) > 0 {
		return fmt.Sprintf("%d commands, added p50 %s, p99 %s, p99.9 %s", len(s.latency),
			percentile(s.latency, 50), percentile(s.latency, 99), percentile(s.latency, 99.9))
	}
	return fmt.Sprintf("%.0f/s, %.3f CPU s per 1,000 (of %v: %.3f), %.0f MiB", s.rate, s.cpu.Seconds(), serverNames, s.servers, s.peak)
}

// throughput counts the events of a window, in which the subject has always more to do than it can.
func (r *round) throughput(ctx context.Context, subject string) (sample, error) {
	spare := r.load.keep
	if spare == 0 {
		spare = int(float64(r.load.perSecond()) * (r.pace.warm + r.pace.window + time.Second/2).Seconds())
	}
	if err := r.prepareBesides(ctx); err != nil {
		return sample{}, err
	}
	if err := r.feed.publish(ctx, spare); err != nil {
		return sample{}, err
	}
	if err := r.startSubject(subject); err != nil {
		return sample{}, err
	}
	if err := r.until(ctx, "events come", func() (bool, error) {
		now, err := r.moment(ctx)
		if err == nil && now.waiting == 0 {
			err = errRanDry
		}
		return now.events > uint64(2*r.load.inFlight) || r.load.delay > 0 && now.events > 0, err
	}); err != nil {
		return sample{}, err
	}
	feeding, stop := context.WithCancel(ctx)
	fed := make(chan error, 1)
	go func() {
		if r.load.keep > 0 {
			fed <- r.feed.keep(feeding)
		} else {
			fed <- nil
		}
	}()
	s, err := r.window(ctx, subject)
	stop()
	return s, errors.Join(err, <-fed)
}

// window measures between two moments.
func (r *round) window(ctx context.Context, subject string) (s sample, err error) {
	pause(ctx, r.pace.warm)
	from, err := r.moment(ctx)
	if err != nil {
		return s, err
	}
	profile := r.profile(ctx, subject)
	pause(ctx, r.pace.window)
	to, err := r.moment(ctx)
	if err := errors.Join(err, <-profile); err != nil {
		return s, err
	}
	if to.waiting == 0 {
		return s, errRanDry
	}
	if to.events == from.events {
		return s, errors.New("no command was carried out during the measurement")
	}
	n := float64(to.events - from.events)
	for i := range to.servers {
		s.servers = append(s.servers, (to.servers[i]-from.servers[i]).Seconds()/n*1000)
	}
	return sample{
		servers: s.servers, rate: n / to.at.Sub(from.at).Seconds(),
		cpu:  time.Duration(float64(to.cpu-from.cpu) / n * 1000),
		peak: float64(to.peak) / 1024,
	}, ctx.Err()
}

// moment is how far a round has come: the events that are stored and when the last one was, by the clock of JetStream, and what it has
// taken.
type moment struct {
	usage
	events, waiting uint64
	at              time.Time
	servers         []time.Duration // their CPU time
}

func (r *round) moment(ctx context.Context) (m moment, err error) {
	info, err := r.events.Info(ctx)
	if err != nil {
		return m, err
	}
	commands, err := r.js.Stream(ctx, schemas.StreamCommands)
	if err != nil {
		return m, err
	}
	m.events, m.at = info.State.Msgs, info.State.LastTime
	m.waiting = uint64(max(0, int(commands.CachedInfo().State.Msgs)-r.load.besides()))
	for _, server := range r.servers {
		u, err := used([]*process{server})
		if err != nil {
			return m, err
		}
		m.servers = append(m.servers, u.cpu)
	}
	m.usage, err = used(r.subjects)
	return m, err
}

// latencies offers commands at a rate, and takes from what passes until each one's event is stored what LINE Pay takes.
func (r *round) latencies(ctx context.Context, subject string) (s sample, err error) {
	if err := r.startSubject(subject); err != nil {
		return s, err
	}
	warm, err := r.feed.offer(ctx, max(r.pace.warm, 2*time.Second)) // the subject starts meanwhile
	if err != nil {
		return s, err
	}
	if err := r.until(ctx, "all is told that came during the start", r.told(ctx, len(warm))); err != nil {
		return s, err
	}
	before, err := r.moment(ctx)
	if err != nil {
		return s, err
	}
	sent, err := r.feed.offer(ctx, r.pace.latency)
	if err != nil {
		return s, err
	}
	if err := r.until(ctx, "all is told", r.told(ctx, len(warm)+len(sent))); err != nil {
		return s, err
	}
	after, err := r.moment(ctx)
	if err != nil {
		return s, err
	}
	s.rate = float64(len(sent)) / r.pace.latency.Seconds()
	s.cpu, s.peak = (after.cpu-before.cpu)*1000/time.Duration(len(sent)), float64(after.peak)/1024
	s.latency, err = r.added(ctx, len(warm), sent)
	return s, err
}

func (r *round) told(ctx context.Context, n int) func() (bool, error) {
	return func() (bool, error) {
		now, err := r.moment(ctx)
		return now.events >= uint64(n), err
	}
}

// added reads when the events of the commands from first on were stored, and asks the stand-in what each one's call took there.
func (r *round) added(ctx context.Context, first int, sent []time.Time) ([]time.Duration, error) {
	var took map[int64]time.Duration
	if err := r.ask(ctx, "/took", &took); err != nil {
		return nil, err
	}
	reader, err := r.events.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return nil, err
	}
	messages, err := reader.Messages()
	if err != nil {
		return nil, err
	}
	defer messages.Stop()
	list := make([]time.Duration, 0, len(sent))
	for len(list) < len(sent) {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return nil, err
		}
		n, err := numberOf(msg.Subject())
		if err != nil {
			return nil, err
		}
		meta, err := msg.Metadata()
		if err != nil {
			return nil, err
		}
		if n >= first {
			list = append(list, meta.Timestamp.Sub(sent[n-first])-took[r.load.command(n).transaction])
		}
	}
	return list, nil
}

// percentile is the smallest of the values that p per cent of all do not exceed.
func percentile(values []time.Duration, p float64) time.Duration {
	sorted := slices.Sorted(slices.Values(values))
	rank := int(p/100*float64(len(sorted)) + 0.999999)
	return sorted[min(max(rank, 1), len(sorted))-1].Round(10 * time.Microsecond)
}

// median is the middle one; of two in the middle, their mean.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
