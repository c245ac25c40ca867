package consumer_test

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"linepay-worker/consumer"
	"linepay-worker/consumer/consumertest"
	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
	"linepay-worker/schemas"
)

// record keeps what a worker logs.
type record struct {
	mu    sync.Mutex
	lines bytes.Buffer
}

func (r *record) Write(line []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lines.Write(line)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lines.String()
}

// An operator pauses a channel with JetStream's own pause. To a worker that is a stream without new commands, and nothing to complain of.
func TestPausedChannelRestsWithoutTroubleAndGoesOnWhenItIsResumed(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	logged := &record{}
	l.cfg = func(c *consumer.Config) { c.Logger = zerolog.New(logged).Level(zerolog.WarnLevel) }
	l.start()
	l.confirmed("ORDER-A")
	name := consumer.ConsumerName("tw")
	if _, err := l.js.PauseConsumer(t.Context(), schemas.StreamCommands, name, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	id := l.pay.Paid(t, "ORDER-B", "100", "TWD", true)
	calls := l.calls(linepay.Confirm)
	command := l.send(linepay.Confirm, confirmData(id, "ORDER-B"))
	l.pullsAgain(3)
	if err := l.last.Ready(t.Context()); err != nil || l.calls(linepay.Confirm) != calls {
		t.Errorf("while its channel is paused, the worker is not ready (%v), or it calls (%d)", err, l.calls(linepay.Confirm)-calls)
	}

	// A worker that starts leaves the pause as it is.
	l.start()
	l.pullsAgain(3)
	found, err := l.js.Consumer(t.Context(), schemas.StreamCommands, name)
	if err != nil || !found.CachedInfo().Paused || found.CachedInfo().NumPending != 1 || l.calls(linepay.Confirm) != calls {
		t.Fatalf("after the start of a worker, the consumer is %+v (error %v)", found.CachedInfo(), err)
	}

	if _, err := l.js.ResumeConsumer(t.Context(), schemas.StreamCommands, name); err != nil {
		t.Fatal(err)
	}
	l.done(command, schemas.EventCaptured)
	l.idle()
	l.agree()
	if lines := logged.String(); strings.TrimSpace(lines) != "" {
		t.Errorf("a pause is a worker's trouble:\n%s", lines)
	}
}

// What LINE Pay has been asked for when the pause comes is carried out, told and acknowledged.
func TestCallThatIsInFlightWhenItsChannelIsPausedGoesOn(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	l.cfg = func(cfg *consumer.Config) { // patience: a call that is given up would be looked up after the pause
		channel := simulator.DefaultChannel()
		client, err := linepay.New(linepay.Config{BaseURL: l.pay.URL, ChannelID: channel.ID, Secret: channel.Secret, ReadTimeout: 20 * time.Second})
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(client.CloseIdle)
		cfg.LINEPay, cfg.ShutdownGrace = client, 30*time.Second
	}
	l.start()
	id := l.pay.Paid(t, "ORDER-A", "100", "TWD", true)
	l.fault(simulator.Fault{Operation: linepay.Confirm, Kind: simulator.KindDelay, Delay: readTimeout / 2})
	command := l.send(linepay.Confirm, confirmData(id, "ORDER-A"))
	if !consumertest.Eventually(t, func(context.Context) bool { return l.calls(linepay.Confirm) == 1 }) {
		t.Fatal("LINE Pay is not called")
	}
	if _, err := l.js.PauseConsumer(t.Context(), schemas.StreamCommands, consumer.ConsumerName("tw"), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	l.done(command, schemas.EventCaptured)
	l.idle()
	l.wantEffects(id, "confirm 100")
}

// pullsAgain waits until workers have asked for commands so many times more: a pull that found nothing is followed by the next.
func (l *line) pullsAgain(times int) {
	l.t.Helper()
	pulls, err := l.js.Conn().SubscribeSync("$JS.API.CONSUMER.MSG.NEXT." + schemas.StreamCommands + ".>")
	if err != nil {
		l.t.Fatal(err)
	}
	defer func() { _ = pulls.Unsubscribe() }()
	for range times {
		if _, err := pulls.NextMsg(20 * time.Second); err != nil {
			l.t.Fatalf("no pull: %v", err)
		}
	}
}
