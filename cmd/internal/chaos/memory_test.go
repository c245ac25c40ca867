package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
	"linepay-worker/schemas"
)

// Redis that loses its memory: the events are all that is left.

const (
	refundedPayments = 250
	refundsEach      = 4
)

// flushed: FLUSHALL in the middle of 1,000 refunds.
func flushed(t *testing.T, f form) {
	r := startRefunds(t, f)
	r.midway(t, func() {
		r.await(t, 300)
		r.flush(t)
	})
	r.again(t, "FLUSHALL in the middle of 1,000 refunds")
}

// restored: all is down in the middle of 1,000 refunds, and Redis comes back with what it had when the first of them were done.
func restored(t *testing.T, f form) {
	r := startRefunds(t, f)
	r.midway(t, func() {
		r.await(t, 300)
		snapshot := r.snapshot(t)
		r.await(t, 600)
		for _, k := range r.workers {
			k.kill()
			r.faults.add("worker killed")
		}
		r.restore(t, snapshot)
		for _, k := range r.workers {
			if err := k.start(); err != nil {
				t.Fatal(err)
			}
		}
	})
	r.again(t, "yesterday's snapshot in the middle of 1,000 refunds")
}

// refunds is a world with payments that are paid back in part, several times each.
type refunds struct {
	*world
	client *linepay.Client
	first  []*order // the refunds, as they were commanded first
	before int      // commands that were answered before them
}

func startRefunds(t *testing.T, f form) *refunds {
	t.Helper()
	f.live = refundedPayments
	r := &refunds{world: newWorld(t, f, "DEDUPE_WINDOW=1s")}
	r.forgotten = true
	account := simulator.DefaultChannel()
	client, err := linepay.New(linepay.Config{BaseURL: r.pay.server.URL, ChannelID: account.ID, Secret: account.Secret})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdle)
	r.client = client
	r.startWorkers(t, workers)
	return r
}

// midway has payments confirmed, commands the refunds, strikes while they are under way, and waits until all is settled.
func (r *refunds) midway(t *testing.T, strike func()) {
	t.Helper()
	payments := make([]linepay.TransactionID, refundedPayments)
	for i := range payments {
		payments[i] = r.paid(t, fmt.Sprintf("O-%d", i+1))
		r.command(t.Context(), linepay.Confirm, "confirm:"+payments[i].String(), map[string]any{
			"transactionId": payments[i].String(), "orderId": fmt.Sprintf("O-%d", i+1), "amount": price, "currency": "TWD",
		})
	}
	r.settle(t, time.Now())
	r.before = r.journal.count()
	r.badLine(t)
	for n := range refundsEach {
		for i, id := range payments {
			amount, refundID := fmt.Sprint(10+n), fmt.Sprintf("R-%d", n+1)
			if i%2 == 0 { // then nothing tells one refund from the next
				amount = "10"
			}
			data := refundData(id, fmt.Sprintf("O-%d", i+1), amount, refundID)
			r.first = append(r.first, r.command(t.Context(), linepay.Refund, refundKey(id, refundID), data))
		}
	}
	strike()
	r.settle(t, time.Now())
	r.pay.sim.ClearFaults()
}

// paid is a payment that waits for its confirm.
func (r *refunds) paid(t *testing.T, orderID string) linepay.TransactionID {
	t.Helper()
	total := linepay.MustAmount(price)
	info, err := r.client.Request(t.Context(), &linepay.PaymentRequest{
		Amount: total, Currency: "TWD", OrderID: orderID,
		Packages: []linepay.RequestPackage{{
			ID: "1", Amount: total, Products: []linepay.Product{{Name: "Tea", Quantity: linepay.MustAmount("1"), Price: total}},
		}},
		RedirectURLs: linepay.RedirectURLs{ConfirmURL: "https://shop.example/paid", CancelURL: "https://shop.example/cancelled"},
	})
	if err == nil {
		err = r.pay.sim.Authenticate(info.TransactionID)
	}
	if err != nil {
		t.Fatal(err)
	}
	return info.TransactionID
}

func (r *refunds) command(ctx context.Context, op linepay.Operation, key string, data map[string]any) *order {
	o := r.shop.enter(op, key, plain, data, time.Time{})
	r.shop.publish(ctx, o)
	return o
}

// badLine makes LINE Pay slow, so that calls are under way at every moment, and loses some answers.
func (r *refunds) badLine(t *testing.T) {
	t.Helper()
	for _, fault := range []simulator.Fault{
		{Operation: linepay.Refund, Kind: simulator.KindDrop, When: simulator.After, Probability: 0.03, Count: -1},
		{Operation: linepay.Refund, Kind: simulator.KindDrop, When: simulator.Before, Probability: 0.02, Count: -1},
		{Operation: linepay.Refund, Kind: simulator.KindDelay, When: simulator.During, Count: -1, Delay: r.form.read / 4},
	} {
		if err := r.pay.sim.AddFault(fault); err != nil {
			t.Fatal(err)
		}
	}
}

// await waits until so many refunds have been answered.
func (r *refunds) await(t *testing.T, answered int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), settling)
	defer cancel()
	if !until(ctx, func() bool { return r.journal.count() >= r.before+answered }) {
		t.Fatalf("%d refunds are answered within %s, want %d", r.journal.count()-r.before, settling, answered)
	}
	if r.journal.count() >= r.before+len(r.first) {
		t.Fatalf("all %d refunds were answered already: nothing is in flight", len(r.first))
	}
}

func (r *refunds) flush(t *testing.T) {
	t.Helper()
	client := r.redis.client()
	defer client.Close()
	if err := client.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	r.faults.add("FLUSHALL")
}

// snapshot copies what Redis has on disk, as a nightly job does.
func (r *refunds) snapshot(t *testing.T) string {
	t.Helper()
	primary, _ := r.redis.roles()
	dir := filepath.Join(r.dir, "snapshot")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(primary.dir, "appendonlydir"))); err != nil {
		t.Fatal(err)
	}
	return dir
}

// restore puts a snapshot in the place of what Redis knows.
func (r *refunds) restore(t *testing.T, snapshot string) {
	t.Helper()
	primary, replica := r.redis.roles()
	primary.kill()
	dir := filepath.Join(primary.dir, "appendonlydir")
	err := os.RemoveAll(dir)
	if err == nil {
		err = os.CopyFS(dir, os.DirFS(snapshot))
	}
	if err == nil {
		err = primary.start()
	}
	if err == nil {
		err = primary.await(t.Context(), "role:master")
	}
	if err == nil {
		err = r.redis.follow(t.Context(), replica)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.faults.add("snapshot restored")
}

// again commands every refund again under another id: a minute later, an hour later by the dates that are kept, and with a Redis that is
// empty once more.
func (r *refunds) again(t *testing.T, title string) {
	t.Helper()
	pause(t.Context(), time.Minute)
	r.wave(t)
	r.passHour(t)
	r.wave(t)
	r.flush(t)
	began := time.Now()
	r.wave(t)
	r.finish(t, title, time.Since(began), audit(r.remains()))
}

// passHour makes everything an hour older, as if it had passed: what LINE Pay has carried out, and what Redis keeps. (The clocks themselves
// are the machine's, and cannot be moved.) Nothing must be under way.
func (r *refunds) passHour(t *testing.T) {
	t.Helper()
	r.pay.age(t.Context(), time.Hour)
	client := r.redis.client()
	defer client.Close()
	keys := client.ScanType(t.Context(), 0, "{linepay:*}:*", 1000, "hash").Iterator()
	for keys.Next(t.Context()) {
		entity, err := client.HGetAll(t.Context(), keys.Val()).Result()
		if err != nil {
			t.Fatal(err)
		}
		for field, value := range entity {
			if !strings.HasPrefix(field, "op:") {
				continue
			}
			older, err := olderRecord(value, time.Hour)
			if err == nil {
				err = client.HSet(t.Context(), keys.Val(), field, older).Err()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := keys.Err(); err != nil {
		t.Fatal(err)
	}
}

// olderRecord moves the times of a guard's record (idempotency/record.lua) back.
func olderRecord(record string, by time.Duration) (string, error) {
	var r map[string]any
	if err := json.Unmarshal([]byte(record), &r); err != nil {
		return "", err
	}
	for _, name := range []string{"lease", "msu", "retry", "first"} {
		if at, ok := r[name].(float64); ok {
			r[name] = at - float64(by.Milliseconds())
		}
	}
	b, err := json.Marshal(r)
	return string(b), err
}

func (r *refunds) wave(t *testing.T) {
	t.Helper()
	var sending sync.WaitGroup
	for some := range slices.Chunk(r.first, len(r.first)/8) {
		sending.Go(func() {
			for _, o := range some {
				r.command(t.Context(), o.op, o.key, o.data)
			}
		})
	}
	sending.Wait()
	r.settle(t, time.Now())
	answers := tally{}
	for _, o := range r.shop.all()[len(r.shop.all())-len(r.first):] {
		if e := r.journal.await(t.Context(), o.ref); e.Name() != schemas.EventDuplicate {
			answers.add(e.Name())
		}
	}
	t.Logf("commanded again: %d refunds; answers other than duplicate: %s", len(r.first), &answers)
}
