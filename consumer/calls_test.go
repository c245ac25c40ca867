package consumer_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"linepay-worker/consumer"
	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
	"linepay-worker/schemas"
)

// What LINE Pay's answer to a call leads to.

func TestCallThatWasCertainlyNotSentLeavesNoDoubt(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	o, tx := d.ready("C", linepay.Confirm)
	d.wire.cut = func(*http.Request) bool { return true }
	d.expect(o, consumer.Retry, "not sent")
	d.wire.cut = nil
	o.delivery = 2
	d.expect(o, consumer.Ack, "captured")
	d.wantCalls("GET", "", 0)
	if e := d.answer("C"); e.Data.Calls != 1 {
		t.Errorf("%d calls are told, want the one that was sent", e.Data.Calls)
	}
	d.wantEffects(tx, "confirm 100")
}

// The channel is suspended, and every try says so. It costs the command nothing.
func TestSuspendedChannelCostsNoBudget(t *testing.T) {
	t.Parallel()
	d := newDesk(t, shortBudget)
	for _, op := range []linepay.Operation{linepay.Confirm, linepay.Refund} {
		o, _ := d.ready(string(op), op)
		struck := op
		if op == linepay.Refund {
			struck = linepay.Details // the reading before it is refused just the same
		}
		for range 4 {
			d.fault(simulator.Fault{Operation: struck, Kind: simulator.KindCode, Code: "1106"})
			d.expect(o, consumer.Wait, "LINE Pay does not accept the channel: 1106")
			o.delivery = max(o.delivery, 1) + 1
			if err := d.worker.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "1106") {
				t.Errorf("ready says %v after one refusal of the channel, want the breaker and 1106", err)
			}
			d.untilProbed()
		}
		d.expect(o, consumer.Ack, map[linepay.Operation]string{linepay.Confirm: "captured", linepay.Refund: "refunded"}[op])
	}
	d.wantCalls("GET", "/v3/payments", 5) // the refund's own: nothing was in doubt
}

// An earlier call may have landed after the look-up that let this one go, and then the refusal is about the second call only.
func TestRefusalAfterAnEarlierCallIsLookedInto(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for _, late := range []bool{false, true} {
		o, tx := d.ready(map[bool]string{false: "NEVER", true: "LATE"}[late], linepay.Confirm)
		d.claim(o, "")
		o.delivery = 2
		fate := d.expect(o, consumer.Wait, "in doubt: too early")
		<-time.After(fate.After)
		d.fault(simulator.Fault{Operation: linepay.Confirm, Kind: simulator.KindCode, Code: "1142"})
		d.expect(o, consumer.Retry, "outcome unknown")
		before := d.calls("POST", "/confirm")
		if late {
			if _, err := d.pay.Client(t).Confirm(t.Context(), tx, linepay.MustAmount("100"), "TWD"); err != nil {
				t.Fatal(err)
			}
		}
		d.finish(o)
		if late {
			d.wantAnswer("LATE", schemas.EventCaptured)
			d.wantEffects(tx, "confirm 100")
			continue
		}
		failed := d.wantAnswer("NEVER", schemas.EventFailed)
		if failed.Data.ReturnCode != "1142" || failed.Data.SettledBy != schemas.SettledByLookup || failed.Data.Calls != 2 {
			t.Errorf("failed with %q by %s after %d calls, want 1142 by look-up after 2", failed.Data.ReturnCode, failed.Data.SettledBy, failed.Data.Calls)
		}
		d.wantCalls("POST", "/confirm", before) // and no third call
		d.wantEffects(tx)
	}
}

// LINE Pay says that it is done already, and shows nothing of ours: that is its last word, and no loop.
func TestAnswerThatSaysAlreadyStandsWhereNothingIsFound(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for _, c := range []struct {
		op   linepay.Operation
		code string
		want string
	}{
		{linepay.Confirm, "1172", schemas.EventFailed},
		{linepay.Confirm, "1198", schemas.EventFailed},
		{linepay.Request, "1172", schemas.EventFailed},
		// No money moves, so there is nothing to find: still running is no last word there.
		{linepay.Request, "1198", schemas.EventRequested},
		{linepay.Request, "1145", schemas.EventRequested},
		// These say nothing about the call: it is made again.
		{linepay.Confirm, "9000", schemas.EventCaptured},
		{linepay.Confirm, "1199", schemas.EventCaptured},
	} {
		id := string(c.op) + c.code
		o := order{id: id, op: linepay.Request, data: requestData(t, "ORDER-"+id)}
		if c.op == linepay.Confirm {
			o, _ = d.ready(id, c.op)
		}
		d.fault(simulator.Fault{Operation: c.op, Kind: simulator.KindCode, Code: c.code})
		d.finish(o)
		e := d.wantAnswer(id, c.want)
		if c.want == schemas.EventFailed && (e.Data.ReturnCode != c.code || e.Data.SettledBy != schemas.SettledByLookup || !strings.Contains(e.Data.Reason, "found nothing")) {
			t.Errorf("%s: failed with %q by %s: %s", id, e.Data.ReturnCode, e.Data.SettledBy, e.Data.Reason)
		}
		if c.want != schemas.EventFailed && e.Data.Calls != 2 {
			t.Errorf("%s: %d calls are told, want 2", id, e.Data.Calls)
		}
	}
}

// The budget.

func TestBudgetOfRetriesEndsInDeadLetters(t *testing.T) {
	t.Parallel()
	d := newDesk(t, shortBudget)
	request := order{id: "REQUEST", op: linepay.Request, data: requestData(t, "ORDER-R")}
	d.fault(simulator.Fault{Operation: linepay.Request, Kind: simulator.KindHTTP500, Count: -1})
	d.finish(request)
	d.pay.Sim.ClearFaults()
	if e := d.wantAnswer("REQUEST", schemas.EventParked); e.Data.MoneyMoved != schemas.MoneyMovedNo {
		t.Errorf("a request is said to have moved %q money", e.Data.MoneyMoved)
	}

	// A look-up has just shown that nothing happened, and the call after it was certainly not sent.
	o, tx := d.ready("PROVEN", linepay.Confirm)
	d.claim(o, "")
	o.delivery = 2
	d.wire.cut = func(r *http.Request) bool { return r.Method == http.MethodPost }
	d.finish(o)
	if e := d.wantAnswer("PROVEN", schemas.EventParked); e.Data.MoneyMoved != schemas.MoneyMovedNo {
		t.Errorf("money moved is %q: it was proved that none did", e.Data.MoneyMoved)
	}
	d.wantEffects(tx)
}

// A proof is on record: when the call after it is not sent, the next try need not look again.
func TestProofThatNothingHappenedIsRecorded(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	o, tx := d.ready("C", linepay.Confirm)
	d.claim(o, "")
	o.delivery = 2
	d.wire.cut = func(r *http.Request) bool { return r.Method == http.MethodPost }
	fate := d.expect(o, consumer.Wait, "in doubt: too early")
	<-time.After(fate.After)
	d.expect(o, consumer.Retry, "not sent")
	d.wire.cut = nil
	looked := d.calls("GET", "")
	d.expect(o, consumer.Ack, "captured")
	d.wantCalls("GET", "", looked)
	d.wantEffects(tx, "confirm 100")
}

// Time.

func TestNothingHappenedIsNotBelievedWhileACallMayBeUnderWay(t *testing.T) {
	t.Parallel()
	d := newDesk(t, func(c *consumer.Config) { c.LookupMargin = time.Hour })
	o, _ := d.ready("C", linepay.Confirm)
	d.claim(o, "")
	o.delivery, o.stored = 2, time.Now().Add(-24*time.Hour) // the age of the command says nothing about its call
	if fate := d.expect(o, consumer.Wait, "in doubt: too early"); fate.After < 59*time.Minute || fate.After > time.Hour+2*time.Second {
		t.Errorf("it comes back after %s, want the margin", fate.After)
	}
	d.wantCalls("POST", "", 0)

	// Nor is it believed that a payment is over: the call may still be on its way.
	gone, tx := d.ready("GONE", linepay.Confirm)
	if err := d.pay.Sim.Cancel(tx); err != nil {
		t.Fatal(err)
	}
	d.claim(gone, "")
	gone.delivery = 2
	d.expect(gone, consumer.Wait, "in doubt: too early")

	// What moves no money need not wait.
	request := order{id: "REQUEST", op: linepay.Request, data: requestData(t, "ORDER-R")}
	d.claim(request, "")
	request.delivery = 2
	d.expect(request, consumer.Ack, "requested")
}

// A look-up may take longer than a call: the call after it has its own time, counted from the proof.
func TestCallAfterALongLookUpHasItsFullTime(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	o, _ := d.ready("C", linepay.Confirm)
	d.claim(o, "")
	o.delivery = 2
	fate := d.expect(o, consumer.Wait, "in doubt: too early")
	<-time.After(fate.After)
	d.shelf.reading = func(context.Context) error {
		<-time.After(2*deskTimeout + 50*time.Millisecond) // longer than a call may take
		return nil
	}
	d.expect(o, consumer.Ack, "captured")
}

// A history that never comes must not outlive the claim.
func TestLookUpEndsWithItsClaim(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	o, _ := d.ready("C", linepay.Confirm)
	d.claim(o, "")
	o.delivery = 2
	d.shelf.reading = func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Second):
			return nil
		}
	}
	d.expect(o, consumer.Retry, "events of the order cannot be read")
	d.wantCalls("", "", 0)
}

func TestWithoutTheOrdersEventsNothingIsCalled(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.shelf.reading = func(context.Context) error { return errNoBus }
	doubtful, _ := d.ready("DOUBT", linepay.Confirm)
	d.claim(doubtful, "")
	doubtful.delivery = 2
	d.expect(doubtful, consumer.Retry, "events of the order cannot be read")
	refund, _ := d.ready("REFUND", linepay.Refund)
	d.expect(refund, consumer.Retry, "not sent")
	d.wantCalls("", "", 0)
}

// The breaker.

// struck lets a command fail so often that the breaker opens, and says whether it did.
func (d *desk) struck(o order, times int) (open bool) {
	d.t.Helper()
	for range times {
		fate := d.deliver(o)
		if fate.Why == "breaker open" {
			return true
		}
		o.delivery = max(o.delivery, 1) + 1
	}
	return d.worker.Ready(d.t.Context()) != nil && strings.Contains(d.worker.Ready(d.t.Context()).Error(), "breaker")
}

func TestBreakerOpensForFaultsOfLINEPayAndOfTheChannelAlone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		op      linepay.Operation
		fault   simulator.Fault
		unsent  bool
		opens   bool
		doubted bool
	}{
		{name: "no answer", op: linepay.Request, fault: simulator.Fault{Kind: simulator.KindHTTP500}, opens: true},
		{name: "internal error", op: linepay.Request, fault: simulator.Fault{Kind: simulator.KindCode, Code: "9000"}, opens: true},
		{name: "channel", op: linepay.Request, fault: simulator.Fault{Kind: simulator.KindCode, Code: "1104"}, opens: true},
		{name: "not sent", op: linepay.Request, unsent: true, opens: true},
		{name: "a code about the command", op: linepay.Request, fault: simulator.Fault{Kind: simulator.KindCode, Code: "1199"}},
		{name: "a code never seen", op: linepay.Request, fault: simulator.Fault{Kind: simulator.KindCode, Code: "7777"}},
		{name: "a look-up without an answer", op: linepay.Confirm, fault: simulator.Fault{Operation: linepay.Details, Kind: simulator.KindHTTP500}, doubted: true, opens: true},
		{name: "a reading before a refund", op: linepay.Refund, fault: simulator.Fault{Operation: linepay.Details, Kind: simulator.KindHTTP500}, opens: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, func(cfg *consumer.Config) { cfg.RetryMin, cfg.RetryMax = time.Second, time.Second })
			o := order{id: "C", op: c.op, data: requestData(t, "ORDER-C")}
			if c.op != linepay.Request {
				o, _ = d.ready("C", c.op)
			}
			if c.doubted {
				d.claim(o, "")
				o.delivery = 2
			}
			if c.fault.Kind != "" {
				c.fault.Count = -1
				d.fault(c.fault)
			}
			d.wire.cut = func(*http.Request) bool { return c.unsent }
			if open := d.struck(o, 12); open != c.opens {
				t.Errorf("the breaker is open: %v, want %v", open, c.opens)
			}
		})
	}
}

// Each channel has a breaker of its own kind.
func TestBreakerOpensAfterTheFaultsAndForThePauseOfItsChannel(t *testing.T) {
	t.Parallel()
	d := newDesk(t, func(cfg *consumer.Config) { cfg.BreakerFaults, cfg.BreakerPause = 3, time.Hour })
	o, _ := d.ready("C", linepay.Confirm)
	d.fault(simulator.Fault{Operation: linepay.Request, Kind: simulator.KindHTTP500, Count: 2})
	failing := order{id: "FAILING", op: linepay.Request, data: requestData(t, "ORDER-F")}
	if d.struck(failing, 2) {
		t.Error("the breaker is open after two faults")
	}
	d.fault(simulator.Fault{Operation: linepay.Request, Kind: simulator.KindHTTP500, Count: -1})
	failing.id, failing.data = "FAILING-2", requestData(t, "ORDER-F2")
	if !d.struck(failing, 3) {
		t.Error("the breaker is not open after three faults in a row")
	}
	d.expect(o, consumer.Wait, "breaker open")
	if err := d.worker.SetSecret("another-secret"); err != nil || d.worker.SetSecret("") == nil {
		t.Fatalf("another secret is refused (%v), or none is taken", err)
	}
	if err := d.worker.Ready(t.Context()); err != nil && strings.Contains(err.Error(), "breaker") {
		t.Errorf("with another secret: %v", err)
	}
}

// What the breaker keeps back was not sent: it costs nothing, and nobody looks for it afterwards.
func TestCommandThatTheBreakerKeepsBackIsNotInDoubt(t *testing.T) {
	t.Parallel()
	d := newDesk(t, func(cfg *consumer.Config) {
		cfg.RetryMin, cfg.RetryMax, cfg.RetryBudget = 20*time.Millisecond, 20*time.Millisecond, time.Hour
	})
	o, tx := d.ready("C", linepay.Confirm)
	d.fault(simulator.Fault{Operation: linepay.Request, Kind: simulator.KindHTTP500, Count: 10})
	if !d.struck(order{id: "FAILING", op: linepay.Request, data: requestData(t, "ORDER-F")}, 10) {
		t.Fatal("the breaker is not open")
	}
	d.expect(o, consumer.Wait, "breaker open")
	o.delivery = 2
	d.finish(o)
	d.wantCalls("GET", "", 0)
	if e := d.wantAnswer("C", schemas.EventCaptured); e.Data.Calls != 1 {
		t.Errorf("%d calls are told", e.Data.Calls)
	}
	d.wantEffects(tx, "confirm 100")
}

// After its pause the breaker lets one command try; the others keep waiting.
func TestBreakerLetsOneCommandTry(t *testing.T) {
	t.Parallel()
	d := newDesk(t, func(cfg *consumer.Config) { cfg.RetryMin, cfg.RetryMax = 20*time.Millisecond, 20*time.Millisecond })
	first, _ := d.ready("FIRST", linepay.Confirm)
	second, _ := d.ready("SECOND", linepay.Confirm)
	d.fault(simulator.Fault{Operation: linepay.Request, Kind: simulator.KindHTTP500, Count: 10})
	if !d.struck(order{id: "FAILING", op: linepay.Request, data: requestData(t, "ORDER-F")}, 10) {
		t.Fatal("the breaker is not open")
	}
	trying, tried := make(chan struct{}), make(chan struct{})
	d.wire.before = func(*http.Request) {
		close(trying)
		<-tried
	}
	ended := make(chan consumer.Fate)
	go func() {
		for {
			fate := d.worker.Handle(t.Context(), first.message(t))
			if fate.Why != "breaker open" {
				ended <- fate
				return
			}
			<-time.After(fate.After)
			first.delivery = 2
		}
	}()
	<-trying
	fate := d.deliver(second)
	d.wire.before = nil
	close(tried)
	if fate.Kind != consumer.Wait || fate.Why != "breaker open" {
		t.Errorf("the second command's fate is %s: %s", fate.Kind, fate.Why)
	}
	if fate := <-ended; fate.Kind != consumer.Ack {
		t.Errorf("the first command's fate is %s: %s (%v)", fate.Kind, fate.Why, fate.Err)
	}
}
