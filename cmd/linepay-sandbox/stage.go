package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// stage is where the scenario plays: a shop that sends commands over NATS and reads the events, and its customer's browser.
type stage struct {
	on       deployment
	run      string // ends the ids of this run's orders, so that no other run, here or elsewhere, has the same
	source   string // of this run's commands
	js       jetstream.JetStream
	commands jetstream.Stream
	journal  *journal
	browser  browser
	out      *printer

	orders    map[string]*order
	sent      []*sent
	surprises []string // answers that the scenario did not say
}

// order is one purchase.
type order struct {
	name, id    string
	amount      linepay.Amount
	currency    string
	transaction linepay.TransactionID // once LINE Pay has given it
	page        string                // where the customer pays
	key         string                // once a confirm has issued one
}

// newStage sees that the streams are there, and reads what is published from now on.
func newStage(ctx context.Context, on deployment, out *printer) (*stage, error) {
	ctx, cancel := context.WithTimeout(ctx, answersWithin)
	defer cancel()
	js, err := jetstream.New(on.shop)
	if err != nil {
		return nil, err
	}
	commands, err := js.Stream(ctx, schemas.StreamCommands)
	if err != nil {
		return nil, noStream(err, schemas.StreamCommands)
	}
	s := &stage{
		on: on, run: strings.ToLower(rand.Text()[:8]), js: js, commands: commands, out: out,
		orders: map[string]*order{}, browser: newBrowser(on.simulator),
	}
	s.source = "/" + program + "/" + s.run
	s.journal, err = openJournal(ctx, js, on.channel, s.isOurs)
	return s, err
}

// isOurs says whether an event answers a command of this run, or is about one of its orders, whoever sent the command.
func (s *stage) isOurs(e *schemas.Event) bool {
	return e.Data.Command.Source == s.source || strings.HasSuffix(e.Data.OrderID, "-"+s.run)
}

func (s *stage) close() { s.journal.close() }

// order gives the order of a name, a new one the first time.
func (s *stage) order(name string) *order {
	if s.orders[name] == nil {
		s.orders[name] = &order{name: name, id: name + "-" + s.run}
	}
	return s.orders[name]
}

func (o *order) priced(price string) *order {
	o.amount, o.currency = parsePrice(price)
	return o
}

// parsePrice reads an amount with its currency, as the scenario writes them.
func parsePrice(price string) (linepay.Amount, string) {
	amount, currency, _ := strings.Cut(price, " ")
	return linepay.MustAmount(amount), currency
}

// draft is a command that is written when its turn comes: it may need what earlier events have told.
type draft struct {
	operation linepay.Operation
	order     string // "" where there is none
	what      string // for the reader
	data      func(*stage) schemas.Data
}

// sent is a message that the scenario has published to LINEPAY_COMMANDS.
type sent struct {
	command   schemas.CommandRef // zero where the message cannot be read
	operation linepay.Operation
	orderID   string
	sequences []uint64 // in LINEPAY_COMMANDS: several where the message was sent again
	body      []byte
}

// publish stores a message. It leaves Nats-Msg-Id out: JetStream would drop what is sent again before the worker could show what it does
// with it.
func (s *stage) publish(ctx context.Context, m *sent) error {
	msg := nats.NewMsg(schemas.CommandSubject(s.on.channel, m.operation))
	msg.Header.Set(schemas.HeaderContentType, schemas.ContentTypeCloudEvents)
	msg.Data = m.body
	acknowledged, cancel := context.WithTimeout(ctx, answersWithin)
	defer cancel()
	ack, err := s.js.PublishMsg(acknowledged, msg, jetstream.WithExpectStream(schemas.StreamCommands))
	if err != nil {
		return fmt.Errorf("publish on %s: %w", msg.Subject, err)
	}
	m.sequences = append(m.sequences, ack.Sequence)
	return nil
}

// outlives is how long a command is good for behind the end of its run, since clocks differ. What nobody has called LINE Pay for by then is
// not carried out for a shop that has gone.
const outlives = time.Minute

// write turns a draft into a command.
func (s *stage) write(ctx context.Context, d draft) (*sent, error) {
	m := &sent{operation: d.operation, command: schemas.CommandRef{Source: s.source, ID: uuid.NewString()}}
	if d.order != "" {
		m.orderID = s.order(d.order).id
	}
	cmd := schemas.Command{
		ID: m.command.ID, Source: m.command.Source, Type: schemas.CommandType(d.operation), Time: time.Now().UTC(), Data: d.data(s),
	}
	if end, limited := ctx.Deadline(); limited {
		cmd.ExpiryTime = end.Add(outlives).UTC()
	}
	body, err := cmd.Encode()
	if err != nil {
		return nil, err
	}
	m.body = body
	s.sent = append(s.sent, m)
	return m, nil
}

// sending is a command and the event that has to answer it.
type sending struct {
	draft
	again   bool
	want    string
	settled string
	issues  bool
}

func send(d draft) sending      { return sending{draft: d} }
func sendAgain(d draft) sending { return sending{draft: d, again: true} }

func (c sending) answers(event string) sending { c.want = event; return c }
func (c sending) settledBy(how string) sending { c.settled = how; return c }
func (c sending) issuesKey() sending           { c.issues = true; return c }

// misspelt breaks a rule that would be costly to forgive: a refund without its amount is a full refund.
func misspelt(d draft) draft {
	inner := d.data
	d.what = strings.Replace(d.what, ",", ", misspelt,", 1)
	d.data = func(s *stage) schemas.Data { return misspeltData{inner(s)} }
	return d
}

type misspeltData struct{ schemas.Data }

// MarshalJSON writes refundAmuont for refundAmount.
func (d misspeltData) MarshalJSON() ([]byte, error) {
	b, err := marshal(d.Data)
	return bytes.Replace(b, []byte(`"refundAmount"`), []byte(`"refundAmuont"`), 1), err
}

func (c sending) play(ctx context.Context, s *stage) error { return atOnce(c).play(ctx, s) }

// atOnce publishes all commands before it waits for an answer. Of two commands for one operation that are taken from the stream by two
// workers, either may come first; the other one is the duplicate.
func atOnce(commands ...sending) step {
	return do(func(ctx context.Context, s *stage) error {
		published := make([]*sent, len(commands))
		for i, c := range commands {
			m, err := c.dispatch(ctx, s)
			if err != nil {
				return err
			}
			published[i] = m
		}
		answers := make([]*schemas.Event, len(commands))
		for i, c := range commands {
			answer, err := c.await(ctx, s, published[i])
			if err != nil {
				return err
			}
			answers[i] = answer
		}
		for i, c := range inTheirTurns(commands, answers) {
			c.learn(s, published[i], answers[i])
		}
		return nil
	})
}

// inTheirTurns lets commands for one operation change places where their answers show that the later one came first.
func inTheirTurns(commands []sending, answers []*schemas.Event) []sending {
	commands = slices.Clone(commands)
	for i := range commands {
		for j := i + 1; j < len(commands); j++ {
			same := commands[i].operation == commands[j].operation && commands[i].order == commands[j].order && commands[i].what == commands[j].what
			if same && answers[i].Name() == commands[j].want && answers[j].Name() == commands[i].want {
				commands[i], commands[j] = commands[j], commands[i]
			}
		}
	}
	return commands
}

func (c sending) dispatch(ctx context.Context, s *stage) (m *sent, err error) {
	if c.again {
		m = s.latest(c.draft)
	} else if m, err = s.write(ctx, c.draft); err != nil {
		return nil, err
	}
	return m, s.publish(ctx, m)
}

// latest finds the command that was sent last for an operation of an order.
func (s *stage) latest(d draft) (m *sent) {
	for _, each := range s.sent {
		if each.operation == d.operation && each.orderID == s.order(d.order).id {
			m = each
		}
	}
	return m
}

// errNoAnswer says that no worker is done with a message.
var errNoAnswer = errors.New("no answer")

// await waits until the worker is done with the message, and gives the answer.
func (c sending) await(ctx context.Context, s *stage, m *sent) (answer *schemas.Event, err error) {
	err = s.journal.await(ctx, func(j *journal) bool {
		answer = j.answer(m.command)
		return answer != nil
	})
	if err == nil {
		err = s.gone(ctx, m)
	}
	if err != nil {
		return nil, fmt.Errorf("%w to %s of order %s, wanted: %s: %w", errNoAnswer, m.operation, m.orderID, c.want, err)
	}
	return answer, nil
}

// learn prints the answer, and keeps what later commands need.
func (c sending) learn(s *stage, m *sent, answer *schemas.Event) {
	if c.draft.order != "" {
		s.order(c.draft.order).learn(answer)
	}
	s.tell(c, m, answer)
	if c.issues {
		s.tellKey(c, m)
	}
}

// gone waits until the message has left LINEPAY_COMMANDS: only then has the worker acknowledged it.
func (s *stage) gone(ctx context.Context, m *sent) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for _, sequence := range m.sequences {
		for {
			_, err := s.commands.GetMsg(ctx, sequence)
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				break
			}
			if err != nil {
				return err
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("message %d is still in %s: %w", sequence, schemas.StreamCommands, ctx.Err())
			case <-tick.C:
			}
		}
	}
	return nil
}

// learn keeps what later commands need.
func (o *order) learn(e *schemas.Event) {
	if e.Data.TransactionID != 0 {
		o.transaction = e.Data.TransactionID
	}
	if page := e.Data.PaymentURL.Web; page != "" {
		o.page = page
	}
}
