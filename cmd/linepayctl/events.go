package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/cmd/internal/app"
	"linepay-worker/schemas"
)

type eventsCommand struct {
	Order   *string          `placeholder:"ORDER" help:"Only events of this order."`
	Channel string           `default:"*" placeholder:"NAME" help:"Only events of this channel (default: all)."`
	Event   []string         `enum:"${events}" placeholder:"NAME" help:"Only these events, repeatable: ${events} (default: all)."`
	Follow  bool             `short:"f" help:"Go on with new events until interrupted."`
	Since   time.Duration    `placeholder:"DURATION" help:"Only events that were stored within this time."`
	Limit   int              `placeholder:"N" help:"Only the newest N of the events that are there (default: all)."`
	JSON    bool             `help:"Print each event as it is stored, one document a line, with any regKey and paymentAccessToken. Lines for people show neither."`
	NATS    app.NATSSettings `embed:"" group:"NATS"`
}

// Run lists the events that are stored and, if asked to, goes on with those that come.
func (e *eventsCommand) Run(ctx context.Context, c console) error {
	config, err := e.consumer()
	if err != nil {
		return usageError{err}
	}
	conn, js, err := connect(e.NATS, c)
	if err != nil {
		return err
	}
	defer conn.Close()
	feed, err := openFeed(ctx, js, config)
	if err != nil {
		return err
	}
	defer feed.stop()
	printer := &printer{console: c, json: e.JSON}
	return app.Run(ctx, func(ctx context.Context) error {
		if err := e.list(ctx, feed, printer); err != nil || !e.Follow {
			return err
		}
		return follow(ctx, feed, printer)
	})
}

// list prints what was stored when the feed began, and what came while it was read.
func (e *eventsCommand) list(ctx context.Context, feed *feed, p *printer) error {
	var newest []stored
	for pending := feed.pending; pending > 0; {
		found, err := feed.next(ctx)
		if err != nil {
			return err
		}
		pending = found.pending
		if e.Limit == 0 {
			if err := p.print(found); err != nil {
				return err
			}
			continue
		}
		if len(newest) == e.Limit {
			newest = newest[1:]
		}
		newest = append(newest, found)
	}
	for _, found := range newest {
		if err := p.print(found); err != nil {
			return err
		}
	}
	return nil
}

func follow(ctx context.Context, feed *feed, p *printer) error {
	for {
		found, err := feed.next(ctx)
		if err != nil {
			return err
		}
		if err := p.print(found); err != nil {
			return err
		}
	}
}

func (e *eventsCommand) consumer() (config jetstream.OrderedConsumerConfig, err error) {
	if e.Channel != "*" {
		if err := schemas.ValidChannel(e.Channel); err != nil {
			return config, err
		}
	}
	if e.Limit < 0 || e.Since < 0 {
		return config, errors.New("--limit and --since must not be negative")
	}
	events := slices.Compact(slices.Sorted(slices.Values(e.Event))) // JetStream refuses filters that overlap
	if len(events) == 0 {
		events = []string{"*"}
	}
	for _, event := range events {
		config.FilterSubjects = append(config.FilterSubjects, filter(e.Channel, event, e.Order))
	}
	if e.Since > 0 {
		start := time.Now().Add(-e.Since)
		config.DeliverPolicy, config.OptStartTime = jetstream.DeliverByStartTimePolicy, &start
	}
	return config, nil
}
