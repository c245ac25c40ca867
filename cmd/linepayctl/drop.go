package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"linepay-worker/cmd/internal/app"
	"linepay-worker/publisher"
	"linepay-worker/schemas"
)

type dropCommand struct {
	chosen
	Because      string           `placeholder:"TEXT" help:"Why, for the audit stream (with numbers, --reason does, too)."`
	MoneyUnknown bool             `help:"Also those of which nobody knows whether they moved money. Look them up in LINE Pay's merchant centre first."`
	JSON         bool             `help:"Print JSON, one dead letter a line."`
	Auditor      auditor          `embed:""`
	NATS         app.NATSSettings `embed:"" group:"NATS"`
}

// droppedDocument is one line of --json.
type droppedDocument struct {
	Number uint64 `json:"number"`
	Result string `json:"result"` // dropped, refused or gone
	Why    string `json:"why,omitzero"`
}

// Run deletes dead letters, each after an entry in the audit stream. Each that must not be dropped is named, and the others are dropped.
func (v *dropCommand) Run(ctx context.Context, c console) error {
	list, err := v.check(&v.Because)
	if err != nil {
		return err
	}
	if strings.TrimSpace(v.Because) == "" {
		return usageError{errors.New("--because is missing: say why they are dropped")}
	}
	b, err := openBox(ctx, v.NATS, c)
	if err != nil {
		return err
	}
	defer b.close()
	record, err := v.Auditor.open(ctx, b.js)
	if err != nil {
		return err
	}
	count := map[string]int{}
	tell := func(number uint64, result, why string) error {
		count[result]++
		if v.JSON {
			return document(c.out, droppedDocument{number, result, why})
		}
		_, err := fmt.Fprintln(c.out, strings.TrimSuffix(fmt.Sprintf("%d  %s: %s", number, result, printable(why)), ": "))
		return err
	}
	err = app.Run(ctx, func(ctx context.Context) error {
		pages := &paged{look: b.money.tell, give: func(l *letter) error {
			result, why, err := v.drop(ctx, b, record, l)
			if err != nil {
				return err
			}
			return tell(l.Number, result, why)
		}}
		err := v.each(ctx, b, list, func(l *letter) error { return pages.add(ctx, l) }, func(number uint64) error {
			return tell(number, "gone", "it was replayed, resolved or dropped before, or never was there")
		})
		if err == nil {
			err = pages.flush(ctx)
		}
		return orInterrupted(ctx, err)
	})
	return errors.Join(err, v.verdict(c, count))
}

func (v *dropCommand) drop(ctx context.Context, b *box, record *record, l *letter) (result, why string, err error) {
	if why := v.forbids(l); why != "" {
		return "refused", why, nil
	}
	entry := l.audited(schemas.ActionDrop)
	entry.Reason = v.Because
	if err := record.add(ctx, entry); err != nil {
		return "", "", err
	}
	err = b.letters.Drop(ctx, l.Number)
	if errors.Is(err, publisher.ErrGone) {
		return "gone", "somebody else was quicker", nil
	}
	return "dropped", "", err
}

// forbids says why a dead letter must not be dropped, if so: it is the last trace of a payment that may have been made.
func (v *dropCommand) forbids(l *letter) string {
	switch {
	case v.MoneyUnknown:
		return ""
	case l.moved() == schemas.MoneyMovedUnknown:
		return "nobody knows whether it moved money: look it up in LINE Pay's merchant centre, then resolve it, or give --money-unknown"
	case l.told == nil && l.movesMoney():
		return "no event tells whether it moved money: look it up in LINE Pay's merchant centre, then resolve it, or give --money-unknown"
	default:
		return ""
	}
}

func (v *dropCommand) verdict(c console, count map[string]int) error {
	if !v.JSON {
		fmt.Fprintf(c.err, "%s dropped\n", plural(count["dropped"], "dead letter"))
	}
	if count["refused"] > 0 {
		return refusedError{fmt.Errorf("%s not dropped, for safety", plural(count["refused"], "dead letter"))}
	}
	return nil
}
