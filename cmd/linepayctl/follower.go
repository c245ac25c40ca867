package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/consumer/pull"
	"linepay-worker/linepay"
	"linepay-worker/publisher"
	"linepay-worker/schemas"
)

// What becomes of a replay, beside the events of that name.
const (
	resultOpen     = "open"         // its command is in LINEPAY_COMMANDS yet
	resultParked   = "parked again" // in a dead letter of its own
	resultGone     = "gone"         // somebody else replayed or dropped it
	resultRefused  = "refused"
	resultHeld     = "held back"    // behind another one of its order
	resultError    = "not replayed" // or nobody knows whether it was
	resultUnknown  = "no event"     // its command is done with, and its event is not to be found
	resultReplayed = "replayed"     // and not followed
)

const cannotBeRead = "it cannot be read as a command"

// replay is one dead letter on its way.
type replay struct {
	number   uint64
	sequence uint64 // in LINEPAY_COMMANDS, 0 until it is published
	channel  string
	op       string
	order    string
	names
	readable bool
	parkedID string // of the event that would tell of its parking after this replay
	result   string
	event    *schemas.Event
	again    uint64 // the dead letter that it has become
	why      string
}

// identity is what the events of one command share.
type identity struct {
	channel string
	command schemas.CommandRef
	op      linepay.Operation
	key     string
}

// follower finds out what becomes of replayed commands. Most end in a new event, which the feed brings. One that is answered from the guard's
// record has its event already; its message has left LINEPAY_COMMANDS then, and the event is looked for among those of its order.
type follower struct {
	js     jetstream.JetStream
	bus    *publisher.Publisher
	report *results
	from   [2]uint64 // the first sequences to follow, of events and of dead letters

	mu       sync.Mutex
	all      map[uint64]*replay // by number
	known    map[identity][]*replay
	left     int       // published and open
	failed   int       // failures of every kind
	progress time.Time // of the last change
	cursor   uint64    // where the next sweep begins
	changed  chan struct{}

	cancel    context.CancelFunc
	following sync.WaitGroup
}

func newFollower(ctx context.Context, js jetstream.JetStream, report *results) (*follower, error) {
	f := &follower{
		js: js, report: report, all: map[uint64]*replay{}, known: map[identity][]*replay{}, progress: time.Now(), changed: make(chan struct{}, 1),
	}
	for i, name := range []string{schemas.StreamEvents, schemas.StreamDeadLetters} {
		stream, err := js.Stream(ctx, name)
		if err != nil {
			return nil, explain(err, name)
		}
		f.from[i] = stream.CachedInfo().State.LastSeq + 1
	}
	var err error
	f.bus, err = publisher.New(ctx, js)
	return f, err
}

// start follows from here on, until stop.
func (f *follower) start(ctx context.Context) {
	ctx, f.cancel = context.WithCancel(ctx)
	for _, each := range []func(context.Context) error{f.followEvents, f.followLetters, f.sweepOften, f.report.progress(f)} {
		f.following.Go(func() {
			if err := each(ctx); err != nil && ctx.Err() == nil {
				f.warn(err)
			}
		})
	}
}

func (f *follower) stop() {
	f.cancel()
	f.following.Wait()
}

func (f *follower) warn(err error) { f.report.warn(err) }

// expect begins to look out for a replay, before it is published: its answer may come sooner than JetStream's acknowledgement.
func (f *follower) expect(l *letter) {
	r := f.entry(l)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all[l.Number] = r
	if r.readable {
		id := r.identity()
		f.known[id] = append(f.known[id], r)
	}
}

func (f *follower) entry(l *letter) *replay {
	r := &replay{
		number: l.Number, channel: l.channel, op: l.operation, order: l.order(), names: l.names, readable: l.command != nil, result: resultOpen,
	}
	if r.readable {
		r.parkedID = l.parkedID(l.Number)
	}
	return r
}

func (r *replay) identity() identity { return identity{r.channel, r.command, r.operation, r.key} }

// published says where the command is now.
func (f *follower) published(l *letter, sequence uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.all[l.Number]
	r.sequence, f.progress = sequence, time.Now()
	if r.result == resultOpen { // else its answer was quicker
		if f.left++; !f.report.followed {
			f.endLocked(r, resultReplayed)
		}
	}
}

// The ends that are known without following.

func (f *follower) gone(number uint64) { f.endNew(&replay{number: number}, resultGone, "") }

func (f *follower) refused(l *letter, err error) { f.endNew(f.entry(l), resultRefused, err.Error()) }

func (f *follower) notReplayed(l *letter, err error) {
	f.endNew(f.entry(l), resultError, err.Error())
}

func (f *follower) held(l *letter, behind uint64) {
	f.endNew(f.entry(l), resultHeld, fmt.Sprintf("behind dead letter %d, which was not replayed", behind))
}

func (f *follower) endNew(r *replay, result, why string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if expected := f.all[r.number]; expected != nil {
		if expected.result != resultOpen {
			return
		}
		r = expected
	}
	f.all[r.number], r.why = r, why
	f.endLocked(r, result)
}

// endLocked settles what became of a replay.
func (f *follower) endLocked(r *replay, result string) {
	if r.sequence != 0 {
		f.left--
	}
	r.result, f.progress = result, time.Now()
	if isFailure(result) {
		f.failed++
	}
	f.report.over(r)
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// isFailure says whether a result counts against --stop-after.
func isFailure(result string) bool {
	switch result {
	case schemas.EventFailed, schemas.EventRejected, resultParked, resultError, resultHeld:
		return true
	default:
		return false
	}
}

func (f *follower) failures() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed
}

func (f *follower) open() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.left
}

// wait ends when nothing is open any more, when nothing has happened for as long as patience, or with the context.
func (f *follower) wait(ctx context.Context, patience time.Duration) {
	for {
		f.mu.Lock()
		left, quiet := f.left, patience-time.Since(f.progress)
		f.mu.Unlock()
		if left == 0 || quiet <= 0 || ctx.Err() != nil {
			return
		}
		timer := time.NewTimer(quiet)
		select {
		case <-f.changed:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// followEvents ends replays by new events.
func (f *follower) followEvents(ctx context.Context) error {
	events := pull.Reading{Filters: []string{filter("*", "*", nil)}, First: f.from[0], Follow: true}
	return readEvents(ctx, f.js, events, func(found stored) (bool, error) {
		if e := found.event; e != nil && answersCommand(e) {
			f.see(e)
		}
		return true, nil
	})
}

func (f *follower) see(e *schemas.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.known[identity{e.Data.Channel, e.Data.Command, e.Data.Operation, e.Data.OperationKey}] {
		switch parked := e.Name() == schemas.EventParked; {
		case r.result != resultOpen, parked && e.ID != r.parkedID:
		case parked && r.again == 0: // its dead letter was stored before, and comes by the other feed
			r.event = e
		default:
			f.endByLocked(r, e)
		}
	}
}

func (f *follower) endByLocked(r *replay, e *schemas.Event) {
	r.event = e
	if e.Name() == schemas.EventParked {
		f.endLocked(r, resultParked)
		return
	}
	f.endLocked(r, e.Name())
}

// followLetters notes which dead letters replays have become. One that cannot be read has no event, and ends here.
func (f *follower) followLetters(ctx context.Context) error {
	letters := pull.Reading{Stream: schemas.StreamDeadLetters, First: f.from[1], HeadersOnly: true, Follow: true}
	return readStream(ctx, f.js, letters, func(m pull.Message) (bool, error) {
		if number := schemas.ParseReplay(m.Header.Get(schemas.HeaderReplay)); number > 0 {
			f.became(number, m.Sequence)
		}
		return true, nil
	})
}

func (f *follower) became(number, again uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.all[number]
	if r == nil {
		return
	}
	r.again = again
	switch {
	case r.result != resultOpen:
	case !r.readable:
		r.why = cannotBeRead
		f.endLocked(r, resultParked)
	case r.event != nil:
		f.endByLocked(r, r.event)
	}
}
