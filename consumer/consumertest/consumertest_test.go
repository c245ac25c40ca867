package consumertest

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/linepay"
)

func newStream(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}}); err != nil {
		t.Fatal(err)
	}
}

func publish(t *testing.T, js jetstream.JetStream, subject, body string) {
	t.Helper()
	if _, err := js.Publish(t.Context(), subject, []byte(body)); err != nil {
		t.Fatal(err)
	}
}

func bodies(messages []*jetstream.RawStreamMsg) (texts []string) {
	for _, message := range messages {
		texts = append(texts, string(message.Data))
	}
	return texts
}

func TestCollectReadsWhatMatchesInOrder(t *testing.T) {
	t.Parallel()
	js := NATS(t).JetStream(t)
	newStream(t, js)
	if got := Collect(t, js, "ORDERS", "orders.>"); len(got) != 0 {
		t.Errorf("an empty stream gives %d messages", len(got))
	}
	publish(t, js, "orders.a.1", "one")
	publish(t, js, "orders.b.1", "two")
	publish(t, js, "orders.a.2", "three")
	if diff := cmp.Diff([]string{"one", "three"}, bodies(Collect(t, js, "ORDERS", "orders.a.*"))); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"one", "two", "three"}, bodies(Collect(t, js, "ORDERS", "orders.>"))); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
}

func TestAwaitSeesWhatComesLater(t *testing.T) {
	t.Parallel()
	js := NATS(t).JetStream(t)
	newStream(t, js)
	go func() { _, _ = js.Publish(t.Context(), "orders.a", []byte("late")) }()
	if diff := cmp.Diff([]string{"late"}, bodies(Await(t, js, "ORDERS", "orders.>", 1))); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
}

func TestNATSKeepsItsStreamsOverARestartAndClientsComeBack(t *testing.T) {
	t.Parallel()
	server := NATS(t)
	js := server.JetStream(t)
	newStream(t, js)
	publish(t, js, "orders.a", "one")
	url := server.URL()
	server.Stop()
	if _, err := nats.Connect(url); !errors.Is(err, nats.ErrNoServers) {
		t.Fatalf("a stopped server: %v, want that nobody answers", err)
	}
	server.Restart()
	if server.URL() != url {
		t.Errorf("the address changed from %s to %s", url, server.URL())
	}
	if !Eventually(t, func(context.Context) bool { return js.Conn().IsConnected() }) {
		t.Fatal("the client does not come back")
	}
	if diff := cmp.Diff([]string{"one"}, bodies(Collect(t, js, "ORDERS", "orders.>"))); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
}

func TestTwoNATSServersShareNothing(t *testing.T) {
	t.Parallel()
	first, second := NATS(t), NATS(t)
	newStream(t, first.JetStream(t))
	if _, err := second.JetStream(t).Stream(t.Context(), "ORDERS"); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("error %v, want that the second server has no such stream", err)
	}
}

func TestRedisKeepsItsDataOverStopAndStart(t *testing.T) {
	t.Parallel()
	server := Redis(t)
	ctx, client := t.Context(), server.Client(t)
	if err := client.Set(ctx, "a", "1", 0).Err(); err != nil {
		t.Fatal(err)
	}
	server.Stop()
	server.Stop() // harmless
	if _, err := client.Get(ctx, "a").Result(); err == nil {
		t.Fatal("a stopped Redis answers")
	}
	server.Start()
	server.Start() // harmless
	if got, err := client.Get(ctx, "a").Result(); err != nil || got != "1" {
		t.Errorf("a is %q, error %v, want 1", got, err)
	}
	server.FlushAll()
	if got, err := client.Exists(ctx, "a").Result(); err != nil || got != 0 {
		t.Errorf("after FLUSHALL: %d, error %v, want nothing", got, err)
	}
}

func TestRedisWithoutAFileForgetsWhenKilled(t *testing.T) {
	t.Parallel()
	server := Redis(t, "--appendonly", "no")
	if err := server.Client(t).Set(t.Context(), "a", "1", 0).Err(); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	server.Start()
	if got, err := server.Client(t).Exists(t.Context(), "a").Result(); err != nil || got != 0 {
		t.Errorf("after the crash: %d, error %v, want nothing", got, err)
	}
}

func TestRedisIsAsTheGuardWantsIt(t *testing.T) {
	t.Parallel()
	client := Redis(t).Client(t)
	for setting, want := range map[string]string{"maxmemory-policy": "noeviction", "appendonly": "yes"} {
		if got := client.ConfigGet(t.Context(), setting).Val()[setting]; got != want {
			t.Errorf("%s is %q, want %q", setting, got, want)
		}
	}
}

func TestRedisThatCannotStartSaysWhy(t *testing.T) {
	t.Parallel()
	server := Redis(t)
	server.Stop()
	server.arguments = append(server.arguments, "--maxmemory-policy", "nonsense")
	var problem string
	if server.launch(t.Context(), &problem) {
		t.Fatal("it started with a nonsensical setting")
	}
	if server.process != nil || problem == "" {
		t.Errorf("process %v, problem %q, want none left and a reason", server.process, problem)
	}
}

func TestPaidPaymentCanBeConfirmed(t *testing.T) {
	t.Parallel()
	pay := Simulator(t)
	client := pay.Client(t)
	for order, capture := range map[string]bool{"ORDER-1": true, "ORDER-2": false} {
		id := pay.Paid(t, order, "1000", "TWD", capture)
		confirmed, err := client.Confirm(t.Context(), id, linepay.MustAmount("1000"), "TWD")
		if err != nil {
			t.Fatalf("%s: %v", order, err)
		}
		if confirmed.OrderID != order || confirmed.TransactionID != id || (confirmed.AuthorizationExpireDate == "") != capture {
			t.Errorf("%s: confirmed %+v, want it of %s with capture %t", order, confirmed, id, capture)
		}
	}
}

func TestRequestedPaymentWaitsForTheCustomer(t *testing.T) {
	t.Parallel()
	pay := Simulator(t)
	client := pay.Client(t)
	id := pay.Requested(t, "ORDER-1", "10.50", "USD", true)
	status, err := client.Check(t.Context(), id)
	if err != nil || status.Status != linepay.Waiting {
		t.Errorf("status %v, error %v, want %v", status, err, linepay.Waiting)
	}
}
