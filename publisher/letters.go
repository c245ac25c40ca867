package publisher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

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

const (
	// readAhead bounds what is held of a stream whose messages may be large.
	readAhead = 64
	// quiet is how long a reader waits before it asks whether anything is left: others may delete what it still expects.
	quiet = time.Second
)

// Each gives the dead letters on a subject filter (see schemas.DeadLettersFilter), oldest first, until f returns an error, which it passes
// on, or the context ends. It ends with what is stored when it begins: a command that is replayed and parked again meanwhile is not given a
// second time. It holds a few dead letters at a time, and any number of readers is no burden to each other.
func (l *Letters) Each(ctx context.Context, filter string, f func(*Letter) error) error {
	reader, last, err := l.reader(ctx, filter)
	if err != nil || last == 0 {
		return err
	}
	messages, err := reader.Messages(jetstream.PullMaxMessages(readAhead))
	if err != nil {
		return fmt.Errorf("read dead letters: %w", err)
	}
	defer messages.Stop()
	for left := true; left && err == nil; {
		var msg jetstream.Msg
		msg, err = nextWithin(ctx, messages)
		switch {
		case errors.Is(err, errQuiet):
			left, err = leftFor(ctx, reader)
		case err != nil:
			err = fmt.Errorf("read dead letters: %w", err)
		default:
			left, err = give(msg, last, f)
		}
	}
	return err
}

// give gives one on, unless it is younger than the last, and says whether there are more.
func give(msg jetstream.Msg, last uint64, f func(*Letter) error) (more bool, err error) {
	meta, err := msg.Metadata()
	if err != nil {
		return false, fmt.Errorf("read dead letters: %w", err)
	}
	number := meta.Sequence.Stream
	if number <= last {
		err = f(letter(number, meta.Timestamp, msg.Subject(), msg.Headers(), msg.Data()))
	}
	return number < last && meta.NumPending > 0, err
}

// reader begins to read; last is the last sequence of the stream, 0 where nothing matches the filter.
func (l *Letters) reader(ctx context.Context, filter string) (reader jetstream.Consumer, last uint64, err error) {
	info, err := l.stream.Info(ctx)
	if err != nil {
		return nil, 0, fmt.Errorf("look at stream %s: %w", schemas.StreamDeadLetters, err)
	}
	reader, err = l.stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{FilterSubjects: []string{filter}})
	if err != nil {
		return nil, 0, fmt.Errorf("read dead letters: %w", err)
	}
	left, err := reader.Info(ctx)
	if err != nil {
		return nil, 0, fmt.Errorf("read dead letters: %w", err)
	}
	if left.NumPending == 0 {
		return nil, 0, nil
	}
	return reader, info.State.LastSeq, nil
}

var errQuiet = errors.New("nothing came")

func nextWithin(ctx context.Context, messages jetstream.MessagesContext) (jetstream.Msg, error) {
	waiting, cancel := context.WithTimeout(ctx, quiet)
	defer cancel()
	msg, err := messages.Next(jetstream.NextContext(waiting))
	switch {
	case ctx.Err() != nil: // even if there is more at hand
		return nil, ctx.Err()
	case err != nil && waiting.Err() != nil:
		return nil, errQuiet
	}
	return msg, err
}

// leftFor says whether a reader has anything left to read. One that is just being made anew, as after a lost connection, may have.
func leftFor(ctx context.Context, reader jetstream.Consumer) (bool, error) {
	info, err := reader.Info(ctx)
	switch {
	case errors.Is(err, jetstream.ErrOrderedConsumerNotCreated):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("read dead letters: %w", err)
	default:
		return info.NumPending > 0, nil
	}
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
