package publisher

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/consumer/pull"
	"linepay-worker/schemas"
)

// Publisher writes events and dead letters. It is safe for concurrent use.
type Publisher struct {
	js          jetstream.JetStream
	events      jetstream.Stream
	deadLetters jetstream.Stream
	known       subjects
}

// New gives a publisher on a JetStream connection. The streams must exist (see Provision).
func New(ctx context.Context, js jetstream.JetStream) (*Publisher, error) {
	events, err := js.Stream(ctx, schemas.StreamEvents)
	if err != nil {
		return nil, fmt.Errorf("look at stream %s: %w", schemas.StreamEvents, err)
	}
	deadLetters, err := js.Stream(ctx, schemas.StreamDeadLetters)
	if err != nil {
		return nil, fmt.Errorf("look at stream %s: %w", schemas.StreamDeadLetters, err)
	}
	return &Publisher{js: js, events: events, deadLetters: deadLetters, known: newSubjects()}, nil
}

// How often a guarded publish reads again after somebody else published on the same subject in between.
const guardedTries = 16

// Publish stores an event unless it is stored already, whatever the age of the stored copy, and returns when JetStream has acknowledged
// it. It publishes on the condition that nothing has come on the subject but what it has read there; at first it has read nothing, which is
// right for most events and costs no reading. Even one whose settle has just succeeded is published like that: the record is there for
// everybody to publish from, and this process may have been stopped in between.
//
// Where there is no order the subject is shared by all commands without one; there only its last event and the duplicate window are looked
// at, for those events move no money.
func (p *Publisher) Publish(ctx context.Context, e *schemas.Event) error {
	msg, err := message(e)
	if err != nil {
		return err
	}
	known, err := p.known.subject(ctx, msg.Subject, e.Subject == "")
	if err != nil {
		return fmt.Errorf("publish %s: %w", msg.Subject, err)
	}
	defer known.leave()
	for range guardedTries {
		if known.ids[e.ID] {
			return nil
		}
		sequence, refused := p.store(ctx, p.events, msg, jetstream.WithExpectLastSequencePerSubject(known.last))
		if refused == nil {
			known.add(sequence, e.ID)
			return nil
		}
		// Whatever the reason, a full stream included: what is stored already need not be stored.
		err := p.catchUp(ctx, msg.Subject, known)
		if !wrongLastSequence(refused) && !known.ids[e.ID] {
			return refused
		}
		if err != nil {
			return err
		}
	}
	return fmt.Errorf("publish %s: others published on the subject %d times in between", msg.Subject, guardedTries)
}

// History reads every event of an order on a channel, oldest first. An empty order has no history.
func (p *Publisher) History(ctx context.Context, channel, order string) ([]*schemas.Event, error) {
	if order == "" {
		return nil, nil
	}
	var history []*schemas.Event
	err := p.each(ctx, schemas.OrderEventsFilter(channel, order), 1, math.MaxUint64, func(_ uint64, e *schemas.Event) {
		history = append(history, e)
	})
	return history, err
}

// Newest is when the latest event of a channel was stored; the zero time where there is none.
func (p *Publisher) Newest(ctx context.Context, channel string) (time.Time, error) {
	msg, err := p.events.GetLastMsgForSubject(ctx, schemas.EventsFilter(channel, "*"))
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return time.Time{}, nil
	case err != nil:
		return time.Time{}, fmt.Errorf("read the last event of channel %s: %w", channel, err)
	default:
		return msg.Time, nil
	}
}

// proofs are the events that say what became of an operation, which duplicates and readings do not.
var proofs = []string{
	schemas.EventCaptured, schemas.EventRefunded, schemas.EventAuthorized, schemas.EventVoided, schemas.EventRequested,
	schemas.EventFailed, schemas.EventRejected, schemas.EventParked,
}

// Proofs reads the events of a channel, stored since a time, that say what became of an operation, oldest first.
func (p *Publisher) Proofs(ctx context.Context, channel string, since time.Time, f func(*schemas.Event)) error {
	reading := pull.Reading{Stream: schemas.StreamEvents, Since: since}
	for _, name := range proofs {
		reading.Filters = append(reading.Filters, schemas.EventsFilter(channel, name))
	}
	err := pull.Read(ctx, p.js, reading, func(m pull.Message) (bool, error) {
		if e, err := schemas.DecodeEvent(m.Body); err == nil {
			f(e)
		}
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("events of channel %s: %w", channel, err)
	}
	return nil
}

// catchUp reads what others have published on a subject since it was last read. Where there is no order, only the last event.
func (p *Publisher) catchUp(ctx context.Context, subject string, known *subject) error {
	msg, err := p.events.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && msg.Sequence < known.last {
		known.forget() // the stream was purged, or made anew
	}
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("read the last event of %s: %w", subject, err)
	case !known.shared:
		err = p.each(ctx, subject, known.last+1, msg.Sequence, func(sequence uint64, other *schemas.Event) { known.add(sequence, other.ID) })
		if err != nil {
			return err
		}
	}
	known.add(msg.Sequence, msg.Header.Get(schemas.HeaderMsgID))
	return nil
}

// each reads the events of a subject filter between two sequences, oldest first. What does not read as an event is passed over: it cannot
// be ours.
func (p *Publisher) each(ctx context.Context, filter string, first, last uint64, f func(uint64, *schemas.Event)) error {
	for next := first; next <= last; {
		msg, err := p.events.GetMsg(ctx, next, jetstream.WithGetMsgSubject(filter))
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
			return nil
		case err != nil:
			return fmt.Errorf("read events %s: %w", filter, err)
		}
		if e, err := schemas.DecodeEvent(msg.Data); err == nil {
			f(msg.Sequence, e)
		}
		next = msg.Sequence + 1
	}
	return nil
}

// store publishes and, where JetStream answers "duplicate", makes sure that the copy it means is on the same subject.
func (p *Publisher) store(ctx context.Context, stream jetstream.Stream, msg *nats.Msg, opts ...jetstream.PublishOpt) (sequence uint64, err error) {
	opts = append(opts, jetstream.WithExpectStream(stream.CachedInfo().Config.Name))
	ack, err := p.js.PublishMsg(ctx, msg, opts...)
	if err != nil {
		return 0, fmt.Errorf("publish %s: %w", msg.Subject, err)
	}
	if !ack.Duplicate {
		return ack.Sequence, nil
	}
	copied, err := stream.GetMsg(ctx, ack.Sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, fmt.Errorf("publish %s: a message with this Nats-Msg-Id was stored and has been deleted since: it can be published again after the duplicate window", msg.Subject)
	}
	if err != nil {
		return 0, fmt.Errorf("read back %s: %w", msg.Subject, err)
	}
	if copied.Subject != msg.Subject || copied.Header.Get(schemas.HeaderMsgID) != msg.Header.Get(schemas.HeaderMsgID) {
		return 0, fmt.Errorf("publish %s: %w, at %s sequence %d", msg.Subject, schemas.ErrOtherContent, copied.Subject, ack.Sequence)
	}
	return ack.Sequence, nil
}

func message(e *schemas.Event) (*nats.Msg, error) {
	body, err := e.Encode()
	if err != nil {
		return nil, fmt.Errorf("encode event %s: %w", e.ID, err)
	}
	msg := nats.NewMsg(schemas.EventSubject(e.Data.Channel, e.Name(), e.Subject))
	msg.Data = body
	msg.Header.Set(schemas.HeaderMsgID, e.ID)
	msg.Header.Set(schemas.HeaderContentType, schemas.ContentTypeCloudEvents)
	if e.TraceParent != "" {
		msg.Header.Set(schemas.HeaderTraceParent, e.TraceParent)
	}
	return msg, nil
}

func wrongLastSequence(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}
