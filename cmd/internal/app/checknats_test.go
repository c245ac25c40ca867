package app

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/consumer"
	"linepay-worker/consumer/consumertest"
	"linepay-worker/publisher"
	"linepay-worker/schemas"
)

// onNATS is work on a NATS of its own, with the four streams.
func onNATS(t *testing.T) (Work, jetstream.JetStream) {
	t.Helper()
	nats := consumertest.NATS(t)
	js := nats.JetStream(t)
	work := Work{NATS: nats.Connect(t), Streams: StreamSettings{DedupeWindow: 10 * time.Minute, Replicas: 1}}
	if _, err := publisher.Provision(t.Context(), js, publisher.StreamOptions{}, true); err != nil {
		t.Fatal(err)
	}
	return work, js
}

// changed changes a stream as an operator would.
func changed(t *testing.T, js jetstream.JetStream, name string, change func(*jetstream.StreamConfig)) {
	t.Helper()
	stream, err := js.Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	config := stream.CachedInfo().Config
	change(&config)
	if _, err := js.UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
}

func TestMissingStreamsAreFound(t *testing.T) {
	t.Parallel()
	work := Work{NATS: consumertest.NATS(t).Connect(t), Channels: []Channel{{Name: "tw", ID: "1", Secret: "s", BaseURL: "http://127.0.0.1:1"}}}
	wantSaid(t, work.checkStreams(t.Context()),
		"broken | stream LINEPAY_COMMANDS | stream | does not exist",
		"broken | stream LINEPAY_EVENTS | stream | does not exist",
		"broken | stream LINEPAY_DEADLETTERS | stream | does not exist",
		"broken | stream LINEPAY_AUDIT | stream | does not exist")
	// What hangs on a stream is not found once more without it.
	rest := slices.Concat(work.checkConsumers(t.Context()), work.checkUnserved(t.Context()), work.checkClocks(t.Context()))
	if len(rest) != 0 {
		t.Errorf("found on streams that there are not: %v", rest)
	}
}

func TestStreamsThatDifferAreFound(t *testing.T) {
	t.Parallel()
	work, js := onNATS(t)
	changed(t, js, "LINEPAY_COMMANDS", func(c *jetstream.StreamConfig) { c.AllowRollup = true })
	changed(t, js, "LINEPAY_EVENTS", func(c *jetstream.StreamConfig) { c.Duplicates = 2 * time.Minute })
	found := work.checkStreams(t.Context())
	wantSaid(t, found,
		"broken | stream LINEPAY_COMMANDS | settings | dangerous",
		"weak | stream LINEPAY_COMMANDS | replicas | 1",
		"note | stream LINEPAY_EVENTS | settings | different",
		"weak | stream LINEPAY_EVENTS | replicas | 1",
		"ok | stream LINEPAY_DEADLETTERS | settings | as a worker creates it",
		"weak | stream LINEPAY_DEADLETTERS | replicas | 1",
		"ok | stream LINEPAY_AUDIT | settings | as a worker creates it",
		"weak | stream LINEPAY_AUDIT | replicas | 1")
	if got := found[0].Problem; got != "it lets a publisher's Nats-Rollup delete messages" {
		t.Errorf("the danger is %q", got)
	}
	if got := found[2].Problem; got != "duplicate window is 2m0s, the worker would set 10m0s" {
		t.Errorf("the difference is %q", got)
	}
}

func TestStreamsThatAreFullAreFound(t *testing.T) {
	t.Parallel()
	work, js := onNATS(t)
	for range 9 {
		if _, err := js.Publish(t.Context(), "linepay.events.tw.captured.ORDER-1", []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	for limit, want := range map[int64]string{
		9: "broken | stream LINEPAY_EVENTS | limits | 100% full", 11: "weak | stream LINEPAY_EVENTS | limits | 82% full", 12: "",
	} {
		changed(t, js, "LINEPAY_EVENTS", func(c *jetstream.StreamConfig) { c.MaxMsgs = limit })
		found := slices.DeleteFunc(work.checkStreams(t.Context()), func(f Finding) bool { return f.Setting != "limits" })
		if want == "" {
			wantSaid(t, found)
		} else {
			wantSaid(t, found, want)
		}
	}
	for name, cost := range map[string]string{
		"LINEPAY_COMMANDS": "publishers", "LINEPAY_EVENTS": "cannot be told", "LINEPAY_DEADLETTERS": "cannot be told", "LINEPAY_AUDIT": "linepayctl",
	} {
		info := &jetstream.StreamInfo{Config: jetstream.StreamConfig{Name: name, MaxBytes: 10}, State: jetstream.StreamState{Bytes: 9}}
		if found := streamRoom(info); len(found) != 1 || !strings.Contains(found[0].Cost, cost) {
			t.Errorf("%s: %+v, want a cost with %q", name, found, cost)
		}
	}
}

func TestStreamReplicasAreJudged(t *testing.T) {
	t.Parallel()
	peer := func(current, offline bool) *jetstream.PeerInfo {
		return &jetstream.PeerInfo{Name: "n" + map[bool]string{true: "1", false: "2"}[current], Current: current, Offline: offline}
	}
	for want, row := range map[string]struct {
		replicas int
		peers    []*jetstream.PeerInfo
	}{
		"weak | stream S | replicas | 1":                           {1, nil},
		"weak | stream S | replicas | 2":                           {2, []*jetstream.PeerInfo{peer(true, false)}},
		"ok | stream S | replicas | 3":                             {3, []*jetstream.PeerInfo{peer(true, false), peer(true, false)}},
		"weak | stream S | replicas | 3, 1 of them behind or away": {3, []*jetstream.PeerInfo{peer(true, false), peer(false, false)}},
		"weak | stream S | replicas | 5, 1 of them behind or away": {5, []*jetstream.PeerInfo{peer(true, true), peer(true, false)}},
	} {
		info := &jetstream.StreamInfo{Config: jetstream.StreamConfig{Name: "S", Replicas: row.replicas}}
		if row.peers != nil {
			info.Cluster = &jetstream.ClusterInfo{Replicas: row.peers}
		}
		wantSaid(t, []Finding{streamReplicas(info)}, want)
	}
}

func TestNATSWithoutJetStreamIsFoundOnce(t *testing.T) {
	t.Parallel()
	conn := connected(t, startNATS(t, server.Options{}).ClientURL())
	wantSaid(t, Work{NATS: conn}.checkStreams(t.Context()), "broken | nats | jetstream | not enabled")
}

func TestStreamThatMayNotBeLookedAtIsFound(t *testing.T) {
	t.Parallel()
	work, _ := onNATS(t)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	wantSaid(t, work.checkStreams(ended),
		"weak | stream LINEPAY_COMMANDS | settings | not known",
		"weak | stream LINEPAY_EVENTS | settings | not known",
		"weak | stream LINEPAY_DEADLETTERS | settings | not known",
		"weak | stream LINEPAY_AUDIT | settings | not known")
}

func connected(t *testing.T, url string, options ...nats.Option) *nats.Conn {
	t.Helper()
	conn, err := nats.Connect(url, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

func TestConsumersThatDifferAreFound(t *testing.T) {
	t.Parallel()
	work, js := onNATS(t)
	for _, name := range []string{"new", "own", "paused", "spoilt"} {
		work.Channels = append(work.Channels, Channel{Name: name, ID: "1", Secret: "s", BaseURL: "http://127.0.0.1:1"})
	}
	until := time.Now().Add(time.Hour)
	for _, config := range []jetstream.ConsumerConfig{
		{Durable: "linepay-worker-own", FilterSubject: "linepay.commands.own.*", AckWait: time.Hour, MaxAckPending: -1},
		{Durable: "linepay-worker-paused", FilterSubject: "linepay.commands.paused.*", AckWait: time.Hour, MaxAckPending: -1, PauseUntil: &until},
		{
			Durable: "linepay-worker-spoilt", FilterSubject: "linepay.commands.spoilt.confirm", BackOff: []time.Duration{time.Second, time.Minute},
			MaxDeliver: 3, MaxAckPending: 9, InactiveThreshold: time.Hour,
		},
	} {
		if _, err := js.CreateConsumer(t.Context(), schemas.StreamCommands, config); err != nil {
			t.Fatal(err)
		}
	}
	found := work.checkConsumers(t.Context())
	spoilt := "broken | consumer linepay-worker-spoilt | settings | changed"
	want := []string{
		"note | consumer linepay-worker-new | consumer | does not exist",
		"ok | consumer linepay-worker-own | settings | as a worker creates it",
		"note | consumer linepay-worker-paused | pause_until | " + until.UTC().Format(time.RFC3339),
		spoilt, spoilt, spoilt, spoilt, spoilt, spoilt,
	}
	if diff := cmp.Diff(want, said(t, found)); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	var problems strings.Builder
	for _, f := range found {
		problems.WriteString(f.Problem + "\n")
	}
	for _, part := range []string{
		"its filter is", "BackOff list", "9 commands be pending", "deleted after 1h0m0s", "after 3 deliveries", "its AckWait is 1s",
	} {
		if !strings.Contains(problems.String(), part) {
			t.Errorf("nothing found about %q:\n%s", part, problems.String())
		}
	}
}

func TestCommandsThatNobodyTakesAreFound(t *testing.T) {
	t.Parallel()
	work, js := onNATS(t)
	config := jetstream.ConsumerConfig{Durable: consumer.ConsumerName("served"), FilterSubject: "linepay.commands.served.*"}
	if _, err := js.CreateConsumer(t.Context(), schemas.StreamCommands, config); err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{"served.confirm", "tw.confirm", "tw.refund", "TW.confirm"} {
		if _, err := js.Publish(t.Context(), "linepay.commands."+subject, nil); err != nil {
			t.Fatal(err)
		}
	}
	found := work.checkUnserved(t.Context())
	wantSaid(t, found, "weak | channel TW | consumer | does not exist", "weak | channel tw | consumer | does not exist")
	if got, want := found[1].Problem, "commands that nobody takes: 2 on linepay.commands.tw.*"; got != want {
		t.Errorf("the finding says %q, want %q", got, want)
	}
	if !strings.Contains(found[0].Remedy, "no worker can serve") || strings.Contains(found[1].Remedy, "no worker can serve") {
		t.Errorf("what no worker can ever serve is not told apart:\n%s\n%s", found[0].Remedy, found[1].Remedy)
	}
	// A worker that starts is about to create its own.
	wantSaid(t, work.checkUnserved(t.Context(), Channel{Name: "tw"}), "weak | channel TW | consumer | does not exist")
}

func TestConsumerThatTakesCommandsAwayIsFound(t *testing.T) {
	t.Parallel()
	work, js := onNATS(t)
	audit := jetstream.ConsumerConfig{Durable: "tw", FilterSubject: "linepay.commands.tw.*"}
	if _, err := js.CreateConsumer(t.Context(), schemas.StreamCommands, audit); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "linepay.commands.tw.confirm", nil); err != nil {
		t.Fatal(err)
	}
	wantSaid(t, work.checkUnserved(t.Context()),
		"weak | consumer tw | consumer | not a worker's", "weak | channel tw | consumer | does not exist")
}

// Where a stream keeps what was acknowledged, others may read along.
func TestConsumerThatReadsAlongIsFine(t *testing.T) {
	t.Parallel()
	work := Work{NATS: consumertest.NATS(t).Connect(t)}
	js, err := jetstream.New(work.NATS)
	if err != nil {
		t.Fatal(err)
	}
	config := publisher.Streams(publisher.StreamOptions{})[0]
	config.Retention = jetstream.LimitsPolicy
	if _, err := js.CreateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateConsumer(t.Context(), config.Name, jetstream.ConsumerConfig{Durable: "audit"}); err != nil {
		t.Fatal(err)
	}
	if found := work.checkUnserved(t.Context()); len(found) != 0 {
		t.Errorf("found %v", found)
	}
}

func TestSyncIntervalIsReadWhereItCanBe(t *testing.T) {
	t.Parallel()
	monitored := func(o server.Options) string {
		o.HTTPHost, o.HTTPPort, o.ServerName = "127.0.0.1", -1, "n1"
		if o.JetStream {
			o.StoreDir = t.TempDir()
		}
		return "http://" + startNATS(t, o).MonitorAddr().String()
	}
	for _, row := range []struct{ address, want string }{
		{monitored(server.Options{JetStream: true, SyncAlways: true}), "ok | nats n1 | sync_interval | always"},
		{monitored(server.Options{JetStream: true}) + "/", "weak | nats n1 | sync_interval | 2m0s"},
		{monitored(server.Options{}), "note | nats n1 | sync_interval | none"},
		{"http://user:hush@127.0.0.1:1", "weak | nats http://…@127.0.0.1:1 | sync_interval | not known"},
		{"http://127.0.0.1:%", "weak | nats http://127.0.0.1:% | sync_interval | not known"},
		{monitored(server.Options{}) + "/nothing", ""},
	} {
		found := Work{}.checkSync(t.Context(), []string{row.address})
		if row.want != "" {
			wantSaid(t, found, row.want)
		} else if len(found) != 1 || !strings.Contains(found[0].Problem, "HTTP status 404") {
			t.Errorf("%s: found %v, want the status", row.address, found)
		}
		if strings.Contains(found[0].Problem, "hush") {
			t.Errorf("the finding shows the password: %s", found[0].Problem)
		}
	}
	if found := (Work{}).checkSync(t.Context(), nil); len(found) != 0 {
		t.Errorf("no NATS was asked for, and found is %v", found)
	}
}

func TestSyncIntervalIsToldToTheSystemAccountAlone(t *testing.T) {
	t.Parallel()
	system, shop := server.NewAccount("SYS"), server.NewAccount("SHOP")
	url := startNATS(t, server.Options{
		ServerName: "n1", JetStream: true, StoreDir: t.TempDir(), SyncInterval: time.Minute,
		Accounts: []*server.Account{system, shop}, SystemAccount: "SYS",
		Users: []*server.User{{Username: "system", Password: "x", Account: system}, {Username: "shop", Password: "x", Account: shop}},
	}).ClientURL()
	for user, want := range map[string]string{
		"system": "weak | nats n1 | sync_interval | 1m0s", "shop": "note | nats | sync_interval | cannot be seen",
	} {
		wantSaid(t, Work{NATS: connected(t, url, nats.UserInfo(user, "x"))}.checkSync(t.Context(), nil), want)
	}
}
