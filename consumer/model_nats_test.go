package consumer_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"

	"linepay-worker/schemas"
)

// The model's NATS: one work queue with its consumer, the stream of events and that of dead letters. What JetStream promises it keeps, and no
// more: a message comes again when it is given back or when nothing was heard of it for AckWait, an acknowledgement may be lost, and a
// publish that failed may have been stored, or be stored later.

const (
	modelChannel  = "tw"
	dedupeWindow  = 10 * time.Minute
	modelPullWait = 2 * time.Second // for which a worker's pull waits
)

var errNATS = errors.New("nats: no answer")

type modelNATS struct {
	w       *modelWorld
	ackWait time.Duration
	last    uint64 // sequence in LINEPAY_COMMANDS

	delivered uint64 // the highest sequence that was
	queue     []*modelMessage
	pulls     []*modelPull
	events    []*modelStored
	letters   []*modelLetter
}

// modelMessage is one message of LINEPAY_COMMANDS.
type modelMessage struct {
	sequence   uint64
	subject    string
	header     nats.Header
	body       []byte
	stored     time.Time
	deliveries uint64
	holder     *modelProcess // who has it; nil while it waits
	available  time.Time     // while it waits
	deadline   time.Time     // while somebody has it
}

// modelPull is a request for messages.
type modelPull struct {
	wire  *modelWire
	inbox string
	n     int
}

// modelStored is one message of LINEPAY_EVENTS.
type modelStored struct {
	at      time.Time
	subject string
	event   *schemas.Event
}

// modelLetter is one message of LINEPAY_DEADLETTERS.
type modelLetter struct {
	at       time.Time
	sequence uint64
	id       string
	header   map[string][]string
	body     []byte
	letter   schemas.DeadLetter
	replays  int
}

// publish stores a command.
func (n *modelNATS) publish(subject string, header nats.Header, body []byte) uint64 {
	n.last++
	now := time.Now()
	n.queue = append(n.queue, &modelMessage{sequence: n.last, subject: subject, header: header, body: body, stored: now, available: now})
	return n.last
}

// deliver hands out what can be handed out: what comes again first, then in the order of the stream.
func (n *modelNATS) deliver() {
	for {
		m := n.next()
		if m == nil || n.w.away(n.w.plan.busAway) {
			return
		}
		open := slices.DeleteFunc(slices.Clone(n.pulls), func(b *modelPull) bool { return b.wire.p.paused() })
		if len(open) == 0 {
			return
		}
		b := open[n.w.dice.IntN(len(open))]
		m.deliveries++
		n.delivered = max(n.delivered, m.sequence)
		m.holder, m.deadline = b.wire.p, time.Now().Add(n.ackWait)
		n.w.tell("deliver %d (%d) to process %d", m.sequence, m.deliveries, b.wire.p.number)
		n.expire(m)
		b.wire.deliver(b.inbox, m)
		if b.n--; b.n == 0 {
			n.close(b)
		}
	}
}

// pull takes a worker's request. Its time is over after a while, and the worker asks again.
func (n *modelNATS) pull(wire *modelWire, inbox string, size int) {
	b := &modelPull{wire, inbox, size}
	n.pulls = append(n.pulls, b)
	n.w.at(modelPullWait, wire.p, func() {
		if n.close(b) && !n.w.away(n.w.plan.busAway) {
			wire.expire(inbox)
		}
	})
}

func (n *modelNATS) close(b *modelPull) (open bool) {
	i := slices.Index(n.pulls, b)
	if i >= 0 {
		n.pulls = slices.Delete(n.pulls, i, i+1)
	}
	return i >= 0
}

func (n *modelNATS) next() (first *modelMessage) {
	now := time.Now()
	for _, m := range n.queue {
		if m.holder == nil && !m.available.After(now) && (first == nil || first.deliveries == 0 && m.deliveries > 0) {
			first = m
		}
	}
	return first
}

// expire gives the message to somebody else once its time is over.
func (n *modelNATS) expire(m *modelMessage) {
	delivery := m.deliveries
	n.w.at(time.Until(m.deadline), nil, func() {
		switch {
		case m.holder == nil || m.deliveries != delivery:
		case time.Now().Before(m.deadline):
			n.expire(m)
		default:
			n.w.tell("AckWait of %d is over", m.sequence)
			m.holder, m.available = nil, time.Now()
		}
	})
}

// forget the pulls of a process that has died.
func (n *modelNATS) forget(p *modelProcess) {
	n.pulls = slices.DeleteFunc(n.pulls, func(b *modelPull) bool { return b.wire.p == p })
}

// concluded carries out what a worker says of a delivery: it is done, comes again later, or is in work. NATS does not answer these: one that
// is lost looks just like one that arrived.
func (n *modelNATS) concluded(p *modelProcess, sequence, delivery uint64, what string) {
	w := n.w
	i := slices.IndexFunc(n.queue, func(m *modelMessage) bool { return m.sequence == sequence })
	if i < 0 || w.away(w.plan.busAway) || w.strike(w.plan.faults.acks, 1) > 0 {
		w.tell("process %d: %.4s of %d is lost", p.number, what, sequence)
		return
	}
	m := n.queue[i]
	current := m.holder == p && m.deliveries == delivery
	kind, rest, _ := strings.Cut(what, " ")
	switch {
	case kind == "+ACK": // a work queue removes it, whoever has it by now
		w.tell("ack %d", sequence)
		m.holder = nil
		n.queue = slices.Delete(n.queue, i, i+1)
	case kind == "+WPI" && current:
		m.deadline = time.Now().Add(n.ackWait)
	case kind == "-NAK" && current:
		var nak struct {
			Delay int64 `json:"delay"`
		}
		if err := json.Unmarshal([]byte(rest), &nak); err != nil {
			w.breaks("a message is given back without a delay")
		}
		delay := w.pause(p, m, time.Duration(nak.Delay))
		m.holder, m.available = nil, time.Now().Add(delay)
		w.at(delay, nil, func() {})
	}
}

// store is what the publisher promises: an event is stored unless its subject has it. Where there is no order, only the subject's last event
// and the duplicate window are looked at.
func (n *modelNATS) store(e *schemas.Event) {
	subject := schemas.EventSubject(e.Data.Channel, e.Name(), e.Subject)
	last := true
	for _, s := range slices.Backward(n.events) {
		if s.event.ID == e.ID && (e.Subject != "" || last || time.Since(s.at) < dedupeWindow) {
			n.w.tell("event %s %s is stored already", e.Name(), e.Data.OperationKey)
			return
		}
		last = last && s.subject != subject
	}
	body, err := e.Encode()
	if err == nil {
		e, err = schemas.DecodeEvent(body)
	}
	if err != nil {
		n.w.breaks("an event that cannot be read was published: " + err.Error())
		return
	}
	n.w.tell("event %s %s of %s: %s %s %s", e.Name(), e.Data.OperationKey, e.Data.Command.ID, e.Data.SettledBy, e.Data.ReturnCode, e.Data.Reason)
	n.w.seen.event(e)
	n.events = append(n.events, &modelStored{time.Now(), subject, e})
}

func (n *modelNATS) park(id string, d schemas.DeadLetter, header map[string][]string, body []byte) {
	for _, l := range n.letters {
		if l.id == id && time.Since(l.at) < dedupeWindow {
			return
		}
	}
	n.w.tell("dead letter of %d: %s %s", d.Sequence, d.Reason, d.Detail)
	n.letters = append(n.letters, &modelLetter{
		at: time.Now(), sequence: uint64(len(n.letters) + 1), id: id, header: header, body: body, letter: d,
	})
}

// modelBus is a process' connection to the bus.
type modelBus struct{ p *modelProcess }

func (b modelBus) Publish(ctx context.Context, e *schemas.Event) error {
	return b.write(ctx, "publish "+e.ID, func(n *modelNATS) { n.store(e) })
}

func (b modelBus) Park(ctx context.Context, id string, d schemas.DeadLetter, header map[string][]string, body []byte) error {
	return b.write(ctx, "park "+id, func(n *modelNATS) { n.park(id, d, header, body) })
}

func (b modelBus) write(ctx context.Context, what string, do func(*modelNATS)) error {
	return b.p.contact(ctx, what, func(s *modelStep) {
		w := b.p.w
		if w.away(w.plan.busAway) {
			s.answer(w.some(5*time.Second), errNATS)
			return
		}
		switch w.strike(w.plan.faults.bus, 3) {
		case 0:
			do(w.nats)
			s.answer(w.some(5*time.Millisecond), nil)
		case 1:
			s.answer(w.some(5*time.Second), errNATS)
		case 2:
			do(w.nats)
			s.answer(w.some(5*time.Second), errNATS)
		default: // it stays in a buffer, and arrives after the writer has given up
			w.at(5*time.Second+w.some(time.Minute), nil, func() { do(w.nats) })
			s.answer(w.some(5*time.Second), errNATS)
		}
	})
}

func (b modelBus) Newest(ctx context.Context, _ string) (at time.Time, err error) {
	err = b.read(ctx, "newest event", func(n *modelNATS) {
		if len(n.events) > 0 {
			at = n.events[len(n.events)-1].at
		}
	})
	return at, err
}

func (b modelBus) Proofs(ctx context.Context, _ string, since time.Time, f func(*schemas.Event)) error {
	var found []*schemas.Event
	err := b.read(ctx, "proofs", func(n *modelNATS) {
		for _, e := range n.events {
			switch e.event.Name() {
			case schemas.EventDuplicate, schemas.EventStatus, schemas.EventDetails, schemas.EventPreapproval:
			default:
				if !e.at.Before(since) {
					found = append(found, e.event)
				}
			}
		}
	})
	for _, e := range found {
		f(e)
	}
	return err
}

func (b modelBus) read(ctx context.Context, what string, do func(*modelNATS)) error {
	return b.p.contact(ctx, what, func(s *modelStep) {
		w := b.p.w
		if w.away(w.plan.busAway) || w.strike(w.plan.faults.bus, 1) > 0 {
			s.answer(w.some(5*time.Second), errNATS)
			return
		}
		do(w.nats)
		s.answer(w.some(5*time.Millisecond), nil)
	})
}

func (b modelBus) History(ctx context.Context, channel, order string) (history []*schemas.Event, err error) {
	if order == "" {
		return nil, nil
	}
	err = b.p.contact(ctx, "history "+order, func(s *modelStep) {
		w := b.p.w
		if w.strike(w.plan.faults.bus, 1) > 0 {
			s.answer(w.some(5*time.Second), errNATS)
			return
		}
		for _, e := range w.nats.events {
			if e.event.Data.Channel == channel && e.event.Data.OrderID == order {
				history = append(history, e.event)
			}
		}
		s.answer(w.some(5*time.Millisecond), nil)
	})
	return history, err
}
