package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/consumer"
	"linepay-worker/consumer/consumertest"
	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
	"linepay-worker/publisher"
	"linepay-worker/schemas"
)

// Its event is a ledger's word on how often LINE Pay was asked to move the money.
func TestCallThatWasNotSentIsNotCountedAfterAReplay(t *testing.T) {
	t.Parallel()
	d := newDesk(t, impatient)
	o, tx := d.unsent()
	d.finish(o)
	if e := d.wantAnswer("A", schemas.EventCaptured); e.Data.Calls != 1 {
		t.Errorf("captured after %d calls, want 1", e.Data.Calls)
	}
	d.wantEffects(tx, "confirm 100")
}

// letters are the dead letters that there are.
func (l *line) letters() []*jetstream.RawStreamMsg {
	l.t.Helper()
	return consumertest.Collect(l.t, l.js, schemas.StreamDeadLetters, schemas.SubjectsDeadLetters)
}

// outage is a way to LINE Pay that can be cut: connections are refused, or nobody answers.
type outage struct {
	http.RoundTripper
	refused, silent atomic.Bool
}

// newOutage cuts nothing at first.
func newOutage(t *testing.T) *outage {
	t.Helper()
	closed, err := net.Listen("tcp", "127.0.0.1:0") // a port that nobody has listened on since
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	o := &outage{}
	transport := &http.Transport{DisableKeepAlives: true}
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if o.refused.Load() {
			address = closed.Addr().String()
		}
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	o.RoundTripper = transport
	return o
}

func (o *outage) RoundTrip(r *http.Request) (*http.Response, error) {
	if o.silent.Load() {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	return o.RoundTripper.RoundTrip(r)
}

// However LINE Pay is down, and for however long: the breaker stops the pulling, the commands stay, and their budget stands still.
func TestOutageLongerThanTheRetryBudgetParksNothing(t *testing.T) {
	t.Parallel()
	const budget = time.Second
	faulty := func(f simulator.Fault) func(*line, *outage) (mend func()) {
		return func(l *line, _ *outage) func() {
			l.fault(f)
			return l.pay.Sim.ClearFaults
		}
	}
	cut := func(way func(*outage) *atomic.Bool) func(*line, *outage) (mend func()) {
		return func(_ *line, o *outage) func() {
			way(o).Store(true)
			return func() { way(o).Store(false) }
		}
	}
	for name, begin := range map[string]func(*line, *outage) (mend func()){
		"refused connections": cut(func(o *outage) *atomic.Bool { return &o.refused }),
		"timeouts":            cut(func(o *outage) *atomic.Bool { return &o.silent }),
		"5xx":                 faulty(simulator.Fault{Kind: simulator.KindHTTP500, Count: 1_000_000, When: simulator.Before}),
		"1106":                faulty(simulator.Fault{Kind: simulator.KindCode, Code: "1106", Count: 1_000_000, When: simulator.Before}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, way := newLine(t), newOutage(t)
			l.cfg = func(cfg *consumer.Config) {
				client, err := payClient(l.pay.URL, way)
				if err != nil {
					t.Fatal(err)
				}
				cfg.LINEPay, cfg.RetryBudget, cfg.RetryMax = client, budget, budget
			}
			ids := l.payments(20)
			mend := begin(l, way)
			l.start()
			var commands []string
			for i, id := range ids {
				commands = append(commands, l.send(linepay.Confirm, confirmData(id, fmt.Sprintf("ORDER-%d", i))))
			}
			l.cutOffFor(2 * budget)
			if n := len(l.letters()); n != 0 {
				t.Errorf("%d dead letters during the outage", n)
			}
			mend()
			for i, id := range ids {
				l.done(commands[i], schemas.EventCaptured)
				l.wantEffects(id, "confirm 100")
			}
			if n := len(l.letters()); n != 0 {
				t.Errorf("%d dead letters", n)
			}
			l.agree()
		})
	}
}

// cutOffFor waits until the breaker has kept the commands from LINE Pay for a while.
func (l *line) cutOffFor(while time.Duration) {
	l.t.Helper()
	var since time.Time
	if !consumertest.Eventually(l.t, func(ctx context.Context) bool {
		err := l.last.Ready(ctx)
		if err == nil || !strings.Contains(err.Error(), "the circuit breaker is ") {
			since = time.Time{}
			return false
		}
		if since.IsZero() {
			since = time.Now()
		}
		return time.Since(since) > while
	}) {
		l.t.Fatalf("the breaker does not stay open: %v", l.last.Ready(l.t.Context()))
	}
}

func TestCommandStaysWhileTheDeadLettersAreFull(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	limit := func(size int64) {
		stream, err := l.js.Stream(t.Context(), schemas.StreamDeadLetters)
		if err != nil {
			t.Fatal(err)
		}
		config := stream.CachedInfo().Config
		config.MaxBytes = size
		if _, err := l.js.UpdateStream(t.Context(), config); err != nil {
			t.Fatal(err)
		}
	}
	limit(1)
	l.start()
	l.publish(linepay.Refund, []byte("not JSON"))
	var ready error
	if !consumertest.Eventually(t, func(ctx context.Context) bool {
		ready = l.last.Ready(ctx)
		return ready != nil && strings.Contains(ready.Error(), "what is done cannot be told: ") && strings.Contains(ready.Error(), "maximum bytes exceeded")
	}) {
		t.Fatalf("readiness is %v, want why the dead letter is not stored", ready)
	}
	if waiting := consumertest.Collect(t, l.js, schemas.StreamCommands, schemas.SubjectsCommands); len(waiting) != 1 || len(l.letters()) != 0 {
		t.Errorf("%d commands wait and %d are parked, want 1 and 0", len(waiting), len(l.letters()))
	}
	limit(-1)
	l.idle()
	if letters := l.letters(); len(letters) != 1 || string(letters[0].Data) != "not JSON" {
		t.Errorf("dead letters: %+v", letters)
	}
	if err := l.last.Ready(t.Context()); err != nil {
		t.Errorf("ready again: %v", err)
	}
}

func TestCrashBetweenParkingAndAcknowledgingLeavesOneDeadLetter(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	l.publish(linepay.Refund, []byte("not JSON"))
	l.crashAfter("park", linepay.Refund)
	if n := len(l.letters()); n != 1 {
		t.Fatalf("%d dead letters when it died, want 1", n)
	}
	l.start()
	l.idle()
	if n := len(l.letters()); n != 1 {
		t.Errorf("%d dead letters, want 1", n)
	}
}

// The largest command that LINEPAY_COMMANDS takes is parked whole. Replaying it needs room for two headers: one that is so much smaller comes
// back as it was, and of the largest one the replay is refused, with the remedy, and its dead letter stays.
func TestLargestCommandIsParkedWholeAndReplayedIfItsHeadersFit(t *testing.T) {
	t.Parallel()
	l := startLine(t)
	msg := nats.NewMsg(schemas.CommandSubject("tw", linepay.Refund))
	msg.Header.Set("X-Kept", "yes")
	const room = 200 // what the headers of a replay take
	overhead := len("NATS/1.0\r\nX-Kept: yes\r\n\r\n")
	var sizes []int
	for _, size := range []int{schemas.MaxCommandBytes, schemas.MaxCommandBytes - room} {
		msg.Data = []byte(strings.Repeat("x", size-overhead))
		sizes = append(sizes, len(msg.Data))
		if _, err := l.js.PublishMsg(t.Context(), msg); err != nil {
			t.Fatal(err)
		}
	}
	msg.Data = append(msg.Data, make([]byte, room+1)...)
	if _, err := l.js.PublishMsg(t.Context(), msg); err == nil {
		t.Error("a larger one is taken")
	}
	l.idle()
	parked := func() (sizes []int) {
		for _, letter := range l.letters() {
			if letter.Header.Get("X-Kept") != "yes" {
				t.Errorf("a header is lost: %v", letter.Header)
			}
			sizes = append(sizes, len(letter.Data))
		}
		slices.Sort(sizes)
		slices.Reverse(sizes)
		return sizes
	}
	if got := parked(); !slices.Equal(got, sizes) {
		t.Fatalf("bodies of %d bytes are parked, want %d", got, sizes)
	}
	letters, err := publisher.NewLetters(t.Context(), l.js)
	if err != nil {
		t.Fatal(err)
	}
	for _, number := range []uint64{1, 2} {
		letter, err := letters.Get(t.Context(), number)
		if err != nil {
			t.Fatal(err)
		}
		_, err = letters.Replay(t.Context(), letter)
		refused, tooLarge := errors.AsType[*publisher.RefusedError](err)
		switch largest := len(letter.Body) == sizes[0]; {
		case largest && !tooLarge:
			t.Errorf("replay of the largest: %v, want a refusal", err)
		case largest && !strings.Contains(refused.Error(), "--max-msg-size"):
			t.Errorf("the refusal does not tell the remedy: %v", refused)
		case !largest && err != nil:
			t.Errorf("replay of one that is %d bytes smaller: %v", room, err)
		}
	}
	l.idle() // and parked again
	if got := parked(); !slices.Equal(got, sizes) {
		t.Errorf("after the replay bodies of %d bytes are parked, want %d", got, sizes)
	}
}
