package main

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
	"linepay-worker/schemas"
)

// remains is all that a run has left behind: what was sent, what the worker published, and what LINE Pay carried out.
type remains struct {
	sent         []*sent
	events       []*schemas.Event
	letters      []letter
	transactions []simulator.Transaction
}

// collect reads the streams to their end and the simulator's ledger, and keeps what belongs to this run: there may have been others before
// it, and beside it.
func (s *stage) collect(ctx context.Context) (remains, error) {
	for _, m := range s.sent {
		if err := s.gone(ctx, m); err != nil {
			return remains{}, err
		}
	}
	if err := s.journal.catchUp(ctx, s.js); err != nil {
		return remains{}, err
	}
	orders := map[string]bool{}
	for _, m := range s.sent {
		orders[m.orderID] = m.orderID != ""
	}
	transactions, err := s.browser.ledger(ctx, slices.Sorted(maps.Keys(orders))...)
	if err != nil {
		return remains{}, err
	}
	transactions = slices.DeleteFunc(transactions, func(t simulator.Transaction) bool { return !orders[t.OrderID] })
	s.journal.mu.Lock()
	defer s.journal.mu.Unlock()
	return remains{
		sent: s.sent, events: slices.Clone(s.journal.events), letters: slices.Clone(s.journal.letters), transactions: transactions,
	}, nil
}

// effect is one carried-out operation of LINE Pay's ledger, with what the ledger says about its payment.
type effect struct {
	simulator.Effect
	payment           linepay.TransactionID
	orderID, currency string
	event             string // the money event that says the same
}

// pair is an effect with its money event; one of them is nil where it has no counterpart.
type pair struct {
	effect *effect
	event  *schemas.Event
}

// verdict is what compare finds.
type verdict struct {
	pairs         []pair
	commands      int // that can be read
	unreadable    int
	disagreements []string
}

// compare holds the events against the ledger, and the answers against the commands:
//
//   - every effect has exactly one money event, of equal kind, amount, currency and ids; every money event has exactly one effect;
//   - every command that can be read has exactly one terminal event; every one that cannot be read is exactly one dead letter.
func compare(left remains) verdict {
	v := verdict{pairs: match(effectsOf(left.transactions), moneyEvents(left.events))}
	for _, p := range v.pairs {
		v.disagreements = append(v.disagreements, p.disagreements()...)
	}
	for _, m := range left.sent {
		v.disagreements = append(v.disagreements, m.disagreements(left)...)
		if m.readable() {
			v.commands++
		} else {
			v.unreadable++
		}
	}
	for _, e := range left.events {
		if !slices.ContainsFunc(left.sent, func(m *sent) bool { return m.command == e.Data.Command }) {
			v.disagreements = append(v.disagreements, fmt.Sprintf("event %s answers command %q, which nobody sent", describe(e), e.Data.Command.ID))
		}
	}
	return v
}

func effectsOf(transactions []simulator.Transaction) (effects []*effect) {
	for _, t := range transactions {
		for _, e := range t.Effects {
			effects = append(effects, &effect{
				Effect: e, payment: t.TransactionID, orderID: t.OrderID, currency: t.Currency, event: eventOf(e.Operation, t),
			})
		}
	}
	return effects
}

// eventOf names the money event of an effect. Whether a confirm held the money or took it shows in what came of the payment.
func eventOf(op linepay.Operation, t simulator.Transaction) string {
	switch op {
	case linepay.Capture:
		return schemas.EventCaptured
	case linepay.Void:
		return schemas.EventVoided
	case linepay.Refund:
		return schemas.EventRefunded
	}
	held := t.State == simulator.Authorized || t.State == simulator.AuthorizationExpired || t.State == simulator.Voided ||
		slices.ContainsFunc(t.Effects, func(e simulator.Effect) bool { return e.Operation == linepay.Capture })
	if held {
		return schemas.EventAuthorized
	}
	return schemas.EventCaptured
}

func moneyEvents(events []*schemas.Event) []*schemas.Event {
	return slices.DeleteFunc(slices.Clone(events), func(e *schemas.Event) bool { return !schemas.IsMoneyEvent(e.Name()) })
}

// match pairs effects with events that name the same operation and transaction, each used once, in the order of the ledger.
func match(effects []*effect, events []*schemas.Event) (pairs []pair) {
	for _, e := range effects {
		i := slices.IndexFunc(events, e.isTold)
		if i < 0 {
			pairs = append(pairs, pair{effect: e})
			continue
		}
		pairs = append(pairs, pair{e, events[i]})
		events = slices.Delete(events, i, i+1)
	}
	for _, e := range events {
		pairs = append(pairs, pair{event: e})
	}
	return pairs
}

// isTold says whether an event is about this effect: a refund is known by its own transaction id, all else by the payment's.
func (e *effect) isTold(by *schemas.Event) bool {
	id := by.Data.TransactionID
	if e.Operation == linepay.Refund {
		id = by.Data.RefundTransactionID
	}
	return by.Data.Operation == e.Operation && id == e.TransactionID
}

func (p pair) disagreements() (list []string) {
	switch {
	case p.event == nil:
		return []string{fmt.Sprintf("LINE Pay carried out %s, and no money event of its own says so", p.effect)}
	case p.effect == nil:
		return []string{fmt.Sprintf("event %s has no effect of its own in LINE Pay's ledger", describe(p.event))}
	}
	differ := func(what string, atLINEPay, inEvent any) {
		if atLINEPay != inEvent {
			list = append(list, fmt.Sprintf("%s: %s is %v at LINE Pay, and %v in the event", p.effect, what, atLINEPay, inEvent))
		}
	}
	d := p.event.Data
	differ("what happened", p.effect.event, p.event.Name())
	differ("the order", p.effect.orderID, d.OrderID)
	differ("the payment's transaction", p.effect.payment.String(), d.TransactionID.String())
	if p.effect.Operation != linepay.Void { // A void releases all that was held; neither its command nor its event names an amount.
		differ("the amount", p.effect.Amount.String(), stated(p.event).String())
		differ("the currency", p.effect.currency, d.Currency)
	}
	return list
}

// stated is the amount that a money event is about.
func stated(e *schemas.Event) linepay.Amount {
	if e.Data.Operation == linepay.Refund {
		return e.Data.RefundAmount
	}
	return e.Data.Amount
}

func (e *effect) String() string {
	return fmt.Sprintf("%s of %s %s for order %s (transaction %s)", e.Operation, e.Amount, e.currency, e.orderID, e.TransactionID)
}

func describe(e *schemas.Event) string {
	return fmt.Sprintf("%s of %s for order %s (id %s)", e.Name(), e.Data.Operation, e.Data.OrderID, e.ID)
}

func (m *sent) readable() bool { return m.command != schemas.CommandRef{} }

func (m *sent) disagreements(left remains) (list []string) {
	var answers []string
	for _, e := range left.events {
		if m.readable() && e.Data.Command == m.command && terminal(e) {
			answers = append(answers, e.Name())
		}
	}
	letters := 0
	for _, d := range left.letters {
		if slices.Contains(m.sequences, d.Sequence) {
			letters++
		}
	}
	switch {
	case !m.readable() && letters != 1:
		list = append(list, fmt.Sprintf("the %s that cannot be read is %d dead letters, not 1", m.operation, letters))
	case m.readable() && len(answers) != 1:
		list = append(list, fmt.Sprintf("%s has %d terminal events %v, not 1", m, len(answers), answers))
	case m.readable() && (answers[0] == schemas.EventParked) != (letters > 0):
		list = append(list, fmt.Sprintf("%s is answered by %s and has %d dead letters", m, answers[0], letters))
	}
	return list
}

func (m *sent) String() string {
	return fmt.Sprintf("command %s of order %s (id %s)", m.operation, m.orderID, m.command.ID)
}
