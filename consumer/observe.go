package consumer

import (
	"errors"
	"time"

	"linepay-worker/idempotency"
	"linepay-worker/schemas"
)

// observe writes one log line and counts. Nothing of a command's data is logged; what went wrong is, as errors hold no data either.
func (w *Worker) observe(m *Message, f Fate, took time.Duration) {
	w.metrics.handled.WithLabelValues(m.operation(), f.Kind.String(), f.outcome()).Inc()
	w.metrics.seconds.Observe(took.Seconds())
	if f.Kind == Ack && m.Replay > 0 {
		w.metrics.replays.WithLabelValues(m.operation(), f.outcome()).Inc()
	}
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
	if trace := m.traceID(); trace != "" {
		line = line.Str("traceId", trace)
	}
	line.Msg("command")
	m.endTrace(f)
}

// noAnswer names, as a label, why the guard gave no answer to a claim.
func noAnswer(err error) string {
	switch {
	case errors.Is(err, idempotency.ErrForgotten):
		return "forgotten"
	case errors.Is(err, idempotency.ErrRecord):
		return "unreadable"
	default:
		return "unavailable"
	}
}
