package simulator

import (
	"slices"

	"linepay-worker/linepay"
)

// issueKey makes the pre-approved key of a confirmed payment: RK and 13 letters or digits. No other call ever tells it again.
func (s *Simulator) issueKey(p *payment) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	for {
		b := []byte("RK")
		for range 13 {
			b = append(b, alphabet[s.luck.IntN(len(alphabet))])
		}
		if key := string(b); s.keys[key] == nil {
			s.keys[key] = &regKey{channel: p.channel, currency: p.currency}
			return key
		}
	}
}

// usableKey gives the channel's key, or the refusal: 1190 for an unknown one, 1193 for an expired one.
func (s *Simulator) usableKey(c *call) (*regKey, *answer) {
	key := s.keys[c.key]
	switch {
	case key == nil || key.channel != c.channel:
		return nil, refuse("1190")
	case key.expired:
		return nil, refuse("1193")
	default:
		return key, nil
	}
}

// checkKey tells whether a key is usable.
func (s *Simulator) checkKey(c *call) *answer {
	if _, refusal := s.usableKey(c); refusal != nil {
		return refusal
	}
	return done("OK", nil)
}

// expireKey discards a key.
func (s *Simulator) expireKey(c *call) *answer {
	if refusal := c.decode(&struct{}{}); refusal != nil {
		return refusal
	}
	key, refusal := s.usableKey(c)
	if refusal != nil {
		return refusal
	}
	key.expired = true
	return done("OK", nil)
}

// payWithKey charges a key: no page, no confirm. The orderId protects against a second charge (1172), the key being busy against two at
// once (1197).
func (s *Simulator) payWithKey(c *call) *answer {
	var body keyPaymentBody
	if refusal := c.decode(&body); refusal != nil {
		return refusal
	}
	c.record.OrderID = body.OrderID
	if refusal := first(text("orderId", body.OrderID, true, 100), text("productName", body.ProductName, false, 4000)); refusal != nil {
		return refusal
	}
	key, refusal := s.usableKey(c)
	if refusal != nil {
		return refusal
	}
	currency := or(body.Currency, key.currency)
	if !slices.Contains(c.channel.Currencies, currency) {
		return refuse("1178")
	}
	if refusal := first(money(s.rules, "amount", body.Amount, currency), limits(s.rules, body.Amount.Amount)); refusal != nil {
		return refusal
	}
	capture := body.Capture == nil || *body.Capture
	switch {
	case !capture && s.rules.RefuseSeparateCapture:
		return refuse("2103", "[capture:false]")
	case s.paidOrder(c.channel, body.OrderID) != nil:
		return refuse("1172")
	}
	now := s.now()
	p := &payment{
		channel: c.channel, id: s.newID(now, paymentDigits), orderID: body.OrderID, currency: currency,
		requested: body.Amount.Amount, capture: capture, byKey: true, product: body.ProductName,
	}
	s.keep(p)
	c.record.TransactionID = p.id
	p.settleConfirm(linepay.PreapprovedPay, s.rules, now)
	info := keyPaymentInfo{TransactionID: numberID(p.id), TransactionDate: stamp(now), OrderID: p.orderID, PaymentProvider: c.provider()}
	if !capture {
		info.AuthorizationExpireDate = stamp(p.authExpires)
	}
	return done("OK", info)
}

type keyPaymentInfo struct {
	TransactionID           numberID `json:"transactionId"`
	TransactionDate         string   `json:"transactionDate"`
	OrderID                 string   `json:"orderId"`
	AuthorizationExpireDate string   `json:"authorizationExpireDate,omitzero"`
	PaymentProvider         string   `json:"paymentProvider,omitzero"`
}
