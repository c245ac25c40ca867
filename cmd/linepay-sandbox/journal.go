package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// journal is what the workers of a channel have published since the journal was opened, as a ledger would read it: from the streams.
type journal struct {
	channel string
	ours    func(*schemas.Event) bool // of the events, which to keep: others may have commands of their own carried out meanwhile
	readers []jetstream.ConsumeContext

	mu         sync.Mutex
	events     []*schemas.Event
	letters    []letter          // all of the channel
	unreadable []string          // messages that are no events or dead letters of ours
	reached    map[string]uint64 // last sequence read, by stream
	changed    chan struct{}     // closed with every message
}

// letter is a dead letter.
type letter struct {
	schemas.DeadLetter
	number uint64 // in LINEPAY_DEADLETTERS
}

// openJournal starts behind what the streams hold now.
func openJournal(ctx context.Context, js jetstream.JetStream, channel string, ours func(*schemas.Event) bool) (j *journal, err error) {
	j = &journal{channel: channel, ours: ours, reached: map[string]uint64{}, changed: make(chan struct{})}
	defer func() {
		if err != nil {
			j.close()
			j = nil
		}
	}()
	for stream, read := range map[string]func(jetstream.Msg, uint64) error{
		schemas.StreamEvents: j.readEvent, schemas.StreamDeadLetters: j.readLetter,
	} {
		last, err := lastSequence(ctx, js, stream)
		if err != nil {
			return j, err
		}
		j.reached[stream] = last
		reader, err := js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{
			FilterSubjects: []string{j.subjects(stream)}, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: last + 1,
		})
		if err != nil {
			return j, fmt.Errorf("read stream %s: %w", stream, err)
		}
		consuming, err := reader.Consume(func(msg jetstream.Msg) { j.add(stream, msg, read) })
		if err != nil {
			return j, fmt.Errorf("read stream %s: %w", stream, err)
		}
		j.readers = append(j.readers, consuming)
	}
	return j, nil
}

// subjects are those of the channel in a stream.
func (j *journal) subjects(stream string) string {
	if stream == schemas.StreamEvents {
		return schemas.EventsFilter(j.channel, "*")
	}
	return schemas.DeadLettersFilter(j.channel, "*")
}

func lastSequence(ctx context.Context, js jetstream.JetStream, name string) (uint64, error) {
	stream, err := js.Stream(ctx, name)
	if err != nil {
		return 0, noStream(err, name)
	}
	return stream.CachedInfo().State.LastSeq, nil
}

// lastOfChannel is the sequence of the channel's last message in a stream, 0 where there is none.
func (j *journal) lastOfChannel(ctx context.Context, js jetstream.JetStream, name string) (uint64, error) {
	stream, err := js.Stream(ctx, name)
	if err != nil {
		return 0, noStream(err, name)
	}
	last, err := stream.GetLastMsgForSubject(ctx, j.subjects(name))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return last.Sequence, nil
}

func (j *journal) close() {
	for _, reader := range j.readers {
		reader.Stop()
		<-reader.Closed()
	}
}

func (j *journal) add(stream string, msg jetstream.Msg, read func(jetstream.Msg, uint64) error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	meta, err := msg.Metadata()
	if err == nil {
		j.reached[stream] = meta.Sequence.Stream
		err = read(msg, meta.Sequence.Stream)
	}
	if err != nil {
		j.unreadable = append(j.unreadable, fmt.Sprintf("%s holds a message on %s that cannot be read: %v", stream, msg.Subject(), err))
	}
	close(j.changed)
	j.changed = make(chan struct{})
}

func (j *journal) readEvent(msg jetstream.Msg, _ uint64) error {
	e, err := schemas.DecodeEvent(msg.Data())
	if err != nil {
		return err
	}
	if id := msg.Headers().Get(schemas.HeaderMsgID); id != e.ID {
		return fmt.Errorf("its %s is %q, and its id %q", schemas.HeaderMsgID, id, e.ID)
	}
	if j.ours(e) {
		j.events = append(j.events, e)
	}
	return nil
}

func (j *journal) readLetter(msg jetstream.Msg, number uint64) error {
	d, err := schemas.ParseDeadLetter(msg.Headers())
	if err != nil {
		return err
	}
	j.letters = append(j.letters, letter{d, number})
	return nil
}

// await returns when the journal is as it should be, or with an error when ctx ends first.
func (j *journal) await(ctx context.Context, ready func(*journal) bool) error {
	for {
		j.mu.Lock()
		done, changed := ready(j), j.changed
		j.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// answer is the terminal event of a command. Callers hold mu, as within await; so do those of letter.
func (j *journal) answer(command schemas.CommandRef) *schemas.Event {
	for _, e := range j.events {
		if e.Data.Command == command && terminal(e) {
			return e
		}
	}
	return nil
}

// letter is the dead letter of a message, by its sequence in LINEPAY_COMMANDS.
func (j *journal) letter(sequence uint64) letter {
	for _, d := range j.letters {
		if d.Sequence == sequence {
			return d
		}
	}
	return letter{}
}

// issued is the event with the key that a confirm issued.
func (j *journal) issued(command schemas.CommandRef) (key *schemas.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range j.events {
		if e.Data.Command == command && !terminal(e) {
			key = e
		}
	}
	return key
}

// terminal reports whether an event answers its command. All do, but the one that comes beside captured or authorized with a key that
// the confirm issued.
func terminal(e *schemas.Event) bool {
	asked := e.Data.Operation == linepay.PreapprovedCheck || e.Data.Operation == linepay.PreapprovedExpire
	return e.Name() != schemas.EventPreapproval || asked
}

// catchUp reads on to the end of the streams as they are now.
func (j *journal) catchUp(ctx context.Context, js jetstream.JetStream) error {
	for _, stream := range []string{schemas.StreamEvents, schemas.StreamDeadLetters} {
		last, err := j.lastOfChannel(ctx, js, stream)
		if err == nil {
			err = j.await(ctx, func(j *journal) bool { return j.reached[stream] >= last })
		}
		if err != nil {
			return fmt.Errorf("read stream %s to its end: %w", stream, err)
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.unreadable) > 0 {
		return errors.New(j.unreadable[0])
	}
	return nil
}
