package app

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"linepay-worker/consumer"
	"linepay-worker/consumer/consumertest"
	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
)

// watched is a worker of channel tw with all its metrics, among real servers and the simulator.
type watched struct {
	*testing.T
	pay   *consumertest.LINEPay
	redis *consumertest.RedisServer
	js    jetstream.JetStream
	admin http.Handler
}

func startWatched(t *testing.T) *watched {
	t.Helper()
	work, js := onNATS(t)
	store := consumertest.Redis(t)
	work.Redis = store.Client(t)
	pay := consumertest.Simulator(t)
	registry := prometheus.NewRegistry()
	work.Channels = []Channel{{Name: "tw", ID: pay.ChannelID, Secret: pay.Secret, BaseURL: pay.URL, Concurrency: 8}}
	work.Limits = WorkerSettings{
		ReadTimeout: 2 * time.Second, LookupMargin: 200 * time.Millisecond, RetryMin: 50 * time.Millisecond, RetryMax: time.Second,
		RetryBudget: time.Hour, RecordRetention: time.Hour, ShutdownGrace: 10 * time.Second,
	}
	work.Logger, work.Metrics, work.Streams.Provision = zerolog.Nop(), registry, true
	workers, err := NewWorkers(t.Context(), work)
	if err != nil {
		t.Fatal(err)
	}
	told := NewServerMetrics(work, servesTW)
	registry.MustRegister(told)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, told.Run, workers[0].Run) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return &watched{t, pay, store, js, NewAdmin(registry)}
}

// send publishes a command; a replay where the number of one is given.
func (w *watched) send(subject, id, data string, replay ...string) {
	w.Helper()
	msg := nats.NewMsg("linepay.commands." + subject)
	_, operation, _ := strings.Cut(subject, ".")
	msg.Data = []byte(`{"specversion":"1.0","id":"` + id + `","source":"/shop","type":"linepay.command.` + operation + `.v1",` +
		`"data":` + data + `}`)
	for _, number := range replay {
		msg.Header.Set("Linepay-Replay", number)
	}
	if _, err := w.js.PublishMsg(w.Context(), msg); err != nil {
		w.Fatal(err)
	}
}

func (w *watched) confirm(id string, transaction linepay.TransactionID, order string, replay ...string) {
	w.Helper()
	w.send("tw.confirm", id, `{"transactionId":"`+transaction.String()+`","orderId":"`+order+`","amount":"100","currency":"TWD"}`, replay...)
}

// await waits until the metrics have all these lines.
func (w *watched) await(lines ...string) {
	w.Helper()
	var text string
	if !consumertest.Eventually(w, func(context.Context) bool {
		text = get(w.admin, "/metrics").Body.String()
		return !slices.ContainsFunc(lines, func(line string) bool { return !strings.Contains(text, "\n"+line+"\n") })
	}) {
		for _, line := range lines {
			if !strings.Contains(text, "\n"+line+"\n") {
				w.Errorf("there is no %s", line)
			}
		}
		w.Fatalf("in:\n%s", text)
	}
}

func TestLineIsSeenInTheMetrics(t *testing.T) {
	t.Parallel()
	w := startWatched(t)
	first := w.pay.Paid(t, "ORDER-1", "100", "TWD", true)
	w.confirm("C-1", first, "ORDER-1")
	w.await(`linepay_commands_handled_total{channel="tw",fate="ack",operation="confirm",outcome="captured"} 1`)
	w.confirm("C-2", first, "ORDER-1")       // the same by another name
	w.confirm("C-1", first, "ORDER-1", "17") // and from a dead letter
	lost := simulator.Fault{Operation: linepay.Confirm, Kind: simulator.KindDrop, When: simulator.After}
	w.await(`linepay_duplicates_blocked_total{channel="tw",operation="confirm"} 2`)
	if err := w.pay.Sim.AddFault(lost); err != nil {
		t.Fatal(err)
	}
	w.confirm("C-3", w.pay.Paid(t, "ORDER-2", "100", "TWD", true), "ORDER-2")
	w.send("tw.confirm", "C-4", `{"no":"end"`)
	w.send("jp.refund", "C-5", `{}`)

	w.await(
		`linepay_commands_handled_total{channel="tw",fate="ack",operation="confirm",outcome="captured"} 3`,
		`linepay_commands_handled_total{channel="tw",fate="ack",operation="confirm",outcome="duplicate"} 1`,
		`linepay_commands_handled_total{channel="tw",fate="ack",operation="confirm",outcome="parked"} 1`,
		`linepay_command_seconds_count{channel="tw"} 6`,
		`linepay_commands_in_flight{channel="tw"} 0`,
		`linepay_concurrency{channel="tw"} 8`,
		`linepay_replayed_commands_total{channel="tw",operation="confirm",outcome="captured"} 1`,
		`linepay_call_seconds_count{channel="tw",class="done",operation="confirm"} 1`,
		`linepay_call_seconds_count{channel="tw",class="unknown",operation="confirm"} 1`,
		`linepay_call_seconds_count{channel="tw",class="done",operation="details"} 1`,
		`linepay_claims_total{answer="fresh",channel="tw",operation="confirm"} 2`,
		`linepay_claims_total{answer="duplicate",channel="tw",operation="confirm"} 1`,
		`linepay_claims_total{answer="done",channel="tw",operation="confirm"} 1`,
		`linepay_claims_total{answer="in_doubt",channel="tw",operation="confirm"} 1`,
		`linepay_lookups_total{channel="tw",operation="confirm",verdict="happened"} 1`,
		`linepay_dead_letters_parked_total{channel="tw",reason="invalid"} 1`,
		`linepay_dead_letters_parked_total{channel="tw",reason="poison"} 0`,
		`linepay_publish_seconds_count{channel="tw",kind="event",result="stored"} 4`,
		`linepay_publish_seconds_count{channel="tw",kind="dead_letter",result="stored"} 1`,
		`linepay_breaker_state{channel="tw",state="closed"} 1`,
		`linepay_breaker_state{channel="tw",state="open"} 0`,
		`linepay_channel_refused{channel="tw"} 0`,
		`linepay_ready{channel="tw"} 1`,
		`linepay_guard_answers{channel="tw"} 1`,
		`linepay_redis_memory_believed{channel="tw"} 1`,
		`linepay_results_untold{channel="tw"} 0`,
	)
	w.tellsOfTheServers(t)
	types := regexp.MustCompile(`(?m)^# TYPE (linepay_\w+) (\w+)$`).FindAllStringSubmatch(get(w.admin, "/metrics").Body.String(), -1)
	var got, want []string
	for _, found := range types {
		got = append(got, found[1]+" "+found[2])
	}
	for _, m := range slices.Concat(consumer.Metrics(), toldByServers) {
		want = append(want, m.Name+" "+m.Type)
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics that the documentation names, and that are served (-want +got):\n%s", diff)
	}
}

// tellsOfTheServers looks at what NATS and Redis hold once the line is empty, by a collector of its own, which has asked nobody before.
func (w *watched) tellsOfTheServers(t *testing.T) {
	t.Helper()
	w.await(
		`linepay_server_answers{server="nats"} 1`, `linepay_server_answers{server="redis"} 1`,
		`linepay_commands_pending{channel="tw"} 0`, `linepay_commands_in_hand{channel="tw"} 0`, `linepay_commands_oldest_seconds{channel="tw"} 0`,
		`linepay_channel_paused{channel="tw"} 0`, `linepay_commands_unserved 1`,
		`linepay_dead_letters{channel="tw",reason="invalid"} 1`, `linepay_dead_letters{channel="tw",reason="exhausted"} 0`,
		`linepay_stream_messages{stream="LINEPAY_EVENTS"} 3`, `linepay_stream_messages{stream="LINEPAY_COMMANDS"} 1`,
		`linepay_stream_fill_ratio{stream="LINEPAY_DEADLETTERS"} 0`, `linepay_storage_fill_ratio 0`,
		`linepay_operations_under_way 0`, `linepay_operations_in_doubt 0`, `linepay_operations_in_doubt_oldest_seconds 0`,
		`linepay_operations_parked_unknown 0`, `linepay_records_damaged 0`, `linepay_records_complete 1`,
	)
}

func TestTroubleIsSeenInTheMetrics(t *testing.T) {
	t.Parallel()
	w := startWatched(t)
	w.await(`linepay_ready{channel="tw"} 1`)

	// LINE Pay refuses the channel.
	refusal := simulator.Fault{Operation: linepay.Confirm, Kind: simulator.KindCode, Code: "1106", When: simulator.Before, Count: 1}
	if err := w.pay.Sim.AddFault(refusal); err != nil {
		t.Fatal(err)
	}
	w.confirm("C-1", w.pay.Paid(t, "ORDER-1", "100", "TWD", true), "ORDER-1")
	w.await(`linepay_channel_refused{channel="tw"} 1`, `linepay_breaker_state{channel="tw",state="open"} 1`, `linepay_ready{channel="tw"} 0`,
		`linepay_call_seconds_count{channel="tw",class="channel",operation="confirm"} 1`)
	w.await(`linepay_channel_refused{channel="tw"} 0`, `linepay_breaker_state{channel="tw",state="open"} 0`, `linepay_ready{channel="tw"} 1`,
		`linepay_commands_handled_total{channel="tw",fate="ack",operation="confirm",outcome="captured"} 1`)

	// JetStream takes no events.
	changed(t, w.js, "LINEPAY_EVENTS", func(c *jetstream.StreamConfig) { c.MaxMsgs = 1 })
	w.confirm("C-2", w.pay.Paid(t, "ORDER-2", "100", "TWD", true), "ORDER-2")
	w.await(`linepay_results_untold{channel="tw"} 1`, `linepay_ready{channel="tw"} 0`)
	if text := get(w.admin, "/metrics").Body.String(); !strings.Contains(text, `linepay_publish_seconds_count{channel="tw",kind="event",result="failed"}`) {
		t.Errorf("the event that was not stored is not counted:\n%s", text)
	}
	changed(t, w.js, "LINEPAY_EVENTS", func(c *jetstream.StreamConfig) { c.MaxMsgs = -1 })
	w.await(`linepay_results_untold{channel="tw"} 0`, `linepay_ready{channel="tw"} 1`)

	// Redis forgets while a call is under way, and is believed again when that is done.
	slow := simulator.Fault{Operation: linepay.Confirm, Kind: simulator.KindDelay, When: simulator.After, Delay: 1500 * time.Millisecond, Count: 1}
	if err := w.pay.Sim.AddFault(slow); err != nil {
		t.Fatal(err)
	}
	w.confirm("C-3", w.pay.Paid(t, "ORDER-3", "100", "TWD", true), "ORDER-3")
	w.await(`linepay_commands_in_flight{channel="tw"} 1`)
	w.redis.FlushAll()
	w.confirm("C-4", w.pay.Paid(t, "ORDER-4", "100", "TWD", true), "ORDER-4") // whose claim finds it out
	w.await(`linepay_redis_memory_believed{channel="tw"} 0`)
	w.await(`linepay_redis_memory_believed{channel="tw"} 1`,
		`linepay_commands_handled_total{channel="tw",fate="ack",operation="confirm",outcome="captured"} 4`)

	// Redis is away.
	w.redis.Stop()
	w.confirm("C-5", 1, "ORDER-5")
	w.await(`linepay_guard_answers{channel="tw"} 0`, `linepay_claims_total{answer="unavailable",channel="tw",operation="confirm"} 1`)
	w.redis.Start()
	w.await(`linepay_guard_answers{channel="tw"} 1`)
}

func samplesOf(samples []sample) map[string]float64 {
	values := map[string]float64{}
	for _, s := range samples {
		values[strings.Join(append([]string{s.metric.Name}, s.labels...), " ")] = s.value
	}
	return values
}

func TestBacklogAndDeadLettersAreTold(t *testing.T) {
	t.Parallel()
	work, js := onNATS(t)
	work.Channels = []Channel{{Name: "tw"}}
	consumed := jetstream.ConsumerConfig{
		Durable: "linepay-worker-tw", FilterSubject: "linepay.commands.tw.*", AckPolicy: jetstream.AckExplicitPolicy,
	}
	stream, err := js.CreateConsumer(t.Context(), "LINEPAY_COMMANDS", consumed)
	if err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{
		"linepay.commands.tw.void", "linepay.commands.tw.refund", "linepay.commands.jp.void",
		"linepay.deadletters.tw.void", "linepay.deadletters.nobody.void",
	} {
		if _, err := js.Publish(t.Context(), subject, []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := stream.Next(jetstream.FetchMaxWait(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	changed(t, js, "LINEPAY_EVENTS", func(c *jetstream.StreamConfig) { c.MaxMsgs = 4 })
	changed(t, js, "LINEPAY_COMMANDS", func(c *jetstream.StreamConfig) { c.MaxMsgs = 4 })
	b := &busLook{work: work, served: servesTW}
	for range 2 { // the second time, the dead letters are not read again
		samples, err := b.look(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got := samplesOf(samples)
		for name, want := range map[string]float64{
			"linepay_commands_pending tw": 1, "linepay_commands_in_hand tw": 1, "linepay_commands_unserved": 1,
			"linepay_dead_letters tw unreadable": 1, "linepay_dead_letters other unreadable": 1, "linepay_dead_letters tw invalid": 0,
			"linepay_stream_fill_ratio LINEPAY_COMMANDS": .75, "linepay_stream_fill_ratio LINEPAY_EVENTS": 0,
		} {
			if value, told := got[name]; !told || value != want {
				t.Errorf("%s is %v (told: %t), want %v", name, value, told, want)
			}
		}
		for _, name := range []string{"linepay_commands_oldest_seconds tw", "linepay_dead_letters_oldest_seconds tw unreadable"} {
			if age := got[name]; age <= 0 || age > 60 {
				t.Errorf("%s is %v, want an age of less than a minute", name, age)
			}
		}
	}
}

func servesTW() []string { return []string{"tw"} }

func TestServerThatDoesNotAnswerHoldsNoScrapeUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var looks atomic.Int32
		var away atomic.Bool
		s := NewServerMetrics(Work{}, servesTW)
		for _, source := range s.sources {
			source.look = func(ctx context.Context) ([]sample, error) {
				looks.Add(1)
				if away.Load() {
					<-ctx.Done()
					return nil, errors.New("away")
				}
				return []sample{{commandsUnserved, 7, nil}}, nil
			}
		}
		s.sources = s.sources[:1]
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		scrape := func(within time.Duration, samples int, said string) {
			t.Helper()
			began, collected := time.Now(), make(chan prometheus.Metric, 10)
			s.Collect(collected)
			if took := time.Since(began); took != within || len(collected) != samples {
				t.Errorf("%s: %d samples after %s, want %d after %s", said, len(collected), took, samples, within)
			}
		}
		scrape(0, 2, "the first")
		scrape(0, 2, "at once again")
		if looks.Load() != 1 {
			t.Errorf("two scrapes in a row look %d times, want once", looks.Load())
		}
		time.Sleep(natsRest)
		away.Store(true)
		scrape(patienceOfScrape, 2, "while the server does not answer")
		scrape(patienceOfScrape, 2, "while the look goes on")
		time.Sleep(mostStale)
		scrape(patienceOfScrape, 1, "when all is old")
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		scrape(0, 1, "after the end")
	})
}

func TestWhatMakesRedisForgetIsNotReady(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		settings []string
		wait     int
		ready    bool
		want     string
	}{
		"as it should be": {nil, 0, true, "maxmemory-policy noeviction; appendfsync everysec: Redis answers before the record is on disk"},
		"evicts": {
			[]string{"--maxmemory-policy", "allkeys-lru", "--maxmemory", "100mb"}, 0, false, "maxmemory-policy allkeys-lru: when memory runs out",
		},
		"keeps nothing":  {[]string{"--appendonly", "no"}, 0, false, "nothing is written to disk"},
		"only snapshots": {[]string{"--appendonly", "no", "--save", "3600 1"}, 0, true, "only snapshots are written to disk"},
		"too few copies": {nil, 1, false, "a claim needs 1 replicas, and 0 are connected"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			work := Work{Redis: consumertest.Redis(t, row.settings...).Client(t), Limits: WorkerSettings{RedisWait: row.wait}}
			result := NewAdmin(prometheus.NewRegistry(), work.DurabilityCheck()).Ready(t.Context())
			if result.Ready != row.ready || !strings.Contains(result.Checks[0].Detail, row.want) {
				t.Errorf("%+v, want ready %t and %q", result, row.ready, row.want)
			}
		})
	}
}

func TestStreamThatTakesNothingIsNotReady(t *testing.T) {
	t.Parallel()
	work, js := onNATS(t)
	admin := NewAdmin(prometheus.NewRegistry(), work.ResultsCheck())
	expect := func(ready bool, said string) {
		t.Helper()
		if result := admin.Ready(t.Context()); result.Ready != ready || !strings.Contains(result.Checks[0].Detail, said) {
			t.Errorf("%+v, want ready %t and %q", result, ready, said)
		}
	}
	expect(true, "are taken")
	if _, err := js.Publish(t.Context(), "linepay.deadletters.tw.void", nil); err != nil {
		t.Fatal(err)
	}
	changed(t, js, "LINEPAY_DEADLETTERS", func(c *jetstream.StreamConfig) { c.MaxMsgs = 1 })
	expect(false, "stream LINEPAY_DEADLETTERS is full: 1 messages")
	changed(t, js, "LINEPAY_DEADLETTERS", func(c *jetstream.StreamConfig) { c.MaxMsgs = 2 })
	expect(true, "are taken")
	if err := js.DeleteStream(t.Context(), "LINEPAY_EVENTS"); err != nil {
		t.Fatal(err)
	}
	expect(false, "stream LINEPAY_EVENTS: ")
}
