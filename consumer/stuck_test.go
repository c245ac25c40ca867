package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"linepay-worker/consumer"
	"linepay-worker/consumer/consumertest"
	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
	"linepay-worker/publisher"
	"linepay-worker/schemas"
)

// What one message, one payment or one broken setting does must not stop the others.

// A client library may take a message without a body for a status of the server, if a publisher gives it the header for it.
func TestBodylessMessagesThatLookLikeServerStatusesAreDeadLettered(t *testing.T) {
	t.Parallel()
	l := startLine(t)
	for _, status := range []string{"100", "404", "408", "409", "503"} {
		msg := nats.NewMsg("linepay.commands.tw.confirm")
		msg.Header.Set("Status", status)
		msg.Header.Set("Description", "Consumer Deleted")
		if _, err := l.js.PublishMsg(t.Context(), msg); err != nil {
			t.Fatal(err)
		}
	}
	l.confirmed("ORDER-1")
	l.idle()
	if n := len(consumertest.Collect(t, l.js, schemas.StreamDeadLetters, "linepay.deadletters.>")); n != 5 {
		t.Errorf("%d dead letters, want all 5 messages", n)
	}
}

// A dead letter's subject must stay clear of the server's limit for a protocol line: beyond it the connection ends for good.
func TestCommandOnALongSubjectIsDeadLettered(t *testing.T) {
	t.Parallel()
	l := startLine(t)
	subject := "linepay.commands.tw." + strings.Repeat("!", 1500)
	if _, err := l.js.Publish(t.Context(), subject, []byte("x")); err != nil {
		t.Fatal(err)
	}
	l.confirmed("ORDER-1")
	l.idle()
	letters := consumertest.Collect(t, l.js, schemas.StreamDeadLetters, "linepay.deadletters.>")
	if len(letters) != 1 {
		t.Fatalf("%d dead letters", len(letters))
	}
	if d, err := schemas.ParseDeadLetter(letters[0].Header); err != nil || d.Subject != subject {
		t.Errorf("the dead letter does not have the whole subject: %v, %v", d.Subject, err)
	}
}

func TestConsumerThatIsDeletedIsCreatedAgain(t *testing.T) {
	t.Parallel()
	l := startLine(t)
	l.confirmed("ORDER-1")
	stream, err := l.js.Stream(t.Context(), schemas.StreamCommands)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.DeleteConsumer(t.Context(), consumer.ConsumerName("tw")); err != nil {
		t.Fatal(err)
	}
	l.confirmed("ORDER-2")
}

func TestLongQueueOnOnePaymentLeavesTheOthersTheirShare(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	stop := l.start()
	id := l.confirmed("ORDER-1")
	other := l.pay.Paid(t, "ORDER-2", "100", "TWD", true)
	stop()
	for i := range 300 {
		l.send(linepay.Refund, refundData(id, "ORDER-1", "1", fmt.Sprintf("R-%d", i)))
	}
	confirm := l.send(linepay.Confirm, confirmData(other, "ORDER-2"))
	l.start()
	l.done(confirm, schemas.EventCaptured)
	if n := count(l.events(), schemas.EventRefunded); n >= 100 {
		t.Errorf("the other payment was carried out after %d refunds of this one", n)
	}
}

// An answer that does not fit into a message is no answer; the command must end all the same.
func TestAnswerTooLargeForTheBusFailsTheReading(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	l.cfg = func(cfg *consumer.Config) {
		var err error
		if cfg.LINEPay, err = payClient(l.pay.URL, inflated{}); err != nil {
			t.Fatal(err)
		}
	}
	l.start()
	id := l.confirmed("ORDER-1")
	failed := l.done(l.send(linepay.Details, data{"transactionIds": []string{id.String()}}), schemas.EventFailed)
	if !strings.Contains(failed.Data.Reason, "fewer payments") {
		t.Errorf("failed for %q", failed.Data.Reason)
	}
}

// inflated makes LINE Pay's details nearly as large as NATS lets a message be.
type inflated struct{}

func (inflated) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil || !strings.HasSuffix(r.URL.Path, "/payments") {
		return response, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	large := strings.Replace(string(body), `"productName":"`, `"productName":"`+strings.Repeat("x", 1<<20-len(body)-100), 1)
	response.Body, response.ContentLength = io.NopCloser(strings.NewReader(large)), -1
	return response, nil
}

// The order's events say that nobody knows about this refund, and Redis says nothing any more.
func TestRefundParkedInDoubtIsNotRepeatedWhenRedisForgot(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	l.cfg = func(cfg *consumer.Config) { cfg.RetryBudget, cfg.RetryMax = 800*time.Millisecond, 300*time.Millisecond }
	l.start()
	id := l.confirmed("ORDER-1")
	l.fault(simulator.Fault{Operation: linepay.Refund, Kind: simulator.KindCode, Code: "1198", When: simulator.After})
	command := l.send(linepay.Refund, refundData(id, "ORDER-1", "10", "R-1"))
	if !consumertest.Eventually(t, func(context.Context) bool { return len(l.effects(id)) == 2 }) {
		t.Fatal("the refund was not carried out")
	}
	l.fault(simulator.Fault{Operation: linepay.Details, Kind: simulator.KindCode, Code: "1900", When: simulator.Before, Count: -1})
	l.done(command, schemas.EventParked)
	l.idle()
	l.pay.Sim.ClearFaults()
	l.redis.FlushAll()
	l.done(l.send(linepay.Refund, refundData(id, "ORDER-1", "10", "R-1")), schemas.EventParked)
	l.wantEffects(id, "confirm 100", "refund 10")
}

// lostAck stores the first rejection and says that it did not.
type lostAck struct {
	*publisher.Publisher
	once *bool
}

func (b lostAck) Publish(ctx context.Context, e *schemas.Event) error {
	err := b.Publisher.Publish(ctx, e)
	if e.Name() == schemas.EventRejected && !*b.once {
		*b.once = true
		return errors.New("the acknowledgement is lost")
	}
	return err
}

// Its rejection is out, and says that it was never sent. It never will be, though the operation has become free.
func TestCommandThatWasRejectedIsNeverCarriedOut(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	l.cfg = func(cfg *consumer.Config) {
		cfg.RetryMin = time.Second
		cfg.Bus = lostAck{cfg.Bus.(*publisher.Publisher), new(bool)}
	}
	l.start()
	id, first, second := l.conflicting()
	l.done(first, schemas.EventFailed)
	l.done(second, schemas.EventRejected)
	l.idle()
	l.wantEffects(id, "confirm 100")
	if n := len(l.events()); n != 3 {
		t.Errorf("%d events, want one for each command", n)
	}
}

// One command, one answer: who was told of a conflict is told so again, though the operation is free by now.
func TestCommandToldOfAConflictIsNotCalledWhenItIsSentAgain(t *testing.T) {
	t.Parallel()
	l := startLine(t)
	id, first, second := l.conflicting()
	l.done(second, schemas.EventRejected)
	l.done(first, schemas.EventFailed)
	l.idle()
	before := len(l.events())
	l.sendAs(second, linepay.Refund, refundData(id, "ORDER-1", "20", "R-1"))
	l.idle()
	l.wantEffects(id, "confirm 100")
	if n := len(l.events()); n != before {
		t.Errorf("%d events more", n-before)
	}
	l.agree()
}

// conflicting sends two refunds of different amounts under one refundId, the second while LINE Pay is about to refuse the first.
func (l *line) conflicting() (id linepay.TransactionID, first, second string) {
	l.t.Helper()
	id = l.confirmed("ORDER-1")
	l.fault(simulator.Fault{Operation: linepay.Refund, Kind: simulator.KindCode, Code: "1163", Delay: 300 * time.Millisecond, When: simulator.Before})
	first = l.send(linepay.Refund, refundData(id, "ORDER-1", "10", "R-1"))
	if !consumertest.Eventually(l.t, func(context.Context) bool { return len(l.pay.Sim.Faults()) == 0 }) {
		l.t.Fatal("the refund was not called")
	}
	return id, first, l.send(linepay.Refund, refundData(id, "ORDER-1", "20", "R-1"))
}

// A publisher whose acknowledgement was lost sends its command again. Both copies are parked, each as what it is.
func TestSecondCopyOfAParkedCommandIsParkedUnderItsOwnSequence(t *testing.T) {
	t.Parallel()
	d := newDesk(t, impatient)
	o, _, _ := d.parked(linepay.Confirm)
	o.replay, o.sequence, o.delivery = 0, 5, 1
	d.expect(o, consumer.Ack, "parked")
	if d.shelf.from[0] != 1 || d.shelf.from[len(d.shelf.from)-1] != 5 {
		t.Errorf("dead letters of commands %v, want 1 and 5", d.shelf.from)
	}
}
