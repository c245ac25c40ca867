package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"linepay-worker/cmd/internal/app"
	"linepay-worker/idempotency"
)

type runCommand struct {
	NATS     app.NATSSettings    `embed:"" group:"NATS"`
	Redis    app.RedisSettings   `embed:"" group:"Redis"`
	Channels app.ChannelSettings `embed:"" group:"LINE Pay channels"`
	Reload   app.ReloadSettings  `embed:"" group:"LINE Pay channels"`
	Worker   app.WorkerSettings  `embed:"" group:"Worker"`
	Streams  app.StreamSettings  `embed:"" group:"Streams"`
	Admin    app.AdminSettings   `embed:"" group:"Health and metrics"`
	Log      app.LogSettings     `embed:"" group:"Logs"`
}

// How long the start may wait for Redis' first answer, and the end for NATS to take the last acknowledgements.
const (
	firstAnswer = 5 * time.Second
	lastFlush   = 5 * time.Second
)

// run connects, works until a signal or an error, and takes everything down in the reverse order: first the commands in flight are
// finished, then NATS gets their acknowledgements, then the connections end.
func (c *runCommand) run(ctx context.Context, channels []app.Channel, logger zerolog.Logger) error {
	hangups := make(chan os.Signal, 1) // from here on, SIGHUP does not end the process
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	c.announce(channels, logger)
	tracer, sendLast, err := app.StartTraces(ctx, program, logger)
	if err != nil {
		return err
	}
	defer sendLast()
	store, err := c.connectRedis(ctx, logger)
	if err != nil {
		return err
	}
	defer store.Close()
	bus, err := app.ConnectNATS(c.NATS, program, logger)
	if err != nil {
		return err
	}
	defer closeNATS(bus, logger)

	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	work := app.Work{
		NATS: bus, Redis: store, Channels: channels, Streams: c.Streams, Limits: c.Worker, Insecure: c.Channels.Insecure,
		Logger: logger, Metrics: registry, Tracer: tracer,
	}
	workers, err := app.NewChannelWorkers(ctx, work)
	if err != nil {
		return err
	}
	defer checkUp(ctx, work, logger)()
	load := func() ([]app.Channel, error) { return c.Channels.Load(c.Worker.Concurrency) }
	reload := app.NewReload(workers, c.Reload, load, logger)
	registry.MustRegister(workers, reload)
	working := make(chan struct{})
	actors := []app.Actor{reload.On(hangups), func(ctx context.Context) error {
		defer close(working)
		return workers.Run(ctx)
	}}
	if c.Admin.Enabled() {
		admin := app.NewAdmin(registry, natsCheck(bus), work.ResultsCheck(), redisCheck(store), work.DurabilityCheck(), reload.Check())
		serve, err := c.admin(admin, workers, working, logger)
		if err != nil {
			return err
		}
		told := app.NewServerMetrics(work, workers.Names)
		registry.MustRegister(told)
		actors = append(actors, serve, told.Run)
	}
	if err := app.Run(ctx, actors...); err != nil {
		return err
	}
	logger.Info().Msg("ended: nothing is left in flight")
	return nil
}

// checkUp logs what weakens the guard. The worker does not wait for it, since LINE Pay may take long to answer; the function that it gives
// ends it.
func checkUp(ctx context.Context, work app.Work, logger zerolog.Logger) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var checking sync.WaitGroup
	checking.Go(func() {
		if findings := work.AtStart(ctx); ctx.Err() == nil {
			app.LogFindings(logger, findings)
		}
	})
	return func() { cancel(); checking.Wait() }
}

// announce says what this worker is going to do, and which of its settings are doubtful.
func (c *runCommand) announce(channels []app.Channel, logger zerolog.Logger) {
	logger.Info().Str("version", app.Version(program)).Int("channels", len(channels)).Msg("starting")
	for _, channel := range channels {
		host := channel.BaseURL
		if address, err := url.Parse(channel.BaseURL); err == nil {
			host = address.Host
		}
		logger.Info().Str("channel", channel.Name).Str("host", host).Str("api", channel.APIVersion).
			Int("concurrency", channel.Concurrency).Msg("channel")
	}
	for _, warning := range c.Worker.Warnings() {
		logger.Warn().Msg(warning)
	}
}

// connectRedis demands an answer: a worker without Redis would take commands only to hand them back.
func (c *runCommand) connectRedis(ctx context.Context, logger zerolog.Logger) (redis.UniversalClient, error) {
	app.LogRedis(logger)
	store, err := app.ConnectRedis(c.Redis, idempotency.OnConnect)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, firstAnswer)
	defer cancel()
	if err := app.PingRedis(ctx, store, c.Redis.URL); err != nil {
		_ = store.Close()
		return nil, err
	}
	return store, nil
}

// admin serves until the last worker has ended, so that a worker that finishes its calls can be watched doing so.
func (c *runCommand) admin(admin *app.Admin, workers *app.Workers, working <-chan struct{}, logger zerolog.Logger) (app.Actor, error) {
	listener, err := c.Admin.Listen()
	if err != nil {
		return nil, err
	}
	logger.Info().Stringer("address", listener.Addr()).Msg("serving /healthz, /readyz and /metrics")
	return func(ctx context.Context) error {
		serving, end := context.WithCancel(context.WithoutCancel(ctx))
		defer end()
		go func() { <-working; end() }()
		admin.Follow(func() []app.Check { return append(workers.Checks(), stoppingCheck(ctx)) })
		return admin.Serve(serving, listener)
	}, nil
}

func stoppingCheck(ctx context.Context) app.Check {
	return app.Check{Name: "worker", Run: func(context.Context) (string, error) {
		if ctx.Err() != nil {
			return "", errors.New("stopping: takes no more commands and finishes those in flight")
		}
		return "running", nil
	}}
}

func natsCheck(bus *nats.Conn) app.Check {
	return app.Check{Name: "nats", Run: func(context.Context) (string, error) {
		if status := bus.Status(); status != nats.CONNECTED {
			return "", fmt.Errorf("NATS is not connected: %s", status)
		}
		return "connected", nil
	}}
}

// redisCheck writes, to a name beside the records so that the rights for them are enough: a Redis that is full, or a replica, answers a
// ping and refuses claims all the same.
func redisCheck(store redis.UniversalClient) app.Check {
	return app.Check{Name: "redis", Run: func(ctx context.Context) (string, error) {
		if err := store.Set(ctx, "{linepay:00}:ready", "1", time.Minute).Err(); err != nil {
			return "", fmt.Errorf("a write to Redis fails: %w", err)
		}
		return "takes writes", nil
	}}
}

// closeNATS waits until the server has what was sent: acknowledgements are not answered, so a plain close might lose the last ones.
func closeNATS(bus *nats.Conn, logger zerolog.Logger) {
	if err := bus.FlushTimeout(lastFlush); err != nil {
		logger.Warn().Err(err).Msg("NATS did not take the last acknowledgements; those commands are delivered again and answered from Redis")
	}
	bus.Close()
}
