package consumer_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"linepay-worker/consumer"
	"linepay-worker/consumer/consumertest"
	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
	"linepay-worker/schemas"
)

// The event stream proves what Redis has forgotten.
func TestWhatWasDoneBeforeAFlushIsDuplicateAfterIt(t *testing.T) {
	t.Parallel()
	l := startLine(t)
	id := l.confirmed("ORDER-1")
	l.done(l.send(linepay.Refund, refundData(id, "ORDER-1", "10", "R-1")), schemas.EventRefunded)
	l.redis.FlushAll()
	l.done(l.send(linepay.Refund, refundData(id, "ORDER-1", "20", "R-2")), schemas.EventRefunded)
	l.believed()
	l.done(l.send(linepay.Refund, refundData(id, "ORDER-1", "10", "R-1")), schemas.EventDuplicate)
	l.done(l.send(linepay.Refund, refundData(id, "ORDER-1", "11", "R-1")), schemas.EventRejected)
	l.done(l.send(linepay.Confirm, confirmData(id, "ORDER-1")), schemas.EventDuplicate)
	l.wantEffects(id, "confirm 100", "refund 10", "refund 20")
	l.agree()
}

// believed waits until Redis' memory is made up for: then a command that has no past needs no look-up.
func (l *line) believed() {
	l.t.Helper()
	for n := 0; ; n++ {
		order := fmt.Sprintf("PROBE-%d", n)
		id := l.pay.Paid(l.t, order, "100", "TWD", true)
		e := l.done(l.send(linepay.Confirm, confirmData(id, order)), schemas.EventCaptured)
		if e.Data.SettledBy == schemas.SettledByResponse {
			return
		}
		if n > 100 {
			l.t.Fatal("Redis' memory is never believed again")
		}
	}
}

// The answer to the first command's call was lost with the worker, and with Redis' memory goes the claim. The second must not be called
// before it is certain what the first did.
func TestSecondCommandIsNotCalledWhileTheFirstMayBeUnderWayWhenRedisForgets(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	stop := l.start()
	id := l.confirmed("ORDER-1")
	l.fault(simulator.Fault{Operation: linepay.Refund, Kind: simulator.KindDrop, When: simulator.After})
	first := l.send(linepay.Refund, refundData(id, "ORDER-1", "10", "R-1"))
	if !consumertest.Eventually(t, func(context.Context) bool { return len(l.effects(id)) == 2 }) {
		t.Fatal("the refund was not carried out")
	}
	l.redis.FlushAll()
	second := l.send(linepay.Refund, refundData(id, "ORDER-1", "10", "R-1"))
	stop()
	l.start()
	l.idle()
	l.wantEffects(id, "confirm 100", "refund 10")
	names := map[string]int{}
	for _, e := range l.events() {
		if c := e.Data.Command.ID; c == first || c == second {
			names[e.Name()]++
		}
	}
	if names[schemas.EventRefunded] != 1 || names[schemas.EventDuplicate] != 1 {
		t.Errorf("events %v, want one refunded and one duplicate", names)
	}
	l.agree()
}

// A worker that is told to stop gives back what it has not claimed, and the next one need not look up what certainly was not called.
func TestCommandThatWasHandedBackIsNotLookedUp(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	l.cfg = func(cfg *consumer.Config) { cfg.Rate = 1 }
	stop := l.start()
	var commands []string
	for i := range 4 {
		order := fmt.Sprint("ORDER-", i)
		commands = append(commands, l.send(linepay.Confirm, confirmData(l.pay.Paid(t, order, "100", "TWD", true), order)))
	}
	l.done(commands[0], schemas.EventCaptured)
	stop()
	l.cfg = nil
	l.start()
	for _, command := range commands {
		if e := l.done(command, schemas.EventCaptured); e.Data.SettledBy != schemas.SettledByResponse {
			t.Errorf("%s was settled by %s", command, e.Data.SettledBy)
		}
	}
	if n := l.calls(linepay.Details); n > 0 {
		t.Errorf("%d look-ups", n)
	}
}

// What the events say about an earlier command must not put an end to the doubt about a later one.
func TestRestartDoesNotForgetADoubtOverAnOlderParking(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	stop := l.start()
	id := l.confirmed("ORDER-1")
	stop()
	l.cfg = func(c *consumer.Config) { c.RetryMax, c.RetryBudget = 100*time.Millisecond, 100*time.Millisecond }
	l.fault(simulator.Fault{Operation: linepay.Details, Kind: simulator.KindCode, Code: "1900", Count: -1, When: simulator.Before})
	stop = l.start()
	if e := l.done(l.send(linepay.Refund, refundData(id, "ORDER-1", "10", "R-1")), schemas.EventParked); e.Data.MoneyMoved != schemas.MoneyMovedNo {
		t.Fatalf("money moved: %s", e.Data.MoneyMoved)
	}
	stop()
	l.pay.Sim.ClearFaults()
	l.cfg = func(c *consumer.Config) { c.RetryMin, c.RetryMax = 2*time.Second, 4*time.Second }
	l.fault(simulator.Fault{Operation: linepay.Refund, Kind: simulator.KindDrop, When: simulator.After})
	stop = l.start()
	l.send(linepay.Refund, refundData(id, "ORDER-1", "10", "R-1"))
	if !consumertest.Eventually(t, func(context.Context) bool { return len(l.effects(id)) == 2 }) {
		t.Fatal("the refund was not carried out")
	}
	stop()
	l.cfg = nil
	l.start()
	l.idle()
	l.wantEffects(id, "confirm 100", "refund 10")
	l.agree()
}

// JetStream's consumer knows what it has delivered. One that was made anew, just when Redis forgot, does not: what is older than it may have
// been called.
func TestConsumerMadeAnewAfterAFlushTakesNothingForFresh(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	stop := l.start()
	id := l.pay.Paid(t, "ORDER-1", "100", "TWD", true)
	l.done(l.send(linepay.Confirm, confirmData(id, "ORDER-1")), schemas.EventCaptured)
	stop()
	refund := l.send(linepay.Refund, refundData(id, "ORDER-1", "10", "R-1"))
	l.crashAfter("call", linepay.Refund)
	l.redis.FlushAll()
	if err := l.js.DeleteConsumer(t.Context(), schemas.StreamCommands, consumer.ConsumerName("tw")); err != nil {
		t.Fatal(err)
	}
	l.start()
	l.done(refund, schemas.EventRefunded)
	l.idle()
	l.wantEffects(id, "confirm 100", "refund 10")
	l.agree()
}
