package chaos

import (
	"context"
	"sync"
	"time"
)

// fault is one kind of trouble. It has passed when strike returns: whoever was killed runs again, and what was held is let go. It is false
// when it could not strike, because something else is the matter with what it is about.
type fault struct {
	name   string
	often  int // how many times in a deck
	strike func(context.Context, *dice) bool
}

// trouble strikes until all commands are sent and there have been faults enough, and returns when all of it has passed.
func (w *world) trouble(ctx context.Context, faults []fault) {
	sent := func() bool { return !w.shop.more() }
	var all sync.WaitGroup
	all.Go(func() {
		d := newDice(w.form.seed, "processes")
		w.deal(ctx, d, faults, &w.faults, w.form.faults, sent)
	})
	all.Go(func() {
		d := newDice(w.form.seed, "network")
		w.deal(ctx, d, w.networkFaults(), &w.cuts, 2*w.form.faults, sent)
	})
	all.Go(func() {
		d := newDice(w.form.seed, "calls")
		w.deal(ctx, d, w.callFaults(), new(tally), w.form.faults/6, sent)
	})
	all.Wait()
	w.pay.sim.ClearFaults()
}

// deal strikes with one fault after the other, in a random order that has each of them as often as it is in the deck. Faults of different
// processes overlap. It is over when there have been enough, and all commands are sent; where those take longer, it goes on more slowly, or
// they would never be.
func (w *world) deal(ctx context.Context, d *dice, faults []fault, struck *tally, enough int, sent func() bool) {
	var passing sync.WaitGroup
	defer passing.Wait()
	var deck []fault
	every := w.form.over / time.Duration(max(enough, 1))
	for ctx.Err() == nil {
		all := struck.total() >= enough
		if all && sent() {
			return
		}
		if len(deck) == 0 {
			for _, f := range faults {
				for range f.often {
					deck = append(deck, f)
				}
			}
			d.shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
		}
		f := deck[0]
		deck = deck[1:]
		passing.Go(func() {
			if f.strike(ctx, d) {
				struck.add(f.name)
			}
		})
		wait := d.between(every/2, every*3/2)
		if all {
			wait *= 4
		}
		pause(ctx, wait)
	}
}

func (w *world) processFaults() []fault {
	t := w.form.times
	aWorker := func(name string, often int, strike func(context.Context, *dice, *worker)) fault {
		return fault{name, often, func(ctx context.Context, d *dice) bool {
			k := pick(d, w.workers)
			if !k.turn.TryLock() {
				return false
			}
			defer k.turn.Unlock()
			strike(ctx, d, k)
			return true
		}}
	}
	aNode := func(name string, often int, strike func(context.Context, *dice, *node)) fault {
		return fault{name, often, func(ctx context.Context, d *dice) bool {
			if !w.nats.turn.TryLock() {
				return false
			}
			defer w.nats.turn.Unlock()
			n := pick(d, w.nats.nodes[:])
			strike(ctx, d, n)
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			if !n.awaitHealth(ctx) {
				w.complain("%s is not healthy %s after a fault; its log is %s", n.name, patience, n.log)
			}
			return true
		}}
	}
	return []fault{
		aWorker("worker killed", 5, func(ctx context.Context, d *dice, k *worker) { k.kill(); w.restart(ctx, d, k.process) }),
		aWorker("worker told to end", 2, func(ctx context.Context, d *dice, k *worker) {
			k.terminate(2 * t.grace)
			w.restart(ctx, d, k.process)
		}),
		aWorker("worker stopped for longer than its leases", 4, func(ctx context.Context, d *dice, k *worker) {
			k.halt(ctx, d.between(t.lease()+t.lease()/10, 2*t.lease()))
		}),
		aWorker("worker stopped", 2, func(ctx context.Context, d *dice, k *worker) { k.halt(ctx, d.between(50*time.Millisecond, t.lease())) }),
		aNode("NATS killed", 1, func(ctx context.Context, d *dice, n *node) { n.kill(); w.restart(ctx, d, n.process) }),
		aNode("NATS told to end", 1, func(ctx context.Context, d *dice, n *node) { n.terminate(patience); w.restart(ctx, d, n.process) }),
		aNode("NATS stopped", 1, func(ctx context.Context, d *dice, n *node) { n.halt(ctx, d.between(50*time.Millisecond, t.lease())) }),
		w.aStore("Redis killed", 1, func(ctx context.Context, _ *dice) {
			primary, _ := w.redis.roles()
			w.check(w.redis.restart(ctx, primary))
		}),
		w.aStore("Redis stopped", 1, func(ctx context.Context, d *dice) {
			primary, _ := w.redis.roles()
			primary.halt(ctx, d.between(50*time.Millisecond, t.lease()))
		}),
		w.aStore("replica killed", 1, func(ctx context.Context, _ *dice) {
			_, replica := w.redis.roles()
			w.check(w.redis.restart(ctx, replica))
		}),
	}
}

func (w *world) aStore(name string, often int, strike func(context.Context, *dice)) fault {
	return fault{name, often, func(ctx context.Context, d *dice) bool {
		if !w.redis.turn.TryLock() {
			return false
		}
		defer w.redis.turn.Unlock()
		strike(ctx, d)
		return true
	}}
}

// memoryFaults make Redis forget.
func (w *world) memoryFaults() []fault {
	return []fault{
		w.aStore("failover", 3, func(ctx context.Context, _ *dice) { w.check(w.redis.failover(ctx)) }),
		w.aStore("FLUSHALL", 2, func(ctx context.Context, _ *dice) {
			client := w.redis.client()
			defer client.Close()
			w.check(client.FlushAll(ctx).Err())
		}),
	}
}

// restart starts a process again after a while.
func (w *world) restart(ctx context.Context, d *dice, p *process) {
	pause(ctx, d.between(0, 2*w.form.read))
	w.check(p.start())
}

func (w *world) check(err error) {
	if err != nil {
		w.complain("%v", err)
	}
}

// networkFaults are between any two of the programs. Nothing is held longer than what LOOKUP_MARGIN allows for.
func (w *world) networkFaults() []fault {
	pairs := [][]*link{w.nats.routes, {w.redis.replication}, {w.pay.link}, nil, nil}
	for _, k := range w.workers {
		pairs[3], pairs[4] = append(pairs[3], k.nats...), append(pairs[4], k.redis)
	}
	var faults []fault
	for _, links := range pairs {
		add := func(name string, strike func(context.Context, *dice, *link)) {
			faults = append(faults, fault{links[0].pair + " " + name, 1, func(ctx context.Context, d *dice) bool {
				strike(ctx, d, pick(d, links))
				return true
			}})
		}
		add("cut", func(_ context.Context, d *dice, l *link) { l.cutSome(d) })
		add("cut, answers lost", func(ctx context.Context, d *dice, l *link) {
			release := l.hold(answers)
			pause(ctx, d.between(time.Millisecond, 60*time.Millisecond))
			l.cutSome(d)
			release()
		})
		add("away", func(ctx context.Context, d *dice, l *link) {
			l.refuse(true)
			l.cut()
			pause(ctx, d.between(50*time.Millisecond, w.form.lease()/2))
			l.refuse(false)
		})
		add("held", func(ctx context.Context, d *dice, l *link) {
			release := l.hold(requests, answers)
			pause(ctx, d.between(20*time.Millisecond, w.form.hold()))
			release()
		})
		add("slow", func(ctx context.Context, d *dice, l *link) {
			l.delay(d.between(time.Millisecond, 20*time.Millisecond))
			pause(ctx, d.between(50*time.Millisecond, w.form.lease()/2))
			l.delay(0)
		})
	}
	return faults
}

// callFaults come beside those that single calls meet: LINE Pay is down for a while.
func (w *world) callFaults() []fault {
	down := func(how string) fault {
		return fault{how, 1, func(ctx context.Context, d *dice) bool {
			up := w.pay.goDown(how)
			pause(ctx, d.between(50*time.Millisecond, w.form.lease()/4))
			up()
			return true
		}}
	}
	return []fault{down(unavailable), down(unreachable), down(noChannel)}
}
