package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// kind says what may become of a command.
type kind int

const (
	plain      kind = iota
	invalid         // can be named, and must be rejected
	unreadable      // ends in the dead letters
	expired         // its time was over before it was sent
	hurried         // its time may be over before it is tried
)

// String gives the kind's word.
func (k kind) String() string {
	return [...]string{"plain", "invalid", "unreadable", "expired", "hurried"}[k]
}

// order is one command, however often it was sent.
type order struct {
	ref  schemas.CommandRef
	op   linepay.Operation
	key  string // of the operation; "" for a reading, and for what cannot be read
	kind kind
	data map[string]any
	body []byte

	at        time.Time // when the stream had it first
	sequences []uint64
}

// shop sends commands, as the services of a merchant do.
type shop struct {
	w     *world
	began time.Time
	extra sync.WaitGroup // sends that come later

	mu     sync.Mutex
	orders []*order
	begun  int // commands that were begun
	again  int // sends of a command that had been sent before
}

func newShop(w *world) *shop { return &shop{w: w} }

// all gives copies: more may be sent meanwhile.
func (s *shop) all() (orders []*order) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.orders {
		same := *o
		same.sequences = slices.Clone(o.sequences)
		orders = append(orders, &same)
	}
	return orders
}

func (s *shop) sent() (commands, again int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.orders), s.again
}

// turn lets the next command go when its time has come. It is false when all have gone.
func (s *shop) turn(ctx context.Context) bool {
	s.mu.Lock()
	if s.enough() {
		s.mu.Unlock()
		return false
	}
	due := s.began.Add(time.Duration(s.begun) * s.w.form.over / time.Duration(s.w.form.commands))
	s.begun++
	s.mu.Unlock()
	pause(ctx, time.Until(due))
	return ctx.Err() == nil
}

// enter gives a command its id and body.
func (s *shop) enter(op linepay.Operation, key string, k kind, data map[string]any, expiry time.Time) *order {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := &order{ref: schemas.CommandRef{Source: "/chaos", ID: fmt.Sprintf("c-%d", len(s.orders)+1)}, op: op, key: key, kind: k, data: data}
	envelope := map[string]any{
		"specversion": "1.0", "id": o.ref.ID, "source": o.ref.Source, "type": "linepay.command." + string(op) + ".v1", "data": data,
	}
	if !expiry.IsZero() {
		envelope["expirytime"] = expiry.UTC().Format(time.RFC3339Nano)
	}
	o.body, _ = json.Marshal(envelope) // maps of strings
	if k == unreadable {
		o.body = o.body[:len(o.body)/2]
	}
	s.orders = append(s.orders, o)
	return o
}

// publish sends a command until JetStream has acknowledged it, as every publisher must. It may be stored twice where an acknowledgement
// was lost.
func (s *shop) publish(ctx context.Context, o *order) {
	msg := nats.NewMsg(schemas.CommandSubject(channel, o.op))
	msg.Header.Set(schemas.HeaderContentType, schemas.ContentTypeCloudEvents)
	msg.Data = o.body
	for ctx.Err() == nil {
		try, cancel := context.WithTimeout(ctx, oneQuestion)
		ack, err := s.w.js.PublishMsg(try, msg, jetstream.WithExpectStream(schemas.StreamCommands))
		cancel()
		if err != nil {
			pause(ctx, 50*time.Millisecond)
			continue
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if o.at.IsZero() {
			o.at = time.Now()
		} else {
			s.again++
		}
		o.sequences = append(o.sequences, ack.Sequence)
		return
	}
}

// customer is one visit to the shop, with decisions of its own.
type customer struct {
	*dice
	s     *shop
	ctx   context.Context
	order string
}

// open serves customers until all commands are sent, so many at a time, and returns when their last answers are there.
func (s *shop) open(ctx context.Context) {
	s.began = time.Now()
	var visits sync.WaitGroup
	places := make(chan struct{}, s.w.form.live)
	for n := 1; ctx.Err() == nil && s.more(); n++ {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			continue
		}
		visits.Go(func() {
			defer func() { <-places }()
			order := fmt.Sprintf("O-%d", n)
			(&customer{newDice(s.w.form.seed, order), s, ctx, order}).visit()
		})
	}
	visits.Wait()
	s.extra.Wait()
}

func (s *shop) more() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.enough()
}

// enough commands have been begun, or it is late. The caller holds mu.
func (s *shop) enough() bool {
	limit := s.w.form.atMost
	return s.begun >= s.w.form.commands || limit > 0 && time.Since(s.began) > limit
}

// send orders one operation, and some time later perhaps once more: by the same command, or by another one that says the same, or that does
// not.
func (c *customer) send(op linepay.Operation, key string, data map[string]any) *order {
	if !c.s.turn(c.ctx) {
		return nil
	}
	o := c.s.enter(op, key, plain, data, time.Time{})
	c.s.publish(c.ctx, o)
	for c.one(6) {
		c.later(func() { c.s.publish(c.ctx, o) })
	}
	for c.one(10) {
		c.later(func() { c.another(op, key, data) })
	}
	if amount := "refundAmount"; c.one(25) && data[amount] != nil {
		c.later(func() { c.another(op, key, with(data, amount, "77")) })
	} else if amount := "amount"; c.one(25) && data[amount] != nil && op != linepay.Request {
		c.later(func() { c.another(op, key, with(data, amount, "77")) })
	}
	return o
}

func (c *customer) later(f func()) {
	after := c.between(0, 3*c.s.w.form.read)
	c.s.extra.Go(func() { pause(c.ctx, after); f() })
}

func (c *customer) another(op linepay.Operation, key string, data map[string]any) {
	if c.s.turn(c.ctx) {
		c.s.publish(c.ctx, c.s.enter(op, key, plain, data, time.Time{}))
	}
}

func with(data map[string]any, name string, value any) map[string]any {
	other := map[string]any{name: value}
	for n, v := range data {
		if n != name {
			other[n] = v
		}
	}
	return other
}

// odd sends what should not be carried out: a refund that is misspelt, or cut off, or too late, or perhaps too late.
func (c *customer) odd(id linepay.TransactionID, n int) {
	if !c.s.turn(c.ctx) {
		return
	}
	refundID := fmt.Sprintf("X-%d", n)
	key, data := refundKey(id, refundID), refundData(id, c.order, "3", refundID)
	k := pick(c.dice, []kind{invalid, unreadable, expired, hurried})
	var expiry time.Time
	switch k {
	case invalid:
		data["refundAmuont"] = "3"
	case expired:
		expiry = time.Now().Add(-time.Minute)
	case hurried:
		expiry = time.Now().Add(c.between(0, 2*c.s.w.form.lease()))
	}
	o := c.s.enter(linepay.Refund, key, k, data, expiry)
	c.s.publish(c.ctx, o)
	if c.one(4) {
		c.later(func() { c.s.publish(c.ctx, o) })
	}
}

// answer waits for the answer to a command; nil where none was sent, or none comes.
func (c *customer) answer(o *order) *schemas.Event {
	if o == nil {
		return nil
	}
	return c.s.w.journal.await(c.ctx, o.ref)
}

func refundKey(id linepay.TransactionID, refundID string) string {
	return "refund:" + id.String() + ":" + refundID
}

func refundData(id linepay.TransactionID, orderID, amount, refundID string) map[string]any {
	return map[string]any{"transactionId": id.String(), "orderId": orderID, "refundAmount": amount, "refundId": refundID}
}
