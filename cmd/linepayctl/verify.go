package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"linepay-worker/cmd/internal/app"
	"linepay-worker/consumer/pull"
	"linepay-worker/schemas"
)

type verifyCommand struct {
	Orders     []string         `arg:"" optional:"" name:"order" help:"Only these orders (default: every order with an event in the range)."`
	OrdersFile string           `placeholder:"FILE" help:"File with one order id a line; - reads standard input."`
	Channel    *string          `placeholder:"NAME" help:"Only this channel (default: all)."`
	Since      moment           `placeholder:"TIME" help:"Orders with an event from then on: a time such as 2026-11-01T00:00:00+08:00, a date (UTC), or a duration before now, such as 24h (default: 24h; with --until: the beginning)."`
	Until      moment           `placeholder:"TIME" help:"Orders with an event before then, written likewise (default: now)."`
	Rate       float64          `default:"5" placeholder:"N" help:"Calls to LINE Pay a second, for each channel; one call asks about up to 100 orders (default: 5)."`
	CSV        string           `placeholder:"FILE" help:"Write what disagrees to this file as well."`
	JSON       bool             `help:"Print JSON, one finding a line."`
	NATS       app.NATSSettings `embed:"" group:"NATS"`
	Guard      guardSettings    `embed:"" group:"Guard and LINE Pay"`
}

// moment is a point in time: RFC 3339, a date, or a duration before now.
type moment struct{ time.Time }

// UnmarshalText reads it.
func (m *moment) UnmarshalText(text []byte) error {
	if ago, err := time.ParseDuration(string(text)); err == nil && ago >= 0 {
		m.Time = time.Now().Add(-ago)
		return nil
	}
	for _, form := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(form, string(text)); err == nil {
			m.Time = at
			return nil
		}
	}
	return fmt.Errorf("must be a time such as 2026-11-01T00:00:00+08:00, a date such as 2026-11-01, or a duration such as 24h, not %q", text)
}

// Run compares what all sides know of the orders. It changes nothing.
func (v *verifyCommand) Run(ctx context.Context, c console) error {
	channel, err := onlyChannel(v.Channel)
	if err != nil {
		return err
	}
	orders, err := v.named(c.in)
	if err == nil {
		err = v.check()
	}
	if err != nil {
		return usageError{err}
	}
	merchants, err := loadMerchants(v.Guard, v.Rate)
	if err != nil {
		return err
	}
	defer merchants.close()
	if channel != "" && merchants[channel] == nil {
		return usageError{fmt.Errorf("channel %s is not configured here: %s", channel, noChannels)}
	}
	conn, js, err := connect(v.NATS, c)
	if err != nil {
		return err
	}
	defer conn.Close()
	guard, closing, noGuard := openGuard(ctx, v.Guard.Redis)
	if _, wrong := errors.AsType[usageError](noGuard); wrong {
		return noGuard
	}
	defer closing()
	report, err := newTally(c, v.JSON, v.CSV)
	if err != nil {
		return err
	}
	if noGuard != nil {
		report.leave("the guard's records are not compared: " + noGuard.Error())
	}
	r := &reconciliation{look: &look{js: js, guard: guard, merchants: merchants}, channel: channel, report: report}
	err = app.Run(ctx, func(ctx context.Context) error {
		err := v.reconcile(ctx, r, orders)
		if err != nil && ctx.Err() != nil {
			report.leave("interrupted")
			return nil
		}
		return err
	})
	return report.end(err)
}

// reconcile finds the orders, and compares them.
func (v *verifyCommand) reconcile(ctx context.Context, r *reconciliation, named []string) error {
	find := func() ([]orderOn, error) { return r.whereabouts(ctx, named) }
	if named == nil {
		find = func() ([]orderOn, error) { return v.inRange(ctx, r) }
	}
	places, err := find()
	if err != nil {
		return err
	}
	return r.run(ctx, places)
}

// check finds flags that do not go together.
func (v *verifyCommand) check() error {
	named := len(v.Orders) > 0 || v.OrdersFile != ""
	switch {
	case !v.Guard.configured():
		return errors.New("there is nothing to compare with: " + noChannels)
	case named && (!v.Since.IsZero() || !v.Until.IsZero()):
		return errors.New("give orders or a range of time, not both")
	case !v.Since.IsZero() && !v.Until.IsZero() && !v.Since.Before(v.Until.Time):
		return errors.New("--since must be before --until")
	case v.Rate <= 0:
		return errors.New("--rate must be more than 0 calls a second")
	default:
		return nil
	}
}

// named gives the orders that were given, each once; nil where none were.
func (v *verifyCommand) named(in io.Reader) (orders []string, err error) {
	orders = slices.Clone(v.Orders)
	if v.OrdersFile != "" {
		if v.OrdersFile != "-" {
			file, err := os.Open(v.OrdersFile)
			if err != nil {
				return nil, fmt.Errorf("--orders-file: %w", err)
			}
			defer file.Close()
			in = file
		}
		lines := bufio.NewScanner(in)
		for lines.Scan() {
			if order := strings.TrimRight(lines.Text(), "\r"); order != "" {
				orders = append(orders, order)
			}
		}
		if err := lines.Err(); err != nil {
			return nil, fmt.Errorf("--orders-file: %w", err)
		}
		if len(orders) == 0 {
			return nil, errors.New("--orders-file: it names no order")
		}
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(orders, func(order string) bool {
		twice := seen[order]
		seen[order] = true
		return twice || order == ""
	}), nil
}

// inRange finds the orders that have an event in the range of time, in the order of their first.
func (v *verifyCommand) inRange(ctx context.Context, r *reconciliation) (places []orderOn, err error) {
	since := v.Since.Time
	if since.IsZero() && v.Until.IsZero() {
		since = time.Now().Add(-24 * time.Hour)
	}
	reading := pull.Reading{Stream: schemas.StreamEvents, Filters: []string{schemas.EventsFilter(r.subject(), "*")}, Since: since}
	seen := map[orderOn]bool{}
	err = readStream(ctx, r.js, reading, func(m pull.Message) (more bool, err error) {
		if !v.Until.IsZero() && !m.Stored.Before(v.Until.Time) {
			return false, nil
		}
		channel, _, order, err := schemas.ParseEventSubject(m.Subject)
		if at := (orderOn{channel, order}); err == nil && order != "" && !seen[at] {
			seen[at] = true
			places = append(places, at)
		}
		return true, nil
	})
	return places, err
}
