package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"linepay-worker/cmd/internal/app"
	"linepay-worker/schemas"
)

// printer writes events: as lines for people, or as the documents that are stored.
type printer struct {
	console
	json   bool
	headed bool
}

// columns fit what is usual; what is longer pushes the rest of its line to the right. The last one, for remarks, has no width.
const columns = "%-24s  %-10s  %-11s  %-16s  %-19s  %-12s  %-36s  %s\n"

func (p *printer) print(s stored) error {
	if p.json {
		return p.document(s)
	}
	if !p.headed {
		p.headed = true
		if _, err := fmt.Fprintf(p.out, columns, "TIME", "CHANNEL", "EVENT", "ORDER", "TRANSACTION", "AMOUNT", "COMMAND", "REMARKS"); err != nil {
			return err
		}
	}
	cells := row(s)
	_, err := fmt.Fprintf(p.out, columns, shown(cells[:])...)
	return err
}

// shown are cells for a terminal, whatever is in them.
func shown(cells []string) []any {
	list := make([]any, len(cells))
	for i, cell := range cells {
		list[i] = cmp.Or(printable(cell), "-")
	}
	return list
}

// document writes the stored document as one line. Line breaks, which the worker does not write, are taken out of it.
func (p *printer) document(s stored) error {
	line := jsontext.Value(s.body)
	if bytes.ContainsAny(line, "\r\n") || !line.IsValid() {
		line = line.Clone()
		if err := line.Compact(); err != nil {
			fmt.Fprintf(p.err, "sequence %d on %s is not JSON and is left out\n", s.sequence, printable(s.subject))
			return nil
		}
	}
	_, err := fmt.Fprintf(p.out, "%s\n", line)
	return err
}

const timeForm = "2006-01-02T15:04:05.000Z"

// row is what people are shown of an event: neither a regKey nor a paymentAccessToken is in it.
func row(s stored) [8]string {
	at := s.at.UTC().Format(timeForm)
	if s.event == nil {
		return [8]string{0: at, 2: "unreadable", 7: fmt.Sprintf("%s, sequence %d: %s", s.subject, s.sequence, unreadable(s.problem))}
	}
	e := s.event
	if !e.Time.IsZero() {
		at = e.Time.Format(timeForm)
	}
	return [8]string{
		at, e.Data.Channel, e.Name(), e.Data.OrderID, e.Data.TransactionID.String(), sum(e.Data), e.Data.Command.ID,
		strings.Join(remarks(e), ", "),
	}
}

// sum is the money that an event is about.
func sum(d schemas.EventData) string {
	amount := d.Amount
	if !d.RefundAmount.IsZero() {
		amount = d.RefundAmount
	}
	if amount.IsZero() {
		return ""
	}
	return strings.TrimSpace(amount.String() + " " + d.Currency)
}

// remarks say what is particular to an event: how it was settled, why something did not happen, what an answer was.
func remarks(e *schemas.Event) (list []string) {
	d := e.Data
	add := func(when bool, format string, args ...any) {
		if when {
			list = append(list, fmt.Sprintf(format, args...))
		}
	}
	add(d.SettledBy != "", "by %s", d.SettledBy)
	add(d.Reason != "", "%s", d.Reason)
	for _, rule := range d.Errors {
		add(true, "%s %s", rule.Path, rule.Message)
	}
	add(d.MoneyMoved != "", "money moved: %s", d.MoneyMoved)
	add(d.Status != "", "%s", d.Status)
	add(d.ReturnCode != "" && d.ReturnCode != "0000", "%s", answer(d.ReturnCode, d.ReturnMessage))
	if d.Of != nil {
		add(true, "of %s %s", d.Of.Command.Source, d.Of.Command.ID)
	}
	add(d.PaymentURL.Web != "", "%s", d.PaymentURL.Web)
	add(d.RefundTransactionID != 0, "refund %s", d.RefundTransactionID)
	add(d.AuthorizationExpireDate != "", "held until %s", d.AuthorizationExpireDate)
	add(d.Usable != nil && *d.Usable, "usable")
	add(d.Usable != nil && !*d.Usable, "not usable")
	add(d.RegKey != "", "regKey issued")
	add(d.RegKeyLost, "regKey lost")
	add(e.Name() == schemas.EventDetails && len(d.Payments) == 1, "1 payment")
	add(e.Name() == schemas.EventDetails && len(d.Payments) != 1, "%d payments", len(d.Payments))
	return list
}

// answer is LINE Pay's code and message; "-" is its own placeholder for no message.
func answer(code, message string) string {
	return strings.TrimSpace(code + " " + strings.TrimSuffix(strings.TrimPrefix(message, "-"), "."))
}

// unreadable is why a message is no event.
func unreadable(err error) string {
	if syntax, meaning := new(*jsontext.SyntacticError), new(*json.SemanticError); errors.As(err, syntax) || errors.As(err, meaning) {
		return fmt.Sprintf("%v: as JSON, %s", schemas.ErrEvent, wrongJSON(err))
	}
	return err.Error()
}

// printable is app.Printable, which everything from the bus goes through on its way to a terminal.
func printable(text string) string { return app.Printable(text) }
