package app

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/trace"

	"linepay-worker/consumer"
	"linepay-worker/consumer/pull"
	"linepay-worker/idempotency"
	"linepay-worker/linepay"
	"linepay-worker/publisher"
)

// Work is everything that workers are made of.
type Work struct {
	NATS     *nats.Conn
	Redis    redis.UniversalClient
	Channels []Channel
	Streams  StreamSettings
	Limits   WorkerSettings
	Insecure bool // allow LINE Pay addresses without TLS
	Logger   zerolog.Logger
	Metrics  prometheus.Registerer // nil: none
	Tracer   trace.Tracer          // nil: no traces

	clock func() time.Time // of this machine; nil: the real one
}

// NewWorkers looks at the streams, creating those that are missing, and makes one worker for each channel. What differs harmlessly about
// existing streams is for AtStart to tell.
func NewWorkers(ctx context.Context, w Work) ([]*consumer.Worker, error) {
	js, err := w.provisioned(ctx)
	if err != nil {
		return nil, err
	}
	return w.workers(ctx, js)
}

// provisioned gives JetStream with the streams that a worker needs.
func (w Work) provisioned(ctx context.Context) (jetstream.JetStream, error) {
	js, err := jetstream.New(w.NATS)
	if err != nil {
		return nil, err
	}
	options := publisher.StreamOptions{Replicas: w.Streams.Replicas, DedupeWindow: w.Streams.DedupeWindow}
	return js, pull.Answered(ctx, func() error {
		_, err := publisher.Provision(ctx, js, options, w.Streams.Provision)
		return err
	})
}

// Resolver gives the worker of one channel to settle its parked commands (consumer.Worker.Resolve), and not to be run. Nothing is created.
func (w Work) Resolver(ctx context.Context, channel Channel) (*consumer.Worker, error) {
	js, err := jetstream.New(w.NATS)
	if err != nil {
		return nil, err
	}
	w.Channels, w.Streams.Provision = []Channel{channel}, false
	workers, err := w.workers(ctx, js)
	if err != nil {
		return nil, err
	}
	return workers[0], nil
}

func (w Work) workers(ctx context.Context, js jetstream.JetStream) ([]*consumer.Worker, error) {
	bus, guard, err := w.stores(ctx, js)
	if err != nil {
		return nil, err
	}
	hands := consumer.NewHands()
	var workers []*consumer.Worker
	for _, channel := range w.Channels {
		worker, err := w.worker(channel, js, bus, guard, hands)
		if err != nil {
			return nil, fmt.Errorf("channel %s: %w", channel.Name, err)
		}
		workers = append(workers, worker)
	}
	return workers, nil
}

// stores are what all workers of a process write to.
func (w Work) stores(ctx context.Context, js jetstream.JetStream) (*publisher.Publisher, *idempotency.Guard, error) {
	var bus *publisher.Publisher
	err := pull.Answered(ctx, func() (err error) {
		bus, err = publisher.New(ctx, js)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	guard, err := idempotency.New(idempotency.Config{
		Redis: w.Redis, Retention: w.Limits.RecordRetention, WaitReplicas: w.Limits.RedisWait, Cautious: w.Limits.Cautious,
	})
	return bus, guard, err
}

func (w Work) worker(
	c Channel, js jetstream.JetStream, bus *publisher.Publisher, guard *idempotency.Guard, hands *consumer.Hands,
) (*consumer.Worker, error) {
	client, err := w.Client(c)
	if err != nil {
		return nil, err
	}
	return consumer.New(consumer.Config{
		Channel: c.Name, ChannelID: c.ID, LINEPay: client, Guard: guard, Bus: bus, JetStream: js,
		Concurrency: c.Concurrency, Rate: c.RateLimit, BreakerFaults: c.BreakerFaults, BreakerPause: c.BreakerPause,
		LookupMargin: w.Limits.LookupMargin,
		RetryBudget:  w.Limits.RetryBudget, RetryMin: w.Limits.RetryMin, RetryMax: w.Limits.RetryMax,
		ShutdownGrace: w.Limits.ShutdownGrace, Provision: w.Streams.Provision, Hands: hands,
		Logger: w.Logger, Metrics: w.Metrics, Tracer: w.Tracer,
	})
}

// Client gives a client for a channel's account at LINE Pay; its idle connections are the caller's to close.
func (w Work) Client(c Channel) (*linepay.Client, error) {
	return linepay.New(linepay.Config{
		BaseURL: c.BaseURL, ChannelID: c.ID, Secret: c.Secret, Version: c.APIVersion, ReadTimeout: w.Limits.ReadTimeout,
		DeviceProfileID: c.DeviceProfileID, DeviceType: c.DeviceType, AllowInsecure: w.Insecure, MaxConns: c.Concurrency,
	})
}
