package consumer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"linepay-worker/idempotency"
	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// past is a worker with something to make up for. Redis is in memory and runs the guard's own scripts; what the stream of commands holds, and
// what the events tell, is the test's.
type past struct {
	*Worker
	t        *testing.T
	redis    *miniredis.Miniredis
	store    *redis.Client
	commands *commands
	annals   *annals
	log      *safeBuffer
}

func newPast(t *testing.T) *past {
	t.Helper()
	p := &past{t: t, redis: miniredis.RunT(t), commands: &commands{}, annals: &annals{}, log: &safeBuffer{}}
	p.store = redis.NewClient(&redis.Options{Addr: p.redis.Addr(), MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() { _ = p.store.Close() })
	cfg := plain(t, 0)
	cfg.Bus, cfg.JetStream, cfg.Logger = p.annals, p.commands, zerolog.New(p.log)
	var err error
	if cfg.Guard, err = idempotency.New(idempotency.Config{Redis: p.store, Retention: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if p.Worker, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	return p
}

var errAway = errors.New("it is away")

// commands is a JetStream with the stream of commands and the channel's consumer.
type commands struct {
	jetstream.JetStream
	messages  []*jetstream.RawStreamMsg
	delivered uint64    // the highest sequence that was delivered
	created   time.Time // when the consumer was

	away, consumerAway, unreadable error
}

func (c *commands) Stream(context.Context, string) (jetstream.Stream, error) {
	if c.away != nil {
		return nil, c.away
	}
	return commandStream{of: c}, nil
}

// put stores a command.
func (c *commands) put(sequence uint64, op linepay.Operation, body string) {
	c.messages = append(c.messages, &jetstream.RawStreamMsg{
		Sequence: sequence, Subject: schemas.CommandSubject("tw", op), Data: []byte(body), Time: time.Now(),
	})
}

type commandStream struct {
	jetstream.Stream
	of *commands
}

func (s commandStream) Consumer(context.Context, string) (jetstream.Consumer, error) {
	if s.of.consumerAway != nil {
		return nil, s.of.consumerAway
	}
	return channelConsumer{of: s.of}, nil
}

func (s commandStream) GetMsg(_ context.Context, from uint64, _ ...jetstream.GetMsgOpt) (*jetstream.RawStreamMsg, error) {
	if s.of.unreadable != nil {
		return nil, s.of.unreadable
	}
	for _, m := range s.of.messages {
		if m.Sequence >= from {
			return m, nil
		}
	}
	return nil, jetstream.ErrMsgNotFound
}

type channelConsumer struct {
	jetstream.Consumer
	of *commands
}

func (c channelConsumer) CachedInfo() *jetstream.ConsumerInfo {
	return &jetstream.ConsumerInfo{Created: c.of.created, Delivered: jetstream.SequenceInfo{Stream: c.of.delivered}}
}

// annals is a bus with events to read, and what was written to it.
type annals struct {
	Bus
	events   []*schemas.Event
	newest   time.Time
	silent   error                       // instead of the time of the newest event
	reading  func(context.Context) error // before the events are read
	readings int
	told     []string // "captured", "dead letter poison", in order
	answers  []*schemas.Event
}

func (a *annals) Newest(context.Context, string) (time.Time, error) { return a.newest, a.silent }

func (a *annals) Proofs(ctx context.Context, _ string, _ time.Time, f func(*schemas.Event)) error {
	a.readings++
	if a.reading != nil {
		if err := a.reading(ctx); err != nil {
			return err
		}
	}
	for _, e := range a.events {
		f(e)
	}
	return nil
}

func (a *annals) Publish(_ context.Context, e *schemas.Event) error {
	a.told, a.answers = append(a.told, e.Name()), append(a.answers, e)
	return nil
}

func (a *annals) Park(_ context.Context, _ string, d schemas.DeadLetter, _ map[string][]string, _ []byte) error {
	a.told = append(a.told, "dead letter "+d.Reason)
	return nil
}

// happened adds a money event of a confirm.
func (a *annals) happened(id linepay.TransactionID) *schemas.Event {
	e := schemas.NewEvent(schemas.EventCaptured, time.Now(), schemas.EventData{
		Channel: "tw", Operation: linepay.Confirm, OperationKey: confirmKey(id), OrderID: "O", TransactionID: id, Fingerprint: "F",
		Command: schemas.CommandRef{Source: "/test", ID: fmt.Sprint("C-", id)}, Calls: 1,
	})
	a.events = append(a.events, e)
	return e
}

func confirmKey(id linepay.TransactionID) string {
	return idempotency.OperationKey("confirm", id.String())
}

// confirmOf is the body of a command.
func confirmOf(id linepay.TransactionID) string {
	return body(linepay.Confirm, fmt.Sprintf(`{"transactionId":%q,"orderId":"O","amount":"100","currency":"TWD"}`, id))
}

func body(op linepay.Operation, data string) string {
	return fmt.Sprintf(`{"specversion":"1.0","id":"C","source":"/test","type":"linepay.command.%s.v1","data":%s}`, op, data)
}

// request is another command's, with the fingerprint of what happened.
func (p *past) request(id linepay.TransactionID) idempotency.ClaimRequest {
	entity := p.merchant()
	entity.Kind, entity.ID = idempotency.KindTransaction, id.String()
	return idempotency.ClaimRequest{
		Entity: entity, Operation: confirmKey(id), Command: idempotency.Command{Source: "/test", ID: "SECOND"}, Fingerprint: "F", Sequence: 9,
		CallFor: time.Second, Lease: 2 * time.Second, Place: time.Minute,
	}
}

// wantOnRecord demands what the guard would answer to another command for what happened.
func (p *past) wantOnRecord(id linepay.TransactionID, want idempotency.Answer) {
	p.t.Helper()
	if got, err := p.cfg.Guard.Foresee(p.t.Context(), p.request(id)); err != nil || got.Answer != want {
		p.t.Errorf("another command for confirm %s is answered with %+v, %v; want %s", id, got, err, want)
	}
}

// believed says whether Redis' memory is.
func (p *past) believed() bool {
	p.t.Helper()
	m, err := p.cfg.Guard.Remember(p.t.Context(), p.merchant(), time.Time{})
	if err != nil {
		p.t.Fatal(err)
	}
	return m.Trusted
}

func (p *past) wantBelieved(want bool) {
	p.t.Helper()
	if got := p.believed(); got != want {
		p.t.Errorf("Redis' memory is believed: %t, want %t", got, want)
	}
}

// mustRecall makes up for Redis' memory, and gives what is known from then on.
func (p *past) mustRecall() *memory {
	p.t.Helper()
	if err := p.recall(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	return p.memory.Load()
}

// watched has the memory watched, until it has been looked at n times.
func (p *past) watched(n int) {
	p.t.Helper()
	p.cfg.RetryMin = time.Hour // it is looked at when the test says so
	p.forgotten = make(chan struct{})
	stop := p.watchMemory(p.t.Context())
	defer stop()
	for range n + 1 { // the last one is heard once the one before it is over
		select {
		case p.forgotten <- struct{}{}:
		case <-time.After(10 * time.Second):
			p.t.Fatal("nobody looks at the memory, though a claim has found it gone")
		}
	}
}

func (p *past) wantLogged(text string, times int) {
	p.t.Helper()
	if n := p.log.count(text); n != times {
		p.t.Errorf("%q was logged %d times, want %d", text, n, times)
	}
}

// warned says whether the line with a text is a warning.
func (p *past) warned(text string) bool {
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	for line := range strings.Lines(p.log.text.String()) {
		if strings.Contains(line, text) {
			return strings.Contains(line, `"level":"warn"`)
		}
	}
	p.t.Errorf("%q was not logged", text)
	return false
}
