package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/cmd/internal/app"
	"linepay-worker/schemas"
)

// stored is a message of LINEPAY_EVENTS.
type stored struct {
	sequence uint64
	at       time.Time // when JetStream stored it
	subject  string
	body     []byte
	event    *schemas.Event // nil where the body is none
	problem  error          // why it is none
	pending  uint64         // messages behind it at that moment
}

// feed reads events in their order. It leaves nothing behind at the server.
type feed struct {
	messages jetstream.MessagesContext
	pending  uint64 // messages at the start
}

func openFeed(ctx context.Context, js jetstream.JetStream, config jetstream.OrderedConsumerConfig) (*feed, error) {
	consumer, err := js.OrderedConsumer(ctx, schemas.StreamEvents, config)
	if err != nil {
		return nil, explain(err, schemas.StreamEvents)
	}
	info, err := consumer.Info(ctx)
	if err != nil {
		return nil, explain(err, schemas.StreamEvents)
	}
	messages, err := consumer.Messages()
	if err != nil {
		return nil, explain(err, schemas.StreamEvents)
	}
	return &feed{messages, info.NumPending}, nil
}

func (f *feed) stop() { f.messages.Stop() }

// next waits for a message.
func (f *feed) next(ctx context.Context) (stored, error) {
	msg, err := f.messages.Next(jetstream.NextContext(ctx))
	if err != nil {
		return stored{}, err
	}
	meta, err := msg.Metadata()
	if err != nil {
		return stored{}, err
	}
	s := stored{sequence: meta.Sequence.Stream, at: meta.Timestamp, subject: msg.Subject(), body: msg.Data(), pending: meta.NumPending}
	s.event, s.problem = schemas.DecodeEvent(s.body)
	return s, nil
}

// filter gives the subjects of some events; channel and event may be "*", and a nil order is any.
func filter(channel, event string, order *string) string {
	if order != nil {
		return schemas.EventSubject(channel, event, *order)
	}
	return strings.TrimSuffix(schemas.EventSubject(channel, event, ""), "_") + "*"
}

// explain puts into words what people meet when they ask for a stream.
func explain(err error, stream string) error {
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return fmt.Errorf("stream %s does not exist: start a worker, which creates it", stream)
	case app.NoJetStream(err):
		return errNoJetStream
	default:
		return fmt.Errorf("read stream %s: %w", stream, err)
	}
}

var errNoJetStream = errors.New("JetStream is not enabled on this NATS server, or not for this account: start nats-server with -js")
