package publisher

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/schemas"
)

// Replayed is where a command went that was published again.
type Replayed struct {
	Sequence uint64 // in LINEPAY_COMMANDS
	// Twice says that this replay had been published before: by another operator, or by one who was interrupted before the dead letter
	// was deleted. Then nothing was stored anew.
	Twice bool
}

// RefusedError is a dead letter that must not be replayed as it is.
type RefusedError struct {
	Number uint64
	Err    error // why
}

// Error names the dead letter and says why.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("dead letter %d is not replayed: %v", e.Number, e.Err)
}

// Unwrap gives the reason.
func (e *RefusedError) Unwrap() error { return e.Err }

// Replay publishes a parked command again, as it was, with the dead letter's number in Linepay-Replay; and deletes the dead letter once
// JetStream has acknowledged that. A crash in between leaves the dead letter, and a second replay has the same number, by which the guard
// knows it. Two replays of one dead letter within JetStream's duplicate window are stored once, while the first waits.
//
// Errors: *RefusedError, without anything done; one that wraps ErrGone where there is no such dead letter any more, which is then nothing
// to be done about. After any other error the command may have been published, and replaying it again is harmless. Where the command was
// published and the dead letter could not be deleted, Replayed comes with the error.
func (l *Letters) Replay(ctx context.Context, d *Letter) (Replayed, error) {
	if err := Replayable(d); err != nil {
		return Replayed{}, err
	}
	// Somebody else may have been quicker, and the duplicate window may be over.
	if _, err := l.Get(ctx, d.Number); err != nil {
		return Replayed{}, err
	}
	r, err := l.publishAgain(ctx, d)
	if err != nil {
		return Replayed{}, err
	}
	if err := l.Drop(ctx, d.Number); err != nil && !errors.Is(err, ErrGone) {
		return r, fmt.Errorf("the command is published again, as sequence %d: %w", r.Sequence, err)
	}
	return r, nil
}

// publishAgain stores the command once, as long as its copy waits. What JetStream calls a duplicate of a copy that is gone, or of something
// else, proves nothing: whoever may publish commands could have used the message id before. Then it is stored under another one; the guard knows
// by its number that it is the same replay.
func (l *Letters) publishAgain(ctx context.Context, d *Letter) (Replayed, error) {
	msg := original(d)
	ack, err := l.store(ctx, d, msg)
	if err != nil || !ack.Duplicate {
		return replayedAs(ack), err
	}
	switch same, err := l.waits(ctx, ack.Sequence, msg); {
	case err != nil:
		return Replayed{}, fmt.Errorf("publish dead letter %d on %s: %w", d.Number, d.DeadLetter.Subject, err)
	case same:
		return replayedAs(ack), nil
	}
	if _, err := l.Get(ctx, d.Number); err != nil { // who published the copy that is gone has deleted it by now
		return Replayed{}, err
	}
	msg.Header.Set(schemas.HeaderMsgID, msg.Header.Get(schemas.HeaderMsgID)+" "+uuid.NewString())
	ack, err = l.store(ctx, d, msg)
	return replayedAs(ack), err
}

func replayedAs(ack *jetstream.PubAck) Replayed {
	if ack == nil {
		return Replayed{}
	}
	return Replayed{Sequence: ack.Sequence, Twice: ack.Duplicate}
}

func (l *Letters) store(ctx context.Context, d *Letter, msg *nats.Msg) (*jetstream.PubAck, error) {
	ack, err := l.js.PublishMsg(ctx, msg, jetstream.WithExpectStream(schemas.StreamCommands))
	switch {
	case errors.Is(err, jetstream.ErrStreamMessageExceedsMaximum):
		return nil, &RefusedError{d.Number, fmt.Errorf("with the header %s it is larger than %s takes: "+
			"raise the limit with `nats stream edit %s --max-msg-size`", schemas.HeaderReplay, schemas.StreamCommands, schemas.StreamCommands)}
	case err != nil:
		return nil, fmt.Errorf("publish dead letter %d on %s: %w", d.Number, d.DeadLetter.Subject, err)
	}
	return ack, nil
}

// Replayable says, as a *RefusedError, why a dead letter must not be replayed, if so: it is none, or what it names is no subject of commands.
func Replayable(d *Letter) error {
	err := d.Problem
	if err == nil {
		_, _, err = schemas.ParseCommandSubject(d.DeadLetter.Subject)
	}
	if err != nil {
		return &RefusedError{d.Number, err}
	}
	return nil
}

// original is the command as it was published, without what had a meaning to the server once, and without what parking added. The message id
// names this replay: the stored time tells dead letters of one number apart, should the stream be made anew.
func original(d *Letter) *nats.Msg {
	msg := nats.NewMsg(d.DeadLetter.Subject)
	msg.Data = d.Body
	for name, values := range d.Header {
		reserved := hasPrefixFold(name, schemas.HeaderNATSPrefix) || hasPrefixFold(name, schemas.HeaderDeadLetterPrefix)
		if !reserved && !strings.EqualFold(name, schemas.HeaderReplay) && headerName.MatchString(name) {
			msg.Header[name] = values
		}
	}
	number := strconv.FormatUint(d.Number, 10)
	msg.Header.Set(schemas.HeaderReplay, number)
	msg.Header.Set(schemas.HeaderMsgID, fmt.Sprintf("replay %s %s %d", schemas.StreamDeadLetters, number, d.Stored.UnixNano()))
	return msg
}

// waits says whether the copy that JetStream means by "duplicate" is this replay, and there yet.
func (l *Letters) waits(ctx context.Context, sequence uint64, msg *nats.Msg) (bool, error) {
	commands, err := l.js.Stream(ctx, schemas.StreamCommands)
	if err != nil {
		return false, fmt.Errorf("look at stream %s: %w", schemas.StreamCommands, err)
	}
	stored, err := commands.GetMsg(ctx, sequence)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("read back sequence %d: %w", sequence, err)
	}
	number := msg.Header.Get(schemas.HeaderReplay)
	return stored.Subject == msg.Subject && stored.Header.Get(schemas.HeaderReplay) == number && bytes.Equal(stored.Data, msg.Data), nil
}
