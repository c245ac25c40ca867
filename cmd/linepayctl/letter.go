package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/publisher"
	"linepay-worker/schemas"
)

// letter is a dead letter, and what can be read of its command.
type letter struct {
	*publisher.Letter
	channel, operation string           // as its subject has them, which need not exist
	command            *schemas.Command // nil where it cannot be read
	names
	unfit error          // why it cannot be read, or what is wrong with its data
	told  *schemas.Event // its `parked` event; nil where there is none, or none was looked for
	would foreseen       // where it was asked for
}

func examine(d *publisher.Letter) *letter {
	l := &letter{Letter: d}
	subject := d.Subject
	if d.Problem == nil {
		subject = d.DeadLetter.Subject
	}
	if parts := strings.SplitN(subject, ".", 4); len(parts) == 4 {
		l.channel, l.operation = parts[2], parts[3]
	}
	if d.Problem != nil {
		l.unfit = d.Problem
		return l
	}
	l.command, l.unfit = schemas.DecodeCommand(subject, d.Header, d.Body)
	l.names = namesOf(l.command, l.unfit == nil)
	return l
}

func (l *letter) order() string {
	if l.command == nil {
		return ""
	}
	return l.command.Data.Order()
}

func (l *letter) transaction() string {
	if l.command == nil {
		return ""
	}
	return l.command.Data.Transaction().String()
}

// parkedAt is when it was parked; where the headers do not say, when it was stored.
func (l *letter) parkedAt() time.Time {
	if l.Problem != nil {
		return l.Stored
	}
	return l.At
}

// replay is the number of the dead letter that its command had been replayed from when it was parked, 0 for none.
func (l *letter) replay() uint64 {
	return schemas.ParseReplay(l.Header.Get(schemas.HeaderReplay))
}

// movesMoney says whether the operation could have moved money. What cannot be read was never called.
func (l *letter) movesMoney() bool {
	return l.command != nil && l.command.Operation.MovesMoney()
}

// moved is what its event tells of its money, "" where nothing is told.
func (l *letter) moved() string {
	if l.told == nil {
		return ""
	}
	return l.told.Data.MoneyMoved
}

// parkedID is the id of the event that tells of the command's parking after a replay.
func (l *letter) parkedID(replay uint64) string {
	operation := l.key
	if operation == "" {
		operation = string(l.names.operation)
	}
	return schemas.EventID(l.command.Channel, operation, l.names.command.Source, l.names.command.ID,
		schemas.EventType(schemas.EventParked), strconv.FormatUint(replay, 10))
}

// audited is what an audit entry says of it.
func (l *letter) audited(action string) schemas.AuditData {
	return schemas.AuditData{
		Action: action, Channel: l.channelOr("unknown"), DeadLetter: l.Number, ReasonParked: l.Reason, Command: l.names.command,
		Operation: l.operation, OperationKey: l.key, OrderID: l.order(), TransactionID: l.transaction(),
	}
}

func (l *letter) channelOr(otherwise string) string {
	if l.channel == "" {
		return otherwise
	}
	return l.channel
}

// money looks up what the events tell of parked commands.
type money struct{ events jetstream.Stream }

// tell finds the `parked` event of a dead letter, by the id that such an event has. Where there is no order, the subject is shared by all
// that have none, and only its last event is looked at: those move no money.
func (m money) tell(ctx context.Context, l *letter) error {
	if l.command == nil {
		return nil
	}
	subject, id := schemas.EventSubject(l.command.Channel, schemas.EventParked, l.order()), l.parkedID(l.replay())
	last, err := m.events.GetLastMsgForSubject(ctx, subject)
	for next := uint64(1); err == nil; {
		if e, broken := schemas.DecodeEvent(last.Data); broken == nil && e.ID == id {
			l.told = e
			return nil
		}
		if l.order() == "" {
			return nil
		}
		last, err = m.events.GetMsg(ctx, next, jetstream.WithGetMsgSubject(subject))
		if err == nil {
			next = last.Sequence + 1
		}
	}
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil
	}
	return fmt.Errorf("read events %s: %w", subject, err)
}

// letterDocument is a dead letter as JSON.
type letterDocument struct {
	Number        uint64              `json:"number"` // in LINEPAY_DEADLETTERS
	At            time.Time           `json:"at"`     // when it was parked
	Channel       string              `json:"channel,omitzero"`
	Operation     string              `json:"operation,omitzero"`
	Reason        string              `json:"reason,omitzero"`
	Code          string              `json:"code,omitzero"`
	Detail        string              `json:"detail,omitzero"`
	MoneyMoved    string              `json:"moneyMoved,omitzero"`
	OrderID       string              `json:"orderId,omitzero"`
	TransactionID string              `json:"transactionId,omitzero"`
	Command       schemas.CommandRef  `json:"command,omitzero"`
	OperationKey  string              `json:"operationKey,omitzero"`
	Subject       string              `json:"subject,omitzero"`    // the command's
	Sequence      uint64              `json:"sequence,omitzero"`   // in LINEPAY_COMMANDS
	Deliveries    uint64              `json:"deliveries,omitzero"` // how often it had been delivered
	Replay        uint64              `json:"replay,omitzero"`     // the dead letter that it had been replayed from
	Problem       string              `json:"problem,omitzero"`    // what is wrong with its headers, envelope or data
	Headers       map[string][]string `json:"headers,omitzero"`
	Body          *string             `json:"body,omitzero"`       // where it is text
	BodyBase64    []byte              `json:"bodyBase64,omitzero"` // where it is none
	Foreseen      *foreseen           `json:"replayWould,omitzero"`
}

func (l *letter) document() letterDocument {
	d := letterDocument{
		Number: l.Number, At: l.parkedAt(), Channel: text(l.channel), Operation: text(l.operation), Reason: l.Reason, Code: text(l.Code),
		Detail: text(l.Detail), MoneyMoved: l.moved(), OrderID: l.order(), TransactionID: l.transaction(), Command: l.names.command,
		OperationKey: l.key, Subject: text(l.DeadLetter.Subject), Sequence: l.Sequence, Deliveries: l.Deliveries, Replay: l.replay(),
	}
	if l.unfit != nil {
		d.Problem = text(inWords(l.unfit))
	}
	return d
}

// inWords puts what is wrong with a command into words for a person.
func inWords(err error) string {
	unreadable, ok := errors.AsType[*schemas.UnreadableError](err)
	if ok && unreadable.Err != nil && wrongJSON(unreadable.Err) != unreadable.Err.Error() {
		return "the command cannot be read: " + unreadable.Detail + ": " + wrongJSON(unreadable.Err)
	}
	return err.Error()
}

// withContent adds headers and body.
func (d letterDocument) withContent(l *letter, body []byte) letterDocument {
	d.Headers = map[string][]string{}
	for name, values := range l.Header {
		for _, value := range values {
			d.Headers[text(name)] = append(d.Headers[text(name)], text(value))
		}
	}
	if utf8.Valid(body) {
		content := string(body)
		d.Body = &content
	} else {
		d.BodyBase64 = body
	}
	return d
}

// text can stand in JSON.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func surrogates(r rune) (high, low rune) { return utf16.EncodeRune(r) }
