package idempotency

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"
)

func TestOperationKeys(t *testing.T) {
	t.Parallel()
	for want, got := range map[string]string{
		"confirm:2018082512345678910":    OperationKey("confirm", "2018082512345678910"),
		"request:ORDER%2F1%3A%20%25~._-": OperationKey("request", "ORDER/1: %~._-"),
		"request:%E6%B3%A8":              OperationKey("request", "注"),
		"refund:1:r1":                    RefundKey("1", "r1"),
		"refund:1:full":                  RefundKey("1", ""),
		"refund:1:%66ull":                RefundKey("1", "full"),
		"refund:1:%2566ull":              RefundKey("1", "%66ull"),
		"preapproved-expire:2bb80d537b1da3e38bd30361aa855686": HashedKey("preapproved-expire", "secret"),
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestOperationKeysNeverAlias(t *testing.T) {
	t.Parallel()
	text := rapid.StringOfN(rapid.SampledFrom([]rune("af:%6ul注 ")), 0, 6, -1)
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.SliceOfN(text, 1, 3).Draw(t, "a"), rapid.SliceOfN(text, 1, 3).Draw(t, "b")
		same := len(a) == len(b) && strings.Join(a, "\x00") == strings.Join(b, "\x00")
		if (OperationKey("refund", a...) == OperationKey("refund", b...)) != same {
			t.Fatalf("%q and %q", a, b)
		}
		if (RefundKey(a[0], b[0]) == RefundKey(a[0], a[0])) != (a[0] == b[0]) {
			t.Fatalf("refunds %q and %q", a[0], b[0])
		}
	})
}

func TestEntityKeysNameNothingInTheClearAndKeepPartsApart(t *testing.T) {
	t.Parallel()
	shape := regexp.MustCompile(`^\{linepay:0[0-9a-f]\}:(transaction|order|key):[0-9a-f]{64}$`)
	seen := map[string]Entity{}
	for _, e := range []Entity{
		{"api.example", "1", KindOrder, "1001"},
		{"api.example", "11", KindOrder, "001"},
		{"api.example1", "1", KindOrder, "001"},
		{"api.example", "1", KindTransaction, "1001"},
		{"api.example", "1", KindKey, "1001"},
		{"api.exampl", "e1", KindOrder, "1001"},
	} {
		bucket, key := entityKey(e)
		if !shape.MatchString(key) || !strings.HasPrefix(key, strings.TrimSuffix(epochKey(bucket), "epoch")) {
			t.Errorf("%+v: %s and %s", e, key, epochKey(bucket))
		}
		if other, ok := seen[key]; ok {
			t.Errorf("%+v and %+v share %s", e, other, key)
		}
		seen[key] = e
	}
	const want = "{linepay:04}:order:74bde27c1b035bada1a215a0a34f661a384c33608808c645a11ed6f8c35714e7"
	if _, key := entityKey(Entity{"api.example", "1", KindOrder, "1001"}); key != want {
		t.Errorf("entities were renamed, which forgets every record: %s, was %s", key, want)
	}
}

func TestFingerprints(t *testing.T) {
	t.Parallel()
	digest := func(data string, leaveOut ...string) string {
		t.Helper()
		fp, err := Fingerprint([]byte(data), leaveOut...)
		if err != nil {
			t.Fatal(err)
		}
		return fp
	}
	const want = "286eb36a678d8e16c187e4910490cb6786776a17202b75f3a869fda47c47541d"
	if got := digest(`{"b":"1","a":[true,2]}`); got != want {
		t.Errorf("got %s, want the SHA-256 of the canonical text, %s", got, want)
	}
	same := [][2]string{
		{`{"a":"1","b":{"c":1,"d":2}}`, ` { "b" : {"d":2,"c":1}, "a":"\u0031" } `},
		{`{"a":1}`, `{"a":1}`},
	}
	for _, pair := range same {
		if digest(pair[0]) != digest(pair[1]) {
			t.Errorf("%s and %s differ", pair[0], pair[1])
		}
	}
	if digest(`{"a":"1","redirectUrls":{"x":"1"}}`, "redirectUrls") != digest(`{"a":"1"}`, "redirectUrls") {
		t.Error("what is left out counts")
	}
	if digest(`{"a":{"redirectUrls":"1"}}`, "redirectUrls") == digest(`{"a":{"redirectUrls":"2"}}`, "redirectUrls") {
		t.Error("a deeper member of the same name is left out")
	}
	for _, other := range []string{`{"a":"2"}`, `{"a":1}`, `{"a":["1"]}`, `{"b":"1"}`, `{}`} {
		if digest(`{"a":"1"}`) == digest(other) {
			t.Errorf("%s aliases", other)
		}
	}
}

func TestFingerprintRefusesWhatItWouldBlur(t *testing.T) {
	t.Parallel()
	for data, why := range map[string]string{
		`{"a":1,"a":2}`:                 "duplicate",
		`{"a":9007199254740993}`:        "/a is not an integer within 2^53",
		`{"a":[-9007199254740993]}`:     "/a/0 is not an integer within 2^53",
		`{"a":1.10}`:                    "not an integer",
		`{"a":1e2}`:                     "not an integer",
		`{"a":99999999999999999999999}`: "not an integer",
		`null`:                          "must be a JSON object",
		`[]`:                            "unmarshal JSON array",
		`"a"`:                           "unmarshal JSON string",
		``:                              "EOF",
		`{"a":"1"} {}`:                  "after top-level value",
		`{"a":`:                         "EOF",
		"{\"a\":\"\xff\"}":              "UTF-8",
	} {
		if fp, err := Fingerprint([]byte(data)); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: fingerprint %q, error %v, want %q", data, fp, err, why)
		}
	}
}

func FuzzFingerprint(f *testing.F) {
	for _, seed := range []string{`{"a":"1","b":{"c":1}}`, `{"a":1e400}`, `{"":null}`, `{"a":[[],{}]}`, `{"a":-0}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data string) {
		fp, err := Fingerprint([]byte(data), "b")
		if (err == nil) != (len(fp) == 64) {
			t.Fatalf("fingerprint %q, error %v", fp, err)
		}
		if err != nil {
			return
		}
		if again, err := Fingerprint([]byte("\n"+data+" "), "b"); again != fp {
			t.Fatalf("space changes it: %s, %s, %v", fp, again, err)
		}
	})
}

func TestConfigNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer client.Close()
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": "127.0.0.1:1"}})
	defer ring.Close()
	for want, config := range map[string]Config{
		"Redis is nil":                 {Retention: time.Hour},
		"Retention is 59s":             {Redis: client, Retention: 59 * time.Second},
		"WaitReplicas is -1":           {Redis: client, Retention: time.Hour, WaitReplicas: -1},
		"WaitReplicas is 101":          {Redis: client, Retention: time.Hour, WaitReplicas: 101},
		"WaitTimeout is 1µs":           {Redis: client, Retention: time.Hour, WaitTimeout: time.Microsecond},
		"WaitTimeout is 1m1s":          {Redis: client, Retention: time.Hour, WaitTimeout: 61 * time.Second},
		"Redis is a *redis.Ring: Wait": {Redis: ring, Retention: time.Hour, WaitReplicas: 1},
	} {
		if _, err := New(config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if g, err := New(Config{Redis: ring, Retention: time.Hour}); err != nil || g.config.WaitTimeout != time.Second {
		t.Error(g, err)
	}
}

func TestRequestsNameWhatIsWrong(t *testing.T) {
	t.Parallel()
	s := newScene(t, stores[2], false)
	for want, change := range map[string]func(*ClaimRequest){
		"Entity.Host is empty":      func(r *ClaimRequest) { r.Entity.Host = "" },
		"Entity.ChannelID is empty": func(r *ClaimRequest) { r.Entity.ChannelID = "" },
		"Entity.ID is empty":        func(r *ClaimRequest) { r.Entity.ID = "" },
		`Entity.Kind is "payment"`:  func(r *ClaimRequest) { r.Entity.Kind = "payment" },
		"Operation is empty":        func(r *ClaimRequest) { r.Operation = "" },
		"Command.Source is empty":   func(r *ClaimRequest) { r.Command.Source = "" },
		"Command.ID is empty":       func(r *ClaimRequest) { r.Command.ID = "\xff" },
		"Fingerprint is empty":      func(r *ClaimRequest) { r.Fingerprint = "" },
		"Fingerprint is not UTF-8":  func(r *ClaimRequest) { r.Fingerprint = "\xff" },
		"Errand is not UTF-8":       func(r *ClaimRequest) { r.Errand = []byte{0xff} },
		"Sequence is 0":             func(r *ClaimRequest) { r.Sequence = 0 },
		"CallFor is 0s":             func(r *ClaimRequest) { r.CallFor = 0 },
		"CallFor is -1ns":           func(r *ClaimRequest) { r.CallFor, r.Probe = -1, true },
		"Lease is 1h0m0s":           func(r *ClaimRequest) { r.Lease = r.CallFor },
		"Lease is 8761h0m0s":        func(r *ClaimRequest) { r.Lease = 8761 * time.Hour },
		"Place is 0s":               func(r *ClaimRequest) { r.Place = 0 },
		"Place is -1ns":             func(r *ClaimRequest) { r.Place, r.Probe = -1, true },
		"Place is 8761h0m0s":        func(r *ClaimRequest) { r.Place = 8761 * time.Hour },
	} {
		if _, err := s.guard.Claim(s.ctx, s.request("A", change)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
		if _, err := s.guard.Foresee(s.ctx, s.request("A", change)); err == nil || !strings.Contains(err.Error(), "foresee: "+want) {
			t.Errorf("error %v, want %q", err, "foresee: "+want)
		}
	}
	c := s.claim("A")
	for want, e := range map[string]Extension{
		"CallFor is 0s":         {Call: true, Lease: long},
		"CallFor is -1ns":       {CallFor: -1, Lease: long},
		"Lease is 1h0m0s":       {CallFor: long, Lease: long},
		"Lease is 8761h0m0s":    {Lease: 8761 * time.Hour},
		"Snapshot is empty":     {Lease: long, Snapshot: []byte{}},
		"Snapshot is not UTF-8": {Lease: long, Snapshot: []byte{0xff}},
	} {
		if err := s.guard.Extend(s.ctx, c, e); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	ok := []byte("{}")
	for want, settlement := range map[string]Settlement{
		"State is 0":                                {Outcome: ok},
		"State is 4":                                {State: 4, Outcome: ok},
		"Outcome is empty":                          {State: StateDone},
		"Outcome is empty or not UTF-8":             {State: StateDone, Outcome: []byte{0xff}},
		"Effect is given with state refused":        {State: StateRefused, Outcome: ok, Effect: "1"},
		"MoneyUnknown is given with state done":     {State: StateDone, Outcome: ok, MoneyUnknown: true},
		"Command is half empty":                     {State: StateDone, Outcome: ok, Command: Command{ID: "1"}},
		"Command is not UTF-8":                      {State: StateDone, Outcome: ok, Command: Command{Source: "\xff", ID: "1"}},
		"Effect is given with state done: only":     {State: StateDone, Outcome: ok, Effect: "\xff"},
		"MoneyUnknown is given with state refused:": {State: StateRefused, Outcome: ok, MoneyUnknown: true},
		"Told is duplicate":                         {State: StateDone, Outcome: ok, Told: Duplicate},
		"Unsent is given with state done":           {State: StateDone, Outcome: ok, Unsent: true},
	} {
		if err := s.guard.Settle(s.ctx, c, settlement); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	for want, r := range map[string]Release{
		"RetryAfter is -1ns":      {RetryAfter: -1},
		"RetryAfter is 8761h0m0s": {RetryAfter: 8761 * time.Hour},
		"Spend is -1ns":           {Spend: -1},
		"Spend is 8761h0m0s":      {Spend: 8761 * time.Hour},
		"Told is busy":            {Told: Busy},
	} {
		if err := s.guard.Release(s.ctx, c, r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	busy := s.want(s.claim("B"), Busy, ReasonClaimed)
	for _, err := range []error{
		s.guard.Extend(s.ctx, busy, Extension{Lease: long}),
		s.guard.Settle(s.ctx, busy, Settlement{State: StateDone, Outcome: ok}),
		s.guard.Release(s.ctx, busy, Release{}),
	} {
		if err == nil || !strings.Contains(err.Error(), "answered busy and grants nothing") {
			t.Errorf("error %v", err)
		}
	}
	s.done(c)
}

func TestZeroValuesSayNothing(t *testing.T) {
	t.Parallel()
	var a Answer
	var st State
	if a.String() != "none" || st.String() != "none" || a == Fresh || (&Claim{Token: "t"}).Granted() {
		t.Error(a, st)
	}
}

func FuzzClaimAnswer(f *testing.F) {
	f.Add("fresh\nnever tried\n1\nid\n/checkout\nA\n\n1\n2\n0\n\n\n3\n0\n9001")
	f.Add("in doubt\nlease lapsed\n1\nid\n/checkout\nA\n\n1\n2\n0\n{}\n\n3\n1")
	f.Add("fresh")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseClaim(strings.Split(text, "\n"), ClaimRequest{}, "token")
		if err == nil && c.Answer == 0 || err != nil && c != nil {
			t.Fatalf("claim %+v, error %v", c, err)
		}
	})
}

func TestGuardIsNotMadeWithAClientThatIsClosed(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	if guard, err := New(Config{Redis: client, Retention: time.Hour}); err == nil || !strings.HasPrefix(err.Error(), "idempotency: Redis: ") {
		t.Errorf("guard %v, error %v, want one about Redis", guard, err)
	}
}
