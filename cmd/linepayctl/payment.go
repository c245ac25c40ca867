package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// account is what the events tell of one transaction: the first of each kind, for there should be no second.
type account struct {
	held, taken, voided *schemas.Event
	refunds             []*schemas.Event
	newest              time.Time // when the last of them was settled
}

func (c *comparison) account(id linepay.TransactionID) (a account) {
	for _, s := range c.moneyEvents() {
		if s.event.Data.TransactionID != id {
			continue
		}
		at := s.event.Time
		if at.IsZero() {
			at = s.at
		}
		if at.After(a.newest) {
			a.newest = at
		}
		switch s.event.Name() {
		case schemas.EventAuthorized:
			a.held = cmp.Or(a.held, s.event)
		case schemas.EventCaptured:
			a.taken = cmp.Or(a.taken, s.event)
		case schemas.EventVoided:
			a.voided = cmp.Or(a.voided, s.event)
		case schemas.EventRefunded:
			a.refunds = append(a.refunds, s.event)
		}
	}
	return a
}

// String is what the events tell of the payment itself.
func (a account) String() string {
	var list []string
	for _, e := range []*schemas.Event{a.held, a.taken, a.voided} {
		if e != nil {
			list = append(list, tells(e))
		}
	}
	return strings.Join(list, ", ")
}

// transaction holds what events tell of a payment against what LINE Pay shows of it.
func (c *comparison) transaction(id linepay.TransactionID) {
	told, p := c.account(id), c.payment(id)
	young := told.newest.After(c.asked.Add(-settling))
	switch {
	case p == nil && told.newest.IsZero():
		return // what was only requested is not shown
	case p == nil:
		c.add(finding{
			Kind: eventWithoutEffect, Transaction: id, Events: told.String(), LINEPay: "no such payment", UnderWay: young,
			Detail: "LINE Pay's details do not show the payment",
		})
		return
	case p.OrderID != "" && p.OrderID != c.order:
		c.add(finding{
			Kind: otherOrder, Transaction: id, Events: told.String(), LINEPay: shows(p), Detail: "at LINE Pay it belongs to order " + p.OrderID,
		})
	}
	c.status(p, told, young)
	c.refunds(p, told, young)
}

// what LINE Pay shows, as findings about a payment begin.
func about(p *linepay.Payment, told account, kind, detail string, underWay bool) finding {
	return finding{
		Kind: kind, Transaction: p.TransactionID, Events: told.String(), LINEPay: shows(p), Detail: detail, UnderWay: underWay,
	}
}

// status compares whether the money is held, taken or let go.
func (c *comparison) status(p *linepay.Payment, told account, young bool) {
	switch p.PayStatus {
	case linepay.StatusAuthorization, linepay.StatusExpired, linepay.StatusCapture, linepay.StatusVoided:
	default:
		c.add(about(p, told, otherStatus, fmt.Sprintf("payStatus is %q, which is not known here", p.PayStatus), false))
		return
	}
	captured, voided := p.PayStatus == linepay.StatusCapture, p.PayStatus == linepay.StatusVoided
	if captured && told.taken == nil {
		c.untold(p, told, "the money was taken, and no event says so", linepay.Confirm, linepay.Capture, linepay.PreapprovedPay)
	}
	if told.held == nil && told.lacksHold(captured) {
		c.untold(p, told, "the money was held, and no event says so", linepay.Confirm, linepay.PreapprovedPay)
	}
	if voided && told.voided == nil {
		c.untold(p, told, "the hold was released, and no event says so", linepay.Void)
	}
	if !captured && told.taken != nil {
		c.add(about(p, told, eventWithoutEffect, "an event says that the money was taken, and LINE Pay does not", young))
	}
	if !voided && told.voided != nil {
		c.add(about(p, told, eventWithoutEffect, "an event says that the hold was released, and LINE Pay does not", young))
	}
	c.amount(p, told, young)
}

// lacksHold: a payment that was not captured is held, or was; and a capture presupposes a hold, which has an event of its own.
func (a account) lacksHold(captured bool) bool {
	if a.taken == nil {
		return !captured
	}
	return a.taken.Data.Operation == linepay.Capture
}

// amount compares the sum that is held, or once captured that taken. Details without parts say nothing about it.
func (c *comparison) amount(p *linepay.Payment, told account, young bool) {
	event := told.held
	if p.PayStatus == linepay.StatusCapture {
		event = told.taken
	}
	if event == nil {
		return
	}
	said, paid := event.Data.Amount, paidOf(p)
	if len(p.PayInfo) == 0 {
		paid = said
	}
	if differ(said, event.Data.Currency, paid, p.Currency) {
		detail := fmt.Sprintf("the event says %s, LINE Pay %s", sumOf(said, event.Data.Currency), sumOf(paid, p.Currency))
		c.add(about(p, told, otherAmount, detail, young))
	}
}

// differ compares sums by value; a currency that one side does not name is no difference.
func differ(a linepay.Amount, in string, b linepay.Amount, of string) bool {
	return !a.Equal(b) || in != "" && of != "" && in != of
}

// untold: LINE Pay shows an effect that no event tells. One of before the oldest event that is kept may have been told. LINE Pay dates a payment
// by its begin: what followed a hold whose event is there has an event of later.
func (c *comparison) untold(p *linepay.Payment, told account, detail string, by ...linepay.Operation) {
	if told.held == nil && c.gone(p.TransactionDate) {
		return
	}
	c.add(about(p, told, effectWithoutEvent, detail, c.underWay(p.TransactionID, by...)))
}

// gone says that an event of that time may have been deleted. An unreadable date says no.
func (c *comparison) gone(date string) bool {
	at, err := time.Parse(time.RFC3339, date)
	return err == nil && at.Before(c.kept)
}

// refunds holds LINE Pay's list of refunds against the events, by the refunds' own transaction ids.
func (c *comparison) refunds(p *linepay.Payment, told account, young bool) {
	events := map[linepay.TransactionID]*schemas.Event{}
	for _, e := range told.refunds {
		events[e.Data.RefundTransactionID] = e
	}
	for _, r := range p.RefundList {
		e := events[r.RefundTransactionID]
		delete(events, r.RefundTransactionID)
		f := finding{Transaction: p.TransactionID}
		f.LINEPay = fmt.Sprintf("refund %s of %s, %s", r.RefundTransactionID, sumOf(givenBack(r), p.Currency), r.RefundTransactionDate)
		switch {
		case e == nil && c.gone(r.RefundTransactionDate):
			continue
		case e == nil:
			f.Kind, f.UnderWay = refundUnmatched, c.underWay(p.TransactionID, linepay.Refund)
			f.Detail = "no event tells this refund: made by hand?" + c.doubtful(p.TransactionID)
		case differ(e.Data.RefundAmount, e.Data.Currency, givenBack(r), p.Currency):
			f.Kind, f.OperationKey, f.Events = otherAmount, e.Data.OperationKey, tells(e)
			f.Detail = "refund " + r.RefundTransactionID.String() + " has another amount in its event"
		default:
			continue
		}
		c.add(f)
	}
	for _, e := range told.refunds { // in their order, not the map's
		if events[e.Data.RefundTransactionID] == e {
			c.add(finding{
				Kind: eventWithoutEffect, Transaction: p.TransactionID, OperationKey: e.Data.OperationKey, Events: tells(e), LINEPay: shows(p),
				Detail: "LINE Pay does not show refund " + e.Data.RefundTransactionID.String(), UnderWay: young,
			})
		}
	}
}

// doubtful names the refunds of a transaction that a refund without an event may turn out to be.
func (c *comparison) doubtful(id linepay.TransactionID) string {
	var keys []string
	for _, f := range c.findings {
		if f.Transaction == id && (f.Kind == inDoubt || f.Kind == parkedUnknown) && operationOf(f.OperationKey) == linepay.Refund {
			keys = append(keys, f.OperationKey)
		}
	}
	if len(keys) == 0 {
		return ""
	}
	return " Or by " + strings.Join(keys, " or ") + ", whose outcome is unknown"
}

// operationOf is the operation in an operation key.
func operationOf(key string) linepay.Operation {
	operation, _, _ := strings.Cut(key, ":")
	return linepay.Operation(operation)
}
