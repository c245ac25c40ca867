package publisher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/consumer/pull"
	"linepay-worker/schemas"
)

// Letter is a dead letter as LINEPAY_DEADLETTERS holds it.
type Letter struct {
	Number  uint64    // its sequence in LINEPAY_DEADLETTERS
	Stored  time.Time // when it was stored there
	Subject string    // linepay.deadletters.<channel>.<operation>
	Header  nats.Header
	Body    []byte

	schemas.DeadLetter       // zero where Problem is not nil
	Problem            error // why the headers are not those of a dead letter
}

// Letters reads, replays and drops dead letters. It is safe for concurrent use.
type Letters struct {
	js     jetstream.JetStream
	stream jetstream.Stream
}

// NewLetters gives them on a JetStream connection. Without the stream the error wraps jetstream.ErrStreamNotFound.
func NewLetters(ctx context.Context, js jetstream.JetStream) (*Letters, error) {
	stream, err := js.Stream(ctx, schemas.StreamDeadLetters)
	if err != nil {
		return nil, fmt.Errorf("look at stream %s: %w", schemas.StreamDeadLetters, err)
	}
	return &Letters{js, stream}, nil
}

// ErrGone means that there is no dead letter of that number any more: it was replayed, resolved or dropped; or there never was one.
var ErrGone = errors.New("the dead letter is gone: it was replayed, resolved or dropped")

// Get reads one dead letter. The error wraps ErrGone where it is not there.
func (l *Letters) Get(ctx context.Context, number uint64) (*Letter, error) {
	if number == 0 { // the server would take it for a search
		return nil, fmt.Errorf("dead letter 0: %w", ErrGone)
	}
	msg, err := l.stream.GetMsg(ctx, number)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return nil, fmt.Errorf("dead letter %d: %w", number, ErrGone)
	case err != nil:
		return nil, fmt.Errorf("read dead letter %d: %w", number, err)
	}
	return letter(msg.Sequence, msg.Time, msg.Subject, msg.Header, msg.Data), nil
}

func letter(number uint64, stored time.Time, subject string, header nats.Header, body []byte) *Letter {
	d, problem := schemas.ParseDeadLetter(header)
	return &Letter{Number: number, Stored: stored.UTC(), Subject: subject, Header: header, Body: body, DeadLetter: d, Problem: problem}
}

// Each gives the dead letters on a subject filter (see schemas.DeadLettersFilter), oldest first, until f returns an error, which it passes
// on, or the context ends. It ends with what is stored when it begins: a command that is replayed and parked again meanwhile is not given a
// second time. It holds a few dead letters at a time, and any number of readers is no burden to each other.
func (l *Letters) Each(ctx context.Context, filter string, f func(*Letter) error) error {
	info, err := l.stream.Info(ctx)
	if err != nil {
		return fmt.Errorf("look at stream %s: %w", schemas.StreamDeadLetters, err)
	}
	last := info.State.LastSeq
	reading := pull.Reading{Stream: schemas.StreamDeadLetters, Filters: []string{filter}}
	return pull.Read(ctx, l.js, reading, func(m pull.Message) (more bool, err error) {
		if m.Sequence > last {
			return false, nil
		}
		return m.Sequence < last, f(letter(m.Sequence, m.Stored, m.Subject, m.Header, m.Body))
	})
}

// Drop deletes a dead letter for good. The error wraps ErrGone where it is not there.
func (l *Letters) Drop(ctx context.Context, number uint64) error {
	err := l.stream.DeleteMsg(ctx, number)
	if errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
		if _, missing := l.Get(ctx, number); errors.Is(missing, ErrGone) {
			return missing
		}
	}
	if err != nil {
		return fmt.Errorf("delete dead letter %d: %w", number, err)
	}
	return nil
}
