package main

import (
	"strings"
	"testing"
	"time"

	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
	"linepay-worker/schemas"
)

// account is a run in which everything agrees: a payment of 1000 TWD with a refund of 100, a hold that is released, an issued key, a
// duplicate, and a message that cannot be read.
func account() *remains {
	left := &remains{}
	const tea, car, refunded = 2026010112345678910, 2026010112345679010, 2026010112345679111
	at := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	amount := linepay.MustAmount
	effect := func(op linepay.Operation, sum string, id linepay.TransactionID) simulator.Effect {
		return simulator.Effect{Operation: op, Amount: amount(sum), At: at, TransactionID: id}
	}
	left.transactions = []simulator.Transaction{
		{
			TransactionID: tea, OrderID: "tea", State: simulator.Captured, Currency: "TWD", Captured: amount("1000"), Refunded: amount("100"),
			Effects: []simulator.Effect{effect(linepay.Confirm, "1000", tea), effect(linepay.Refund, "100", refunded)},
		},
		{
			TransactionID: car, OrderID: "car", State: simulator.Voided, Currency: "TWD",
			Effects: []simulator.Effect{effect(linepay.Confirm, "3000", car), effect(linepay.Void, "3000", car)},
		},
	}
	add := func(op linepay.Operation, order, id string, events map[string]schemas.EventData) {
		m := &sent{command: schemas.CommandRef{Source: "/test", ID: id}, operation: op, orderID: order, sequences: []uint64{uint64(len(left.sent) + 1)}}
		left.sent = append(left.sent, m)
		for name, d := range events {
			d.Channel, d.Operation, d.Command, d.OrderID = channelName, op, m.command, order
			left.events = append(left.events, schemas.NewEvent(name, at, d))
		}
	}
	add(linepay.Confirm, "tea", "confirm-tea", map[string]schemas.EventData{
		schemas.EventCaptured:    {TransactionID: tea, Amount: amount("1000.00"), Currency: "TWD"},
		schemas.EventPreapproval: {TransactionID: tea, RegKey: "RK1"},
	})
	refund := schemas.EventData{TransactionID: tea, RefundTransactionID: refunded, RefundAmount: amount("100"), Currency: "TWD"}
	add(linepay.Refund, "tea", "refund-tea", map[string]schemas.EventData{schemas.EventRefunded: refund})
	add(linepay.Refund, "tea", "refund-tea-2", map[string]schemas.EventData{schemas.EventDuplicate: {TransactionID: tea}})
	add(linepay.Confirm, "car", "confirm-car", map[string]schemas.EventData{
		schemas.EventAuthorized: {TransactionID: car, Amount: amount("3000"), Currency: "TWD"},
	})
	add(linepay.Void, "car", "void-car", map[string]schemas.EventData{schemas.EventVoided: {TransactionID: car}})
	left.sent = append(left.sent, &sent{operation: linepay.Refund, sequences: []uint64{99}})
	left.letters = []letter{{DeadLetter: schemas.DeadLetter{Reason: schemas.ReasonInvalid, Sequence: 99}}}
	return left
}

func (r *remains) event(t *testing.T, command, name string) *schemas.Event {
	t.Helper()
	for _, e := range r.events {
		if e.Data.Command.ID == command && e.Name() == name {
			return e
		}
	}
	t.Fatalf("no %s of %s", name, command)
	return nil
}

func (r *remains) drop(e *schemas.Event) {
	for i := range r.events {
		if r.events[i] == e {
			r.events = append(r.events[:i:i], r.events[i+1:]...)
			return
		}
	}
}

func TestAnAccountInOrderAgrees(t *testing.T) {
	t.Parallel()
	v := compare(*account())
	if len(v.disagreements) > 0 {
		t.Errorf("disagreements: %q", v.disagreements)
	}
	if len(v.pairs) != 4 || v.commands != 5 || v.unreadable != 1 {
		t.Errorf("%d effects, %d commands, %d unreadable; want 4, 5 and 1", len(v.pairs), v.commands, v.unreadable)
	}
}

// tamperings are accounts in which one thing is wrong, and what the verdict has to say.
var tamperings = map[string]struct {
	tamper func(*testing.T, *remains)
	want   string
}{
	"a money event is missing": {
		func(t *testing.T, r *remains) { r.drop(r.event(t, "refund-tea", "refunded")) },
		"LINE Pay carried out refund of 100 TWD for order tea (transaction 2026010112345679111), and no money event",
	},
	"a money event is there twice": {
		func(t *testing.T, r *remains) { r.events = append(r.events, r.event(t, "refund-tea", "refunded")) },
		"event refunded of refund for order tea",
	},
	"an effect is missing": {
		func(_ *testing.T, r *remains) { r.transactions[0].Effects = r.transactions[0].Effects[:1] },
		"event refunded of refund for order tea",
	},
	"an effect is there twice": {
		func(_ *testing.T, r *remains) {
			r.transactions[0].Effects = append(r.transactions[0].Effects, r.transactions[0].Effects[0])
		},
		"LINE Pay carried out confirm of 1000 TWD for order tea (transaction 2026010112345678910), and no money event of its own",
	},
	"a whole transaction is missing": {
		func(_ *testing.T, r *remains) { r.transactions = r.transactions[1:] },
		"event captured of confirm for order tea",
	},
	"LINE Pay took more": {
		func(_ *testing.T, r *remains) { r.transactions[0].Effects[0].Amount = linepay.MustAmount("1001") },
		"the amount is 1001 at LINE Pay, and 1000 in the event",
	},
	"the event gives back less": {
		func(t *testing.T, r *remains) {
			r.event(t, "refund-tea", "refunded").Data.RefundAmount = linepay.MustAmount("99")
		},
		"the amount is 100 at LINE Pay, and 99 in the event",
	},
	"the refund has another id": {
		func(t *testing.T, r *remains) { r.event(t, "refund-tea", "refunded").Data.RefundTransactionID++ },
		"and no money event of its own says so",
	},
	"the refund is of another payment": {
		func(t *testing.T, r *remains) { r.event(t, "refund-tea", "refunded").Data.TransactionID++ },
		"the payment's transaction is 2026010112345678910 at LINE Pay, and 2026010112345678911 in the event",
	},
	"the currency differs": {
		func(t *testing.T, r *remains) { r.event(t, "confirm-tea", "captured").Data.Currency = "JPY" },
		"the currency is TWD at LINE Pay, and JPY in the event",
	},
	"the order differs": {
		func(t *testing.T, r *remains) { r.event(t, "void-car", "voided").Data.OrderID = "tea" },
		"the order is car at LINE Pay, and tea in the event",
	},
	"held money is said to be taken": {
		func(t *testing.T, r *remains) {
			r.event(t, "confirm-car", "authorized").Type = schemas.EventType(schemas.EventCaptured)
		},
		"what happened is authorized at LINE Pay, and captured in the event",
	},
	"a command has no answer": {
		func(t *testing.T, r *remains) { r.drop(r.event(t, "refund-tea-2", "duplicate")) },
		"command refund of order tea (id refund-tea-2) has 0 terminal events [], not 1",
	},
	"a command has two answers": {
		func(t *testing.T, r *remains) {
			r.events = append(r.events, schemas.NewEvent(schemas.EventFailed, time.Now(), r.event(t, "void-car", "voided").Data))
		},
		"command void of order car (id void-car) has 2 terminal events [voided failed], not 1",
	},
	"an event answers nobody": {
		func(_ *testing.T, r *remains) { r.sent = r.sent[1:] },
		`answers command "confirm-tea", which nobody sent`,
	},
	"the unreadable message is lost": {
		func(_ *testing.T, r *remains) { r.letters = nil },
		"the refund that cannot be read is 0 dead letters, not 1",
	},
	"the unreadable message is parked twice": {
		func(_ *testing.T, r *remains) { r.letters = append(r.letters, r.letters[0]) },
		"the refund that cannot be read is 2 dead letters, not 1",
	},
	"a command is answered and parked": {
		func(_ *testing.T, r *remains) {
			r.letters = append(r.letters, letter{DeadLetter: schemas.DeadLetter{Sequence: 2}})
		},
		"command refund of order tea (id refund-tea) is answered by refunded and has 1 dead letters",
	},
}

func TestEveryTamperedAccountDisagrees(t *testing.T) {
	t.Parallel()
	for name, row := range tamperings {
		left := account()
		row.tamper(t, left)
		v := compare(*left)
		if !strings.Contains(strings.Join(v.disagreements, "\n"), row.want) {
			t.Errorf("%s: disagreements %q, want %q", name, v.disagreements, row.want)
		}
		out := newScreen()
		v.print(newPrinter(out), time.Second)
		if text := out.String(); !strings.Contains(text, "ledger disagree.") || strings.Contains(text, "✓") {
			t.Errorf("%s: the verdict does not say that they disagree:\n%s", name, text)
		}
	}
}

func TestCaptureMakesItsConfirmAHold(t *testing.T) {
	t.Parallel()
	confirm, capture := simulator.Effect{Operation: linepay.Confirm}, simulator.Effect{Operation: linepay.Capture}
	for _, row := range []struct {
		transaction simulator.Transaction
		want        string
	}{
		{simulator.Transaction{State: simulator.Captured, Effects: []simulator.Effect{confirm}}, schemas.EventCaptured},
		{simulator.Transaction{State: simulator.Refunded, Effects: []simulator.Effect{confirm}}, schemas.EventCaptured},
		{simulator.Transaction{State: simulator.Captured, Effects: []simulator.Effect{confirm, capture}}, schemas.EventAuthorized},
		{simulator.Transaction{State: simulator.Authorized, Effects: []simulator.Effect{confirm}}, schemas.EventAuthorized},
		{simulator.Transaction{State: simulator.AuthorizationExpired, Effects: []simulator.Effect{confirm}}, schemas.EventAuthorized},
	} {
		if got := eventOf(linepay.Confirm, row.transaction); got != row.want {
			t.Errorf("%s with %d effects: the confirm is %s, want %s", row.transaction.State, len(row.transaction.Effects), got, row.want)
		}
	}
}
