package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"

	"linepay-worker/publisher"
	"linepay-worker/schemas"
)

// patience bounds every wait for a process. A machine under load may need seconds.
const patience = 60 * time.Second

// round is one run of one subject under one load, with servers of its own.
type round struct {
	*bench
	load *load
	dir  string

	servers    []*process
	subjects   []*process // workers, or the ceiling
	neighbours []*process

	natsURL, redisAddress, payAddress string
	pprof                             [2]string // ports of the profilers of worker and NATS

	conn   *nats.Conn
	js     jetstream.JetStream
	feed   *feeder
	events jetstream.Stream
}

// round plays one.
func (b *bench) round(ctx context.Context, l *load, subject string) (s sample, err error) {
	b.rounds++
	r := &round{bench: b, load: l, dir: filepath.Join(b.dir, strconv.Itoa(b.rounds))}
	defer func() {
		r.end()
		err = errors.Join(err, os.RemoveAll(r.dir))
	}()
	if err := r.startServers(ctx); err != nil {
		return s, err
	}
	if l.rate > 0 {
		s, err = r.latencies(ctx, subject)
	} else {
		s, err = r.throughput(ctx, subject)
	}
	if err != nil {
		for _, p := range r.subjects {
			err = errors.Join(err, fmt.Errorf("%s said last\n%s", p.name, p.lastWords()))
		}
		return s, err
	}
	s.tally, err = r.tally(ctx)
	return s, err
}

// serverNames are in the order in which servers are started.
var serverNames = []string{"nats", "redis", "linepay"}

func (r *round) end() {
	if r.conn != nil {
		r.conn.Close()
	}
	for _, p := range slices.Concat(r.subjects, r.neighbours, r.servers) {
		p.kill()
	}
}

func (r *round) start(name string, env []string, program string, args ...string) (*process, error) {
	return start(name, filepath.Join(r.dir, name+".log"), env, program, args...)
}

// startServers starts NATS, Redis and the stand-in, and makes the streams.
func (r *round) startServers(ctx context.Context) error {
	if err := os.Mkdir(r.dir, 0o700); err != nil {
		return err
	}
	var ports [5]string
	for i := range ports {
		port, err := freePort()
		if err != nil {
			return err
		}
		ports[i] = port
	}
	r.natsURL, r.redisAddress, r.payAddress = "nats://127.0.0.1:"+ports[0], "127.0.0.1:"+ports[1], "127.0.0.1:"+ports[2]
	r.pprof = [2]string(ports[3:])
	for _, server := range []struct {
		name, program string
		env, args     []string
	}{
		{serverNames[0], r.nats, nil, append(r.natsProfiler(), "-js", "-a", "127.0.0.1", "-p", ports[0], "-sd", filepath.Join(r.dir, "jetstream"))},
		{serverNames[1], r.redis, nil, []string{
			"--port", ports[1], "--bind", "127.0.0.1", "--dir", r.dir, "--save", "", "--appendonly", "yes", "--maxmemory-policy", "noeviction",
			"--auto-aof-rewrite-percentage", "0", // a fork in the middle of one round would not be in the others
		}},
		{serverNames[2], r.self, []string{"BENCH_ADDR=" + r.payAddress, "BENCH_DELAY=" + r.load.delay.String()}, []string{partLINEPay}},
	} {
		p, err := r.start(server.name, server.env, server.program, server.args...)
		if err != nil {
			return err
		}
		r.servers = append(r.servers, p)
	}
	if err := r.await(ctx); err != nil {
		return err
	}
	return r.prepare(ctx)
}

// await waits until the servers answer.
func (r *round) await(ctx context.Context) error {
	client := redis.NewClient(&redis.Options{Addr: r.redisAddress, MaxRetries: -1, DialerRetries: 1})
	defer client.Close()
	return r.until(ctx, "the servers answer", func() (bool, error) {
		if r.conn == nil {
			r.conn, _ = nats.Connect(r.natsURL)
		}
		if r.conn == nil || !answers(ctx, r.redisAddress) || client.Ping(ctx).Err() != nil {
			return false, nil
		}
		_, err := r.tally(ctx)
		return err == nil, nil
	})
}

// answers dials first: go-redis logs every failed one.
func answers(ctx context.Context, address string) bool {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return false
	}
	return conn.Close() == nil
}

// prepare makes the streams as the worker would.
func (r *round) prepare(ctx context.Context) (err error) {
	if r.js, err = jetstream.New(r.conn); err != nil {
		return err
	}
	if _, err = publisher.Provision(ctx, r.js, publisher.StreamOptions{}, true); err != nil {
		return err
	}
	if r.events, err = r.js.Stream(ctx, schemas.StreamEvents); err != nil {
		return err
	}
	r.feed, err = newFeeder(r.conn, r.load)
	return err
}

// The merchant's account.
const (
	channelID     = "1650000001"
	channelSecret = "0123456789abcdef0123456789abcdef"
)

// startSubject starts the workers, or the ceiling, with the settings that they have by default.
func (r *round) startSubject(subject string) error {
	env := []string{
		"NATS_URL=" + r.natsURL, "REDIS_URL=redis://" + r.redisAddress + "/0", "CONCURRENCY=" + strconv.Itoa(r.load.inFlight), "ADMIN_ADDR=off",
	}
	if r.load.trouble == "" {
		env = append(env, "LINEPAY_BASE_URL=http://"+r.payAddress, "LINEPAY_CHANNEL_ID="+channelID, "LINEPAY_CHANNEL_SECRET="+channelSecret)
	} else {
		env = append(env, "LINEPAY_CHANNELS="+r.channelsFile())
	}
	if r.load.mixed { // so that doubt is over, and a retry due, within the measurement
		env = append(env, "READ_TIMEOUT=300ms", "LOOKUP_MARGIN=0s", "RETRY_MIN=50ms", "RETRY_MAX=500ms")
	}
	if subject == subjectCeiling {
		return r.startOne("ceiling", env, r.self, partCeiling)
	}
	for i := range r.load.workers {
		if err := r.startOne(fmt.Sprintf("worker%d", i+1), append(env, r.profiled()...), r.worker); err != nil {
			return err
		}
	}
	return nil
}

func (r *round) startOne(name string, env []string, program string, args ...string) error {
	p, err := r.start(name, env, program, args...)
	if err == nil {
		r.subjects = append(r.subjects, p)
	}
	return err
}

// until asks until the answer is yes.
func (r *round) until(ctx context.Context, what string, holds func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("after %s it does not hold that %s", patience, what))
	defer cancel()
	for {
		yes, err := holds()
		if yes || err != nil {
			return err
		}
		for _, p := range append(r.subjects, r.servers...) {
			if err := p.alive(); err != nil {
				return err
			}
		}
		pause(ctx, 10*time.Millisecond)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// tally asks the stand-in what it has done.
func (r *round) tally(ctx context.Context) (t tally, err error) {
	return t, r.ask(ctx, "/tally", &t)
}

// ask asks the stand-in itself, not LINE Pay.
func (r *round) ask(ctx context.Context, path string, answer any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.payAddress+path, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return json.NewDecoder(response.Body).Decode(answer)
}
