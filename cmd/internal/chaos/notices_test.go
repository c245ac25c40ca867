package chaos

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
	"linepay-worker/schemas"
)

const (
	aPayment = linepay.TransactionID(2026110100000000001)
	aRefund  = linepay.TransactionID(2026110100000000002)
	another  = linepay.TransactionID(2026110100000000003)
)

// scene is a confirm and a refund that went well.
type scene struct{ remains }

func newScene() *scene {
	s := &scene{}
	s.byHand = func(refund linepay.TransactionID) bool { return false }
	s.order(1, linepay.Confirm, "confirm:"+aPayment.String(), map[string]any{"amount": "1000"})
	s.order(2, linepay.Refund, refundKey(aPayment, "R-1"), refundData(aPayment, "O-1", "10", "R-1"))
	s.tell(1, schemas.EventCaptured, func(d *schemas.EventData) { d.Amount = linepay.MustAmount("1000") })
	s.tell(2, schemas.EventRefunded, func(d *schemas.EventData) {
		d.RefundTransactionID, d.RefundAmount = aRefund, linepay.MustAmount("10")
	})
	s.ledger.Transactions = []simulator.Transaction{{
		TransactionID: aPayment, OrderID: "O-1", Currency: "TWD", State: simulator.Captured, Effects: []simulator.Effect{
			{Operation: linepay.Confirm, Amount: linepay.MustAmount("1000"), TransactionID: aPayment},
			{Operation: linepay.Refund, Amount: linepay.MustAmount("10"), TransactionID: aRefund},
		},
	}}
	return s
}

func (s *scene) order(n int, op linepay.Operation, key string, data map[string]any) *order {
	o := &order{
		ref: schemas.CommandRef{Source: "/chaos", ID: fmt.Sprintf("c-%d", n)}, op: op, key: key, data: data, sequences: []uint64{uint64(n)},
	}
	s.orders = append(s.orders, o)
	return o
}

// tell adds an event that answers the n-th command.
func (s *scene) tell(n int, name string, fill func(*schemas.EventData)) {
	o := s.orders[n-1]
	d := schemas.EventData{
		Channel: channel, Operation: o.op, Command: o.ref, OperationKey: o.key, OrderID: "O-1", TransactionID: aPayment, Currency: "TWD",
	}
	if fill != nil {
		fill(&d)
	}
	e := schemas.NewEvent(name, time.Unix(1, 0), d)
	s.events = append(s.events, told{e, uint64(len(s.events) + 1), time.Unix(2, 0), e.ID})
}

func (s *scene) effect(e simulator.Effect) {
	s.ledger.Transactions[0].Effects = append(s.ledger.Transactions[0].Effects, e)
}

func (s *scene) again(op linepay.Operation, key, amount string) *order {
	return s.order(len(s.orders)+1, op, key, map[string]any{"refundAmount": amount})
}

func TestAuditFindsNothingWhereNothingIsWrong(t *testing.T) {
	t.Parallel()
	v := audit(newScene().remains)
	if len(v.doubles)+len(v.unanswered)+len(v.untold)+len(v.wrong) > 0 || v.effects != 2 || v.money != 2 {
		t.Errorf("%+v, want two effects with an event each, and nothing else", v)
	}
}

var secondRefund = simulator.Effect{Operation: linepay.Refund, Amount: linepay.MustAmount("10"), TransactionID: another}

// spoiled are scenes in which something is as it must not be, and what the audit says to that.
var spoiled = map[string]struct {
	spoil func(*scene)
	find  func(verdict) []string
	want  string
}{
	"a refund that ran twice": {
		func(s *scene) { s.effect(secondRefund) },
		func(v verdict) []string { return v.doubles }, "every refund of that amount",
	},
	"a confirm that ran twice": {
		func(s *scene) {
			s.effect(simulator.Effect{Operation: linepay.Confirm, Amount: linepay.MustAmount("1000"), TransactionID: aPayment})
		},
		func(v verdict) []string { return v.doubles }, "carried out 2 times",
	},
	"an order paid twice with a key": {
		func(s *scene) {
			s.effect(simulator.Effect{Operation: linepay.PreapprovedPay, TransactionID: aPayment})
			t := s.ledger.Transactions[0]
			t.TransactionID, t.Effects = another, []simulator.Effect{{Operation: linepay.PreapprovedPay, TransactionID: another}}
			s.ledger.Transactions = append(s.ledger.Transactions, t)
		},
		func(v verdict) []string { return v.doubles }, "paid 2 times",
	},
	"two money events of one operation": {
		func(s *scene) { s.again(linepay.Refund, s.orders[1].key, "10"); s.tell(3, schemas.EventRefunded, nil) },
		func(v verdict) []string { return v.doubles }, "has 2 money events",
	},
	"a refund that no event tells": {
		func(s *scene) { s.again(linepay.Refund, refundKey(aPayment, "R-2"), "10"); s.effect(secondRefund) },
		func(v verdict) []string { return v.untold }, "has no event",
	},
	"a confirm that no event tells": {
		func(s *scene) { s.events = s.events[1:] },
		func(v verdict) []string { return v.untold }, "confirm of 1000",
	},
	"a command without an answer": {
		func(s *scene) { s.again(linepay.Refund, refundKey(aPayment, "R-2"), "5") },
		func(v verdict) []string { return v.unanswered }, "has no answer",
	},
	"an unreadable command that is no dead letter": {
		func(s *scene) { s.again(linepay.Refund, "", "5").kind = unreadable },
		func(v verdict) []string { return v.unanswered }, "is no dead letter",
	},
	"a command with two answers": {
		func(s *scene) { s.tell(2, schemas.EventRejected, nil) },
		func(v verdict) []string { return v.wrong }, "has 2 answers",
	},
	"an event of something that never happened": {
		func(s *scene) { s.ledger.Transactions[0].Effects = s.ledger.Transactions[0].Effects[:1] },
		func(v verdict) []string { return v.wrong }, "LINE Pay has carried out nothing",
	},
	"an event with another amount": {
		func(s *scene) { s.events[1].event.Data.RefundAmount = linepay.MustAmount("11") },
		func(v verdict) []string { return v.wrong }, "the amount is 10 at LINE Pay, and 11",
	},
	"an event that names a refund made by hand": {
		func(s *scene) { s.byHand = func(refund linepay.TransactionID) bool { return refund == aRefund } },
		func(v verdict) []string { return v.wrong }, "by hand: true",
	},
	"one event twice": {
		func(s *scene) { s.events = append(s.events, s.events[0]) },
		func(v verdict) []string { return v.wrong }, "in the stream twice",
	},
	"a duplicate of nothing": {
		func(s *scene) {
			s.again(linepay.Refund, s.orders[1].key, "10")
			s.tell(3, schemas.EventDuplicate, func(d *schemas.EventData) { d.Of = &schemas.DuplicateOf{Command: s.orders[1].ref, EventID: "none"} })
		},
		func(v verdict) []string { return v.wrong }, "which is not in the stream",
	},
	"a conflict with nobody": {
		func(s *scene) {
			s.again(linepay.Refund, s.orders[1].key, "10")
			s.tell(3, schemas.EventRejected, func(d *schemas.EventData) { d.Reason = schemas.ReasonConflict })
		},
		func(v verdict) []string { return v.wrong }, "is rejected as conflict",
	},
	"a failure that LINE Pay never answered": {
		func(s *scene) {
			s.again(linepay.Refund, refundKey(aPayment, "R-2"), "5")
			s.tell(3, schemas.EventFailed, func(d *schemas.EventData) { d.ReturnCode = "1164" })
		},
		func(v verdict) []string { return v.wrong }, "which LINE Pay never answered",
	},
	"a command that is parked without need": {
		func(s *scene) {
			s.again(linepay.Refund, refundKey(aPayment, "R-2"), "5")
			s.tell(3, schemas.EventParked, func(d *schemas.EventData) { d.Reason = schemas.ReasonUnresolved })
			s.letters = []letter{{DeadLetter: schemas.DeadLetter{Sequence: 3, Reason: schemas.ReasonUnresolved}}}
		},
		func(v verdict) []string { return v.wrong }, "has 0 refunds that it can be",
	},
	"a parked command without a dead letter": {
		func(s *scene) {
			s.again(linepay.Refund, refundKey(aPayment, "R-2"), "5")
			s.tell(3, schemas.EventParked, nil)
		},
		func(v verdict) []string { return v.wrong }, "has 0 dead letters",
	},
}

func TestAuditNoticesWhatMustNotBe(t *testing.T) {
	t.Parallel()
	for name, row := range spoiled {
		s := newScene()
		row.spoil(s)
		if found := strings.Join(row.find(audit(s.remains)), "\n"); !strings.Contains(found, row.want) {
			t.Errorf("%s: the audit says %q, want %q", name, found, row.want)
		}
	}
}

func TestGatesThatNobodyOpensAreNoticed(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	for record, want := range map[string]struct{ held, doubt int }{
		`{"st":"done"}`: {},
		`{"st":"parked","doubt":true,"retry":900000}`:       {},
		`{"st":"open","doubt":false,"retry":900000}`:        {},
		`{"st":"open","doubt":true,"retry":900000}`:         {doubt: 1},
		`{"st":"open","doubt":true}`:                        {held: 1},
		`{"st":"open","doubt":false,"retry":2000000}`:       {held: 1},
		`{"st":"claimed","lease":900000,"own":{"id":"c1"}}`: {held: 1},
	} {
		var count gateCount
		held, err := count.holders(map[string]string{"gate": "refund:1:R", "op:refund:1:R": record}, now)
		if err != nil || len(held) != want.held || len(count.inDoubt) != want.doubt {
			t.Errorf("%s: held %v, in doubt %v, error %v; want %+v", record, held, count.inDoubt, err, want)
		}
	}
}
