package main

import (
	"bytes"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"linepay-worker/cmd/internal/app"
	"linepay-worker/consumer"
	"linepay-worker/consumer/consumertest"
	"linepay-worker/idempotency"
	"linepay-worker/schemas"
)

// run is linepayctl inside the test's process, until it ends.
func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, said bytes.Buffer
	code = execute(t.Context(), args, console{strings.NewReader(""), &out, &said})
	return code, out.String(), said.String()
}

func statusOf(t *testing.T, args ...string) (s status) {
	t.Helper()
	code, out, said := run(t, append([]string{"status", "--json"}, args...)...)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, said)
	}
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return s
}

func TestStatusTellsWhatTheGuardHasInDoubt(t *testing.T) {
	t.Parallel()
	server, _ := provisioned(t)
	store := consumertest.Redis(t)
	keeper, err := idempotency.New(idempotency.Config{Redis: store.Client(t), Retention: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	claim := func(id string) *idempotency.Claim {
		t.Helper()
		claim, err := keeper.Claim(t.Context(), idempotency.ClaimRequest{
			Entity:    idempotency.Entity{Host: "pay.example", ChannelID: "1", Kind: idempotency.KindTransaction, ID: id},
			Operation: idempotency.OperationKey("void", id), Command: idempotency.Command{Source: "/shop", ID: "v-" + id},
			Fingerprint: "f", Sequence: 1, CallFor: time.Minute, Lease: time.Hour, Place: time.Hour,
		})
		if err != nil {
			t.Fatal(err)
		}
		return claim
	}
	if err := keeper.Release(t.Context(), claim("1"), idempotency.Release{Unknown: true, RetryAfter: time.Hour}); err != nil {
		t.Fatal(err)
	}
	parked := idempotency.Settlement{State: idempotency.StateParked, Outcome: []byte("{}"), MoneyUnknown: true}
	if err := keeper.Settle(t.Context(), claim("2"), parked); err != nil {
		t.Fatal(err)
	}
	claim("3")

	got := statusOf(t, "--nats-url", server.URL(), "--redis-url", store.URL()).Guard
	if got.Doubt == nil || got.Parked == nil || time.Until(got.Doubt.NextLook) < 50*time.Minute ||
		time.Since(got.Parked.Claimed) > time.Minute {
		t.Fatalf("the guard is told to be %+v", got)
	}
	got.Doubt.NextLook, got.Doubt.Claimed, got.Parked.Claimed = time.Time{}, time.Time{}, time.Time{}
	want := guard{
		Looked: true, Complete: true, Entities: 3, InDoubt: 1, ParkedUnknown: 1, UnderWay: 1,
		Doubt:  &doubt{Operation: "void:1", Command: schemas.CommandRef{Source: "/shop", ID: "v-1"}},
		Parked: &doubt{Operation: "void:2", Command: schemas.CommandRef{Source: "/shop", ID: "v-2"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the guard (-want +got):\n%s", diff)
	}
	_, out, _ := run(t, "status", "--nats-url", server.URL(), "--redis-url", store.URL())
	for _, line := range []string{
		"GUARD  1 in doubt, 1 parked with money unknown, 1 under way, 0 to be tried again, of 3 on record\n",
		"       in doubt, due first: void:1 of /shop v-1, next look-up in 59m5",
		"       parked, claimed first: void:2 of /shop v-2, claimed ",
	} {
		if !strings.Contains(out, line) {
			t.Errorf("%q is missing in\n%s", line, out)
		}
	}
}

// A publisher can set any headers, and leave the body out: none of them may end the reading.
func TestTenThousandDeadLettersAreCountedAndListedWhateverTheirHeadersAre(t *testing.T) {
	t.Parallel()
	server, js := provisioned(t)
	for reason, count := range map[string]int{schemas.ReasonUnresolved: 6000, schemas.ReasonPoison: 4000} {
		if err := parkSome(t, js, "tw", reason, count); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	s := statusOf(t, "--nats-url", server.URL(), "--redis-url", "redis://127.0.0.1:1")
	t.Logf("10,000 dead letters were counted in %s", time.Since(began).Round(time.Millisecond))
	counts := map[string]uint64{}
	for _, l := range s.DeadLetters {
		counts[l.Channel+" "+l.Reason] = l.Count
	}
	if diff := cmp.Diff(map[string]uint64{"tw unresolved": 6000, "tw poison": 4000}, counts); diff != "" {
		t.Errorf("dead letters (-want +got):\n%s", diff)
	}
	if len(s.Channels) != 1 || s.Channels[0].DeadLetters != 10_000 {
		t.Errorf("channels are %+v", s.Channels)
	}
	began = time.Now()
	code, out, said := run(t, "deadletters", "list", "--json", "--nats-url", server.URL())
	t.Logf("10,000 dead letters were listed in %s", time.Since(began).Round(time.Millisecond))
	if code != 0 || strings.Count(out, "\n") != 10_000 {
		t.Errorf("exit code %d, %s, %d are listed", code, said, strings.Count(out, "\n"))
	}
	leftBehind(t, js)
}

// leftBehind holds that no consumer of a status is left at the server.
func leftBehind(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	for _, name := range streams {
		stream, err := js.Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if n := stream.CachedInfo().State.Consumers; n != 0 {
			t.Errorf("status leaves %d consumers on %s", n, name)
		}
	}
}

func TestStatusCountsEventsAndWhatWorkersHaveInFlight(t *testing.T) {
	t.Parallel()
	server, js := provisioned(t)
	captured(t, js, "ORDER-1")
	captured(t, js, "ORDER-2")
	registry, pay := prometheus.NewRegistry(), consumertest.Simulator(t)
	work := workOf(t, server, pay, consumertest.Redis(t))
	work.Metrics = registry
	if _, err := app.NewWorkers(t.Context(), work); err != nil {
		t.Fatal(err)
	}
	admin := httptest.NewServer(app.NewAdmin(registry))
	defer admin.Close()
	s := statusOf(t, "--nats-url", server.URL(), "--redis-url", "redis://127.0.0.1:1", "--channel", "tw", "--admin", admin.URL+"/")
	if len(s.Channels) != 1 || s.Channels[0].Events != 2 || s.Channels[0].LastEvent.IsZero() || s.Channels[0].Served {
		t.Errorf("channels are %+v", s.Channels)
	}
	want := []workerState{{Admin: admin.URL, Answers: true, Ready: true, Checks: []app.CheckResult{}, InFlight: map[string]int{"default": 0}}}
	if diff := cmp.Diff(want, s.Workers); diff != "" {
		t.Errorf("workers (-want +got):\n%s", diff)
	}
	leftBehind(t, js)
}

func TestStatusTellsOfAReloadThatFailedThoughTheWorkerIsReady(t *testing.T) {
	t.Parallel()
	for detail, want := range map[string]string{
		app.AsConfigured: "", "served as before the last reload, which failed: no id": "channels: served as before the last reload, which failed: no id",
	} {
		w := workerState{Ready: true, Checks: []app.CheckResult{{Name: app.ChannelsCheck, OK: true, Detail: detail}, {Name: "redis", OK: true, Detail: "takes writes"}}}
		if got := w.complaints(); got != want {
			t.Errorf("complaints are %q, want %q", got, want)
		}
	}
}

func TestStatusTellsWhatIsInHandFromWhatWaits(t *testing.T) {
	t.Parallel()
	server, js := provisioned(t)
	source, err := js.CreateConsumer(t.Context(), schemas.StreamCommands, jetstream.ConsumerConfig{
		Durable: consumer.ConsumerName("tw"), FilterSubject: schemas.CommandSubject("tw", "*"), AckPolicy: jetstream.AckExplicitPolicy,
	})
	if err != nil {
		t.Fatal(err)
	}
	publish := func() {
		t.Helper()
		if _, err := js.PublishMsg(t.Context(), nats.NewMsg(schemas.CommandSubject("tw", "void"))); err != nil {
			t.Fatal(err)
		}
	}
	next := func() jetstream.Msg {
		t.Helper()
		msg, err := source.Next()
		if err != nil {
			t.Fatal(err)
		}
		return msg
	}
	publish()
	if err := next().Nak(); err != nil {
		t.Fatal(err)
	}
	next() // the same one again
	publish()
	publish()
	next()
	s := statusOf(t, "--nats-url", server.URL(), "--redis-url", "redis://127.0.0.1:1")
	if len(s.Channels) != 1 {
		t.Fatalf("channels are %+v", s.Channels)
	}
	if c := s.Channels[0]; !c.Served || c.Backlog != 1 || c.InHand != 2 || c.Redelivered != 1 || c.Oldest == nil || c.Oldest.Sequence != 1 {
		t.Errorf("the channel is %+v", c)
	}
}

// What is shown of channels, commands and workers was written by others.
func TestStatusShowsHostileTextHarmlessly(t *testing.T) {
	t.Parallel()
	const evil = "\x1b[2J\u202e\xff"
	report := status{
		Channels:    []channel{{Name: evil, Oldest: &undone{Operation: evil, OrderID: strings.Repeat(evil, 1000)}}},
		DeadLetters: []letterCount{{Channel: evil, Reason: evil}},
		Guard:       guard{Looked: true, Problem: evil, Doubt: &doubt{Operation: evil, Command: schemas.CommandRef{Source: evil, ID: evil}}},
		Workers: []workerState{
			{Admin: evil, Problem: evil},
			{Admin: evil, Answers: true, Checks: []app.CheckResult{{Name: evil, Detail: evil}}},
		},
	}.report()
	if strings.ContainsAny(report, "\x1b\u202e") || !utf8.ValidString(report) {
		t.Errorf("a terminal is given %q", report)
	}
	if longest := 600; len(strings.Split(report, "\n")[1]) > longest {
		t.Errorf("an id makes a line of %d bytes", len(strings.Split(report, "\n")[1]))
	}
}

// A subject may hold any bytes but blanks: none may end the look at the others.
func TestStatusOutlivesHostileSubjects(t *testing.T) {
	t.Parallel()
	server, js := provisioned(t)
	const evil = "\x1b[2J\u202e\xff*>"
	for _, subject := range []string{"linepay.commands." + evil + "." + evil, "linepay.deadletters." + evil, "linepay.commands.tw.void"} {
		if _, err := js.PublishMsg(t.Context(), nats.NewMsg(subject)); err != nil {
			t.Fatal(err)
		}
	}
	code, out, said := run(t, "status", "--nats-url", server.URL(), "--redis-url", "redis://127.0.0.1:1")
	if code != 0 || strings.ContainsAny(out, "\x1b\u202e") || !strings.Contains(out, "\ntw ") || !strings.Contains(out, "nobody serves it") {
		t.Errorf("exit code %d, %s\n%q", code, said, out)
	}
	if s := statusOf(t, "--nats-url", server.URL(), "--redis-url", "redis://127.0.0.1:1"); len(s.Channels) < 2 || len(s.DeadLetters) != 1 {
		t.Errorf("the status is %+v", s)
	}
	if code, out, said = run(t, "deadletters", "list", "--nats-url", server.URL()); code != 0 || !strings.Contains(out, "\n1 dead letter, ") {
		t.Errorf("exit code %d, %s\n%q", code, said, out)
	}
}

func TestSpansAndSizesAreWrittenInUnitsThatFit(t *testing.T) {
	t.Parallel()
	for want, got := range map[string]string{
		"0s": span(-time.Hour), "59s": span(59*time.Second + 999*time.Millisecond), "1m0s": span(time.Minute), "59m59s": span(time.Hour - 1),
		"23h59m": span(24*time.Hour - 1), "3d4h": span(76*time.Hour + 59*time.Minute),
		"1023 B": storage(1023), "1.0 KiB": storage(1024), "1.5 MiB": storage(3 << 19), "16.0 EiB": storage(1<<64 - 1),
		"no limit": limit(7, 0, number), "10 (70% full)": limit(7, 10, number),
		"in 1m0s": due(time.Unix(0, 0), time.Unix(60, 0)), "due since 1m0s": due(time.Unix(60, 0), time.Unix(0, 0)),
		"when its command is delivered again": due(time.Unix(0, 0), time.Time{}),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestOldNATSServerIsToldThatItCannotPause(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]bool{
		"2.10.29": false, "2.9.0": false, "1.4.1": false, "2.11.0": true, "2.11.0-RC.1": true, "2.12.1": true, "3.0.0": true, "dev": true, "": true,
	} {
		if pauses(version) != want {
			t.Errorf("version %q can pause: %t, want %t", version, !want, want)
		}
	}
	old := "nats://" + serverOfVersion(t, "2.10.29")
	for _, args := range [][]string{{"pause", "tw", "--for", "1h"}, {"resume", "tw"}} {
		code, _, said := run(t, append(args, "--because", "maintenance", "--nats-url", old)...)
		if code != 1 || !strings.Contains(said, "this NATS server is of version 2.10.29: pausing a channel needs 2.11 or later") {
			t.Errorf("%v: exit code %d and %q", args, code, said)
		}
	}
}

// serverOfVersion greets clients as a NATS server of that version does, and answers pings.
func serverOfVersion(t *testing.T, version string) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go greet(conn, version)
		}
	}()
	return listener.Addr().String()
}

func greet(conn net.Conn, version string) {
	defer conn.Close()
	_, _ = io.WriteString(conn, `INFO {"server_id":"S","version":"`+version+`","headers":true,"max_payload":1048576}`+"\r\n")
	for buffer := make([]byte, 4096); ; {
		n, err := conn.Read(buffer)
		if err != nil {
			return
		}
		if bytes.Contains(buffer[:n], []byte("PING")) {
			_, _ = io.WriteString(conn, "PONG\r\n")
		}
	}
}

// Nothing is done that is not on record.
func TestChannelIsNotPausedWhereThatCannotBePutOnRecord(t *testing.T) {
	t.Parallel()
	server, js := provisioned(t)
	if err := js.DeleteStream(t.Context(), schemas.StreamAudit); err != nil {
		t.Fatal(err)
	}
	_, err := js.CreateConsumer(t.Context(), schemas.StreamCommands, jetstream.ConsumerConfig{
		Durable: consumer.ConsumerName("tw"), FilterSubject: "linepay.commands.tw.*", AckPolicy: jetstream.AckExplicitPolicy,
	})
	if err != nil {
		t.Fatal(err)
	}
	paused := func() bool {
		t.Helper()
		found, err := js.Consumer(t.Context(), schemas.StreamCommands, consumer.ConsumerName("tw"))
		if err != nil {
			t.Fatal(err)
		}
		return found.CachedInfo().Paused
	}
	code, _, said := run(t, "pause", "tw", "--for", "1h", "--because", "maintenance", "--nats-url", server.URL())
	if code != 1 || !strings.Contains(said, "stream LINEPAY_AUDIT does not exist") || paused() {
		t.Errorf("exit code %d, paused %t, and %q", code, paused(), said)
	}
	if _, err := js.PauseConsumer(t.Context(), schemas.StreamCommands, consumer.ConsumerName("tw"), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	code, _, said = run(t, "resume", "tw", "--because", "it is over", "--nats-url", server.URL())
	if code != 1 || !strings.Contains(said, "stream LINEPAY_AUDIT does not exist") || !paused() {
		t.Errorf("exit code %d, paused %t, and %q", code, paused(), said)
	}
}
