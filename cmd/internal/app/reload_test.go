package app

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"linepay-worker/consumer/consumertest"
)

// reloaded is a Reload among made-up files and workers.
type reloaded struct {
	*testing.T
	*Reload
	says    []Channel // the files
	wrong   error     // about the files
	refuses error     // what the workers say to other channels
	serves  []Channel
	sets    int
	log     bytes.Buffer
}

func newReloaded(t *testing.T) *reloaded {
	tw := []Channel{{Name: "tw", ID: "1", Secret: "old"}}
	r := &reloaded{T: t, says: tw, serves: tw}
	r.Reload = NewReload(&Workers{}, ReloadSettings{}, func() ([]Channel, error) { return slices.Clone(r.says), r.wrong }, zerolog.New(&r.log))
	r.served = func() []Channel { return r.serves }
	r.set = func(_ context.Context, channels []Channel) error {
		if r.sets++; r.refuses == nil {
			r.serves = channels
		}
		return r.refuses
	}
	return r
}

// looks so many times, and compares what has become of it so far: how often the workers were told, what they serve, how many lines the log
// has, and whether all is well.
func (r *reloaded) looks(times, sets int, serves []Channel, lines int, well bool) {
	r.Helper()
	for range times {
		r.look(r.Context())
	}
	if r.sets != sets || !slices.Equal(r.serves, serves) {
		r.Errorf("set %d times and serves %d channels, want %d times and %v", r.sets, len(r.serves), sets, serves)
	}
	if said := strings.Count(r.log.String(), "\n"); said != lines {
		r.Errorf("the log has %d lines, want %d:\n%s", said, lines, r.log.String())
	}
	if (r.failed.Load() == nil) != well {
		r.Errorf("failed: %v, want it to be well: %t", r.failed.Load(), well)
	}
}

func TestChangeIsTakenOnceItIsWhole(t *testing.T) {
	t.Parallel()
	r := newReloaded(t)
	old, half, whole := r.says, []Channel{{Name: "th", ID: "2"}}, []Channel{{Name: "th", ID: "2"}, {Name: "tw", ID: "1", Secret: "new"}}
	r.looks(5, 0, old, 0, true)
	r.wrong, r.says = errors.New("channels.yaml:2:1: is not well-formed YAML"), nil // somebody is writing it
	r.looks(1, 0, old, 0, true)
	r.wrong, r.says = nil, half
	r.looks(1, 0, old, 0, true)
	r.says = whole
	r.looks(1, 0, old, 0, true)
	r.looks(1, 1, whole, 1, true)
	r.looks(5, 1, whole, 1, true)
}

func TestMistakeInTheFileIsToldOnceAndMended(t *testing.T) {
	t.Parallel()
	r := newReloaded(t)
	old := r.says
	r.wrong, r.says = errors.New("channels.yaml:2:1: is not well-formed YAML"), nil
	r.looks(10, 0, old, 1, false)
	if detail, err := r.Check().Run(t.Context()); err != nil || !strings.Contains(detail, "channels.yaml:2:1") {
		t.Errorf("readiness says %q, %v", detail, err)
	}
	r.wrong = errors.New("channels.yaml:3:1: is not well-formed YAML") // another one
	r.looks(10, 0, old, 2, false)
	r.take(t.Context(), r.last, true) // somebody wants to know
	r.looks(1, 0, old, 3, false)
	r.wrong, r.says = nil, old
	r.looks(2, 0, old, 4, true)
}

// What stands in the way of a channel may pass.
func TestChannelsThatCannotBeServedAreTriedAgain(t *testing.T) {
	t.Parallel()
	r := newReloaded(t)
	old, next := r.says, []Channel{{Name: "th", ID: "2"}}
	r.says, r.refuses = next, errors.New("channel th: no answer from NATS")
	r.looks(6, 5, old, 1, false)
	r.refuses = nil
	r.looks(1, 6, next, 2, true)
}

func TestChannelsAreReadAtASignalAloneUnlessWanted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for every, want := range map[time.Duration]int{0: 1, time.Minute: 61} { // reads in an hour
			r, signals, ended := newReloaded(t), make(chan os.Signal, 1), make(chan error)
			var reads atomic.Int32
			r.load = func() ([]Channel, error) { reads.Add(1); return nil, nil }
			r.every = every
			ctx, cancel := context.WithCancel(t.Context())
			go func() { ended <- r.On(signals)(ctx) }()
			signals <- syscall.SIGHUP
			time.Sleep(time.Hour)
			cancel()
			if err := <-ended; err != nil || int(reads.Load()) != want {
				t.Errorf("every %s: %d reads, error %v, want %d", every, reads.Load(), err, want)
			}
		}
	})
}

func TestReloadOfAWorkerThatStopsIsNoFault(t *testing.T) {
	t.Parallel()
	r := newReloaded(t)
	r.refuses = errStopping
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r.take(ctx, reading{channels: []Channel{{Name: "th", ID: "2"}}}, true)
	r.looks(0, 1, r.says, 0, true)
}

// behindAWall gives an address of the server, and what has it not answer any more, though the connections stay.
func behindAWall(t *testing.T, server string) (address string, build func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	var wall atomic.Bool
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			behind, err := net.Dial("tcp", strings.TrimPrefix(server, "nats://"))
			if err != nil {
				_ = client.Close()
				continue
			}
			go func() { _, _ = io.Copy(behind, client); _ = behind.Close() }()
			go func() {
				_, _ = io.Copy(writerFunc(func(p []byte) (int, error) {
					if wall.Load() {
						return len(p), nil
					}
					return client.Write(p)
				}), behind)
				_ = client.Close()
			}()
		}
	}()
	return "nats://" + listener.Addr().String(), func() { wall.Store(true) }
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// Readiness and metrics do not wait for a reload that waits for NATS.
func TestReloadThatWaitsForNATSHoldsNothingUp(t *testing.T) {
	t.Parallel()
	address, build := behindAWall(t, consumertest.NATS(t).URL())
	bus, err := nats.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bus.Close)
	work := Work{
		NATS: bus, Redis: consumertest.Redis(t).Client(t), Logger: zerolog.Nop(), Limits: defaults().Worker,
		Streams: StreamSettings{Provision: true, Replicas: 1},
	}
	tw := Channel{Name: "tw", ID: "1", Secret: "secret", BaseURL: "https://localhost", APIVersion: "v3", Concurrency: 1}
	work.Channels = []Channel{tw}
	workers, err := NewChannelWorkers(t.Context(), work)
	if err != nil {
		t.Fatal(err)
	}
	build()
	th := tw
	th.Name, th.ID = "th", "2"
	ctx, giveUp := context.WithCancel(t.Context())
	defer giveUp()
	before, set := bus.Stats().OutMsgs, make(chan error, 1)
	go func() { set <- workers.Set(ctx, []Channel{th, tw}) }()
	if !consumertest.Eventually(t, func(context.Context) bool { return bus.Stats().OutMsgs > before }) {
		t.Fatal("the reload asks NATS nothing")
	}
	answered := make(chan []string, 1)
	go func() {
		var all []string
		for _, check := range workers.Checks() {
			all = append(all, check.Name)
		}
		workers.Collect(make(chan prometheus.Metric, 1000))
		answered <- append(all, workers.Names()...)
	}()
	select {
	case got := <-answered:
		if diff := cmp.Diff([]string{"channel tw", "tw"}, got); diff != "" {
			t.Errorf("checks and names (-want +got):\n%s", diff)
		}
	case err := <-set:
		t.Fatalf("readiness and metrics had to wait for the reload, which ended with %v", err)
	}
	giveUp()
	if err := <-set; err == nil {
		t.Error("a channel is served whose consumer nobody could look at")
	}
}
