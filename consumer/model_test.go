package consumer_test

import (
	"context"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"linepay-worker/consumer/consumertest"
	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
	"linepay-worker/schemas"
)

// TestModel runs whole lines, several workers each, through random schedules of commands and faults, and holds LINE Pay's ledger against the
// events. MODEL_SCHEDULES says how many (default 500), MODEL_SEED runs the schedule of one seed and tells its story.
func TestModel(t *testing.T) {
	t.Parallel()
	if seed, err := strconv.ParseUint(os.Getenv("MODEL_SEED"), 10, 64); err == nil {
		tellStory(t, seed)
		return
	}
	schedules := uint64(500)
	if modelRace { // then everything takes several times as long
		schedules = 100
	}
	if n, err := strconv.ParseUint(os.Getenv("MODEL_SCHEDULES"), 10, 64); err == nil {
		schedules = n
	}
	first, _ := strconv.ParseUint(os.Getenv("MODEL_FIRST"), 10, 64)
	seen := newModelCoverage()
	var next atomic.Uint64
	for range 2 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			for i := next.Add(1); i <= schedules; i = next.Add(1) {
				plan := newModelPlan(first + i)
				faults := runModel(t, plan, seen, nil)
				seen.schedule(plan, faults)
				if faults = plan.serious(faults); len(faults) > 0 {
					t.Errorf("MODEL_SEED=%d (%s): %s", plan.seed, plan.class, strings.Join(faults, "\n\t"))
				}
				if i%10_000 == 0 {
					t.Logf("%d schedules have begun", i)
				}
			}
		})
	}
	t.Cleanup(func() {
		t.Log(seen.report())
		for _, what := range seen.missing() {
			t.Errorf("%d schedules never met: %s", schedules, what)
		}
	})
}

// tellStory plays one schedule again. The length of the worker's own pauses is the one thing that no seed decides; where that matters, as at
// the end of a retry budget, a story may take more than one telling.
func tellStory(t *testing.T, seed uint64) {
	for range 20 {
		var story []string
		faults := runModel(t, newModelPlan(seed), newModelCoverage(), func(line string) { story = append(story, line) })
		if len(faults) > 0 {
			t.Fatalf("%s\n%s", strings.Join(story, "\n"), strings.Join(faults, "\n"))
		}
	}
}

// runModel plays one schedule to its end.
func runModel(t *testing.T, plan *modelPlan, seen *modelCoverage, story func(string)) (faults []string) {
	synctest.Test(t, func(*testing.T) {
		var mu sync.Mutex
		w := &modelWorld{
			plan: plan, dice: rand.New(rand.NewPCG(plan.seed, 2)), began: time.Now(), seen: seen, wake: make(chan struct{}, 1),
			redis: newMemoryRedis(time.Now), before: map[linepay.TransactionID]int{}, byHand: map[linepay.TransactionID]bool{},
			sent: map[uint64]*modelCommand{}, replays: map[string]int{},
		}
		if story != nil {
			w.story = func(line string) {
				mu.Lock()
				defer mu.Unlock()
				story(line)
			}
		}
		w.nats = &modelNATS{w: w, ackWait: time.Minute}
		w.redis.keep = plan.class == "forgetful"
		w.pay = &modelPay{w: w, sim: simulator.New(simulator.Config{Seed: plan.seed, Rules: plan.rules}), running: map[string]bool{}}
		defer w.pay.sim.Close()
		w.prepare()
		faults = w.play()
		w.finish()
	})
	return faults
}

// prepare makes the payments.
func (w *modelWorld) prepare() {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	channel := simulator.DefaultChannel()
	client, err := linepay.New(linepay.Config{BaseURL: "https://linepay.example", ChannelID: channel.ID, Secret: channel.Secret, Transport: direct{w.pay.sim}})
	must(err)
	ctx := context.Background()
	for _, x := range w.plan.payments {
		request := consumertest.Order(x.order, strconv.Itoa(x.amount), "TWD")
		request.Options = &linepay.RequestOptions{Payment: &linepay.PaymentOptions{Capture: &x.capture}}
		if x.register {
			request.Options.Payment.PayType = "PREAPPROVED"
		}
		info, err := client.Request(ctx, request)
		must(err)
		x.id = info.TransactionID
		if x.approved {
			must(w.pay.sim.Authenticate(x.id))
		}
		if x.confirmed {
			confirmed, err := client.Confirm(ctx, x.id, request.Amount, "TWD")
			must(err)
			x.regKey = confirmed.RegKey
		}
		w.tell("%s is transaction %s of %d, taken at once %v, approved %v, confirmed %v", x.order, x.id, x.amount, x.capture, x.approved, x.confirmed)
	}
	time.Sleep(time.Minute)
	for _, t := range w.pay.sim.Ledger().Transactions {
		w.before[t.TransactionID] = len(t.Effects)
	}
	w.began = time.Now()
}

// direct is a network that never fails.
type direct struct{ sim *simulator.Simulator }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	return serve(d.sim, r, body).Result(), nil
}

// play runs the schedule, then lets everything come to rest without faults, replaying what was parked.
func (w *modelWorld) play() []string {
	for range w.plan.processes {
		w.start()
	}
	for _, c := range w.plan.commands {
		w.plans(c.at, func() {
			subject, body := c.message(time.Now())
			sequence := w.nats.publish(subject, nats.Header{}, []byte(body))
			w.sent[sequence] = c
			w.tell("command %d: %s", sequence, c.id)
		})
	}
	for _, i := range w.plan.incidents {
		w.plans(i.at, func() { w.incident(i) })
	}
	w.plans(w.some(modelLength), w.replaySome)
	w.plans(w.some(modelLength), w.replaySome)
	w.run(modelLength, func() bool { return w.planned == 0 && len(w.nats.queue) == 0 })
	w.tell("calm")
	w.calm = true
	for range 6 {
		if !w.run(3*time.Hour, func() bool { return len(w.nats.queue) == 0 }) {
			break
		}
		w.run(2*time.Minute, func() bool { return false })
		if !w.replayAll() {
			break
		}
	}
	return w.check()
}

// plans has something happen in any case, before the schedule is over.
func (w *modelWorld) plans(at time.Duration, do func()) {
	w.planned++
	w.at(at, nil, func() {
		w.planned--
		do()
	})
}

func (w *modelWorld) incident(i modelIncident) {
	w.tell("incident: %s %s", i.kind, shortTime(i.by))
	switch i.kind {
	case "stop":
		if alive := w.alive(); len(alive) > 0 {
			w.shutDown(alive[0])
		}
	case "jump":
		w.redis.ahead += i.by
	case "flush":
		clear(w.redis.hashes)
		clear(w.redis.expires)
	case "lose":
		w.redis.lose(time.Now().Add(-i.by))
	case "by hand":
		if id, err := w.pay.sim.RefundByHand(i.of.id, linepay.MustAmount(i.amount)); err == nil {
			w.byHand[id] = true
		}
	}
}

// replaySome publishes dead letters again, as an operator does; one of them sometimes twice.
func (w *modelWorld) replaySome() {
	for _, l := range w.nats.letters {
		for range w.dice.IntN(3) {
			w.replay(l)
		}
	}
}

func (w *modelWorld) replay(l *modelLetter) {
	header := nats.Header{schemas.HeaderReplay: {strconv.FormatUint(l.sequence, 10)}}
	sequence := w.nats.publish(l.letter.Subject, header, l.body)
	w.sent[sequence] = w.sent[l.letter.Sequence]
	l.replays++
	w.tell("replay of dead letter %d as %d: %s", l.sequence, sequence, w.sent[sequence].id)
}

// replayAll replays, once, what has no other answer than that it was parked.
func (w *modelWorld) replayAll() (any bool) {
	final := map[string]bool{}
	for _, s := range w.nats.events {
		if s.event.Name() != schemas.EventParked && (s.event.Name() != schemas.EventPreapproval || s.event.Data.Operation != linepay.Confirm) {
			final[s.event.Data.Command.ID] = true
		}
	}
	last := map[string]*modelLetter{}
	for _, l := range w.nats.letters {
		if c := w.sent[l.letter.Sequence]; c.broken != "unreadable" && !final[c.id] {
			last[c.id] = l
		}
	}
	for _, id := range slices.Sorted(maps.Keys(last)) {
		if w.replays[id]++; w.replays[id] <= 3 {
			w.replay(last[id])
			any = true
		}
	}
	return any
}
