package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// told is an event as the stream has it.
type told struct {
	event    *schemas.Event
	sequence uint64
	stored   time.Time
	msgID    string
}

// letter is a dead letter as the stream has it.
type letter struct {
	schemas.DeadLetter
	stored time.Time
	Body   string
}

// journal reads events and dead letters in the order of their streams, message by message: what it has not read is not there.
type journal struct {
	js jetstream.JetStream

	mu         sync.Mutex
	events     []told
	letters    []letter
	unreadable []string
	answers    map[schemas.CommandRef][]*schemas.Event // terminal ones
	keys       map[schemas.CommandRef]string           // issued by a confirm
	reached    map[string]uint64
	changed    chan struct{} // closed with every message
}

func openJournal(t *testing.T, js jetstream.JetStream) *journal {
	t.Helper()
	j := &journal{
		js: js, answers: map[schemas.CommandRef][]*schemas.Event{}, keys: map[schemas.CommandRef]string{}, reached: map[string]uint64{},
		changed: make(chan struct{}),
	}
	ctx, cancel := context.WithCancel(context.Background())
	var readers sync.WaitGroup
	readers.Go(func() { j.read(ctx, schemas.StreamEvents, j.addEvent) })
	readers.Go(func() { j.read(ctx, schemas.StreamDeadLetters, j.addLetter) })
	t.Cleanup(func() { cancel(); readers.Wait() })
	return j
}

func (j *journal) read(ctx context.Context, name string, add func(*jetstream.RawStreamMsg) error) {
	var stream jetstream.Stream
	for next := uint64(1); ctx.Err() == nil; {
		msg, err := j.get(ctx, name, &stream, next)
		if err != nil { // the end of the stream, or no leader at present
			pause(ctx, 20*time.Millisecond)
			continue
		}
		j.mu.Lock()
		if err := add(msg); err != nil {
			j.unreadable = append(j.unreadable, fmt.Sprintf("%s holds on %s what cannot be read: %v", name, msg.Subject, err))
		}
		next = msg.Sequence + 1
		j.reached[name] = msg.Sequence
		close(j.changed)
		j.changed = make(chan struct{})
		j.mu.Unlock()
	}
}

// get reads one message, and finds the stream first where that has not been done.
func (j *journal) get(ctx context.Context, name string, stream *jetstream.Stream, sequence uint64) (_ *jetstream.RawStreamMsg, err error) {
	ctx, cancel := context.WithTimeout(ctx, oneQuestion)
	defer cancel()
	if *stream == nil {
		if *stream, err = j.js.Stream(ctx, name); err != nil {
			return nil, err
		}
	}
	return (*stream).GetMsg(ctx, sequence)
}

func (j *journal) addEvent(msg *jetstream.RawStreamMsg) error {
	e, err := schemas.DecodeEvent(msg.Data)
	if err != nil {
		return err
	}
	j.events = append(j.events, told{e, msg.Sequence, msg.Time, msg.Header.Get(schemas.HeaderMsgID)})
	if terminal(e) {
		j.answers[e.Data.Command] = append(j.answers[e.Data.Command], e)
	} else {
		j.keys[e.Data.Command] = e.Data.RegKey
	}
	return nil
}

func (j *journal) addLetter(msg *jetstream.RawStreamMsg) error {
	d, err := schemas.ParseDeadLetter(msg.Header)
	if err != nil {
		return err
	}
	j.letters = append(j.letters, letter{d, msg.Time, string(msg.Data)})
	return nil
}

// terminal reports whether an event answers its command. All do, but the one that comes beside captured or authorized with a key that the
// confirm issued.
func terminal(e *schemas.Event) bool {
	asked := e.Data.Operation == linepay.PreapprovedCheck || e.Data.Operation == linepay.PreapprovedExpire
	return e.Name() != schemas.EventPreapproval || asked
}

// await waits for a command's answer; nil when ctx ends first.
func (j *journal) await(ctx context.Context, command schemas.CommandRef) *schemas.Event {
	for {
		j.mu.Lock()
		list, changed := j.answers[command], j.changed
		j.mu.Unlock()
		if len(list) > 0 {
			return list[0]
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// key is the one that a confirm issued, "" for none.
func (j *journal) key(confirm schemas.CommandRef) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.keys[confirm]
}

// count is how many commands have been answered.
func (j *journal) count() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.answers)
}

// catchUp reads on to the end of the streams as they are now.
func (j *journal) catchUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, name := range []string{schemas.StreamEvents, schemas.StreamDeadLetters} {
		var last uint64
		known := until(ctx, func() (ok bool) {
			last, ok = j.last(ctx, name)
			return ok
		})
		reached := func() bool { j.mu.Lock(); defer j.mu.Unlock(); return j.reached[name] >= last }
		if !known || !until(ctx, reached) {
			return fmt.Errorf("stream %s cannot be read to its end, %d, within %s", name, last, patience)
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.unreadable) > 0 {
		return errors.New(j.unreadable[0])
	}
	return nil
}

func (j *journal) last(ctx context.Context, name string) (sequence uint64, known bool) {
	ctx, cancel := context.WithTimeout(ctx, oneQuestion)
	defer cancel()
	stream, err := j.js.Stream(ctx, name)
	if err != nil {
		return 0, false
	}
	return stream.CachedInfo().State.LastSeq, true
}

func (j *journal) all() ([]told, []letter) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.events), slices.Clone(j.letters)
}
