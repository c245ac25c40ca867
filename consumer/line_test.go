package consumer_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"linepay-worker/consumer"
	"linepay-worker/consumer/consumertest"
	"linepay-worker/idempotency"
	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
	"linepay-worker/publisher"
	"linepay-worker/schemas"
)

func TestMain(m *testing.M) {
	if os.Getenv(crashPoint) != "" {
		crashingWorker()
		return
	}
	// go-redis looks for a server that is away from a goroutine of its own, which notices up to a second later that its pool is closed.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

// Times of the tests: short, and in the proportions that the defaults have.
const (
	readTimeout  = 500 * time.Millisecond
	lookupMargin = 200 * time.Millisecond
)

// line is a whole line of real servers, for one test.
type line struct {
	t     *testing.T
	nats  *consumertest.NATSServer
	redis *consumertest.RedisServer
	pay   *consumertest.LINEPay
	js    jetstream.JetStream
	cfg   func(*consumer.Config)
	last  *consumer.Worker // that was started
}

// newLine starts the servers and creates the streams; the workers are the test's.
func newLine(t *testing.T) *line {
	t.Helper()
	l := &line{t: t, nats: consumertest.NATS(t), redis: consumertest.Redis(t), pay: consumertest.Simulator(t)}
	var err error
	if l.js, err = jetstream.New(l.nats.Connect(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := publisher.Provision(t.Context(), l.js, publisher.StreamOptions{}, true); err != nil {
		t.Fatal(err)
	}
	return l
}

// startLine is newLine with one worker.
func startLine(t *testing.T) *line {
	t.Helper()
	l := newLine(t)
	l.start()
	return l
}

// start runs a worker until stop, or the end of the test.
func (l *line) start() (stop func()) {
	l.t.Helper()
	worker, disconnect, err := newWorker(l.t.Context(), addresses{l.nats.URL(), l.redis.URL(), l.pay.URL}, l.cfg)
	if err != nil {
		l.t.Fatal(err)
	}
	l.last = worker
	ctx, cancel := context.WithCancel(context.WithoutCancel(l.t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			l.t.Errorf("worker: %v", err)
		}
		disconnect()
	}
	l.t.Cleanup(stop)
	return stop
}

// addresses of the servers that a worker works with.
type addresses struct{ nats, redis, linepay string }

// newWorker makes a worker as the program does, with the times of the tests and its own connections, to be closed after it.
func newWorker(ctx context.Context, a addresses, change func(*consumer.Config)) (_ *consumer.Worker, disconnect func(), err error) {
	options, err := redis.ParseURL(a.redis)
	if err != nil {
		return nil, nil, err
	}
	options.MaxRetries, options.DialerRetries = -1, 1
	options.DialTimeout, options.ReadTimeout = 200*time.Millisecond, time.Second
	store := redis.NewClient(options)
	guard, err := idempotency.New(idempotency.Config{Redis: store, Retention: time.Hour})
	if err != nil {
		return nil, nil, err
	}
	client, err := payClient(a.linepay, nil)
	if err != nil {
		return nil, nil, err
	}
	nc, err := nats.Connect(a.nats, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		return nil, nil, err
	}
	disconnect = func() { nc.Close(); _ = store.Close(); client.CloseIdle() }
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, disconnect, err
	}
	bus, err := publisher.New(ctx, js)
	if err != nil {
		return nil, disconnect, err
	}
	cfg := consumer.Config{
		Channel: "tw", ChannelID: simulator.DefaultChannel().ID, LINEPay: client, Guard: guard, Bus: bus, JetStream: js, Provision: true,
		LookupMargin: lookupMargin, RetryMin: 50 * time.Millisecond, RetryMax: time.Second, ShutdownGrace: 5 * time.Second,
		Logger: zerolog.New(zerolog.NewConsoleWriter()).Level(logLevel()),
	}
	if change != nil {
		change(&cfg)
	}
	worker, err := consumer.New(cfg)
	return worker, disconnect, err
}

func payClient(url string, transport http.RoundTripper) (*linepay.Client, error) {
	channel := simulator.DefaultChannel()
	return linepay.New(linepay.Config{
		BaseURL: url, ChannelID: channel.ID, Secret: channel.Secret, ReadTimeout: readTimeout, Transport: transport,
	})
}

func logLevel() zerolog.Level {
	if testing.Testing() && os.Getenv("TEST_LOG") != "" {
		return zerolog.DebugLevel
	}
	return zerolog.Disabled
}

// data of a command.
type data = map[string]any

// send publishes a command and gives its id.
func (l *line) send(op linepay.Operation, d data) string {
	l.t.Helper()
	id := uuid.NewString()
	l.sendAs(id, op, d)
	return id
}

// sendAs publishes a command under an id, as any NATS client would.
func (l *line) sendAs(id string, op linepay.Operation, d data) {
	l.t.Helper()
	body, err := json.Marshal(map[string]any{
		"specversion": "1.0", "id": id, "source": "/test", "type": "linepay.command." + string(op) + ".v1", "data": d,
	})
	if err != nil {
		l.t.Fatal(err)
	}
	l.publish(op, body)
}

func (l *line) publish(op linepay.Operation, body []byte) {
	l.t.Helper()
	if _, err := l.js.Publish(l.t.Context(), "linepay.commands.tw."+string(op), body); err != nil {
		l.t.Fatal(err)
	}
}

// event waits for the terminal event of a command: any but the key that a confirm issues.
func (l *line) event(id string) *schemas.Event {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 60*time.Second)
	defer cancel()
	events, err := l.js.OrderedConsumer(ctx, schemas.StreamEvents, jetstream.OrderedConsumerConfig{})
	if err != nil {
		l.t.Fatal(err)
	}
	messages, err := events.Messages()
	if err != nil {
		l.t.Fatal(err)
	}
	defer messages.Stop()
	for {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			l.t.Fatalf("no event for command %s: %v", id, err)
		}
		e, err := schemas.DecodeEvent(msg.Data())
		if err != nil {
			l.t.Fatal(err)
		}
		if e.Data.Command.ID == id && (e.Name() != schemas.EventPreapproval || e.Data.Operation != linepay.Confirm) {
			return e
		}
	}
}

// done waits for a command's event and demands its name.
func (l *line) done(id, name string) *schemas.Event {
	l.t.Helper()
	e := l.event(id)
	if e.Name() != name {
		body, _ := e.Encode()
		l.t.Fatalf("event is %s, want %s: %s", e.Name(), name, body)
	}
	return e
}

// events reads all events there are.
func (l *line) events() []*schemas.Event {
	l.t.Helper()
	var events []*schemas.Event
	for _, msg := range consumertest.Collect(l.t, l.js, schemas.StreamEvents, "linepay.events.>") {
		e, err := schemas.DecodeEvent(msg.Data)
		if err != nil {
			l.t.Fatal(err)
		}
		events = append(events, e)
	}
	return events
}

// count says how many of the events have a name.
func count(events []*schemas.Event, name string) (n int) {
	for _, e := range events {
		if e.Name() == name {
			n++
		}
	}
	return n
}

// idle waits until every command has left the stream.
func (l *line) idle() {
	l.t.Helper()
	if !consumertest.Eventually(l.t, func(ctx context.Context) bool {
		stream, err := l.js.Stream(ctx, schemas.StreamCommands)
		return err == nil && stream.CachedInfo().State.Msgs == 0
	}) {
		l.t.Fatal("commands are left in the stream")
	}
}

// effects are those of one transaction, as the simulator's ledger has them.
func (l *line) effects(id linepay.TransactionID) (effects []string) {
	for _, tx := range l.pay.Sim.Ledger().Transactions {
		if tx.TransactionID == id {
			for _, e := range tx.Effects {
				effects = append(effects, fmt.Sprintf("%s %s", e.Operation, e.Amount))
			}
		}
	}
	return effects
}

// calls counts the calls of an operation that reached LINE Pay.
func (l *line) calls(op linepay.Operation) (n int) {
	for _, c := range l.pay.Sim.Ledger().Calls {
		if c.Operation == op {
			n++
		}
	}
	return n
}

func (l *line) wantEffects(id linepay.TransactionID, want ...string) {
	l.t.Helper()
	if got := l.effects(id); strings.Join(got, ", ") != strings.Join(want, ", ") {
		l.t.Errorf("effects at LINE Pay are [%s], want [%s]", strings.Join(got, ", "), strings.Join(want, ", "))
	}
}

// agree demands what a ledger lives from: exactly one money event for every effect, and no other.
func (l *line) agree() {
	l.t.Helper()
	effects, booked := 0, 0
	for _, tx := range l.pay.Sim.Ledger().Transactions {
		effects += len(tx.Effects)
	}
	seen := map[string]int{}
	for _, e := range l.events() {
		if schemas.IsMoneyEvent(e.Name()) {
			booked++
			seen[e.Data.OperationKey]++
		}
	}
	if effects != booked {
		l.t.Errorf("%d effects at LINE Pay, %d money events", effects, booked)
	}
	for key, n := range seen {
		if n != 1 {
			l.t.Errorf("%d money events for %s", n, key)
		}
	}
}

// confirmed makes a captured payment of 100 TWD through the line.
func (l *line) confirmed(order string) linepay.TransactionID {
	l.t.Helper()
	id := l.pay.Paid(l.t, order, "100", "TWD", true)
	l.done(l.send(linepay.Confirm, confirmData(id, order)), schemas.EventCaptured)
	return id
}

// authorized makes a payment of 100 TWD whose money is held.
func (l *line) authorized(order string) linepay.TransactionID {
	l.t.Helper()
	id := l.pay.Paid(l.t, order, "100", "TWD", false)
	l.done(l.send(linepay.Confirm, confirmData(id, order)), schemas.EventAuthorized)
	return id
}

func confirmData(id linepay.TransactionID, order string) data {
	return data{"transactionId": id.String(), "orderId": order, "amount": "100", "currency": "TWD"}
}

func refundData(id linepay.TransactionID, order, amount, refundID string) data {
	return data{"transactionId": id.String(), "orderId": order, "refundAmount": amount, "refundId": refundID}
}

// fault makes the next call of an operation go wrong.
func (l *line) fault(f simulator.Fault) {
	l.t.Helper()
	if err := l.pay.Sim.AddFault(f); err != nil {
		l.t.Fatal(err)
	}
}
