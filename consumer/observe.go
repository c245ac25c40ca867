package consumer

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of one channel.
type metrics struct {
	handled  *prometheus.CounterVec
	seconds  prometheus.Observer
	inFlight prometheus.Gauge
}

func newMetrics(registry prometheus.Registerer, channel string) metrics {
	labels := prometheus.Labels{"channel": channel}
	handled := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "linepay_commands_handled_total", Help: "Deliveries of commands, by what became of them (ack, wait, retry).", ConstLabels: labels,
	}, []string{"operation", "fate"})
	seconds := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "linepay_command_seconds", Help: "Time from the delivery of a command to its fate.", ConstLabels: labels,
		Buckets: []float64{.002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 20, 40, 60},
	})
	inFlight := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "linepay_commands_in_flight", Help: "Commands being handled right now.", ConstLabels: labels,
	})
	if registry != nil {
		registry.MustRegister(handled, seconds, inFlight)
	}
	return metrics{handled: handled, seconds: seconds, inFlight: inFlight}
}

// observe writes one log line and counts. Nothing of a command's data is logged; what went wrong is, as errors hold no data either.
func (w *Worker) observe(m *Message, f Fate, took time.Duration) {
	w.metrics.handled.WithLabelValues(m.operation(), f.Kind.String()).Inc()
	w.metrics.seconds.Observe(took.Seconds())
	line := w.cfg.Logger.Info()
	switch {
	case f.Err != nil:
		line = w.cfg.Logger.Warn().Err(f.Err)
	case f.Kind == Wait:
		line = w.cfg.Logger.Debug()
	}
	line = line.Str("operation", m.operation()).Uint64("sequence", m.Sequence).Uint64("delivery", m.Deliveries).
		Stringer("fate", f.Kind).Str("why", f.Why).Dur("took", took)
	if f.Kind != Ack {
		line = line.Dur("after", f.After)
	}
	line.Msg("command")
}
