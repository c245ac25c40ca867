package consumer_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"linepay-worker/consumer/consumertest"
	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
	"linepay-worker/schemas"
)

func TestWithoutRedisNothingIsCalledAndNothingIsLost(t *testing.T) {
	t.Parallel()
	l := startLine(t)
	before := l.calls(linepay.Confirm)
	ids := l.payments(20)
	l.redis.Stop()
	var commands []string
	for i, id := range ids {
		commands = append(commands, l.send(linepay.Confirm, confirmData(id, fmt.Sprintf("ORDER-%d", i))))
	}
	l.noticed()
	if n := l.calls(linepay.Confirm); n != before {
		t.Errorf("%d calls without Redis", n-before)
	}
	l.redis.Start()
	for i, id := range ids {
		l.done(commands[i], schemas.EventCaptured)
		l.wantEffects(id, "confirm 100")
	}
	l.idle()
	l.agree()
}

func TestWorkerGoesOnWhenNATSComesBack(t *testing.T) {
	t.Parallel()
	l := startLine(t)
	l.confirmed("ORDER-A")
	l.nats.Restart()
	var err error
	if !consumertest.Eventually(t, func(ctx context.Context) bool {
		// A request that goes down with the old server is never answered: ask again, soon.
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err = l.js.AccountInfo(ctx)
		return err == nil
	}) {
		t.Fatalf("NATS does not come back: %v", err)
	}
	l.confirmed("ORDER-B")
	l.agree()
}

// What LINE Pay carried out while Redis went away is told all the same, and once.
func TestEffectIsToldWhenRedisGoesAwayDuringTheCall(t *testing.T) {
	t.Parallel()
	l := startLine(t)
	id := l.pay.Paid(t, "ORDER-1", "100", "TWD", true)
	l.fault(simulator.Fault{Operation: linepay.Confirm, Kind: simulator.KindDelay, Delay: readTimeout / 2, When: simulator.After})
	command := l.send(linepay.Confirm, confirmData(id, "ORDER-1"))
	if !consumertest.Eventually(t, func(context.Context) bool { return len(l.effects(id)) == 1 }) {
		t.Fatal("the confirm was not carried out")
	}
	l.redis.Stop()
	l.done(command, schemas.EventCaptured)
	l.redis.Start()
	l.idle()
	l.wantEffects(id, "confirm 100")
	l.agree()
}

func TestStoppingWorkerFinishesWhatIsInFlight(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	stop := l.start()
	id := l.pay.Paid(t, "ORDER-1", "100", "TWD", true)
	l.fault(simulator.Fault{Operation: linepay.Confirm, Kind: simulator.KindDelay, Delay: readTimeout / 2, When: simulator.After})
	command := l.send(linepay.Confirm, confirmData(id, "ORDER-1"))
	if !consumertest.Eventually(t, func(context.Context) bool { return len(l.effects(id)) == 1 }) {
		t.Fatal("the confirm was not carried out")
	}
	stop() // fails the test if it does not return nil
	if e := l.done(command, schemas.EventCaptured); e.Data.SettledBy != schemas.SettledByResponse {
		t.Errorf("settled by %s: the call was cut off", e.Data.SettledBy)
	}
}

// While LINE Pay is down nothing is parked: the breaker keeps the commands in the stream.
func TestOutageOfLINEPayParksNothing(t *testing.T) {
	t.Parallel()
	l := startLine(t)
	ids := l.payments(30)
	l.fault(simulator.Fault{Kind: simulator.KindHTTP500, Count: 60, When: simulator.Before})
	var commands []string
	for i, id := range ids {
		commands = append(commands, l.send(linepay.Confirm, confirmData(id, fmt.Sprintf("ORDER-%d", i))))
	}
	for i, id := range ids {
		l.done(commands[i], schemas.EventCaptured)
		l.wantEffects(id, "confirm 100")
	}
	if letters := consumertest.Collect(t, l.js, schemas.StreamDeadLetters, "linepay.deadletters.>"); len(letters) != 0 {
		t.Errorf("%d dead letters", len(letters))
	}
	l.agree()
}

// payments are authenticated and wait for their confirms.
func (l *line) payments(n int) (ids []linepay.TransactionID) {
	l.t.Helper()
	for i := range n {
		ids = append(ids, l.pay.Paid(l.t, fmt.Sprintf("ORDER-%d", i), "100", "TWD", true))
	}
	return ids
}

// noticed waits until the worker has met a Redis that does not answer.
func (l *line) noticed() {
	l.t.Helper()
	if !consumertest.Eventually(l.t, func(ctx context.Context) bool {
		err := l.last.Ready(ctx)
		return err != nil && strings.Contains(err.Error(), "no answer from Redis")
	}) {
		l.t.Fatal("the worker has not noticed that Redis is away")
	}
}
