package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"linepay-worker/cmd/internal/app"
)

type showCommand struct {
	Number  string           `arg:"" help:"Number of a dead letter."`
	Secrets bool             `help:"Show regKeys, which let their holder charge the customer."`
	JSON    bool             `help:"Print JSON, one document. A regKey is masked in it, too, unless --secrets is given."`
	NATS    app.NATSSettings `embed:"" group:"NATS"`
	Guard   guardSettings    `embed:"" group:"Guard"`
}

// Run shows one dead letter and, where a channel is configured, what its replay would do.
func (v *showCommand) Run(ctx context.Context, c console) error {
	list, err := readNumbers([]string{v.Number})
	if err != nil {
		return err
	}
	b, err := openBox(ctx, v.NATS, c)
	if err != nil {
		return err
	}
	defer b.close()
	l, err := b.letter(ctx, list[0])
	if err != nil {
		return err
	}
	if err := b.money.tell(ctx, l); err != nil {
		return err
	}
	doc := l.document().withContent(l, v.body(l))
	if v.Guard.configured() {
		would, err := v.Guard.foresee(ctx, b, l)
		if _, wrong := errors.AsType[usageError](err); wrong {
			return err
		}
		if err != nil { // the rest is worth seeing all the same
			would = foreseen{notKnown, err.Error()}
		}
		doc.Foreseen = &would
	}
	if v.JSON {
		return document(c.out, doc)
	}
	return v.print(c, l, doc)
}

func (v *showCommand) body(l *letter) []byte {
	if v.Secrets {
		return l.Body
	}
	return masked(l.Body)
}

func (v *showCommand) print(c console, l *letter, doc letterDocument) error {
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-12s  %s\n", name, value)
		}
	}
	line("number", fmt.Sprint(doc.Number))
	line("parked", fmt.Sprintf("%s, %s ago", doc.At.UTC().Format(timeForm), age(doc.At)))
	line("reason", printable(doc.Reason))
	line("detail", printable(doc.Detail))
	line("code", printable(doc.Code))
	line("problem", printable(doc.Problem))
	line("channel", printable(doc.Channel))
	line("operation", printable(doc.Operation))
	line("order", printable(doc.OrderID))
	line("transaction", printable(doc.TransactionID))
	line("command", strings.TrimSpace(printable(doc.Command.Source)+" "+printable(doc.Command.ID)))
	line("key", printable(doc.OperationKey))
	if l.Problem == nil {
		line("was", fmt.Sprintf("sequence %d on %s, delivered %s", doc.Sequence, printable(doc.Subject), times(doc.Deliveries)))
	}
	if doc.Replay > 0 {
		line("replay of", fmt.Sprintf("dead letter %d", doc.Replay))
	}
	line("money moved", cmp.Or(printable(doc.MoneyMoved), "not told"))
	if l.told != nil {
		line("event", fmt.Sprintf("%s, %s: %s", l.told.ID, l.told.Time.Format(timeForm), printable(strings.Join(remarks(l.told), ", "))))
	}
	if doc.Foreseen != nil {
		line("replay would", printable(doc.Foreseen.String()))
	}
	b.WriteString("headers\n")
	for _, name := range slices.Sorted(maps.Keys(doc.Headers)) {
		for _, value := range doc.Headers[name] {
			fmt.Fprintf(&b, "  %s: %s\n", printable(name), printable(value))
		}
	}
	fmt.Fprintf(&b, "body (%s)\n%s", plural(len(l.Body), "byte"), indented(v.body(l)))
	_, err := fmt.Fprint(c.out, b.String())
	return err
}

func times(n uint64) string {
	if n == 1 {
		return "once"
	}
	return strconv.FormatUint(n, 10) + " times"
}

// indented is a body for people: JSON line by line, anything else as it is, and nothing that a terminal could take for an order.
func indented(body []byte) string {
	clean := printable
	value, options := jsontext.Value(slices.Clone(body)), []jsontext.Options{jsontext.AllowDuplicateNames(true), jsontext.WithIndent("  ")}
	if utf8.Valid(body) && value.Indent(options...) == nil {
		body, clean = value, tame
	}
	var b strings.Builder
	for line := range strings.SplitSeq(strings.TrimSuffix(string(body), "\n"), "\n") {
		b.WriteString("  " + clean(line) + "\n")
	}
	return b.String()
}
