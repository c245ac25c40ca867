package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/consumer/consumertest"
	"linepay-worker/publisher"
	"linepay-worker/schemas"
)

// parkVoids parks commands that are all of their own payment, numbered from 1.
func parkVoids(t *testing.T, js jetstream.JetStream, count int) {
	t.Helper()
	bus, err := publisher.New(t.Context(), js)
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= count; n++ {
		body := fmt.Sprintf(`{"specversion":"1.0","id":"v-%d","source":"/shop","type":"linepay.command.void.v1","data":{"transactionId":"%d","orderId":"O-%d"}}`, n, n, n)
		d := schemas.DeadLetter{Reason: schemas.ReasonExhausted, Subject: "linepay.commands.default.void", Sequence: uint64(n), Deliveries: 1, At: time.Now()}
		if err := bus.Park(t.Context(), fmt.Sprint(n), d, nil, []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
}

// told is what a replay with --json prints.
type told struct {
	Number  uint64         `json:"number"`
	Result  string         `json:"result"`
	Summary map[string]int `json:"summary"`
	Stopped string         `json:"stopped"`
}

// rest reads all that is printed until the end.
func (r *running) rest(t *testing.T) (results map[uint64]string, last told) {
	t.Helper()
	results = map[uint64]string{}
	for r.lines.Scan() {
		last = told{}
		if err := json.Unmarshal(r.lines.Bytes(), &last); err != nil {
			t.Errorf("%q: %v", r.lines.Text(), err)
		}
		if last.Result != "" {
			results[last.Number] = last.Result
		}
	}
	return results, last
}

// carryOut plays a worker: it takes a command from the stream and, first, publishes these events about it.
func carryOut(t *testing.T, js jetstream.JetStream, sequence uint64, names ...string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	stream, err := js.Stream(ctx, schemas.StreamCommands)
	if err != nil {
		t.Fatal(err)
	}
	var msg *jetstream.RawStreamMsg
	if !consumertest.Eventually(t, func(ctx context.Context) bool {
		msg, err = stream.GetMsg(ctx, sequence)
		return err == nil
	}) {
		t.Fatalf("command %d: %v", sequence, err)
	}
	command, err := schemas.DecodeCommand(msg.Subject, msg.Header, msg.Data)
	if err != nil {
		t.Fatal(err)
	}
	bus, err := publisher.New(ctx, js)
	if err != nil {
		t.Fatal(err)
	}
	n := namesOf(command, true)
	for _, name := range names {
		if err := bus.Publish(ctx, schemas.NewEvent(name, time.Now(), schemas.EventData{
			Channel: command.Channel, Operation: n.operation, OperationKey: n.key, Fingerprint: n.fingerprint, Command: n.command, OrderID: command.Data.Order(),
		})); err != nil {
			t.Fatal(err)
		}
	}
	if err := stream.DeleteMsg(ctx, sequence); err != nil {
		t.Fatal(err)
	}
}

func TestAnswerThatIsNoNewsIsFoundWhenItsCommandIsGone(t *testing.T) {
	t.Parallel()
	server, js := provisioned(t)
	parkVoids(t, js, 4)
	bus, err := publisher.New(t.Context(), js)
	if err != nil {
		t.Fatal(err)
	}
	// What was stored before: 1 was voided; 2 was parked after a replay of an earlier life, and answered before that; 3 was parked alone;
	// 4 has nothing.
	for number, events := range map[int][]string{1: {schemas.EventParked, schemas.EventVoided}, 2: {schemas.EventFailed, schemas.EventParked}, 3: {schemas.EventParked}} {
		for _, name := range events {
			event := schemas.NewEvent(name, time.Now(), schemas.EventData{
				Channel: "default", Operation: "void", OperationKey: fmt.Sprint("void:", number), Command: schemas.CommandRef{Source: "/shop", ID: fmt.Sprint("v-", number)},
				OrderID: fmt.Sprint("O-", number),
			}, "77")
			if err := bus.Publish(t.Context(), event); err != nil {
				t.Fatal(err)
			}
		}
	}
	r := begin(t, "deadletters", "replay", "--all", "--json", "--nats-url", server.URL())
	for sequence := range uint64(4) {
		carryOut(t, js, sequence+1)
	}
	results, last := r.rest(t)
	want := map[uint64]string{1: "voided", 2: "failed", 3: "parked again", 4: "no event"}
	if diff := cmp.Diff(want, results); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	if code := <-r.code; code != 4 || last.Summary["no event"] != 1 {
		t.Errorf("exit code %d and summary %v, want 4; it said %s", code, last.Summary, r.stderr)
	}
}

func TestReplayStopsAfterSoManyFailures(t *testing.T) {
	t.Parallel()
	server, js := provisioned(t)
	const parked = 60
	parkVoids(t, js, parked)
	r := begin(t, "deadletters", "replay", "--all", "--json", "--stop-after", "3", "--rate", "20", "--nats-url", server.URL())
	lines := make(chan struct{})
	var results map[uint64]string
	var last told
	go func() { results, last = r.rest(t); close(lines) }()
	for sequence := uint64(1); ; sequence++ { // a worker that fails whatever comes
		stream, err := js.Stream(t.Context(), schemas.StreamCommands)
		if err != nil {
			t.Fatal(err)
		}
		if !consumertest.Eventually(t, func(ctx context.Context) bool {
			info, err := stream.Info(ctx)
			return err == nil && info.State.Msgs > 0 || isClosed(lines)
		}) {
			t.Fatal("nothing is published, and there is no end")
		}
		if isClosed(lines) {
			break
		}
		carryOut(t, js, sequence, schemas.EventFailed)
	}
	if code := <-r.code; code != 1 || !strings.HasPrefix(last.Stopped, "stopped after ") || !strings.Contains(last.Stopped, "(--stop-after 3)") {
		t.Errorf("exit code %d, summary %v, stopped %q; it said %s", code, last.Summary, last.Stopped, r.stderr)
	}
	if failed := last.Summary["failed"]; failed < 3 || failed == parked || failed != len(results) {
		t.Errorf("%d failed of %d, want 3 or a few more", failed, len(results))
	}
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestInterruptedReplayTellsWhatItHasDone(t *testing.T) {
	t.Parallel()
	server, js := provisioned(t)
	parkVoids(t, js, 20)
	r := begin(t, "deadletters", "replay", "--all", "--json", "--rate", "10", "--nats-url", server.URL())
	carryOut(t, js, 1, schemas.EventVoided)
	r.line(t, `"result":"voided"`)
	r.end()
	results, last := r.rest(t)
	left := len(consumertest.Collect(t, js, schemas.StreamDeadLetters, schemas.SubjectsDeadLetters))
	if code := <-r.code; code != 4 || !strings.Contains(r.stderr.String(), "interrupted") {
		t.Errorf("exit code %d, want 4; it said %s", code, r.stderr)
	}
	if last.Summary["voided"] != 1 || last.Summary["open"] != len(results) || left != 20-1-len(results) {
		t.Errorf("summary %v, results %v and %d dead letters left, want each in one of them", last.Summary, results, left)
	}
}

// A stream that takes no more, as when the disk is full.
func TestWhatCannotBePublishedStaysAndHoldsItsOrderBack(t *testing.T) {
	t.Parallel()
	server, js := provisioned(t)
	parkVoids(t, js, 1)
	bus, err := publisher.New(t.Context(), js)
	if err != nil {
		t.Fatal(err)
	}
	d := schemas.DeadLetter{Reason: schemas.ReasonExhausted, Subject: "linepay.commands.default.refund", Sequence: 2, Deliveries: 1, At: time.Now()}
	body := `{"specversion":"1.0","id":"f-1","source":"/shop","type":"linepay.command.refund.v1","data":{"transactionId":"1","orderId":"O-1"}}`
	if err := bus.Park(t.Context(), "2", d, nil, []byte(body)); err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), schemas.StreamCommands)
	if err != nil {
		t.Fatal(err)
	}
	config := stream.CachedInfo().Config
	config.MaxMsgs = 1
	if _, err := js.UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	if _, err := js.PublishMsg(t.Context(), &nats.Msg{Subject: "linepay.commands.default.void", Data: []byte("in the way")}); err != nil {
		t.Fatal(err)
	}
	r := begin(t, "deadletters", "replay", "--all", "--json", "--nats-url", server.URL())
	results, _ := r.rest(t)
	if diff := cmp.Diff(map[uint64]string{1: "not replayed", 2: "held back"}, results); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	if code := <-r.code; code != 1 {
		t.Errorf("exit code %d, want 1; it said %s", code, r.stderr)
	}
	if left := len(consumertest.Collect(t, js, schemas.StreamDeadLetters, schemas.SubjectsDeadLetters)); left != 2 {
		t.Errorf("%d dead letters are left, want 2", left)
	}
}

func TestWithoutAWaitNothingIsFollowed(t *testing.T) {
	t.Parallel()
	server, js := provisioned(t)
	parkVoids(t, js, 3)
	r := begin(t, "deadletters", "replay", "--all", "--json", "--wait", "0s", "--nats-url", server.URL())
	_, last := r.rest(t)
	if code := <-r.code; code != 0 || last.Summary["replayed"] != 3 {
		t.Errorf("exit code %d and summary %v, want 0 and 3 replayed; it said %s", code, last.Summary, r.stderr)
	}
}

func TestCommandsThatNobodyTakesAreOpen(t *testing.T) {
	t.Parallel()
	server, js := provisioned(t)
	parkVoids(t, js, 12)
	r := begin(t, "deadletters", "replay", "--all", "--wait", "10ms", "--nats-url", server.URL())
	var said []string
	for r.lines.Scan() {
		said = append(said, r.lines.Text())
	}
	if code := <-r.code; code != 4 || !strings.Contains(r.stderr.String(), "nobody knows yet what becomes of 12 commands") {
		t.Errorf("exit code %d, want 4; it said %s", code, r.stderr)
	}
	if text := strings.Join(said, "\n"); len(said) != 12 || !strings.HasSuffix(text, "and 2 more that are open\nopen: 12") {
		t.Errorf("it said:\n%s", text)
	}
}

// Two operators, and a summary of each that leaves nothing out.
func TestTwoOperatorsReplayEachDeadLetterOnce(t *testing.T) {
	t.Parallel()
	server, js := provisioned(t)
	const parked = 300
	parkVoids(t, js, parked)
	both := []*running{
		begin(t, "deadletters", "replay", "--all", "--json", "--wait", "0s", "--nats-url", server.URL()),
		begin(t, "deadletters", "replay", "--all", "--json", "--wait", "0s", "--nats-url", server.URL()),
	}
	seen := map[uint64]bool{}
	for _, r := range both {
		results, last := r.rest(t)
		for number, result := range results {
			if result != resultReplayed && result != resultGone {
				t.Errorf("dead letter %d: %s", number, result)
			}
			seen[number] = seen[number] || result == resultReplayed
		}
		if code := <-r.code; code != 0 || last.Summary[resultReplayed]+last.Summary[resultGone] != len(results) {
			t.Errorf("exit code %d, summary %v of %d; it said %s", code, last.Summary, len(results), r.stderr)
		}
	}
	commands := consumertest.Collect(t, js, schemas.StreamCommands, schemas.SubjectsCommands)
	if left := len(consumertest.Collect(t, js, schemas.StreamDeadLetters, schemas.SubjectsDeadLetters)); left != 0 || len(seen) != parked || len(commands) != parked {
		t.Errorf("%d are left, %d are told of and %d published, want 0, %d and %d", left, len(seen), len(commands), parked, parked)
	}
}

// Where there is no order, events share their subject.
func TestAnswerWithoutAnOrderIsFoundAmongThoseOfAllOthers(t *testing.T) {
	t.Parallel()
	server, js := provisioned(t)
	bus, err := publisher.New(t.Context(), js)
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= 3; n++ {
		body := fmt.Sprintf(`{"specversion":"1.0","id":"k-%d","source":"/shop","type":"linepay.command.check.v1","data":{"transactionId":"1"}}`, n)
		d := schemas.DeadLetter{Reason: schemas.ReasonPoison, Subject: "linepay.commands.default.check", Sequence: uint64(n), At: time.Now()}
		if err := bus.Park(t.Context(), fmt.Sprint(n), d, nil, []byte(body)); err != nil {
			t.Fatal(err)
		}
		if n == 3 {
			break // the last one has no answer
		}
		event := schemas.NewEvent(schemas.EventStatus, time.Now(), schemas.EventData{
			Channel: "default", Operation: "check", Command: schemas.CommandRef{Source: "/shop", ID: fmt.Sprint("k-", n)},
		})
		if err := bus.Publish(t.Context(), event); err != nil {
			t.Fatal(err)
		}
	}
	r := begin(t, "deadletters", "replay", "--all", "--json", "--nats-url", server.URL())
	for sequence := range uint64(3) {
		carryOut(t, js, sequence+1)
	}
	results, _ := r.rest(t)
	if diff := cmp.Diff(map[uint64]string{1: "status", 2: "status", 3: "no event"}, results); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	if code := <-r.code; code != 4 {
		t.Errorf("exit code %d, want 4", code)
	}
}

func TestWhatIsParkedAgainNamesItsNewDeadLetter(t *testing.T) {
	t.Parallel()
	server, js := provisioned(t)
	parkVoids(t, js, 1)
	bus, err := publisher.New(t.Context(), js)
	if err != nil {
		t.Fatal(err)
	}
	r := begin(t, "deadletters", "replay", "1", "--nats-url", server.URL())
	commands, err := js.Stream(t.Context(), schemas.StreamCommands)
	if err != nil {
		t.Fatal(err)
	}
	msg := consumertest.Await(t, js, schemas.StreamCommands, schemas.SubjectsCommands, 1)[0]
	// The event comes before what tells of the dead letter, as the two feeds may.
	event := schemas.NewEvent(schemas.EventParked, time.Now(), schemas.EventData{
		Channel: "default", Operation: "void", OperationKey: "void:1", Command: schemas.CommandRef{Source: "/shop", ID: "v-1"}, OrderID: "O-1",
		Reason: schemas.ReasonExhausted, MoneyMoved: schemas.MoneyMovedNo,
	}, "1")
	if err := bus.Publish(t.Context(), event); err != nil {
		t.Fatal(err)
	}
	d := schemas.DeadLetter{Reason: schemas.ReasonExhausted, Subject: msg.Subject, Sequence: msg.Sequence, Deliveries: 1, At: time.Now()}
	if err := bus.Park(t.Context(), "again", d, msg.Header, msg.Data); err != nil {
		t.Fatal(err)
	}
	r.line(t, "1  void  O-1  parked again: as dead letter 2, exhausted, money moved: no")
	r.line(t, "parked again: 1")
	if code := <-r.code; code != 1 {
		t.Errorf("exit code %d, want 1; it said %s", code, r.stderr)
	}
	if err := commands.DeleteMsg(t.Context(), msg.Sequence); err != nil { // by now nobody waits for that
		t.Fatal(err)
	}
}

func TestReplayIsFollowedThroughARestartOfNATS(t *testing.T) {
	t.Parallel()
	server, js := provisioned(t)
	parkVoids(t, js, 3)
	r := begin(t, "deadletters", "replay", "--all", "--json", "--nats-url", server.URL())
	carryOut(t, js, 1, schemas.EventVoided)
	r.line(t, `"result":"voided"`)
	consumertest.Await(t, js, schemas.StreamAudit, schemas.SubjectsAudit, 3)
	if !consumertest.Eventually(t, func(context.Context) bool {
		return len(consumertest.Collect(t, js, schemas.StreamDeadLetters, schemas.SubjectsDeadLetters)) == 0
	}) {
		t.Fatal("dead letters are left")
	}
	server.Restart()
	again := server.JetStream(t)
	carryOut(t, again, 2, schemas.EventVoided)
	carryOut(t, again, 3)
	results, last := r.rest(t)
	if code := <-r.code; code != 4 || last.Summary["voided"] != 2 || last.Summary["no event"] != 1 || len(results) != 2 {
		t.Errorf("exit code %d, summary %v; it said %s", code, last.Summary, r.stderr)
	}
}

// What goes out in many lanes at a time keeps the order of each payment.
func TestCommandsOfOneOrderKeepTheirOrder(t *testing.T) {
	t.Parallel()
	server, js := provisioned(t)
	bus, err := publisher.New(t.Context(), js)
	if err != nil {
		t.Fatal(err)
	}
	const orders, each = 40, 5
	for n := range orders * each {
		body := fmt.Sprintf(`{"specversion":"1.0","id":"%d","source":"/shop","type":"linepay.command.refund.v1",
			"data":{"transactionId":"1","orderId":"O-%d","refundAmount":"1","refundId":"R-%d"}}`, n, n%orders, n)
		d := schemas.DeadLetter{Reason: schemas.ReasonExhausted, Subject: "linepay.commands.default.refund", At: time.Now()}
		if err := bus.Park(t.Context(), fmt.Sprint(n), d, nil, []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	r := begin(t, "deadletters", "replay", "--all", "--json", "--wait", "0s", "--nats-url", server.URL())
	r.rest(t)
	if code := <-r.code; code != 0 {
		t.Errorf("exit code %d; it said %s", code, r.stderr)
	}
	last := map[string]uint64{}
	commands := consumertest.Collect(t, js, schemas.StreamCommands, schemas.SubjectsCommands)
	for _, msg := range commands {
		command, err := schemas.DecodeCommand(msg.Subject, msg.Header, msg.Data)
		if err != nil {
			t.Fatal(err)
		}
		number, err := strconv.ParseUint(msg.Header.Get(schemas.HeaderReplay), 10, 64)
		if order := command.Data.Order(); err != nil || number <= last[order] {
			t.Errorf("order %s: dead letter %d goes out behind %d", order, number, last[order])
		} else {
			last[order] = number
		}
	}
	if len(commands) != orders*each {
		t.Errorf("%d commands, want %d", len(commands), orders*each)
	}
}
