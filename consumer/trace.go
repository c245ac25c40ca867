package consumer

import (
	"context"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// A command's trace goes through the line: from its traceparent, through claim, calls, settle and publish, to the traceparent of its events.
// Spans name operations, outcomes and codes, and hold nothing of a command's data. Without a tracer none of this costs anything.

// end ends a span, with what went wrong in it, if anything.
type end func(error)

func endOfNothing(error) {}

// trace begins the span of one delivery, which ends with its fate. A delivery goes on with the trace that the command came with; a replay,
// which may come days later and on somebody else's order, begins a trace of its own that links to it.
func (w *Worker) trace(ctx context.Context, m *Message, cmd *command) context.Context {
	if w.cfg.Tracer == nil {
		return ctx
	}
	carrier := propagation.MapCarrier{schemas.HeaderTraceParent: cmd.TraceParent}
	came := trace.SpanContextFromContext(traceContext.Extract(context.Background(), carrier))
	options := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindConsumer), trace.WithTimestamp(m.arrived), trace.WithAttributes(
		attribute.String("messaging.system", "nats"), attribute.String("messaging.destination.name", schemas.StreamCommands),
		attribute.String("linepay.channel", w.cfg.Channel), attribute.String("linepay.operation", m.operation()),
		attribute.String("linepay.command.source", m.Source), attribute.String("linepay.command.id", m.ID),
		attribute.Int64("linepay.sequence", int64(m.Sequence)), attribute.Int64("linepay.delivery", int64(m.Deliveries)),
	)}
	switch {
	case m.Replay > 0: // a link to no trace is left out
		options = append(options, trace.WithNewRoot(), trace.WithLinks(trace.Link{SpanContext: came}))
	case came.IsValid():
		ctx = trace.ContextWithRemoteSpanContext(ctx, came)
	}
	ctx, m.span = w.cfg.Tracer.Start(ctx, "process "+m.operation(), options...)
	return ctx
}

var traceContext propagation.TraceContext

// endTrace ends the span of a delivery with its fate.
func (m *Message) endTrace(f Fate) {
	if m.span == nil {
		return
	}
	why := f.Why
	if f.Kind != Ack { // what is in the way is named by what stands in its command's data
		why, _, _ = strings.Cut(why, ":")
	}
	m.span.SetAttributes(
		attribute.Stringer("linepay.fate", f.Kind), attribute.String("linepay.outcome", f.outcome()), attribute.String("linepay.why", why),
	)
	if f.Err != nil {
		m.span.SetStatus(codes.Error, why)
	}
	m.span.End()
}

// traceID is "" where there is no trace.
func (m *Message) traceID() string {
	if m.span == nil {
		return ""
	}
	return m.span.SpanContext().TraceID().String()
}

// step begins the span of a step.
func (w *Worker) step(ctx context.Context, name string) (context.Context, end) {
	if w.cfg.Tracer == nil {
		return ctx, endOfNothing
	}
	ctx, span := w.cfg.Tracer.Start(ctx, name)
	return ctx, func(err error) {
		if err != nil {
			span.SetStatus(codes.Error, name+" failed")
		}
		span.End()
	}
}

// calling begins the span of one call to LINE Pay.
func (w *Worker) calling(ctx context.Context, op linepay.Operation) (context.Context, end) {
	if w.cfg.Tracer == nil {
		return ctx, endOfNothing
	}
	ctx, span := w.cfg.Tracer.Start(ctx, "LINE Pay "+string(op), trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("server.address", w.cfg.LINEPay.Host()), attribute.String("linepay.operation", string(op)),
	))
	return ctx, func(err error) {
		class := linepay.VerdictOf(err).String()
		span.SetAttributes(attribute.String("linepay.class", class), attribute.String("linepay.code", answerOf(err).Code))
		if err != nil {
			span.SetStatus(codes.Error, class)
		}
		span.End()
	}
}

// publishing begins the span that publishes an event, and has the event name it.
func (w *Worker) publishing(ctx context.Context, e *schemas.Event) (context.Context, end) {
	if w.cfg.Tracer == nil {
		return ctx, endOfNothing
	}
	ctx, span := w.cfg.Tracer.Start(ctx, "publish "+e.Name(), trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(
		attribute.String("messaging.system", "nats"), attribute.String("messaging.destination.name", schemas.StreamEvents),
		attribute.String("messaging.message.id", e.ID),
	))
	carrier := propagation.MapCarrier{}
	traceContext.Inject(ctx, carrier)
	e.TraceParent = carrier[schemas.HeaderTraceParent]
	return ctx, func(err error) {
		if err != nil {
			span.SetStatus(codes.Error, "not stored")
		}
		span.End()
	}
}
