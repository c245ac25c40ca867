package publisher_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/consumer/consumertest"
	"linepay-worker/publisher"
	"linepay-worker/schemas"
)

func TestEventIsStoredWithTheHeadersOfTheContract(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	e := captured("C-1", "ORDER/1")
	e.TraceParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	if err := b.Publish(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	plain := captured("C-2", "ORDER/2")
	if err := b.Publish(t.Context(), plain); err != nil {
		t.Fatal(err)
	}
	stored := b.events("linepay.events.tw.captured.ORDER%2F1")
	if len(stored) != 1 {
		t.Fatalf("%d events on the subject, want 1", len(stored))
	}
	want := nats.Header{
		"Nats-Msg-Id": {e.ID}, "Content-Type": {"application/cloudevents+json"}, "traceparent": {e.TraceParent},
		"Nats-Expected-Stream": {schemas.StreamEvents}, "Nats-Expected-Last-Subject-Sequence": {"0"},
	}
	if diff := cmp.Diff(want, stored[0].Header); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	body, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(body), string(stored[0].Data)); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
	if header := b.events("linepay.events.tw.captured.ORDER%2F2")[0].Header; header["traceparent"] != nil {
		t.Errorf("an event without a trace has the header traceparent %q", header["traceparent"])
	}
}

func TestEventThatCannotBeWrittenIsNotPublished(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	for name, publish := range map[string]func(context.Context, *schemas.Event) error{"Publish": b.Publish} {
		e := captured("C-1", "ORDER-1")
		e.Data.ReturnMessage = "\xff"
		if err := publish(t.Context(), e); err == nil || !strings.Contains(err.Error(), "encode event "+e.ID) {
			t.Errorf("%s: error is %v, want one that names the event", name, err)
		}
	}
	if n := len(b.events(schemas.SubjectsEvents)); n != 0 {
		t.Errorf("%d events are stored", n)
	}
}

func TestPublishStoresOneCopyWithinTheDuplicateWindow(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	e := captured("C-1", "ORDER-1")
	for i := range 3 {
		if err := b.Publish(t.Context(), e); err != nil {
			t.Fatalf("try %d: %v", i, err)
		}
	}
	if err := b.Publish(t.Context(), e); err != nil { // JetStream answers "duplicate", and the stored copy is the same event
		t.Fatal(err)
	}
	if n := len(b.events(schemas.SubjectsEvents)); n != 1 {
		t.Errorf("%d copies are stored, want 1", n)
	}
}

// The one that JetStream would store again: its duplicate window is over.
func TestPublishFindsTheCopyThatIsOlderThanTheDuplicateWindow(t *testing.T) {
	t.Parallel()
	b := newBusWith(t, publisher.StreamOptions{DedupeWindow: 100 * time.Millisecond})
	last, deeper := captured("C-1", "ORDER-1"), captured("C-2", "ORDER-2")
	// Other commands answered on the same subject since: the copy is not the last message there.
	for _, e := range []*schemas.Event{last, deeper, captured("C-3", "ORDER-2"), captured("C-4", "ORDER-2")} {
		if err := b.Publish(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	b.untilForgotten()
	for _, e := range []*schemas.Event{last, deeper} {
		if err := b.Publish(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(b.events("linepay.events.tw.captured.ORDER-1")); n != 1 {
		t.Errorf("%d copies where it was the subject's last message, want 1", n)
	}
	if n := len(b.events("linepay.events.tw.captured.ORDER-2")); n != 3 {
		t.Errorf("%d events where it was not the last, want 3", n)
	}
	// The proof that the window was over: without looking, JetStream takes it again.
	if ack := b.put("linepay.events.tw.captured.ORDER-1", last.ID, "{}"); ack.Duplicate {
		t.Error("the duplicate window was still open")
	}
}

func TestPublishReadsAgainWhenAnotherPublisherComesBetween(t *testing.T) {
	t.Parallel()
	b := newBusWith(t, publisher.StreamOptions{DedupeWindow: 100 * time.Millisecond})
	e := captured("C-1", "ORDER-1")

	// Somebody else's event.
	other := &meddling{JetStream: b.js, before: func(try int, subject string) {
		if try <= 3 {
			b.put(subject, fmt.Sprintf("other-%d", try), "{}")
		}
	}}
	if err := publisherOn(t, other).Publish(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if other.tries != 4 {
		t.Errorf("it took %d tries, want 4", other.tries)
	}
	if n := len(b.events("linepay.events.tw.captured.ORDER-1")); n != 4 {
		t.Errorf("%d messages on the subject, want three of others and the event", n)
	}

	// The event itself, by another worker, and the duplicate window cannot tell.
	e = captured("C-2", "ORDER-2")
	same := &meddling{JetStream: b.js, before: func(try int, _ string) {
		if try == 1 {
			if err := b.Publish(t.Context(), e); err != nil {
				t.Error(err)
			}
			b.untilForgotten()
		}
	}}
	if err := publisherOn(t, same).Publish(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if same.tries != 1 || len(b.events("linepay.events.tw.captured.ORDER-2")) != 1 {
		t.Errorf("%d tries and %d copies, want 1 and 1", same.tries, len(b.events("linepay.events.tw.captured.ORDER-2")))
	}
}

func TestPublishGivesUpOnASubjectThatNeverRests(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	e := captured("C-1", "ORDER-1")
	always := &meddling{JetStream: b.js, before: func(try int, subject string) { b.put(subject, fmt.Sprint(try), "{}") }}
	err := publisherOn(t, always).Publish(t.Context(), e)
	if err == nil || !strings.Contains(err.Error(), "publish linepay.events.tw.captured.ORDER-1: others published on the subject") {
		t.Errorf("error is %v, want one that names the subject and the reason", err)
	}
	if n := len(b.events(schemas.SubjectsEvents)); n != always.tries || n < 2 {
		t.Errorf("%d messages after %d tries, want only those of the others", n, always.tries)
	}
}

func TestOneEventPublishedByManyAtOnceIsStoredOnce(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	for _, order := range []string{"ORDER-1", ""} {
		e := captured("C-"+order, order)
		var publishing sync.WaitGroup
		for range 20 {
			publishing.Go(func() {
				if err := b.Publish(t.Context(), e); err != nil {
					t.Error(err)
				}
			})
		}
		publishing.Wait()
	}
	if n := len(b.events("linepay.events.tw.captured.ORDER-1")); n != 1 {
		t.Errorf("%d copies, want 1", n)
	}
	if n := len(b.events("linepay.events.tw.captured._")); n != 1 {
		t.Errorf("%d copies where there is no order, want 1", n)
	}
}

func TestManyEventsPublishedAtOnceOnOneSubjectAreAllStored(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	for _, order := range []string{"ORDER-1", ""} {
		var publishing sync.WaitGroup
		for i := range 16 { // each try is lost to another one's success, so nobody loses more often than there are others
			e := captured(fmt.Sprintf("C-%s-%d", order, i), order)
			publishing.Go(func() {
				if err := b.Publish(t.Context(), e); err != nil {
					t.Error(err)
				}
			})
		}
		publishing.Wait()
	}
	ids := map[string]int{}
	for _, msg := range b.events(schemas.SubjectsEvents) {
		ids[msg.Header.Get("Nats-Msg-Id")]++
	}
	if len(ids) != 32 {
		t.Errorf("%d events are stored, want 32", len(ids))
	}
	for id, n := range ids {
		if n != 1 {
			t.Errorf("event %s is stored %d times", id, n)
		}
	}
}

// JetStream knows ids, not contents: what it takes for a duplicate may be somebody else's message.
func TestDuplicateOfOtherContentIsAnError(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	for name, publish := range map[string]func(context.Context, *schemas.Event) error{"Publish": b.Publish} {
		e := captured("C-"+name, "ORDER-1")
		ack := b.put("linepay.events.tw.captured.ANOTHER", e.ID, "{}")
		err := publish(t.Context(), e)
		if !errors.Is(err, schemas.ErrOtherContent) {
			t.Errorf("%s: error is %v, want ErrOtherContent", name, err)
			continue
		}
		where := fmt.Sprintf("publish linepay.events.tw.captured.ORDER-1: another message with this Nats-Msg-Id is stored, at linepay.events.tw.captured.ANOTHER sequence %d", ack.Sequence)
		if err.Error() != where {
			t.Errorf("%s: error is %q, want %q", name, err, where)
		}
	}
	if n := len(b.events("linepay.events.tw.captured.ORDER-1")); n != 0 {
		t.Errorf("%d events are stored", n)
	}
}

// A copy that somebody deleted is no copy. JetStream still remembers its id.
func TestDuplicateOfADeletedCopyIsAnError(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	e := captured("C-1", "ORDER-1")
	if err := b.Publish(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	stream, err := b.js.Stream(t.Context(), schemas.StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.DeleteMsg(t.Context(), b.events(schemas.SubjectsEvents)[0].Sequence); err != nil {
		t.Fatal(err)
	}
	// Another process: the one that stored it believes what it has seen.
	err = publisherOn(t, b.js).Publish(t.Context(), e)
	if errors.Is(err, schemas.ErrOtherContent) || !strings.Contains(fmt.Sprint(err), "deleted since: it can be published again after the duplicate window") {
		t.Errorf("error is %v, want one that says when it can be published", err)
	}
}

func TestFullStreamRefusesTheEvent(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]func(*jetstream.StreamConfig){
		"maximum bytes":    func(c *jetstream.StreamConfig) { c.MaxBytes = 900 },
		"maximum messages": func(c *jetstream.StreamConfig) { c.MaxMsgs = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBus(t)
			b.change(schemas.StreamEvents, limit)
			b.change(schemas.StreamDeadLetters, limit)
			first := captured("C-1", "ORDER-1")
			letter := schemas.DeadLetter{Reason: schemas.ReasonInvalid, Subject: "linepay.commands.tw.confirm", Sequence: 1, At: settledAt}
			if err := errors.Join(b.Publish(t.Context(), first), b.Park(t.Context(), "1-0", letter, nil, []byte("x"))); err != nil {
				t.Fatal(err)
			}
			for verb, err := range map[string]error{
				"Publish": b.Publish(t.Context(), captured("C-2", "ORDER-1")),
				"Park":    b.Park(t.Context(), "2-0", letter, nil, []byte(strings.Repeat("x", 900))),
			} {
				if err == nil || !strings.Contains(err.Error(), name+" exceeded") {
					t.Errorf("%s: error is %v, want one that says %s exceeded", verb, err, name)
				}
			}
			if events, letters := len(b.events(schemas.SubjectsEvents)), len(b.letters()); events != 1 || letters != 1 {
				t.Errorf("%d events and %d dead letters, want the first ones alone", events, letters)
			}
			// What is stored already needs no room.
			if err := b.Publish(t.Context(), first); err != nil {
				t.Errorf("an event that is stored: %v", err)
			}
		})
	}
}

func TestWithoutNATSEveryVerbFails(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.nats.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	letter := schemas.DeadLetter{Reason: schemas.ReasonInvalid, Subject: "linepay.commands.tw.confirm", Sequence: 1, At: settledAt}
	_, history := b.History(ctx, "tw", "ORDER-1")
	_, create := publisher.New(ctx, b.js)
	_, provision := publisher.Provision(ctx, b.js, publisher.StreamOptions{}, true)
	for verb, c := range map[string]struct {
		err  error
		text string
	}{
		"Publish":   {b.Publish(ctx, captured("C-1", "ORDER-1")), "publish linepay.events.tw.captured.ORDER-1"},
		"Park":      {b.Park(ctx, "1-0", letter, nil, nil), "publish linepay.deadletters.tw.confirm"},
		"History":   {history, "read events linepay.events.tw.*.ORDER-1"},
		"New":       {create, "look at stream LINEPAY_EVENTS"},
		"Provision": {provision, "look at stream LINEPAY_COMMANDS"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.text) {
			t.Errorf("%s: error is %v, want one that says %q", verb, c.err, c.text)
		}
	}
	b.nats.Restart()
	if !consumertest.Eventually(t, func(ctx context.Context) bool { return b.Publish(ctx, captured("C-1", "ORDER-1")) == nil }) {
		t.Error("it does not publish after NATS has come back")
	}
}

func TestPublisherNeedsItsStreams(t *testing.T) {
	t.Parallel()
	js := consumertest.NATS(t).JetStream(t)
	for _, missing := range []string{schemas.StreamEvents, schemas.StreamDeadLetters} {
		_, err := publisher.New(t.Context(), js)
		if !errors.Is(err, jetstream.ErrStreamNotFound) || !strings.Contains(err.Error(), missing) {
			t.Errorf("error is %v, want one that names %s", err, missing)
		}
		if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: missing}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := publisher.New(t.Context(), js); err != nil {
		t.Errorf("with both streams: %v", err)
	}
}

func TestHistoryIsOneOrdersEventsOldestFirst(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	// Orders that would meet if their names went into subjects and filters as they are.
	orders := []string{"a", "a.b", "_", "*", ">", "a b", "注文-1", "%2A", "A", "a/b"}
	names := []string{schemas.EventRequested, schemas.EventAuthorized, schemas.EventCaptured, schemas.EventRefunded, schemas.EventRefunded}
	for i, name := range names {
		for _, order := range append(orders, "") {
			if err := b.Publish(t.Context(), event(name, fmt.Sprintf("C-%d for %s", i, order), order)); err != nil {
				t.Fatal(err)
			}
		}
	}
	other := captured("C-1", "a")
	other.Data.Channel, other.Source, other.ID = "jp", "/linepay-worker/jp", "other channel"
	if err := b.Publish(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	b.put("linepay.events.tw.captured.a", "no event", "hello") // what is no event cannot be ours

	for _, order := range orders {
		history, err := b.History(t.Context(), "tw", order)
		if err != nil {
			t.Fatal(err)
		}
		var want, got []string
		for i, name := range names {
			want = append(want, fmt.Sprintf("%s C-%d for %s", name, i, order))
		}
		for _, e := range history {
			if e.Data.OrderID != order {
				t.Errorf("the history of %q has an event of %q", order, e.Data.OrderID)
			}
			got = append(got, e.Name()+" "+e.Data.Command.ID)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("history of %q (-want +got):\n%s", order, diff)
		}
	}
	for _, order := range []string{"", "never heard of"} {
		if history, err := b.History(t.Context(), "tw", order); err != nil || len(history) != 0 {
			t.Errorf("history of %q: %d events, %v; want none", order, len(history), err)
		}
	}
}
