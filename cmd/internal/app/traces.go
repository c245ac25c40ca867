package app

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// lastTraces bounds how long a program that ends waits for its collector.
const lastTraces = 5 * time.Second

// StartTraces gives what makes a program's spans, and what sends the last of them when it ends. Traces are off, and the tracer nil, unless
// OpenTelemetry's own variables turn them on: an OTEL_EXPORTER_OTLP_ENDPOINT (or …_TRACES_ENDPOINT), or OTEL_TRACES_EXPORTER=otlp. They are
// sent as OTLP over HTTP; a collector that is away costs spans and nothing else.
//
// Errors: those of CheckTraces, and what the exporter cannot be made with, such as a certificate that is not there.
func StartTraces(ctx context.Context, program string, logger zerolog.Logger) (trace.Tracer, func(), error) {
	if wanted, err := tracesWanted(os.Getenv); err != nil || !wanted {
		return nil, func() {}, err
	}
	client, err := newOTLP(os.Getenv)
	if err != nil {
		return nil, nil, err
	}
	exporter, err := otlptrace.New(ctx, client)
	if err != nil {
		return nil, nil, fmt.Errorf("traces: %w", err)
	}
	// What stands last wins: OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES.
	about, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(
		attribute.String("service.name", program), attribute.String("service.version", cmp.Or(version, "devel")),
	), resource.WithFromEnv())
	if err != nil {
		return nil, nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	seldom := logger.Sample(&zerolog.BurstSampler{Burst: 1, Period: time.Minute})
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { seldom.Warn().Err(err).Msg("traces are lost") }))
	provider := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(about))
	logger.Info().Msg("sending traces")
	return provider.Tracer("linepay-worker"), func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastTraces)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil {
			logger.Warn().Err(err).Msg("the last traces are lost")
		}
	}, nil
}

// CheckTraces names a variable of OpenTelemetry's that asks for what there is not here.
func CheckTraces() error {
	wanted, err := tracesWanted(os.Getenv)
	if err == nil && wanted {
		_, err = newOTLP(os.Getenv)
	}
	return err
}

// tracesWanted reads those of OpenTelemetry's variables that say whether there are traces, and how they are sent.
func tracesWanted(env func(string) string) (bool, error) {
	first := func(names ...string) (name, value string) {
		for _, name = range names {
			if value = env(name); value != "" {
				return name, value
			}
		}
		return name, ""
	}
	if strings.EqualFold(env("OTEL_SDK_DISABLED"), "true") {
		return false, nil
	}
	_, endpoint := first("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
	switch exporter := env("OTEL_TRACES_EXPORTER"); {
	case exporter == "none", exporter == "" && endpoint == "":
		return false, nil
	case exporter != "" && exporter != "otlp":
		return false, foreign("OTEL_TRACES_EXPORTER", exporter, "must be otlp or none")
	}
	name, protocol := first("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
	if protocol != "" && protocol != "http/protobuf" {
		return false, foreign(name, protocol, "must be http/protobuf, the only one that there is here")
	}
	return true, nil
}

// foreign is a variable of OpenTelemetry's, which has no flag.
func foreign(name, value, rule string) error {
	return fmt.Errorf("%s is %s: %s", name, redact(value), rule)
}
