package consumer

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/consumer/consumertest"
	"linepay-worker/schemas"
)

// sourceConfig is a configuration on a NATS server that has LINEPAY_COMMANDS.
func sourceConfig(t *testing.T) (Config, jetstream.Stream) {
	t.Helper()
	cfg := plain(t, 0)
	cfg.JetStream, cfg.Provision = consumertest.NATS(t).JetStream(t), true
	stream, err := cfg.JetStream.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: schemas.StreamCommands, Subjects: []string{schemas.SubjectsCommands}, Retention: jetstream.WorkQueuePolicy,
	})
	if err != nil {
		t.Fatal(err)
	}
	return cfg, stream
}

func onServer(t *testing.T, stream jetstream.Stream) jetstream.ConsumerConfig {
	t.Helper()
	found, err := stream.Consumer(t.Context(), "linepay-worker-tw")
	if err != nil {
		t.Fatal(err)
	}
	return found.CachedInfo().Config
}

func TestConsumerIsCreatedAsTheContractHasIt(t *testing.T) {
	t.Parallel()
	cfg, stream := sourceConfig(t)
	for range 2 { // created, then found
		if _, err := cfg.source(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := onServer(t, stream)
		if got.Durable != "linepay-worker-tw" || got.FilterSubject != "linepay.commands.tw.*" || got.AckPolicy != jetstream.AckExplicitPolicy ||
			got.DeliverPolicy != jetstream.DeliverAllPolicy || got.MaxDeliver != -1 || got.MaxAckPending != -1 || len(got.BackOff) != 0 ||
			got.DeliverSubject != "" || got.InactiveThreshold != 0 || got.AckWait != cfg.ackWait() {
			t.Errorf("the consumer is %+v", got)
		}
	}
	if cfg.ackWait() <= time.Minute {
		t.Errorf("AckWait is %s, shorter than LINE Pay's longest read timeout and slack", cfg.ackWait())
	}
}

func TestConsumerThatIsMendedStaysPaused(t *testing.T) {
	t.Parallel()
	cfg, stream := sourceConfig(t)
	c := cfg.consumerConfig()
	c.AckWait = time.Second
	if _, err := stream.CreateConsumer(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	until := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	if _, err := stream.PauseConsumer(t.Context(), c.Durable, until); err != nil {
		t.Fatal(err)
	}
	if _, err := cfg.source(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := onServer(t, stream); got.AckWait != cfg.ackWait() || got.PauseUntil == nil || !got.PauseUntil.Equal(until) {
		t.Errorf("AckWait is %s, paused until %v, want %s and %s", got.AckWait, got.PauseUntil, cfg.ackWait(), until)
	}
}

func TestTooShortAckWaitIsWidenedAndALongerOneLeft(t *testing.T) {
	t.Parallel()
	cfg, stream := sourceConfig(t)
	change := func(ackWait time.Duration) {
		t.Helper()
		c := cfg.consumerConfig()
		c.AckWait, c.Description = ackWait, "an operator's own"
		if _, err := stream.CreateOrUpdateConsumer(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	change(time.Second)
	found, err := cfg.source(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := onServer(t, stream); got.AckWait != cfg.ackWait() || got.Description != "an operator's own" || found.CachedInfo().Config.AckWait != cfg.ackWait() {
		t.Errorf("AckWait is %s on the server, description %q; want %s and nothing else changed", got.AckWait, got.Description, cfg.ackWait())
	}
	change(time.Hour)
	if _, err := cfg.source(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := onServer(t, stream).AckWait; got != time.Hour {
		t.Errorf("a longer AckWait became %s", got)
	}
	change(time.Second)
	cfg.Provision = false
	_, err = cfg.source(t.Context())
	if err == nil || !strings.Contains(err.Error(), "consumer linepay-worker-tw: its AckWait is 1s, shorter than a call can take (") {
		t.Errorf("error is %v, want one that names the AckWait", err)
	}
	if got := onServer(t, stream).AckWait; got != time.Second {
		t.Errorf("without --provision the AckWait became %s", got)
	}
}

func TestConsumerThatWouldLoseOrDoubleCommandsIsRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(*jetstream.ConsumerConfig)
		want   string
	}{
		{"BackOff", func(c *jetstream.ConsumerConfig) { c.BackOff, c.MaxDeliver = []time.Duration{time.Second}, 2 }, "it has a BackOff list, which replaces AckWait"},
		{"MaxDeliver", func(c *jetstream.ConsumerConfig) { c.MaxDeliver = 5 }, "it gives a command up after 5 deliveries"},
		{"filter", func(c *jetstream.ConsumerConfig) { c.FilterSubject = "linepay.commands.jp.*" }, `its filter is "linepay.commands.jp.*", not "linepay.commands.tw.*"`},
		{"no filter", func(c *jetstream.ConsumerConfig) { c.FilterSubject = "" }, `its filter is "", not "linepay.commands.tw.*"`},
		{"batch", func(c *jetstream.ConsumerConfig) { c.MaxRequestBatch = 1 }, "it limits what a pull may ask for"},
		{"expiry", func(c *jetstream.ConsumerConfig) { c.MaxRequestExpires = time.Second }, "it limits what a pull may ask for"},
		{"bytes", func(c *jetstream.ConsumerConfig) { c.MaxRequestMaxBytes = 1024 }, "it limits what a pull may ask for"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cfg, stream := sourceConfig(t)
			consumer := cfg.consumerConfig()
			c.change(&consumer)
			if _, err := stream.CreateConsumer(t.Context(), consumer); err != nil {
				t.Fatal(err)
			}
			before := onServer(t, stream)
			for _, provision := range []bool{true, false} {
				cfg.Provision = provision
				_, err := cfg.source(t.Context())
				if err == nil || !strings.HasPrefix(err.Error(), "consumer linepay-worker-tw: ") || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error is %v, want one that says %q", err, c.want)
				}
			}
			if diff := cmp.Diff(before, onServer(t, stream)); diff != "" {
				t.Errorf("the consumer was changed (-before +after):\n%s", diff)
			}
		})
	}
}

// A work queue stream takes none of these on the server, but a stream with other retention does.
func TestRefusalNamesEverySetting(t *testing.T) {
	t.Parallel()
	cfg := plain(t, 0)
	got := cfg.consumerConfig()
	if err := errors.Join(cfg.Drift(got)...); err != nil {
		t.Errorf("the worker's own consumer is refused: %v", err)
	}
	got.AckPolicy, got.DeliverSubject, got.MaxDeliver = jetstream.AckNonePolicy, "push.here", 3
	err := errors.Join(cfg.Drift(got)...)
	for _, text := range []string{"its ack policy is AckNone, not explicit", "it pushes to push.here, and the worker pulls", "it gives a command up after 3 deliveries"} {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("error is %v, want it to say %q", err, text)
		}
	}
}

func TestMissingConsumerOrStreamIsNamed(t *testing.T) {
	t.Parallel()
	cfg, stream := sourceConfig(t)
	cfg.Provision = false
	_, err := cfg.source(t.Context())
	if want := "consumer linepay-worker-tw does not exist on LINEPAY_COMMANDS: create it, or run the worker with --provision"; err == nil || err.Error() != want {
		t.Errorf("error is %v, want %q", err, want)
	}
	if _, err := stream.Consumer(t.Context(), "linepay-worker-tw"); err == nil {
		t.Error("the consumer was created")
	}
	cfg.JetStream = consumertest.NATS(t).JetStream(t)
	if _, err := cfg.source(t.Context()); err == nil || !strings.Contains(err.Error(), "look at stream LINEPAY_COMMANDS") {
		t.Errorf("error is %v, want one that names the stream", err)
	}
}
