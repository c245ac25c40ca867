package publisher_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/consumer/consumertest"
	"linepay-worker/publisher"
	"linepay-worker/schemas"
)

// kept is what a stream's settings say about its messages.
type kept struct {
	Subjects   string
	Storage    jetstream.StorageType
	Retention  jetstream.RetentionPolicy
	Discard    jetstream.DiscardPolicy
	MaxAge     time.Duration
	MaxMsgs    int64
	MaxBytes   int64
	MaxMsgSize int32
	Replicas   int
	Duplicates time.Duration
	NoAck      bool
}

func settings(t *testing.T, js jetstream.JetStream, name string) kept {
	t.Helper()
	stream, err := js.Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	c := stream.CachedInfo().Config
	return kept{
		strings.Join(c.Subjects, " "), c.Storage, c.Retention, c.Discard, c.MaxAge, c.MaxMsgs, c.MaxBytes, c.MaxMsgSize, c.Replicas, c.Duplicates, c.NoAck,
	}
}

func TestStreamsAreCreatedAsTheContractHasThem(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		options publisher.StreamOptions
		window  time.Duration
	}{
		"by default":    {publisher.StreamOptions{}, 10 * time.Minute},
		"with a window": {publisher.StreamOptions{Replicas: 1, DedupeWindow: time.Hour}, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			js := consumertest.NATS(t).JetStream(t)
			// Once creates, and whoever comes next finds nothing to say.
			for range 2 {
				if differences, err := publisher.Provision(t.Context(), js, c.options, true); err != nil || len(differences) != 0 {
					t.Fatalf("differences %q, %v", differences, err)
				}
			}
			want := kept{
				Subjects: "linepay.commands.*.*", Storage: jetstream.FileStorage, Retention: jetstream.WorkQueuePolicy, Discard: jetstream.DiscardNew,
				MaxMsgs: -1, MaxBytes: -1, MaxMsgSize: 262144, Replicas: 1, Duplicates: c.window,
			}
			if diff := cmp.Diff(want, settings(t, js, "LINEPAY_COMMANDS")); diff != "" {
				t.Errorf("LINEPAY_COMMANDS (-want +got):\n%s", diff)
			}
			want.Retention, want.MaxMsgSize = jetstream.LimitsPolicy, -1
			want.Subjects = "linepay.events.>"
			if diff := cmp.Diff(want, settings(t, js, "LINEPAY_EVENTS")); diff != "" {
				t.Errorf("LINEPAY_EVENTS (-want +got):\n%s", diff)
			}
			want.Subjects = "linepay.deadletters.>"
			if diff := cmp.Diff(want, settings(t, js, "LINEPAY_DEADLETTERS")); diff != "" {
				t.Errorf("LINEPAY_DEADLETTERS (-want +got):\n%s", diff)
			}
			want.Subjects = "linepay.audit.>"
			if diff := cmp.Diff(want, settings(t, js, "LINEPAY_AUDIT")); diff != "" {
				t.Errorf("LINEPAY_AUDIT (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMissingStreamIsNamedWhereItMayNotBeCreated(t *testing.T) {
	t.Parallel()
	js := consumertest.NATS(t).JetStream(t)
	for _, want := range publisher.Streams(publisher.StreamOptions{}) {
		_, err := publisher.Provision(t.Context(), js, publisher.StreamOptions{}, false)
		text := "stream " + want.Name + " does not exist: create it, or run the worker with --provision"
		if err == nil || err.Error() != text {
			t.Errorf("error is %v, want %q", err, text)
		}
		if _, err := js.Stream(t.Context(), want.Name); !errors.Is(err, jetstream.ErrStreamNotFound) {
			t.Errorf("stream %s was created: %v", want.Name, err)
		}
		if _, err := js.CreateStream(t.Context(), want); err != nil {
			t.Fatal(err)
		}
	}
	if differences, err := publisher.Provision(t.Context(), js, publisher.StreamOptions{}, false); err != nil || len(differences) != 0 {
		t.Errorf("with all streams: differences %q, %v", differences, err)
	}
}

func TestStreamThatJetStreamRefusesIsNamed(t *testing.T) {
	t.Parallel()
	js := consumertest.NATS(t).JetStream(t)
	_, err := publisher.Provision(t.Context(), js, publisher.StreamOptions{Replicas: 3}, true) // one server cannot
	if err == nil || !strings.HasPrefix(err.Error(), "create stream LINEPAY_COMMANDS: ") {
		t.Errorf("error is %v, want one that names the stream", err)
	}
}

func TestHarmlessDifferencesAreReportedAndLeftAsTheyAre(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.change(schemas.StreamCommands, func(c *jetstream.StreamConfig) { c.Duplicates = time.Hour })
	b.change(schemas.StreamEvents, func(c *jetstream.StreamConfig) { c.MaxAge = 1000 * time.Hour })
	before := settings(t, b.js, schemas.StreamEvents)
	for _, create := range []bool{true, false} {
		differences, err := publisher.Provision(t.Context(), b.js, publisher.StreamOptions{}, create)
		if err != nil {
			t.Fatal(err)
		}
		want := []string{
			"stream LINEPAY_COMMANDS: duplicate window is 1h0m0s, the worker would set 10m0s",
			"stream LINEPAY_EVENTS: age limit is 1000h0m0s, the worker would set none",
		}
		if diff := cmp.Diff(want, differences); diff != "" {
			t.Errorf("differences (-want +got):\n%s", diff)
		}
	}
	if diff := cmp.Diff(before, settings(t, b.js, schemas.StreamEvents)); diff != "" {
		t.Errorf("the stream was changed (-before +after):\n%s", diff)
	}
}

func TestStreamThatCannotBeEditedIsToBeCreatedAnew(t *testing.T) {
	t.Parallel()
	js := consumertest.NATS(t).JetStream(t)
	config := publisher.Streams(publisher.StreamOptions{})[0]
	config.Storage = jetstream.MemoryStorage
	if _, err := js.CreateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	_, err := publisher.Provision(t.Context(), js, publisher.StreamOptions{}, true)
	want := "stream LINEPAY_COMMANDS has settings that would lose messages: it is kept in memory: change them with `nats stream edit LINEPAY_COMMANDS`; " +
		"storage and retention cannot be edited: create the stream anew, once nothing is left in it that is needed"
	if err == nil || err.Error() != want {
		t.Errorf("error is %v, want %q", err, want)
	}
}

func TestServerWithoutJetStreamIsTold(t *testing.T) {
	t.Parallel()
	bare, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	bare.Start()
	t.Cleanup(func() { bare.Shutdown(); bare.WaitForShutdown() })
	if !bare.ReadyForConnections(10 * time.Second) {
		t.Fatal("NATS does not start")
	}
	conn, err := nats.Connect(bare.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	_, err = publisher.Provision(t.Context(), js, publisher.StreamOptions{}, true)
	if want := "JetStream is not enabled on this NATS server, or not for this account: start nats-server with -js"; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("error is %v, want %q", err, want)
	}
}

func TestStreamThatWouldLoseCommandsIsRefused(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.change(schemas.StreamCommands, func(c *jetstream.StreamConfig) { c.MaxAge, c.Discard, c.MaxMsgs = time.Hour, jetstream.DiscardOld, 10 })
	before := settings(t, b.js, schemas.StreamCommands)
	_, err := publisher.Provision(t.Context(), b.js, publisher.StreamOptions{}, true)
	want := "stream LINEPAY_COMMANDS has settings that would lose messages: it has an age limit of 1h0m0s; it discards old messages when it is full: " +
		"change them with `nats stream edit LINEPAY_COMMANDS`"
	if err == nil || err.Error() != want {
		t.Errorf("error is %v, want %q", err, want)
	}
	if diff := cmp.Diff(before, settings(t, b.js, schemas.StreamCommands)); diff != "" {
		t.Errorf("the stream was changed (-before +after):\n%s", diff)
	}
}

// Every setting that Compare knows, on each stream where it says something else.
func TestEachDifferenceIsHarmlessOrDangerous(t *testing.T) {
	t.Parallel()
	const commands, events, letters, audit = 0, 1, 2, 3
	type config = jetstream.StreamConfig
	for _, c := range []struct {
		name      string
		stream    int
		change    func(*config)
		harmless  []string
		dangerous []string
	}{
		{"as created", commands, func(*config) {}, nil, nil},
		{"as created", events, func(*config) {}, nil, nil},
		{"as created", letters, func(*config) {}, nil, nil},
		{"as created", audit, func(*config) {}, nil, nil},
		{"further subjects", commands, func(c *config) { c.Subjects = append(c.Subjects, "other.>") }, nil, nil},

		{"other subjects", commands, func(c *config) { c.Subjects = []string{"linepay.commands.tw.*"} }, nil, []string{"it does not store linepay.commands.*.*"}},
		{"other subjects", events, func(c *config) { c.Subjects = nil }, nil, []string{"it does not store linepay.events.>"}},
		{"in memory", commands, func(c *config) { c.Storage = jetstream.MemoryStorage }, nil, []string{"it is kept in memory"}},
		{"in memory", events, func(c *config) { c.Storage = jetstream.MemoryStorage }, nil, []string{"it is kept in memory"}},
		{"no acknowledgement", events, func(c *config) { c.NoAck = true }, nil, []string{"it does not acknowledge what is published"}},
		{"no acknowledgement", letters, func(c *config) { c.NoAck = true }, nil, []string{"it does not acknowledge what is published"}},
		{"by interest", commands, func(c *config) { c.Retention = jetstream.InterestPolicy }, nil, []string{"retention is by interest"}},
		{"by interest", letters, func(c *config) { c.Retention = jetstream.InterestPolicy }, nil, []string{"retention is by interest"}},
		{"work queue", events, func(c *config) { c.Retention = jetstream.WorkQueuePolicy }, nil, []string{"retention is work queue"}},
		{"work queue", letters, func(c *config) { c.Retention = jetstream.WorkQueuePolicy }, nil, []string{"retention is work queue"}},
		{"limits", commands, func(c *config) { c.Retention = jetstream.LimitsPolicy }, []string{"retention is limits, the worker would set work queue"}, nil},
		{"an age limit", commands, func(c *config) { c.MaxAge = time.Hour }, nil, []string{"it has an age limit of 1h0m0s"}},
		{"an age limit", letters, func(c *config) { c.MaxAge = time.Hour }, nil, []string{"it has an age limit of 1h0m0s"}},
		{"an age limit", audit, func(c *config) { c.MaxAge = time.Hour }, nil, []string{"it has an age limit of 1h0m0s"}},
		{"an age limit", events, func(c *config) { c.MaxAge = time.Hour }, []string{"age limit is 1h0m0s, the worker would set none"}, nil},
		{
			"discard old without a limit", commands, func(c *config) { c.Discard = jetstream.DiscardOld },
			[]string{"when full is discard old, the worker would set discard new"},
			nil,
		},
		{
			"discard old at a size", commands, func(c *config) { c.Discard, c.MaxBytes = jetstream.DiscardOld, 1<<30 }, nil,
			[]string{"it discards old messages when it is full"},
		},
		{
			"discard old at a number", letters, func(c *config) { c.Discard, c.MaxMsgs = jetstream.DiscardOld, 1000 }, nil,
			[]string{"it discards old messages when it is full"},
		},
		{
			"discard old at a number for each subject", commands, func(c *config) { c.Discard, c.MaxMsgsPerSubject = jetstream.DiscardOld, 1000 },
			[]string{"when full is discard old, the worker would set discard new"},
			[]string{"it keeps 1000 messages of a subject and deletes older ones, whatever it does when full"},
		},
		{"rollup", commands, func(c *config) { c.AllowRollup = true }, nil, []string{"it lets a publisher's Nats-Rollup delete messages"}},
		{"time to live", commands, func(c *config) { c.AllowMsgTTL = true }, nil, []string{"it lets a publisher's Nats-TTL delete messages"}},
		{
			"discard old at a size", events, func(c *config) { c.Discard, c.MaxBytes = jetstream.DiscardOld, 1<<30 },
			[]string{"when full is discard old, the worker would set discard new"},
			nil,
		},
		{"a size, refused beyond", commands, func(c *config) { c.MaxBytes = 1 << 30 }, nil, nil},
		{"replicas", commands, func(c *config) { c.Replicas = 3 }, []string{"replicas is 3, the worker would set 1"}, nil},
		{"a window", letters, func(c *config) { c.Duplicates = time.Minute }, []string{"duplicate window is 1m0s, the worker would set 10m0s"}, nil},
		{"a size of messages", commands, func(c *config) { c.MaxMsgSize = 1000 }, []string{"largest message is 1000, the worker would set 262144"}, nil},
		{"no size of messages", commands, func(c *config) { c.MaxMsgSize = -1 }, []string{"largest message is no limit, the worker would set 262144"}, nil},
		{"a size of messages", events, func(c *config) { c.MaxMsgSize = 1 << 20 }, nil, nil},
	} {
		want := publisher.Streams(publisher.StreamOptions{})[c.stream]
		got := want
		c.change(&got)
		harmless, dangerous := publisher.Compare(got, want)
		for i := range c.harmless {
			c.harmless[i] = "stream " + want.Name + ": " + c.harmless[i]
		}
		if diff := cmp.Diff(c.harmless, harmless); diff != "" {
			t.Errorf("%s, %s: harmless (-want +got):\n%s", want.Name, c.name, diff)
		}
		if diff := cmp.Diff(c.dangerous, dangerous); diff != "" {
			t.Errorf("%s, %s: dangerous (-want +got):\n%s", want.Name, c.name, diff)
		}
	}
}
