package main

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"linepay-worker/cmd/internal/app"
	"linepay-worker/consumer"
	"linepay-worker/linepay/simulator"
)

// channelName is the sandbox's only channel; linepayctl takes the same one by default.
const channelName = "default"

// scenarioLimit is for the whole scenario, which takes about a second here. What was not answered by then will not be.
const scenarioLimit = 12 * time.Second

// limits are the worker's settings. Times are short, so that a person need not wait for a look-up: LINE Pay's own would be 20 to 60
// seconds for an answer, and 30 more before "it did not happen" is believed.
var limits = app.WorkerSettings{
	Concurrency: 16, ReadTimeout: 2 * time.Second, LookupMargin: time.Second,
	RetryBudget: time.Hour, RetryMin: 50 * time.Millisecond, RetryMax: 2 * time.Second,
	RecordRetention: 24 * time.Hour, ShutdownGrace: 5 * time.Second,
}

// line is the real worker, with its connections, and a connection of the shop that sends commands and reads events.
type line struct {
	workers []*consumer.Worker
	worker  *nats.Conn
	shop    *nats.Conn
	redis   redis.UniversalClient
}

func startLine(ctx context.Context, s *servers, logger zerolog.Logger) (l *line, err error) {
	l = &line{}
	defer func() {
		if err != nil {
			l.close()
			l = nil
		}
	}()
	if l.worker, err = app.ConnectNATS(app.NATSSettings{URL: s.natsURL()}, program+" worker", logger); err != nil {
		return l, err
	}
	if l.shop, err = app.ConnectNATS(app.NATSSettings{URL: s.natsURL()}, program+" shop", logger); err != nil {
		return l, err
	}
	if l.redis, err = app.ConnectRedis(app.RedisSettings{URL: s.redisURL()}); err != nil {
		return l, err
	}
	account := simulator.DefaultChannel()
	l.workers, err = app.NewWorkers(ctx, app.Work{
		NATS: l.worker, Redis: l.redis, Limits: limits, Logger: logger,
		Channels: []app.Channel{{
			Name: channelName, ID: account.ID, Secret: account.Secret, BaseURL: s.simulatorURL(), APIVersion: "v3", Concurrency: limits.Concurrency,
		}},
		Streams: app.StreamSettings{DedupeWindow: 10 * time.Minute, Replicas: 1, Provision: true},
	})
	return l, err
}

// deployment is this worker and its servers, for the scenario.
func (l *line) deployment(s *servers) deployment {
	return deployment{shop: l.shop, channel: channelName, simulator: s.simulatorURL(), limit: scenarioLimit}
}

// actors are the workers, for app.Run.
func (l *line) actors() []app.Actor {
	var actors []app.Actor
	for _, worker := range l.workers {
		actors = append(actors, worker.Run)
	}
	return actors
}

func (l *line) close() {
	if l.redis != nil {
		_ = l.redis.Close()
	}
	for _, conn := range []*nats.Conn{l.shop, l.worker} {
		if conn != nil {
			conn.Close()
		}
	}
}
