package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"linepay-worker/cmd/internal/app"
)

type listCommand struct {
	Filter letterFilter     `embed:""`
	Limit  int              `placeholder:"N" help:"Only the oldest N of them (default: all)."`
	Group  bool             `help:"Count them by reason, channel, operation and code."`
	JSON   bool             `help:"Print JSON, one dead letter or group a line."`
	NATS   app.NATSSettings `embed:"" group:"NATS"`
}

// Run lists dead letters, oldest first.
func (v *listCommand) Run(ctx context.Context, c console) error {
	if v.Limit < 0 {
		return usageError{errors.New("--limit must not be negative")}
	}
	if err := v.Filter.check(); err != nil {
		return err
	}
	b, err := openBox(ctx, v.NATS, c)
	if err != nil {
		return err
	}
	defer b.close()
	return app.Run(ctx, func(ctx context.Context) error {
		if v.Group {
			return v.groups(ctx, c, b)
		}
		return v.list(ctx, c, b)
	})
}

func (v *listCommand) list(ctx context.Context, c console, b *box) error {
	count, oldest := 0, time.Time{}
	lines := &letterLines{console: c}
	pages := &paged{look: b.money.tell, give: func(l *letter) error {
		if v.JSON {
			return document(c.out, l.document())
		}
		return lines.print(l)
	}}
	err := v.Filter.each(ctx, b, func(l *letter) error {
		count++
		if oldest.IsZero() || l.parkedAt().Before(oldest) {
			oldest = l.parkedAt()
		}
		if v.Limit > 0 && count > v.Limit {
			return nil
		}
		return pages.add(ctx, l)
	})
	if err == nil {
		err = pages.flush(ctx)
	}
	if err != nil || v.JSON {
		return err
	}
	_, err = fmt.Fprintln(c.out, total(count, v.Limit, oldest))
	return err
}

// total is the last line of a list.
func total(count, limit int, oldest time.Time) string {
	if count == 0 {
		return "no dead letters"
	}
	text := plural(count, "dead letter") + ", the oldest parked " + age(oldest) + " ago"
	if limit > 0 && count > limit {
		text += fmt.Sprintf("; the first %d are shown", limit)
	}
	return text
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// age is how long ago something was.
func age(t time.Time) string { return span(time.Since(t)) }

// letterLines writes dead letters for people.
type letterLines struct {
	console
	headed bool
}

const letterColumns = "%-7s  %-24s  %-10s  %-11s  %-16s  %-19s  %-10s  %-4s  %-7s  "

func (p *letterLines) print(l *letter) error {
	if !p.headed {
		p.headed = true
		header := fmt.Sprintf(letterColumns, "NUMBER", "PARKED", "CHANNEL", "OPERATION", "ORDER", "TRANSACTION", "REASON", "CODE", "MOVED")
		if _, err := fmt.Fprintln(p.out, header+"DETAIL"); err != nil {
			return err
		}
	}
	cells := []string{
		fmt.Sprint(l.Number), l.parkedAt().UTC().Format(timeForm), l.channel, l.operation, l.order(), l.transaction(), l.Reason, l.Code, l.moved(),
	}
	_, err := fmt.Fprintln(p.out, clipped(fmt.Sprintf(letterColumns, shown(cells)...)+printable(l.detail()), width(p.out)))
	return err
}

// detail says why it was parked, or why it is no dead letter.
func (l *letter) detail() string {
	if l.Problem != nil {
		return l.Problem.Error()
	}
	return l.Detail
}

// clipped cuts a line to a terminal; 0 is no terminal.
func clipped(line string, columns int) string {
	runes := []rune(line)
	if columns == 0 || len(runes) <= columns {
		return line
	}
	return string(runes[:columns-1]) + "…"
}

// group is what dead letters have in common.
type group struct {
	Reason    string `json:"reason,omitzero"`
	Channel   string `json:"channel,omitzero"`
	Operation string `json:"operation,omitzero"`
	Code      string `json:"code,omitzero"`
}

type groupDocument struct {
	group
	Count  int       `json:"count"`
	Oldest time.Time `json:"oldest"`
}

func (v *listCommand) groups(ctx context.Context, c console, b *box) error {
	found := map[group]*groupDocument{}
	count, oldest := 0, time.Time{}
	err := v.Filter.each(ctx, b, func(l *letter) error {
		key := group{l.Reason, text(l.channel), text(l.operation), text(l.Code)}
		g := found[key]
		if g == nil {
			g = &groupDocument{group: key, Oldest: l.parkedAt()}
			found[key] = g
		}
		if g.Count++; l.parkedAt().Before(g.Oldest) {
			g.Oldest = l.parkedAt()
		}
		if count++; count == 1 || g.Oldest.Before(oldest) {
			oldest = g.Oldest
		}
		return nil
	})
	if err != nil {
		return err
	}
	var sorted []*groupDocument
	for _, g := range found {
		sorted = append(sorted, g)
	}
	slices.SortFunc(sorted, func(a, b *groupDocument) int { // the largest first, and always the same order
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Channel, b.Channel),
			cmp.Compare(a.Operation, b.Operation), cmp.Compare(a.Code, b.Code))
	})
	if v.Limit > 0 && len(sorted) > v.Limit {
		sorted = sorted[:v.Limit]
	}
	if v.JSON {
		for _, g := range sorted {
			if err := document(c.out, g); err != nil {
				return err
			}
		}
		return nil
	}
	return printGroups(c, sorted, total(count, 0, oldest))
}

func printGroups(c console, groups []*groupDocument, total string) error {
	if len(groups) > 0 {
		var rows [][]string
		for _, g := range groups {
			rows = append(rows, []string{fmt.Sprint(g.Count), g.Reason, g.Channel, g.Operation, g.Code, age(g.Oldest)})
		}
		if _, err := fmt.Fprint(c.out, table([]string{"COUNT", "REASON", "CHANNEL", "OPERATION", "CODE", "OLDEST"}, rows)); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(c.out, total)
	return err
}
