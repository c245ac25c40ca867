package consumer

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"linepay-worker/schemas"
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
		Name: "linepay_commands_handled_total", ConstLabels: labels,
		Help: "Deliveries of commands, by what became of them (ack, wait, retry), and by the command's answer where it has one.",
	}, []string{"operation", "fate", "outcome"})
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
	w.metrics.handled.WithLabelValues(m.operation(), f.Kind.String(), f.outcome()).Inc()
	w.metrics.seconds.Observe(took.Seconds())
	line := w.cfg.Logger.Info()
	switch {
	case f.Err != nil || f.Outcome == schemas.EventParked:
		line = w.cfg.Logger.Warn().AnErr("error", f.Err)
	case f.Kind == Wait:
		line = w.cfg.Logger.Debug()
	}
	line = line.Str("operation", m.operation()).Str("source", m.Source).Str("id", m.ID).
		Uint64("sequence", m.Sequence).Uint64("delivery", m.Deliveries).
		Stringer("fate", f.Kind).Str("outcome", f.outcome()).Str("why", f.Why).Int64("tookMs", took.Milliseconds())
	if f.Kind != Ack {
		line = line.Int64("afterMs", f.After.Milliseconds())
	}
	line.Msg("command")
}
