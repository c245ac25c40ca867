package consumer

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/sony/gobreaker/v2"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"linepay-worker/idempotency"
	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

func TestLogLineHasFixedKeysAndNoData(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	cfg := plain(t, 0)
	cfg.Logger = zerolog.New(&log).Level(zerolog.DebugLevel)
	w, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	m := &Message{
		Subject: "linepay.commands.tw.preapproved-pay", Header: map[string][]string{"Authorization": {"very secret"}},
		Body: []byte("very secret"), Sequence: 7, Deliveries: 2, Replay: 3,
	}
	m.Source, m.ID = "/shop", "C-1"
	always := []string{"channel", "delivery", "fate", "id", "level", "message", "operation", "outcome", "sequence", "source", "tookMs", "why"}
	for _, c := range []struct {
		fate    Fate
		level   string
		further []string
	}{
		{ack("captured"), "info", nil},
		{wait(time.Second, "busy"), "debug", []string{"afterMs"}},
		{retry(time.Second, "not sent", errors.New("connection refused")), "warn", []string{"afterMs", "error"}},
		{retry(time.Second, "panic", nil), "info", []string{"afterMs"}},
	} {
		log.Reset()
		w.observe(m, c.fate, 1500*time.Microsecond)
		var line map[string]any
		if err := json.Unmarshal(log.Bytes(), &line); err != nil {
			t.Fatalf("%v: %s", err, log.String())
		}
		keys := make([]string, 0, len(line))
		for key := range line {
			keys = append(keys, key)
		}
		slices.Sort(keys)
		want := slices.Sorted(slices.Values(append(c.further, always...)))
		if diff := cmp.Diff(want, keys); diff != "" {
			t.Errorf("%s: keys (-want +got):\n%s", c.fate.Why, diff)
		}
		if line["level"] != c.level || line["channel"] != "tw" || line["operation"] != "preapproved-pay" || line["sequence"] != 7.0 ||
			line["delivery"] != 2.0 || line["fate"] != c.fate.Kind.String() || line["why"] != c.fate.Why || line["tookMs"] != 1.0 || line["id"] != "C-1" || line["source"] != "/shop" {
			t.Errorf("%s: %s", c.fate.Why, log.String())
		}
		if strings.Contains(log.String(), "secret") {
			t.Errorf("%s: the line has data: %s", c.fate.Why, log.String())
		}
	}
}

func TestMetricsOfTwoChannelsStandSideBySide(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	for _, channel := range []string{"tw", "jp"} {
		cfg := plain(t, 0)
		cfg.Channel, cfg.Metrics = channel, registry
		w, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		for range len(channel) {
			w.observe(&Message{Subject: "linepay.commands.tw.refund"}, ack("refunded"), time.Second)
		}
		w.observe(&Message{Subject: "linepay.commands.tw.steal"}, wait(0, "busy"), time.Second)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, family := range families {
		if !slices.Contains([]string{"linepay_command_seconds", "linepay_commands_handled_total", "linepay_commands_in_flight", "linepay_breaker_state"}, family.GetName()) {
			continue
		}
		for _, metric := range family.GetMetric() {
			line := family.GetName()
			for _, label := range metric.GetLabel() {
				line += " " + label.GetName() + "=" + label.GetValue()
			}
			got = append(got, line)
		}
	}
	want := []string{
		"linepay_breaker_state channel=jp state=closed", "linepay_breaker_state channel=jp state=half-open", "linepay_breaker_state channel=jp state=open",
		"linepay_breaker_state channel=tw state=closed", "linepay_breaker_state channel=tw state=half-open", "linepay_breaker_state channel=tw state=open",
		"linepay_command_seconds channel=jp", "linepay_command_seconds channel=tw",
		"linepay_commands_handled_total channel=jp fate=ack operation=refund outcome=none", "linepay_commands_handled_total channel=jp fate=wait operation=unknown outcome=none",
		"linepay_commands_handled_total channel=tw fate=ack operation=refund outcome=none", "linepay_commands_handled_total channel=tw fate=wait operation=unknown outcome=none",
		"linepay_commands_in_flight channel=jp", "linepay_commands_in_flight channel=tw",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}

func TestMetricsSayWhatCameOfIt(t *testing.T) {
	t.Parallel()
	cfg := plain(t, 0)
	registry := prometheus.NewRegistry()
	cfg.Metrics = registry
	w, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	m := func(replay uint64) *Message { return &Message{Subject: "linepay.commands.tw.refund", Replay: replay} }
	answered := Fate{Kind: Ack, Outcome: schemas.EventRefunded}
	w.observe(m(0), answered, time.Second)
	w.observe(m(3), wait(time.Second, "busy"), time.Second)
	w.observe(m(3), answered, time.Second)
	for answer := idempotency.Fresh; answer <= idempotency.Parked; answer++ {
		w.metrics.claimed("refund", &idempotency.Claim{Answer: answer}, nil)
	}
	for _, err := range []error{idempotency.ErrForgotten, idempotency.ErrRecord, idempotency.ErrUnavailable} {
		w.metrics.claimed("confirm", nil, err)
	}
	w.metrics.published(anEvent, time.Second, nil)
	w.metrics.published(anEvent, time.Second, errors.New("no answer"))
	w.guardDown.Store(true)

	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			name := family.GetName()
			for _, label := range metric.GetLabel() {
				if label.GetName() != "channel" {
					name += " " + label.GetValue()
				}
			}
			got[name] = metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + float64(metric.GetHistogram().GetSampleCount())
		}
	}
	for name, want := range map[string]float64{
		commandReplays.Name + " refund refunded": 1, commandReplays.Name + " refund none": 0, duplicates.Name + " refund": 4,
		claimsAnswered.Name + " forgotten confirm": 1, claimsAnswered.Name + " unreadable confirm": 1, claimsAnswered.Name + " unavailable confirm": 1,
		publishSeconds.Name + " event stored": 1, publishSeconds.Name + " event failed": 1, guardAnswers.Name: 0, memoryBelieved.Name: 1,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v; there are %v", name, got[name], want, slices.Sorted(maps.Keys(got)))
		}
	}
	for evidence, want := range map[evidence]string{happened: "happened", nothing: "nothing", over: "over", ambiguous: "ambiguous", unsure: "unsure"} {
		if got := evidence.String(); got != want {
			t.Errorf("evidence is called %q, want %q", got, want)
		}
	}
}

func TestReadinessSaysWhyNothingIsDone(t *testing.T) {
	t.Parallel()
	w, err := New(plain(t, 0))
	if err != nil {
		t.Fatal(err)
	}
	expect := func(want string) {
		t.Helper()
		err := w.Ready(t.Context())
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("ready says %v, want %q", err, want)
		}
	}
	expect("JetStream")
	w.pulling.Store(true)
	expect("")
	w.round.Store(time.Now().Add(-2*w.cfg.ackWait() - longestPull).UnixNano())
	expect("the pull of commands has stalled: none was begun for ")
	w.round.Store(time.Now().UnixNano())
	expect("")
	untold := errors.New("maximum bytes exceeded")
	w.unpublished.Store(&untold)
	expect("what is done cannot be told: maximum bytes exceeded")
	w.unpublished.Store(nil)
	for range breakerFaults {
		expect("")
		_, _ = w.breaker.Execute(func() (Outcome, error) { return Outcome{}, errors.New("no answer") })
	}
	if w.breaker.State() != gobreaker.StateOpen {
		t.Fatalf("the breaker is %s after %d faults", w.breaker.State(), breakerFaults)
	}
	expect("LINE Pay")
	w.guardDown.Store(true)
	expect("Redis")
}

func TestTracesThatAreOffCostNothing(t *testing.T) {
	// Not parallel: the allocations of others would count.
	w, err := New(plain(t, 0))
	if err != nil {
		t.Fatal(err)
	}
	m, cmd, event, ctx := &Message{Subject: "linepay.commands.tw.refund"}, &command{}, &schemas.Event{TraceParent: "the command's"}, t.Context()
	allocated := testing.AllocsPerRun(100, func() {
		ctx := w.trace(ctx, m, cmd)
		_, end := w.step(ctx, "claim")
		end(nil)
		_, end = w.calling(ctx, linepay.Refund)
		end(nil)
		_, end = w.publishing(ctx, event)
		end(nil)
		m.endTrace(Fate{})
	})
	if allocated > 0 || m.traceID() != "" || event.TraceParent != "the command's" {
		t.Errorf("%v allocations, trace %q, and the event names %q; want none of them", allocated, m.traceID(), event.TraceParent)
	}
}

func TestSpansOfStepsSayWhetherTheyFailed(t *testing.T) {
	t.Parallel()
	for _, failure := range []error{nil, errors.New("no answer")} {
		sent := tracetest.NewInMemoryExporter()
		cfg := plain(t, 0)
		cfg.Tracer = sdk.NewTracerProvider(sdk.WithSyncer(sent)).Tracer("test")
		w, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		_, end := w.step(t.Context(), "claim")
		end(failure)
		_, end = w.calling(t.Context(), linepay.Refund)
		end(failure)
		_, end = w.publishing(t.Context(), &schemas.Event{Type: "linepay.event.refunded.v1"})
		end(failure)
		spans := sent.GetSpans()
		if len(spans) != 3 {
			t.Fatalf("%d spans, want 3", len(spans))
		}
		for _, span := range spans {
			if failed := span.Status.Code == codes.Error; failed != (failure != nil) {
				t.Errorf("the span %q has status %v after the error %v", span.Name, span.Status.Code, failure)
			}
		}
	}
}

// A replay may come days later, and somebody else may have asked for it.
func TestDeliveryGoesOnWithItsCommandsTraceAndAReplayLinksToIt(t *testing.T) {
	t.Parallel()
	const id = "4bf92f3577b34da6a3ce929d0e0e4736"
	for _, c := range []struct {
		parent          string
		replay          uint64
		continues, link bool
	}{
		{"", 0, false, false},
		{"", 7, false, false},
		{"00-" + id + "-00f067aa0ba902b7-01", 0, true, false},
		{"00-" + id + "-00f067aa0ba902b7-01", 7, false, true},
	} {
		sent := tracetest.NewInMemoryExporter()
		cfg := plain(t, 0)
		cfg.Tracer = sdk.NewTracerProvider(sdk.WithSyncer(sent)).Tracer("test")
		w, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		m := &Message{Subject: "linepay.commands.tw.refund", Replay: c.replay}
		w.trace(t.Context(), m, &command{Command: &schemas.Command{TraceParent: c.parent}})
		m.endTrace(ack("refunded"))
		span := sent.GetSpans()[0]
		if got := span.SpanContext.TraceID().String() == id; got != c.continues {
			t.Errorf("%+v: the trace is %s", c, span.SpanContext.TraceID())
		}
		if len(span.Links) > 1 || (len(span.Links) == 1) != c.link || c.link && span.Links[0].SpanContext.TraceID().String() != id {
			t.Errorf("%+v: the links are %v", c, span.Links)
		}
	}
}

func TestSpansSayHowItWentAndHoldNoData(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		fate Fate
		want map[string]string
		code codes.Code
	}{
		{
			Fate{Kind: Ack, Why: "parked: unresolved", Outcome: "parked"},
			map[string]string{"fate": "ack", "outcome": "parked", "why": "parked: unresolved"},
			codes.Unset,
		},
		{
			wait(time.Second, "busy: held by confirm:2018082512345678910"),
			map[string]string{"fate": "wait", "outcome": "none", "why": "busy"},
			codes.Unset,
		},
		{
			retry(time.Second, "no claim", errors.New("confirm:2018082512345678910: connection refused")),
			map[string]string{"fate": "retry", "outcome": "none", "why": "no claim"},
			codes.Error,
		},
	} {
		sent := tracetest.NewInMemoryExporter()
		provider := sdk.NewTracerProvider(sdk.WithSyncer(sent))
		cfg := plain(t, 0)
		var log bytes.Buffer
		cfg.Tracer, cfg.Logger = provider.Tracer("test"), zerolog.New(&log)
		w, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		m := &Message{Subject: "linepay.commands.tw.refund", Body: []byte("very secret"), Sequence: 7, Deliveries: 2, Source: "/shop", ID: "C-1"}
		defer func() {
			if want := `"traceId":"` + m.traceID() + `"`; !strings.Contains(log.String(), want) {
				t.Errorf("%s: the log line is %s, want %s in it", c.fate.Why, log.String(), want)
			}
		}()
		w.trace(t.Context(), m, &command{Command: &schemas.Command{}})
		w.observe(m, c.fate, time.Second)
		spans := sent.GetSpans()
		if len(spans) != 1 || spans[0].Status.Code != c.code || m.traceID() != spans[0].SpanContext.TraceID().String() {
			t.Fatalf("%s: spans %+v, want one with status %s", c.fate.Why, spans, c.code)
		}
		got := map[string]string{}
		for _, attribute := range spans[0].Attributes {
			if name, ours := strings.CutPrefix(string(attribute.Key), "linepay."); ours && c.want[name] != "" {
				got[name] = attribute.Value.AsString()
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: attributes (-want +got):\n%s", c.fate.Why, diff)
		}
		if said := fmt.Sprintf("%+v", spans); strings.Contains(said, "2018") || strings.Contains(said, "secret") {
			t.Errorf("%s: the span has data: %s", c.fate.Why, said)
		}
	}
}
