package publisher_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/publisher"
	"linepay-worker/schemas"
)

// tapped is a JetStream that tells what is asked of it, and that can be made to fail or to answer otherwise.
type tapped struct {
	jetstream.JetStream
	publish func(try int, pass func() (*jetstream.PubAck, error)) (*jetstream.PubAck, error)
	read    func(verb string, pass func() (*jetstream.RawStreamMsg, error)) (*jetstream.RawStreamMsg, error)
	tries   int
	reads   []string
}

func (j *tapped) PublishMsg(ctx context.Context, msg *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	j.tries++
	pass := func() (*jetstream.PubAck, error) { return j.JetStream.PublishMsg(ctx, msg, opts...) }
	if j.publish == nil {
		return pass()
	}
	return j.publish(j.tries, pass)
}

func (j *tapped) Stream(ctx context.Context, name string) (jetstream.Stream, error) {
	stream, err := j.JetStream.Stream(ctx, name)
	return tappedStream{stream, j}, err
}

type tappedStream struct {
	jetstream.Stream
	tap *tapped
}

func (s tappedStream) GetMsg(ctx context.Context, sequence uint64, opts ...jetstream.GetMsgOpt) (*jetstream.RawStreamMsg, error) {
	return s.tap.reading("message", func() (*jetstream.RawStreamMsg, error) { return s.Stream.GetMsg(ctx, sequence, opts...) })
}

func (s tappedStream) GetLastMsgForSubject(ctx context.Context, subject string) (*jetstream.RawStreamMsg, error) {
	return s.tap.reading("last", func() (*jetstream.RawStreamMsg, error) { return s.Stream.GetLastMsgForSubject(ctx, subject) })
}

func (j *tapped) reading(verb string, pass func() (*jetstream.RawStreamMsg, error)) (*jetstream.RawStreamMsg, error) {
	j.reads = append(j.reads, verb)
	if j.read == nil {
		return pass()
	}
	return j.read(verb, pass)
}

// wantCost demands how often was published since the last time, and what was read.
func (j *tapped) wantCost(t *testing.T, what string, tries int, reads ...string) {
	t.Helper()
	if diff := cmp.Diff(reads, j.reads); diff != "" || j.tries != tries {
		t.Errorf("%s: %d tries, want %d; reads (-want +got):\n%s", what, j.tries, tries, diff)
	}
	j.tries, j.reads = 0, nil
}

func mustPublish(t *testing.T, p *publisher.Publisher, events ...*schemas.Event) {
	t.Helper()
	for _, e := range events {
		if err := p.Publish(t.Context(), e); err != nil {
			t.Fatalf("publish for %s: %v", e.Data.Command.ID, err)
		}
	}
}

func (b *bus) wantCopies(filter string, want int) {
	b.t.Helper()
	if n := len(b.events(filter)); n != want {
		b.t.Errorf("%d events on %s, want %d", n, filter, want)
	}
}

var errAway = errors.New("NATS is away")

func TestEventsOfOneProcessAreStoredWithoutReading(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	tap := &tapped{JetStream: b.js}
	p := publisherOn(t, tap)
	mustPublish(t, p, captured("C-1", "ORDER-1"), captured("C-2", "ORDER-1"), captured("C-3", ""))
	tap.wantCost(t, "three events", 3)
	mustPublish(t, p, captured("C-1", "ORDER-1"))
	tap.wantCost(t, "one of them again", 0)
}

func TestOnlyWhatOthersHavePublishedSinceIsRead(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	tap := &tapped{JetStream: b.js}
	p := publisherOn(t, tap)
	mustPublish(t, p, captured("C-1", "ORDER-1"), captured("C-2", "ORDER-1"), captured("C-3", "ORDER-1"))
	tap.wantCost(t, "three events", 3)
	mustPublish(t, b.Publisher, captured("C-4", "ORDER-1"))
	mustPublish(t, p, captured("C-5", "ORDER-1"))
	tap.wantCost(t, "one after another's", 2, "last", "message")

	// Where there is no order, what others have published has no end: only the last one is read.
	mustPublish(t, b.Publisher, captured("C-6", ""), captured("C-7", ""))
	mustPublish(t, p, captured("C-8", ""))
	tap.wantCost(t, "one after others' without an order", 2, "last")
}

func TestAnothersCopyIsFoundThoughItIsNotTheLast(t *testing.T) {
	t.Parallel()
	b := newBusWith(t, publisher.StreamOptions{DedupeWindow: 100 * time.Millisecond})
	e := captured("C-1", "ORDER-1")
	mustPublish(t, b.Publisher, e, captured("C-2", "ORDER-1"))
	b.untilForgotten()
	mustPublish(t, publisherOn(t, b.js), e)
	b.wantCopies("linepay.events.tw.captured.ORDER-1", 2)
}

func TestEventWhoseAcknowledgementWasLostIsFoundStored(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	tap := &tapped{JetStream: b.js, publish: func(_ int, pass func() (*jetstream.PubAck, error)) (*jetstream.PubAck, error) {
		_, _ = pass()
		return nil, errAway
	}}
	mustPublish(t, publisherOn(t, tap), captured("C-1", "ORDER-1"))
	tap.wantCost(t, "an event", 1, "last", "message")
	b.wantCopies(schemas.SubjectsEvents, 1)
}

func TestWhatCannotBeReadIsToldWithoutAnotherTry(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	for verb, text := range map[string]string{
		"last":    "read the last event of linepay.events.tw.captured.ORDER-1",
		"message": "read events linepay.events.tw.captured.ORDER-1",
	} {
		mustPublish(t, b.Publisher, captured("C-before-"+verb, "ORDER-1"))
		tap := &tapped{JetStream: b.js}
		tap.read = func(asked string, pass func() (*jetstream.RawStreamMsg, error)) (*jetstream.RawStreamMsg, error) {
			if asked == verb {
				return nil, errAway
			}
			return pass()
		}
		err := publisherOn(t, tap).Publish(t.Context(), captured("C-"+verb, "ORDER-1"))
		if !errors.Is(err, errAway) || !strings.HasPrefix(err.Error(), text) || tap.tries != 1 {
			t.Errorf("error is %v after %d tries, want one that says %q after 1", err, tap.tries, text)
		}
	}
}

func TestPublishGoesOnInAStreamThatWasPurgedOrMadeAnew(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(*bus, jetstream.Stream) error{
		"purged": func(b *bus, s jetstream.Stream) error { return s.Purge(b.t.Context()) },
		"made anew, with another's event": func(b *bus, s jetstream.Stream) error {
			if err := b.js.DeleteStream(b.t.Context(), schemas.StreamEvents); err != nil {
				return err
			}
			if _, err := publisher.Provision(b.t.Context(), b.js, publisher.StreamOptions{}, true); err != nil {
				return err
			}
			return publisherOn(b.t, b.js).Publish(b.t.Context(), captured("C-9", "ORDER-1"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBus(t)
			mustPublish(t, b.Publisher, captured("C-1", "ORDER-1"), captured("C-2", "ORDER-1"), captured("C-3", "ORDER-1"))
			stream, err := b.js.Stream(t.Context(), schemas.StreamEvents)
			if err != nil {
				t.Fatal(err)
			}
			if err := lose(b, stream); err != nil {
				t.Fatal(err)
			}
			before := len(b.events(schemas.SubjectsEvents))
			mustPublish(t, b.Publisher, captured("C-4", "ORDER-1"), captured("C-5", "ORDER-1"))
			b.wantCopies("linepay.events.tw.captured.ORDER-1", before+2)
		})
	}
}

// A stream with replicas says it with a code of its own.
func TestEitherCodeForAnOvertakenPublishIsReadAgain(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	for _, code := range []jetstream.ErrorCode{
		jetstream.JSErrCodeStreamWrongLastSequence, jetstream.JSErrCodeStreamWrongLastSequenceConstant,
	} {
		order := fmt.Sprint("ORDER-", code)
		tap := &tapped{JetStream: b.js, publish: func(try int, pass func() (*jetstream.PubAck, error)) (*jetstream.PubAck, error) {
			if try == 1 {
				return nil, &jetstream.APIError{ErrorCode: code}
			}
			return pass()
		}}
		mustPublish(t, publisherOn(t, tap), captured("C for "+order, order))
		tap.wantCost(t, order, 2, "last")
		b.wantCopies("linepay.events.tw.captured."+order, 1)
	}
}

func TestWaitingForAnotherEventOfTheSubjectEndsWithTheContext(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	begun, release := make(chan struct{}), make(chan struct{})
	tap := &tapped{JetStream: b.js, publish: func(_ int, pass func() (*jetstream.PubAck, error)) (*jetstream.PubAck, error) {
		close(begun)
		<-release
		return pass()
	}}
	p := publisherOn(t, tap)
	first := make(chan error, 1)
	go func() { first <- p.Publish(t.Context(), captured("C-1", "ORDER-1")) }()
	<-begun
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	second := make(chan error, 1)
	go func() { second <- p.Publish(ctx, captured("C-2", "ORDER-1")) }()
	select {
	case err := <-second:
		if !errors.Is(err, context.Canceled) || !strings.HasPrefix(err.Error(), "publish linepay.events.tw.captured.ORDER-1: ") {
			t.Errorf("error is %v, want one that names the subject and says that the context has ended", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("it still waits for the other event, though its context has ended")
	}
	close(release)
	if err := <-first; err != nil {
		t.Error(err)
	}
}

func TestCopyThatJetStreamMeansIsLookedAt(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	d := letterOf("linepay.commands.tw.refund")
	if err := b.Park(t.Context(), "7-0", d, nil, nil); err != nil {
		t.Fatal(err)
	}
	tap := &tapped{JetStream: b.js}
	p := publisherOn(t, tap)
	tap.read = func(string, func() (*jetstream.RawStreamMsg, error)) (*jetstream.RawStreamMsg, error) {
		return nil, errAway
	}
	err := p.Park(t.Context(), "7-0", d, nil, nil)
	if !errors.Is(err, errAway) || !strings.HasPrefix(err.Error(), "read back linepay.deadletters.tw.refund: ") {
		t.Errorf("error is %v, want one that says what could not be read", err)
	}
	// Deleted, and the sequence given to another message since: as where the stream was made anew in between.
	tap.read = func(_ string, pass func() (*jetstream.RawStreamMsg, error)) (*jetstream.RawStreamMsg, error) {
		msg, err := pass()
		msg.Header.Set(schemas.HeaderMsgID, "8-0")
		return msg, err
	}
	if err := p.Park(t.Context(), "7-0", d, nil, nil); !errors.Is(err, schemas.ErrOtherContent) {
		t.Errorf("error is %v, want ErrOtherContent", err)
	}
}

// The server takes such a header from whoever publishes a command, and the client library writes none.
func TestHeaderThatCannotBeWrittenKeepsItsValuesUnderAnEscapedName(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	header := nats.Header{"a b": {"1", "2"}, "Überschrift": {"3"}, "Dead-Letter-Reason x": {"4"}, "plain": {"5"}}
	if err := b.Park(t.Context(), "7-0", letterOf("linepay.commands.tw.refund"), header, nil); err != nil {
		t.Fatal(err)
	}
	got := b.letters()[0].Header
	for name, want := range map[string][]string{
		"Dead-Letter-Original-a%20b": {"1", "2"}, "Dead-Letter-Original-%C3%9Cberschrift": {"3"},
		"Dead-Letter-Original-Dead-Letter-Reason%20x": {"4"}, "plain": {"5"},
	} {
		if diff := cmp.Diff(want, got[name]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// without is a JetStream that says why it is none.
type without struct {
	jetstream.JetStream
	err error
}

func (j without) Stream(context.Context, string) (jetstream.Stream, error) { return nil, j.err }

func TestMissingJetStreamIsToldHoweverItIsSaid(t *testing.T) {
	t.Parallel()
	for _, cause := range []error{nats.ErrNoResponders, jetstream.ErrJetStreamNotEnabled, jetstream.ErrJetStreamNotEnabledForAccount} {
		_, err := publisher.Provision(t.Context(), without{err: cause}, publisher.StreamOptions{}, true)
		if !errors.Is(err, cause) || !strings.HasPrefix(err.Error(), "JetStream is not enabled on this NATS server, or not for this account") {
			t.Errorf("for %v the error is %v", cause, err)
		}
	}
}

func TestEditableSettingsAreToldApartFromThoseThatAreNot(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	for name, change := range map[string]func(*jetstream.StreamConfig){
		"retention": func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy },
		"storage":   func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage },
		"age":       func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour },
	} {
		if err := b.js.DeleteStream(t.Context(), schemas.StreamCommands); err != nil {
			t.Fatal(err)
		}
		config := publisher.Streams(publisher.StreamOptions{})[0]
		change(&config)
		if _, err := b.js.CreateStream(t.Context(), config); err != nil {
			t.Fatal(err)
		}
		_, err := publisher.Provision(t.Context(), b.js, publisher.StreamOptions{}, true)
		if anew := strings.Contains(fmt.Sprint(err), "create the stream anew"); err == nil || anew != (name != "age") {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}
