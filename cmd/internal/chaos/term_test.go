package chaos

import (
	"context"
	"sync"
	"testing"
	"time"

	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
)

// toldToEnd: a worker that gets SIGTERM under load ends with 0 within its grace, and by then has told all that LINE Pay answered.
func toldToEnd(t *testing.T, f form) {
	f.commands, f.live, f.over, f.atMost = 300, 40, 100*time.Millisecond, 0
	f.honest = true
	// LINE Pay is late and still answers, also on a machine under load. Since it never answers later than that, little margin is needed.
	f.read, f.margin, f.grace = 2*time.Second, 200*time.Millisecond, 10*time.Second
	w := newWorld(t, f)
	for _, op := range []linepay.Operation{linepay.Request, linepay.Confirm, linepay.Capture, linepay.Void, linepay.Refund, linepay.Details} {
		late := simulator.Fault{Operation: op, Kind: simulator.KindDelay, When: simulator.After, Count: -1, Delay: 200 * time.Millisecond}
		if err := w.pay.sim.AddFault(late); err != nil {
			t.Fatal(err)
		}
	}
	w.startWorkers(t, 1)
	k := w.workers[0]
	ctx, cancel := context.WithTimeout(t.Context(), settling)
	defer cancel()
	var visits sync.WaitGroup
	visits.Go(func() { w.shop.open(ctx) })
	for range 3 {
		answered := w.journal.count() + 20 // so it works
		if !until(ctx, func() bool { return w.journal.count() >= answered }) {
			t.Fatalf("%d of %d commands are answered within %s", w.journal.count(), answered, settling)
		}
		code, took := k.terminate(2 * f.grace)
		w.faults.add("worker told to end")
		if code != 0 || took > f.grace {
			t.Errorf("exit code %d %s after SIGTERM, want 0 within %s", code, took, f.grace)
		}
		if err := w.journal.catchUp(ctx); err != nil {
			t.Fatal(err)
		}
		for _, effect := range audit(w.remains()).untold {
			t.Errorf("the worker has ended, and %s", effect)
		}
		if err := k.start(); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	visits.Wait()
	w.settle(t, began)
	w.finish(t, "SIGTERM under load", time.Since(began), audit(w.remains()))
}
