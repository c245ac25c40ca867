package main

import (
	"errors"
	"slices"
	"time"

	"linepay-worker/consumer/pull"
	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// placed is a command as it lies in a stream: waiting, or parked.
type placed struct {
	sequence uint64 // in that stream
	at       time.Time
	command  *schemas.Command
	valid    bool
	names    names  // filled by named
	replay   uint64 // number of the dead letter that it was sent again from; 0 for none
}

// place reads a command; nil where it is unreadable, and so about no order that could be told. The subject is that which the command was
// published on.
func place(m pull.Message, subject string) *placed {
	command, err := schemas.DecodeCommand(subject, m.Header, m.Body)
	if command == nil {
		return nil
	}
	_, invalid := errors.AsType[*schemas.InvalidError](err)
	return &placed{sequence: m.Sequence, at: m.Stored, command: command, valid: !invalid, replay: schemas.ParseReplay(m.Header.Get(schemas.HeaderReplay))}
}

// named adds what the worker calls the command. It costs more than reading it, and most commands are about other orders.
func (p *placed) named() *placed {
	p.names = namesOf(p.command, p.valid)
	return p
}

// orders are those that a command is about, as far as it names any.
func (p *placed) orders() []string {
	if d, ok := p.command.Data.(*schemas.DetailsData); ok {
		return d.OrderIDs
	}
	if order := p.command.Data.Order(); order != "" {
		return []string{order}
	}
	return nil
}

// transactions are those that a command is about.
func (p *placed) transactions() []linepay.TransactionID {
	if d, ok := p.command.Data.(*schemas.DetailsData); ok {
		return d.TransactionIDs
	}
	if id := p.command.Data.Transaction(); id != 0 {
		return []linepay.TransactionID{id}
	}
	return nil
}

// money is the amount that a command asks for; empty where it names none.
func (p *placed) money() (amount linepay.Amount, currency string) {
	switch d := p.command.Data.(type) {
	case *schemas.RequestData:
		return d.Amount, d.Currency
	case *schemas.ConfirmData:
		return d.Amount, d.Currency
	case *schemas.CaptureData:
		return d.Amount, d.Currency
	case *schemas.PreapprovedPayData:
		return d.Amount, d.Currency
	case *schemas.RefundData:
		if d.RefundAmount != nil {
			return *d.RefundAmount, ""
		}
	}
	return linepay.Amount{}, ""
}

// about says whether a command names the order, or one of its transactions.
func (p *placed) about(order string, transactions []linepay.TransactionID) bool {
	return slices.Contains(p.orders(), order) || slices.ContainsFunc(p.transactions(), func(id linepay.TransactionID) bool {
		return slices.Contains(transactions, id)
	})
}
