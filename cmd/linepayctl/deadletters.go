package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/cmd/internal/app"
	"linepay-worker/publisher"
	"linepay-worker/schemas"
)

type deadlettersCommand struct {
	List    listCommand    `cmd:"" help:"List parked commands, or count them by what they have in common."`
	Show    showCommand    `cmd:"" help:"Show all that is known of a parked command."`
	Replay  replayCommand  `cmd:"" help:"Publish parked commands again, and follow what becomes of them."`
	Resolve resolveCommand `cmd:"" help:"Put on record what LINE Pay's merchant centre shows of a parked command."`
	Drop    dropCommand    `cmd:"" help:"Delete dead letters for good, without another try."`
	Export  exportCommand  `cmd:"" help:"Write dead letters to a file, as JSON or CSV."`
}

// box is a connection to the dead letters and to what is told of them.
type box struct {
	conn    *nats.Conn
	js      jetstream.JetStream
	letters *publisher.Letters
	money   money
}

func openBox(ctx context.Context, s app.NATSSettings, c console) (*box, error) {
	conn, js, err := connect(s, c)
	if err != nil {
		return nil, err
	}
	b := &box{conn: conn, js: js}
	if b.letters, err = publisher.NewLetters(ctx, js); err != nil {
		conn.Close()
		return nil, explain(err, schemas.StreamDeadLetters)
	}
	events, err := js.Stream(ctx, schemas.StreamEvents)
	if err != nil {
		conn.Close()
		return nil, explain(err, schemas.StreamEvents)
	}
	b.money = money{events}
	return b, nil
}

func (b *box) close() { b.conn.Close() }

// letter reads a single dead letter.
func (b *box) letter(ctx context.Context, number uint64) (*letter, error) {
	d, err := b.letters.Get(ctx, number)
	if errors.Is(err, publisher.ErrGone) {
		return nil, fmt.Errorf("%w; or it never was there", err)
	}
	if err != nil {
		return nil, err
	}
	return examine(d), nil
}

// orInterrupted tells an operator's interruption apart from other ends: what was done until then is done.
func orInterrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return openError{errors.New("interrupted")}
	}
	return err
}

// numbers are the dead letters that a verb is about.
type numbers []uint64

// readNumbers reads them as they stand on the command line.
func readNumbers(words []string) (numbers, error) {
	var list numbers
	for _, word := range words {
		n, err := strconv.ParseUint(word, 10, 64)
		if err != nil || n == 0 {
			return nil, usageError{fmt.Errorf("%q is not the number of a dead letter: want one from the first column of \"%s deadletters list\"", word, program)}
		}
		list = append(list, n)
	}
	return list, nil
}
