package chaos

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
	"linepay-worker/schemas"
)

// remains is what a run has left behind, in the streams and at LINE Pay.
type remains struct {
	orders  []*order
	events  []told
	letters []letter
	ledger  simulator.Ledger
	byHand  func(refund linepay.TransactionID) bool // who made a refund

	// forgotten: Redis has lost memory. Then one refund that no event tells can be anybody's already, and not two only.
	forgotten bool
}

// verdict is what an audit finds.
type verdict struct {
	doubles    []string // an operation with two effects, or two money events
	unanswered []string // commands
	untold     []string // effects without an event
	wrong      []string // whatever else is not as it must be
	held       []string // entities that nobody lets go

	effects, money, letters, parked, duplicates, failed, rejected int

	slowest time.Duration // from a command's storing to that of its answer
}

// audit holds events and dead letters against LINE Pay's ledger and the commands:
//
//   - an operation has at most one effect, and at most one money event;
//   - an effect has exactly one money event, that says the same; a money event has an effect;
//   - a command that can be read has one terminal event, one that cannot is one dead letter for each time that it is in the stream;
//   - an answer is one that such a command may have; a refusal is one that LINE Pay gave;
//   - what is parked is ambiguous by the ledger.
func audit(left remains) verdict {
	a := &auditor{
		remains: left, keys: map[string][]*order{}, byRef: map[schemas.CommandRef]*order{}, money: map[string][]told{},
		parkedKeys: map[string]bool{},
	}
	for _, o := range left.orders {
		a.byRef[o.ref] = o
		if o.key != "" && o.kind != unreadable {
			a.keys[o.key] = append(a.keys[o.key], o)
		}
	}
	for _, e := range left.events {
		if schemas.IsMoneyEvent(e.event.Name()) {
			a.money[a.keyOf(e.event)] = append(a.money[a.keyOf(e.event)], e)
			a.v.money++
		}
		if e.event.Name() == schemas.EventParked {
			a.parkedKeys[a.keyOf(e.event)] = true
		}
	}
	for _, key := range sorted(a.money) {
		if events := a.money[key]; len(events) > 1 {
			a.double("%s has %d money events: %s", key, len(events), describe(events))
		}
	}
	a.effects()
	a.events()
	a.answers()
	a.v.letters = len(left.letters)
	return a.v
}

type auditor struct {
	remains
	v     verdict
	keys  map[string][]*order // commands by operation
	byRef map[schemas.CommandRef]*order
	money map[string][]told // money events by operation

	parkedKeys map[string]bool // operations of which a command is parked
}

func (a *auditor) double(format string, args ...any) {
	a.v.doubles = append(a.v.doubles, fmt.Sprintf(format, args...))
}

func (a *auditor) untold(format string, args ...any) {
	a.v.untold = append(a.v.untold, fmt.Sprintf(format, args...))
}

func (a *auditor) unanswered(format string, args ...any) {
	a.v.unanswered = append(a.v.unanswered, fmt.Sprintf(format, args...))
}

func (a *auditor) wrong(format string, args ...any) {
	a.v.wrong = append(a.v.wrong, fmt.Sprintf(format, args...))
}

// keyOf is the operation that an event is about, by the name that the commands have for it.
func (a *auditor) keyOf(e *schemas.Event) string {
	if o := a.byRef[e.Data.Command]; o != nil && e.Data.Operation == linepay.PreapprovedExpire {
		return o.key
	}
	return e.Data.OperationKey
}

// effects looks for each effect's event.
func (a *auditor) effects() {
	seen := map[linepay.TransactionID]bool{}
	for _, t := range a.ledger.Transactions {
		done := map[linepay.Operation]int{}
		for _, e := range t.Effects {
			if a.byHand(e.TransactionID) {
				continue
			}
			a.v.effects++
			if e.Operation == linepay.Refund {
				a.refund(t, e, seen)
				continue
			}
			if done[e.Operation]++; done[e.Operation] > 1 {
				a.double("%s of transaction %s was carried out %d times", e.Operation, t.TransactionID, done[e.Operation])
				continue
			}
			a.effect(t, e)
		}
	}
	a.paidTwice()
	for _, events := range a.money {
		for _, e := range events {
			if id := e.event.Data.RefundTransactionID; e.event.Data.Operation == linepay.Refund && !seen[id] {
				a.wrong("%s: there is no such refund of ours at LINE Pay (by hand: %t)", describe([]told{e}), a.byHand(id))
			}
		}
	}
}

// effect compares an effect that is no refund with its event.
func (a *auditor) effect(t simulator.Transaction, e simulator.Effect) {
	key := string(e.Operation) + ":" + t.TransactionID.String()
	if e.Operation == linepay.PreapprovedPay {
		key = string(e.Operation) + ":" + t.OrderID
	}
	events := a.money[key]
	if len(events) == 0 {
		a.untold("%s of %s %s (transaction %s, order %s) has no event", e.Operation, e.Amount, t.Currency, t.TransactionID, t.OrderID)
		return
	}
	a.compare(t, e, events[0].event)
}

// refund compares a refund with its event. Without one it is one too many, or untold: that depends on whether any refund that was commanded
// with this amount is without an effect.
func (a *auditor) refund(t simulator.Transaction, e simulator.Effect, seen map[linepay.TransactionID]bool) {
	var open []string
	for key, orders := range a.keys {
		if !strings.HasPrefix(key, "refund:"+t.TransactionID.String()+":") {
			continue
		}
		for _, m := range a.money[key] {
			if m.event.Data.RefundTransactionID == e.TransactionID {
				seen[e.TransactionID] = true
				a.compare(t, e, m.event)
				return
			}
		}
		if len(a.money[key]) == 0 && slices.ContainsFunc(orders, func(o *order) bool { return o.asksFor(e.Amount) }) {
			open = append(open, key)
		}
	}
	what := fmt.Sprintf("refund %s of %s (transaction %s, order %s)", e.TransactionID, e.Amount, t.TransactionID, t.OrderID)
	switch {
	case slices.ContainsFunc(open, func(key string) bool { return a.parkedKeys[key] }): // left to a person: see answers
	case len(open) == 0:
		a.double("%s, and every refund of that amount that was commanded has another one", what)
	default:
		a.untold("%s has no event; it can be %v", what, open)
	}
}

// asksFor says whether a command can have led to a refund of an amount.
func (o *order) asksFor(amount linepay.Amount) bool {
	asked, ok := o.data["refundAmount"].(string)
	return o.op == linepay.Refund && (!ok || linepay.MustAmount(asked).Equal(amount))
}

// paidTwice looks for orders that a key was charged for more than once.
func (a *auditor) paidTwice() {
	paid := map[string]int{}
	for _, t := range a.ledger.Transactions {
		for _, e := range t.Effects {
			if e.Operation != linepay.PreapprovedPay {
				continue
			}
			if paid[t.OrderID]++; paid[t.OrderID] > 1 {
				a.double("order %s was paid %d times with a key", t.OrderID, paid[t.OrderID])
			}
		}
	}
}

func (a *auditor) compare(t simulator.Transaction, e simulator.Effect, event *schemas.Event) {
	differ := func(what string, atLINEPay, inEvent any) {
		if atLINEPay != inEvent {
			a.wrong("%s of transaction %s: %s is %v at LINE Pay, and %v in event %s", e.Operation, t.TransactionID, what, atLINEPay, inEvent,
				event.ID)
		}
	}
	d := event.Data
	differ("what happened", nameOf(e.Operation, t), event.Name())
	differ("the order", t.OrderID, d.OrderID)
	differ("the payment", t.TransactionID.String(), d.TransactionID.String())
	switch e.Operation {
	case linepay.Void: // releases what was held, whatever the amount
	case linepay.Refund:
		differ("the amount", e.Amount.String(), d.RefundAmount.String())
		differ("the currency", t.Currency, d.Currency)
	default:
		differ("the amount", e.Amount.String(), d.Amount.String())
		differ("the currency", t.Currency, d.Currency)
	}
}

// nameOf is the money event of an effect. Whether money was held or taken shows in what came of the payment.
func nameOf(op linepay.Operation, t simulator.Transaction) string {
	switch op {
	case linepay.Capture:
		return schemas.EventCaptured
	case linepay.Void:
		return schemas.EventVoided
	case linepay.Refund:
		return schemas.EventRefunded
	}
	later := func(e simulator.Effect) bool { return e.Operation == linepay.Capture }
	if t.State == simulator.Authorized || t.State == simulator.Voided || slices.ContainsFunc(t.Effects, later) {
		return schemas.EventAuthorized
	}
	return schemas.EventCaptured
}

// events looks at what each event says by itself.
func (a *auditor) events() {
	ids := map[string]bool{}
	for _, e := range a.remains.events {
		if ids[e.event.ID] {
			a.wrong("event id %s is in the stream twice (%s)", e.event.ID, describe([]told{e}))
		}
		ids[e.event.ID] = true
		if e.msgID != e.event.ID {
			a.wrong("event %s has the message id %q", e.event.ID, e.msgID)
		}
		if a.byRef[e.event.Data.Command] == nil {
			a.wrong("%s answers a command that nobody sent", describe([]told{e}))
		}
	}
	effects := map[string]bool{}
	for _, t := range a.ledger.Transactions {
		for _, e := range t.Effects {
			effects[string(e.Operation)+e.TransactionID.String()] = true
		}
	}
	for _, e := range a.remains.events {
		d := e.event.Data
		id := cmp.Or(d.RefundTransactionID, d.TransactionID)
		if schemas.IsMoneyEvent(e.event.Name()) && !effects[string(d.Operation)+id.String()] {
			a.wrong("%s: LINE Pay has carried out nothing of the kind", describe([]told{e}))
		}
		if d.Of != nil && !ids[d.Of.EventID] {
			a.wrong("%s is a duplicate of event %s, which is not in the stream", describe([]told{e}), d.Of.EventID)
		}
	}
}

func describe(events []told) string {
	var parts []string
	for _, e := range events {
		parts = append(parts, e.String())
	}
	return strings.Join(parts, "; ")
}

// String names an event for a person.
func (e told) String() string {
	d := e.event.Data
	return fmt.Sprintf("event %d, %s for command %s (%s, by %s, refund %s)",
		e.sequence, e.event.Name(), d.Command.ID, d.OperationKey, d.SettledBy, d.RefundTransactionID)
}
