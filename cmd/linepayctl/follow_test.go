package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/consumer/consumertest"
	"linepay-worker/linepay"
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
	stderr *spoken
}

// spoken is what is said, by several at once.
type spoken struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *spoken) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

// String is all of it so far.
func (s *spoken) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func begin(t *testing.T, args ...string) *running {
	t.Helper()
	read, write := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{lines: bufio.NewScanner(read), end: cancel, code: make(chan int, 1), stderr: &spoken{}}
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

func TestInterruptedWaitLeavesTheCommandOpen(t *testing.T) {
	t.Parallel()
	server, _ := provisioned(t)
	r := begin(t, "send", "void", "--transaction-id", "1", "--order-id", "O", "--wait", "--nats-url", server.URL())
	r.line(t, "linepay.commands.default.void  sequence 1")
	r.end()
	if code := <-r.code; code != 4 || !strings.Contains(r.stderr.String(), "interrupted before the final event came") {
		t.Errorf("exit code %d and %q, want 4 and why", code, r.stderr)
	}
}

func TestFinalEventIsTheCommandsOwn(t *testing.T) {
	t.Parallel()
	ours := schemas.CommandRef{Source: "/shop", ID: "c-1"}
	type data = schemas.EventData
	for name, row := range map[string]struct {
		event    string
		data     data
		sequence uint64
		want     bool
	}{
		"captured":                        {schemas.EventCaptured, data{Operation: "confirm", OperationKey: "confirm:1", Command: ours}, 11, true},
		"captured before":                 {schemas.EventCaptured, data{Operation: "confirm", OperationKey: "confirm:1", Command: ours}, 9, true},
		"another source":                  {schemas.EventCaptured, data{Operation: "confirm", OperationKey: "confirm:1", Command: schemas.CommandRef{Source: "/x", ID: "c-1"}}, 11, false},
		"another id":                      {schemas.EventCaptured, data{Operation: "confirm", OperationKey: "confirm:1", Command: schemas.CommandRef{Source: "/shop", ID: "c-2"}}, 11, false},
		"another transaction":             {schemas.EventCaptured, data{Operation: "confirm", OperationKey: "confirm:2", Command: ours}, 11, false},
		"rejected, too broken for a key":  {schemas.EventRejected, data{Operation: "confirm", Command: ours}, 11, false},
		"key beside a confirm":            {schemas.EventPreapproval, data{Operation: "confirm", OperationKey: "confirm:1", Command: ours}, 11, false},
		"parked":                          {schemas.EventParked, data{Operation: "confirm", OperationKey: "confirm:1", Command: ours}, 11, true},
		"parked before it was sent again": {schemas.EventParked, data{Operation: "confirm", OperationKey: "confirm:1", Command: ours}, 10, false},
		"another operation":               {schemas.EventVoided, data{Operation: "void", OperationKey: "void:1", Command: ours}, 11, false},
		"a reading":                       {schemas.EventStatus, data{Operation: "check", Command: ours}, 11, false},
	} {
		a := &answers{names: names{command: ours, operation: "confirm", key: "confirm:1"}, known: 10}
		got := a.final(stored{sequence: row.sequence, event: schemas.NewEvent(row.event, time.Now(), row.data)})
		if got != row.want {
			t.Errorf("%s: final is %t, want %t", name, got, row.want)
		}
		if a.final(stored{sequence: 11}) {
			t.Error("a message that is no event ends the command")
		}
	}
	for op, key := range map[linepay.Operation]string{"preapproved-check": "", "preapproved-expire": "preapproved-expire:1f"} {
		a := &answers{names: names{command: ours, operation: op, key: key}, known: 10}
		event := schemas.NewEvent(schemas.EventPreapproval, time.Now(), data{Operation: op, OperationKey: key, Command: ours})
		if !a.final(stored{sequence: 11, event: event}) {
			t.Errorf("%s: the answer about a key does not end it", op)
		}
	}
}

func TestFinalEventGivesTheExitCode(t *testing.T) {
	t.Parallel()
	a := &answers{names: names{fingerprint: "ours"}}
	for name, row := range map[string]struct {
		event string
		data  schemas.EventData
		code  int
		said  string
	}{
		"captured":           {schemas.EventCaptured, schemas.EventData{}, 0, ""},
		"duplicate":          {schemas.EventDuplicate, schemas.EventData{}, 0, ""},
		"failed":             {schemas.EventFailed, schemas.EventData{}, 1, "the command was not carried out: failed"},
		"rejected":           {schemas.EventRejected, schemas.EventData{}, 1, "the command was not carried out: rejected"},
		"parked, not called": {schemas.EventParked, schemas.EventData{MoneyMoved: schemas.MoneyMovedNo}, 1, "the command is parked: it did not move money"},
		"parked in doubt": {
			schemas.EventParked,
			schemas.EventData{MoneyMoved: schemas.MoneyMovedUnknown},
			4,
			"the command is parked: nobody knows yet whether it moved money",
		},
		"other data": {schemas.EventCaptured, schemas.EventData{Fingerprint: "theirs"}, 1, "this is the answer to other data"},
	} {
		if row.data.Fingerprint == "" {
			row.data.Fingerprint = "ours"
		}
		var said bytes.Buffer
		code := console{err: &said}.result(a.verdict(schemas.NewEvent(row.event, time.Now(), row.data)))
		if code != row.code || !strings.Contains(said.String(), row.said) {
			t.Errorf("%s: exit code %d and %q, want %d and %q", name, code, said.String(), row.code, row.said)
		}
	}
}

// The names are derived here and in package consumer: this compares them over a real worker.
func TestNamesAreThoseOfTheWorker(t *testing.T) {
	t.Parallel()
	server, js := provisioned(t)
	if err := startWorker(t, server, consumertest.Simulator(t), consumertest.Redis(t), 0); err != nil {
		t.Fatal(err)
	}
	const page = `{"amount":"100","currency":"TWD","orderId":"O 1","packages":[{"id":"1","amount":"100","products":[{"name":"Book","quantity":"1","price":"100"}]}],
		"redirectUrls":{"confirmUrl":"https://a.example","cancelUrl":"https://b.example"},"options":{"payment":{"capture":true}}}`
	for id, row := range map[string]struct {
		op   linepay.Operation
		data string
	}{
		"request":    {linepay.Request, page},
		"check":      {linepay.Check, `{"transactionId":"7"}`},
		"confirm":    {linepay.Confirm, `{"transactionId":1,"orderId":"O","amount":10.50,"currency":"USD"}`},
		"capture":    {linepay.Capture, `{"transactionId":"2","orderId":"O","amount":"1e2","currency":"TWD"}`},
		"void":       {linepay.Void, `{"transactionId":"3","orderId":"O"}`},
		"refund":     {linepay.Refund, `{"transactionId":"4","orderId":"O","refundAmount":"5","refundId":"R:1"}`},
		"all":        {linepay.Refund, `{"transactionId":"5","orderId":"O"}`},
		"pay":        {linepay.PreapprovedPay, `{"regKey":"RK000000001","orderId":"O 2","productName":"Tea","amount":"1","currency":"TWD","capture":true}`},
		"expire":     {linepay.PreapprovedExpire, `{"regKey":"RK000000002"}`},
		"invalid":    {linepay.Void, `{"transactionId":"6"}`},
		"without id": {linepay.Void, `{"orderId":"O"}`},
	} {
		s := &sendCommand{Operation: row.op, Channel: "default", Source: "/test", ID: &id, Force: true}
		s.Data.Data = &row.data
		msg, want, err := s.message(console{in: strings.NewReader(""), out: io.Discard, err: io.Discard})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.publish(t.Context(), js, msg, id); err != nil {
			t.Fatal(err)
		}
		var got names
		if !consumertest.Eventually(t, func(context.Context) bool {
			for _, stored := range consumertest.Collect(t, js, schemas.StreamEvents, "linepay.events.>") {
				event, err := schemas.DecodeEvent(stored.Data)
				if err == nil && event.Data.Command.ID == id {
					got = names{event.Data.Command, event.Data.Operation, event.Data.OperationKey, event.Data.Fingerprint}
					return true
				}
			}
			return false
		}) {
			t.Fatalf("%s: no event", id)
		}
		if got != want {
			t.Errorf("%s: the worker says %+v, linepayctl %+v", id, got, want)
		}
	}
}

func TestNATSWithoutJetStreamIsToldApart(t *testing.T) {
	t.Parallel()
	plain := bareNATS(t)
	for _, args := range [][]string{
		{"events"},
		{"send", "void", "--transaction-id", "1", "--order-id", "O"},
		{"send", "void", "--transaction-id", "1", "--order-id", "O", "--wait"},
	} {
		r := begin(t, append(args, "--nats-url", plain)...)
		if code := <-r.code; code != 1 || !strings.Contains(r.stderr.String(), "JetStream is not enabled on this NATS server, or not for this account: start nats-server with -js") {
			t.Errorf("%v: exit code %d and %q, want 1 and that JetStream is not enabled", args, code, r.stderr)
		}
	}
}

// bareNATS is a server without JetStream.
func bareNATS(t *testing.T) (url string) {
	t.Helper()
	s, err := natsserver.NewServer(&natsserver.Options{Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("NATS does not start")
	}
	return s.ClientURL()
}
