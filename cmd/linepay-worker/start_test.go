package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/cmd/internal/app"
	"linepay-worker/consumer/consumertest"
	"linepay-worker/publisher"
)

const secret = "a-secret-that-nobody-may-read"

func TestHelpListsEverySettingAndNoSecret(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--help"}, {"run", "--help"}} {
		worker := start(t, []string{"LINEPAY_CHANNEL_SECRET=" + secret, "NATS_URL=nats://user:" + secret + "@host"}, args...)
		if code := worker.end(); code != 0 {
			t.Errorf("%v: exit code %d, want 0", args, code)
		}
		help := worker.said()
		if head := "Usage: linepay-worker [run] [flags]\n"; !strings.HasPrefix(help, head) {
			t.Errorf("%v begins with %.40q, want %q", args, help, head)
		}
		if strings.Contains(help, secret) {
			t.Errorf("%v shows a secret:\n%s", args, help)
		}
		rows := strings.Split(strings.TrimSpace(app.SettingsTable()), "\n")[2:]
		for _, row := range rows {
			cells := strings.Split(row, "|")
			variable, flag := strings.Trim(cells[1], " `–"), strings.TrimPrefix(strings.Trim(cells[2], " `"), "--")
			if !strings.Contains(help, variable) || !strings.Contains(help, "--"+flag) && !strings.Contains(help, "--[no-]"+flag) {
				t.Errorf("%v does not list %s, $%s", args, flag, variable)
			}
		}
		if len(rows) < 20 {
			t.Errorf("the table of settings has %d rows, want all", len(rows))
		}
	}
}

func TestVersionNeedsNoSettings(t *testing.T) {
	t.Parallel()
	worker := start(t, []string{"READ_TIMEOUT=nonsense", "CONCURRENCY=0"}, "version")
	if code := worker.end(); code != 0 || !strings.HasPrefix(worker.said(), "linepay-worker ") || strings.Count(worker.said(), "\n") != 1 {
		t.Errorf("exit code %d, output %q, want 0 and one line with the version", code, worker.said())
	}
}

func TestWrongSettingIsNamedInOneLine(t *testing.T) {
	t.Parallel()
	channels := filepath.Join(t.TempDir(), "channels.yaml")
	if err := os.WriteFile(channels, []byte("channels:\n- name: tw\n  id: \"1\"\n  secret: "+secret+"\n  colour: red\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	channel := []string{"LINEPAY_CHANNEL_ID=1650000001", "LINEPAY_CHANNEL_SECRET=" + secret}
	for name, row := range map[string]struct {
		env  []string
		args []string
		want string
	}{
		"no channel":          {channel[1:], nil, "linepay-worker: LINEPAY_CHANNEL_ID (--channel-id) is missing: set it to"},
		"no secret":           {channel[:1], nil, "linepay-worker: LINEPAY_CHANNEL_SECRET (--channel-secret) is missing: set it"},
		"out of range":        {append(channel, "CONCURRENCY=0"), nil, "linepay-worker: CONCURRENCY (--concurrency) is 0: must be 1 to 10000"},
		"no duration":         {append(channel, "RETRY_MIN=soon"), nil, `linepay-worker: --retry-min: must be a duration such as 20s, 5m or 1h30m, not "soon"`},
		"limits disagree":     {append(channel, "SHUTDOWN_GRACE=1s"), nil, "linepay-worker: SHUTDOWN_GRACE (--shutdown-grace) is 1s: must be longer than the longest read timeout"},
		"without TLS":         {append(channel, "LINEPAY_BASE_URL=http://pay.example"), nil, "linepay-worker: LINEPAY_BASE_URL (--base-url) is http://pay.example: must be https"},
		"file":                {[]string{"LINEPAY_CHANNELS=" + channels}, nil, "linepay-worker: LINEPAY_CHANNELS (--channels): " + channels + ":5:3: unknown setting \"colour\""},
		"unknown flag":        {channel, []string{"--nonsense"}, "linepay-worker: unknown flag --nonsense"},
		"unknown verb":        {channel, []string{"walk"}, "linepay-worker: unexpected argument walk"},
		"address of Redis":    {append(channel, "REDIS_URL=http://u:"+secret+"@h"), nil, "linepay-worker: REDIS_URL (--redis-url) is http://…@h: must begin with redis://"},
		"admin without port":  {append(channel, "ADMIN_ADDR=localhost"), nil, "linepay-worker: ADMIN_ADDR (--admin-addr) is localhost: must be host:port"},
		"level":               {append(channel, "LOG_LEVEL=loud"), nil, "linepay-worker: LOG_LEVEL (--log-level) is loud: must be debug"},
		"no credentials":      {append(channel, "NATS_CREDS=/nowhere/a"), nil, "linepay-worker: NATS_CREDS (--nats-creds) is /nowhere/a: cannot be read"},
		"no seed":             {append(channel, "NATS_NKEY=/nowhere/a"), nil, "linepay-worker: NATS_NKEY (--nats-nkey) is /nowhere/a: is not a file with an NKey seed"},
		"no authorities":      {append(channel, "NATS_CA=/nowhere/a"), nil, "linepay-worker: NATS_CA (--nats-ca) is /nowhere/a: cannot be read"},
		"no Redis CA":         {append(channel, "REDIS_URL=rediss://h", "REDIS_CA=/nowhere/a"), nil, "linepay-worker: REDIS_CA (--redis-ca) is /nowhere/a: cannot be read"},
		"two NATS identities": {append(channel, "NATS_CREDS=a", "NATS_NKEY=b"), nil, "linepay-worker: NATS_NKEY (--nats-nkey) is b: must be empty"},
	} {
		worker := start(t, slices.Clone(row.env), row.args...)
		if code := worker.end(); code != 2 {
			t.Errorf("%s: exit code %d, want 2", name, code)
		}
		if said := worker.said(); !strings.HasPrefix(said, row.want) || strings.Count(said, "\n") != 1 || strings.Contains(said, secret) {
			t.Errorf("%s: output\n%s\nwant one line that begins with\n%s", name, said, row.want)
		}
	}
}

func TestEveryWrongSettingIsNamed(t *testing.T) {
	t.Parallel()
	worker := start(t, []string{"CONCURRENCY=0", "RETRY_MIN=0s"})
	worker.end()
	want := "linepay-worker: CONCURRENCY (--concurrency) is 0: must be 1 to 10000\n" +
		"linepay-worker: RETRY_MIN (--retry-min) is 0s: must be longer than 0: a retry without a wait is a storm\n"
	if worker.said() != want {
		t.Errorf("output\n%swant\n%s", worker.said(), want)
	}
}

// ends starts a worker that cannot work, and gives the error that it ends with.
func ends(t *testing.T, env []string, args ...string) logLine {
	t.Helper()
	worker := start(t, env, args...)
	if code := worker.end(); code != 1 {
		t.Errorf("exit code %d, want 1:\n%s", code, worker.said())
	}
	if strings.Contains(worker.said(), secret) {
		t.Errorf("the worker wrote a secret:\n%s", worker.said())
	}
	return worker.awaitLog(t, "ended by an error")
}

func TestMissingServerEndsTheStart(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	got := ends(t, append(s.env(), "REDIS_URL=redis://user:"+secret+"@127.0.0.1:1/0"))
	if !strings.Contains(got.Error, "REDIS_URL (--redis-url) is redis://…@127.0.0.1:1/0: no answer from Redis: dial tcp 127.0.0.1:1") || !strings.HasSuffix(got.Error, "check the address, and that Redis runs") {
		t.Errorf("without Redis: %q", got.Error)
	}
	got = ends(t, append(s.env(), "NATS_URL=nats://user:"+secret+"@127.0.0.1:1"))
	if want := "NATS_URL (--nats-url) is nats://…@127.0.0.1:1: no connection: no server answers there; check the address, and that NATS runs"; got.Error != want {
		t.Errorf("without NATS: %q, want %q", got.Error, want)
	}
	got = ends(t, append(s.env(), "ADMIN_ADDR="+strings.TrimPrefix(s.pay.URL, "http://")))
	if !strings.Contains(got.Error, "ADMIN_ADDR (--admin-addr)") || !strings.Contains(got.Error, "address already in use") {
		t.Errorf("with a taken admin address: %q", got.Error)
	}
}

func TestMissingStreamEndsTheStartWithoutProvisioning(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	got := ends(t, s.env(), "--no-provision")
	if want := "stream LINEPAY_COMMANDS does not exist: create it, or run the worker with --provision"; got.Error != want {
		t.Errorf("error %q, want %q", got.Error, want)
	}
}

func TestRefusedConsumerEndsTheWorker(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	if _, err := publisher.Provision(t.Context(), s.js, publisher.StreamOptions{}, true); err != nil {
		t.Fatal(err)
	}
	if _, err := s.js.CreateConsumer(t.Context(), "LINEPAY_COMMANDS", jetstream.ConsumerConfig{
		Durable: "linepay-worker-default", FilterSubject: "linepay.commands.default.*", AckPolicy: jetstream.AckExplicitPolicy, MaxDeliver: 3,
	}); err != nil {
		t.Fatal(err)
	}
	got := ends(t, s.env())
	if want := "consumer linepay-worker-default: it gives a command up after 3 deliveries"; got.Error != want {
		t.Errorf("error %q, want %q", got.Error, want)
	}
}

func TestDoubtfulSettingIsLogged(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	worker := start(t, append(s.env(), "READ_TIMEOUT=1s"))
	ready(t, worker)
	if !strings.Contains(worker.said(), "READ_TIMEOUT (--read-timeout) is 1s, below the 1m0s") {
		t.Errorf("the log has no warning:\n%s", worker.said())
	}
	if code := worker.stop(t); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

// Redis, as these tests have it, writes its file once a second, and nobody serves the other channel.
func TestWhatWeakensTheGuardIsLoggedOnceAndStopsNothing(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	if _, err := publisher.Provision(t.Context(), s.js, publisher.StreamOptions{DedupeWindow: time.Minute}, true); err != nil {
		t.Fatal(err)
	}
	if _, err := s.js.Publish(t.Context(), "linepay.commands.other.confirm", nil); err != nil {
		t.Fatal(err)
	}
	worker := start(t, append(s.env(), "LINEPAY_CHANNEL_SECRET="+secret))
	ready(t, worker)
	for message, level := range map[string]string{
		"Redis answers before the record is on disk":                "warn",
		"commands that nobody takes: 1 on linepay.commands.other.*": "warn",
		"duplicate window is 1m0s, the worker would set 10m0s":      "info",
	} {
		if line := worker.awaitLog(t, message); line.Level != level {
			t.Errorf("%q is logged as %s, want %s", message, line.Level, level)
		}
	}
	if n := strings.Count(worker.said(), "Redis answers before the record is on disk"); n != 1 {
		t.Errorf("a finding is logged %d times, want once:\n%s", n, worker.said())
	}
	if calls := s.pay.Sim.Ledger().Calls; len(calls) > 0 {
		t.Errorf("LINE Pay was called without a command: %+v", calls)
	}
	if code := worker.stop(t); code != 0 || strings.Contains(worker.said(), secret) {
		t.Errorf("exit code %d, want 0 and no secret written:\n%s", code, worker.said())
	}
}

func TestAdminServerCanBeOff(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	worker := start(t, append(s.env(), "ADMIN_ADDR=off"))
	transaction := s.pay.Paid(t, "ORDER-1", "100", "TWD", true)
	consumertest.Await(t, s.js, "LINEPAY_EVENTS", "nothing", 0) // the streams are there
	s.send(t, "confirm", "c-1", map[string]any{"transactionId": transaction, "orderId": "ORDER-1", "amount": "100", "currency": "TWD"})
	s.event(t, "linepay.events.default.captured.ORDER-1")
	if code := worker.stop(t); code != 0 || strings.Contains(worker.said(), "/readyz") {
		t.Errorf("exit code %d, want 0 and no admin server:\n%s", code, worker.said())
	}
}
