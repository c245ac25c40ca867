package publisher_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/consumer/consumertest"
	"linepay-worker/linepay"
	"linepay-worker/publisher"
	"linepay-worker/schemas"
)

// bus is a NATS server with the four streams, and a publisher on it.
type bus struct {
	*publisher.Publisher
	t    *testing.T
	nats *consumertest.NATSServer
	js   jetstream.JetStream
}

func newBus(t *testing.T) *bus {
	t.Helper()
	return newBusWith(t, publisher.StreamOptions{})
}

func newBusWith(t *testing.T, o publisher.StreamOptions) *bus {
	t.Helper()
	server := consumertest.NATS(t)
	js := server.JetStream(t)
	if _, err := publisher.Provision(t.Context(), js, o, true); err != nil {
		t.Fatal(err)
	}
	return &bus{Publisher: publisherOn(t, js), t: t, nats: server, js: js}
}

func publisherOn(t *testing.T, js jetstream.JetStream) *publisher.Publisher {
	t.Helper()
	p, err := publisher.New(t.Context(), js)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// events are what LINEPAY_EVENTS holds on a subject filter, oldest first.
func (b *bus) events(filter string) []*jetstream.RawStreamMsg {
	b.t.Helper()
	return consumertest.Collect(b.t, b.js, schemas.StreamEvents, filter)
}

func (b *bus) letters() []*jetstream.RawStreamMsg {
	b.t.Helper()
	return consumertest.Collect(b.t, b.js, schemas.StreamDeadLetters, schemas.SubjectsDeadLetters)
}

// change changes settings of a stream, as an operator would.
func (b *bus) change(stream string, change func(*jetstream.StreamConfig)) {
	b.t.Helper()
	found, err := b.js.Stream(b.t.Context(), stream)
	if err != nil {
		b.t.Fatal(err)
	}
	cfg := found.CachedInfo().Config
	change(&cfg)
	if _, err := b.js.UpdateStream(b.t.Context(), cfg); err != nil {
		b.t.Fatal(err)
	}
}

// put stores any message, as a stranger would.
func (b *bus) put(subject, id, body string) *jetstream.PubAck {
	b.t.Helper()
	ack, err := b.js.Publish(b.t.Context(), subject, []byte(body), jetstream.WithMsgID(id))
	if err != nil {
		b.t.Fatal(err)
	}
	return ack
}

// untilForgotten waits until the duplicate window has passed for all that was published before: JetStream forgets ids in the order in
// which they came, so once it stores a younger id again, it has forgotten the older ones.
func (b *bus) untilForgotten() {
	b.t.Helper()
	const subject = "linepay.events.other.status._"
	b.put(subject, "youngest", "{}")
	if !consumertest.Eventually(b.t, func(context.Context) bool { return !b.put(subject, "youngest", "{}").Duplicate }) {
		b.t.Fatal("the duplicate window does not pass")
	}
}

var settledAt = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// captured is the event of a confirm.
func captured(command, order string) *schemas.Event {
	return event(schemas.EventCaptured, command, order)
}

func event(name, command, order string) *schemas.Event {
	return schemas.NewEvent(name, settledAt, schemas.EventData{
		Channel: "tw", Operation: linepay.Confirm, Command: schemas.CommandRef{Source: "/test", ID: command}, OrderID: order,
		TransactionID: 2018082512345678910, Amount: linepay.MustAmount("100"), Currency: "TWD", OperationKey: "confirm:2018082512345678910",
	})
}

// meddling is a JetStream in which somebody else publishes on the subject just before each of our own publishes.
type meddling struct {
	jetstream.JetStream
	before func(try int, subject string)
	tries  int
}

func (m *meddling) PublishMsg(ctx context.Context, msg *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	m.tries++
	m.before(m.tries, msg.Subject)
	return m.JetStream.PublishMsg(ctx, msg, opts...)
}
