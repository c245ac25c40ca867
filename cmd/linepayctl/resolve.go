package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"linepay-worker/cmd/internal/app"
	"linepay-worker/consumer"
	"linepay-worker/idempotency"
	"linepay-worker/linepay"
	"linepay-worker/publisher"
	"linepay-worker/schemas"
)

type resolveCommand struct {
	Number        string             `arg:"" help:"Number of a dead letter."`
	Outcome       string             `required:"" enum:"done,not-done" placeholder:"done|not-done" help:"Whether LINE Pay has carried the command out: done, or not-done."`
	TransactionID string             `placeholder:"ID" help:"The transaction that it has at LINE Pay: of a refund its own, and not the payment's."`
	Amount        string             `placeholder:"AMOUNT" help:"Amount of a full refund, whose command has none."`
	Currency      string             `placeholder:"CURRENCY" help:"Its currency, where neither the guard nor the events of the order know it."`
	Held          bool               `help:"Of a confirm: the money is held, and not taken."`
	Reason        string             `required:"" placeholder:"TEXT" help:"How that is known: for the event, and the audit stream."`
	JSON          bool               `help:"Print the final event as it is stored."`
	Auditor       auditor            `embed:""`
	NATS          app.NATSSettings   `embed:"" group:"NATS"`
	Guard         guardSettings      `embed:"" group:"Guard"`
	Worker        app.WorkerSettings `embed:"" group:"Worker"`
}

// What --outcome takes.
const (
	outcomeDone    = "done"
	outcomeNotDone = "not-done"
)

// longestResolve bounds what an interruption does not end.
const longestResolve = time.Minute

// Help says what happens, and what the exit codes mean.
func (*resolveCommand) Help() string {
	return "Puts on record what LINE Pay's merchant centre shows of a parked command, tells it in the command's final event, and deletes the dead " +
		"letter. It needs the worker's settings. What contradicts the guard, or the events of the order, is refused. Interrupted, run it again.\n\n" +
		"Exit code 0: resolved; 1: it failed, and can be done again; 3: refused, and nothing was changed."
}

// Run settles a parked command by what a person has found out.
func (v *resolveCommand) Run(ctx context.Context, c console) error {
	list, err := readNumbers([]string{v.Number})
	if err != nil {
		return err
	}
	resolution, err := v.resolution()
	if err != nil {
		return err
	}
	if err := v.Guard.needed("resolve asks the guard, and settles,"); err != nil {
		return err
	}
	channels, err := v.Guard.channels()
	if err != nil {
		return err
	}
	b, err := openBox(ctx, v.NATS, c)
	if err != nil {
		return err
	}
	defer b.close()
	store, err := v.connectRedis(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	work := app.Work{
		NATS: b.conn, Redis: store, Channels: channels, Limits: v.Worker, Insecure: v.Guard.Channels.Insecure, Logger: zerolog.Nop(),
	}
	return app.Run(ctx, func(ctx context.Context) error {
		l, err := b.letter(ctx, list[0])
		if err != nil {
			return err
		}
		event, err := v.resolve(ctx, b, work, l, resolution)
		if event != nil {
			err = errors.Join(v.print(c, event), err)
		}
		return err
	})
}

// resolution reads the flags as the worker takes them.
func (v *resolveCommand) resolution() (r consumer.Resolution, err error) {
	switch known := v.TransactionID != "" || v.Amount != "" || v.Currency != "" || v.Held; {
	case strings.TrimSpace(v.Reason) == "":
		return r, usageError{errors.New("--reason is blank: say how the outcome is known")}
	case !utf8.ValidString(v.Reason):
		return r, usageError{errors.New("--reason is not UTF-8, as events are")}
	case v.Outcome == outcomeNotDone && known:
		return r, usageError{errors.New("--transaction-id, --amount, --currency and --held say what LINE Pay has done: they go with --outcome done")}
	}
	r = consumer.Resolution{Done: v.Outcome == outcomeDone, Held: v.Held, Currency: v.Currency, Reason: v.Reason}
	if v.TransactionID != "" {
		if r.TransactionID, err = linepay.ParseTransactionID(v.TransactionID); err != nil {
			return r, usageError{fmt.Errorf("--transaction-id: %w", err)}
		}
	}
	if v.Amount != "" {
		if r.Amount, err = linepay.ParseAmount(v.Amount); err != nil || r.Amount.Sign() <= 0 {
			return r, usageError{errors.Join(fmt.Errorf("--amount is %q, and must be a decimal above 0", v.Amount), err)}
		}
	}
	if v.Currency != "" {
		scale, known := linepay.CurrencyScale(v.Currency)
		switch {
		case !known:
			return r, usageError{fmt.Errorf("--currency is %q, and must be one of LINE Pay's: TWD, JPY, USD, THB", v.Currency)}
		case r.Amount.Scale() > scale:
			return r, usageError{fmt.Errorf("--amount is %s, and %s has %s", v.Amount, v.Currency, plural(scale, "decimal"))}
		}
	}
	return r, nil
}

// connectRedis connects as a worker does, whose claims and records these are.
func (v *resolveCommand) connectRedis(ctx context.Context) (redis.UniversalClient, error) {
	app.LogRedis(zerolog.Nop()) // what Redis does not answer is told by its error
	store, err := app.ConnectRedis(v.Guard.Redis, idempotency.OnConnect)
	if err != nil {
		return nil, usageError{err}
	}
	if err := app.PingRedis(ctx, store, v.Guard.Redis.URL); err != nil {
		_ = store.Close()
		return nil, err
	}
	return store, nil
}

// resolve puts the action on record, settles the command, and deletes the dead letter once its final event is stored. Wherever that ends, it
// can be done again. It is not interrupted in between: what was begun is to be told.
func (v *resolveCommand) resolve(ctx context.Context, b *box, work app.Work, l *letter, r consumer.Resolution) (*schemas.Event, error) {
	if err := publisher.Replayable(l.Letter); err != nil {
		return nil, refusedError{fmt.Errorf("dead letter %d is no command's: drop it (%w)", l.Number, errors.Unwrap(err))}
	}
	at := slices.IndexFunc(work.Channels, func(c app.Channel) bool { return c.Name == l.channel })
	if at < 0 {
		return nil, usageError{errors.New(unconfigured(l.channel))}
	}
	worker, err := work.Resolver(ctx, work.Channels[at])
	if err != nil {
		return nil, err
	}
	record, err := v.Auditor.open(ctx, b.js)
	if err != nil {
		return nil, err
	}
	entry := l.audited(schemas.ActionResolve)
	entry.Outcome, entry.Evidence = v.outcome(), v.Reason // what is meant to be; a refusal has an entry of its own
	if err := record.add(ctx, entry); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), longestResolve)
	defer cancel()
	event, err := worker.Resolve(ctx, &consumer.Message{
		Subject: l.DeadLetter.Subject, Header: l.Header, Body: l.Body, Sequence: l.Sequence, Replay: l.Number,
	}, r)
	switch {
	case errors.Is(err, consumer.ErrRefused):
		entry.Outcome, entry.Evidence = "refused, nothing was changed", err.Error()
		return nil, errors.Join(refusedError{fmt.Errorf("dead letter %d: %w", l.Number, err)}, record.add(ctx, entry))
	case err != nil:
		return nil, fmt.Errorf("dead letter %d is kept, run this again: %w", l.Number, err)
	}
	if err := b.letters.Drop(ctx, l.Number); err != nil && !errors.Is(err, publisher.ErrGone) {
		return event, fmt.Errorf("resolved, and its dead letter is there yet, run this again: %w", err)
	}
	return event, nil
}

// outcome is what is put on record, for the audit stream.
func (v *resolveCommand) outcome() string {
	text := v.Outcome
	if v.Held {
		text += ", held"
	}
	if v.TransactionID != "" {
		text += ", transaction " + v.TransactionID
	}
	return strings.TrimSuffix(text+", "+strings.TrimSpace(v.Amount+" "+v.Currency), ", ")
}

func (v *resolveCommand) print(c console, e *schemas.Event) error {
	body, err := e.Encode()
	if err != nil {
		return err
	}
	return (&printer{console: c, json: v.JSON}).print(stored{at: e.Time, event: e, body: body})
}
