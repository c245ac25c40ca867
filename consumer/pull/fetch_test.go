package pull_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/consumer/consumertest"
	"linepay-worker/consumer/pull"
	"linepay-worker/schemas"
)

// answering is a JetStream whose answers to a pull are the test's: each is a status, or "" for a message.
func answering(t *testing.T, statuses ...string) jetstream.JetStream {
	t.Helper()
	js := consumertest.NATS(t).JetStream(t)
	_, err := js.Conn().Subscribe("answers.CONSUMER.MSG.NEXT.LINEPAY_COMMANDS.c", func(pull *nats.Msg) {
		for _, status := range statuses {
			answer := nats.NewMsg(pull.Reply)
			if status == "" {
				answer.Reply, answer.Data = "acknowledge.here", []byte("command")
			} else {
				answer.Header.Set("Status", status)
				answer.Header.Set("Description", "Of Its Own")
			}
			if err := js.Conn().PublishMsg(answer); err != nil {
				t.Error(err)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return otherPrefix{js, "answers."}
}

// otherPrefix sends JetStream's requests elsewhere.
type otherPrefix struct {
	jetstream.JetStream
	prefix string
}

func (o otherPrefix) Options() jetstream.JetStreamOptions {
	return jetstream.JetStreamOptions{APIPrefix: o.prefix}
}

func TestPullEndsAsTheServerSays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		statuses string
		n, got   int
		err      string
	}{
		{",,", 2, 2, ""},
		{",404", 2, 1, ""},
		{",408", 2, 1, ""},
		{"100,,100,,404", 3, 2, ""},
		{"100,,", 1, 1, ""},
		{"503", 1, 0, nats.ErrNoResponders.Error()},
		{",409", 2, 1, "pull: status 409: of its own"},
		{"400,,", 2, 0, "pull: status 400: of its own"},
	} {
		t.Run(c.statuses, func(t *testing.T) {
			t.Parallel()
			js := answering(t, strings.Split(c.statuses, ",")...)
			got := 0
			err := pull.Fetch(t.Context(), js, schemas.StreamCommands, "c", c.n, 10*time.Second, func(*nats.Msg) { got++ })
			if err != nil && err.Error() != c.err || err == nil && c.err != "" || got != c.got {
				t.Errorf("%d messages and error %v, want %d and %q", got, err, c.got, c.err)
			}
		})
	}
}

func TestPullEndsWithItsContextAndWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	js := answering(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := pull.Fetch(ctx, js, schemas.StreamCommands, "c", 1, 10*time.Second, func(*nats.Msg) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
	if err := pull.Fetch(t.Context(), js, schemas.StreamCommands, "c", 1, time.Millisecond-time.Second, func(*nats.Msg) {}); !errors.Is(err, pull.ErrSilent) {
		t.Errorf("error %v, want ErrSilent", err)
	}
}

func TestPullThatCannotBeAskedForIsAnError(t *testing.T) {
	t.Parallel()
	server := consumertest.NATS(t)
	away := server.JetStream(t) // it buffers nothing while NATS is away
	server.Stop()
	if err := pull.Fetch(t.Context(), away, schemas.StreamCommands, "c", 1, time.Hour, func(*nats.Msg) {}); !errors.Is(err, nats.ErrReconnectBufExceeded) {
		t.Errorf("error %v, want one that says that nothing could be sent", err)
	}
	away.Conn().Close()
	if err := pull.Fetch(t.Context(), away, schemas.StreamCommands, "c", 1, time.Hour, func(*nats.Msg) {}); !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("error %v, want one that says that the connection is closed", err)
	}
}

func TestPullIsSentWhereJetStreamListens(t *testing.T) {
	t.Parallel()
	conn := consumertest.NATS(t).Connect(t)
	plainly, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	domain, err := jetstream.NewWithDomain(conn, "hub")
	if err != nil {
		t.Fatal(err)
	}
	for want, js := range map[string]jetstream.JetStream{
		"$JS.API.": plainly, "$JS.hub.API.": domain,
		"elsewhere.API.": otherPrefix{plainly, "elsewhere.API"}, "dotted.API.": otherPrefix{plainly, "dotted.API."},
	} {
		if got := pull.APIPrefix(js); got != want {
			t.Errorf("the prefix is %q, want %q", got, want)
		}
	}
}
