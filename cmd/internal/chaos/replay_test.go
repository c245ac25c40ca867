package chaos

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/consumer/consumertest"
	"linepay-worker/linepay"
	"linepay-worker/publisher"
	"linepay-worker/schemas"
)

// morning is what operators find: parked confirms and refunds, whose workers crash while two operators replay them.
type morning struct {
	form    form
	nats    *consumertest.NATSServer
	js      jetstream.JetStream
	pay     *consumertest.LINEPay
	dir     string
	env     []string
	workers []*process
	refunds map[linepay.TransactionID]bool // all payments, and whether a refund is parked, or a confirm
	letters int
	crashes tally
}

// TestReplayedDeadLettersHaveOneEffectEachWhateverCrashes replays 200 parked payments, in the full form 10,000, by their
// confirms and refunds, with two operators at once, one of whom is killed half-way and begins again, while workers are killed.
func TestReplayedDeadLettersHaveOneEffectEachWhateverCrashes(t *testing.T) {
	t.Parallel()
	m := newMorning(t, chosenForm(t))
	payments := 200
	if m.form.full {
		payments = 10_000
	}
	m.park(t, payments)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var crashes sync.WaitGroup
	for _, w := range m.workers {
		if err := w.start(); err != nil {
			t.Fatal(err)
		}
		crashes.Go(func() { m.crashNowAndThen(ctx, t, w) })
	}
	began := time.Now()
	first, second := m.operator(t, "first"), m.operator(t, "second")
	if !until(ctx, func() bool { return m.published(t) > m.letters/4 || !first.alive() }) {
		t.Fatal("nothing is replayed")
	}
	first.kill()
	if err := first.start(); err != nil { // and goes on from where the first one was killed
		t.Fatal(err)
	}
	<-first.over()
	<-second.over()
	cancel()
	crashes.Wait()
	// What the one that was killed had published is followed by nobody, and comes again once its worker's crash is noticed.
	if !consumertest.Eventually(t, func(context.Context) bool { return m.waiting(t) == 0 }) {
		t.Errorf("%d commands wait", m.waiting(t))
	}
	// What was in hand in three crashes is parked again, for a person to look at: who has looked replays it.
	last := m.operator(t, "last")
	<-last.over()
	t.Logf("%d dead letters were replayed in %s, with %d crashes", m.letters, time.Since(began).Round(time.Millisecond), m.crashes.total())
	if code := last.exitCode(); code != 0 {
		t.Errorf("the last operator: exit code %d, want 0", code)
	}
	m.wantOneEffectEach(t)
	m.wantEachAccountedFor(t)
}

func newMorning(t *testing.T, f form) *morning {
	t.Helper()
	m := &morning{
		form: f, nats: consumertest.NATS(t), pay: consumertest.Simulator(t), dir: t.TempDir(),
		refunds: map[linepay.TransactionID]bool{},
	}
	m.js = m.nats.JetStream(t)
	if _, err := publisher.Provision(t.Context(), m.js, publisher.StreamOptions{}, true); err != nil {
		t.Fatal(err)
	}
	m.env = []string{"NATS_URL=" + m.nats.URL(), "LINEPAYCTL_OPERATOR=morning-shift", "HOME=" + m.dir}
	env := append([]string{
		"REDIS_URL=" + consumertest.Redis(t).URL(), "LINEPAY_CHANNEL=" + channel, "LINEPAY_BASE_URL=" + m.pay.URL,
		"LINEPAY_CHANNEL_ID=" + m.pay.ChannelID, "LINEPAY_CHANNEL_SECRET=" + m.pay.Secret.Reveal(),
		"READ_TIMEOUT=400ms", "LOOKUP_MARGIN=100ms", "RETRY_MIN=50ms", "RETRY_MAX=1s", "SHUTDOWN_GRACE=5s", "ADMIN_ADDR=off",
	}, m.env...)
	for n := range 2 {
		name := fmt.Sprint("worker", n)
		w := &process{name: name, program: built.worker, log: filepath.Join(m.dir, name+".log"), env: env}
		t.Cleanup(w.kill)
		m.workers = append(m.workers, w)
	}
	return m
}

// park makes payments that customers have paid, and parks the commands that would take and give back their money.
func (m *morning) park(t *testing.T, payments int) {
	t.Helper()
	client := m.pay.Client(t)
	bus, err := publisher.New(t.Context(), m.js)
	if err != nil {
		t.Fatal(err)
	}
	for n := range payments {
		order := fmt.Sprint("ORDER-", n)
		answer, err := client.Request(t.Context(), consumertest.Order(order, "100", "TWD"))
		if err != nil {
			t.Fatal(err)
		}
		id := answer.TransactionID
		if err := m.pay.Sim.Authenticate(id); err != nil {
			t.Fatal(err)
		}
		if m.refunds[id] = n%3 == 0; !m.refunds[id] {
			m.letter(t, bus, linepay.Confirm, id, order, `"amount":"100","currency":"TWD"`)
			continue
		}
		if _, err := client.Confirm(t.Context(), id, linepay.MustAmount("100"), "TWD"); err != nil {
			t.Fatal(err)
		}
		m.letter(t, bus, linepay.Refund, id, order, `"refundAmount":"40","refundId":"R-1"`)
	}
}

func (m *morning) letter(t *testing.T, bus *publisher.Publisher, op linepay.Operation, id linepay.TransactionID, order, data string) {
	t.Helper()
	m.letters++
	subject := schemas.CommandSubject(channel, op)
	body := fmt.Sprintf(`{"specversion":"1.0","id":"%s-%s","source":"/shop","type":"%s","data":{"transactionId":"%s","orderId":"%s",%s}}`,
		op, order, schemas.CommandType(op), id, order, data)
	d := schemas.DeadLetter{
		Reason: schemas.ReasonExhausted, Detail: "LINE Pay was away", Subject: subject, Sequence: uint64(m.letters), Deliveries: 9, At: time.Now(),
	}
	if err := bus.Park(t.Context(), fmt.Sprint(m.letters), d, nil, []byte(body)); err != nil {
		t.Fatal(err)
	}
}

// operator replays all that there is.
func (m *morning) operator(t *testing.T, name string) *process {
	t.Helper()
	p := &process{
		name: name, program: built.ctl, env: m.env, log: filepath.Join(m.dir, name+".log"),
		args: []string{"deadletters", "replay", "--all", "--json", "--stop-after", "0", "--wait", "1m"},
	}
	t.Cleanup(p.kill)
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	return p
}

func (m *morning) published(t *testing.T) int {
	stream, err := m.js.Stream(t.Context(), schemas.StreamCommands)
	if err != nil {
		return 0
	}
	return int(stream.CachedInfo().State.LastSeq)
}

// waiting is how many commands are not done.
func (m *morning) waiting(t *testing.T) int {
	stream, err := m.js.Stream(t.Context(), schemas.StreamCommands)
	if err != nil {
		t.Fatal(err)
	}
	return int(stream.CachedInfo().State.Msgs)
}

// crashNowAndThen kills a worker and starts it again.
func (m *morning) crashNowAndThen(ctx context.Context, t *testing.T, w *process) {
	d, least, most := newDice(m.form.seed, w.name), 200*time.Millisecond, 2*time.Second
	if m.form.full {
		least, most = 5*time.Second, 15*time.Second
	}
	for ctx.Err() == nil {
		pause(ctx, d.between(least, most))
		m.crashes.add(w.name)
		w.kill()
		if err := w.start(); err != nil {
			t.Error(err)
			return
		}
	}
}

// wantOneEffectEach holds what LINE Pay did, and what the events tell, against what was parked.
func (m *morning) wantOneEffectEach(t *testing.T) {
	t.Helper()
	for _, tx := range m.pay.Sim.Ledger().Transactions {
		want := map[linepay.Operation]int{linepay.Confirm: 1}
		if m.refunds[tx.TransactionID] {
			want[linepay.Refund] = 1
		}
		got := map[linepay.Operation]int{}
		for _, effect := range tx.Effects {
			got[effect.Operation]++
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: effects %v, want %v", tx.OrderID, got, want)
		}
	}
	refunded := 0
	for _, refund := range m.refunds {
		if refund {
			refunded++
		}
	}
	want := map[string]int{schemas.EventCaptured: len(m.refunds) - refunded, schemas.EventRefunded: refunded, schemas.EventFailed: 0}
	for name, want := range want {
		if got := len(consumertest.Collect(t, m.js, schemas.StreamEvents, schemas.EventsFilter(channel, name))); got != want {
			t.Errorf("%d %s events, want %d", got, name, want)
		}
	}
	for _, name := range []string{schemas.StreamCommands, schemas.StreamDeadLetters} {
		stream, err := m.js.Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if left := stream.CachedInfo().State.Msgs; left != 0 {
			t.Errorf("%d messages are left in %s", left, name)
		}
	}
}

// wantEachAccountedFor demands that each dead letter is in the audit stream, and that the summary of an operator who was not killed says what
// became of each that it tells of.
func (m *morning) wantEachAccountedFor(t *testing.T) {
	t.Helper()
	audited := map[uint64]bool{}
	for _, msg := range consumertest.Collect(t, m.js, schemas.StreamAudit, schemas.SubjectsAudit) {
		entry, err := schemas.DecodeAudit(msg.Data)
		if err != nil {
			t.Fatal(err)
		}
		audited[entry.Data.DeadLetter] = true
	}
	for number := range uint64(m.letters) {
		if !audited[number+1] {
			t.Errorf("the replay of dead letter %d is not in the audit stream", number+1)
		}
	}
	log, err := os.ReadFile(filepath.Join(m.dir, "second.log"))
	if err != nil {
		t.Fatal(err)
	}
	told, summed := map[string]int{}, map[string]int{}
	for lines := bufio.NewScanner(bytes.NewReader(log)); lines.Scan(); {
		var line struct {
			Result  string         `json:"result"`
			Summary map[string]int `json:"summary"`
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Errorf("the second operator says: %s", lines.Text())
		}
		if line.Result != "" {
			told[line.Result]++
		}
		if line.Summary != nil {
			summed = line.Summary
		}
	}
	if list(told) != list(summed) || strings.Contains(list(told), "open") || len(told) == 0 {
		t.Errorf("the second operator tells of %s, and sums up %s", list(told), list(summed))
	}
	t.Logf("the second operator: %s", list(summed))
}
