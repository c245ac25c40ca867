package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"linepay-worker/cmd/internal/app"
)

type exportCommand struct {
	Filter letterFilter     `embed:""`
	CSV    bool             `name:"csv" help:"Write a table in CSV, without headers and body; what a spreadsheet would take for a formula begins with an apostrophe, and what does not print is escaped."`
	Output string           `short:"o" placeholder:"FILE" help:"File to write, readable to its owner alone (default: standard output)."`
	NATS   app.NATSSettings `embed:"" group:"NATS"`
}

// Help says what is in the file.
func (*exportCommand) Help() string {
	return "Each line of JSON is a whole dead letter, with its body as it was published: with any regKey, which lets its holder charge the customer."
}

// Run writes dead letters, oldest first.
func (v *exportCommand) Run(ctx context.Context, c console) error {
	if err := v.Filter.check(); err != nil {
		return err
	}
	b, err := openBox(ctx, v.NATS, c)
	if err != nil {
		return err
	}
	defer b.close()
	count := 0
	err = app.Run(ctx, func(ctx context.Context) error {
		return v.into(c, func(out io.Writer) error {
			write := func(l *letter) error { return document(out, l.document().withContent(l, l.Body)) }
			if v.CSV {
				var err error
				if write, err = spreadsheet(out); err != nil {
					return err
				}
			}
			pages := &paged{look: b.money.tell, give: func(l *letter) error { count++; return write(l) }}
			err := v.Filter.each(ctx, b, func(l *letter) error { return pages.add(ctx, l) })
			if err == nil {
				err = pages.flush(ctx)
			}
			return orInterrupted(ctx, err) // a part must not pass for the whole
		})
	})
	if err == nil && v.Output != "" {
		fmt.Fprintf(c.err, "%s written to %s\n", plural(count, "dead letter"), printable(v.Output))
	}
	return err
}

// into gives a writer: standard output, or a file that is there under its name only once it is whole.
func (v *exportCommand) into(c console, write func(io.Writer) error) error {
	if v.Output == "" {
		buffered := bufio.NewWriter(c.out)
		return errors.Join(write(buffered), buffered.Flush())
	}
	file, err := os.CreateTemp(filepath.Dir(v.Output), "."+filepath.Base(v.Output)+"-*") // its mode is 0600
	if err != nil {
		return usageError{fmt.Errorf("--output: %w", err)}
	}
	buffered := bufio.NewWriter(file)
	if err = write(buffered); err == nil {
		err = errors.Join(buffered.Flush(), file.Sync(), file.Close(), os.Rename(file.Name(), v.Output))
	}
	if err != nil {
		_ = file.Close()
		_ = os.Remove(file.Name())
	}
	return err
}

// spreadsheet begins a table in CSV, and gives what adds a line to it.
func spreadsheet(out io.Writer) (func(*letter) error, error) {
	w := csv.NewWriter(out)
	row := func(cells ...string) error {
		for i, cell := range cells {
			cells[i] = harmless(cell)
		}
		_ = w.Write(cells) // Error tells
		w.Flush()
		return w.Error()
	}
	err := row("number", "parkedAt", "channel", "operation", "orderId", "transactionId", "commandSource", "commandId", "reason", "code", "moneyMoved",
		"detail", "problem", "deliveries", "subject", "sequence", "replay")
	return func(l *letter) error {
		d := l.document()
		return row(fmt.Sprint(d.Number), d.At.UTC().Format(time.RFC3339Nano), d.Channel, d.Operation, d.OrderID, d.TransactionID,
			d.Command.Source, d.Command.ID, d.Reason, d.Code, d.MoneyMoved, d.Detail, d.Problem, strconv.FormatUint(d.Deliveries, 10),
			d.Subject, strconv.FormatUint(d.Sequence, 10), strconv.FormatUint(d.Replay, 10))
	}, err
}

// formula is where a spreadsheet may see the begin of one: in a cell, and after a semicolon, which separates cells where the comma is the
// decimal sign. Full-width signs are taken for their narrow ones.
var formula = regexp.MustCompile(`(^|;)(\s*)([=+\-@＝＋－＠])`)

// harmless keeps a spreadsheet from taking a cell for a formula, and a terminal from obeying it.
func harmless(cell string) string { return printable(formula.ReplaceAllString(cell, "$1'$2$3")) }
