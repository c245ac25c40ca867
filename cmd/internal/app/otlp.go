package app

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// otlp sends spans to a collector: OTLP over HTTP, as protobuf, by OpenTelemetry's own variables. OpenTelemetry's client for that comes with
// gRPC, whose debug pages look methods up by name, so that the linker keeps every method of every type: the worker would be larger by 11 MB.
type otlp struct {
	endpoint string
	headers  http.Header
	zip      bool
	client   *http.Client
}

const (
	usualCollector   = "http://localhost:4318"
	usualOTLPTimeout = 10 * time.Second
	mostOfAnAnswer   = 1 << 10 // bytes of a collector's refusal that are read
)

// newOTLP reads OTEL_EXPORTER_OTLP_TRACES_ and, where these are not set, OTEL_EXPORTER_OTLP_ ENDPOINT, HEADERS, TIMEOUT (ms), COMPRESSION,
// CERTIFICATE, CLIENT_CERTIFICATE and CLIENT_KEY. Errors name the variable.
func newOTLP(env func(string) string) (*otlp, error) {
	o := &otlp{endpoint: usualCollector + "/v1/traces", headers: http.Header{"Content-Type": {"application/x-protobuf"}}}
	secure := &tls.Config{MinVersion: tls.VersionTLS12}
	o.client = &http.Client{Timeout: usualOTLPTimeout, Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: secure, ForceAttemptHTTP2: true, IdleConnTimeout: time.Minute,
	}}
	var p problems
	p.add(o.locate(env))
	for _, setting := range []struct {
		name string
		take func(value string) error
	}{
		{"HEADERS", o.addHeaders},
		{"TIMEOUT", o.waitFor},
		{"COMPRESSION", o.compress},
		{"CERTIFICATE", func(path string) error { return trust(secure, path) }},
		{"CLIENT_CERTIFICATE", func(path string) error {
			_, key := otlpSetting(env, "CLIENT_KEY")
			pair, err := tls.LoadX509KeyPair(path, key)
			secure.Certificates = []tls.Certificate{pair}
			return err
		}},
	} {
		if name, value := otlpSetting(env, setting.name); value != "" {
			if err := setting.take(value); err != nil {
				p.add(fmt.Errorf("%s: %w", name, err))
			}
		}
	}
	return o, p.error()
}

// otlpSetting is a variable for traces, or for all that OpenTelemetry sends.
func otlpSetting(env func(string) string, what string) (name, value string) {
	for _, name = range []string{"OTEL_EXPORTER_OTLP_TRACES_" + what, "OTEL_EXPORTER_OTLP_" + what} {
		if value = env(name); value != "" {
			return name, value
		}
	}
	return name, ""
}

func (o *otlp) waitFor(value string) error {
	ms, err := strconv.Atoi(value)
	if err != nil || ms <= 0 {
		return fmt.Errorf("must be milliseconds above 0, not %q", value)
	}
	o.client.Timeout = time.Duration(ms) * time.Millisecond
	return nil
}

func (o *otlp) compress(value string) error {
	if o.zip = value == "gzip"; !o.zip && value != "none" {
		return fmt.Errorf("must be gzip or none, not %q", value)
	}
	return nil
}

func trust(secure *tls.Config, path string) error {
	pem, err := os.ReadFile(path)
	if secure.RootCAs = x509.NewCertPool(); err == nil && !secure.RootCAs.AppendCertsFromPEM(pem) {
		err = errors.New("holds no certificate (PEM)")
	}
	return err
}

// locate: the address of a collector is completed, that for traces is taken as it is.
func (o *otlp) locate(env func(string) string) error {
	name, address := otlpSetting(env, "ENDPOINT")
	if address == "" {
		return nil
	}
	target, err := url.Parse(address)
	if err != nil || target.Host == "" || target.Scheme != "http" && target.Scheme != "https" {
		return foreign(name, address, "must be an address such as "+usualCollector)
	}
	if name == "OTEL_EXPORTER_OTLP_ENDPOINT" {
		target = target.JoinPath("v1/traces")
	}
	o.endpoint = target.String()
	return nil
}

// addHeaders reads name=value pairs, separated by commas, with values as in an address. Their values may be secrets.
func (o *otlp) addHeaders(list string) error {
	for pair := range strings.SplitSeq(list, ",") {
		name, value, found := strings.Cut(pair, "=")
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if name = strings.TrimSpace(name); name == "" || !found || err != nil {
			return errors.New("must be name=value pairs, separated by commas, with values as in an address")
		}
		o.headers.Set(name, value)
	}
	return nil
}

// Start and Stop are for clients with a connection of their own.
func (o *otlp) Start(context.Context) error { return nil }

// Stop ends idle connections.
func (o *otlp) Stop(context.Context) error {
	o.client.CloseIdleConnections()
	return nil
}

// UploadTraces sends spans once: those that a collector does not take are lost.
func (o *otlp) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	// On the wire this is an ExportTraceServiceRequest: both have the spans as their first field, and no other.
	body, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: spans})
	if err != nil {
		return err
	}
	headers := o.headers.Clone()
	if o.zip {
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		if _, err := z.Write(body); err != nil {
			return err
		}
		if err := z.Close(); err != nil {
			return err
		}
		body = packed.Bytes()
		headers.Set("Content-Encoding", "gzip")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, o.endpoint, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header = headers
	response, err := o.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, _ = io.CopyN(io.Discard, response.Body, mostOfAnAnswer) // so that the connection can be used again
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("the collector at %s answers %s", redact(o.endpoint), response.Status)
	}
	return nil
}
