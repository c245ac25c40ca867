package chaos

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// built are the programs as `go build` makes them.
var built struct{ worker, ctl, nats string }

func TestMain(m *testing.M) { os.Exit(build(m)) }

func build(m *testing.M) int {
	redis.SetLogger(silent{}) // it would tell of every server that is down
	dir, err := os.MkdirTemp("", "linepay-chaos-programs-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	built.worker, built.ctl, built.nats = filepath.Join(dir, "linepay-worker"), filepath.Join(dir, "linepayctl"), filepath.Join(dir, "nats-server")
	for program, source := range map[string]string{
		built.worker: "linepay-worker/cmd/linepay-worker", built.ctl: "linepay-worker/cmd/linepayctl", built.nats: "github.com/nats-io/nats-server/v2",
	} {
		if output, err := exec.Command("go", "build", "-o", program, source).CombinedOutput(); err != nil {
			panic(string(output))
		}
	}
	return m.Run()
}

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// TestChaos runs what the chosen form has.
func TestChaos(t *testing.T) {
	t.Parallel()
	f := chosenForm(t)
	scenarios := map[string]func(*testing.T, form){
		"every operation has one effect and one event whatever fails":   everythingAtOnce,
		"a worker that is told to end under load leaves nothing untold": toldToEnd,
	}
	if f.full {
		scenarios["nothing is done twice when a failover loses the last writes"] = withoutMemory
		scenarios["no refund is made twice when Redis is flushed"] = flushed
		scenarios["no refund is made twice when yesterday's snapshot is restored"] = restored
	}
	for name, scenario := range scenarios {
		t.Run(name, func(t *testing.T) {
			if !f.full { // the big ones want the machine for themselves
				t.Parallel()
			}
			scenario(t, f)
		})
	}
}

const workers = 3

// everythingAtOnce is the shop on its worst day.
func everythingAtOnce(t *testing.T, f form) {
	w := newWorld(t, f)
	w.startWorkers(t, workers)
	w.pay.misbehave(t, f.times)
	settled := w.day(t, func(ctx context.Context) { w.trouble(ctx, w.processFaults()) })
	w.finish(t, "everything at once", settled, audit(w.remains()))
}

// withoutMemory is a day on which Redis loses its memory, too: the last writes in a failover, or all of it.
func withoutMemory(t *testing.T, f form) {
	f.commands, f.faults, f.over = f.commands/5, f.faults/5, f.over/5
	w := newWorld(t, f)
	w.forgotten = true
	w.startWorkers(t, workers)
	w.pay.misbehave(t, f.times)
	faults := append(w.processFaults(), w.memoryFaults()...)
	settled := w.day(t, func(ctx context.Context) { w.trouble(ctx, faults) })
	w.finish(t, "Redis without memory", settled, audit(w.remains()))
}

// day opens the shop while there is trouble, and gives the time that it takes to settle everything after it.
func (w *world) day(t *testing.T, trouble func(context.Context)) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*w.form.over+settling)
	defer cancel()
	var keepers, visits sync.WaitGroup
	for _, k := range w.workers {
		keepers.Go(func() { w.keepRunning(ctx, k) })
	}
	visits.Go(func() { w.shop.open(ctx) })
	trouble(ctx)
	began := time.Now()
	timer := time.AfterFunc(settling, cancel)
	defer timer.Stop()
	visits.Wait()
	w.settle(t, began)
	settled := time.Since(began)
	cancel()
	keepers.Wait()
	return settled
}
