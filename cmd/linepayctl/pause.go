package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/cmd/internal/app"
	"linepay-worker/consumer"
	"linepay-worker/schemas"
)

type pauseCommand struct {
	Channel string           `arg:"" help:"Name of the channel."`
	For     time.Duration    `xor:"end" placeholder:"DURATION" help:"Pause for so long, such as 30m or 2h; at most 720h, which is 30 days."`
	Until   time.Time        `xor:"end" placeholder:"TIME" help:"Pause until this time, such as 2026-01-02T15:04:05+08:00; at most 30 days off."`
	Because string           `required:"" aliases:"reason" placeholder:"TEXT" help:"Why, for the audit stream (or --reason)."`
	JSON    bool             `help:"Print one JSON document."`
	Auditor auditor          `embed:"" group:"Audit"`
	NATS    app.NATSSettings `embed:"" group:"NATS"`
}

type resumeCommand struct {
	Channel string           `arg:"" help:"Name of the channel."`
	Because string           `required:"" aliases:"reason" placeholder:"TEXT" help:"Why, for the audit stream (or --reason)."`
	JSON    bool             `help:"Print one JSON document."`
	Auditor auditor          `embed:"" group:"Audit"`
	NATS    app.NATSSettings `embed:"" group:"NATS"`
}

// longestPause is so short that a channel that everybody has forgotten comes back by itself.
const longestPause = 30 * 24 * time.Hour

// pauseState is what pause and resume print as JSON.
type pauseState struct {
	Channel     string    `json:"channel"`
	Paused      bool      `json:"paused"`
	PausedUntil time.Time `json:"pausedUntil,omitzero"`
	Backlog     uint64    `json:"backlog"` // commands that were not delivered yet
	InHand      int       `json:"inHand"`  // delivered and not done: calls in flight go on, retries wait
}

// Run pauses a channel: JetStream delivers none of its commands until the pause is over. Calls in flight go on.
func (p *pauseCommand) Run(ctx context.Context, c console) error {
	if err := named(p.Channel, p.Because); err != nil {
		return err
	}
	until, err := p.end(time.Now())
	if err != nil {
		return err
	}
	conn, js, err := connect(p.NATS, c)
	if err != nil {
		return err
	}
	defer conn.Close()
	info, err := pausable(ctx, js, p.Channel)
	if err != nil {
		return err
	}
	audit, err := p.Auditor.open(ctx, js)
	if err != nil {
		return err
	}
	err = audit.add(ctx, schemas.AuditData{
		Action: schemas.ActionPause, Channel: p.Channel, Reason: p.Because, Outcome: "paused until " + until.Format(time.RFC3339),
	})
	if err != nil {
		return err
	}
	answer, err := js.PauseConsumer(ctx, schemas.StreamCommands, info.Name, until)
	if err != nil {
		return unpausable(err, p.Channel)
	}
	if !answer.Paused {
		return fmt.Errorf("channel %s is not paused: by NATS' clock, %s has passed", p.Channel, until.Format(time.RFC3339))
	}
	state := pauseState{
		Channel: p.Channel, Paused: true, PausedUntil: answer.PauseUntil.UTC(), Backlog: info.NumPending, InHand: info.NumAckPending,
	}
	if p.JSON {
		return document(c.out, state)
	}
	_, err = fmt.Fprintf(c.out, "channel %s is paused until %s: %s\n"+
		"%d in hand: calls in flight go on, and what is to be tried again or looked up waits, too\n"+
		"to go on earlier: linepayctl resume %s --because TEXT\n",
		p.Channel, state.PausedUntil.Format(time.RFC3339), wait(state.Backlog), state.InHand, p.Channel)
	return err
}

// end is when the pause is over.
func (p *pauseCommand) end(now time.Time) (time.Time, error) {
	switch {
	case p.For < 0 || p.For > 0 && p.For < time.Second:
		return time.Time{}, usageError{fmt.Errorf("--for is %s: it must be at least 1s", p.For)}
	case p.For == 0 && p.Until.IsZero():
		return time.Time{}, refusedError{errors.New("a pause needs an end, or it is forgotten while customers wait: give --for or --until")}
	case p.For > 0:
		p.Until = now.Add(p.For)
	case !p.Until.After(now):
		return time.Time{}, usageError{fmt.Errorf("--until is %s, which has passed", p.Until.Format(time.RFC3339))}
	}
	if p.Until.Sub(now) > longestPause {
		return time.Time{}, refusedError{errors.New("a pause is at most 30 days (720h) long: pause again when they are over")}
	}
	return p.Until.UTC(), nil
}

// Run ends a pause.
func (r *resumeCommand) Run(ctx context.Context, c console) error {
	if err := named(r.Channel, r.Because); err != nil {
		return err
	}
	conn, js, err := connect(r.NATS, c)
	if err != nil {
		return err
	}
	defer conn.Close()
	info, err := pausable(ctx, js, r.Channel)
	if err != nil {
		return err
	}
	state := pauseState{Channel: r.Channel, Backlog: info.NumPending, InHand: info.NumAckPending}
	if !info.Paused {
		return r.print(c, state, "channel %s was not paused: nothing was done; %s\n")
	}
	audit, err := r.Auditor.open(ctx, js)
	if err != nil {
		return err
	}
	if err := audit.add(ctx, schemas.AuditData{Action: schemas.ActionResume, Channel: r.Channel, Reason: r.Because}); err != nil {
		return err
	}
	if _, err := js.ResumeConsumer(ctx, schemas.StreamCommands, info.Name); err != nil {
		return unpausable(err, r.Channel)
	}
	return r.print(c, state, "channel %s goes on: %s\n")
}

func (r *resumeCommand) print(c console, state pauseState, format string) error {
	if r.JSON {
		return document(c.out, state)
	}
	_, err := fmt.Fprintf(c.out, format, r.Channel, wait(state.Backlog))
	return err
}

func named(channel, because string) error {
	if err := schemas.ValidChannel(channel); err != nil {
		return usageError{err}
	}
	if strings.TrimSpace(because) == "" {
		return usageError{errors.New("--because is blank: say why, for whoever reads the audit stream")}
	}
	return nil
}

// pausable finds the channel's consumer, at a server that knows how to pause it.
func pausable(ctx context.Context, js jetstream.JetStream, channel string) (*jetstream.ConsumerInfo, error) {
	if version := js.Conn().ConnectedServerVersion(); !pauses(version) {
		return nil, fmt.Errorf("this NATS server is of version %s: pausing a channel needs 2.11 or later", version)
	}
	found, err := js.Consumer(ctx, schemas.StreamCommands, consumer.ConsumerName(channel))
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		return nil, fmt.Errorf("no worker has served channel %s yet: there is no consumer %s to pause", channel, consumer.ConsumerName(channel))
	case err != nil:
		return nil, explain(err, schemas.StreamCommands)
	}
	return found.CachedInfo(), nil
}

// pauses says whether a NATS server of that version can pause consumers.
func pauses(version string) bool {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	first, err1 := strconv.Atoi(major)
	second, err2 := strconv.Atoi(minor)
	return err1 != nil || err2 != nil || first > 2 || first == 2 && second >= 11 // a version of another form is left to the server
}

// unpausable puts into words why the server did not do it.
func unpausable(err error, channel string) error {
	if errors.Is(err, nats.ErrNoResponders) {
		return fmt.Errorf("no NATS server that this request reaches can pause channel %s: all need 2.11 or later, and the right to "+
			"publish to $JS.API.CONSUMER.PAUSE.%s.%s", channel, schemas.StreamCommands, consumer.ConsumerName(channel))
	}
	return fmt.Errorf("pause or resume channel %s: %w; it is on record in %s, and may not have been done: look with linepayctl status",
		channel, err, schemas.StreamAudit)
}

func wait(n uint64) string {
	if n == 1 {
		return "1 command waits"
	}
	return fmt.Sprintf("%d commands wait", n)
}
