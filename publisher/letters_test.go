package publisher_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/publisher"
	"linepay-worker/schemas"
)

func (b *bus) letterbox() *publisher.Letters {
	b.t.Helper()
	l, err := publisher.NewLetters(b.t.Context(), b.js)
	if err != nil {
		b.t.Fatal(err)
	}
	return l
}

// parked stores dead letters of these subjects, numbered from 1, each with its place in the list as its body.
func (b *bus) parked(subjects ...string) {
	b.t.Helper()
	for i, subject := range subjects {
		body := fmt.Sprint(i + 1)
		if err := b.Park(b.t.Context(), subject+body, letterOf(subject), nats.Header{"X-Kept": {"yes"}}, []byte(body)); err != nil {
			b.t.Fatal(err)
		}
	}
}

const refund, confirm = "linepay.commands.tw.refund", "linepay.commands.tw.confirm"

func TestDeadLetterIsReadByItsNumber(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.parked(confirm, refund)
	got, err := b.letterbox().Get(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	if got.Number != 2 || string(got.Body) != "2" || got.Subject != "linepay.deadletters.tw.refund" || got.Header.Get("X-Kept") != "yes" ||
		got.Problem != nil || got.Stored.IsZero() {
		t.Errorf("it reads as %+v", got)
	}
	if diff := cmp.Diff(letterOf(refund), got.DeadLetter); diff != "" {
		t.Errorf("dead letter (-want +got):\n%s", diff)
	}
	for _, number := range []uint64{0, 3} {
		if _, err := b.letterbox().Get(t.Context(), number); !errors.Is(err, publisher.ErrGone) {
			t.Errorf("number %d: %v, want ErrGone", number, err)
		}
	}
}

func TestDeadLettersAreReadOldestFirstByFilter(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.parked(confirm, refund, "linepay.commands.jp.refund", refund)
	b.put("linepay.deadletters.tw.refund", "stranger", "no dead letter at all")
	for filter, want := range map[string]string{
		schemas.SubjectsDeadLetters:              "1 2 3 4 5!",
		schemas.DeadLettersFilter("tw", "*"):     "1 2 4 5!",
		schemas.DeadLettersFilter("*", "refund"): "2 3 4 5!",
		schemas.DeadLettersFilter("jp", "void"):  "",
	} {
		var got []string
		err := b.letterbox().Each(t.Context(), filter, func(d *publisher.Letter) error {
			text := fmt.Sprint(d.Number)
			if errors.Is(d.Problem, schemas.ErrDeadLetter) {
				text += "!"
			}
			got = append(got, text)
			return nil
		})
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s gives %q, %v, want %q", filter, got, err, want)
		}
	}
}

// A command may have no body, and a header that JetStream's own clients take for the server's.
func TestDeadLettersThatLookLikeAStatusOfTheServerAreRead(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	var want, got []string
	for _, status := range []string{"100", "404", "408", "409", "503"} {
		want = append(want, status)
		if err := b.Park(t.Context(), status, letterOf(refund), nats.Header{"Status": {status}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	err := b.letterbox().Each(t.Context(), schemas.SubjectsDeadLetters, func(d *publisher.Letter) error {
		got = append(got, d.Header.Get("Status"))
		return d.Problem
	})
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v; dead letters (-want +got):\n%s", err, diff)
	}
}

func TestReadingEndsWithWhatWasThereWhenItBegan(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.parked(refund, refund)
	read := 0
	err := b.letterbox().Each(t.Context(), schemas.SubjectsDeadLetters, func(d *publisher.Letter) error {
		read++
		return b.Park(t.Context(), fmt.Sprint("again ", d.Number), letterOf(refund), nil, nil)
	})
	if err != nil || read != 2 {
		t.Errorf("%d are read, %v, want 2", read, err)
	}
}

// More are asked for than are read ahead, and the last dead letter is none of them: what is parked meanwhile comes after it.
func TestReadingBySubjectEndsWithWhatWasThereWhenItBegan(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	subjects := make([]string, 300)
	for i := range subjects {
		subjects[i] = refund
	}
	b.parked(append(subjects, confirm)...)
	read := 0
	err := b.letterbox().Each(t.Context(), schemas.DeadLettersFilter("tw", "refund"), func(d *publisher.Letter) error {
		if read++; read > 1 {
			return nil
		}
		return b.Park(t.Context(), "meanwhile", letterOf(refund), nil, nil)
	})
	if err != nil || read != len(subjects) {
		t.Errorf("%d are read, %v, want %d", read, err, len(subjects))
	}
}

func TestReadingEndsThoughTheRestIsDeletedMeanwhile(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	subjects := make([]string, 300) // more than is read ahead
	for i := range subjects {
		subjects[i] = refund
	}
	b.parked(subjects...)
	read := 0
	err := b.letterbox().Each(t.Context(), schemas.SubjectsDeadLetters, func(*publisher.Letter) error {
		if read++; read > 1 {
			return nil
		}
		stream, err := b.js.Stream(t.Context(), schemas.StreamDeadLetters)
		if err != nil {
			return err
		}
		return stream.Purge(t.Context())
	})
	if err != nil || read == 0 || read == len(subjects) {
		t.Errorf("%d are read, %v, want some of %d", read, err, len(subjects))
	}
}

func TestReadingEndsWithItsContextAndWithTheReadersError(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.parked(refund, refund)
	enough := errors.New("enough")
	if err := b.letterbox().Each(t.Context(), schemas.SubjectsDeadLetters, func(*publisher.Letter) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("error is %v, want the reader's own", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := b.letterbox().Each(ctx, schemas.SubjectsDeadLetters, func(*publisher.Letter) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want that the context has ended", err)
	}
}

func TestWithoutTheStreamThereAreNoDeadLetters(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	letters := b.letterbox()
	if err := b.js.DeleteStream(t.Context(), schemas.StreamDeadLetters); err != nil {
		t.Fatal(err)
	}
	if _, err := publisher.NewLetters(t.Context(), b.js); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("error is %v, want ErrStreamNotFound", err)
	}
	if _, err := letters.Get(t.Context(), 1); err == nil || errors.Is(err, publisher.ErrGone) {
		t.Errorf("reading one: %v, want an error that is not ErrGone", err)
	}
	if err := letters.Each(t.Context(), schemas.SubjectsDeadLetters, func(*publisher.Letter) error { return nil }); err == nil {
		t.Error("reading all gives no error")
	}
	if err := letters.Drop(t.Context(), 1); err == nil || errors.Is(err, publisher.ErrGone) {
		t.Errorf("dropping one: %v, want an error that is not ErrGone", err)
	}
}

func TestDroppedDeadLetterIsGone(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.parked(refund, refund)
	if err := b.letterbox().Drop(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if err := b.letterbox().Drop(t.Context(), 1); !errors.Is(err, publisher.ErrGone) {
		t.Errorf("the second time: %v, want ErrGone", err)
	}
	if left := b.letters(); len(left) != 1 || left[0].Sequence != 2 {
		t.Errorf("left is %+v, want number 2", left)
	}
}
