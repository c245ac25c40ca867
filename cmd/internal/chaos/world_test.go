package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/schemas"
)

// patience bounds every wait for a server. A machine under load may need seconds; a test that meets the bound fails.
const patience = 30 * time.Second

// settling is how long it may take, after the last fault, until every command is accounted for.
const settling = 2 * time.Minute

// oneQuestion is how long an answer of JetStream is waited for, before it is asked again: its leader may just have died.
const oneQuestion = 2 * time.Second

// world is one run: all processes, what is between them, and what is known about the commands.
type world struct {
	form     form
	dir      string   // logs, and the servers' own files
	settings []string // of the workers, beside the usual ones

	nats    *cluster
	redis   *redisPair
	pay     *linePay
	workers []*worker
	js      jetstream.JetStream // the test's own
	journal *journal
	shop    *shop

	forgotten bool // Redis has lost memory

	faults, cuts, restarts tally // of processes; of the network; of workers that ended by themselves

	mu       sync.Mutex
	problems []string // what went wrong with the test itself, or with a process
}

// newWorld starts everything but the workers.
func newWorld(t *testing.T, f form, settings ...string) *world {
	t.Helper()
	if v := os.Getenv("CHAOS_LOGS"); v != "" {
		if err := os.MkdirAll(v, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	dir, err := os.MkdirTemp(os.Getenv("CHAOS_LOGS"), "linepay-chaos-")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{form: f, dir: dir, settings: settings}
	t.Cleanup(func() {
		if !t.Failed() && os.Getenv("CHAOS_LOGS") == "" {
			_ = os.RemoveAll(dir)
			return
		}
		t.Logf("CHAOS_SEED=%d; logs, ledger and events are in %s", f.seed, dir)
	})
	ports := newDice(uint64(time.Now().UnixNano()), "ports")
	w.nats = startCluster(t, dir, ports)
	w.redis = startRedis(t, dir, ports)
	w.pay = startLINEPay(t, f.seed)
	w.js = w.nats.connect(t)
	return w
}

// startWorkers starts n workers, and reads what they publish.
func (w *world) startWorkers(t *testing.T, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for i := range n {
		k := w.newWorker(t, i+1)
		w.workers = append(w.workers, k)
		if err := k.start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(k.kill)
		if i == 0 && !until(ctx, func() bool { return w.ready(ctx) || !k.alive() }) || !k.alive() {
			t.Fatalf("%s made no streams within %s; its log is %s", k.name, patience, k.log)
		}
	}
	w.journal = openJournal(t, w.js)
	w.shop = newShop(w)
}

// ready says whether there are streams, and a consumer that takes commands from them.
func (w *world) ready(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, oneQuestion)
	defer cancel()
	for _, name := range []string{schemas.StreamEvents, schemas.StreamDeadLetters, schemas.StreamCommands} {
		if _, err := w.js.Stream(ctx, name); err != nil {
			return false
		}
	}
	_, err := w.js.Consumer(ctx, schemas.StreamCommands, schemas.ConsumerPrefix+channel)
	return err == nil
}

// complain keeps what went wrong, for the end.
func (w *world) complain(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.problems = append(w.problems, fmt.Sprintf(format, args...))
}

// left is how many commands are in the stream.
func (w *world) left(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, oneQuestion)
	defer cancel()
	stream, err := w.js.Stream(ctx, schemas.StreamCommands)
	if err != nil {
		return 0, err
	}
	return stream.CachedInfo().State.Msgs, nil
}

// settle waits until no command is left, and every answer has been read.
func (w *world) settle(t *testing.T, began time.Time) {
	t.Helper()
	ctx, cancel := context.WithDeadline(t.Context(), began.Add(settling))
	defer cancel()
	left, err := uint64(0), error(nil)
	if !until(ctx, func() bool { left, err = w.left(ctx); return err == nil && left == 0 }) {
		t.Errorf("%d commands are left in the stream %s after the last fault (%v)", left, settling, err)
	}
	if err := w.journal.catchUp(t.Context()); err != nil {
		t.Error(err)
	}
}

// finish looks at everything that the run has left behind, prints the table, and fails the test on what should not be.
func (w *world) finish(t *testing.T, title string, settled time.Duration, v verdict) {
	t.Helper()
	v.wrong = append(v.wrong, w.logged()...)
	w.mu.Lock()
	v.wrong = append(v.wrong, w.problems...)
	w.mu.Unlock()
	held, gates, err := w.gates(t.Context())
	if err != nil {
		t.Error(err)
	}
	if v.held = held; !w.forgotten {
		v.held = append(v.held, gates.inDoubt...) // no command is left that would look them up
	}
	w.print(title, settled, v, gates)
	for name, faults := range map[string][]string{
		"double": v.doubles, "lost": slices.Concat(v.unanswered, v.untold), "wrong": v.wrong, "held": v.held,
	} {
		for _, fault := range faults[:min(len(faults), 20)] {
			t.Errorf("%s: %s", name, fault)
		}
	}
	if t.Failed() {
		w.keep(t)
	}
}

// remains is what the run has left behind.
func (w *world) remains() remains {
	events, letters := w.journal.all()
	return remains{
		orders: w.shop.all(), events: events, letters: letters, ledger: w.pay.sim.Ledger(), byHand: w.pay.madeByHand,
		forgotten: w.forgotten,
	}
}

// logged finds what no worker should have to say.
func (w *world) logged() (list []string) {
	for _, k := range w.workers {
		content, err := os.ReadFile(k.log)
		if err != nil {
			return []string{err.Error()}
		}
		for line := range strings.Lines(string(content)) {
			if strings.HasPrefix(line, "panic:") || strings.HasPrefix(line, "fatal error:") || strings.Contains(line, `"message":"panic"`) {
				list = append(list, k.name+" says: "+strings.TrimSpace(line))
			}
		}
	}
	return list
}

// keep writes down what a person needs to find out what happened.
func (w *world) keep(t *testing.T) {
	t.Helper()
	left := w.remains()
	var commands []map[string]any
	for _, o := range left.orders {
		commands = append(commands, map[string]any{
			"command": o.ref, "operation": o.op, "key": o.key, "kind": o.kind.String(), "sequences": o.sequences, "at": o.at,
			"body": string(o.body),
		})
	}
	var events []map[string]any
	for _, e := range left.events {
		body, _ := e.event.Encode() // it was decoded from such a body
		events = append(events, map[string]any{"sequence": e.sequence, "stored": e.stored, "event": json.RawMessage(body)})
	}
	for name, content := range map[string]any{
		"ledger.json": left.ledger, "events.json": events, "deadletters.json": left.letters, "commands.json": commands,
	} {
		b, err := json.MarshalIndent(content, "", " ")
		if err == nil {
			err = os.WriteFile(filepath.Join(w.dir, name), b, 0o600)
		}
		if err != nil {
			t.Error(err)
		}
	}
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
