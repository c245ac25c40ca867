package main

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"linepay-worker/consumer/consumertest"
	"linepay-worker/linepay"
)

// mostBytes is how large the worker may be.
const mostBytes = 25_000_000

func TestProgramIsSmall(t *testing.T) {
	t.Parallel()
	info, err := os.Stat(binary)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() >= mostBytes {
		t.Errorf("the worker has %d bytes, want less than %d: does something look methods up by name, so that the linker keeps all of them?",
			info.Size(), mostBytes)
	}
}

// collector takes OTLP over HTTP, as protobuf, and keeps what it was given.
type collector struct {
	*httptest.Server
	mu     sync.Mutex
	spans  map[string]*tracepb.Span // by id, in hex
	about  map[string]string        // attributes of the resource
	raw    strings.Builder
	header http.Header
}

func startCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{spans: map[string]*tracepb.Span{}, about: map[string]string{}}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var sent tracepb.TracesData // as an ExportTraceServiceRequest goes over the wire
		if err == nil {
			err = proto.Unmarshal(body, &sent)
		}
		if err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
			t.Errorf("%s %s, %s: %v", r.Method, r.URL, r.Header.Get("Content-Type"), err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.raw.Write(body)
		c.header = r.Header
		for _, of := range sent.ResourceSpans {
			for _, attribute := range of.Resource.Attributes {
				c.about[attribute.Key] = attribute.Value.GetStringValue()
			}
			for _, scope := range of.ScopeSpans {
				for _, span := range scope.Spans {
					c.spans[hex.EncodeToString(span.SpanId)] = span
				}
			}
		}
	}))
	t.Cleanup(c.Close)
	return c
}

// tree is a span with those below it, by name.
func (c *collector) tree(id string) (name string, below map[string]int) {
	below = map[string]int{}
	for _, span := range c.spans {
		if hex.EncodeToString(span.ParentSpanId) == id {
			below[span.Name]++
		}
	}
	return c.spans[id].GetName(), below
}

func text(span *tracepb.Span, key string) string {
	for _, attribute := range span.Attributes {
		if attribute.Key == key {
			return attribute.Value.GetStringValue()
		}
	}
	return ""
}

const (
	traceOfTheShop = "4bf92f3577b34da6a3ce929d0e0e4736"
	spanOfTheShop  = "00f067aa0ba902b7"
)

// order publishes a confirm with the shop's trace; a replay where the number of one is given.
func (s *servers) order(t *testing.T, id, order string, transaction linepay.TransactionID, replay string) {
	t.Helper()
	msg := nats.NewMsg("linepay.commands.default.confirm")
	msg.Header.Set("traceparent", "00-"+traceOfTheShop+"-"+spanOfTheShop+"-01")
	if replay != "" {
		msg.Header.Set("Linepay-Replay", replay)
	}
	msg.Data = []byte(`{"specversion":"1.0","id":"` + id + `","source":"/shop","type":"linepay.command.confirm.v1",` +
		`"data":{"transactionId":"` + transaction.String() + `","orderId":"` + order + `","amount":"100","currency":"TWD"}}`)
	if _, err := s.js.PublishMsg(t.Context(), msg); err != nil {
		t.Fatal(err)
	}
}

// publisher gives the trace and the span that an event names as its own, in header and body alike.
func (s *servers) publisher(t *testing.T, subject string) (trace, span string) {
	t.Helper()
	msg := consumertest.Await(t, s.js, "LINEPAY_EVENTS", subject, 1)[0]
	parts := strings.Split(msg.Header.Get("traceparent"), "-")
	if len(parts) != 4 || !strings.Contains(string(msg.Data), `"traceparent":"`+msg.Header.Get("traceparent")+`"`) {
		t.Fatalf("%s has traceparent %q in its header, and %s", subject, msg.Header.Get("traceparent"), msg.Data)
	}
	return parts[1], parts[2]
}

func TestTraceGoesFromTheCommandThroughTheLineToItsEvent(t *testing.T) {
	t.Parallel()
	s, c := startServers(t), startCollector(t)
	worker := start(t, append(s.env(), "OTEL_EXPORTER_OTLP_ENDPOINT="+c.URL, "OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20"+secret,
		"OTEL_RESOURCE_ATTRIBUTES=deployment.environment=test", "READ_TIMEOUT=1s", "LOOKUP_MARGIN=100ms"))
	ready(t, worker)
	first, second := s.payWithKey(t, "ORDER-1"), s.pay.Paid(t, "ORDER-2", "100", "TWD", true)
	s.order(t, "C-1", "ORDER-1", first, "")
	trace, span := s.publisher(t, "linepay.events.default.captured.ORDER-1")
	s.order(t, "C-2", "ORDER-2", second, "7")
	replayed, _ := s.publisher(t, "linepay.events.default.captured.ORDER-2")
	key := s.event(t, "linepay.events.default.preapproval.ORDER-1").Data.RegKey
	if code := worker.stop(t); code != 0 { // which sends the last spans
		t.Fatalf("exit code %d:\n%s", code, worker.said())
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	if trace != traceOfTheShop || c.spans[span] == nil {
		t.Fatalf("the event is of trace %s, span %s, want trace %s and a span that was sent: %v", trace, span, traceOfTheShop, c.spans)
	}
	delivery := hex.EncodeToString(c.spans[span].ParentSpanId)
	name, below := c.tree(delivery)
	want := map[string]int{"claim": 1, "LINE Pay confirm": 1, "settle": 1, "publish captured": 1, "publish preapproval": 1}
	if diff := cmp.Diff(want, below); diff != "" || name != "process confirm" {
		t.Errorf("below %q (-want +got):\n%s", name, diff)
	}
	root := c.spans[delivery]
	parent, outcome, id := hex.EncodeToString(root.ParentSpanId), text(root, "linepay.outcome"), text(root, "linepay.command.id")
	if parent != spanOfTheShop || outcome != "captured" || id != "C-1" {
		t.Errorf("the delivery is %v, want one below the shop's span that ended in captured", root)
	}
	said := []string{c.about["service.name"], c.about["deployment.environment"], c.header.Get("Authorization")}
	if diff := cmp.Diff([]string{"linepay-worker", "test", "Bearer " + secret}, said); diff != "" {
		t.Errorf("what the worker says of itself, and its header (-want +got):\n%s", diff)
	}
	c.linksToTheShop(t, replayed)
	if line := worker.awaitLog(t, "command"); line.TraceID != traceOfTheShop {
		t.Errorf("the log has trace %q, want %s", line.TraceID, traceOfTheShop)
	}
	for name, kept := range map[string]string{
		"channel secret": s.pay.Secret.Reveal(), "regKey": key, "transaction": first.String(), "header": secret,
	} {
		if strings.Contains(c.raw.String(), kept) || name != "transaction" && strings.Contains(worker.said(), kept) {
			t.Errorf("spans or log have the %s", name)
		}
	}
}

// linksToTheShop: a replay has a trace of its own.
func (c *collector) linksToTheShop(t *testing.T, trace string) {
	t.Helper()
	for _, span := range c.spans {
		if hex.EncodeToString(span.TraceId) != trace || span.Name != "process confirm" {
			continue
		}
		linked := len(span.Links) == 1 && hex.EncodeToString(span.Links[0].SpanId) == spanOfTheShop
		if trace == traceOfTheShop || len(span.ParentSpanId) != 0 || !linked {
			t.Errorf("the replay is %v, want the root of another trace with a link to the shop's span", span)
		}
		return
	}
	t.Errorf("no span of the replay is in trace %s", trace)
}

func TestTracesAreOffUnlessTheyAreWanted(t *testing.T) {
	t.Parallel()
	for name, env := range map[string][]string{
		"nothing set": nil, "switched off": {"OTEL_SDK_DISABLED=true"}, "none": {"OTEL_TRACES_EXPORTER=none"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, c := startServers(t), startCollector(t)
			if env != nil {
				env = append(env, "OTEL_EXPORTER_OTLP_ENDPOINT="+c.URL)
			}
			worker := start(t, append(s.env(), env...))
			ready(t, worker)
			s.order(t, "C-1", "ORDER-1", s.pay.Paid(t, "ORDER-1", "100", "TWD", true), "")
			if trace, span := s.publisher(t, "linepay.events.default.captured.ORDER-1"); trace != traceOfTheShop || span != spanOfTheShop {
				t.Errorf("the event is of trace %s, span %s, want the command's own", trace, span)
			}
			worker.stop(t)
			if c.raw.Len() > 0 || strings.Contains(worker.said(), "traceId") {
				t.Errorf("%d bytes of spans were sent; the log is\n%s", c.raw.Len(), worker.said())
			}
		})
	}
}

func TestCollectorThatIsAwayCostsSpansAndNothingElse(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	worker := start(t, append(s.env(), "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_TIMEOUT=1000",
		"OTEL_BSP_SCHEDULE_DELAY=50"))
	ready(t, worker)
	s.order(t, "C-1", "ORDER-1", s.pay.Paid(t, "ORDER-1", "100", "TWD", true), "")
	s.event(t, "linepay.events.default.captured.ORDER-1")
	worker.awaitLog(t, "traces are lost")
	if code := worker.stop(t); code != 0 {
		t.Errorf("exit code %d:\n%s", code, worker.said())
	}
}

func TestTracesThatCannotBeSentAreAWrongSetting(t *testing.T) {
	t.Parallel()
	for variable, want := range map[string]string{
		"OTEL_TRACES_EXPORTER=zipkin":             "OTEL_TRACES_EXPORTER is zipkin: must be otlp or none",
		"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=grpc": "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL is grpc: must be http/protobuf",
	} {
		worker := start(t, []string{
			"LINEPAY_CHANNEL_ID=1", "LINEPAY_CHANNEL_SECRET=" + secret, "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", variable,
		})
		if code := worker.end(); code != usage || !strings.Contains(worker.said(), "linepay-worker: "+want) {
			t.Errorf("%s: exit code %d, output %q, want %d and %q", variable, code, worker.said(), usage, want)
		}
	}
}
