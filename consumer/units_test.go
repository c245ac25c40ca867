package consumer

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"linepay-worker/idempotency"
	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// What a worker needs and these tests do not use: nothing here connects to anything.
type (
	noBus       struct{ Bus }
	noJetStream struct{ jetstream.JetStream }
)

// plain is a configuration that validates, with LINE Pay's own timeouts where readTimeout is 0.
func plain(t *testing.T, readTimeout time.Duration) Config {
	t.Helper()
	client, err := linepay.New(linepay.Config{
		BaseURL: "https://Sandbox-API-Pay.LINE.me", ChannelID: "1650000001", Secret: "0123456789abcdef0123456789abcdef", ReadTimeout: readTimeout,
	})
	if err != nil {
		t.Fatal(err)
	}
	store := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() { _ = store.Close() })
	guard, err := idempotency.New(idempotency.Config{Redis: store, Retention: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return Config{Channel: "tw", ChannelID: "1650000001", LINEPay: client, Guard: guard, Bus: noBus{}, JetStream: noJetStream{}}
}

func TestBackoffKeepsItsBounds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		least := time.Duration(rapid.Int64Range(int64(time.Millisecond), int64(time.Minute)).Draw(r, "least"))
		most := least + time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(r, "most"))
		spent := time.Duration(rapid.Int64Range(0, int64(48*time.Hour)).Draw(r, "spent"))
		pause := backoff(spent, least, most)
		if pause < least/2 || pause >= least/2+most {
			r.Fatalf("a pause of %s is not between half of %s and that beyond %s", pause, least, most)
		}
		if pause >= least/2+max(2*spent, least) {
			r.Fatalf("after %s spent the pause is %s", spent, pause)
		}
	})
}

// What has been spent doubles with every pause of average length, so a budget holds a bounded number of tries.
func TestBackoffGrowsWithWhatHasBeenSpent(t *testing.T) {
	t.Parallel()
	average := func(spent time.Duration) (sum time.Duration) {
		for range 2000 {
			sum += backoff(spent, time.Second, 5*time.Minute)
		}
		return sum / 2000
	}
	early, late, last := average(0), average(30*time.Second), average(24*time.Hour)
	if early < 800*time.Millisecond || early > 1200*time.Millisecond || late < 25*time.Second || late > 36*time.Second || last < 2*time.Minute || last > 3*time.Minute {
		t.Errorf("average pauses are %s, %s after 30 s, %s after a day; want about 1 s, 30.5 s and 150 s", early, late, last)
	}
}

func TestMessageIsNeverGivenBackAtOnce(t *testing.T) {
	t.Parallel()
	for _, after := range []time.Duration{-time.Hour, 0, time.Nanosecond} {
		if w, r := wait(after, "why"), retry(after, "why", nil); w.After != leastDelay || r.After != leastDelay {
			t.Errorf("for %s it comes back after %s and %s, want %s", after, w.After, r.After, leastDelay)
		}
	}
	if got := wait(time.Minute, "why"); got.After != time.Minute || got.Kind != Wait || got.Why != "why" {
		t.Errorf("wait is %+v", got)
	}
	var zero Fate
	if zero.Kind != Retry || zero.Kind.String() != "retry" || Ack.String() != "ack" || Wait.String() != "wait" {
		t.Error("the zero fate must give the message back")
	}
}

func TestDeliveriesWithoutAClaimAreNoDoubt(t *testing.T) {
	t.Parallel()
	d := newDeliveries()
	failed := func(sequence, delivery uint64) { d.neverClaimed(&Message{Sequence: sequence, Deliveries: delivery}) }
	expect := func(sequence, delivery uint64, want bool, why string) {
		t.Helper()
		if got := d.redelivered(sequence, delivery); got != want {
			t.Errorf("delivery %d of %d: redelivered is %v, want %v: %s", delivery, sequence, got, want, why)
		}
	}
	expect(7, 1, false, "the first delivery")
	expect(7, 2, true, "another process had the first")
	failed(7, 1)
	expect(7, 2, false, "the first got no claim here")
	failed(7, 2)
	expect(7, 3, false, "nor did the second")
	expect(7, 4, true, "the third is not known")
	expect(8, 2, true, "another message")

	failed(9, 2)
	expect(9, 3, true, "the first delivery was another process'")
	failed(7, 5)
	expect(7, 6, true, "deliveries 3 and 4 are not known")

	d.forget(7)
	expect(7, 2, true, "forgotten")
	expect(7, 1, false, "the first delivery is the first")
}

func TestDeliveriesTakeNoMoreMemoryThanAllowed(t *testing.T) {
	t.Parallel()
	d := newDeliveries()
	for sequence := range uint64(mostUnclaimed + 10) {
		d.neverClaimed(&Message{Sequence: sequence + 1, Deliveries: 1})
	}
	if len(d.unclaimed) != mostUnclaimed {
		t.Errorf("%d messages are remembered, want at most %d", len(d.unclaimed), mostUnclaimed)
	}
	if !d.redelivered(mostUnclaimed+5, 2) {
		t.Error("what is not remembered must be in doubt")
	}
}

func TestConfigNamesTheFieldAndTheRule(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"plain", func(*Config) {}, ""},
		{"no client", func(c *Config) { c.LINEPay = nil }, "LINEPay, Guard, Bus and JetStream are required"},
		{"no guard", func(c *Config) { c.Guard = nil }, "LINEPay, Guard, Bus and JetStream are required"},
		{"no bus", func(c *Config) { c.Bus = nil }, "LINEPay, Guard, Bus and JetStream are required"},
		{"no JetStream", func(c *Config) { c.JetStream = nil }, "LINEPay, Guard, Bus and JetStream are required"},
		{"no channel", func(c *Config) { c.Channel = "" }, "consumer: Channel: "},
		{"a channel that is no token", func(c *Config) { c.Channel = "t.w" }, "consumer: Channel: "},
		{"no channel id", func(c *Config) { c.ChannelID = "" }, "consumer: ChannelID is required"},
		{"less than no concurrency", func(c *Config) { c.Concurrency = -1 }, "Concurrency is -1, must be 1 to 10000"},
		{"much concurrency", func(c *Config) { c.Concurrency = 10_001 }, "Concurrency is 10001, must be 1 to 10000"},
		{"the most concurrency", func(c *Config) { c.Concurrency = 10_000 }, ""},
		{"a negative rate", func(c *Config) { c.Rate = -1 }, "Rate is -1, must be 0 (no limit) or more"},
		{"a breaker that is open from the first", func(c *Config) { c.BreakerFaults = -1 }, "BreakerFaults is -1, must be 1 or more"},
		{"a negative pause of it", func(c *Config) { c.BreakerPause = -1 }, "BreakerPause is -1ns, must not be negative"},
		{"a negative margin", func(c *Config) { c.LookupMargin = -1 }, "LookupMargin is -1ns, must not be negative"},
		{"hardly a pause", func(c *Config) { c.RetryMin = time.Microsecond }, "RetryMin (1µs) <= RetryMax (5m0s) <= RetryBudget (24h0m0s) must hold"},
		{"a shortest pause above the longest", func(c *Config) { c.RetryMin = time.Hour }, "RetryMin (1h0m0s) <= RetryMax (5m0s)"},
		{"a pause above the budget", func(c *Config) { c.RetryBudget = time.Minute }, "RetryMax (5m0s) <= RetryBudget (1m0s)"},
		{"a grace shorter than a call", func(c *Config) { c.ShutdownGrace = 59 * time.Second }, "ShutdownGrace is 59s, must not be shorter than the longest call, 1m0s"},
		{"a grace as long as a call", func(c *Config) { c.ShutdownGrace = time.Minute }, ""},
	} {
		cfg := plain(t, 0)
		c.change(&cfg)
		err := cfg.Validate()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: error is %v, want %q", c.name, err, c.want)
		}
		if _, newErr := New(cfg); (newErr == nil) != (err == nil) {
			t.Errorf("%s: New says %v, Validate %v", c.name, newErr, err)
		}
	}
}

func TestConfigHasTheDocumentedDefaults(t *testing.T) {
	t.Parallel()
	got := Config{}.withDefaults()
	if got.Concurrency != 64 || got.Rate != 0 || got.LookupMargin != 0 || got.RetryBudget != 24*time.Hour ||
		got.RetryMin != time.Second || got.RetryMax != 5*time.Minute || got.ShutdownGrace != 75*time.Second || got.Provision {
		t.Errorf("defaults are %+v", got)
	}
	set := Config{Concurrency: 1, LookupMargin: 2, RetryBudget: 3, RetryMin: 4, RetryMax: 5, ShutdownGrace: 6}.withDefaults()
	if set.Concurrency != 1 || set.LookupMargin != 2 || set.RetryBudget != 3 || set.RetryMin != 4 || set.RetryMax != 5 || set.ShutdownGrace != 6 {
		t.Errorf("what was set became %+v", set)
	}
}

// A call is over before its claim lapses, and a claim lapses before JetStream gives the command to somebody else.
func TestTimeLimitsKeepTheirOrder(t *testing.T) {
	t.Parallel()
	for _, readTimeout := range []time.Duration{0, 50 * time.Millisecond, 500 * time.Millisecond, 10 * time.Second, 5 * time.Minute} {
		cfg := plain(t, readTimeout).withDefaults()
		for _, op := range linepay.Operations() {
			read, call, lease := cfg.LINEPay.ReadTimeout(op), cfg.callFor(op), cfg.lease(op)
			if read >= call || call >= lease || lease > cfg.ackWait() || cfg.ackWait() >= cfg.place() {
				t.Errorf("%s at %s: read timeout %s < call %s < lease %s <= AckWait %s < place %s must hold", op, readTimeout, read, call, lease, cfg.ackWait(), cfg.place())
			}
			if got := cfg.believable(op); got != read+cfg.LookupMargin {
				t.Errorf("%s: believable after %s, want read timeout and margin", op, got)
			}
			// A look-up reads twice at most, and a claim must hold that long too.
			if lease < 2*cfg.callFor(linepay.Details) {
				t.Errorf("%s at %s: a lease of %s is too short for two readings", op, readTimeout, lease)
			}
		}
		if call := cfg.callFor(linepay.Refund); call < cfg.LINEPay.ReadTimeout(linepay.Refund)+cfg.LINEPay.ReadTimeout(linepay.Details) {
			t.Errorf("a refund's %s do not hold its reading and its call", call)
		}
		if cfg.longest() != cfg.LINEPay.ReadTimeout(linepay.Capture) {
			t.Errorf("the longest call is %s, want capture's %s", cfg.longest(), cfg.LINEPay.ReadTimeout(linepay.Capture))
		}
	}
}

func TestOperationOfAMessageLabelsMetrics(t *testing.T) {
	t.Parallel()
	for subject, want := range map[string]string{
		"linepay.commands.tw.refund": "refund", "linepay.commands.tw.steal": "unknown", "linepay.commands.tw.*": "unknown", "": "unknown",
	} {
		if got := (&Message{Subject: subject}).operation(); got != want {
			t.Errorf("%s counts as %s, want %s", subject, got, want)
		}
	}
	names := slices.Sorted(func(yield func(string) bool) {
		for op := range operations {
			if !yield(string(op)) {
				return
			}
		}
	})
	var all []string
	for _, op := range linepay.Operations() {
		all = append(all, string(op))
		if (operations[op].lookUp == nil) != op.Reads() {
			t.Errorf("%s: only what is guarded can be in doubt, and needs a look-up", op)
		}
	}
	slices.Sort(all)
	if diff := cmp.Diff(all, names); diff != "" {
		t.Errorf("operations (-LINE Pay's +the worker's):\n%s", diff)
	}
}

func TestRecordOfAnOutcomeReadsBackAsItWas(t *testing.T) {
	t.Parallel()
	data := schemas.EventData{Channel: "tw", Operation: linepay.Confirm, Command: schemas.CommandRef{Source: "/s", ID: "1"}, OrderID: "O", OperationKey: "confirm:1"}
	at := time.Date(2026, 3, 1, 12, 0, 0, 5, time.UTC)
	events := []*schemas.Event{schemas.NewEvent(schemas.EventPreapproval, at, data), schemas.NewEvent(schemas.EventCaptured, at, data)}
	letter := &schemas.DeadLetter{Reason: schemas.ReasonExhausted, Detail: "d", Code: "1199", Subject: "linepay.commands.tw.confirm", Sequence: 7, Deliveries: 2, At: at}
	for name, o := range map[string]Outcome{
		"events": {events: events}, "with a dead letter": {events: events[:1], park: letter}, "nothing": {},
	} {
		kept, err := o.encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeStored(kept)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(o.events, got.events, cmp.Comparer(func(a, b linepay.Amount) bool { return a.Equal(b) })); diff != "" {
			t.Errorf("%s: events (-before +after):\n%s", name, diff)
		}
		told, err := StoredEvents(kept)
		if diff := cmp.Diff(got.events, told, cmp.Comparer(func(a, b linepay.Amount) bool { return a.Equal(b) })); err != nil || diff != "" {
			t.Errorf("%s: events as others read them, error %v (-the worker's +theirs):\n%s", name, err, diff)
		}
		if diff := cmp.Diff(o.park, got.park); diff != "" {
			t.Errorf("%s: dead letter (-before +after):\n%s", name, diff)
		}
	}
	for body, want := range map[string]string{`{`: "outcome on record", `{"events":[{}]}`: "event on record", ``: "outcome on record"} {
		if _, err := decodeStored([]byte(body)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q reads with error %v, want %q", body, err, want)
		}
	}
}
