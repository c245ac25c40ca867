package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"linepay-worker/consumer"
	"linepay-worker/idempotency"
	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// Kinds of findings. Scripts branch on them: they never change their meaning.
const (
	effectWithoutEvent = "effect-without-event" // LINE Pay shows what no event tells
	eventWithoutEffect = "event-without-effect" // an event tells what LINE Pay does not show
	refundUnmatched    = "refund-unmatched"     // LINE Pay shows a refund that no event tells: made by hand?
	otherAmount        = "amount"               // amount or currency differ
	otherOrder         = "other-order"          // at LINE Pay the transaction belongs to another order
	otherStatus        = "status"               // LINE Pay gives a payStatus that is not known here
	twoEvents          = "two-events"           // one effect is told by two money events
	inDoubt            = "in-doubt"             // a call may have happened, and nobody knows its outcome
	parkedUnknown      = "parked-unknown"       // parked, and money may have moved: a person has to find out
	recordWithoutEvent = "record-without-event" // the guard says done, and its event is not stored
	damagedRecord      = "damaged-record"       // a record that cannot be read
)

// finding is one thing that does not agree, or is not decided.
type finding struct {
	Kind string `json:"finding"`
	// UnderWay says that a worker is at it, or has a command waiting that may explain it: look again later. It is no disagreement.
	UnderWay     bool                  `json:"underWay"`
	Channel      string                `json:"channel"`
	Order        string                `json:"orderId"`
	Transaction  linepay.TransactionID `json:"transactionId,omitzero"`
	OperationKey string                `json:"operationKey,omitzero"`
	Events       string                `json:"events,omitzero"`  // what the events say
	LINEPay      string                `json:"linePay,omitzero"` // what LINE Pay says
	Detail       string                `json:"detail"`
}

// settling is how young an effect may be for LINE Pay's details not to show it yet, with what clocks may differ by.
const settling = time.Minute

// comparison is one order's.
type comparison struct {
	*books
	findings []finding
}

// compare tells what disagrees between events, guard and, where it was asked, LINE Pay.
func (b *books) compare() []finding {
	c := &comparison{books: b}
	c.events()
	c.guard()
	c.parked()
	if b.looked {
		for _, id := range b.transactions() {
			c.transaction(id)
		}
	}
	return c.findings
}

func (c *comparison) add(f finding) {
	f.Channel, f.Order = c.channel, c.order
	c.findings = append(c.findings, f)
}

// events finds effects that two events tell: two of one operation, a payment that was captured twice, a refund with two operations.
func (c *comparison) events() {
	seen := map[string]*schemas.Event{}
	for _, s := range c.moneyEvents() {
		e := s.event
		names := []string{e.Data.OperationKey}
		switch e.Name() {
		case schemas.EventCaptured:
			names = append(names, "capture of "+e.Data.TransactionID.String())
		case schemas.EventRefunded:
			names = append(names, "refund "+e.Data.RefundTransactionID.String())
		}
		for _, name := range names {
			first := seen[name]
			if first == nil {
				seen[name] = e
				continue
			}
			c.add(finding{
				Kind: twoEvents, Transaction: e.Data.TransactionID, OperationKey: e.Data.OperationKey, Events: tells(first) + "; " + tells(e),
				Detail: fmt.Sprintf("events %s and %s tell one effect: a ledger has booked it twice", first.ID, e.ID),
			})
			break
		}
	}
}

// guard finds records that are damaged, in doubt, parked with unknown outcome, or done without their event.
func (c *comparison) guard() {
	for _, r := range c.records {
		for _, d := range r.Damaged {
			c.add(finding{Kind: damagedRecord, Transaction: r.transaction, OperationKey: d.Operation, Detail: d.Err.Error()})
		}
		for i := range r.Records {
			c.record(r, &r.Records[i])
		}
	}
}

func (c *comparison) record(on inspected, r *idempotency.Record) {
	f := finding{Transaction: on.transaction, OperationKey: r.Operation, UnderWay: c.waits(r.Operation)}
	running := r.Standing == idempotency.StandingClaimed && on.Now.Before(r.Lease)
	switch {
	case r.Standing == idempotency.StandingDone:
		c.done(f, r)
		return
	case r.Standing == idempotency.StandingClaimed && !running:
		f.Kind, f.Detail = inDoubt, "the worker that had claimed it gave no sign of life after "+r.Lease.Format(timeForm)
	case !r.Doubt:
		return
	case r.Standing == idempotency.StandingParked:
		f.Kind, f.Detail = parkedUnknown, findOut
	case running:
		f.Kind, f.UnderWay, f.Detail = inDoubt, true, "a worker is looking it up: "+r.Why
	default:
		f.Kind, f.Detail = inDoubt, "a call may have happened: "+r.Why
	}
	if c.walked && !f.UnderWay && f.Kind == inDoubt {
		f.Detail += "; its command is not in " + schemas.StreamCommands + " any more, so no worker comes back to it"
	}
	c.add(f)
}

const findOut = "parked, and money may have moved: find out at LINE Pay, then replay or resolve the dead letter"

// done looks for the events that a record says were published.
func (c *comparison) done(f finding, r *idempotency.Record) {
	told, err := consumer.StoredEvents(r.Outcome)
	if err != nil {
		f.Kind, f.Detail = damagedRecord, err.Error()
		c.add(f)
		return
	}
	for _, e := range told {
		if e.Data.Channel != c.channel || e.Data.OrderID != c.order || e.Time.Before(c.kept) || c.tellsEvent(e.ID) {
			continue
		}
		f.Kind = recordWithoutEvent
		f.Detail = fmt.Sprintf("the guard has the %s event %s on record, and %s does not hold it", e.Name(), e.ID, schemas.StreamEvents)
		c.add(f)
	}
}

func (c *comparison) tellsEvent(id string) bool {
	return slices.ContainsFunc(c.books.events, func(s stored) bool { return s.event != nil && s.event.ID == id })
}

// parked finds operations that the events say are parked with unknown outcome and the guard says nothing of: forgotten, or not asked.
func (c *comparison) parked() {
	open := map[string]*schemas.Event{}
	var keys []string
	for _, s := range c.books.events {
		if s.event == nil || s.event.Data.OperationKey == "" {
			continue
		}
		key, name := s.event.Data.OperationKey, s.event.Name()
		switch {
		case name == schemas.EventParked && s.event.Data.MoneyMoved == schemas.MoneyMovedUnknown:
			open[key] = s.event
			if !slices.Contains(keys, key) {
				keys = append(keys, key)
			}
		case schemas.IsMoneyEvent(name), name == schemas.EventFailed:
			delete(open, key)
		}
	}
	for _, key := range keys {
		e := open[key]
		known := slices.ContainsFunc(c.findings, func(f finding) bool { return f.OperationKey == key && f.Kind == parkedUnknown })
		if e == nil || known {
			continue
		}
		c.add(finding{
			Kind: parkedUnknown, Transaction: e.Data.TransactionID, OperationKey: key, UnderWay: c.waits(key), Events: tells(e),
			Detail: findOut,
		})
	}
}

// waits says whether a command of an operation is still in the stream.
func (b *books) waits(key string) bool {
	return slices.ContainsFunc(b.waiting, func(w *placed) bool { return w.names.key == key })
}

// underWay says whether one of the operations may be at work on the payment: its command waits, or a worker has it.
func (b *books) underWay(id linepay.TransactionID, operations ...linepay.Operation) bool {
	for _, w := range b.waiting {
		op := w.command.Operation
		if slices.Contains(operations, op) && (op == linepay.PreapprovedPay || w.command.Data.Transaction() == id) {
			return true
		}
	}
	for _, on := range b.records {
		for i := range on.Records {
			op := operationOf(on.Records[i].Operation)
			if on.atWork(&on.Records[i]) && slices.Contains(operations, op) && (op == linepay.PreapprovedPay || on.transaction == id) {
				return true
			}
		}
	}
	return false
}

// tells is what an event says about the money.
func tells(e *schemas.Event) string {
	text := e.Name()
	if s := sum(e.Data); s != "" {
		text += " " + s
	}
	if id := e.Data.RefundTransactionID; id != 0 {
		text += ", refund " + id.String()
	}
	return text
}

// shows is what LINE Pay says about a payment.
func shows(p *linepay.Payment) string {
	text := string(p.PayStatus)
	if len(p.PayInfo) > 0 {
		text += " " + sumOf(paidOf(p), p.Currency)
	}
	return strings.TrimSpace(text)
}
