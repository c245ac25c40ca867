package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/cmd/internal/app"
	"linepay-worker/consumer/pull"
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
}

// readEvents reads events in their order, until f has had enough.
func readEvents(ctx context.Context, js jetstream.JetStream, r pull.Reading, f func(stored) (more bool, err error)) error {
	r.Stream = schemas.StreamEvents
	return readStream(ctx, js, r, func(m pull.Message) (bool, error) {
		s := stored{sequence: m.Sequence, at: m.Stored, subject: m.Subject, body: m.Body}
		s.event, s.problem = schemas.DecodeEvent(s.body)
		return f(s)
	})
}

// readStream is pull.Read, in words for people. The stream of commands cannot be read like that: see walk.
func readStream(ctx context.Context, js jetstream.JetStream, r pull.Reading, f func(pull.Message) (more bool, err error)) error {
	err := pull.Read(ctx, js, r, f)
	if errors.Is(err, jetstream.ErrStreamNotFound) || app.NoJetStream(err) {
		return explain(err, r.Stream)
	}
	return err
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
