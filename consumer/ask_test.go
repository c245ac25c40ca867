package consumer_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"linepay-worker/consumer"
	"linepay-worker/consumer/consumertest"
	"linepay-worker/idempotency"
	"linepay-worker/schemas"
)

func TestQuestionIsTheOneThatAWorkerAsks(t *testing.T) {
	t.Parallel()
	pay := consumertest.Simulator(t)
	client := pay.Client(t)
	config := consumer.Config{ChannelID: pay.ChannelID, LINEPay: client}
	message := func(operation, body string) *consumer.Message {
		return &consumer.Message{
			Subject: "linepay.commands.tw." + operation, Sequence: 12, Replay: 7,
			Body: []byte(`{"specversion":"1.0","id":"1","source":"/shop","type":"linepay.command.` + operation + `.v1",` + body + `}`),
		}
	}
	q, err := config.Ask(message("refund", `"data":{"transactionId":"5","orderId":"O","refundAmount":"1","refundId":"R"}`))
	if err != nil {
		t.Fatal(err)
	}
	want := idempotency.Entity{Host: client.Host(), ChannelID: pay.ChannelID, Kind: idempotency.KindTransaction, ID: "5"}
	if diff := cmp.Diff(want, q.Claim.Entity); diff != "" {
		t.Errorf("entity (-want +got):\n%s", diff)
	}
	if c := q.Claim; c.Operation != "refund:5:R" || c.Command != (idempotency.Command{Source: "/shop", ID: "1"}) || c.Fingerprint == "" ||
		c.Sequence != 12 || c.Replay != 7 || c.Probe || c.CallFor <= 0 || c.Lease <= c.CallFor || c.Place <= c.Lease {
		t.Errorf("it asks %+v", c)
	}
	for name, row := range map[string]struct {
		message          *consumer.Message
		key              string
		invalid, expired bool
	}{
		"a reading": {message("check", `"data":{"transactionId":"5"}`), "", false, false},
		"expired":   {message("void", `"expirytime":"2020-01-01T00:00:00Z","data":{"transactionId":"5","orderId":"O"}`), "void:5", false, true},
		"invalid":   {message("void", `"data":{"transactionId":"5"}`), "void:5", true, false},
		"nameless":  {message("void", `"data":{}`), "", true, false},
	} {
		q, err := config.Ask(row.message)
		if err != nil {
			t.Fatal(err)
		}
		if unfit := row.invalid || row.expired; q.Claim.Operation != row.key || (q.Invalid != nil) != row.invalid || q.Expired != row.expired || q.Claim.Probe != unfit {
			t.Errorf("%s: %+v", name, q)
		}
	}
	if _, err := config.Ask(&consumer.Message{Subject: "linepay.commands.tw.void", Body: []byte("{")}); err == nil {
		t.Error("what cannot be read is asked about")
	} else if _, ok := errors.AsType[*schemas.UnreadableError](err); !ok {
		t.Errorf("error is %v, want an UnreadableError", err)
	}
}

func TestAnswerOnRecordIsItsLastEvent(t *testing.T) {
	t.Parallel()
	var events [2][]byte
	for i, name := range []string{schemas.EventPreapproval, schemas.EventCaptured} {
		var err error
		if events[i], err = schemas.NewEvent(name, time.Unix(1, 0), schemas.EventData{Channel: "tw", Operation: "confirm"}).Encode(); err != nil {
			t.Fatal(err)
		}
	}
	e, err := consumer.Answer([]byte(`{"events":[` + string(events[0]) + `,` + string(events[1]) + `]}`))
	if err != nil || e.Name() != schemas.EventCaptured {
		t.Errorf("answer is %+v, %v, want the captured event", e, err)
	}
	for outcome, want := range map[string]string{
		"": "outcome on record", "{}": "outcome on record: it has no event", `{"events":[{}]}`: "event on record",
	} {
		if _, err := consumer.Answer([]byte(outcome)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("the answer of %q gives the error %v, want %s", outcome, err, want)
		}
	}
	_, empty := consumer.Answer([]byte("{}"))
	if _, unreadable := consumer.Answer([]byte("{")); unreadable == nil || unreadable.Error() == empty.Error() {
		t.Errorf("what cannot be read gives the error %v, as what has no event", unreadable)
	}
}
