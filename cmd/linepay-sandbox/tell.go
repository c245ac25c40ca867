package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"linepay-worker/cmd/internal/app"
	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// announce says what runs, before the scenario.
func announce(out *printer, s *servers) {
	out.title("linepay-worker's sandbox")
	out.list([][2]string{
		{"NATS", s.natsURL() + "  (streams in " + s.folder.path + ")"},
		{"Redis-compatible store", s.redisURL()},
		{"LINE Pay simulator", s.simulatorURL()},
	})
	for _, note := range s.notes {
		out.line("  " + out.paint(yellow, note))
	}
	out.blank()
	explainRows(out)
}

func explainRows(out *printer) {
	out.line("A shop sends commands over NATS, the worker carries them out at LINE Pay, and → says what came of it.")
}

// tell prints a command with its answer, and notes an answer that the scenario did not say.
func (s *stage) tell(c sending, m *sent, e *schemas.Event) {
	what := c.what
	if o := s.order(c.draft.order); what == "" && o.currency != "" {
		what = money(o.amount, o.currency)
	}
	detail := details(e)
	if c.again {
		what, detail = "the very same message again", "the event is there already, and stays the only one"
	}
	mark := styleOf(e.Name())
	if e.Name() != c.want {
		mark = red
		s.surprise("%s was answered by %s, want %s", m, e.Name(), c.want)
	}
	if c.settled != "" && e.Data.SettledBy != c.settled {
		mark = red
		s.surprise("%s was settled by %s, want by %s", m, e.Data.SettledBy, c.settled)
	}
	s.out.row(scenarioColumns, cell{string(m.operation), plain}, cell{m.orderID, plain}, cell{what, plain},
		cell{"→ " + e.Name(), mark}, cell{detail, faint})
}

// tellKey prints the event with the key that a confirm issued, and keeps the key.
func (s *stage) tellKey(c sending, m *sent) {
	e := s.journal.issued(m.command)
	if e == nil || e.Data.RegKey == "" {
		s.surprise("%s issued no key", m)
		return
	}
	s.order(c.draft.order).key = e.Data.RegKey
	s.out.row(scenarioColumns, cell{}, cell{}, cell{}, cell{"→ " + e.Name(), styleOf(e.Name())}, cell{details(e), faint})
}

func (s *stage) surprise(format string, v ...any) {
	s.surprises = append(s.surprises, fmt.Sprintf(format, v...))
}

func styleOf(event string) style {
	switch {
	case schemas.IsMoneyEvent(event):
		return green
	case event == schemas.EventFailed || event == schemas.EventRejected || event == schemas.EventDuplicate || event == schemas.EventParked:
		return yellow
	default:
		return cyan
	}
}

// details are an event in a few words.
func details(e *schemas.Event) string {
	d := e.Data
	switch e.Name() {
	case schemas.EventRequested:
		return "transaction " + d.TransactionID.String()
	case schemas.EventAuthorized, schemas.EventCaptured:
		text := money(d.Amount, d.Currency)
		if d.SettledBy == schemas.SettledByLookup {
			text += ", learnt by a look-up; not sent twice"
		}
		return text
	case schemas.EventVoided:
		return "all that was held"
	case schemas.EventRefunded:
		return money(d.RefundAmount, d.Currency) + ", refund " + d.RefundTransactionID.String()
	case schemas.EventFailed:
		return strings.TrimSpace(d.ReturnCode + " " + meaning(d.ReturnCode))
	case schemas.EventRejected:
		if len(d.Errors) == 0 {
			return d.Reason
		}
		last := d.Errors[len(d.Errors)-1] // unknown members come last: a misspelt one says more than the one that is missing
		return fmt.Sprintf("%s: %s %s", d.Reason, last.Path, clip(last.Message, 60))
	case schemas.EventDuplicate:
		if d.Of == nil {
			return "of nothing that it names"
		}
		return "done by an earlier command; no call was made"
	case schemas.EventPreapproval:
		if d.RegKey != "" {
			return "key " + d.RegKey
		}
		if d.Usable != nil && !*d.Usable {
			return "the key is not usable any more"
		}
		return "the key is usable"
	case schemas.EventParked:
		return fmt.Sprintf("%s, money moved: %s", d.Reason, d.MoneyMoved)
	default:
		return ""
	}
}

// stopped puts the end of a scenario that could not be played to its end into words.
func (s *stage) stopped(ctx context.Context, err error) error {
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		err = fmt.Errorf("the scenario was not over after %s: %w", s.on.limit, err)
	case ctx.Err() != nil:
		return errUnfinished
	default:
		err = fmt.Errorf("the scenario stopped: %w", err)
	}
	for _, surprise := range s.surprises { // most often one of them is the reason
		err = fmt.Errorf("%w\nBefore that, %s", err, surprise)
	}
	return err
}

// print shows effects and events side by side, and the verdict.
func (v verdict) print(out *printer, took time.Duration) {
	out.blank()
	out.title("What LINE Pay did = what the events say")
	for _, p := range v.pairs {
		p.print(out)
	}
	out.blank()
	if len(v.disagreements) > 0 {
		for _, text := range v.disagreements {
			out.line("  " + out.paint(red, "✗ "+app.Printable(text)))
		}
		out.blank()
		out.line(out.paint(red, "The events and LINE Pay's ledger disagree."))
		return
	}
	for _, text := range []string{
		fmt.Sprintf("%d effects at LINE Pay: each has exactly one money event, with equal amount and transaction ids", len(v.pairs)),
		fmt.Sprintf("%d money events: each has exactly one effect", len(v.pairs)),
		fmt.Sprintf("%d commands: each has exactly one answer", v.commands),
		fmt.Sprintf("%d message that cannot be read: among the dead letters, once", v.unreadable),
	} {
		out.line("  " + out.paint(green, "✓") + " " + text)
	}
	out.blank()
	out.line(out.paint(green, "The events and LINE Pay's ledger agree.") + out.paint(faint, fmt.Sprintf("  (%.1f s)", took.Seconds())))
}

func (p pair) print(out *printer) {
	cells := make([]cell, 0, 7)
	if e := p.effect; e != nil {
		cells = append(cells, cell{string(e.Operation), plain}, cell{e.orderID, plain}, cell{money(e.Amount, e.currency), plain},
			cell{e.TransactionID.String(), faint})
	} else {
		cells = append(cells, cell{"nothing", red}, cell{}, cell{}, cell{})
	}
	sign := cell{"=", green}
	if len(p.disagreements()) > 0 {
		sign = cell{"≠", red}
	}
	if e := p.event; e != nil {
		cells = append(cells, sign, cell{e.Name(), plain})
		if amount := stated(e); !amount.IsZero() {
			cells = append(cells, cell{money(amount, e.Data.Currency), plain})
		}
	} else {
		cells = append(cells, sign, cell{"nothing", red})
	}
	out.row(verdictColumns, cells...)
}

// money writes an amount with the decimals of its currency: 25.50 USD.
func money(amount linepay.Amount, currency string) string {
	text := amount.String()
	if scale, known := linepay.CurrencyScale(currency); known && scale > amount.Scale() {
		if amount.Scale() == 0 {
			text += "."
		}
		text += strings.Repeat("0", scale-amount.Scale())
	}
	return text + " " + currency
}

// meaning says what a result code of LINE Pay means.
func meaning(code string) string {
	for _, c := range linepay.Codes() {
		if c.Code == code {
			return c.Meaning
		}
	}
	return ""
}

// clip keeps a line short.
func clip(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}
