package main

import (
	"slices"
	"strings"
	"time"

	"linepay-worker/idempotency"
	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// books are what is known of one order on one channel, from all who know something. What is compared depends on nothing else.
type books struct {
	channel, order string

	events []stored  // of the order, oldest first
	kept   time.Time // what was stored before may have been deleted from the stream; zero where all of it is there

	waiting []*placed // commands about the order, or one of its transactions, that have not left the stream
	walked  bool      // the stream of commands was looked through after LINE Pay was asked, and before the events were read

	records []inspected // what the guard knows; none where it was not asked

	looked   bool      // LINE Pay was asked, and answered
	asked    time.Time // when, by this machine's clock
	payments []linepay.Payment
}

// unknown says that there is nothing of the order anywhere.
func (b *books) unknown() bool {
	return len(b.events)+len(b.payments) == 0 && !slices.ContainsFunc(b.records, func(on inspected) bool {
		return len(on.Records)+len(on.Damaged) > 0
	})
}

// inspected is what the guard has of the order itself (transaction 0), or of one of its transactions.
type inspected struct {
	transaction linepay.TransactionID
	*idempotency.Inspection
}

// doubtful says whether nobody knows what became of an operation.
func (on inspected) doubtful(r *idempotency.Record) bool {
	return r.Doubt || r.Standing == idempotency.StandingClaimed && !on.Now.Before(r.Lease)
}

// atWork says whether a worker has the operation, or has said when it comes back.
func (on inspected) atWork(r *idempotency.Record) bool {
	claimed, open := r.Standing == idempotency.StandingClaimed, r.Standing == idempotency.StandingOpen
	return claimed && on.Now.Before(r.Lease) || open && on.Now.Before(r.Retry)
}

// transactions are those that the order's events, waiting commands and payments name, in the order of their first appearance.
func (b *books) transactions() (ids []linepay.TransactionID) {
	add := func(id linepay.TransactionID) {
		if id != 0 && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	for _, s := range b.events {
		if s.event != nil && s.event.Name() != schemas.EventDetails {
			add(s.event.Data.TransactionID)
		}
	}
	for _, w := range b.waiting {
		if slices.Contains(w.orders(), b.order) {
			add(w.command.Data.Transaction())
		}
	}
	for _, p := range b.payments {
		add(p.TransactionID)
	}
	return ids
}

// moneyEvents are what a ledger books, each once however often it is stored.
func (b *books) moneyEvents() (list []stored) {
	seen := map[string]bool{}
	for _, s := range b.events {
		if s.event != nil && schemas.IsMoneyEvent(s.event.Name()) && !seen[s.event.ID] {
			seen[s.event.ID] = true
			list = append(list, s)
		}
	}
	return list
}

// payment finds what LINE Pay shows of a transaction; nil for nothing.
func (b *books) payment(id linepay.TransactionID) *linepay.Payment {
	for i := range b.payments {
		if b.payments[i].TransactionID == id {
			return &b.payments[i]
		}
	}
	return nil
}

// balance is what became of the sums in one currency. Left is what was captured and not given back.
type balance struct {
	Currency string         `json:"currency"`
	Held     linepay.Amount `json:"held"`
	Captured linepay.Amount `json:"captured"`
	Refunded linepay.Amount `json:"refunded"`
	Left     linepay.Amount `json:"left"`
}

// sums has one balance for each currency, sorted.
type sums []balance

func (s *sums) of(currency string) *balance {
	i, found := slices.BinarySearchFunc(*s, currency, func(m balance, c string) int { return strings.Compare(m.Currency, c) })
	if !found {
		*s = slices.Insert(*s, i, balance{Currency: currency})
	}
	return &(*s)[i]
}

func (s *sums) add(others sums) {
	for _, o := range others {
		m := s.of(o.Currency)
		m.Held, m.Captured = m.Held.Add(o.Held), m.Captured.Add(o.Captured)
		m.Refunded, m.Left = m.Refunded.Add(o.Refunded), m.Left.Add(o.Left)
	}
}

// told is the money as the events tell it. A hold that was captured or voided is none any more; one that expired has no event.
func (b *books) told() (s sums) {
	over := map[linepay.TransactionID]bool{}
	list := b.moneyEvents()
	for _, m := range list {
		if name := m.event.Name(); name == schemas.EventCaptured || name == schemas.EventVoided {
			over[m.event.Data.TransactionID] = true
		}
	}
	for _, m := range list {
		d := m.event.Data
		switch m.event.Name() {
		case schemas.EventAuthorized:
			if !over[d.TransactionID] {
				sum := s.of(d.Currency)
				sum.Held = sum.Held.Add(d.Amount)
			}
		case schemas.EventCaptured:
			sum := s.of(d.Currency)
			sum.Captured, sum.Left = sum.Captured.Add(d.Amount), sum.Left.Add(d.Amount)
		case schemas.EventRefunded:
			sum := s.of(d.Currency)
			sum.Refunded, sum.Left = sum.Refunded.Add(d.RefundAmount), sum.Left.Sub(d.RefundAmount)
		}
	}
	return s
}

// shown is the money as LINE Pay shows it.
func (b *books) shown() (s sums) {
	for i := range b.payments {
		p := &b.payments[i]
		switch p.PayStatus {
		case linepay.StatusAuthorization:
			sum := s.of(p.Currency)
			sum.Held = sum.Held.Add(paidOf(p))
		case linepay.StatusCapture:
			sum := s.of(p.Currency)
			sum.Captured, sum.Left = sum.Captured.Add(paidOf(p)), sum.Left.Add(paidOf(p))
		}
		for _, r := range p.RefundList {
			sum := s.of(p.Currency)
			sum.Refunded, sum.Left = sum.Refunded.Add(givenBack(r)), sum.Left.Sub(givenBack(r))
		}
	}
	return s
}

// paidOf is the sum of a payment's parts; refunds do not reduce it.
func paidOf(p *linepay.Payment) (sum linepay.Amount) {
	for _, part := range p.PayInfo {
		sum = sum.Add(part.Amount)
	}
	return sum
}

// givenBack is the amount of a refund, which LINE Pay writes as a negative number.
func givenBack(r linepay.RefundEntry) linepay.Amount {
	if r.RefundAmount.Sign() > 0 {
		return r.RefundAmount
	}
	return r.RefundAmount.Neg()
}

// String is for people.
func (m balance) String() string {
	text := "captured " + sumOf(m.Captured, m.Currency) + ", refunded " + sumOf(m.Refunded, m.Currency) + ", left " + sumOf(m.Left, m.Currency)
	if !m.Held.IsZero() {
		text += ", held " + sumOf(m.Held, m.Currency)
	}
	return text
}

// sumOf writes an amount with its currency.
func sumOf(amount linepay.Amount, currency string) string {
	return strings.TrimSpace(amount.String() + " " + currency)
}
