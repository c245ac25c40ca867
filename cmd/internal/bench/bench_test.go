package main

import (
	"encoding/xml"
	"errors"
	"io"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// TestMain is the stand-in or the ceiling where a round of a test has started it as such.
func TestMain(m *testing.M) {
	if part := append(os.Args, "")[1]; part == partLINEPay || part == partCeiling {
		main()
		return
	}
	os.Exit(m.Run())
}

// transaction is the first of a fate.
func transaction(fate int64) linepay.TransactionID {
	return linepay.TransactionID(firstTransaction + fate)
}

func TestStandInSaysWhatEachCallTook(t *testing.T) {
	t.Parallel()
	const delay = 5 * time.Millisecond
	server := httptest.NewServer(newStandIn(delay).routes())
	t.Cleanup(server.Close)
	client, err := linepay.New(linepay.Config{BaseURL: server.URL, ChannelID: "1", Secret: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdle)
	began := time.Now()
	if _, err := client.Confirm(t.Context(), transaction(fateDone), linepay.MustAmount(amount), currency); err != nil {
		t.Fatal(err)
	}
	whole := time.Since(began)
	var took map[int64]time.Duration
	r := &round{payAddress: strings.TrimPrefix(server.URL, "http://")}
	if err := r.ask(t.Context(), "/took", &took); err != nil {
		t.Fatal(err)
	}
	if got := took[int64(transaction(fateDone))]; len(took) != 1 || got < delay || got > whole {
		t.Errorf("calls took %v, want one of at least %v and at most the %v of the caller", took, delay, whole)
	}
}

func TestStandInAnswersAsLINEPayDoesAndCountsWhatItDidTwice(t *testing.T) {
	t.Parallel()
	s := newStandIn(0)
	server := httptest.NewServer(s.routes())
	t.Cleanup(server.Close)
	client, err := linepay.New(linepay.Config{BaseURL: server.URL, ChannelID: "1", Secret: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdle)
	for _, step := range []struct {
		fate int64
		want linepay.Verdict
	}{
		{fateDone, linepay.Done}, {fateRefused, linepay.Refused}, {fateRetried, linepay.Retry}, {fateLost, linepay.Unknown},
	} {
		_, err := client.Confirm(t.Context(), transaction(step.fate), linepay.MustAmount(amount), currency)
		if linepay.VerdictOf(err) != step.want {
			t.Errorf("confirm of a payment that ends in %d: %v, want %v", step.fate, err, step.want)
		}
	}
	found := func(fate int64) bool {
		info, err := client.Details(t.Context(), linepay.DetailsQuery{TransactionIDs: []linepay.TransactionID{transaction(fate)}})
		return err == nil && info.Payments[0].TransactionID == transaction(fate) && info.Payments[0].OrderID == "B-0"
	}
	if !found(fateLost) || found(fateRetried) {
		t.Error("details must show the payment whose answer was lost, and not the one that is to be called again")
	}
	if info, err := client.Check(t.Context(), transaction(fateRetried)); err != nil || info.Status != linepay.Authenticated {
		t.Errorf("check: %+v, %v, want authenticated", info, err)
	}
	for _, fate := range []int64{fateRetried, fateDone} {
		if _, err := client.Confirm(t.Context(), transaction(fate), linepay.MustAmount(amount), currency); err != nil {
			t.Errorf("second confirm of a payment that ends in %d: %v", fate, err)
		}
	}
	half := linepay.MustAmount("500")
	if info, err := client.Refund(t.Context(), transaction(fateDone), &half); err != nil || info.RefundTransactionID == 0 {
		t.Errorf("refund: %+v, %v", info, err)
	}
	if want := (tally{Calls: 7, Effects: 5, Doubles: 1}); s.tally != want {
		t.Errorf("tally %+v, want %+v", s.tally, want)
	}
}

func TestCommandsOfEveryLoadAreValid(t *testing.T) {
	t.Parallel()
	for _, l := range []*load{{}, {refunds: true}, {mixed: true}} {
		for n := range 2000 {
			msg := l.message(n)
			cmd, err := schemas.DecodeCommand(msg.Subject, msg.Header, msg.Data)
			if err != nil {
				t.Fatalf("%+v, command %d: %v", l, n, err)
			}
			if id := cmd.Data.Transaction(); cmd.Data.Order() != orderOf(int64(id)) {
				t.Fatalf("command %d is about order %s, and its transaction about %s", n, cmd.Data.Order(), orderOf(int64(id)))
			}
		}
	}
}

func TestMixedLoadHasATenthOfEachTrouble(t *testing.T) {
	t.Parallel()
	l, fates, again, seen := &load{mixed: true}, map[int64]int{}, 0, map[int64]bool{}
	for n := range 10_000 {
		c := l.command(n)
		if seen[c.transaction] {
			again++
			continue
		}
		seen[c.transaction] = true
		fates[c.transaction%10]++
	}
	if again != 1000 || fates[fateDone] != 6000 || fates[fateRefused] != 1000 || fates[fateRetried] != 1000 || fates[fateLost] != 1000 {
		t.Errorf("%d duplicates, and by fate %v", again, fates)
	}
}

func TestNoBacklogIsTooShortForItsLoad(t *testing.T) {
	t.Parallel()
	for _, g := range (&bench{pace: thorough}).groups() {
		for _, l := range g {
			if most := float64(l.inFlight) / max(l.delay.Seconds(), 1e-9); float64(l.perSecond()) < min(most, 3000) {
				t.Errorf("%s: %d commands for each second", l.name, l.perSecond())
			}
		}
	}
}

func TestPercentileAndMedian(t *testing.T) {
	t.Parallel()
	var values []time.Duration
	for i := range 1000 {
		values = append(values, time.Duration((i*7)%1000+1)*time.Millisecond) // 1 to 1000, in no order
	}
	for p, want := range map[float64]time.Duration{50: 500, 99: 990, 99.9: 999, 100: 1000, 0: 1} {
		if got := percentile(values, p); got != want*time.Millisecond {
			t.Errorf("percentile %v is %s, want %d ms", p, got, want)
		}
	}
	if percentile([]time.Duration{time.Second}, 50) != time.Second || median([]float64{3, 1, 2}) != 2 || median([]float64{4, 1, 2, 3}) != 2.5 {
		t.Error("the middle of few values is wrong")
	}
}

// measured is a report with invented figures, in which the worker has half the ceiling's throughput.
func measured() report {
	r := report{rounds: 1}
	for _, g := range (&bench{pace: quick}).groups() {
		r.loads = append(r.loads, g...)
	}
	for _, l := range r.loads {
		for i, subject := range []string{subjectWorker, subjectCeiling} {
			s := sample{rate: float64(1000 * (i + 1)), cpu: 100 * time.Millisecond, peak: 30}
			if l.rate > 0 {
				s.latency = []time.Duration{time.Millisecond, 2 * time.Millisecond, 30 * time.Millisecond}
			}
			l.samples[subject] = append(l.samples[subject], s)
		}
	}
	return r
}

func TestReportSaysWhichBoundIsMissed(t *testing.T) {
	t.Parallel()
	text := measured().text()
	for _, want := range []string{
		`throughput/64/0ms +ceiling +1000 +2000 +0\.50 +≥ 0\.90 missed +0\.100 +0\.100 +1\.00 +≤ 1\.25 +30`,
		`workers/4 +workers/1 +1000 +1000 +1\.00 +≥ 1\.00 +`,
		`backlog/1000 +- +1000 +– `,
		`latency/20ms +worker +3 +2\.00 ms +≤ 2 ms +30\.00 ms +≤ 10 ms missed`,
	} {
		if !regexp.MustCompile("(?m)^" + want).MatchString(text) {
			t.Errorf("no line like %s in\n%s", want, text)
		}
	}
	if rows := strings.Count(measured().markdown(), "\n| throughput/"); rows != 15 {
		t.Errorf("the table for the README has %d rows of throughput, want 15", rows)
	}
}

func TestReportFailsWhereTheWorkerDidSomethingTwice(t *testing.T) {
	t.Parallel()
	r := measured()
	if err := r.doubles(); err != nil {
		t.Fatal(err)
	}
	r.loads[3].samples[subjectCeiling][0].tally.Doubles = 1 // it promises nothing
	if err := r.doubles(); err != nil {
		t.Fatal(err)
	}
	r.loads[3].samples[subjectWorker][0].tally = tally{Effects: 10, Doubles: 1}
	if err := r.doubles(); err == nil || !strings.Contains(err.Error(), r.loads[3].name) {
		t.Errorf("error %v, want one that names %s", err, r.loads[3].name)
	}
}

func TestPicturesAreWellFormedAndToScale(t *testing.T) {
	t.Parallel()
	files := measured().pictures()
	for _, name := range []string{"throughput-0ms.svg", "cpu-20ms.svg", "throughput-200ms.svg", "share.svg", "latency.svg"} {
		for decoder := xml.NewDecoder(strings.NewReader(files[name])); ; {
			_, err := decoder.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	c := chart{title: "A & B", groups: []string{"x"}, series: []series{{"one", []float64{1}}, {"two", []float64{2}}}, form: "%.0f"}
	if svg := c.svg(); !strings.Contains(svg, `height="100.0" fill="#1b6ca8"`) || !strings.Contains(svg, `height="200.0" fill="#e8a33d"`) ||
		!strings.Contains(svg, "A &amp; B") {
		t.Errorf("the bars of 1 and 2 are not 100 and 200 high:\n%s", svg)
	}
}

func TestLoadsAreChosenByName(t *testing.T) {
	t.Parallel()
	var names []string
	for _, g := range (&bench{pace: thorough}).groups() {
		for _, l := range g.matching(regexp.MustCompile(`^throughput/(1|64)/0ms|latency`)) {
			names = append(names, l.name)
		}
	}
	if got := strings.Join(names, " "); got != "throughput/1/0ms throughput/64/0ms latency/20ms" {
		t.Errorf("chosen are %s", got)
	}
}
