package app

import (
	"compress/gzip"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// from gives variables as an environment.
func from(variables map[string]string) func(string) string {
	return func(name string) string { return variables[name] }
}

func TestSpansGoWhereOpenTelemetrysVariablesSay(t *testing.T) {
	t.Parallel()
	var got *http.Request
	var spans tracepb.TracesData
	status := http.StatusOK
	collector := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := gzip.NewReader(r.Body)
		if err != nil {
			t.Error(err)
			return
		}
		text, err := io.ReadAll(body)
		if err == nil {
			err = proto.Unmarshal(text, &spans)
		}
		if err != nil {
			t.Error(err)
		}
		got = r
		w.WriteHeader(status)
	}))
	t.Cleanup(collector.Close)
	certificate := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: collector.Certificate().Raw})
	if err := os.WriteFile(certificate, text, 0o600); err != nil {
		t.Fatal(err)
	}
	variables := map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT": collector.URL + "/base/", "OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Bearer%20a, x-team = pay",
		"OTEL_EXPORTER_OTLP_COMPRESSION": "gzip", "OTEL_EXPORTER_OTLP_CERTIFICATE": certificate, "OTEL_EXPORTER_OTLP_TIMEOUT": "20000",
	}
	o, err := newOTLP(from(variables))
	if err != nil {
		t.Fatal(err)
	}
	send := func() error {
		return o.UploadTraces(t.Context(), []*tracepb.ResourceSpans{{SchemaUrl: "sent"}})
	}
	if err := send(); err != nil || got.URL.Path != "/base/v1/traces" || got.Header.Get("Authorization") != "Bearer a" ||
		got.Header.Get("X-Team") != "pay" || spans.ResourceSpans[0].SchemaUrl != "sent" {
		t.Errorf("error %v, request %+v, spans %v", err, got, &spans)
	}
	status = http.StatusTooManyRequests
	if err := send(); err == nil || !strings.Contains(err.Error(), "429") || strings.Contains(err.Error(), "Bearer") {
		t.Errorf("a refusal: %v", err)
	}
	variables["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] = collector.URL + "/as/it/is"
	if o, err = newOTLP(from(variables)); err != nil || o.endpoint != collector.URL+"/as/it/is" {
		t.Errorf("endpoint %s, error %v", o.endpoint, err)
	}
	if o, err = newOTLP(from(nil)); err != nil || o.endpoint != "http://localhost:4318/v1/traces" || o.zip {
		t.Errorf("without variables: %+v, %v", o, err)
	}
	if err := o.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestVariablesOfOpenTelemetryThatCannotBeReadAreNamed(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://", "OTEL_EXPORTER_OTLP_HEADERS": "Bearer",
		"OTEL_EXPORTER_OTLP_TRACES_HEADERS": "a=%zz", "OTEL_EXPORTER_OTLP_TIMEOUT": "10s", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "0",
		"OTEL_EXPORTER_OTLP_COMPRESSION": "zstd", "OTEL_EXPORTER_OTLP_CERTIFICATE": empty, "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": empty,
		"OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE": "/nowhere",
	} {
		if _, err := newOTLP(from(map[string]string{name: value})); err == nil || !strings.HasPrefix(err.Error(), name) {
			t.Errorf("%s=%s: %v", name, value, err)
		}
	}
}
