package app

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"linepay-worker/consumer/consumertest"
	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
	"linepay-worker/schemas"
)

func TestClocksThatDisagreeAreFound(t *testing.T) {
	t.Parallel()
	work, _ := onNATS(t)
	work.Redis = consumertest.Redis(t).Client(t)
	for ahead, want := range map[time.Duration]struct {
		severity Severity
		value    string
	}{
		0:            {Fine, "agrees with this machine's within 2s"},
		time.Second:  {Fine, "agrees with this machine's within 2s"},
		time.Hour:    {Weak, " behind this machine's"},
		-time.Minute: {Weak, " ahead of this machine's"},
	} {
		work.clock = func() time.Time { return time.Now().Add(ahead) }
		found := work.checkClocks(t.Context())
		if got := parts(found); !slices.Equal(got, []string{"nats clock", "redis clock"}) {
			t.Errorf("looked at %v", got)
		}
		for _, f := range found {
			if f.Severity != want.severity || !strings.HasSuffix(f.Value, want.value) {
				t.Errorf("with this clock %s ahead: %+v", ahead, f)
			}
		}
	}
}

func TestSlowAnswerIsNoSkew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := Work{}.skew("redis", func() (time.Time, error) {
			time.Sleep(6 * time.Second)
			return time.Now(), nil
		})
		if len(f) != 1 || f[0].Severity != Fine {
			t.Errorf("an answer after six seconds, stamped at its end: %+v", f)
		}
		f = Work{}.skew("redis", func() (time.Time, error) { return time.Now().Add(mostSkew + time.Millisecond), nil })
		if len(f) != 1 || f[0].Severity != Weak {
			t.Errorf("just beyond what is tolerated: %+v", f)
		}
	})
}

func TestCredentialsThatLINEPayRefusesAreFound(t *testing.T) {
	t.Parallel()
	pay := consumertest.Simulator(t)
	faulty := consumertest.Simulator(t)
	fault := simulator.Fault{Operation: linepay.Details, Kind: simulator.KindCode, Code: "9000", When: simulator.Before}
	if err := faulty.Sim.AddFault(fault); err != nil {
		t.Fatal(err)
	}
	host := apiHost(pay.URL)
	const wrong = linepay.Secret("ffffffffffffffffffffffffffffffff")
	work := Work{Channels: []Channel{
		{Name: "right", ID: pay.ChannelID, Secret: pay.Secret, BaseURL: pay.URL},
		{Name: "wrong-secret", ID: pay.ChannelID, Secret: wrong, BaseURL: pay.URL},
		{Name: "unknown", ID: "1999999999", Secret: pay.Secret, BaseURL: pay.URL},
		{Name: "away", ID: pay.ChannelID, Secret: pay.Secret, BaseURL: "http://127.0.0.1:1"},
		{Name: "ill", ID: pay.ChannelID, Secret: pay.Secret, BaseURL: faulty.URL},
		{Name: "plain", ID: pay.ChannelID, Secret: pay.Secret, BaseURL: "http://pay.example"},
	}}
	found := work.checkAccounts(t.Context())
	wantSaid(t, found,
		"ok | channel right | credentials | accepted by "+host,
		"broken | channel wrong-secret | credentials | 1106",
		"broken | channel unknown | credentials | 1104",
		"weak | channel away | credentials | not known",
		"weak | channel ill | credentials | not known",
		"broken | channel plain | credentials | not usable")
	if !strings.Contains(found[1].Problem, "refuses the channel: 1106, LINE Pay does not accept the request headers") {
		t.Errorf("the finding says %q", found[1].Problem)
	}
	for _, f := range found {
		for _, secret := range []linepay.Secret{pay.Secret, wrong} {
			if strings.Contains(f.Problem+f.Value, secret.Reveal()) {
				t.Errorf("the finding shows the secret: %+v", f)
			}
		}
	}
	ledger := pay.Sim.Ledger()
	other := slices.ContainsFunc(ledger.Calls, func(c simulator.Call) bool { return c.Operation != linepay.Details })
	if other || len(ledger.Transactions) != 0 {
		t.Errorf("asking left something behind: %+v", ledger)
	}
}

// everything is work in which each part has something to be found.
func everything(t *testing.T) Work {
	t.Helper()
	work, js := onNATS(t)
	work.Redis = consumertest.Redis(t).Client(t)
	pay := consumertest.Simulator(t)
	work.Channels = []Channel{{Name: "tw", ID: pay.ChannelID, Secret: pay.Secret, BaseURL: pay.URL}}
	narrow := jetstream.ConsumerConfig{Durable: "linepay-worker-tw", FilterSubject: "linepay.commands.tw.*", AckWait: time.Second}
	if _, err := js.CreateConsumer(t.Context(), schemas.StreamCommands, narrow); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "linepay.commands.jp.confirm", nil); err != nil {
		t.Fatal(err)
	}
	return work
}

// parts are the things that findings are about, each once.
func parts(findings []Finding) (list []string) {
	for _, f := range findings {
		list = append(list, f.Where+" "+f.Setting)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func TestStartAndDoctorLookAtEverythingThatIsTheirs(t *testing.T) {
	t.Parallel()
	work := everything(t)
	both := []string{
		"channel jp consumer", "nats clock",
		"redis appendfsync", "redis clock", "redis connected replicas", "redis maxmemory-policy",
		"stream LINEPAY_AUDIT replicas", "stream LINEPAY_AUDIT settings",
		"stream LINEPAY_COMMANDS replicas", "stream LINEPAY_COMMANDS settings", "stream LINEPAY_DEADLETTERS replicas",
		"stream LINEPAY_DEADLETTERS settings", "stream LINEPAY_EVENTS replicas", "stream LINEPAY_EVENTS settings",
	}
	if diff := cmp.Diff(both, parts(work.AtStart(t.Context()))); diff != "" {
		t.Errorf("at the start (-want +got):\n%s", diff)
	}
	all := append([]string{"channel tw credentials", "consumer linepay-worker-tw settings", "nats sync_interval"}, both...)
	slices.Sort(all)
	if diff := cmp.Diff(all, parts(work.Doctor(t.Context()))); diff != "" {
		t.Errorf("doctor (-want +got):\n%s", diff)
	}
}

func TestStartLeavesOutTheChannelsThatItIsAboutToServe(t *testing.T) {
	t.Parallel()
	work := everything(t)
	work.Channels[0].Name = "jp"
	if found := parts(work.AtStart(t.Context())); slices.Contains(found, "channel jp consumer") {
		t.Errorf("found %v", found)
	}
	if found := parts(work.Doctor(t.Context())); !slices.Contains(found, "channel jp consumer") {
		t.Errorf("doctor found %v, and not that nobody takes the commands", found)
	}
}

func TestFindingsAreLoggedByTheirWeight(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	LogFindings(zerolog.New(&log), []Finding{
		{Severity: Fine, Where: "redis", Setting: "clock", Value: "agrees"},
		{Severity: Note, Where: "w1", Setting: "s", Value: "v", Problem: "a note", Cost: "c", Remedy: "r"},
		{Severity: Weak, Where: "w2", Setting: "s", Value: "v", Problem: "a weakness", Cost: "c", Remedy: "r"},
		{Severity: Broken, Where: "w3", Setting: "s", Value: "v", Problem: "a break", Cost: "c", Remedy: "r"},
	})
	want := `{"level":"info","severity":"note","where":"w1","setting":"s","value":"v","cost":"c","remedy":"r","message":"a note"}
{"level":"warn","severity":"weak","where":"w2","setting":"s","value":"v","cost":"c","remedy":"r","message":"a weakness"}
{"level":"warn","severity":"broken","where":"w3","setting":"s","value":"v","cost":"c","remedy":"r","message":"a break"}
`
	if diff := cmp.Diff(want, log.String()); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}
