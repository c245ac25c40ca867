package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/alecthomas/kong"
	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/consumer/pull"
	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// waiting is a flag with or without a value: --wait, --wait=30s.
type waiting struct {
	on    bool
	limit time.Duration // 0: none
}

// Decode reads the flag.
func (w *waiting) Decode(ctx *kong.DecodeContext) error {
	w.on = true
	if ctx.Scan.Peek().Type != kong.FlagValueToken {
		return apart(ctx)
	}
	text := fmt.Sprint(ctx.Scan.Pop().Value)
	limit, err := time.ParseDuration(text)
	if err != nil || limit <= 0 {
		return fmt.Errorf("must be a duration such as 30s, not %q", text)
	}
	w.limit = limit
	return nil
}

// apart finds a duration that stands apart from the flag, where it would be taken for an argument.
func apart(ctx *kong.DecodeContext) error {
	text, ok := ctx.Scan.Peek().Value.(string)
	if _, err := time.ParseDuration(text); !ok || err != nil {
		return nil
	}
	return fmt.Errorf("write --wait=%s, in one word", text)
}

// IsBool lets the flag stand without a value.
func (*waiting) IsBool() bool { return true }

// answers are the events among which a command's final one is looked for.
type answers struct {
	js      jetstream.JetStream
	reading pull.Reading
	names
	known uint64 // the stream's last sequence before the command was published
	gone  error  // of a repetition whose first one is not in LINEPAY_COMMANDS any more: what that means where it has no final event
}

// isGone looks for a command that JetStream had stored before. A worker tells the final event before it lets go of the command: of one that is
// gone without an event, none is to be waited for.
func isGone(ctx context.Context, js jetstream.JetStream, sequence uint64) (gone error, follow bool) {
	ctx, cancel := context.WithTimeout(ctx, acknowledged)
	defer cancel()
	stream, err := js.Stream(ctx, schemas.StreamCommands)
	if err != nil {
		return nil, true
	}
	if _, err := stream.GetMsg(ctx, sequence); !errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, true
	}
	return fmt.Errorf("the command is not in %s any more and has no final event, as when it was purged by hand: send it again %s after the first time, "+
		"when JetStream takes it anew", schemas.StreamCommands, stream.CachedInfo().Config.Duplicates), false
}

// listen says which events to read, before the command is published, so that its own cannot be missed. They are those of the whole channel: a command that cannot be read in full may be answered without its
// order. A new command cannot have an event yet; one whose id was given can.
func (s *sendCommand) listen(ctx context.Context, js jetstream.JetStream, n names) (*answers, error) {
	stream, err := js.Stream(ctx, schemas.StreamEvents)
	if err != nil {
		return nil, explain(err, schemas.StreamEvents)
	}
	known := stream.CachedInfo().State.LastSeq
	reading := pull.Reading{Filters: []string{filter(s.Channel, "*", nil)}, Follow: true}
	if s.ID == nil {
		reading.First = known + 1
	}
	return &answers{js: js, reading: reading, names: n, known: known}, nil
}

// await prints the final event. It is an error where the command did not do what was asked, or where no event came in time.
func (s *sendCommand) await(ctx context.Context, c console, a *answers) error {
	if s.Wait.limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.Wait.limit)
		defer cancel()
	}
	var found stored
	err := readEvents(ctx, a.js, a.reading, func(event stored) (more bool, err error) {
		found = event
		return !a.final(event), nil
	})
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return openError{fmt.Errorf("no final event after %s: the command waits in %s, for a worker or to be tried again", s.Wait.limit, schemas.StreamCommands)}
	case ctx.Err() != nil:
		return openError{errors.New("interrupted before the final event came; the command stays in " + schemas.StreamCommands)}
	case err != nil:
		return openError{fmt.Errorf("waiting for the final event: %w", err)}
	case a.gone != nil && !a.final(found):
		return openError{a.gone}
	}
	printer := &printer{console: c, json: s.JSON}
	if err := printer.print(found); err != nil {
		return err
	}
	return a.verdict(found.event)
}

// verdict is nil where the command did what was asked.
func (a *answers) verdict(e *schemas.Event) error {
	if e.Data.Fingerprint != a.fingerprint {
		return errors.New("this is the answer to other data, which was sent under the same source and id before: " +
			"an id names one command for ever. Send other data under an id of its own")
	}
	switch name := e.Name(); name {
	case schemas.EventFailed, schemas.EventRejected:
		return fmt.Errorf("the command was not carried out: %s", name)
	case schemas.EventParked:
		if e.Data.MoneyMoved == schemas.MoneyMovedNo {
			return errors.New("the command is parked: it did not move money")
		}
		return openError{errors.New("the command is parked: nobody knows yet whether it moved money")}
	default:
		return nil
	}
}

// final reports whether an event ends the command. One source and id may have been given to several operations, and two refunds differ in
// their keys alone. A key that a confirm issued comes beside its final event; and what was parked before
// it was sent again now has another end.
func (a *answers) final(s stored) bool {
	if s.event == nil || s.event.Data.Command != a.command || s.event.Data.Operation != a.operation || s.event.Data.OperationKey != a.key {
		return false
	}
	if s.event.Name() == schemas.EventParked {
		return s.sequence > a.known
	}
	return answersCommand(s.event)
}

// answersCommand says whether an event is an answer at all, rather than a key that comes beside one.
func answersCommand(e *schemas.Event) bool {
	op := e.Data.Operation
	return e.Name() != schemas.EventPreapproval || op == linepay.PreapprovedCheck || op == linepay.PreapprovedExpire
}
