package consumer_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"

	"linepay-worker/consumer"
	"linepay-worker/idempotency"
	"linepay-worker/linepay"
	"linepay-worker/publisher"
	"linepay-worker/schemas"
)

// A crash is a SIGKILL that the worker's process sends to itself between two steps. The steps themselves know nothing of it: it strikes
// in what they use, Redis, LINE Pay and the bus.

// Environment of the process that crashes.
const (
	crashPoint     = "TEST_CRASH_AFTER"
	crashOperation = "TEST_CRASH_OPERATION"
	crashServers   = "TEST_CRASH_SERVERS"
	crashPayment   = "TEST_CRASH_PAYMENT" // for the point "poison": the transaction
)

var crashPoints = []string{"decode", "claim", "call", "settle", "publish"}

// crashingWorker is the whole life of that process.
func crashingWorker() {
	point, op := os.Getenv(crashPoint), linepay.Operation(os.Getenv(crashOperation))
	servers := strings.Split(os.Getenv(crashServers), " ")
	worker, _, err := newWorker(context.Background(), addresses{servers[0], servers[1], servers[2]}, func(cfg *consumer.Config) {
		options, err := redis.ParseURL(servers[1])
		must(err)
		client := redis.NewClient(options)
		client.AddHook(redisCrash{point})
		cfg.Guard, err = idempotency.New(idempotency.Config{Redis: client, Retention: time.Hour})
		must(err)
		cfg.LINEPay, err = payClient(servers[2], crashingWire(point, op))
		must(err)
		nc, err := nats.Connect(servers[0])
		must(err)
		js, err := jetstream.New(nc)
		must(err)
		bus, err := publisher.New(context.Background(), js)
		must(err)
		cfg.Bus = busCrash{bus, point}
	})
	must(err)
	must(worker.Run(context.Background()))
}

func crash() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// redisCrash dies before the first command to Redis (after decode) or after the first one (after the claim).
type redisCrash struct{ point string }

func (c redisCrash) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		isScript := strings.HasPrefix(cmd.Name(), "eval") && !strings.HasSuffix(fmt.Sprint(cmd.Args()[3]), ":epoch")
		if isScript && c.point == "decode" {
			crash()
		}
		err := next(ctx, cmd)
		if isScript && c.point == "claim" && err == nil {
			crash()
		}
		return err
	}
}

func (redisCrash) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (redisCrash) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// payCrash dies when LINE Pay has answered the call.
type payCrash struct {
	point string
	op    linepay.Operation
}

func (c payCrash) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := http.DefaultTransport.RoundTrip(r)
	if c.point == "call" && r.Method == http.MethodPost {
		crash()
	}
	return response, err
}

// busCrash dies before the event is published (after settling) or when it has been stored.
type busCrash struct {
	*publisher.Publisher
	point string
}

func (c busCrash) Publish(ctx context.Context, e *schemas.Event) error {
	if c.point == "settle" {
		crash()
	}
	err := c.Publisher.Publish(ctx, e)
	if c.point == "publish" && err == nil {
		crash()
	}
	return err
}

// Park dies when the dead letter has been stored, and its command was not acknowledged yet.
func (c busCrash) Park(ctx context.Context, id string, d schemas.DeadLetter, header map[string][]string, body []byte) error {
	err := c.Publisher.Park(ctx, id, d, header, body)
	if c.point == "park" && err == nil {
		crash()
	}
	return err
}

func crashingWire(point string, op linepay.Operation) http.RoundTripper {
	if point == "poison" {
		return &poisonousWire{payment: os.Getenv(crashPayment), others: make(chan struct{}, 1000)}
	}
	return payCrash{point, op}
}

// poisonousWire dies at every request about one payment, with two others in hand if there are any.
type poisonousWire struct {
	payment string
	others  chan struct{}
}

func (w *poisonousWire) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.Contains(r.URL.String(), w.payment) {
		w.others <- struct{}{}
		return http.DefaultTransport.RoundTrip(r)
	}
	enough, cancel := context.WithTimeout(context.Background(), readTimeout/2)
	defer cancel()
	for range 2 {
		select {
		case <-w.others:
		case <-enough.Done():
		}
	}
	crash()
	return nil, nil
}

func TestCrashAfterAnyStepLeavesOneEffectAndOneEvent(t *testing.T) {
	t.Parallel()
	for op, act := range moneyOperations {
		t.Run(string(op), func(t *testing.T) {
			t.Parallel()
			l := newLine(t)
			for _, point := range crashPoints {
				stop := l.start()
				a := act(l, "ORDER-"+point)
				stop()
				id := l.send(op, a.data)
				l.crashAfter(point, op)
				stop = l.start()
				e := l.event(id)
				if !schemas.IsMoneyEvent(e.Name()) {
					body, _ := e.Encode()
					t.Errorf("after %s: event is %s: %s", point, e.Name(), body)
				}
				l.idle()
				stop()
				if got := a.effects(l); !slices.Equal(got, a.want) {
					t.Errorf("after %s: effects at LINE Pay are %v, want %v", point, got, a.want)
				}
				l.agree()
			}
		})
	}
}

// crashAfter runs a worker process until it has killed itself.
func (l *line) crashAfter(point string, op linepay.Operation) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 30*time.Second)
	defer cancel()
	process := l.crashing(ctx, point, op)
	output, err := process.CombinedOutput()
	if !killed(process) {
		l.t.Fatalf("the worker was to kill itself after %s, and ended with %v: %s", point, err, output)
	}
}

// crashing is a worker process that kills itself after a step. The context's end tells it to stop.
func (l *line) crashing(ctx context.Context, point string, op linepay.Operation, more ...string) *exec.Cmd {
	l.t.Helper()
	program, err := os.Executable()
	if err != nil {
		l.t.Fatal(err)
	}
	process := exec.CommandContext(ctx, program)
	process.Cancel = func() error { return process.Process.Signal(syscall.SIGTERM) }
	process.Env = append(os.Environ(), crashPoint+"="+point, crashOperation+"="+string(op),
		crashServers+"="+strings.Join([]string{l.nats.URL(), l.redis.URL(), l.pay.URL}, " "))
	process.Env = append(process.Env, more...)
	return process
}

func killed(process *exec.Cmd) bool {
	status, ok := process.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signal() == syscall.SIGKILL
}
