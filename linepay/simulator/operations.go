package simulator

import (
	"time"

	"linepay-worker/linepay"
)

// check tells where a reservation stands; its returnCode is the state. A payment by key was never requested.
func (s *Simulator) check(c *call) *answer {
	p := s.find(c.channel, c.id)
	if p == nil || p.byKey {
		return refuse("1159")
	}
	c.record.OrderID = p.orderID
	switch p.state {
	case Reserved:
		return done("reserved transaction.", nil)
	case Authenticated:
		return refuse("0110")
	case Cancelled, Expired:
		return refuse("0121")
	case Failed:
		return refuse("0122")
	default:
		if !s.visible(p.confirmedAt) {
			return refuse("0110")
		}
		return refuse("0123")
	}
}

// payable gives the channel's payment for a call that needs one, or the refusal: 1155 for a refund's id, the rules' code for an
// unknown one.
func (s *Simulator) payable(c *call) (*payment, *answer) {
	if p := s.find(c.channel, c.id); p != nil {
		c.record.OrderID = p.orderID
		return p, nil
	}
	if p := s.refunds[c.id]; p != nil && p.channel == c.channel {
		return nil, refuse("1155")
	}
	return nil, refuse(s.rules.UnknownTransactionCode)
}

// confirm completes an authenticated payment: it takes the money, or holds it where the request said capture=false.
func (s *Simulator) confirm(c *call) *answer {
	var body amountBody
	if refusal := c.decode(&body); refusal != nil {
		return refusal
	}
	p, refusal := s.payable(c)
	if refusal == nil {
		refusal = first(text("currency", body.Currency, true, 3), money(s.rules, "amount", body.Amount, p.currency))
	}
	if refusal != nil {
		return refusal
	}
	switch {
	case !p.confirmedAt.IsZero():
		return refuse(s.rules.RepeatedConfirmCode)
	case p.state == Reserved:
		if s.rules.PrematureConfirmFails {
			p.state, p.until = Failed, time.Time{}
		}
		return refuse("1169")
	case p.state != Authenticated:
		return refuse(s.rules.DeadConfirmCode)
	case body.Currency != p.currency:
		return refuse(s.rules.WrongCurrencyCode)
	case !body.Amount.Equal(p.requested):
		return refuse("1153")
	case s.paidOrder(c.channel, p.orderID) != nil:
		return refuse("1172")
	}
	p.settleConfirm(linepay.Confirm, s.rules, s.now())
	info := confirmInfo{
		OrderID: p.orderID, TransactionID: numberID(p.id), PayInfo: p.payInfo(p.requested), Packages: c.amounts(p),
		PaymentProvider: c.provider(),
	}
	if !p.capture {
		info.AuthorizationExpireDate = stamp(p.authExpires)
	}
	if p.register {
		info.RegKey = s.issueKey(p)
	}
	return done("OK", info)
}

type confirmInfo struct {
	OrderID                 string          `json:"orderId"`
	TransactionID           numberID        `json:"transactionId"`
	AuthorizationExpireDate string          `json:"authorizationExpireDate,omitzero"`
	RegKey                  string          `json:"regKey,omitzero"`
	PayInfo                 []payInfoBody   `json:"payInfo"`
	Packages                []packageAmount `json:"packages"`
	PaymentProvider         string          `json:"paymentProvider,omitzero"`
}

type packageAmount struct {
	ID            string        `json:"id"`
	Amount        numberAmount  `json:"amount"`
	UserFeeAmount *numberAmount `json:"userFeeAmount,omitzero"`
}

// amounts are a confirm's packages; v3 has the user's fee, 0 if there was none.
func (c *call) amounts(p *payment) []packageAmount {
	var list []packageAmount
	for _, each := range p.packages {
		list = append(list, packageAmount{each.ID, numberAmount(each.Amount.Amount), c.fee(each)})
	}
	return list
}

func (c *call) fee(p packageBody) *numberAmount {
	if c.version != "v3" {
		return nil
	}
	fee := numberAmount(p.UserFee.Amount)
	return &fee
}

// provider is v4's paymentProvider: today always TSP.
func (c *call) provider() string {
	if c.version == "v4" {
		return "TSP"
	}
	return ""
}

// capture takes held money, once: less than was held releases the rest.
func (s *Simulator) capture(c *call) *answer {
	var body amountBody
	if refusal := c.decode(&body); refusal != nil {
		return refusal
	}
	p, refusal := s.payable(c)
	if refusal == nil {
		refusal = first(text("currency", body.Currency, true, 3), money(s.rules, "amount", body.Amount, p.currency))
	}
	if refusal != nil {
		return refusal
	}
	switch {
	case p.confirmedAt.IsZero():
		return refuse("1150")
	case p.state == Voided:
		return refuse(s.rules.CaptureAfterVoidCode)
	case p.state == AuthorizationExpired:
		return refuse(s.rules.CaptureAfterExpiryCode)
	case p.state != Authorized:
		return refuse(s.rules.RepeatedCaptureCode)
	case body.Currency != p.currency:
		return refuse(s.rules.WrongCurrencyCode)
	case body.Amount.Cmp(p.requested) > 0:
		return refuse(s.rules.CaptureAboveCode)
	}
	if refusal := limits(s.rules, body.Amount.Amount); refusal != nil {
		return refusal
	}
	p.settleCapture(body.Amount.Amount, s.now())
	return done("OK", captureInfo{numberID(p.id), p.orderID, p.payInfo(p.captured), c.provider()})
}

type captureInfo struct {
	TransactionID   numberID      `json:"transactionId"`
	OrderID         string        `json:"orderId"`
	PayInfo         []payInfoBody `json:"payInfo"`
	PaymentProvider string        `json:"paymentProvider,omitzero"`
}

// void releases held money.
func (s *Simulator) void(c *call) *answer {
	if refusal := c.decode(&struct{}{}); refusal != nil {
		return refusal
	}
	p, refusal := s.payable(c)
	if refusal != nil {
		return refusal
	}
	switch {
	case p.confirmedAt.IsZero():
		return refuse("1150")
	case p.state == Voided:
		return refuse("1165")
	case p.state == AuthorizationExpired:
		return refuse(s.rules.VoidAfterExpiryCode)
	case p.state != Authorized:
		return refuse(s.rules.VoidOfCapturedCode)
	}
	p.settleVoid(s.now())
	return done("OK", nil)
}

// refund gives captured money back: the amount asked for, or without one all that is left. It is carried out each time it is called.
func (s *Simulator) refund(c *call) *answer {
	var body refundBody
	if refusal := c.decode(&body); refusal != nil {
		return refusal
	}
	p, refusal := s.payable(c)
	if refusal != nil {
		return refusal
	}
	amount := p.left()
	if body.RefundAmount.given {
		if refusal := money(s.rules, "refundAmount", body.RefundAmount, p.currency); refusal != nil {
			return refusal
		}
		if amount = body.RefundAmount.Amount; amount.IsZero() {
			return refuse("1124")
		}
	}
	switch {
	case p.confirmedAt.IsZero():
		return refuse("1150")
	case p.state == Authorized:
		return refuse(s.rules.RefundOfAuthorizedCode)
	case p.state == Voided || p.state == AuthorizationExpired:
		return refuse(s.rules.RefundOfVoidedCode)
	case p.state == Refunded:
		return refuse("1165")
	case passed(s.now(), p.capturedAt.Add(s.rules.RefundPeriod)):
		return refuse("1163")
	case amount.Cmp(p.left()) > 0:
		return refuse("1164")
	}
	now := s.now()
	return done("success", refundInfo{numberID(s.refundNow(p, amount)), stamp(now)})
}

type refundInfo struct {
	RefundTransactionID   numberID `json:"refundTransactionId"`
	RefundTransactionDate string   `json:"refundTransactionDate"`
}

// refundNow enters a refund under an id of its own.
func (s *Simulator) refundNow(p *payment, amount linepay.Amount) linepay.TransactionID {
	now := s.now()
	id := s.newID(now, refundDigits)
	p.settleRefund(id, amount, now)
	s.refunds[id] = p
	return id
}
