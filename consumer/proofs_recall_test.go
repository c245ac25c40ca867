package consumer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"linepay-worker/idempotency"
	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// Whoever pulled before the memory is made up for would take for fresh what was called before Redis lost its memory, and call it again.
func TestNothingIsPulledUntilAllThatWasForgottenCanBeMadeUpFor(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(*past)
		want  string
		known bool // all is written back, and only the last word is missing
	}{
		"the time of the newest event":    {func(p *past) { p.annals.silent = errAway }, "it is away", false},
		"Redis":                           {func(p *past) { p.redis.Close() }, "beat: ", false},
		"the stream":                      {func(p *past) { p.commands.away = errAway }, "look at stream LINEPAY_COMMANDS: it is away", false},
		"the consumer":                    {func(p *past) { p.commands.consumerAway = errAway }, "look at consumer linepay-worker-tw: it is away", false},
		"what is in the stream":           {func(p *past) { p.commands.unreadable = errAway }, "it is away", false},
		"the events":                      {func(p *past) { p.annals.reading = func(context.Context) error { return errAway } }, "write back what events say: it is away", false},
		"Redis, when it is written to":    {func(p *past) { p.annals.happened(7); p.closeWhileReading() }, "write back what events say: restore: ", false},
		"Redis, when it is to be trusted": {(*past).closeWhileReading, "trust: ", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPast(t)
			c.spoil(p)
			p.guardDown.Store(true)
			if err := p.recall(t.Context()); err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("error %v, want one that begins with %q", err, c.want)
			}
			if known := p.memory.Load() != nil; known != c.known {
				t.Errorf("the memory counts as made up for: %t, want %t", known, c.known)
			}
			if p.recallNow(t.Context()) {
				t.Error("the worker goes on all the same")
			}
		})
	}
}

// closeWhileReading has Redis go away while the events are read.
func (p *past) closeWhileReading() {
	p.annals.reading = func(context.Context) error { p.redis.Close(); return nil }
}

// An operator must see that the worker waits for more than Redis; that Redis is away has been said already, and that the worker stops is no news.
func TestWhyNothingIsPulledIsToldWhereItIsNotRedisItself(t *testing.T) {
	t.Parallel()
	const waits = "Redis' memory cannot be made up for"
	for name, c := range map[string]struct {
		spoil func(*past)
		ctx   func(*testing.T) context.Context
		want  int
	}{
		"the events are away":                       {func(p *past) { p.annals.silent = errAway }, (*testing.T).Context, 1},
		"Redis is away":                             {func(p *past) { p.redis.Close() }, (*testing.T).Context, 0},
		"the events are away, and the worker stops": {func(p *past) { p.annals.silent = errAway }, ended, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPast(t)
			c.spoil(p)
			p.recallNow(c.ctx(t))
			p.wantLogged(waits, c.want)
		})
	}
}

// At its very first start a worker must not look every command up, and after a loss it must not take the word of a Redis that has none.
func TestMemoryIsBelievedAtOnceOnlyWhereNothingWasUnderWay(t *testing.T) {
	t.Parallel()
	const made = "Redis' memory is made up for"
	for name, c := range map[string]struct {
		before         func(*past)
		believed, loud bool
	}{
		"the first start":                               {func(*past) {}, true, false},
		"a loss with nothing under way":                 {func(p *past) { p.annals.happened(7) }, true, true},
		"a loss with a command under way":               {func(p *past) { p.underWayIs(confirmOf(7)) }, false, false},
		"a loss with a command under way, and an event": {func(p *past) { p.underWayIs(confirmOf(7)); p.annals.happened(8) }, false, true},
		"no loss": {func(p *past) { p.mustRecall(); p.log.text.Reset(); p.annals.happened(7) }, true, false},
		// A reading, and what nobody can read, was never guarded.
		"a reading under way":            {func(p *past) { p.underWayIs(body(linepay.Check, `{"transactionId":"7"}`)) }, true, false},
		"what nobody can read under way": {func(p *past) { p.underWayIs("unreadable") }, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPast(t)
			c.before(p)
			p.mustRecall()
			p.wantBelieved(c.believed)
			if p.warned(made) != c.loud {
				t.Errorf("an operator is warned: %t, want %t", !c.loud, c.loud)
			}
		})
	}
}

// underWayIs puts a command into the stream that was delivered, and is not done.
func (p *past) underWayIs(body string) {
	op := linepay.Confirm
	if strings.Contains(body, "command.check") {
		op = linepay.Check
	}
	p.commands.put(1, op, body)
	p.commands.delivered = 1
}

// Clocks differ: an event that is a little newer than Redis' last sign of life is no sign of a loss, or every restart would look everything up.
func TestEventThatIsALittleNewerThanRedisIsNoLoss(t *testing.T) {
	t.Parallel()
	for newer, want := range map[time.Duration]bool{eventMargin - time.Minute: true, eventMargin + time.Minute: false} {
		p := newPast(t)
		p.mustRecall()
		p.underWayIs(confirmOf(7))
		p.annals.newest = time.Now().Add(newer)
		p.mustRecall()
		p.wantBelieved(want)
	}
}

// Which commands count as delivered, and may have been called: JetStream's consumer knows those it has delivered itself.
func TestCommandsThatMayHaveBeenCalledAreThoseDelivered(t *testing.T) {
	t.Parallel()
	made := time.Now().Add(-time.Hour) // the consumer
	type key = map[string][]uint64
	for name, c := range map[string]struct {
		told      bool            // there are events
		ages      []time.Duration // of commands 1, 2, ... against the consumer
		delivered uint64
		want      key
		last      uint64
		anew      bool
	}{
		"delivered":                        {false, []time.Duration{1, 1}, 2, key{"confirm:1": {1}, "confirm:2": {2}}, 2, false},
		"delivered, and one that was not":  {true, []time.Duration{1, 1}, 1, key{"confirm:1": {1}}, 1, false},
		"older than the consumer":          {true, []time.Duration{-1, -1, 1}, 0, key{"confirm:1": {1}, "confirm:2": {2}}, 2, true},
		"older, and then one delivered":    {true, []time.Duration{-1, 1, 1}, 2, key{"confirm:1": {1}, "confirm:2": {2}}, 2, true},
		"sent before the very first start": {false, []time.Duration{-1, -1}, 0, key{}, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPast(t)
			p.commands.created, p.commands.delivered = made, c.delivered
			for i, age := range c.ages {
				p.commands.put(uint64(i+1), linepay.Confirm, confirmOf(linepay.TransactionID(i+1)))
				p.commands.messages[i].Time = made.Add(age * time.Minute)
			}
			if c.told {
				p.annals.newest = time.Now()
			}
			m := p.mustRecall()
			if diff := cmp.Diff(c.want, m.delivered); diff != "" || m.last != c.last || m.anew != c.anew {
				t.Errorf("up to %d, consumer made anew: %t, want %d and %t; (-want +got)\n%s", m.last, m.anew, c.last, c.anew, diff)
			}
		})
	}
}

// A command is looked up first where another one of its operation may have been called; not because of itself, whose deliveries JetStream
// counts, unless JetStream's consumer is too young to know.
func TestOnlyAnotherCommandOfTheOperationMakesOneDoubtful(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		key      string
		sequence uint64
		anew     bool
		want     bool
	}{
		{"confirm:1", 3, false, false},
		{"confirm:1", 4, false, true},
		{"confirm:1", 3, true, true},
		{"confirm:2", 3, true, false},
	} {
		m := &memory{delivered: map[string][]uint64{"confirm:1": {3}}, anew: c.anew}
		if got := m.sibling(c.key, c.sequence); got != c.want {
			t.Errorf("command %d of %s, consumer made anew: %t; it has a sibling: %t, want %t", c.sequence, c.key, c.anew, got, c.want)
		}
	}
}

// What happened is on record again after a loss, each single one: one that is left out would be called a second time.
func TestAllThatHappenedIsWrittenBack(t *testing.T) {
	t.Parallel()
	p := newPast(t)
	const n = 3 * restorers // so that they share queues
	for id := linepay.TransactionID(1); id <= n; id++ {
		p.annals.happened(id)
		p.annals.events = append(p.annals.events, schemas.NewEvent(schemas.EventStatus, time.Now(), schemas.EventData{ // proves nothing
			Channel: "tw", Operation: linepay.Check, TransactionID: id, Command: schemas.CommandRef{Source: "/test", ID: "S"},
		}))
	}
	if restored, err := p.restore(t.Context(), time.Time{}); restored != n || err != nil {
		t.Errorf("%d are written back, %v; want %d", restored, err, n)
	}
	for id := linepay.TransactionID(1); id <= n; id++ {
		p.wantOnRecord(id, idempotency.Duplicate)
	}
}

// A record that nobody can read is for a person. It must not keep all other commands of the channel waiting.
func TestRecordThatNobodyCanReadKeepsNothingElseFromBeingWrittenBack(t *testing.T) {
	t.Parallel()
	p := newPast(t)
	p.annals.happened(7)
	if _, err := p.restore(t.Context(), time.Time{}); err != nil {
		t.Fatal(err)
	}
	damaged := 0
	for _, key := range p.redis.Keys() {
		if p.redis.HGet(key, "op:"+confirmKey(7)) != "" {
			p.redis.HSet(key, "op:"+confirmKey(7), "damaged")
			damaged++
		}
	}
	if damaged != 1 {
		t.Fatalf("%d records to damage, want 1", damaged)
	}
	p.annals.happened(8)
	if _, err := p.restore(t.Context(), time.Time{}); err != nil {
		t.Errorf("error %v", err)
	}
	p.wantOnRecord(8, idempotency.Duplicate)
	if _, err := p.cfg.Guard.Foresee(t.Context(), p.request(7)); !errors.Is(err, idempotency.ErrRecord) {
		t.Errorf("error %v, want that the record cannot be read", err)
	}
}

// Redis goes away in the middle of a long history: the worker gives up, and tries again, instead of waiting for ever.
func TestWritingBackEndsWhereRedisGoesAway(t *testing.T) {
	t.Parallel()
	p := newPast(t)
	for range 300 {
		p.annals.happened(7)
	}
	p.redis.Close()
	ended := make(chan error, 1)
	go func() {
		_, err := p.restore(t.Context(), time.Time{})
		ended <- err
	}()
	select {
	case err := <-ended:
		if !errors.Is(err, idempotency.ErrUnavailable) {
			t.Errorf("error %v, want that Redis is away", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it waits for ever")
	}
}

// What each event proves. One that is passed over, or ascribed to something else, is a second call after Redis has lost its memory.
func TestEventsProveWhatBecameOfTheirOperation(t *testing.T) {
	t.Parallel()
	p := newPast(t)
	transaction, order := idempotency.KindTransaction, idempotency.KindOrder
	for _, c := range []struct {
		event     string
		operation linepay.Operation
		change    func(*schemas.EventData)
		want      string // what it proves, in words; "" = nothing
	}{
		{schemas.EventRequested, linepay.Request, nil, order + " O done"},
		{schemas.EventCaptured, linepay.PreapprovedPay, nil, order + " O done"},
		{schemas.EventCaptured, linepay.Confirm, nil, transaction + " 7 done"},
		{schemas.EventAuthorized, linepay.Confirm, nil, transaction + " 7 done"},
		{schemas.EventCaptured, linepay.Capture, nil, transaction + " 7 done, brought about capture"},
		{schemas.EventVoided, linepay.Void, nil, transaction + " 7 done"},
		{schemas.EventRefunded, linepay.Refund, func(d *schemas.EventData) { d.RefundTransactionID = 8 }, transaction + " 7 done, brought about 8"},
		{schemas.EventFailed, linepay.Confirm, nil, transaction + " 7 refused"},
		{schemas.EventRejected, linepay.Confirm, func(d *schemas.EventData) { d.Reason = schemas.ReasonExpired }, transaction + " 7 refused, told rejected"},
		{schemas.EventRejected, linepay.Confirm, func(d *schemas.EventData) { d.Reason = schemas.ReasonConflict }, transaction + " 7 refused, told conflict"},
		{schemas.EventParked, linepay.Confirm, func(d *schemas.EventData) { d.MoneyMoved = schemas.MoneyMovedNo }, transaction + " 7 parked"},
		{schemas.EventParked, linepay.Confirm, func(d *schemas.EventData) { d.MoneyMoved = schemas.MoneyMovedUnknown }, transaction + " 7 parked in doubt"},

		{schemas.EventDuplicate, linepay.Confirm, nil, ""},
		{schemas.EventParked, linepay.Check, nil, ""},
		{schemas.EventCaptured, linepay.Confirm, func(d *schemas.EventData) { d.OperationKey = "" }, ""},
		{schemas.EventCaptured, linepay.Confirm, func(d *schemas.EventData) { d.TransactionID = 0 }, ""},
		{schemas.EventCaptured, linepay.Confirm, func(d *schemas.EventData) { d.Command.Source = "" }, ""},
		{schemas.EventCaptured, linepay.Confirm, func(d *schemas.EventData) { d.Command.ID = "" }, ""},
		{schemas.EventFailed, linepay.Confirm, func(d *schemas.EventData) { d.Reason = "\xff" }, ""},
	} {
		d := schemas.EventData{
			Channel: "tw", Operation: c.operation, OperationKey: "KEY", Fingerprint: "F", OrderID: "O", TransactionID: 7, Calls: 2,
			Command: schemas.CommandRef{Source: "/test", ID: "C"},
		}
		if c.change != nil {
			c.change(&d)
		}
		e := schemas.NewEvent(c.event, time.Now(), d)
		r, ok := p.proves(e)
		if got := inWords(r); ok != (c.want != "") || ok && got != c.want {
			t.Errorf("%s of %s proves %t: %s; want %q", c.event, c.operation, ok, got, c.want)
		}
		if ok && (r.Operation != "KEY" || r.Command.ID != "C" || r.Fingerprint != "F" || r.Calls != 2 || !r.At.Equal(e.Time)) {
			t.Errorf("%s of %s is written back as %+v", c.event, c.operation, r)
		}
	}
}

func inWords(r idempotency.Restoration) string {
	s := fmt.Sprintf("%s %s %s", r.Entity.Kind, r.Entity.ID, r.State)
	if r.MoneyUnknown {
		s += " in doubt"
	}
	if r.Effect != "" {
		s += ", brought about " + r.Effect
	}
	if r.Told != 0 {
		s += ", told " + r.Told.String()
	}
	return s
}
