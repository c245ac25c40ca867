package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/alecthomas/kong"
	"github.com/nats-io/nats.go/jetstream"

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
		return nil
	}
	text := fmt.Sprint(ctx.Scan.Pop().Value)
	limit, err := time.ParseDuration(text)
	if err != nil || limit <= 0 {
		return fmt.Errorf("must be a duration such as 30s, not %q", text)
	}
	w.limit = limit
	return nil
}

// IsBool lets the flag stand without a value.
func (*waiting) IsBool() bool { return true }

// answers are the events among which a command's final one is looked for.
type answers struct {
	*feed
	command schemas.CommandRef
	known   uint64 // the stream's last sequence before the command was published
}

// listen begins to read events. They are those of the whole channel: a command that cannot be read in full may be answered without its
// order. A new command cannot have an event yet; one whose id was given can.
func (s *sendCommand) listen(ctx context.Context, js jetstream.JetStream, id string) (*answers, error) {
	stream, err := js.Stream(ctx, schemas.StreamEvents)
	if err != nil {
		return nil, explain(err, schemas.StreamEvents)
	}
	known := stream.CachedInfo().State.LastSeq
	config := jetstream.OrderedConsumerConfig{FilterSubjects: []string{filter(s.Channel, "*", nil)}}
	if s.ID == nil {
		config.DeliverPolicy, config.OptStartSeq = jetstream.DeliverByStartSequencePolicy, known+1
	}
	feed, err := openFeed(ctx, js, config)
	if err != nil {
		return nil, err
	}
	return &answers{feed, schemas.CommandRef{Source: s.Source, ID: id}, known}, nil
}

// await prints the final event. It is an error where the command did not do what was asked, or where no event came in time.
func (s *sendCommand) await(ctx context.Context, c console, a *answers) error {
	if s.Wait.limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.Wait.limit)
		defer cancel()
	}
	for {
		found, err := a.next(ctx)
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			return fmt.Errorf("no final event after %s: the command waits in %s, for a worker or to be tried again", s.Wait.limit, schemas.StreamCommands)
		case ctx.Err() != nil:
			return errors.New("interrupted before the final event came; the command stays in " + schemas.StreamCommands)
		case err != nil:
			return err
		case !a.final(found):
			continue
		}
		printer := &printer{console: c, json: s.JSON}
		if err := printer.print(found); err != nil {
			return err
		}
		switch name := found.event.Name(); name {
		case schemas.EventFailed, schemas.EventRejected, schemas.EventParked:
			return fmt.Errorf("the command was not carried out: %s", name)
		default:
			return nil
		}
	}
}

// final reports whether an event ends the command. A key that a confirm issued comes beside its final event; and what was parked before
// it was sent again now has another end.
func (a *answers) final(s stored) bool {
	if s.event == nil || s.event.Data.Command != a.command {
		return false
	}
	switch s.event.Name() {
	case schemas.EventPreapproval:
		op := s.event.Data.Operation
		return op == linepay.PreapprovedCheck || op == linepay.PreapprovedExpire
	case schemas.EventParked:
		return s.sequence > a.known
	default:
		return true
	}
}
