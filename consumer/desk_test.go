package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/consumer"
	"linepay-worker/consumer/consumertest"
	"linepay-worker/idempotency"
	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
	"linepay-worker/schemas"
)

// Times of the desk: a look-up believes that nothing happened 300 ms after the latest moment of sending.
const (
	deskTimeout = 300 * time.Millisecond
	deskMargin  = time.Millisecond
)

// desk is a worker without JetStream. Commands are handed to it one delivery at a time and its bus is a shelf in memory, so that a test can
// put Redis, LINE Pay and the bus into the state that one branch is for. Redis is real, LINE Pay is the simulator or answers as told.
type desk struct {
	t      *testing.T
	redis  *consumertest.RedisServer
	pay    *consumertest.LINEPay
	wire   *wire
	shelf  *shelf
	guard  *idempotency.Guard
	worker *consumer.Worker
	cfg    consumer.Config
}

func newDesk(t *testing.T, changes ...func(*consumer.Config)) *desk {
	t.Helper()
	d := &desk{t: t, redis: consumertest.Redis(t), pay: consumertest.Simulator(t), wire: &wire{}, shelf: &shelf{}}
	channel := simulator.DefaultChannel()
	client, err := linepay.New(linepay.Config{
		BaseURL: d.pay.URL, ChannelID: channel.ID, Secret: channel.Secret, ReadTimeout: deskTimeout, Transport: d.wire,
	})
	if err != nil {
		t.Fatal(err)
	}
	if d.guard, err = idempotency.New(idempotency.Config{Redis: d.redis.Client(t), Retention: time.Hour}); err != nil {
		t.Fatal(err)
	}
	d.cfg = consumer.Config{
		Channel: "tw", ChannelID: channel.ID, LINEPay: client, Guard: d.guard, Bus: d.shelf, JetStream: noStreams{},
		LookupMargin: deskMargin, RetryMin: 2 * time.Millisecond, RetryMax: 5 * time.Millisecond, ShutdownGrace: time.Second,
	}
	for _, change := range changes {
		change(&d.cfg)
	}
	if d.worker, err = consumer.New(d.cfg); err != nil {
		t.Fatal(err)
	}
	return d
}

// noStreams is a JetStream without streams.
type noStreams struct{ jetstream.JetStream }

func (noStreams) Stream(context.Context, string) (jetstream.Stream, error) {
	return nil, jetstream.ErrStreamNotFound
}

// shelf is a bus in memory. It remembers how it was written to.
type shelf struct {
	mu      sync.Mutex
	events  []*schemas.Event
	verbs   []string // "publish captured", "publish duplicate", "park invalid", in order; refused ones too
	letters []string // ids of the dead letters
	details []string // what they say
	from    []uint64 // the sequences of their commands
	fail    func(verb string) error
	reading func(context.Context) error
}

var errNoBus = errors.New("the bus is away")

func (s *shelf) note(verb string) error {
	s.verbs = append(s.verbs, verb)
	if s.fail == nil {
		return nil
	}
	return s.fail(verb)
}

func (s *shelf) Publish(_ context.Context, e *schemas.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.note("publish " + e.Name()); err != nil {
		return err
	}
	if !slices.ContainsFunc(s.events, func(other *schemas.Event) bool { return other.ID == e.ID }) {
		s.events = append(s.events, e)
	}
	return nil
}

func (s *shelf) History(ctx context.Context, channel, order string) (history []*schemas.Event, err error) {
	if s.reading != nil {
		if err := s.reading(ctx); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		if order != "" && e.Data.OrderID == order && e.Data.Channel == channel {
			history = append(history, e)
		}
	}
	return history, nil
}

func (s *shelf) Newest(context.Context, string) (time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.events) == 0 {
		return time.Time{}, nil
	}
	return s.events[len(s.events)-1].Time, nil
}

func (s *shelf) Proofs(_ context.Context, _ string, _ time.Time, f func(*schemas.Event)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		f(e)
	}
	return nil
}

func (s *shelf) Park(_ context.Context, id string, d schemas.DeadLetter, _ map[string][]string, _ []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.note("park " + d.Reason); err != nil {
		return err
	}
	if !slices.Contains(s.letters, id) {
		s.letters, s.details, s.from = append(s.letters, id), append(s.details, d.Detail), append(s.from, d.Sequence)
	}
	return nil
}

// wire is the way to LINE Pay.
type wire struct {
	http.Transport
	mu     sync.Mutex
	sent   []string // "GET /v3/payments", in order
	answer func(*http.Request) string
	before func(*http.Request)
	after  func(*http.Request)
	cut    func(*http.Request) bool // certainly nothing is sent
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	if w.cut != nil && w.cut(r) {
		if trace := httptrace.ContextClientTrace(r.Context()); trace != nil {
			trace.GetConn(r.URL.Host)
		}
		return nil, errors.New("connection refused")
	}
	w.mu.Lock()
	w.sent = append(w.sent, r.Method+" "+r.URL.Path)
	w.mu.Unlock()
	if w.before != nil {
		w.before(r)
	}
	if w.answer != nil {
		if body := w.answer(r); body != "" {
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(body)), Header: http.Header{}, Request: r}, nil
		}
	}
	response, err := w.Transport.RoundTrip(r)
	if w.after != nil {
		w.after(r)
	}
	return response, err
}

// calls counts what went over the wire, by method and end of the path.
func (d *desk) calls(method, end string) (n int) {
	d.wire.mu.Lock()
	defer d.wire.mu.Unlock()
	for _, line := range d.wire.sent {
		if strings.HasPrefix(line, method) && strings.HasSuffix(line, end) {
			n++
		}
	}
	return n
}

func (d *desk) wantCalls(method, end string, want int) {
	d.t.Helper()
	if n := d.calls(method, end); n != want {
		d.t.Errorf("%d calls %s …%s, want %d", n, method, end, want)
	}
}

// order is one command, ready to be delivered.
type order struct {
	id       string
	op       linepay.Operation
	data     data
	expiry   time.Time
	stored   time.Time // default: now
	delivery uint64    // default 1
	replay   uint64
	sequence uint64 // default: from the id
}

func (o order) message(t *testing.T) *consumer.Message {
	t.Helper()
	envelope := map[string]any{"specversion": "1.0", "id": o.id, "source": "/test", "type": "linepay.command." + string(o.op) + ".v1", "data": o.data}
	if !o.expiry.IsZero() {
		envelope["expirytime"] = o.expiry.Format(time.RFC3339Nano)
	}
	body, err := json.Marshal(envelope)
	if err != nil {
		t.Fatal(err)
	}
	m := &consumer.Message{
		Subject: "linepay.commands.tw." + string(o.op), Body: body, Sequence: max(o.sequence, 1), Deliveries: max(o.delivery, 1),
		Stored: o.stored, Replay: o.replay, Redelivered: o.delivery > 1,
	}
	if m.Stored.IsZero() {
		m.Stored = time.Now()
	}
	return m
}

// deliver hands one delivery to the worker.
func (d *desk) deliver(o order) consumer.Fate {
	d.t.Helper()
	return d.worker.Handle(d.t.Context(), o.message(d.t))
}

// untilProbed waits until the breaker lets one command through.
func (d *desk) untilProbed() {
	d.t.Helper()
	for d.worker.Ready(d.t.Context()).Error() != "" {
		if strings.HasPrefix(d.worker.Ready(d.t.Context()).Error(), "the circuit breaker is half-open") {
			return
		}
	}
}

// expect delivers once and demands the fate and the beginning of its reason.
func (d *desk) expect(o order, kind consumer.FateKind, why string) consumer.Fate {
	d.t.Helper()
	fate := d.deliver(o)
	if fate.Kind != kind || !strings.HasPrefix(fate.Why, why) {
		d.t.Fatalf("the fate of %s is %s: %s (%v), want %s: %s", o.id, fate.Kind, fate.Why, fate.Err, kind, why)
	}
	return fate
}

// finish delivers again and again, as JetStream would, until the command is done with, and gives the last fate.
func (d *desk) finish(o order) consumer.Fate {
	d.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		fate := d.deliver(o)
		if fate.Kind == consumer.Ack {
			return fate
		}
		if time.Now().After(deadline) {
			d.t.Fatalf("%s comes to no end: %s: %s (%v)", o.id, fate.Kind, fate.Why, fate.Err)
		}
		<-time.After(fate.After)
		o.delivery = max(o.delivery, 1) + 1
	}
}

// answer is the last event of a command.
func (d *desk) answer(id string) *schemas.Event {
	d.t.Helper()
	d.shelf.mu.Lock()
	defer d.shelf.mu.Unlock()
	for _, e := range slices.Backward(d.shelf.events) {
		if e.Data.Command.ID == id {
			return e
		}
	}
	d.t.Fatalf("no event for %s; the bus was told %v", id, d.shelf.verbs)
	return nil
}

// wantAnswer demands the name of a command's last event.
func (d *desk) wantAnswer(id, name string) *schemas.Event {
	d.t.Helper()
	e := d.answer(id)
	if e.Name() != name {
		body, _ := e.Encode()
		d.t.Fatalf("the event of %s is %s, want %s: %s", id, e.Name(), name, body)
	}
	return e
}

func (d *desk) wantVerbs(want ...string) {
	d.t.Helper()
	d.shelf.mu.Lock()
	defer d.shelf.mu.Unlock()
	if !slices.Equal(d.shelf.verbs, want) {
		d.t.Errorf("the bus was told %q, want %q", d.shelf.verbs, want)
	}
}

// claim claims an order's operation with the guard, as a worker that then falls silent: its lease lapses at once.
func (d *desk) claim(o order, notes string) *idempotency.Claim {
	d.t.Helper()
	request := d.request(o)
	request.CallFor, request.Lease = time.Millisecond, 2*time.Millisecond
	claim, err := d.guard.Claim(d.t.Context(), request)
	if err != nil || !claim.Granted() {
		d.t.Fatalf("the claim for %s: %+v, %v", o.id, claim, err)
	}
	if notes != "" {
		if err := d.guard.Extend(d.t.Context(), claim, idempotency.Extension{Lease: 2 * time.Millisecond, Snapshot: []byte(notes)}); err != nil {
			d.t.Fatal(err)
		}
	}
	d.untilLapsed(claim)
	return claim
}

// request is what the worker asks the guard for an order.
func (d *desk) request(o order) idempotency.ClaimRequest {
	d.t.Helper()
	body, err := json.Marshal(o.data)
	if err != nil {
		d.t.Fatal(err)
	}
	fingerprint, err := idempotency.Fingerprint(body, "redirectUrls")
	if err != nil {
		d.t.Fatal(err)
	}
	text := func(name string) string { s, _ := o.data[name].(string); return s }
	id, kind := text("transactionId"), idempotency.KindTransaction
	key := idempotency.OperationKey(string(o.op), id)
	switch o.op {
	case linepay.Request, linepay.PreapprovedPay:
		id, kind = text("orderId"), idempotency.KindOrder
		key = idempotency.OperationKey(string(o.op), id)
	case linepay.PreapprovedExpire:
		id, kind = text("regKey"), idempotency.KindKey
		key = idempotency.HashedKey(string(o.op), id)
	case linepay.Refund:
		key = idempotency.RefundKey(id, text("refundId"))
	}
	return idempotency.ClaimRequest{
		Entity:    idempotency.Entity{Host: d.cfg.LINEPay.Host(), ChannelID: d.cfg.ChannelID, Kind: kind, ID: id},
		Operation: key, Command: idempotency.Command{Source: "/test", ID: o.id}, Fingerprint: fingerprint, Sequence: max(o.sequence, 1),
		CallFor: time.Second, Lease: 2 * time.Second, Place: time.Second,
	}
}

// put stores an event of another operation in the order's history.
func (d *desk) put(name, key string, e schemas.EventData) {
	e.Channel, e.OperationKey = "tw", key
	if e.Command.ID == "" {
		e.Command = schemas.CommandRef{Source: "/test", ID: "C-" + key}
	}
	d.shelf.events = append(d.shelf.events, schemas.NewEvent(name, time.Now(), e))
}

// ready is an order on a fresh payment of the simulator's.
func (d *desk) ready(id string, op linepay.Operation) (order, linepay.TransactionID) {
	d.t.Helper()
	name := "ORDER-" + id
	tx := d.pay.Paid(d.t, name, "100", "TWD", op != linepay.Capture && op != linepay.Void)
	if op != linepay.Confirm {
		if _, err := d.pay.Client(d.t).Confirm(d.t.Context(), tx, linepay.MustAmount("100"), "TWD"); err != nil {
			d.t.Fatal(err)
		}
	}
	o := order{id: id, op: op, data: confirmData(tx, name), stored: time.Now()}
	switch op {
	case linepay.Refund:
		o.data = refundData(tx, name, "10", "R-1")
	case linepay.Void:
		o.data = data{"transactionId": tx.String(), "orderId": name}
	}
	return o, tx
}

func (d *desk) wantEffects(id linepay.TransactionID, want ...string) {
	d.t.Helper()
	var got []string
	for _, tx := range d.pay.Sim.Ledger().Transactions {
		if tx.TransactionID == id {
			for _, e := range tx.Effects {
				got = append(got, fmt.Sprintf("%s %s", e.Operation, e.Amount))
			}
		}
	}
	if !slices.Equal(got, want) {
		d.t.Errorf("effects at LINE Pay are %v, want %v", got, want)
	}
}

func (d *desk) fault(f simulator.Fault) {
	d.t.Helper()
	if err := d.pay.Sim.AddFault(f); err != nil {
		d.t.Fatal(err)
	}
}
