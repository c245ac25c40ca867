package publisher_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"linepay-worker/schemas"
)

func letterOf(subject string) schemas.DeadLetter {
	return schemas.DeadLetter{
		Reason: schemas.ReasonUnresolved, Detail: "two refunds could be this one", Code: "1164", Subject: subject, Sequence: 7, Deliveries: 3, At: settledAt,
	}
}

func TestParkedCommandIsKeptAsItCame(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	header := nats.Header{
		"Content-Type": {"application/cloudevents+json"},
		"traceparent":  {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
		"X-Twice":      {"1", "2"},
		"x-case":       {"kept"},

		"Nats-Msg-Id":          {"the command's own"},
		"Nats-Expected-Stream": {schemas.StreamCommands}, // live, it would make the publish fail
		"nats-ttl":             {"1s"},

		// Of an earlier life as a dead letter, or forged.
		"Dead-Letter-Reason":               {"poison"},
		"dead-letter-at":                   {"yesterday"},
		"Dead-Letter-Original-Nats-Msg-Id": {"older still"},
	}
	body := []byte("\x00\xffnot even text")
	if err := b.Park(t.Context(), "7-0", letterOf("linepay.commands.tw.refund"), header, body); err != nil {
		t.Fatal(err)
	}
	letters := b.letters()
	if len(letters) != 1 || letters[0].Subject != "linepay.deadletters.tw.refund" {
		t.Fatalf("dead letters: %+v, want one on linepay.deadletters.tw.refund", letters)
	}
	if !bytes.Equal(letters[0].Data, body) {
		t.Errorf("the body became %q", letters[0].Data)
	}
	want := nats.Header{
		"Content-Type": header["Content-Type"], "traceparent": header["traceparent"], "X-Twice": {"1", "2"}, "x-case": {"kept"},

		"Dead-Letter-Original-Nats-Msg-Id":          {"the command's own"},
		"Dead-Letter-Original-Nats-Expected-Stream": {schemas.StreamCommands},
		"Dead-Letter-Original-nats-ttl":             {"1s"},

		"Dead-Letter-Reason": {"unresolved"}, "Dead-Letter-Detail": {"two refunds could be this one"}, "Dead-Letter-Code": {"1164"},
		"Dead-Letter-Subject": {"linepay.commands.tw.refund"}, "Dead-Letter-Sequence": {"7"}, "Dead-Letter-Deliveries": {"3"},
		"Dead-Letter-At": {"2026-03-01T12:00:00Z"},

		"Nats-Msg-Id": {"7-0"}, "Nats-Expected-Stream": {schemas.StreamDeadLetters},
	}
	if diff := cmp.Diff(want, letters[0].Header); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	if got, err := schemas.ParseDeadLetter(letters[0].Header); err != nil || got != letterOf("linepay.commands.tw.refund") {
		t.Errorf("it reads as %+v, %v", got, err)
	}
}

func TestParkingTwiceUnderOneIDLeavesOneDeadLetter(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	again := letterOf("linepay.commands.tw.refund")
	again.Deliveries, again.At = 4, settledAt.Add(time.Minute) // as after a crash between parking and acknowledging
	for _, d := range []schemas.DeadLetter{letterOf("linepay.commands.tw.refund"), again} {
		if err := b.Park(t.Context(), "7-0", d, nil, []byte("body")); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Park(t.Context(), "7-1", again, nil, []byte("body")); err != nil { // parked again after a replay
		t.Fatal(err)
	}
	var ids []string
	for _, msg := range b.letters() {
		ids = append(ids, msg.Header.Get("Nats-Msg-Id"))
	}
	if diff := cmp.Diff([]string{"7-0", "7-1"}, ids); diff != "" {
		t.Errorf("dead letters (-want +got):\n%s", diff)
	}
}

// Whatever stands in the command's subject, the dead letter has a subject that its stream takes and an operator can filter by.
func TestDeadLetterSubjectFollowsTheCommands(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	for i, c := range []struct{ command, want string }{
		{"linepay.commands.tw.refund", "linepay.deadletters.tw.refund"},
		{"linepay.commands.tw.preapproved-pay", "linepay.deadletters.tw.preapproved-pay"},
		{"linepay.commands.tw.steal", "linepay.deadletters.tw.steal"},
		{"linepay.commands.tw.*", "linepay.deadletters.tw.%2A"},
		{"linepay.commands.tw.>", "linepay.deadletters.tw.%3E"},
		{"linepay.commands.TW.refund.now", "linepay.deadletters.TW.refund%2Enow"},
		{"linepay.commands.支付.refund", "linepay.deadletters.%E6%94%AF%E4%BB%98.refund"},
		{"elsewhere", "linepay.deadletters.%.elsewhere"},
	} {
		if err := b.Park(t.Context(), c.command, letterOf(c.command), nil, nil); err != nil {
			t.Errorf("%s: %v", c.command, err)
			continue
		}
		letters := b.letters()
		if got := letters[len(letters)-1].Subject; len(letters) != i+1 || got != c.want {
			t.Errorf("%s is parked at %s, want %s", c.command, got, c.want)
		}
		if d, err := schemas.ParseDeadLetter(letters[len(letters)-1].Header); err != nil || d.Subject != c.command {
			t.Errorf("%s: the dead letter names %q, %v", c.command, d.Subject, err)
		}
	}
}

func TestLargestCommandFitsIntoTheDeadLetters(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	body := bytes.Repeat([]byte("x"), schemas.MaxCommandBytes)
	if err := b.Park(t.Context(), "7-0", letterOf("linepay.commands.tw.confirm"), nats.Header{"X-Long": {string(bytes.Repeat([]byte("y"), 4096))}}, body); err != nil {
		t.Fatal(err)
	}
	if got := b.letters()[0].Data; !bytes.Equal(got, body) {
		t.Errorf("%d bytes are stored, want %d", len(got), len(body))
	}
}
