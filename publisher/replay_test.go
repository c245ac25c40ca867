package publisher_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/consumer/consumertest"
	"linepay-worker/publisher"
	"linepay-worker/schemas"
)

func (b *bus) get(number uint64) *publisher.Letter {
	b.t.Helper()
	d, err := b.letterbox().Get(b.t.Context(), number)
	if err != nil {
		b.t.Fatal(err)
	}
	return d
}

func (b *bus) commands() []*jetstream.RawStreamMsg {
	b.t.Helper()
	return consumertest.Collect(b.t, b.js, schemas.StreamCommands, schemas.SubjectsCommands)
}

func TestReplayPublishesTheOriginalAndDeletesTheDeadLetter(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	header := nats.Header{
		"Content-Type": {"application/cloudevents+json"}, "x-case": {"1", "2"}, "a b": {"cannot be written"},
		// What had a meaning to the server once, what an earlier life left behind, and what was forged.
		"Nats-Msg-Id": {"the command's own"}, "nats-ttl": {"1s"}, "Nats-Expected-Last-Sequence": {"99"}, "Nats-Rollup": {"all"},
		"dead-letter-reason": {"poison"}, "Linepay-Replay": {"7"}, "linepay-replay": {"9"},
	}
	body := []byte("\x00\xffnot even text")
	b.parked(refund)
	if err := b.Park(t.Context(), "7-0", letterOf(refund), header, body); err != nil {
		t.Fatal(err)
	}
	d := b.get(2)
	d.Header["nats-TTL"], d.Header["DEAD-letter-Original-Nats-Rollup"] = []string{"1s"}, []string{"all"} // as a stranger may have stored it
	d.Header["c d"] = []string{"cannot be written"}
	got, err := b.letterbox().Replay(t.Context(), d)
	if want := (publisher.Replayed{Sequence: 1}); err != nil || got != want {
		t.Fatalf("replayed %+v, %v, want %+v", got, err, want)
	}
	stored := b.commands()
	if len(stored) != 1 || stored[0].Subject != refund || string(stored[0].Data) != string(body) {
		t.Fatalf("commands: %+v, want the original", stored)
	}
	id := stored[0].Header.Get("Nats-Msg-Id")
	want := nats.Header{
		"Content-Type": header["Content-Type"], "x-case": {"1", "2"}, "Linepay-Replay": {"2"},
		"Nats-Msg-Id": {id}, "Nats-Expected-Stream": {"LINEPAY_COMMANDS"},
	}
	if diff := cmp.Diff(want, stored[0].Header); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	if !strings.HasPrefix(id, "replay LINEPAY_DEADLETTERS 2 ") {
		t.Errorf("message id is %q, want one that names the replay", id)
	}
	if left := b.letters(); len(left) != 1 || left[0].Sequence != 1 {
		t.Errorf("left is %+v, want number 1 alone", left)
	}
}

func TestReplayOfWhatIsGoneDoesNothing(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.parked(refund)
	d := b.get(1)
	if _, err := b.letterbox().Replay(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if _, err := b.letterbox().Replay(t.Context(), d); !errors.Is(err, publisher.ErrGone) {
		t.Errorf("error is %v, want ErrGone", err)
	}
	if n := len(b.commands()); n != 1 {
		t.Errorf("%d commands are stored, want 1", n)
	}
}

// stopping is a JetStream in which a process ends, or stands still, right after a command was published.
type stopping struct {
	jetstream.JetStream
	after func() error
}

func (s stopping) PublishMsg(ctx context.Context, msg *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	ack, err := s.JetStream.PublishMsg(ctx, msg, opts...)
	if err == nil {
		err = s.after()
	}
	return ack, err
}

func TestReplayThatWasInterruptedIsMadeUpForUnderTheSameNumber(t *testing.T) {
	t.Parallel()
	// Of what was carried out meanwhile a second copy is stored, which the guard knows by its number.
	for name, want := range map[string]publisher.Replayed{
		"while its command waits": {Sequence: 1, Twice: true}, "after its command was carried out": {Sequence: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBus(t)
			b.parked(refund)
			d := b.get(1)
			killed := errors.New("killed")
			dying, err := publisher.NewLetters(t.Context(), stopping{b.js, func() error { return killed }})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := dying.Replay(t.Context(), d); !errors.Is(err, killed) || len(b.letters()) != 1 {
				t.Fatalf("error is %v, and %d dead letters are left, want 1", err, len(b.letters()))
			}
			if !want.Twice {
				b.deleteCommand(1)
			}
			got, err := b.letterbox().Replay(t.Context(), d)
			if err != nil || got != want {
				t.Errorf("replayed %+v, %v, want %+v", got, err, want)
			}
			if n := len(b.letters()); n != 0 {
				t.Errorf("%d dead letters are left", n)
			}
		})
	}
}

func TestOperatorsWhoReplayTheSameDeadLetterStoreOneCopy(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.parked(refund)
	d := b.get(1)
	const operators = 8
	var together sync.WaitGroup
	together.Add(operators)
	var done sync.WaitGroup
	for range operators {
		// All have seen the dead letter before any deletes it.
		letters, err := publisher.NewLetters(t.Context(), stopping{b.js, func() error { together.Done(); together.Wait(); return nil }})
		if err != nil {
			t.Fatal(err)
		}
		done.Go(func() {
			if got, err := letters.Replay(t.Context(), d); err != nil || got.Sequence != 1 {
				t.Errorf("replayed %+v, %v, want sequence 1", got, err)
			}
		})
	}
	done.Wait()
	if commands, left := b.commands(), b.letters(); len(commands) != 1 || len(left) != 0 {
		t.Errorf("%d commands and %d dead letters, want 1 and none", len(commands), len(left))
	}
}

// forge stores something under the message id of a dead letter's replay, as whoever may publish commands can.
func (b *bus) forge(d *publisher.Letter, subject, number string, body []byte) {
	b.t.Helper()
	msg := nats.NewMsg(subject)
	msg.Data = body
	msg.Header.Set(schemas.HeaderReplay, number)
	msg.Header.Set(schemas.HeaderMsgID, fmt.Sprintf("replay LINEPAY_DEADLETTERS %d %d", d.Number, d.Stored.UnixNano()))
	if _, err := b.js.PublishMsg(b.t.Context(), msg); err != nil {
		b.t.Fatal(err)
	}
}

// deleteCommand deletes a command, as its acknowledgement does.
func (b *bus) deleteCommand(sequence uint64) {
	b.t.Helper()
	commands, err := b.js.Stream(b.t.Context(), schemas.StreamCommands)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := commands.DeleteMsg(b.t.Context(), sequence); err != nil {
		b.t.Fatal(err)
	}
}

func TestForgedMessageIDDoesNotSwallowAReplay(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		subject, number string
		other           string // after the dead letter's body
		gone            bool
	}{
		"on another subject":             {subject: confirm, number: "1"},
		"with the number of another one": {subject: refund, number: "2"},
		"without a number":               {subject: refund},
		"with another body":              {subject: refund, number: "1", other: "something else"},
		"of which nothing is left":       {subject: refund, number: "1", gone: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBus(t)
			b.parked(refund)
			d := b.get(1)
			b.forge(d, c.subject, c.number, append(bytes.Clone(d.Body), c.other...))
			if c.gone {
				b.deleteCommand(1)
			}
			if got, err := b.letterbox().Replay(t.Context(), d); err != nil || got != (publisher.Replayed{Sequence: 2}) {
				t.Errorf("replayed %+v, %v, want sequence 2", got, err)
			}
			waiting := b.commands()
			last := waiting[len(waiting)-1]
			if last.Subject != refund || last.Header.Get(schemas.HeaderReplay) != "1" || !bytes.Equal(last.Data, d.Body) {
				t.Errorf("the last command is %+v, want the replay", last)
			}
			if n := len(b.letters()); n != 0 {
				t.Errorf("%d dead letters are left, want none", n)
			}
		})
	}
}

// Whether a copy waits must be known before a second one is stored: two would be carried out one after the other.
func TestReplayStoresNoSecondCopyWhereTheFirstCannotBeLookedAt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		away func(*unlooked)
		want string
	}{
		"the stream":  {func(j *unlooked) { j.stream = true }, "look at stream LINEPAY_COMMANDS: "},
		"the message": {func(j *unlooked) { j.message = true }, "read back sequence 1: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBus(t)
			b.parked(refund)
			d := b.get(1)
			b.forge(d, refund, "1", d.Body) // by another operator, who was interrupted
			j := &unlooked{JetStream: b.js}
			letters, err := publisher.NewLetters(t.Context(), j)
			if err != nil {
				t.Fatal(err)
			}
			c.away(j)
			got, err := letters.Replay(t.Context(), d)
			want := "publish dead letter 1 on " + refund + ": " + c.want
			if !errors.Is(err, errAway) || !strings.HasPrefix(err.Error(), want) || got != (publisher.Replayed{}) {
				t.Errorf("replayed %+v, %v, want an error that says %q", got, err, want)
			}
			if commands, left := b.commands(), b.letters(); len(commands) != 1 || len(left) != 1 {
				t.Errorf("%d commands and %d dead letters, want one of each", len(commands), len(left))
			}
		})
	}
}

// unlooked is a JetStream in which the stream of commands, or what it holds, cannot be read.
type unlooked struct {
	jetstream.JetStream
	stream, message bool
}

func (j *unlooked) Stream(ctx context.Context, name string) (jetstream.Stream, error) {
	if j.stream {
		return nil, errAway
	}
	stream, err := j.JetStream.Stream(ctx, name)
	if j.message {
		return unreadable{stream}, err
	}
	return stream, err
}

type unreadable struct{ jetstream.Stream }

func (unreadable) GetMsg(context.Context, uint64, ...jetstream.GetMsgOpt) (*jetstream.RawStreamMsg, error) {
	return nil, errAway
}

// Another operator has replayed it, and its command was carried out, between this one's first look and its publish.
func TestReplayThatAnotherOperatorHasFinishedIsNotMadeAgain(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.parked(refund)
	d := b.get(1)
	tap := &tapped{JetStream: b.js, publish: func(_ int, pass func() (*jetstream.PubAck, error)) (*jetstream.PubAck, error) {
		if _, err := b.letterbox().Replay(t.Context(), d); err != nil {
			t.Error(err)
		}
		b.deleteCommand(1)
		return pass()
	}}
	letters, err := publisher.NewLetters(t.Context(), tap)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := letters.Replay(t.Context(), d); !errors.Is(err, publisher.ErrGone) {
		t.Errorf("replayed %+v, %v, want ErrGone", got, err)
	}
	if n := len(b.commands()); n != 0 || tap.tries != 1 {
		t.Errorf("%d commands wait after %d tries, want none after 1", n, tap.tries)
	}
}

func TestDeadLetterThatIsNoCommandIsRefused(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	for _, subject := range []string{
		"linepay.events.tw.captured.ORDER-1", "linepay.deadletters.tw.refund", "linepay.commands.TW.refund", "linepay.commands.tw.steal",
		"linepay.commands.tw.refund.more", "linepay.commands.tw.*", "$JS.API.STREAM.DELETE.LINEPAY_EVENTS",
	} {
		b.parked(subject)
	}
	b.put("linepay.deadletters.tw.refund", "stranger", "no dead letter at all")
	before := b.letters()
	for _, msg := range before {
		_, err := b.letterbox().Replay(t.Context(), b.get(msg.Sequence))
		if _, refused := errors.AsType[*publisher.RefusedError](err); !refused {
			t.Errorf("%s, %s: %v, want it refused", msg.Header.Get(schemas.HeaderDeadLetterSubject), msg.Data, err)
		}
	}
	if commands, left := b.commands(), b.letters(); len(commands) != 0 || len(left) != len(before) {
		t.Errorf("%d commands and %d dead letters, want none and %d", len(commands), len(left), len(before))
	}
}

func TestCommandThatHasGrownTooLargeIsRefusedWithTheRemedy(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	if err := b.Park(t.Context(), "7-0", letterOf(refund), nil, []byte(strings.Repeat("x", schemas.MaxCommandBytes))); err != nil {
		t.Fatal(err)
	}
	_, err := b.letterbox().Replay(t.Context(), b.get(1))
	refused, ok := errors.AsType[*publisher.RefusedError](err)
	if !ok || !strings.Contains(refused.Error(), "nats stream edit LINEPAY_COMMANDS --max-msg-size") {
		t.Errorf("error is %v, want it refused, with the remedy", err)
	}
}

func TestReplayIsToldThoughTheDeadLetterCannotBeDeleted(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.parked(refund)
	ctx, cancel := context.WithCancel(t.Context())
	letters, err := publisher.NewLetters(ctx, stopping{b.js, func() error { cancel(); return nil }})
	if err != nil {
		t.Fatal(err)
	}
	got, err := letters.Replay(ctx, b.get(1))
	if err == nil || !strings.HasPrefix(err.Error(), "the command is published again, as sequence 1: ") || got.Sequence != 1 {
		t.Errorf("replayed %+v, %v, want sequence 1 and an error that says so", got, err)
	}
}
