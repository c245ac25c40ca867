package consumer_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"linepay-worker/consumer/consumertest"
	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// envelope is a command whose data is JSON text.
func envelope(id, op, data string) string {
	return fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"/test","type":"linepay.command.%s.v1","data":%s}`, id, op, data)
}

func TestUnreadableCommandsAreDeadLetteredUntouched(t *testing.T) {
	t.Parallel()
	l := startLine(t)
	for _, c := range []struct{ name, subject, body, detail string }{
		{"not JSON", "confirm", `hello`, "JSON"},
		{"empty", "confirm", ``, ""},
		{"unknown type", "confirm", `{"specversion":"1.0","id":"1","source":"/test","type":"linepay.command.steal.v1","data":{}}`, "type"},
		{"unknown operation", "steal", envelope("1", "steal", `{}`), "steal"},
		{"subject and type disagree", "refund", envelope("1", "confirm", `{}`), "type"},
		{"no id", "confirm", `{"specversion":"1.0","source":"/test","type":"linepay.command.confirm.v1","data":{}}`, "id"},
		{"10,000 deep", "confirm", envelope("1", "confirm", strings.Repeat("[", 10_000)+strings.Repeat("]", 10_000)), "deep"},
		{"just below the limit", "confirm", strings.Repeat("x", schemas.MaxCommandBytes-1000), "JSON"},
		{"an operation that is a wildcard", "*", `{}`, ""},
	} {
		msg := nats.NewMsg("linepay.commands.tw." + c.subject)
		msg.Data = []byte(c.body)
		msg.Header.Set("Nats-Msg-Id", c.name)
		msg.Header.Set("X-Trace", "7")
		ack, err := l.js.PublishMsg(t.Context(), msg)
		if err != nil {
			t.Fatal(err)
		}
		l.idle()
		letters := consumertest.Collect(t, l.js, schemas.StreamDeadLetters, "linepay.deadletters.>")
		letter := letters[len(letters)-1]
		d, err := schemas.ParseDeadLetter(letter.Header)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if d.Reason != schemas.ReasonInvalid || !strings.Contains(d.Detail, c.detail) || d.Sequence != ack.Sequence || d.Subject != msg.Subject {
			t.Errorf("%s: dead letter says %+v", c.name, d)
		}
		if string(letter.Data) != c.body || letter.Header.Get("X-Trace") != "7" || letter.Header.Get("Dead-Letter-Original-Nats-Msg-Id") != c.name {
			t.Errorf("%s: the command was changed: %.80s %v", c.name, letter.Data, letter.Header)
		}
	}
	l.confirmed("ORDER-1") // and the worker goes on
}

func TestInvalidCommandsAreRejectedWithThePath(t *testing.T) {
	t.Parallel()
	l := startLine(t)
	id := l.confirmed("ORDER-1")
	before := len(l.pay.Sim.Ledger().Calls)
	for i, c := range []struct{ op, data, path string }{
		{"refund", `{"transactionId":"%s","orderId":"ORDER-1","refundAmuont":"10","refundId":"R-1"}`, "/data/refundAmuont"},
		{"refund", `{"transactionId":"%s","orderId":"ORDER-1","refundAmount":"10"}`, "/data/refundId"},
		{"refund", `{"transactionId":"%s","orderId":"ORDER-1","refundAmount":null,"refundId":"R-1"}`, "/data/refundAmount"},
		{"refund", `{"transactionId":"%s","orderId":"ORDER-1","refundamount":"10","refundId":"R-1"}`, "/data/refundamount"},
		{"confirm", `{"transactionId":"%s","orderId":"ORDER-1","amount":"10.5","currency":"TWD"}`, "/data/amount"},
		{"confirm", `{"transactionId":"9223372036854775808","orderId":"ORDER-1","amount":"10","currency":"TWD"}`, "/data/transactionId"},
		{"confirm", `{"transactionId":"%s","orderId":"ORDER-1","amount":"-1","currency":"TWD"}`, "/data/amount"},
		{"confirm", `{"transactionId":"%s","orderId":"ORDER-1","amount":"1","currency":"XXX"}`, "/data/currency"},
		{"confirm", `{}`, "/data/transactionId"},
		{"confirm", `[]`, "/data"},
	} {
		command := fmt.Sprintf("C-%d", i)
		d := c.data
		if strings.Contains(d, "%s") {
			d = fmt.Sprintf(d, id)
		}
		l.publish(linepay.Operation(c.op), []byte(envelope(command, c.op, d)))
		rejected := l.done(command, schemas.EventRejected)
		named := slices.ContainsFunc(rejected.Data.Errors, func(e schemas.FieldError) bool { return e.Path == c.path })
		if rejected.Data.Reason != schemas.ReasonInvalid || !named {
			t.Errorf("%s: rejected for %s: %+v, want a path %s", c.data, rejected.Data.Reason, rejected.Data.Errors, c.path)
		}
	}
	if after := len(l.pay.Sim.Ledger().Calls); after != before {
		t.Errorf("%d calls were made", after-before)
	}
	l.wantEffects(id, "confirm 100")
}

func TestExpiredCommandIsRejectedUnlessItWasCalled(t *testing.T) {
	t.Parallel()
	l := startLine(t)
	id := l.pay.Paid(t, "ORDER-1", "100", "TWD", true)
	l.publish(linepay.Confirm, fmt.Appendf(nil, `{"specversion":"1.0","id":"C-1","source":"/test","type":"linepay.command.confirm.v1",
		"expirytime":"2020-01-01T00:00:00Z","data":{"transactionId":"%s","orderId":"ORDER-1","amount":"100","currency":"TWD"}}`, id))
	if rejected := l.done("C-1", schemas.EventRejected); rejected.Data.Reason != schemas.ReasonExpired {
		t.Errorf("rejected for %s, want expired", rejected.Data.Reason)
	}
	l.wantEffects(id)
	// It was never called, so the operation is free.
	l.done(l.send(linepay.Confirm, confirmData(id, "ORDER-1")), schemas.EventCaptured)
}

func TestRefundOfAnotherOrderIsAConflict(t *testing.T) {
	t.Parallel()
	l := startLine(t)
	id := l.confirmed("ORDER-1")
	rejected := l.done(l.send(linepay.Refund, refundData(id, "ORDER-2", "10", "R-1")), schemas.EventRejected)
	if rejected.Data.Reason != schemas.ReasonConflict || rejected.Data.Errors[0].Path != "/data/orderId" {
		t.Errorf("rejected for %s: %+v", rejected.Data.Reason, rejected.Data.Errors)
	}
	if n := l.calls(linepay.Refund); n != 0 {
		t.Errorf("%d refunds were called", n)
	}
	// The refund itself is still to be had, under the right order.
	l.done(l.send(linepay.Refund, refundData(id, "ORDER-1", "10", "R-1")), schemas.EventRefunded)
}
