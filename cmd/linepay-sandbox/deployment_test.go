package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"linepay-worker/linepay/simulator"
	"linepay-worker/schemas"
)

// playing starts the scenario on a deployment that is there already; later flags count.
func playing(t *testing.T, natsURL, simulatorURL string, flags ...string) *running {
	t.Helper()
	return start(t, append([]string{"scenario", "--nats-url", natsURL, "--simulator-url", simulatorURL}, flags...)...)
}

// lastCommand is the sequence of the last command that was published.
func (s *stage) lastCommand(t *testing.T) uint64 {
	t.Helper()
	last, err := lastSequence(t.Context(), s.js, schemas.StreamCommands)
	if err != nil {
		t.Fatal(err)
	}
	return last
}

func TestScenarioIsPlayedOnADeploymentAgainAndBesideAnother(t *testing.T) {
	t.Parallel()
	s, _ := newRig(t, true)
	nats := s.on.shop.ConnectedUrl()
	runs := []*running{playing(t, nats, s.on.simulator), playing(t, nats, s.on.simulator+"/")}
	for _, r := range runs {
		r.exit(t, agreed)
	}
	runs = append(runs, playing(t, nats, s.on.simulator))
	runs[2].exit(t, agreed)
	var dropped []string
	for i, r := range runs {
		for _, text := range []string{
			"linepay-worker's scenario, on a deployment\n", "NATS                 " + nats, "channel              default\n",
			"  ✓ 11 effects at LINE Pay: each has exactly one money event, with equal amount and transaction ids\n",
			"  ✓ 22 commands: each has exactly one answer\n", "\nThe events and LINE Pay's ledger agree.", "\nThe run leaves 23 events, ",
		} {
			if !strings.Contains(r.out.String(), text) {
				t.Errorf("run %d: no %q in:\n%s", i, text, r.out)
			}
		}
		assertAligned(t, r.out.String(), "→")
		drop := regexp.MustCompile(`linepayctl deadletters drop (\d) --because \w+ --money-unknown\n$`).FindStringSubmatch(r.out.String())
		if drop == nil || r.err.String() != "" {
			t.Fatalf("run %d does not say how to drop its dead letter:\n%s\n%s", i, r.out, r.err)
		}
		dropped = append(dropped, drop[1])
	}
	slices.Sort(dropped)
	if diff := cmp.Diff([]string{"1", "2", "3"}, dropped); diff != "" {
		t.Errorf("dead letters to drop (-want +got):\n%s", diff)
	}
}

func TestLedgerThatDisagreesIsExitCode1(t *testing.T) {
	t.Parallel()
	s, _ := newRig(t, true)
	target, err := url.Parse(s.on.simulator)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Transport: &http.Transport{DisableKeepAlives: true},
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: func(r *http.Response) error { // it tells of a capture of 4201, where 4200 was captured
			body, err := io.ReadAll(r.Body)
			if strings.HasSuffix(r.Request.URL.Path, "/ledger") {
				body = bytes.Replace(body, []byte(`"amount": "4200"`), []byte(`"amount": "4201"`), 1)
			}
			r.Header.Set("Content-Length", strconv.Itoa(len(body)))
			r.Body = io.NopCloser(bytes.NewReader(body))
			return err
		},
	}
	forged := httptest.NewServer(proxy)
	t.Cleanup(forged.Close)
	r := playing(t, s.on.shop.ConnectedUrl(), forged.URL)
	r.exit(t, disagreed)
	for _, want := range []string{
		`  ✗ capture of 4201 TWD for order hotel-\w+ \(transaction \d+\): the amount is 4201 at LINE Pay, and 4200 in the event\n`,
		`\nThe events and LINE Pay's ledger disagree.\n`, `linepayctl deadletters drop 1 `,
	} {
		if !regexp.MustCompile(want).MatchString(r.out.String()) {
			t.Errorf("no %s in:\n%s", want, r.out)
		}
	}
	if text := r.err.String(); text != "" {
		t.Errorf("the standard error holds %s", text)
	}
}

func TestScenarioSendsNothingWithoutItsSimulator(t *testing.T) {
	t.Parallel()
	s, _ := newRig(t, true)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + closed.Addr().String()
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "{}")
	}))
	t.Cleanup(site.Close)
	shop := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(shop.Close)
	for address, why := range map[string]string{
		nobody: "connection refused", site.URL: "the answer is no ledger", shop.URL: "the simulator has no such page: GET /_simulator/ledger",
	} {
		r := playing(t, s.on.shop.ConnectedUrl(), address)
		r.exit(t, disagreed)
		text := r.err.String()
		if !strings.HasPrefix(text, program+": no LINE Pay simulator answers at "+address+": ") || !strings.Contains(text, why) ||
			!strings.Contains(text, "\nStart one with `linepay-sandbox simulator`") {
			t.Errorf("error %q, want that no simulator answers (%s) and how to start one", text, why)
		}
	}
	if last := s.lastCommand(t); last != 0 {
		t.Errorf("%d commands were sent", last)
	}
}

func TestScenarioEndsWhereTheWorkersCallAnotherLINEPay(t *testing.T) {
	t.Parallel()
	s, _ := newRig(t, true)
	other := simulator.New(simulator.Config{})
	t.Cleanup(other.Close)
	site := httptest.NewServer(other)
	t.Cleanup(site.Close)
	r := playing(t, s.on.shop.ConnectedUrl(), site.URL)
	r.exit(t, disagreed)
	want := regexp.MustCompile("the simulator at " + site.URL + ` knows no payment of order tea-\w+: the workers of channel default call another LINE Pay, ` +
		`.*; nothing was paid\n`)
	if !want.MatchString(r.err.String()) {
		t.Errorf("error %q, want %s", r.err, want)
	}
	if last := s.lastCommand(t); last != 1 {
		t.Errorf("%d commands were sent, want none behind the first", last)
	}
}

// makeConsumer makes that of the channel default, as a worker does that has gone since.
func (s *stage) makeConsumer(t *testing.T) {
	t.Helper()
	_, err := s.commands.CreateConsumer(t.Context(), jetstream.ConsumerConfig{
		Durable: schemas.ConsumerPrefix + channelName, FilterSubject: "linepay.commands.default.*", AckPolicy: jetstream.AckExplicitPolicy,
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestScenarioSaysWhyNobodyAnswers(t *testing.T) {
	t.Parallel()
	empty, err := startServers(runArguments{Once: true}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := empty.close(); err != nil {
			t.Error(err)
		}
	})
	s, _ := newRig(t, false)
	nats := s.on.shop.ConnectedUrl()
	play := func(nats string, flags ...string) *running {
		return playing(t, nats, s.on.simulator, append([]string{"--timeout", "3s"}, flags...)...)
	}
	says := func(r *running, want string) {
		t.Helper()
		r.exit(t, disagreed)
		if !regexp.MustCompile(want).MatchString(r.err.String()) {
			t.Errorf("error %q, want %s", r.err, want)
		}
	}
	noStream, noServer, noWorker, noChannel := play(empty.natsURL()), play("nats://127.0.0.1:1"), play(nats), play(nats, "--channel", "other")
	says(noStream, "^linepay-sandbox: stream LINEPAY_COMMANDS does not exist: start a worker, which creates it\n")
	says(noServer, "NATS_URL.*no server answers there")
	says(noWorker, "^linepay-sandbox: no worker has served channel default yet: start one, or correct --channel")
	says(noChannel, "no worker has served channel other yet")
	if last := s.lastCommand(t); last != 0 {
		t.Errorf("%d commands were sent to nobody", last)
	}
	s.makeConsumer(t)
	says(play(nats), `^linepay-sandbox: the scenario was not over after 3s: no answer to request of order tea-\w+, wanted: requested: .*
No worker asks for commands of channel default: are workers running, and ready\?
$`)
	waiting, err := s.commands.GetMsg(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	command, err := schemas.DecodeCommand(waiting.Subject, waiting.Header, waiting.Data)
	if err != nil || command.ExpiryTime.IsZero() || time.Until(command.ExpiryTime) > outlives {
		t.Errorf("the request may be carried out until %s (%v), want soon after the end", command.ExpiryTime, err)
	}
	if _, err := s.js.PauseConsumer(t.Context(), schemas.StreamCommands, schemas.ConsumerPrefix+channelName, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	says(play(nats), `^linepay-sandbox: channel default is paused for another (1h0m0s|59m\d+s): .linepayctl resume default. ends that\n`)
}

func TestScenarioOnADeploymentThatIsInterruptedIsNoAgreement(t *testing.T) {
	t.Parallel()
	s, _ := newRig(t, false)
	s.makeConsumer(t)
	r := playing(t, s.on.shop.ConnectedUrl(), s.on.simulator)
	r.waitFor(t, "A customer pays")
	r.end()
	r.exit(t, disagreed)
	if text := r.err.String(); text != program+": "+errUnfinished.Error()+"\n" {
		t.Errorf("error %q, want %q", text, errUnfinished)
	}
}

func TestOfTwoEqualCommandsEitherMayComeFirst(t *testing.T) {
	t.Parallel()
	answer := func(name string) *schemas.Event { return schemas.NewEvent(name, time.Now(), schemas.EventData{}) }
	pair := func(secondRefund string) []sending {
		return []sending{
			send(refund("tea", "100", "broken-cup")).answers(schemas.EventRefunded), send(refund("tea", "100", secondRefund)).answers(schemas.EventDuplicate),
		}
	}
	for _, row := range []struct {
		second       string
		first, other string
		want         []string
	}{
		{"broken-cup", schemas.EventRefunded, schemas.EventDuplicate, []string{schemas.EventRefunded, schemas.EventDuplicate}},
		{"broken-cup", schemas.EventDuplicate, schemas.EventRefunded, []string{schemas.EventDuplicate, schemas.EventRefunded}},
		{"broken-cup", schemas.EventDuplicate, schemas.EventDuplicate, []string{schemas.EventRefunded, schemas.EventDuplicate}},
		{"late-parcel", schemas.EventDuplicate, schemas.EventRefunded, []string{schemas.EventRefunded, schemas.EventDuplicate}},
	} {
		var got []string
		for _, c := range inTheirTurns(pair(row.second), []*schemas.Event{answer(row.first), answer(row.other)}) {
			got = append(got, c.want)
		}
		if diff := cmp.Diff(row.want, got); diff != "" {
			t.Errorf("answers %s and %s, the second for %s: wanted (-want +got):\n%s", row.first, row.other, row.second, diff)
		}
	}
}
