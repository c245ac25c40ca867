package chaos

import (
	"slices"

	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// answers looks at each command's.
func (a *auditor) answers() {
	answers := map[schemas.CommandRef][]told{}
	for _, e := range a.remains.events {
		if terminal(e.event) {
			answers[e.event.Data.Command] = append(answers[e.event.Data.Command], e)
		}
	}
	letters := map[uint64][]letter{}
	for _, l := range a.letters {
		letters[l.Sequence] = append(letters[l.Sequence], l)
	}
	given := a.given()
	for _, o := range a.orders {
		if len(o.sequences) == 0 {
			a.wrong("command %s was never taken by JetStream", o.ref.ID)
			continue
		}
		var parked []letter
		for _, sequence := range o.sequences {
			parked = append(parked, letters[sequence]...)
		}
		if o.kind == unreadable {
			a.unreadable(o, letters)
			continue
		}
		list := answers[o.ref]
		if len(list) == 0 {
			a.unanswered("command %s (%s, %s, sequences %v) has no answer and %d dead letters", o.ref.ID, o.op, o.key, o.sequences, len(parked))
			continue
		}
		if len(list) > 1 && !o.op.Reads() { // what is asked twice may be answered twice: it may have changed meanwhile
			a.wrong("command %s (%s) has %d answers: %s", o.ref.ID, o.key, len(list), describe(list))
		}
		a.v.slowest = max(a.v.slowest, list[0].stored.Sub(o.at))
		for _, e := range list {
			a.answer(o, e, parked, given)
		}
	}
}

// unreadable: a command that cannot be named is one dead letter for each time that the stream has it.
func (a *auditor) unreadable(o *order, letters map[uint64][]letter) {
	for _, sequence := range o.sequences {
		switch list := letters[sequence]; {
		case len(list) == 0:
			a.unanswered("command %s cannot be read, and is no dead letter (sequence %d)", o.ref.ID, sequence)
		case len(list) > 1:
			a.wrong("command %s is %d dead letters (sequence %d)", o.ref.ID, len(list), sequence)
		case list[0].Reason != schemas.ReasonInvalid || list[0].Body != string(o.body):
			a.wrong("the dead letter of command %s says %q, or its body is another one", o.ref.ID, list[0].Reason)
		}
	}
}

// answer says whether a command may have this answer.
func (a *auditor) answer(o *order, e told, parked []letter, given map[refusal]bool) {
	name, reason := e.event.Name(), e.event.Data.Reason
	if (name == schemas.EventParked) != (len(parked) > 0) {
		a.wrong("command %s (%s) is answered by %s, and has %d dead letters", o.ref.ID, o.key, name, len(parked))
	}
	switch name {
	case schemas.EventParked:
		a.v.parked++
		a.parked(o, e, parked)
	case schemas.EventDuplicate:
		a.v.duplicates++
		if of := a.byRef[e.event.Data.Of.Command]; of == nil || of.key != o.key || of == o {
			a.wrong("command %s (%s) is told to be a duplicate of command %s", o.ref.ID, o.key, e.event.Data.Of.Command.ID)
		}
	case schemas.EventRejected:
		a.v.rejected++
		allowed := map[string]bool{
			schemas.ReasonInvalid: o.kind == invalid, schemas.ReasonExpired: o.kind == expired || o.kind == hurried,
			schemas.ReasonConflict: slices.ContainsFunc(a.keys[o.key], func(other *order) bool { return !o.saysTheSame(other) }),
		}
		if !allowed[reason] {
			a.wrong("command %s (%s, %s) is rejected as %s", o.ref.ID, o.key, o.kind, reason)
		}
	case schemas.EventFailed:
		a.v.failed++
		if !a.explained(o, e.event, given) {
			a.wrong("command %s (%s) failed with %s, which LINE Pay never answered: %s", o.ref.ID, o.key, e.event.Data.ReturnCode, reason)
		}
	}
	if (o.kind == invalid || o.kind == expired) && name != schemas.EventRejected {
		a.wrong("command %s (%s, %s) is answered by %s", o.ref.ID, o.key, o.kind, name)
	}
}

// saysTheSame compares what two commands for one operation ask for.
func (o *order) saysTheSame(other *order) bool {
	return o.data["amount"] == other.data["amount"] && o.data["refundAmount"] == other.data["refundAmount"]
}

// parked: only what the ledger leaves open may be left to a person. That is a refund of which the ledger has two that no event of another
// refund tells.
func (a *auditor) parked(o *order, e told, letters []letter) {
	candidates, least := 0, 2
	if a.forgotten {
		least = 1
	}
	for _, t := range a.ledger.Transactions {
		if t.TransactionID != e.event.Data.TransactionID || o.op != linepay.Refund {
			continue
		}
		for _, effect := range t.Effects {
			if effect.Operation == linepay.Refund && o.asksFor(effect.Amount) && !a.ownedByOther(o, effect.TransactionID) {
				candidates++
			}
		}
	}
	if candidates >= least && e.event.Data.Reason == schemas.ReasonUnresolved {
		return
	}
	detail := ""
	if len(letters) > 0 {
		detail = letters[0].Reason + ": " + letters[0].Detail
	}
	a.wrong("command %s (%s) is parked, and LINE Pay's ledger has %d refunds that it can be: %s", o.ref.ID, o.key, candidates, detail)
}

func (a *auditor) ownedByOther(o *order, refund linepay.TransactionID) bool {
	return slices.ContainsFunc(a.remains.events, func(e told) bool {
		return e.event.Data.RefundTransactionID == refund && a.keyOf(e.event) != o.key
	})
}

// refusal is an answer of LINE Pay other than success.
type refusal struct {
	op   linepay.Operation
	id   linepay.TransactionID
	code string
}

// given are the codes that LINE Pay answered, by payment. For a request and a payment with a key, by order: they have no other name yet.
func (a *auditor) given() map[refusal]bool {
	given := map[refusal]bool{}
	for _, c := range a.ledger.Calls {
		given[refusal{c.Operation, c.TransactionID, c.ReturnCode}] = true
	}
	return given
}

// explained says whether LINE Pay gave the answer that a command failed with, to the call or to a look-up.
func (a *auditor) explained(o *order, e *schemas.Event, given map[refusal]bool) bool {
	id, code := e.Data.TransactionID, e.Data.ReturnCode
	switch o.op {
	case linepay.Request, linepay.PreapprovedPay, linepay.PreapprovedExpire, linepay.PreapprovedCheck:
		return code != "" // calls that name no payment cannot be told apart in the ledger
	}
	for _, op := range []linepay.Operation{o.op, linepay.Check, linepay.Details} {
		if given[refusal{op, id, code}] {
			return true
		}
	}
	return code == "1169" && given[refusal{linepay.Check, id, "0000"}] // what check's 0000 means for a confirm
}
