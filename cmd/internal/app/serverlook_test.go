package app

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/consumer/consumertest"
)

// A consumer stays when its workers are gone: what waits there is nobody's, once nobody has pulled for longer than a busy worker goes without.
func TestCommandsThatNobodyPullsAreNobodys(t *testing.T) {
	t.Parallel()
	work, js := onNATS(t)
	var at time.Duration
	began := time.Now()
	work.clock = func() time.Time { return began.Add(at) }
	consumed := jetstream.ConsumerConfig{
		Durable: "linepay-worker-jp", FilterSubject: "linepay.commands.jp.*", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: -1,
	}
	others, err := js.CreateConsumer(t.Context(), "LINEPAY_COMMANDS", consumed)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := js.Publish(t.Context(), "linepay.commands.jp.void", []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	stands := func(holds func(*jetstream.ConsumerInfo) bool) { // a consumer counts a moment later than its stream
		t.Helper()
		if !consumertest.Eventually(t, func(ctx context.Context) bool {
			info, err := others.Info(ctx)
			return err == nil && holds(info)
		}) {
			t.Fatal("the consumer never stands as it should")
		}
	}
	stands(func(c *jetstream.ConsumerInfo) bool { return c.NumPending == 3 })
	take := func() jetstream.Msg {
		t.Helper()
		msg, err := others.Next(jetstream.FetchMaxWait(10 * time.Second))
		if err != nil {
			t.Fatal(err)
		}
		return msg
	}
	b := &busLook{work: work, served: servesTW}
	expect := func(after time.Duration, want float64, said string) {
		t.Helper()
		at += after
		samples, err := b.look(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := samplesOf(samples)["linepay_commands_unserved"]; got != want {
			t.Errorf("%s: %v commands are nobody's, want %v", said, got, want)
		}
	}
	const short, long = longestLull - time.Second, longestLull
	expect(0, 0, "seen for the first time")
	expect(short, 0, "nobody has pulled for a while")
	first := take()
	expect(short, 0, "a busy worker takes a command")
	if err := first.DoubleAck(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect(short, 0, "it is done with it")
	take()
	expect(short, 0, "it takes another one")
	expect(long, 2, "it is gone, with one in hand")
	take()
	worker := nats.NewInbox()
	answers, err := work.NATS.SubscribeSync(worker)
	if err != nil {
		t.Fatal(err)
	}
	pull := []byte(`{"batch":1,"expires":60000000000}`)
	if err := work.NATS.PublishRequest("$JS.API.CONSUMER.MSG.NEXT.LINEPAY_COMMANDS.linepay-worker-jp", worker, pull); err != nil {
		t.Fatal(err)
	}
	stands(func(c *jetstream.ConsumerInfo) bool { return c.NumWaiting == 1 })
	expect(long, 0, "a worker has nothing to do, and waits for a command")
	expect(long, 0, "it still does")
	if err := answers.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	stands(func(c *jetstream.ConsumerInfo) bool { return c.NumWaiting == 0 })
	expect(short, 0, "it has just gone")
	expect(time.Second, 2, "it is gone")
	if _, err := js.PauseConsumer(t.Context(), "LINEPAY_COMMANDS", consumed.Durable, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	expect(long, 0, "an operator has paused the channel")
	b.served = func() []string { return []string{"jp"} }
	expect(long, 0, "this worker serves it")
}
