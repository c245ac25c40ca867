package chaos

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"linepay-worker/linepay/simulator"
)

// channel is the merchant's name on the bus.
const channel = "tw"

// worker is a linepay-worker, and what joins it to the others.
type worker struct {
	*process
	nats  []*link
	redis *link
}

// newWorker does not start it yet.
func (w *world) newWorker(t *testing.T, n int) *worker {
	t.Helper()
	k := &worker{}
	var servers []string
	for _, node := range w.nats.nodes {
		l := newLink(t, "worker-nats", node.client)
		k.nats, servers = append(k.nats, l), append(servers, "nats://"+l.addr())
	}
	primary, _ := w.redis.roles()
	k.redis = newLink(t, "worker-redis", primary.addr)
	w.redis.workers = append(w.redis.workers, k.redis)
	account, name := simulator.DefaultChannel(), fmt.Sprintf("worker%d", n)
	k.process = &process{
		name: name, program: built.worker, args: []string{"--replicas", "3"}, log: filepath.Join(w.dir, name+".log"),
		env: append([]string{
			"NATS_URL=" + strings.Join(servers, ","), "REDIS_URL=redis://" + k.redis.addr() + "/0",
			"LINEPAY_CHANNEL=" + channel, "LINEPAY_BASE_URL=http://" + w.pay.link.addr(),
			"LINEPAY_CHANNEL_ID=" + account.ID, "LINEPAY_CHANNEL_SECRET=" + account.Secret.Reveal(),
			"READ_TIMEOUT=" + w.form.read.String(), "LOOKUP_MARGIN=" + w.form.margin.String(),
			"RETRY_MIN=" + w.form.retryMin.String(), "RETRY_MAX=" + w.form.retryMax.String(), "SHUTDOWN_GRACE=" + w.form.grace.String(),
			"ADMIN_ADDR=off", "LOG_LEVEL=debug",
		}, w.settings...),
	}
	return k
}

// keepRunning starts a worker again when it has ended by itself, as a supervisor does: a worker that finds NATS or Redis away at its start
// ends with a message.
func (w *world) keepRunning(ctx context.Context, k *worker) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return
		case <-k.over():
		}
		k.turn.Lock() // a fault that has ended it starts it again
		if ctx.Err() == nil && !k.alive() {
			w.restarts.add(fmt.Sprintf("exit code %d", k.exitCode()))
			pause(ctx, 200*time.Millisecond)
			if err := k.start(); err != nil {
				w.complain("%v", err)
			}
		}
		k.turn.Unlock()
	}
}

func (p *process) exitCode() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.code
}
