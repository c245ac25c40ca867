package pull_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/consumer/consumertest"
	"linepay-worker/consumer/pull"
)

const shelf = "SHELF"

// shelved is a stream that takes everything under "shelf".
func shelved(t *testing.T) (*consumertest.NATSServer, jetstream.JetStream, jetstream.Stream) {
	t.Helper()
	server := consumertest.NATS(t)
	js := server.JetStream(t)
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: shelf, Subjects: []string{"shelf.>"}})
	if err != nil {
		t.Fatal(err)
	}
	return server, js, stream
}

// statuses are those that the client library knows, as a publisher may write them.
var statuses = []string{"100", "404", "408", "409", "503"}

// put stores n messages, every one of them without a body and with a status that the server might have sent.
func put(t *testing.T, js jetstream.JetStream, n int) {
	t.Helper()
	for i := range n {
		msg := nats.NewMsg(fmt.Sprintf("shelf.%d", i%2))
		msg.Header.Set("Status", statuses[i%len(statuses)])
		if _, err := js.PublishMsgAsync(msg); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}

// read gives the sequences that are read, until f says no.
func read(ctx context.Context, js jetstream.JetStream, r pull.Reading, f func(pull.Message) bool) (sequences []uint64, err error) {
	r.Stream = shelf
	err = pull.Read(ctx, js, r, func(m pull.Message) (bool, error) {
		sequences = append(sequences, m.Sequence)
		return f == nil || f(m), nil
	})
	return sequences, err
}

// upTo gives the numbers from a to b, each step-th of them.
func upTo(a, b, step uint64) (list []uint64) {
	for n := a; n <= b; n += step {
		list = append(list, n)
	}
	return list
}

func TestAllIsReadOnceInOrderWhateverItsHeadersSay(t *testing.T) {
	t.Parallel()
	_, js, stream := shelved(t)
	put(t, js, 1200)
	for name, c := range map[string]struct {
		reading pull.Reading
		want    []uint64
	}{
		"all":                       {pull.Reading{}, upTo(1, 1200, 1)},
		"headers":                   {pull.Reading{HeadersOnly: true}, upTo(1, 1200, 1)},
		"by subject":                {pull.Reading{Filters: []string{"shelf.1"}}, upTo(2, 1200, 2)},
		"by subjects":               {pull.Reading{Filters: []string{"shelf.0", "shelf.1"}}, upTo(1, 1200, 1)},
		"since long ago":            {pull.Reading{Since: time.Now().Add(-time.Hour)}, upTo(1, 1200, 1)},
		"since some time to come":   {pull.Reading{Since: time.Now().Add(time.Hour)}, nil},
		"from somewhere":            {pull.Reading{First: 1190}, upTo(1190, 1200, 1)},
		"nothing of that subject":   {pull.Reading{Filters: []string{"shelf.9"}}, nil},
		"from somewhere, whenever":  {pull.Reading{First: 1190, Since: time.Now().Add(time.Hour)}, upTo(1190, 1200, 1)},
		"from behind what is there": {pull.Reading{First: 1201}, nil},
	} {
		got, err := read(t.Context(), js, c.reading, nil)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %d messages, %v; want %d", name, len(got), err, len(c.want))
		}
	}
	for info := range stream.ListConsumers(t.Context()).Info() {
		t.Errorf("consumer %s is left behind", info.Name)
	}
}

func TestMessageIsGivenWhole(t *testing.T) {
	t.Parallel()
	_, js, stream := shelved(t)
	sent := &nats.Msg{Subject: "shelf.whole", Header: nats.Header{"Status": {"404"}, "X-Kept": {"a", "b"}}, Data: []byte("body")}
	if _, err := js.PublishMsg(t.Context(), sent); err != nil {
		t.Fatal(err)
	}
	stored, err := stream.GetMsg(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	err = pull.Read(t.Context(), js, pull.Reading{Stream: shelf}, func(m pull.Message) (bool, error) {
		want := pull.Message{Sequence: 1, Stored: stored.Time.UTC(), Subject: sent.Subject, Header: sent.Header, Body: sent.Data}
		if diff := cmp.Diff(want, m); diff != "" {
			t.Errorf("message (-want +got):\n%s", diff)
		}
		return true, nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestReadingEndsWhenItsReaderHasEnoughOrFailsOrItsContextEnds(t *testing.T) {
	t.Parallel()
	_, js, _ := shelved(t)
	put(t, js, 100)
	got, err := read(t.Context(), js, pull.Reading{Follow: true}, func(m pull.Message) bool { return m.Sequence < 70 })
	if err != nil || !slices.Equal(got, upTo(1, 70, 1)) {
		t.Errorf("%d are read, %v, want 70", len(got), err)
	}
	broken := errors.New("broken")
	err = pull.Read(t.Context(), js, pull.Reading{Stream: shelf}, func(pull.Message) (bool, error) { return true, broken })
	if !errors.Is(err, broken) {
		t.Errorf("error %v, want the reader's own", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	got, err = read(ctx, js, pull.Reading{}, func(m pull.Message) bool { cancel(); return true })
	if !errors.Is(err, context.Canceled) || len(got) != 1 {
		t.Errorf("%d are read after the end of the context, %v", len(got), err)
	}
}

func TestFollowingGoesOnWithWhatComesAndOverARestartOfNATS(t *testing.T) {
	t.Parallel()
	server, js, _ := shelved(t)
	put(t, js, 3)
	var restart bool
	got, err := read(t.Context(), js, pull.Reading{Follow: true}, func(m pull.Message) bool {
		switch {
		case m.Sequence == 3:
			put(t, js, 1)
		case m.Sequence == 4 && !restart:
			restart = true
			server.Restart()
			put(t, server.JetStream(t), 2)
		}
		return m.Sequence < 6
	})
	if err != nil || !slices.Equal(got, upTo(1, 6, 1)) {
		t.Errorf("read %v, %v, want 1 to 6", got, err)
	}
}

func TestReadingBeginsAnewWhereItWasWhenTheServerHasLostItsReader(t *testing.T) {
	t.Parallel()
	_, js, stream := shelved(t)
	put(t, js, 1000)
	got, err := read(t.Context(), js, pull.Reading{}, func(m pull.Message) bool {
		if m.Sequence%300 == 1 {
			for info := range stream.ListConsumers(t.Context()).Info() {
				if err := stream.DeleteConsumer(t.Context(), info.Name); err != nil {
					t.Error(err)
				}
			}
		}
		return true
	})
	if err != nil || !slices.Equal(got, upTo(1, 1000, 1)) {
		t.Errorf("%d are read, %v, want 1000, each once", len(got), err)
	}
}

func TestReadingEndsThoughTheRestIsDeletedMeanwhile(t *testing.T) {
	t.Parallel()
	_, js, stream := shelved(t)
	put(t, js, 1000)
	got, err := read(t.Context(), js, pull.Reading{}, func(m pull.Message) bool {
		if m.Sequence == 1 {
			if err := stream.Purge(t.Context()); err != nil {
				t.Error(err)
			}
		}
		return true
	})
	if err != nil || len(got) == 0 || len(got) == 1000 {
		t.Errorf("%d are read, %v, want some of 1000", len(got), err)
	}
}

func TestReadingThatBringsNothingIsGivenUp(t *testing.T) {
	t.Parallel()
	server, js, _ := shelved(t)
	err := pull.Read(t.Context(), js, pull.Reading{Stream: "NONE", Follow: true}, func(pull.Message) (bool, error) { return true, nil })
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("without a stream: %v", err)
	}
	put(t, js, 1)
	server.Stop()
	away, err := jetstream.New(js.Conn(), jetstream.WithDefaultTimeout(10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := read(t.Context(), away, pull.Reading{}, nil); err == nil || !strings.HasPrefix(err.Error(), "read stream SHELF: ") || len(got) > 0 {
		t.Errorf("without NATS: %d messages, %v", len(got), err)
	}
	away.Conn().Close()
	if _, err := read(t.Context(), away, pull.Reading{Follow: true}, nil); !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("without a connection: %v", err)
	}
}

// refusing is a JetStream that refuses so many readers before it gives one.
type refusing struct {
	jetstream.JetStream
	left int
}

var errRefused = errors.New("no reader now")

func (r *refusing) CreateConsumer(ctx context.Context, stream string, cfg jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	if r.left > 0 {
		r.left--
		return nil, errRefused
	}
	return r.JetStream.CreateConsumer(ctx, stream, cfg)
}

func TestReadingIsTriedThreeTimesAndFollowingForAsLongAsItTakes(t *testing.T) {
	t.Parallel()
	_, js, _ := shelved(t)
	put(t, js, 2)
	for _, c := range []struct {
		refusals int
		follow   bool
		err      error
	}{{2, false, nil}, {3, false, errRefused}, {4, true, nil}} {
		t.Run(fmt.Sprint(c.refusals), func(t *testing.T) {
			t.Parallel()
			got, err := read(t.Context(), &refusing{js, c.refusals}, pull.Reading{Follow: c.follow}, func(m pull.Message) bool { return m.Sequence < 2 })
			if !errors.Is(err, c.err) || (len(got) == 2) != (c.err == nil) {
				t.Errorf("after %d refusals %d are read, %v, want %v", c.refusals, len(got), err, c.err)
			}
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := read(ctx, &refusing{js, 1000}, pull.Reading{Follow: true}, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want that of the context", err)
	}
}

// What was sent and has not arrived is read again: the numbers that the server gives its deliveries tell.
func TestMessageThatIsLostOnItsWayIsReadAllTheSame(t *testing.T) {
	t.Parallel()
	readThrough(t, func(js jetstream.JetStream, request, real *nats.Msg) error {
		lost, err := js.Conn().Request(real.Subject, []byte(`{"batch":1}`), 10*time.Second)
		if err == nil && lost.Reply == "" {
			t.Errorf("nothing was lost: %v", lost.Header)
		}
		return errors.Join(err, js.Conn().PublishMsg(real))
	})
}

// Somebody else may have written to where the answers go.
func TestAnswerThatIsNotJetStreamsIsNoMessage(t *testing.T) {
	t.Parallel()
	readThrough(t, func(js jetstream.JetStream, request, real *nats.Msg) error {
		stranger := &nats.Msg{Subject: request.Reply, Reply: "elsewhere"}
		return errors.Join(js.Conn().PublishMsg(stranger), js.Conn().PublishMsg(real))
	})
}

// readThrough reads three messages. The first pull goes through meddle, which is given it as it came, and as it would have gone to JetStream.
func readThrough(t *testing.T, meddle func(js jetstream.JetStream, request, real *nats.Msg) error) {
	t.Helper()
	_, js, _ := shelved(t)
	put(t, js, 3)
	meddled := false
	_, err := js.Conn().Subscribe("between.CONSUMER.MSG.NEXT.>", func(request *nats.Msg) {
		real := &nats.Msg{Subject: "$JS.API." + strings.TrimPrefix(request.Subject, "between."), Reply: request.Reply, Data: request.Data}
		pass := func(js jetstream.JetStream, _, real *nats.Msg) error { return js.Conn().PublishMsg(real) }
		if !meddled {
			meddled, pass = true, meddle
		}
		if err := pass(js, request, real); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := read(t.Context(), otherPrefix{js, "between."}, pull.Reading{}, nil)
	if err != nil || !slices.Equal(got, upTo(1, 3, 1)) || !meddled {
		t.Errorf("read %v, %v, want 1 to 3", got, err)
	}
}
