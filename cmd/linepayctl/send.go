package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/cmd/internal/app"
	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

type sendCommand struct {
	Operation linepay.Operation `arg:"" enum:"${operations}" help:"What to do: ${operations}."`
	Channel   string            `default:"default" env:"LINEPAY_CHANNEL" help:"Name of the channel."`
	Data      dataFlags         `embed:"" group:"Data"`
	ID        *string           `placeholder:"ID" help:"Id of the command, which with its source names it for ever (default: a random UUID)."`
	Source    string            `default:"/linepayctl" help:"Source of the command."`
	ExpiresIn *time.Duration    `placeholder:"DURATION" help:"Reject the command if LINE Pay has not been called by then."`
	Wait      waiting           `placeholder:"DURATION" help:"Wait for the command's final event, for ever or --wait=DURATION. Exit code 0: done; 1: failed, rejected, or parked before it moved money; 4: no final event in time, or parked and nobody knows whether it moved money."`
	Force     bool              `help:"Publish a command that breaks the rules, for trying out what the worker does with it."`
	JSON      bool              `help:"Print JSON, one document a line. An event is printed as it is stored, with any regKey and paymentAccessToken."`
	NATS      app.NATSSettings  `embed:"" group:"NATS"`
}

// published is what is printed about a command that JetStream has acknowledged.
type published struct {
	Subject   string `json:"subject"`
	Stream    string `json:"stream"`
	Sequence  uint64 `json:"sequence"`
	Source    string `json:"source"`
	ID        string `json:"id"`
	Duplicate bool   `json:"duplicate"` // JetStream had it already, so it was not stored again
}

// acknowledged bounds the wait for JetStream's acknowledgement.
const acknowledged = 10 * time.Second

// Run publishes the command and, if asked to, waits for its event.
func (s *sendCommand) Run(ctx context.Context, c console) error {
	msg, n, err := s.message(c)
	if err != nil {
		return err
	}
	conn, js, err := connect(s.NATS, c)
	if err != nil {
		return err
	}
	defer conn.Close()
	var answers *answers
	if s.Wait.on {
		if answers, err = s.listen(ctx, js, n); err != nil {
			return err
		}
	}
	receipt, err := s.publish(ctx, js, msg, n.command.ID)
	if err != nil {
		return err
	}
	if receipt.Duplicate && answers != nil {
		answers.known = 0 // nothing was sent anew, so no event is too old
		answers.gone, answers.reading.Follow = isGone(ctx, js, receipt.Sequence)
	}
	if err := s.print(c, receipt); err != nil || answers == nil {
		return err
	}
	return app.Run(ctx, func(ctx context.Context) error { return s.await(ctx, c, answers) })
}

// message makes the command and judges it by the worker's own rules.
func (s *sendCommand) message(c console) (msg *nats.Msg, n names, err error) {
	if err := schemas.ValidChannel(s.Channel); err != nil {
		return nil, n, usageError{err}
	}
	data, err := s.Data.read(s.Operation, c.in)
	if err != nil {
		return nil, n, err
	}
	id := uuid.NewString()
	if s.ID != nil {
		id = *s.ID
	}
	envelope, err := s.envelope(id)
	if err != nil {
		return nil, n, err
	}
	msg = nats.NewMsg(schemas.CommandSubject(s.Channel, s.Operation))
	msg.Header.Set(schemas.HeaderContentType, schemas.ContentTypeCloudEvents)
	msg.Header.Set(schemas.HeaderMsgID, messageID(msg.Subject, s.Source, id, string(data)))
	msg.Data = splice(envelope, data)
	if len(msg.Data) > schemas.MaxCommandBytes {
		return nil, n, usageError{fmt.Errorf("the command has %d bytes, more than the %d that a command may have", len(msg.Data), schemas.MaxCommandBytes)}
	}
	command, err := schemas.DecodeCommand(msg.Subject, msg.Header, msg.Data)
	if n = namesOf(command, err == nil); err == nil {
		return msg, n, nil
	}
	n.command = schemas.CommandRef{Source: s.Source, ID: id}
	if broken := s.Data.broken(data); broken != nil {
		err = broken
	}
	switch {
	case !s.Force:
		return nil, n, usageError{s.refusal(err)}
	case s.Wait.on && command == nil:
		return nil, n, usageError{fmt.Errorf("%w\nSuch a command becomes a dead letter and has no event to --wait for", err)}
	}
	fmt.Fprintf(c.err, "publishing all the same: %s\n", printable(err.Error()))
	return msg, n, nil
}

// refusal lists broken rules one by one.
func (s *sendCommand) refusal(err error) error {
	var invalid *schemas.InvalidError
	if !errors.As(err, &invalid) {
		return fmt.Errorf("%w\nNothing was published; --force publishes it all the same", err)
	}
	var list strings.Builder
	for _, rule := range invalid.Errors {
		fmt.Fprintf(&list, "  %s\n", s.Data.rule(s.Operation, rule))
	}
	return fmt.Errorf("the command is invalid:\n%sNothing was published; --force publishes it all the same", list.String())
}

// envelope is the command without its data.
func (s *sendCommand) envelope(id string) ([]byte, error) {
	if s.ExpiresIn != nil && *s.ExpiresIn <= 0 {
		return nil, usageError{fmt.Errorf("--expires-in is %s: must be more than 0", s.ExpiresIn)}
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	envelope := struct {
		SpecVersion string    `json:"specversion"`
		ID          string    `json:"id"`
		Source      string    `json:"source"`
		Type        string    `json:"type"`
		Time        time.Time `json:"time"`
		ExpiryTime  time.Time `json:"expirytime,omitzero"`
		ContentType string    `json:"datacontenttype"`
	}{SpecVersion: "1.0", ID: id, Source: s.Source, Type: schemas.CommandType(s.Operation), Time: now, ContentType: schemas.ContentTypeJSON}
	if s.ExpiresIn != nil {
		envelope.ExpiryTime = now.Add(*s.ExpiresIn)
	}
	body, err := json.Marshal(envelope)
	if err != nil {
		return nil, usageError{fmt.Errorf("--id and --source must be UTF-8: %w", err)}
	}
	return body, nil
}

// messageID lets JetStream drop a repetition, as after an acknowledgement that was lost. It covers the data: other data under the same
// source and id is a mistake that the worker is to find, not one to be swallowed here.
func messageID(parts ...string) string {
	digest := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(digest, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(digest.Sum(nil))
}

func (s *sendCommand) publish(ctx context.Context, js jetstream.JetStream, msg *nats.Msg, id string) (published, error) {
	ctx, cancel := context.WithTimeout(ctx, acknowledged)
	defer cancel()
	ack, err := js.PublishMsg(ctx, msg, jetstream.WithExpectStream(schemas.StreamCommands))
	switch {
	case errors.Is(err, jetstream.ErrNoStreamResponse):
		if _, err := js.AccountInfo(ctx); app.NoJetStream(err) {
			return published{}, errNoJetStream
		}
		return published{}, fmt.Errorf("no stream takes %s: start a worker, which creates %s, or create that stream yourself", msg.Subject, schemas.StreamCommands)
	case err != nil:
		return published{}, openError{fmt.Errorf("JetStream has not acknowledged the command, which may be stored or not: %w\n"+
			"Send it again with --source %q --id %q: it is carried out once, however often it is stored", err, s.Source, id)}
	}
	return published{msg.Subject, ack.Stream, ack.Sequence, s.Source, id, ack.Duplicate}, nil
}

func (s *sendCommand) print(c console, p published) error {
	if s.JSON {
		line, err := json.Marshal(p)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.out, "%s\n", line)
		return err
	}
	_, err := fmt.Fprintf(c.out, "%s  sequence %d  id %s\n", p.Subject, p.Sequence, printable(p.ID))
	if p.Duplicate {
		fmt.Fprintln(c.err, "JetStream had stored this command a short while ago and has not stored it again")
	}
	return err
}
