package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/consumer/consumertest"
	"linepay-worker/publisher"
	"linepay-worker/schemas"
)

func provisioned(t *testing.T) (*consumertest.NATSServer, jetstream.JetStream) {
	t.Helper()
	server := consumertest.NATS(t)
	js := server.JetStream(t)
	if _, err := publisher.Provision(t.Context(), js, publisher.StreamOptions{}, true); err != nil {
		t.Fatal(err)
	}
	return server, js
}

// captured stores an event.
func captured(t *testing.T, js jetstream.JetStream, order string) {
	t.Helper()
	event := schemas.NewEvent(schemas.EventCaptured, time.Now(), schemas.EventData{
		Channel: "tw", Operation: "confirm", OrderID: order, Command: schemas.CommandRef{Source: "/shop", ID: "c-" + order},
	})
	body, err := event.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.PublishMsg(t.Context(), &nats.Msg{Subject: schemas.EventSubject("tw", schemas.EventCaptured, order), Data: body}); err != nil {
		t.Fatal(err)
	}
}

// running is linepayctl inside the test's process.
type running struct {
	lines  *bufio.Scanner
	end    context.CancelFunc
	code   chan int
	stderr *bytes.Buffer
}

func begin(t *testing.T, args ...string) *running {
	t.Helper()
	read, write := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{lines: bufio.NewScanner(read), end: cancel, code: make(chan int, 1), stderr: &bytes.Buffer{}}
	go func() {
		r.code <- execute(ctx, args, console{strings.NewReader(""), write, r.stderr})
		_ = write.Close()
	}()
	t.Cleanup(func() { cancel(); _ = read.Close() })
	return r
}

func (r *running) line(t *testing.T, want string) {
	t.Helper()
	if !r.lines.Scan() || !strings.Contains(r.lines.Text(), want) {
		t.Fatalf("line %q, want one with %q", r.lines.Text(), want)
	}
}

func TestFollowGoesOnWithNewEventsUntilInterrupted(t *testing.T) {
	t.Parallel()
	server, js := provisioned(t)
	captured(t, js, "OLD-1")
	captured(t, js, "OLD-2")
	r := begin(t, "events", "--follow", "--limit", "1", "--nats-url", server.URL())
	r.line(t, "TIME")
	r.line(t, "OLD-2")
	captured(t, js, "NEW")
	r.line(t, "NEW")
	server.Restart() // a server that comes back is no end
	captured(t, server.JetStream(t), "LATER")
	r.line(t, "LATER")
	r.end()
	if code := <-r.code; code != 0 {
		t.Errorf("exit code %d after an interrupt, want 0; it said %s", code, r.stderr)
	}
}

func TestInterruptedWaitIsAFailure(t *testing.T) {
	t.Parallel()
	server, _ := provisioned(t)
	r := begin(t, "send", "void", "--transaction-id", "1", "--order-id", "O", "--wait", "--nats-url", server.URL())
	r.line(t, "linepay.commands.default.void  sequence 1")
	r.end()
	if code := <-r.code; code != 1 || !strings.Contains(r.stderr.String(), "interrupted before the final event came") {
		t.Errorf("exit code %d and %q, want 1 and why", code, r.stderr)
	}
}

func TestFinalEventIsTheCommandsOwn(t *testing.T) {
	t.Parallel()
	ours := schemas.CommandRef{Source: "/shop", ID: "c-1"}
	a := &answers{command: ours, known: 10}
	for name, row := range map[string]struct {
		event    string
		data     schemas.EventData
		sequence uint64
		want     bool
	}{
		"captured":                        {schemas.EventCaptured, schemas.EventData{Operation: "confirm", Command: ours}, 11, true},
		"captured before":                 {schemas.EventCaptured, schemas.EventData{Operation: "confirm", Command: ours}, 9, true},
		"another source":                  {schemas.EventCaptured, schemas.EventData{Operation: "confirm", Command: schemas.CommandRef{Source: "/x", ID: "c-1"}}, 11, false},
		"another id":                      {schemas.EventCaptured, schemas.EventData{Operation: "confirm", Command: schemas.CommandRef{Source: "/shop", ID: "c-2"}}, 11, false},
		"key beside a confirm":            {schemas.EventPreapproval, schemas.EventData{Operation: "confirm", Command: ours}, 11, false},
		"answer about a key":              {schemas.EventPreapproval, schemas.EventData{Operation: "preapproved-check", Command: ours}, 11, true},
		"key discarded":                   {schemas.EventPreapproval, schemas.EventData{Operation: "preapproved-expire", Command: ours}, 11, true},
		"parked":                          {schemas.EventParked, schemas.EventData{Operation: "refund", Command: ours}, 11, true},
		"parked before it was sent again": {schemas.EventParked, schemas.EventData{Operation: "refund", Command: ours}, 10, false},
	} {
		got := a.final(stored{sequence: row.sequence, event: schemas.NewEvent(row.event, time.Now(), row.data)})
		if got != row.want {
			t.Errorf("%s: final is %t, want %t", name, got, row.want)
		}
	}
	if a.final(stored{sequence: 11}) {
		t.Error("a message that is no event ends the command")
	}
}
