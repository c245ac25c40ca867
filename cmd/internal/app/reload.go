package app

import (
	"context"
	"os"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

var lastReload = held("linepay_channels_last_reload_successful",
	"Whether the channels are served as their file says: 0 where it could not be read at the last SIGHUP, and they are as they were.")

// Reload reads the channels again when it is told to, and has the workers serve them. What cannot be read leaves everything as it was; the log
// says where it is wrong, /readyz and a metric that it happened. As a collector it gives that metric.
type Reload struct {
	workers *Workers
	load    func() ([]Channel, error)
	logger  zerolog.Logger
	failed  atomic.Pointer[error] // why the last one failed; nil where it did not
	good    prometheus.GaugeFunc
}

// NewReload prepares it; load reads the channels and checks them.
func NewReload(workers *Workers, load func() ([]Channel, error), logger zerolog.Logger) *Reload {
	r := &Reload{workers: workers, load: load, logger: logger}
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

// On gives the actor that reloads with every signal.
func (r *Reload) On(signals <-chan os.Signal) Actor {
	return func(ctx context.Context) error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-signals:
				r.now(ctx)
			}
		}
	}
}

func (r *Reload) now(ctx context.Context) {
	channels, err := r.load()
	if err == nil {
		err = r.workers.Set(ctx, channels)
	}
	if err != nil {
		r.failed.Store(&err)
		r.logger.Error().Err(err).Msg("the channels were not reloaded: they are served as before")
		return
	}
	r.failed.Store(nil)
	r.logger.Info().Int("channels", len(channels)).Msg("the channels were reloaded")
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
