package simulator

import (
	"slices"
	"time"

	"linepay-worker/linepay"
)

// Ledger is everything that happened, oldest first. It is a copy: later calls do not change it.
type Ledger struct {
	Transactions []Transaction `json:"transactions"`
	Calls        []Call        `json:"calls"`
}

// Transaction is one payment: a request, or a payment with a pre-approved key.
type Transaction struct {
	TransactionID linepay.TransactionID `json:"transactionId"`
	OrderID       string                `json:"orderId"`
	State         State                 `json:"state"`
	Currency      string                `json:"currency"`
	Requested     linepay.Amount        `json:"requested"`
	Captured      linepay.Amount        `json:"captured"` // 0 until money is taken; not reduced by refunds
	Refunded      linepay.Amount        `json:"refunded"` // the sum of all refunds
	Effects       []Effect              `json:"effects"`
}

// Effect is one carried-out confirm, capture, void, refund or preapproved-pay.
type Effect struct {
	Operation linepay.Operation `json:"operation"`
	Amount    linepay.Amount    `json:"amount"`
	At        time.Time         `json:"at"`
	// TransactionID is the payment's, or for a refund the id of the refund itself.
	TransactionID linepay.TransactionID `json:"transactionId"`
}

// Call is one HTTP request to LINE Pay's API, answered or not.
type Call struct {
	Operation linepay.Operation `json:"operation"` // "" for a path that is none of the ten calls
	Path      string            `json:"path"`      // without the query
	// OrderID and TransactionID are those that the call named or, for a request and a payment by key, got; empty where there were none or
	// several.
	OrderID       string                `json:"orderId"`
	TransactionID linepay.TransactionID `json:"transactionId"`
	ReturnCode    string                `json:"returnCode"` // "" where no result code was sent: dropped, HTTP 500, not JSON, or the caller had gone
	At            time.Time             `json:"at"`
}

// State is where a payment stands.
type State string

// The states. Payments start at Reserved, payments by key at Authorized or Captured.
const (
	Reserved             State = "reserved"              // waiting for the customer; check answers 0000
	Authenticated        State = "authenticated"         // the customer has paid on the page, confirm it; check 0110
	Cancelled            State = "cancelled"             // by the customer; check 0121
	Expired              State = "expired"               // not authenticated or not confirmed in time; check 0121
	Failed               State = "failed"                // killed by a premature confirm, if the rules say so; check 0122
	Authorized           State = "authorized"            // money held
	AuthorizationExpired State = "authorization-expired" // the hold lapsed
	Voided               State = "voided"                // the hold was released
	Captured             State = "captured"              // money taken, and not all of it given back
	Refunded             State = "refunded"              // all of it given back
)

// Ledger copies what happened up to now; states that ended by time are shown as ended.
func (s *Simulator) Ledger() Ledger { return s.LedgerOf() }

// LedgerOf is the part of the ledger that is about these orders, of whatever channel; without any it is the whole. A call belongs to the
// order that Call.OrderID names.
func (s *Simulator) LedgerOf(orderIDs ...string) Ledger {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := func(orderID string) bool { return len(orderIDs) == 0 || slices.Contains(orderIDs, orderID) }
	ledger := Ledger{Transactions: []Transaction{}, Calls: []Call{}}
	for _, p := range s.order {
		if asked(p.orderID) {
			ledger.Transactions = append(ledger.Transactions, s.aged(p).transaction())
		}
	}
	for _, c := range s.calls {
		if asked(c.OrderID) {
			ledger.Calls = append(ledger.Calls, *c)
		}
	}
	return ledger
}

func (p *payment) transaction() Transaction {
	return Transaction{
		TransactionID: p.id, OrderID: p.orderID, State: p.state, Currency: p.currency,
		Requested: p.requested, Captured: p.captured, Refunded: p.refunded, Effects: slices.Clone(p.effects),
	}
}
