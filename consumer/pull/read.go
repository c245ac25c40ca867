package pull

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Reading says what of a stream is read.
type Reading struct {
	Stream      string
	Filters     []string  // subjects, none of which contains another; none are all
	First       uint64    // the sequence to begin with; 0 is the oldest
	Since       time.Time // when the first was stored, where First does not say; zero is any time
	HeadersOnly bool      // without bodies
	Follow      bool      // goes on with what comes; without it, the reading ends with what is there
}

// Message is one that a stream holds.
type Message struct {
	Sequence uint64
	Stored   time.Time // by NATS' clock, UTC
	Subject  string
	Header   nats.Header
	Body     []byte
}

const (
	atHand  = 256 // messages that are held at a time, each of which may be large
	quiet   = time.Second
	tries   = 3           // in a row that bring nothing, until a reading is given up
	idle    = time.Minute // after which the server forgets a reader that was not heard of
	parting = 2 * time.Second
)

// Read gives the messages to f, oldest first and each of them once, until f has had enough, or gives an error, which is passed on; or the context
// ends. It leaves nothing behind at the server, and begins anew where it was when the server has lost its reader. f may take as long as it likes.
//
// Errors: those of f and of the context; jetstream.ErrStreamNotFound; another one of NATS where nothing could be read for a while. A reading that
// follows goes on trying, unless the connection is closed.
func Read(ctx context.Context, js jetstream.JetStream, r Reading, f func(Message) (more bool, err error)) error {
	p := &position{Reading: r, js: js, give: f, next: max(r.First, 1)}
	for failures := 0; ; {
		from := p.next
		err := p.pass(ctx)
		switch {
		case p.over:
			return err
		case p.next > from:
			failures = 0
			continue
		case errors.Is(err, jetstream.ErrStreamNotFound), js.Conn().IsClosed():
			return err
		}
		if failures++; failures == tries && !r.Follow {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(quiet):
		}
	}
}

// position is how far a reading has come.
type position struct {
	Reading
	js   jetstream.JetStream
	give func(Message) (bool, error)
	next uint64 // the first sequence that was not given yet
	over bool   // f has had enough, or an error, or all is read
}

// pass reads with one reader of the server's, for as long as that lives.
func (p *position) pass(ctx context.Context) error {
	config := jetstream.ConsumerConfig{
		FilterSubjects: p.Filters, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: p.next, AckPolicy: jetstream.AckNonePolicy,
		HeadersOnly: p.HeadersOnly, MemoryStorage: true, InactiveThreshold: idle, Replicas: 1,
	}
	if p.next == 1 { // the zero time is before everything
		config.DeliverPolicy, config.OptStartSeq, config.OptStartTime = jetstream.DeliverByStartTimePolicy, 0, &p.Since
	}
	reader, err := p.js.CreateConsumer(ctx, p.Stream, config)
	if err != nil {
		return fmt.Errorf("read stream %s: %w", p.Stream, err)
	}
	name, pending := reader.CachedInfo().Name, reader.CachedInfo().NumPending
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), parting)
		defer cancel()
		_ = p.js.DeleteConsumer(ctx, p.Stream, name) // or the server does, after a while
	}()
	for delivered := uint64(0); p.Follow || pending > 0; {
		came, err := p.fetch(ctx, name, pending)
		for _, m := range came {
			if delivered++; m.meta.Sequence.Consumer != delivered { // some were lost on their way
				return fmt.Errorf("read stream %s: messages behind sequence %d did not arrive", p.Stream, p.next-1)
			}
			if ctx.Err() != nil { // even if there is more at hand
				return ctx.Err()
			}
			pending, p.next = m.meta.NumPending, m.meta.Sequence.Stream+1
			if more, err := p.give(m.message()); err != nil || !more {
				p.over = true
				return err
			}
		}
		if err == nil && len(came) == 0 { // others may have deleted what was to come, or the reader
			_, err = reader.Info(ctx)
			pending = reader.CachedInfo().NumPending
		}
		if err != nil {
			return fmt.Errorf("read stream %s: %w", p.Stream, err)
		}
	}
	p.over = true
	return nil
}

// delivery is a message as it came.
type delivery struct {
	*nats.Msg
	meta *nats.MsgMetadata
}

func (d delivery) message() Message {
	return Message{d.meta.Sequence.Stream, d.meta.Timestamp.UTC(), d.Subject, d.Header, d.Data}
}

// fetch gives what comes of that which is there, or else the next message, with an error or without. Nothing is given on before the pull is over:
// f may be slow.
func (p *position) fetch(ctx context.Context, reader string, pending uint64) (came []delivery, err error) {
	var broken error
	err = Fetch(ctx, p.js, p.Stream, reader, int(min(max(pending, 1), atHand)), quiet, func(msg *nats.Msg) {
		meta, err := msg.Metadata()
		if err != nil {
			broken = err
			return
		}
		came = append(came, delivery{msg, meta})
	})
	return came, errors.Join(err, broken)
}
