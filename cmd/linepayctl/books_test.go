package main

import (
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"linepay-worker/idempotency"
	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

const (
	payment linepay.TransactionID = 2026110112345678910
	refund1 linepay.TransactionID = 2026110112345678911
	refund2 linepay.TransactionID = 2026110112345678912
)

// asked is when LINE Pay was asked in these tests; what they tell happened an hour before.
var asked = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// newBooks are the books of an order about which LINE Pay was asked after all else was quiet.
func newBooks() *books {
	return &books{channel: "tw", order: "ORDER-1", looked: true, walked: true, asked: asked}
}

// tell adds an event, settled an hour before LINE Pay was asked.
func (b *books) tell(name string, op linepay.Operation, key, amount string, change ...func(*schemas.EventData)) *schemas.Event {
	d := schemas.EventData{
		Channel: b.channel, Operation: op, Command: schemas.CommandRef{Source: "/shop", ID: key}, OrderID: b.order, TransactionID: payment,
		Amount: linepay.MustAmount(amount), Currency: "TWD", OperationKey: key,
	}
	if name == schemas.EventRefunded {
		d.Amount, d.RefundAmount = linepay.Amount{}, d.Amount
	}
	for _, c := range change {
		c(&d)
	}
	e := schemas.NewEvent(name, asked.Add(-time.Hour), d)
	b.events = append(b.events, stored{sequence: uint64(len(b.events) + 1), at: e.Time, event: e})
	return e
}

func ofRefund(id linepay.TransactionID) func(*schemas.EventData) {
	return func(d *schemas.EventData) { d.RefundTransactionID = id }
}

// show adds what LINE Pay shows of the payment.
func (b *books) show(status linepay.PayStatus, amount string, refunds ...linepay.RefundEntry) {
	b.payments = append(b.payments, linepay.Payment{
		TransactionID: payment, TransactionDate: "2026-11-01T11:00:00Z", TransactionType: "PAYMENT", PayStatus: status, Currency: "TWD",
		OrderID: b.order, PayInfo: []linepay.PayInfo{{Method: "BALANCE", Amount: linepay.MustAmount(amount)}}, RefundList: refunds,
	})
}

func entryOf(id linepay.TransactionID, amount string) linepay.RefundEntry {
	return linepay.RefundEntry{
		RefundTransactionID: id, TransactionType: "PARTIAL_REFUND", RefundAmount: linepay.MustAmount(amount).Neg(),
		RefundTransactionDate: "2026-11-01T11:30:00Z",
	}
}

// keep adds what the guard has of the payment.
func (b *books) keep(records ...idempotency.Record) {
	b.records = append(b.records, inspected{payment, &idempotency.Inspection{Now: asked, Records: records}})
}

// wait adds a command that waits.
func (b *books) wait(op linepay.Operation, data schemas.Data) {
	p := &placed{command: &schemas.Command{Source: "/shop", ID: "w", Channel: b.channel, Operation: op, Data: data}, valid: true}
	b.waiting = append(b.waiting, p.named())
}

func refundOf(amount, id string) *schemas.RefundData {
	sum := linepay.MustAmount(amount)
	return &schemas.RefundData{TransactionID: payment, OrderID: "ORDER-1", RefundAmount: &sum, RefundID: id}
}

// kinds are the findings in short: those under way in brackets.
func kinds(findings []finding) []string {
	list := []string{}
	for _, f := range findings {
		if f.UnderWay {
			f.Kind = "(" + f.Kind + ")"
		}
		list = append(list, f.Kind)
	}
	return list
}

// outcomeOf is an outcome as workers put it on record.
func outcomeOf(t *testing.T, events ...*schemas.Event) []byte {
	t.Helper()
	var bodies []jsontext.Value
	for _, e := range events {
		body, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, body)
	}
	text, err := json.Marshal(map[string]any{"events": bodies})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

const confirmKey = "confirm:2026110112345678910"

func captured1000(b *books) {
	b.tell(schemas.EventCaptured, linepay.Confirm, confirmKey, "1000")
}

func held1000(b *books) {
	b.tell(schemas.EventAuthorized, linepay.Confirm, confirmKey, "1000")
}
