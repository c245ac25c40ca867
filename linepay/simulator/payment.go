package simulator

import (
	"time"

	"linepay-worker/linepay"
)

// payment is one transaction at LINE Pay. All of it is guarded by Simulator.mu.
type payment struct {
	channel   *Channel
	id        linepay.TransactionID
	orderID   string
	currency  string
	requested linepay.Amount
	capture   bool // take the money with the confirm
	byKey     bool // paid with a pre-approved key: there was no request
	register  bool // payType PREAPPROVED: the confirm issues a key
	product   string
	packages  []packageBody
	redirects redirectsBody
	reserve   string // the secret part of the payment page's address

	state       State
	until       time.Time // end of the present wait (customer, confirm, capture); zero: none
	confirmedAt time.Time
	capturedAt  time.Time
	voidedAt    time.Time
	authExpires time.Time
	method      string         // payInfo: the method beside POINT
	points      linepay.Amount // payInfo: part paid with POINT
	captured    linepay.Amount
	refunded    linepay.Amount
	refunds     []refund
	effects     []Effect
}

type refund struct {
	id     linepay.TransactionID
	amount linepay.Amount
	at     time.Time
}

// regKey is a pre-approved payment key.
type regKey struct {
	channel  *Channel
	currency string
	expired  bool
}

// aged moves the payment on where time has ended its state. Expiry happens when somebody looks: nobody can tell the difference.
func (s *Simulator) aged(p *payment) *payment {
	if !passed(s.now(), p.until) {
		return p
	}
	switch p.state {
	case Reserved, Authenticated:
		p.state = Expired
	case Authorized:
		p.state = AuthorizationExpired
	default:
		return p
	}
	p.until = time.Time{}
	return p
}

// find gives the channel's payment as it stands now, or nil. A refund's id is not a payment's.
func (s *Simulator) find(channel *Channel, id linepay.TransactionID) *payment {
	p := s.payments[id]
	if p == nil || p.channel != channel {
		return nil
	}
	return s.aged(p)
}

// paidOrder gives the channel's confirmed payment of an order, or nil. Voided and refunded ones count: LINE Pay speaks of transaction
// details that exist (1172).
func (s *Simulator) paidOrder(channel *Channel, orderID string) *payment {
	for _, p := range s.orders[orderKey{channel, orderID}] {
		if !p.confirmedAt.IsZero() {
			return p
		}
	}
	return nil
}

// openOrder reports whether a living reservation holds the order.
func (s *Simulator) openOrder(channel *Channel, orderID string) bool {
	for _, p := range s.orders[orderKey{channel, orderID}] {
		if state := s.aged(p).state; state == Reserved || state == Authenticated {
			return true
		}
	}
	return false
}

// keep enters a new payment in the books.
func (s *Simulator) keep(p *payment) {
	s.payments[p.id] = p
	s.order = append(s.order, p)
	key := orderKey{p.channel, p.orderID}
	s.orders[key] = append(s.orders[key], p)
	if p.reserve != "" {
		s.reserves[p.reserve] = p
	}
}

// settleConfirm takes or holds the money, for a confirm and for a payment by key.
func (p *payment) settleConfirm(op linepay.Operation, rules Rules, now time.Time) {
	p.confirmedAt, p.method = now, rules.PayMethod
	p.points = rules.Points
	if p.points.Cmp(p.requested) > 0 {
		p.points = p.requested
	}
	if p.capture {
		p.state, p.captured, p.capturedAt, p.authExpires, p.until = Captured, p.requested, now, now, time.Time{}
	} else {
		p.state = Authorized
		p.authExpires = now.Add(rules.AuthorizationValidity)
		p.until = p.authExpires
	}
	p.happened(op, p.requested, now, p.id)
}

func (p *payment) settleCapture(amount linepay.Amount, now time.Time) {
	p.state, p.captured, p.capturedAt, p.until = Captured, amount, now, time.Time{}
	if p.points.Cmp(amount) > 0 {
		p.points = amount
	}
	p.happened(linepay.Capture, amount, now, p.id)
}

func (p *payment) settleVoid(now time.Time) {
	p.state, p.voidedAt, p.until = Voided, now, time.Time{}
	p.happened(linepay.Void, p.requested, now, p.id)
}

func (p *payment) settleRefund(id linepay.TransactionID, amount linepay.Amount, now time.Time) {
	p.refunds = append(p.refunds, refund{id, amount, now})
	p.refunded = p.refunded.Add(amount)
	if p.left().IsZero() {
		p.state = Refunded
	}
	p.happened(linepay.Refund, amount, now, id)
}

func (p *payment) happened(op linepay.Operation, amount linepay.Amount, now time.Time, id linepay.TransactionID) {
	p.effects = append(p.effects, Effect{Operation: op, Amount: amount, At: now, TransactionID: id})
}

// left is what can still be refunded.
func (p *payment) left() linepay.Amount { return p.captured.Sub(p.refunded) }

// payInfoBody is how a payment was paid. LINE Pay does not reduce it by refunds.
type payInfoBody struct {
	Method string       `json:"method"`
	Amount numberAmount `json:"amount"`
}

// payInfo adds up to the amount: that held, or once captured that taken.
func (p *payment) payInfo(amount linepay.Amount) []payInfoBody {
	rest := amount.Sub(p.points)
	var info []payInfoBody
	if rest.Sign() > 0 {
		info = append(info, payInfoBody{p.method, numberAmount(rest)})
	}
	if p.points.Sign() > 0 {
		info = append(info, payInfoBody{"POINT", numberAmount(p.points)})
	}
	return info
}
