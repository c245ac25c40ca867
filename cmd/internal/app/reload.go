package app

import (
	"context"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// ReloadSettings say when the channels are read again.
type ReloadSettings struct {
	Every time.Duration `name:"reload-every" env:"RELOAD_EVERY" default:"0s" help:"How often the files of the channels and of their secrets are looked at, so that a change is taken without SIGHUP (duration, at least 100ms; 0s: at SIGHUP alone)."`
}

// Validate checks that the files are not read all the time.
func (s ReloadSettings) Validate() error {
	var p problems
	p.require(s.Every == 0 || s.Every >= 100*time.Millisecond, "RELOAD_EVERY", s.Every, "must be at least 100ms, or 0s for SIGHUP alone")
	return p.error()
}

var lastReload = held("linepay_channels_last_reload_successful",
	"Whether the channels are served as their file says: 0 where that could not be followed when it was read last, and they are as they were.")

// Reload reads the channels again when it is told to, and where it is wanted, of itself when they have changed, and has the workers serve
// them. What cannot be read leaves everything as it was; the log says where it is wrong, /readyz and a metric that it happened. As a
// collector it gives that metric.
type Reload struct {
	set    func(context.Context, []Channel) error // Workers.Set
	served func() []Channel                       // Workers.Served
	load   func() ([]Channel, error)
	every  time.Duration // 0: at a signal alone
	last   reading       // what the last look has found
	logger zerolog.Logger
	failed atomic.Pointer[error] // why the last one failed; nil where it did not
	good   prometheus.GaugeFunc
}

// reading is what the files say: the channels, or what is wrong.
type reading struct {
	channels []Channel
	err      error
}

// same says whether two readings have found the same. The text of an error is looked at for nothing else.
func (r reading) same(other reading) bool {
	return text(r.err) == text(other.err) && slices.Equal(r.channels, other.channels)
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// NewReload prepares it; load reads the channels and checks them.
func NewReload(workers *Workers, settings ReloadSettings, load func() ([]Channel, error), logger zerolog.Logger) *Reload {
	r := &Reload{set: workers.Set, served: workers.Served, load: load, every: settings.Every, logger: logger}
	r.good = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: lastReload.Name, Help: lastReload.Help,
	}, func() float64 {
		if r.failed.Load() != nil {
			return 0
		}
		return 1
	})
	return r
}

// On gives the actor that reloads with every signal, and looks for changes.
func (r *Reload) On(signals <-chan os.Signal) Actor {
	return func(ctx context.Context) error {
		var looks <-chan time.Time
		if r.every > 0 {
			ticker := time.NewTicker(r.every)
			defer ticker.Stop()
			looks = ticker.C
		}
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-signals:
				channels, err := r.load()
				r.take(ctx, reading{channels, err}, true)
			case <-looks:
				r.look(ctx)
			}
		}
	}
}

// look takes what has changed, once two looks have found the same: a file that is being written is not taken by half. What fails is tried
// again at every look, and told when it is something new.
func (r *Reload) look(ctx context.Context) {
	channels, err := r.load()
	found := reading{channels, err}
	settled := found.same(r.last)
	r.last = found
	switch {
	case !settled:
	case err == nil && slices.Equal(channels, r.served()):
		if r.failed.Swap(nil) != nil {
			r.logger.Info().Msg("the channels are served as they are configured again")
		}
	default:
		r.take(ctx, found, false)
	}
}

// take has what was read served. Who has asked for it is told in any case what is wrong; otherwise the log has each error once.
func (r *Reload) take(ctx context.Context, found reading, asked bool) {
	err := found.err
	if err == nil {
		err = r.set(ctx, found.channels)
	}
	if err != nil && ctx.Err() != nil { // a worker that stops serves nothing else any more
		return
	}
	if err != nil {
		if before := r.failed.Swap(&err); asked || before == nil || text(*before) != text(err) {
			r.logger.Error().Err(err).Msg("the channels were not reloaded: they are served as before")
		}
		return
	}
	r.failed.Store(nil)
	r.logger.Info().Int("channels", len(found.channels)).Msg("the channels were reloaded")
}

// ChannelsCheck is the name of the reload's check in /readyz, and AsConfigured its detail while no reload has failed.
const (
	ChannelsCheck = "channels"
	AsConfigured  = "served as configured"
)

// Check never fails, since the worker goes on; it tells that the last reload did.
func (r *Reload) Check() Check {
	return Check{Name: ChannelsCheck, Run: func(context.Context) (string, error) {
		if err := r.failed.Load(); err != nil {
			return "served as before the last reload, which failed: " + (*err).Error(), nil
		}
		return AsConfigured, nil
	}}
}

// Describe tells of the metric.
func (r *Reload) Describe(all chan<- *prometheus.Desc) { r.good.Describe(all) }

// Collect gives the metric.
func (r *Reload) Collect(metrics chan<- prometheus.Metric) { r.good.Collect(metrics) }
