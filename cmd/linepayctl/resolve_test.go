package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/cmd/internal/app"
	"linepay-worker/consumer"
	"linepay-worker/consumer/consumertest"
	"linepay-worker/idempotency"
	"linepay-worker/publisher"
	"linepay-worker/schemas"
)

// parkedInDoubt is a refund with the number 1 that may have been made, as guard and dead letters have it.
func parkedInDoubt(t *testing.T, work app.Work, store *consumertest.RedisServer) *publisher.Letters {
	t.Helper()
	const subject = "linepay.commands.default.refund"
	body := []byte(`{"specversion":"1.0","id":"f-1","source":"/shop","type":"linepay.command.refund.v1",` +
		`"data":{"transactionId":"2026010100000000002","orderId":"ORDER-2","refundAmount":"10","refundId":"R-1"}}`)
	client, err := work.Client(work.Channels[0])
	if err != nil {
		t.Fatal(err)
	}
	question, err := consumer.Config{ChannelID: work.Channels[0].ID, LINEPay: client}.Ask(&consumer.Message{Subject: subject, Body: body, Sequence: 12})
	if err != nil {
		t.Fatal(err)
	}
	guard, err := idempotency.New(idempotency.Config{Redis: store.Client(t), Retention: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	question.Claim.CallFor = time.Millisecond
	claim, err := guard.Claim(t.Context(), question.Claim)
	if err == nil {
		err = guard.Settle(t.Context(), claim, idempotency.Settlement{State: idempotency.StateParked, Outcome: []byte("{}"), MoneyUnknown: true})
	}
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(work.NATS)
	if err != nil {
		t.Fatal(err)
	}
	bus, err := publisher.New(t.Context(), js)
	if err != nil {
		t.Fatal(err)
	}
	letter := schemas.DeadLetter{Reason: schemas.ReasonUnresolved, Subject: subject, Sequence: 12, Deliveries: 1, At: time.Now()}
	if err := bus.Park(t.Context(), "12", letter, nil, body); err != nil {
		t.Fatal(err)
	}
	letters, err := publisher.NewLetters(t.Context(), js)
	if err != nil {
		t.Fatal(err)
	}
	if !consumertest.Eventually(t, func(ctx context.Context) bool { // no call can be under way any more
		now, err := guard.Time(ctx)
		return err == nil && now.After(claim.MaySendUntil.Add(briefly))
	}) {
		t.Fatal("time does not pass")
	}
	return letters
}

// briefly is how long LINE Pay may take for an answer.
const briefly = 50 * time.Millisecond

// resolved is what linepayctl prints about the refund, as JSON, and its exit code.
func resolved(t *testing.T, work app.Work, store *consumertest.RedisServer, args ...string) (code int, event *schemas.Event, said string) {
	t.Helper()
	channel := work.Channels[0]
	var out, complaint bytes.Buffer
	code = execute(t.Context(), append([]string{
		"deadletters", "resolve", "1", "--json", "--reason", "seen", "--operator", "night-shift", "--read-timeout", briefly.String(), "--lookup-margin", "0s",
		"--nats-url", work.NATS.ConnectedUrl(), "--redis-url", store.URL(), "--linepay-base-url", channel.BaseURL,
		"--linepay-channel-id", channel.ID, "--linepay-channel-secret", channel.Secret.Reveal(),
	}, args...), console{strings.NewReader(""), &out, &complaint})
	if out.Len() > 0 {
		var err error
		if event, err = schemas.DecodeEvent(out.Bytes()); err != nil {
			t.Fatalf("printed %s: %v", &out, err)
		}
	}
	return code, event, complaint.String()
}

// Whoever dies between the settling and the deletion leaves the dead letter, and resolves it again: the event is the same one.
func TestResolvingAgainAfterACrashTellsTheSameEventAndDeletesTheDeadLetter(t *testing.T) {
	t.Parallel()
	server, js := provisioned(t)
	store := consumertest.Redis(t)
	work := workOf(t, server, consumertest.Simulator(t), store)
	letters := parkedInDoubt(t, work, store)
	done := []string{"--outcome", "done", "--transaction-id", "2026010100000000009", "--currency", "TWD"}

	worker, err := work.Resolver(t.Context(), work.Channels[0])
	if err != nil {
		t.Fatal(err)
	}
	letter, err := letters.Get(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	told, err := worker.Resolve(t.Context(), &consumer.Message{
		Subject: letter.DeadLetter.Subject, Header: letter.Header, Body: letter.Body, Sequence: letter.Sequence, Replay: 1,
	}, consumer.Resolution{Done: true, TransactionID: 2026010100000000009, Currency: "TWD", Reason: "seen"})
	if err != nil {
		t.Fatal(err)
	}

	if code, _, said := resolved(t, work, store, "--outcome", "not-done"); code != forbidden || !strings.Contains(said, "says refunded already") {
		t.Errorf("the contrary: exit code %d, %s", code, said)
	}
	code, event, said := resolved(t, work, store, done...)
	if code != 0 || event == nil || event.ID != told.ID {
		t.Errorf("the same again: exit code %d, event %+v, %s; want event %s", code, event, said, told.ID)
	}
	if _, err := letters.Get(t.Context(), 1); !errors.Is(err, publisher.ErrGone) {
		t.Errorf("reading the dead letter: %v", err)
	}
	if events := consumertest.Collect(t, js, schemas.StreamEvents, schemas.SubjectsEvents); len(events) != 1 {
		t.Errorf("%d events, want 1", len(events))
	}
	// What was refused, that it was, and what was done.
	if entries := consumertest.Collect(t, js, schemas.StreamAudit, schemas.SubjectsAudit); len(entries) != 3 {
		t.Errorf("%d entries are on record, want 3", len(entries))
	}
}

// What could not be told, or settled, is not deleted.
func TestDeadLetterStaysWhereItsEventCannotBeStoredOrRedisIsAway(t *testing.T) {
	t.Parallel()
	server, js := provisioned(t)
	store := consumertest.Redis(t)
	work := workOf(t, server, consumertest.Simulator(t), store)
	letters := parkedInDoubt(t, work, store)
	full := func(size int64) {
		stream, err := js.Stream(t.Context(), schemas.StreamEvents)
		if err != nil {
			t.Fatal(err)
		}
		config := stream.CachedInfo().Config
		config.MaxBytes = size
		if _, err := js.UpdateStream(t.Context(), config); err != nil {
			t.Fatal(err)
		}
	}
	there := func(when string) {
		if _, err := letters.Get(t.Context(), 1); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	full(1)
	if code, _, said := resolved(t, work, store, "--outcome", "not-done"); code != failed || !strings.Contains(said, "dead letter 1 is kept, run this again") {
		t.Errorf("with a full stream: exit code %d, %s", code, said)
	}
	there("with a full stream")
	full(-1)
	store.Stop()
	if code, _, said := resolved(t, work, store, "--outcome", "not-done"); code != failed || !strings.Contains(said, "no answer from Redis") {
		t.Errorf("without Redis: exit code %d, %s", code, said)
	}
	there("without Redis")
	store.Start()
	if code, event, said := resolved(t, work, store, "--outcome", "not-done"); code != 0 || event.Name() != schemas.EventFailed {
		t.Errorf("at last: exit code %d, %+v, %s", code, event, said)
	}
	if _, err := letters.Get(t.Context(), 1); !errors.Is(err, publisher.ErrGone) {
		t.Errorf("reading the dead letter: %v", err)
	}
}
