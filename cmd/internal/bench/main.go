// Command bench measures the built linepay-worker beside a hand-written loop that promises nothing: its ceiling.
//
//	make bench                                  # all of it, about 20 minutes
//	BENCH_ONLY='throughput/.*/0ms' make bench   # the loads whose names match
//	BENCH_QUICK=1 make bench                    # a second for each load: shows that it works, and no more
//	BENCH_OUT=cmd/internal/bench/figures make bench   # table.md and pictures, beside the table on stdout
//	BENCH_PROFILE=profiles make bench           # CPU profiles of the worker and its nats-server for each load
//
// Every round has a nats-server with file storage, a redis-server with its append-only file, and a stand-in for LINE Pay, each started
// anew and each a process of its own, as are the worker and the ceiling (this program again, with the name of its part as argument).
// Commands are published before the measurement begins; what is counted is events, by the time at which JetStream has stored them. Rounds
// of worker and ceiling take turns, and what is compared are medians: absolute figures move with the machine.
//
// It exits with 1 when something fails, and when the worker has carried a command out twice.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch part := append(os.Args, "")[1]; part {
	case "":
		err = measureAll(ctx, os.Stdout)
	case partLINEPay:
		err = serveLINEPay(ctx)
	case partCeiling:
		err = runCeiling(ctx)
	default:
		err = fmt.Errorf("unknown part %q: leave it out to measure", part)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// Parts of the bench that are processes of their own.
const (
	partLINEPay = "linepay"
	partCeiling = "ceiling"
)

// bench is what all rounds share.
type bench struct {
	dir      string // all that the servers write
	self     string // this program
	worker   string
	nats     string
	redis    string
	profiles string // where CPU profiles go; "" = none
	pace     pace
	rounds   int // so far
}

// pace is how long things take.
type pace struct {
	rounds   int           // of each load
	warm     time.Duration // under load before the measurement begins
	window   time.Duration // of a measurement
	latency  time.Duration // of a measurement of latencies
	backlogs [2]int        // commands that wait: few and many
	retries  int           // commands that wait for a retry
}

var (
	thorough = pace{rounds: 3, warm: time.Second, window: 3 * time.Second, latency: 12 * time.Second, backlogs: [2]int{1000, 200_000}, retries: 100_000}
	quick    = pace{rounds: 1, warm: 300 * time.Millisecond, window: time.Second, latency: 3 * time.Second, backlogs: [2]int{1000, 20_000}, retries: 10_000}
)

func measureAll(ctx context.Context, out io.Writer) error {
	only, err := regexp.Compile(os.Getenv("BENCH_ONLY"))
	if err != nil {
		return fmt.Errorf("BENCH_ONLY: %w", err)
	}
	b := &bench{pace: thorough, profiles: os.Getenv("BENCH_PROFILE")}
	if os.Getenv("BENCH_QUICK") != "" {
		b.pace = quick
	}
	if b.dir, err = os.MkdirTemp("", "linepay-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if err := b.build(ctx); err != nil {
		return err
	}
	r, err := b.measureMatching(ctx, only)
	if len(r.loads) > 0 { // what was measured before an error is worth something, too
		fmt.Fprint(out, r.text())
	}
	if folder := os.Getenv("BENCH_OUT"); folder != "" && err == nil {
		err = r.write(folder)
	}
	return errors.Join(err, r.doubles())
}

func (b *bench) measureMatching(ctx context.Context, only *regexp.Regexp) (report, error) {
	r, began := report{rounds: b.pace.rounds, window: b.pace.window, busy: loadAverage()}, time.Now()
	for _, group := range b.groups() {
		chosen := group.matching(only)
		r.loads = append(r.loads, chosen...)
		err := b.measure(ctx, chosen)
		r.took = time.Since(began)
		if err != nil {
			return r, err
		}
	}
	if len(r.loads) == 0 {
		return r, fmt.Errorf("BENCH_ONLY=%s: no load has such a name", only)
	}
	return r, nil
}

// build makes the programs as `go build` does.
func (b *bench) build(ctx context.Context) (err error) {
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	if b.redis, err = exec.LookPath("redis-server"); err != nil {
		return errors.New("redis-server is not in PATH: install the package redis-server (Debian, Ubuntu) or redis (Alpine, Fedora, Homebrew)")
	}
	b.worker, b.nats = filepath.Join(b.dir, "linepay-worker"), filepath.Join(b.dir, "nats-server")
	overlay, err := b.profiler(ctx)
	if err != nil {
		return err
	}
	for _, args := range [][]string{
		append(append([]string{"build", "-o", b.worker}, overlay...), "linepay-worker/cmd/linepay-worker"),
		{"build", "-o", b.nats, "github.com/nats-io/nats-server/v2"},
	} {
		command := exec.CommandContext(ctx, "go", args...)
		command.Env = append(os.Environ(), "CGO_ENABLED=0")
		if output, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("go build: %w\n%s", err, output)
		}
	}
	return nil
}

// measure plays all rounds of some loads. Worker and ceiling begin by turns.
func (b *bench) measure(ctx context.Context, loads []*load) error {
	for round := range b.pace.rounds {
		for _, l := range loads {
			subjects := []string{subjectWorker}
			if l.against == "" {
				subjects = []string{subjectWorker, subjectCeiling}
			}
			if round%2 == 1 && len(subjects) > 1 {
				subjects[0], subjects[1] = subjects[1], subjects[0]
			}
			for _, subject := range subjects {
				began := time.Now()
				s, err := b.round(ctx, l, subject)
				for tries := 0; errors.Is(err, errRanDry) && tries < 8; tries++ {
					l.most *= 2
					s, err = b.round(ctx, l, subject)
				}
				if err != nil {
					return fmt.Errorf("%s, %s: %w", l.name, subject, err)
				}
				l.samples[subject] = append(l.samples[subject], s)
				fmt.Fprintf(os.Stderr, "%-28s %-8s round %d: %s (%s)\n", l.name, subject, round+1, s, time.Since(began).Round(100*time.Millisecond))
			}
		}
	}
	return nil
}
