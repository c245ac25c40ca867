package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/cmd/internal/app"
	"linepay-worker/consumer/pull"
	"linepay-worker/linepay"
	"linepay-worker/publisher"
	"linepay-worker/schemas"
)

type orderCommand struct {
	Order   string           `arg:"" help:"The order id."`
	Channel *string          `placeholder:"NAME" help:"Only this channel (default: all)."`
	Lookup  bool             `help:"Ask LINE Pay as well, and mark what disagrees. Exit code 1 where something does, 4 where LINE Pay does not answer."`
	JSON    bool             `help:"Print JSON, one document a line: the timeline, what disagrees, and the sums."`
	NATS    app.NATSSettings `embed:"" group:"NATS"`
	Guard   guardSettings    `embed:"" group:"Guard and LINE Pay"`
}

// life is all that was found about one order.
type life struct {
	order    string
	books    map[string]*books // by channel
	entries  []entry
	progress *progress
	unread   int      // commands and dead letters that may be about any order
	missing  []string // who could not be asked, and why
}

// Run shows the whole life of an order as one timeline. It changes nothing.
func (o *orderCommand) Run(ctx context.Context, c console) error {
	channel, err := onlyChannel(o.Channel)
	if err != nil {
		return err
	}
	if o.Lookup && !o.Guard.configured() {
		return usageError{errors.New("--lookup needs a channel's settings: " + noChannels)}
	}
	merchants, err := loadMerchants(o.Guard, 0)
	if err != nil {
		return err
	}
	defer merchants.close()
	conn, js, err := connect(o.NATS, c)
	if err != nil {
		return err
	}
	defer conn.Close()
	l := &look{js: js, merchants: merchants}
	found := &life{order: o.Order, books: map[string]*books{}, progress: newProgress(c.err)}
	closing, err := o.openGuard(ctx, l, found)
	if err != nil {
		return err
	}
	defer closing()
	unanswered, err := o.gather(ctx, l, found, channel)
	if err != nil {
		return err
	}
	return o.print(c, found, unanswered)
}

const noChannels = "set LINEPAY_CHANNELS, or LINEPAY_CHANNEL_ID with LINEPAY_CHANNEL_SECRET, as the worker has them"

// openGuard says what is missing where the guard cannot be asked.
func (o *orderCommand) openGuard(ctx context.Context, l *look, found *life) (closing func(), err error) {
	if len(l.merchants) == 0 {
		found.missing = append(found.missing, "the guard's records are not shown, since no channel is configured here: "+noChannels)
		return func() {}, nil
	}
	guard, closing, err := openGuard(ctx, o.Guard.Redis)
	if _, wrong := errors.AsType[usageError](err); wrong {
		return nil, err
	}
	if err != nil {
		found.missing = append(found.missing, "the guard's records are not shown: "+err.Error())
	}
	l.guard = guard
	return closing, nil
}

// gather asks everybody. LINE Pay and the guard are asked before the commands and events are read: what a worker does meanwhile then
// waits, or is told.
func (o *orderCommand) gather(ctx context.Context, l *look, found *life, channel string) (unanswered, err error) {
	subject := cmp.Or(channel, "*")
	if err := found.readEvents(ctx, l, subject); err != nil {
		return nil, err
	}
	if o.Lookup {
		if unanswered, err = found.lookUp(ctx, l, channel); err != nil {
			return nil, err
		}
	}
	steps := []func() error{
		func() error { return found.readRecords(ctx, l, channel, l.records) },
		func() error { return found.readCommands(ctx, l, subject) },
		func() error { return found.readEvents(ctx, l, subject) },
		func() error { return found.readLetters(ctx, l, channel) },
		func() error { return found.readAudit(ctx, l, channel) },
		func() error { return found.readRecords(ctx, l, channel, found.recordsAgain(l)) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, err
		}
	}
	found.noteUnconfigured(l)
	return unanswered, nil
}

// on gives the books of a channel.
func (f *life) on(channel string) *books {
	if f.books[channel] == nil {
		f.books[channel] = &books{channel: channel, order: f.order}
	}
	return f.books[channel]
}

// each gives the books in the order of their channels.
func (f *life) each(do func(*books)) {
	for _, channel := range sortedKeys(f.books) {
		do(f.books[channel])
	}
}

func (f *life) transactions() (ids []linepay.TransactionID) {
	f.each(func(b *books) { ids = append(ids, b.transactions()...) })
	return ids
}

func (f *life) readEvents(ctx context.Context, l *look, subject string) error {
	for _, b := range f.books {
		b.events = nil
	}
	kept, err := l.kept(ctx)
	if err != nil {
		return err
	}
	return l.history(ctx, subject, []string{f.order}, func(s stored) {
		channel, _, _, err := schemas.ParseEventSubject(s.subject)
		if err != nil {
			return
		}
		b := f.on(channel)
		b.events, b.kept = append(b.events, s), kept
	})
}

// lookUp asks LINE Pay about the order on the channels that have events of it, or where none has, on all that are configured: an order id
// means something to one merchant only. Where LINE Pay does not answer, the rest is shown all the same.
func (f *life) lookUp(ctx context.Context, l *look, channel string) (unanswered, err error) {
	where := sortedKeys(f.books)
	switch {
	case channel != "":
		where = []string{channel}
	case len(where) == 0:
		where = sortedKeys(l.merchants)
	}
	for _, channel := range where {
		m := l.merchants[channel]
		if m == nil {
			unanswered = errors.Join(unanswered, fmt.Errorf("channel %s is not configured here: LINE Pay is not asked about it", channel))
			continue
		}
		if err := l.payments(ctx, m, []*books{f.on(channel)}); err != nil {
			unanswered = errors.Join(unanswered, err)
		}
	}
	return unanswered, ctx.Err()
}

func (f *life) readCommands(ctx context.Context, l *look, subject string) error {
	transactions := f.transactions()
	for _, b := range f.books {
		b.walked = true
	}
	read := 0
	err := walk(ctx, l.js, schemas.CommandSubject(subject, "*"), func(m pull.Message) {
		if read++; read%1000 == 0 {
			f.progress.show(fmt.Sprintf("%d commands that wait are read", read))
		}
		p := place(m, m.Subject)
		switch {
		case p == nil:
			f.unread++
		case p.about(f.order, transactions):
			b := f.on(p.command.Channel)
			b.waiting, b.walked = append(b.waiting, p.named()), true
			f.entries = append(f.entries, commandEntry(p))
		}
	})
	f.progress.clear()
	slices.SortFunc(f.entries, func(a, b entry) int { return cmp.Compare(a.Sequence, b.Sequence) })
	return err
}

func (f *life) readLetters(ctx context.Context, l *look, channel string) error {
	transactions := f.transactions()
	letters, err := publisher.NewLetters(ctx, l.js)
	if err != nil {
		return explain(err, schemas.StreamDeadLetters)
	}
	return letters.Each(ctx, schemas.DeadLettersFilter(cmp.Or(channel, "*"), "*"), func(d *publisher.Letter) error {
		letter := d.DeadLetter
		if d.Problem != nil { // somebody else put it there; its subject tells enough
			letter = schemas.DeadLetter{Reason: "unreadable headers", Detail: d.Problem.Error()}
			letter.Subject = strings.Replace(d.Subject, "deadletters", "commands", 1)
		}
		p := place(pull.Message{Sequence: d.Number, Stored: d.Stored, Header: d.Header, Body: d.Body}, letter.Subject)
		switch {
		case p == nil:
			f.unread++
		case p.about(f.order, transactions):
			f.entries = append(f.entries, letterEntry(p.named(), letter))
		}
		return nil
	})
}

func (f *life) readAudit(ctx context.Context, l *look, channel string) error {
	transactions := f.transactions()
	if _, err := l.js.Stream(ctx, schemas.StreamAudit); errors.Is(err, jetstream.ErrStreamNotFound) {
		f.missing = append(f.missing, "what operators did is not shown: "+explain(err, schemas.StreamAudit).Error())
		return nil
	}
	return readStream(ctx, l.js, pull.Reading{Stream: schemas.StreamAudit}, func(m pull.Message) (bool, error) {
		a, err := schemas.DecodeAudit(m.Body)
		if err != nil || channel != "" && a.Data.Channel != channel {
			return true, nil
		}
		id, _ := linepay.ParseTransactionID(a.Data.TransactionID)
		if a.Data.OrderID == f.order || id != 0 && slices.Contains(transactions, id) {
			f.entries = append(f.entries, auditEntry(a, m.Sequence))
		}
		return true, nil
	})
}

// readRecords asks the guard about the order on the channels that know something of it, or where none does, on all that are configured.
func (f *life) readRecords(ctx context.Context, l *look, channel string, ask func(context.Context, *books) error) error {
	where := sortedKeys(f.books)
	if len(where) == 0 {
		where = sortedKeys(l.merchants)
	}
	for _, name := range where {
		if channel != "" && name != channel || l.guard == nil || l.merchants[name] == nil {
			continue
		}
		if err := ask(ctx, f.on(name)); err != nil {
			return err
		}
	}
	return nil
}

// recordsAgain keeps what the guard says at last for the timeline.
func (f *life) recordsAgain(l *look) func(context.Context, *books) error {
	return func(ctx context.Context, b *books) error {
		now, err := l.recordsAgain(ctx, b)
		for _, on := range now {
			f.entries = append(f.entries, guardEntries(b.channel, on)...)
		}
		return err
	}
}

// noteUnconfigured says whose records could not be asked for.
func (f *life) noteUnconfigured(l *look) {
	for _, channel := range sortedKeys(f.books) {
		if l.guard != nil && l.merchants[channel] == nil {
			f.missing = append(f.missing, fmt.Sprintf("the guard's records of channel %s are not shown: it is not configured here", channel))
		}
	}
}

// print writes timeline, findings and sums. What is missing goes beside them.
func (o *orderCommand) print(c console, f *life, unanswered error) error {
	var findings []finding
	var totals []balances
	f.each(func(b *books) {
		for _, s := range b.events {
			f.entries = append(f.entries, eventEntry(s))
		}
		for i := range b.payments {
			f.entries = append(f.entries, paymentEntries(b.channel, &b.payments[i])...)
		}
		findings = append(findings, b.compare()...)
		if t := b.total(); len(t.Events)+len(t.LINEPay) > 0 {
			totals = append(totals, t)
		}
	})
	if len(f.entries) == 0 {
		f.missing = append(f.missing, "nothing is known of this order")
	}
	if f.unread > 0 {
		f.missing = append(f.missing, plural(f.unread, "message")+" among commands and dead letters cannot be read, and may be about any order")
	}
	if err := o.write(c, f.entries, findings, totals); err != nil {
		return err
	}
	for _, note := range f.missing {
		fmt.Fprintf(c.err, "%s\n", printable(note))
	}
	return o.verdict(findings, unanswered)
}

func (o *orderCommand) write(c console, entries []entry, findings []finding, totals []balances) error {
	if err := printTimeline(c.out, entries, o.JSON); err != nil {
		return err
	}
	if o.JSON {
		if err := documents(c.out, findings); err != nil {
			return err
		}
		return documents(c.out, totals)
	}
	for _, f := range findings {
		if _, err := fmt.Fprintln(c.out, f.line()); err != nil {
			return err
		}
	}
	for _, t := range totals {
		if _, err := fmt.Fprint(c.out, t.lines()); err != nil {
			return err
		}
	}
	return nil
}

func (o *orderCommand) verdict(findings []finding, unanswered error) error {
	disagree := slices.ContainsFunc(findings, func(f finding) bool { return !f.UnderWay })
	switch {
	case o.Lookup && disagree:
		return errors.Join(errors.New("something disagrees"), unanswered)
	case unanswered != nil:
		return openError{unanswered}
	default:
		return nil
	}
}

// line is a finding for people.
func (f finding) line() string {
	mark := "DISAGREES"
	if f.UnderWay {
		mark = "UNDER WAY"
	}
	text := fmt.Sprintf("%s  %s  %s", mark, f.Kind, f.Detail)
	for _, part := range [][2]string{
		{"transaction", f.Transaction.String()}, {"operation", f.OperationKey}, {"events", f.Events}, {"LINE Pay", f.LINEPay},
	} {
		if part[1] != "" {
			text += "; " + part[0] + ": " + part[1]
		}
	}
	return printable(text)
}

// balances are the money of one order on one channel.
type balances struct {
	Kind    string `json:"kind"` // summary
	Channel string `json:"channel"`
	Order   string `json:"orderId"`
	Events  sums   `json:"events"`
	LINEPay sums   `json:"linePay,omitempty"` // where it was asked
}

func (b *books) total() balances {
	return balances{"summary", b.channel, b.order, b.told(), b.shown()}
}

func (t balances) lines() (text string) {
	for _, m := range t.Events {
		text += fmt.Sprintf("%s: %s\n", t.Channel, printable(m.String()))
	}
	for _, m := range t.LINEPay {
		text += fmt.Sprintf("%s at LINE Pay: %s\n", t.Channel, printable(m.String()))
	}
	return text
}
