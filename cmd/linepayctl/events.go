package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/cmd/internal/app"
	"linepay-worker/consumer/pull"
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
	reading, err := e.reading()
	if err != nil {
		return usageError{err}
	}
	conn, js, err := connect(e.NATS, c)
	if err != nil {
		return err
	}
	defer conn.Close()
	printer := &printer{console: c, json: e.JSON}
	return app.Run(ctx, func(ctx context.Context) error {
		last, err := e.list(ctx, js, reading, printer)
		if err != nil || !e.Follow {
			return err
		}
		if reading.Follow = true; last > 0 {
			reading.First = last + 1
		}
		return readEvents(ctx, js, reading, func(s stored) (bool, error) { return true, printer.print(s) })
	})
}

// list prints what is stored, and gives the sequence of the last of them.
func (e *eventsCommand) list(ctx context.Context, js jetstream.JetStream, reading pull.Reading, p *printer) (last uint64, err error) {
	var newest []stored
	err = readEvents(ctx, js, reading, func(found stored) (bool, error) {
		last = found.sequence
		if e.Limit == 0 {
			return true, p.print(found)
		}
		if len(newest) == e.Limit {
			newest = newest[1:]
		}
		newest = append(newest, found)
		return true, nil
	})
	if err != nil {
		return last, err
	}
	for _, found := range newest {
		if err := p.print(found); err != nil {
			return last, err
		}
	}
	return last, nil
}

// reading is what is asked for.
func (e *eventsCommand) reading() (r pull.Reading, err error) {
	if e.Channel != "*" {
		if err := schemas.ValidChannel(e.Channel); err != nil {
			return r, err
		}
	}
	if e.Limit < 0 || e.Since < 0 {
		return r, errors.New("--limit and --since must not be negative")
	}
	events := slices.Compact(slices.Sorted(slices.Values(e.Event))) // JetStream refuses filters that overlap
	if len(events) == 0 {
		events = []string{"*"}
	}
	for _, event := range events {
		r.Filters = append(r.Filters, filter(e.Channel, event, e.Order))
	}
	if e.Since > 0 {
		r.Since = time.Now().Add(-e.Since)
	}
	return r, nil
}
