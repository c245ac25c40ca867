package consumer_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
	"linepay-worker/schemas"
)

// What is known and not held against a schedule.
var (
	// modelKnown are promises that are not kept yet, in schedules of all classes.
	modelKnown = []string{
		"two readings",               // a reading that is delivered twice may read two different things, and both are told
		"amount of an older confirm", // confirmed by somebody else, captured in part: nobody can tell what was held
		"event of an older confirm",  // the same, captured in full, and a confirm finds it: nobody can tell that it was held before
	}
	// modelKnownOf are those of one class.
	modelKnownOf = map[string][]string{
		// A refund made by hand that equals a commanded one whose answer was lost.
		"ambiguous": {"parked for good", "effect without event", "somebody else's"},
		// The snapshot of a refund goes with Redis' memory: then what may be somebody else's is for a person. Events do not hold keys, so what
		// became of one cannot be put on record again; no money hangs on it.
		"forgetful": {"parked for good", "effect without event", "expired key told twice"},
	}
)

// serious leaves out what is known.
func (p *modelPlan) serious(faults []string) []string {
	return slices.DeleteFunc(slices.Clone(faults), func(fault string) bool {
		kind, _, _ := strings.Cut(fault, ":")
		return slices.Contains(modelKnown, kind) || slices.Contains(modelKnownOf[p.class], kind)
	})
}

// modelAccount is what a schedule left behind: the simulator's ledger against the events.
type modelAccount struct {
	w        *modelWorld
	faults   []string
	byKey    map[string][]*schemas.Event // money events by operation key
	answers  map[string][]*schemas.Event // final events by command
	refunded map[linepay.TransactionID]*schemas.Event
}

func (a *modelAccount) fault(kind, format string, args ...any) {
	a.faults = append(a.faults, kind+": "+fmt.Sprintf(format, args...))
}

// check gives every broken promise.
func (w *modelWorld) check() []string {
	a := &modelAccount{
		w: w, faults: slices.Clone(w.broken), byKey: map[string][]*schemas.Event{}, answers: map[string][]*schemas.Event{},
		refunded: map[linepay.TransactionID]*schemas.Event{},
	}
	for _, m := range w.nats.queue {
		a.fault("stuck", "message %d on %s after %d deliveries", m.sequence, m.subject, m.deliveries)
	}
	a.read()
	a.effects()
	a.commands()
	if w.plan.class == "ordered" {
		a.order()
	}
	return a.faults
}

// order: on one payment, commands are carried out in the order of the stream.
func (a *modelAccount) order() {
	first := map[string]uint64{}
	for sequence := uint64(1); sequence <= a.w.nats.last; sequence++ {
		if c := a.w.sent[sequence]; first[c.id] == 0 {
			first[c.id] = sequence
		}
	}
	for _, t := range a.w.pay.sim.Ledger().Transactions {
		last := uint64(0)
		for _, e := range t.Effects[min(a.w.before[t.TransactionID], len(t.Effects)):] {
			var told *schemas.Event
			if told = a.refunded[e.TransactionID]; e.Operation != linepay.Refund {
				if events := a.byKey[string(e.Operation)+":"+t.TransactionID.String()]; len(events) > 0 {
					told = events[0]
				}
			}
			if told == nil {
				continue
			}
			if sequence := first[told.Data.Command.ID]; sequence < last {
				a.fault("out of order", "%s, command %d, came after %d", told.Data.OperationKey, sequence, last)
			} else {
				last = sequence
			}
		}
	}
}

// read sorts the events. An id is stored once, and an operation has one money event.
func (a *modelAccount) read() {
	ids := map[string]bool{}
	for _, s := range a.w.nats.events {
		e := s.event
		if ids[e.ID] {
			if e.Subject == "" { // such events move no money, and the publisher promises no more than the duplicate window
				continue
			}
			a.fault("event twice", "%s of %s", e.Name(), e.Data.OperationKey)
			continue
		}
		ids[e.ID] = true
		if schemas.IsMoneyEvent(e.Name()) {
			a.byKey[e.Data.OperationKey] = append(a.byKey[e.Data.OperationKey], e)
		}
		if e.Name() != schemas.EventPreapproval || e.Data.Operation != linepay.Confirm {
			a.answers[e.Data.Command.ID] = append(a.answers[e.Data.Command.ID], e)
		}
		if id := e.Data.RefundTransactionID; id != 0 {
			if a.refunded[id] != nil {
				a.fault("refund told twice", "%s by %s and %s", id, a.refunded[id].Data.OperationKey, e.Data.OperationKey)
			}
			a.refunded[id] = e
		}
	}
	for key, events := range a.byKey {
		if len(events) > 1 {
			a.fault("money events", "%s has %d", key, len(events))
		}
	}
}

// effects holds the ledger against the money events.
func (a *modelAccount) effects() {
	told := map[*schemas.Event]bool{}
	for _, t := range a.w.pay.sim.Ledger().Transactions {
		for i, e := range t.Effects {
			// What others did need not be told; a confirm made before the schedule may be, by a command that finds it.
			a.effect(t, e, told, i >= a.w.before[t.TransactionID] && !a.w.byHand[e.TransactionID])
		}
		a.refunds(t)
	}
	for key, events := range a.byKey {
		for _, e := range events {
			if !told[e] {
				a.fault("event without effect", "%s of %s by %s", e.Name(), key, e.Data.SettledBy)
			}
		}
	}
}

func (a *modelAccount) effect(t simulator.Transaction, e simulator.Effect, told map[*schemas.Event]bool, ours bool) {
	var found *schemas.Event
	key := string(e.Operation) + ":" + t.TransactionID.String()
	switch e.Operation {
	case linepay.Refund:
		key += ":" + e.TransactionID.String()
		found = a.refunded[e.TransactionID]
	case linepay.PreapprovedPay:
		key = string(e.Operation) + ":" + t.OrderID
		for _, each := range a.byKey[key] {
			if each.Data.TransactionID == t.TransactionID {
				found = each
			}
		}
	default:
		if events := a.byKey[key]; len(events) > 0 {
			found = events[0]
		}
	}
	if found == nil && !ours {
		return
	}
	if found != nil && !ours && e.Operation == linepay.Refund {
		a.fault("somebody else's", "%s of %s was told as its own by %s", key, e.Amount, found.Data.OperationKey)
	}
	if found == nil {
		a.fault("effect without event", "%s of %s", key, e.Amount)
		return
	}
	if told[found] {
		a.fault("second effect", "%s", key)
	}
	told[found] = true
	amount := found.Data.Amount
	if e.Operation == linepay.Refund {
		amount = found.Data.RefundAmount
	}
	if e.Operation != linepay.Void && !amount.Equal(e.Amount) && !ours {
		a.fault("amount of an older confirm", "%s: %s was moved, the event says %s", key, e.Amount, amount)
	} else if e.Operation != linepay.Void && !amount.Equal(e.Amount) {
		a.fault("wrong amount", "%s: %s was moved, the event says %s", key, e.Amount, amount)
	}
	switch want := nameOf(t, e); {
	case found.Name() == want:
	case ours:
		a.fault("wrong event", "%s: %s instead of %s", key, found.Name(), want)
	default:
		a.fault("event of an older confirm", "%s: %s instead of %s", key, found.Name(), want)
	}
}

// refunds are never more than were ordered, whatever became of the events.
func (a *modelAccount) refunds(t simulator.Transaction) {
	ordered, full, made := map[string]map[string]bool{}, 0, map[string]int{}
	for _, c := range a.w.plan.commands {
		amount := strconv.Itoa(c.amount)
		switch {
		case c.op != linepay.Refund || c.payment.id != t.TransactionID:
		case c.amount == 0:
			full = 1
		case ordered[amount] == nil:
			ordered[amount] = map[string]bool{c.name: true}
		default:
			ordered[amount][c.name] = true
		}
	}
	for _, e := range t.Effects {
		if e.Operation == linepay.Refund && !a.w.byHand[e.TransactionID] {
			made[e.Amount.String()]++
		}
	}
	for amount, n := range made {
		if n -= len(ordered[amount]); n > 0 {
			if full -= n; full < 0 {
				a.fault("second effect", "%d refunds of %s of %s", made[amount], amount, t.TransactionID)
			}
		}
	}
}

// nameOf is the event that tells of an effect.
func nameOf(t simulator.Transaction, e simulator.Effect) string {
	switch {
	case e.Operation == linepay.Refund:
		return schemas.EventRefunded
	case e.Operation == linepay.Void:
		return schemas.EventVoided
	case e.Operation == linepay.Confirm && (t.State == simulator.Authorized || t.State == simulator.Voided ||
		slices.ContainsFunc(t.Effects, func(o simulator.Effect) bool { return o.Operation == linepay.Capture })):
		return schemas.EventAuthorized
	default:
		return schemas.EventCaptured
	}
}

// commands: each has one answer, and the answer fits.
func (a *modelAccount) commands() {
	done := map[string]bool{}
	for _, c := range a.w.plan.commands {
		if done[c.id] {
			continue
		}
		done[c.id] = true
		if c.broken == "unreadable" {
			if !slices.ContainsFunc(a.w.nats.letters, func(l *modelLetter) bool { return strings.Contains(string(l.body), `"`+c.id+`"`) }) {
				a.fault("unaccounted", "unreadable %s", c.id)
			}
			continue
		}
		var final []*schemas.Event
		for _, e := range a.answers[c.id] {
			if e.Name() != schemas.EventParked {
				final = append(final, e)
			}
		}
		switch {
		case len(a.answers[c.id]) == 0:
			a.fault("unaccounted", "%s", c.id)
		case len(final) == 0:
			last := a.answers[c.id][len(a.answers[c.id])-1]
			if c.broken == "invalid" {
				a.fault("invalid parked", "%s: %s", c.id, last.Data.Reason)
				continue
			}
			a.fault("parked for good", "%s: %s", c.id, last.Data.Reason)
		case len(final) > 1 && c.op.Reads():
			a.fault("two readings", "%s: %s and %s", c.id, final[0].Name(), final[1].Name())
		case len(final) > 1 && c.broken == "invalid":
			a.fault("invalid parked", "%s: %s and %s", c.id, final[0].Name(), final[1].Name())
		case len(final) > 1 && final[0].Data.Reason == schemas.ReasonConflict:
			a.fault("conflict forgotten", "%s: %s and %s", c.id, final[0].Name(), final[1].Name())
		case len(final) > 1 && c.op == linepay.PreapprovedExpire:
			a.fault("expired key told twice", "%s: %s and %s", c.id, final[0].Name(), final[1].Name())
		case len(final) == 2 && a.replayed(c) && final[0].Name() == schemas.EventFailed:
			a.fits(c, final[1]) // while it was parked another command's delivery found that it had failed; a replay opens that again
		case len(final) > 1:
			a.fault("two answers", "%s: %s and %s", c.id, final[0].Name(), final[1].Name())
		default:
			a.fits(c, final[0])
		}
	}
}

// replayed says that a dead letter of a command was published again.
func (a *modelAccount) replayed(c *modelCommand) bool {
	return slices.ContainsFunc(a.w.nats.letters, func(l *modelLetter) bool {
		of := a.w.sent[l.letter.Sequence]
		return l.replays > 0 && of != nil && of.id == c.id
	})
}

func (a *modelAccount) fits(c *modelCommand, e *schemas.Event) {
	switch e.Name() {
	case schemas.EventDuplicate:
		if !slices.ContainsFunc(a.w.nats.events, func(s *modelStored) bool {
			return s.event.ID == e.Data.Of.EventID && s.event.Data.OperationKey == c.key()
		}) {
			a.fault("duplicate of nothing", "%s", c.id)
		}
	case schemas.EventRejected:
		other := slices.ContainsFunc(a.w.plan.commands, func(o *modelCommand) bool {
			return o.key() == c.key() && (o.amount != c.amount || o.payment != c.payment)
		})
		if !(e.Data.Reason == schemas.ReasonConflict && other || e.Data.Reason == schemas.ReasonInvalid && c.broken != "" ||
			e.Data.Reason == schemas.ReasonExpired && c.expires > 0) {
			a.fault("rejected without reason", "%s as %s", c.id, e.Data.Reason)
		}
	case schemas.EventFailed:
		if !a.w.plan.honest || c.broken != "" {
			return
		}
		sold := c.op == linepay.Confirm && c.payment.approved && !c.payment.confirmed && c.amount == c.payment.amount
		paid := c.op == linepay.PreapprovedPay && !slices.ContainsFunc(a.w.plan.commands, func(o *modelCommand) bool { return o.op == linepay.PreapprovedExpire })
		if (sold || paid) && e.Data.ReturnCode == "1197" {
			a.fault("busy key", "%s failed with %s: %s", c.id, e.Data.ReturnCode, e.Data.Reason)
		} else if sold || paid {
			a.fault("lost sale", "%s failed with %s: %s", c.id, e.Data.ReturnCode, e.Data.Reason)
		}
	}
}

// shortTime for stories.
func shortTime(d time.Duration) string { return d.Round(time.Millisecond).String() }
