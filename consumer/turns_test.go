package consumer_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/consumer"
	"linepay-worker/idempotency"
	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
	"linepay-worker/schemas"
)

// backlog is LINEPAY_COMMANDS with what stands in it before a command, or with an error.
type backlog struct {
	jetstream.JetStream
	messages []*jetstream.RawStreamMsg
	err      error
}

func (b backlog) Stream(context.Context, string) (jetstream.Stream, error) {
	return backlogStream{messages: b.messages}, b.err
}

type backlogStream struct {
	jetstream.Stream
	messages []*jetstream.RawStreamMsg
}

func (b backlogStream) GetMsg(_ context.Context, from uint64, _ ...jetstream.GetMsgOpt) (*jetstream.RawStreamMsg, error) {
	for _, m := range b.messages {
		if m.Sequence >= from {
			return m, nil
		}
	}
	return nil, jetstream.ErrMsgNotFound
}

// A capture, a void or a refund that LINE Pay refuses may only have come before the confirm that is still in the stream.
func TestRefusalStandsUnlessAnEarlierCommandIsStillToCome(t *testing.T) {
	t.Parallel()
	at := func(sequence uint64, o order) []*jetstream.RawStreamMsg {
		m := o.message(t)
		return []*jetstream.RawStreamMsg{
			{Sequence: 1, Subject: "linepay.commands.tw.confirm", Data: []byte("unreadable")},
			{Sequence: sequence, Subject: m.Subject, Data: m.Body},
		}
	}
	confirm := order{id: "CONFIRM", op: linepay.Confirm, data: data{"transactionId": "7", "orderId": "O", "amount": "100", "currency": "TWD"}}
	other := confirm
	other.data = data{"transactionId": "8", "orderId": "O", "amount": "100", "currency": "TWD"}
	void := order{op: linepay.Void, data: data{"transactionId": "7", "orderId": "O"}}
	refund := order{op: linepay.Refund, data: refundData(7, "O", "10", "R-1")}
	const first = "an earlier command on the same payment goes first"
	for _, c := range []struct {
		name  string
		order order
		js    backlog
		why   string
	}{
		{"the confirm is in the stream", void, backlog{messages: at(3, confirm)}, first},
		{"the confirm is in the stream, and a refund shows nothing to refund", refund, backlog{messages: at(3, confirm)}, first},
		{"it stands behind", void, backlog{messages: at(9, confirm)}, "failed"},
		{"another payment's does", void, backlog{messages: at(3, other)}, "failed"},
		{"nothing does", void, backlog{}, "failed"},
		{"nobody can tell", void, backlog{err: errors.New("NATS is away")}, "failed"},
		{"a confirm comes after nothing", confirm, backlog{messages: at(3, confirm)}, "failed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, func(cfg *consumer.Config) { cfg.JetStream = c.js })
			d.wire.answer = func(*http.Request) string { return code("1150") }
			c.order.id, c.order.sequence = "C", 5
			if fate := d.deliver(c.order); fate.Why != c.why {
				t.Fatalf("the fate is %s: %s (%v), want %s", fate.Kind, fate.Why, fate.Err, c.why)
			}
			if c.why == first { // nothing was carried out, so the earlier command finds its way free
				d.wantVerbs()
				d.wire.answer = func(*http.Request) string { return `{"returnCode":"0000","info":{"transactionId":7}}` }
				d.expect(confirm, consumer.Ack, "captured")
			}
		})
	}
}

// A proof is on record, and the call it let go was not sent. The next call is refused: the first one of all may have landed since.
func TestRefusalOfALaterCallIsLookedIntoAlsoWithoutDoubt(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	o, tx := d.ready("C", linepay.Confirm)
	d.claim(o, "")
	<-time.After(deskTimeout + 10*time.Millisecond)
	o.delivery = 2
	d.wire.cut = func(r *http.Request) bool { return r.Method == http.MethodPost }
	d.expect(o, consumer.Retry, "not sent")
	d.wire.cut = nil
	d.fault(simulator.Fault{Operation: linepay.Confirm, Kind: simulator.KindCode, Code: "1142"})
	d.expect(o, consumer.Retry, "outcome unknown")
	if _, err := d.pay.Client(t).Confirm(t.Context(), tx, linepay.MustAmount("100"), "TWD"); err != nil { // it has
		t.Fatal(err)
	}
	d.expect(o, consumer.Ack, "captured")
	d.wantEffects(tx, "confirm 100")
}

// While LINE Pay is down the one command that tries now and then spends nothing of its budget.
func TestCommandThatProbesSpendsNothing(t *testing.T) {
	t.Parallel()
	d := newDesk(t, func(c *consumer.Config) {
		c.RetryMin, c.RetryMax, c.RetryBudget = 10*time.Millisecond, 10*time.Millisecond, time.Second
	})
	o, tx := d.ready("C", linepay.Confirm)
	claim, err := d.guard.Claim(t.Context(), d.request(o))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.guard.Release(t.Context(), claim, idempotency.Release{Unknown: true, Spend: 100 * time.Hour}); err != nil {
		t.Fatal(err)
	}
	d.fault(simulator.Fault{Operation: linepay.Request, Kind: simulator.KindHTTP500, Count: 10})
	if !d.struck(order{id: "FAILING", op: linepay.Request, data: requestData(t, "ORDER-F")}, 10) {
		t.Fatal("the breaker is not open")
	}
	d.fault(simulator.Fault{Operation: linepay.Details, Kind: simulator.KindHTTP500})
	o.delivery = 2
	fate := d.deliver(o)
	for fate.Why == "breaker open" {
		<-time.After(fate.After)
		fate = d.deliver(o)
	}
	if fate.Kind != consumer.Retry || fate.Why != "look-up failed" {
		t.Fatalf("the fate is %s: %s (%v)", fate.Kind, fate.Why, fate.Err)
	}
	if len(d.shelf.letters) != 0 {
		t.Error("it was parked")
	}
	d.wantEffects(tx)
}

// A worker died between publishing an answer and acknowledging the command, and Redis forgot both. The answer stands, and nothing may be
// called against it.
func TestCommandThatHasItsAnswerIsNotCalled(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for _, name := range []string{schemas.EventRejected, schemas.EventFailed, schemas.EventDuplicate} {
		o, tx := d.ready(name, linepay.Confirm)
		d.put(name, "", schemas.EventData{Operation: linepay.Confirm, OrderID: "ORDER-" + name, Command: schemas.CommandRef{Source: "/test", ID: name}})
		o.delivery = 2
		d.expect(o, consumer.Ack, "its event was stored already")
		d.wantEffects(tx)
	}
	d.wantCalls("", "", 0)

	// Of another command, or of another operation under the same id, it is no answer.
	o, tx := d.ready("C", linepay.Confirm)
	d.put(schemas.EventFailed, "1", schemas.EventData{Operation: linepay.Confirm, OrderID: "ORDER-C", Command: schemas.CommandRef{Source: "/test", ID: "OTHER"}})
	d.put(schemas.EventFailed, "2", schemas.EventData{Operation: linepay.Capture, OrderID: "ORDER-C", Command: schemas.CommandRef{Source: "/test", ID: "C"}})
	o.delivery = 2
	d.finish(o)
	d.wantAnswer("C", schemas.EventCaptured)
	d.wantEffects(tx, "confirm 100")
}

// The answered command meets another one's doubt, and leaves it.
func TestCommandThatHasItsAnswerLeavesAnothersDoubtAlone(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	first, tx := d.ready("FIRST", linepay.Confirm)
	d.claim(first, "")
	if _, err := d.pay.Client(t).Confirm(t.Context(), tx, linepay.MustAmount("100"), "TWD"); err != nil {
		t.Fatal(err)
	}
	second := first
	second.id, second.sequence = "SECOND", 2
	d.put(schemas.EventFailed, "", schemas.EventData{Operation: linepay.Confirm, OrderID: "ORDER-FIRST", Command: schemas.CommandRef{Source: "/test", ID: "SECOND"}})
	d.expect(second, consumer.Ack, "its event was stored already")
	first.delivery = 2
	d.expect(first, consumer.Ack, "captured")
	if e := d.wantAnswer("FIRST", schemas.EventCaptured); e.Data.SettledBy != schemas.SettledByLookup {
		t.Errorf("settled by %s: the doubt was forgotten", e.Data.SettledBy)
	}
	d.wantCalls("POST", "", 0)
}
