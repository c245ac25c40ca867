package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"linepay-worker/idempotency"
	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// entry is one line of an order's life. It holds no keys, tokens or secrets.
type entry struct {
	At           time.Time             `json:"at"`
	Kind         string                `json:"kind"` // one of the kinds below
	Channel      string                `json:"channel"`
	What         string                `json:"what"` // the event's name, the operation, LINE Pay's payStatus
	Transaction  linepay.TransactionID `json:"transactionId,omitzero"`
	Amount       linepay.Amount        `json:"amount,omitzero"`
	Currency     string                `json:"currency,omitzero"`
	Command      schemas.CommandRef    `json:"command,omitzero"`
	OperationKey string                `json:"operationKey,omitzero"`
	Sequence     uint64                `json:"sequence,omitzero"` // in its stream
	ID           string                `json:"id,omitzero"`       // of an event or audit entry
	Remarks      []string              `json:"remarks,omitempty"`
	Record       *recordLine           `json:"record,omitzero"` // of kindRecord alone
}

// Kinds of entries.
const (
	kindCommand    = "command"    // waits in LINEPAY_COMMANDS; where its sequence is, it is not done
	kindEvent      = "event"      // in LINEPAY_EVENTS
	kindDeadLetter = "deadletter" // in LINEPAY_DEADLETTERS
	kindAudit      = "audit"      // in LINEPAY_AUDIT: what an operator did
	kindRecord     = "record"     // what the guard has of an operation, at the time of its last claim
	kindHold       = "hold"       // the operation that keeps the others of its payment or order out
	kindQueue      = "queue"      // a command that waits for its turn
	kindPayment    = "payment"    // what LINE Pay shows
	kindRefund     = "refund"     // what LINE Pay shows
)

// recordLine is a record without what the worker stored as its outcome, which its events tell.
type recordLine struct {
	Standing     idempotency.Standing `json:"standing"`
	Fingerprint  string               `json:"fingerprint,omitzero"`
	First        time.Time            `json:"first,omitzero"`
	Claimed      time.Time            `json:"claimed,omitzero"`
	Claim        string               `json:"claim,omitzero"` // the last claim's answer and its reason
	Lease        time.Time            `json:"leaseUntil,omitzero"`
	Calls        int                  `json:"calls"`
	MaySendUntil time.Time            `json:"maySendUntil,omitzero"`
	Doubt        bool                 `json:"doubt"`
	Why          string               `json:"why,omitzero"`
	SpentSeconds float64              `json:"spentSeconds,omitzero"` // of the retry budget
	Retry        time.Time            `json:"retryAt,omitzero"`
	Replay       uint64               `json:"replay,omitzero"`
	Parked       *schemas.CommandRef  `json:"parked,omitzero"`
	ParkedReplay uint64               `json:"parkedReplay,omitzero"`
	Refusals     int                  `json:"refusals,omitzero"`
	Delivered    []uint64             `json:"delivered,omitempty"`
	Effect       string               `json:"effect,omitzero"`
	Problem      string               `json:"problem,omitzero"` // why it cannot be read
}

func commandEntry(p *placed) entry {
	amount, currency := p.money()
	e := entry{
		At: p.at, Kind: kindCommand, Channel: p.command.Channel, What: string(p.command.Operation), Transaction: p.command.Data.Transaction(),
		Amount: amount, Currency: currency, Command: p.names.command, OperationKey: p.names.key, Sequence: p.sequence,
		Remarks: []string{"waits"},
	}
	if p.replay > 0 {
		e.Remarks = append(e.Remarks, fmt.Sprintf("replay of dead letter %d", p.replay))
	}
	if !p.valid {
		e.Remarks = append(e.Remarks, "invalid")
	}
	return e
}

func letterEntry(p *placed, letter schemas.DeadLetter) entry {
	e := commandEntry(p)
	e.Kind, e.Remarks = kindDeadLetter, []string{letter.Reason}
	if !letter.At.IsZero() {
		e.At = letter.At
	}
	if letter.Code != "" {
		e.Remarks = append(e.Remarks, "code "+letter.Code)
	}
	e.Remarks = append(e.Remarks, letter.Detail)
	return e
}

func eventEntry(s stored) entry {
	if s.event == nil {
		channel, name, _, _ := schemas.ParseEventSubject(s.subject)
		return entry{
			At: s.at, Kind: kindEvent, Channel: channel, What: cmp.Or(name, "unreadable"), Sequence: s.sequence,
			Remarks: []string{unreadable(s.problem)},
		}
	}
	e := s.event
	d := e.Data
	line := entry{
		At: e.Time, Kind: kindEvent, Channel: d.Channel, What: e.Name(), Transaction: d.TransactionID, Amount: d.Amount, Currency: d.Currency,
		Command: d.Command, OperationKey: d.OperationKey, Sequence: s.sequence, ID: e.ID, Remarks: remarks(e),
	}
	if !d.RefundAmount.IsZero() {
		line.Amount = d.RefundAmount
	}
	if e.Time.IsZero() {
		line.At = s.at
	}
	return line
}

func auditEntry(a *schemas.Audit, sequence uint64) entry {
	d := a.Data
	e := entry{
		At: a.Time, Kind: kindAudit, Channel: d.Channel, What: d.Action, Command: d.Command, OperationKey: d.OperationKey, Sequence: sequence,
		ID: a.ID, Remarks: []string{"by " + d.Operator + " on " + d.Host},
	}
	if id, err := linepay.ParseTransactionID(d.TransactionID); err == nil {
		e.Transaction = id
	}
	if d.DeadLetter > 0 {
		e.Remarks = append(e.Remarks, fmt.Sprintf("dead letter %d", d.DeadLetter))
	}
	for _, part := range [][2]string{{"parked", d.ReasonParked}, {"outcome", d.Outcome}, {"because", d.Reason}, {"evidence", d.Evidence}} {
		if part[1] != "" {
			e.Remarks = append(e.Remarks, part[0]+": "+part[1])
		}
	}
	return e
}

// guardEntries are the lines of what the guard has on record.
func guardEntries(channel string, on inspected) (list []entry) {
	line := func(kind, operation string, at time.Time) entry {
		return entry{
			At: at, Kind: kind, Channel: channel, What: string(operationOf(operation)), Transaction: on.transaction, OperationKey: operation,
		}
	}
	for i := range on.Records {
		r := &on.Records[i]
		e := line(kindRecord, r.Operation, r.First)
		if !r.Claimed.IsZero() {
			e.At = r.Claimed
		}
		e.Command, e.Record = schemas.CommandRef(r.Owner), recordOf(r, on.Owned)
		e.Remarks = recordRemarks(r, e.Record.Effect)
		list = append(list, e)
	}
	for _, d := range on.Damaged {
		e := line(kindRecord, d.Operation, on.Now)
		e.Record, e.Remarks = &recordLine{Problem: d.Err.Error()}, []string{"damaged: " + d.Err.Error()}
		list = append(list, e)
	}
	if h := on.Held; h != nil {
		e := line(kindHold, h.Operation, h.Since)
		if e.Remarks = []string{"keeps others out"}; !h.Until.IsZero() {
			e.Remarks[0] += " until " + h.Until.Format(timeForm)
		}
		if e.At.IsZero() {
			e.At = on.Now
		}
		list = append(list, e)
	}
	for _, w := range on.Waiters {
		e := line(kindQueue, w.Operation, on.Now)
		e.Sequence, e.Remarks = w.Sequence, []string{"waits for its turn, at most until " + w.Until.Format(timeForm)}
		list = append(list, e)
	}
	return list
}

func recordOf(r *idempotency.Record, owned []idempotency.Effect) *recordLine {
	line := &recordLine{
		Standing: r.Standing, Fingerprint: r.Fingerprint, First: r.First, Claimed: r.Claimed, Lease: r.Lease, Calls: r.Calls,
		MaySendUntil: r.MaySendUntil, Doubt: r.Doubt, Why: r.Why, SpentSeconds: r.Spent.Seconds(), Retry: r.Retry, Replay: r.Replay,
		Refusals: len(r.Refusals), Delivered: r.Delivered,
	}
	if r.Answer != "" {
		line.Claim = r.Answer + ": " + r.Reason
	}
	if r.Parked != nil {
		command := schemas.CommandRef(r.Parked.Command)
		line.Parked, line.ParkedReplay = &command, r.Parked.Replay
	}
	for _, effect := range owned {
		if effect.Operation == r.Operation {
			line.Effect = effect.Effect
		}
	}
	return line
}

// recordRemarks is what people are told of a record; --json tells all of it.
func recordRemarks(r *idempotency.Record, effect string) (list []string) {
	add := func(when bool, format string, args ...any) {
		if when {
			list = append(list, fmt.Sprintf(format, args...))
		}
	}
	at := func(t time.Time) string { return t.Format(timeForm) }
	add(true, "%s", r.Standing)
	add(r.Doubt, "in doubt: %s", r.Why)
	add(r.Calls == 1, "1 call")
	add(r.Calls > 1, "%d calls", r.Calls)
	add(!r.Lease.IsZero(), "lease until %s", at(r.Lease))
	add(!r.Retry.IsZero(), "next try %s", at(r.Retry))
	add(r.Doubt && !r.MaySendUntil.IsZero(), "its call was over by %s", at(r.MaySendUntil))
	add(r.Spent > 0, "%s of the retry budget spent", r.Spent)
	add(r.Replay > 0, "replay %d", r.Replay)
	add(len(r.Refusals) > 0, "refused %d times", len(r.Refusals))
	add(effect != "" && operationOf(r.Operation) == linepay.Refund, "refund %s", effect)
	add(len(r.Delivered) > 0, "sequences %s", strings.Trim(fmt.Sprint(r.Delivered), "[]"))
	return list
}

// paymentEntries are what LINE Pay shows; an unreadable date is the zero time.
func paymentEntries(channel string, p *linepay.Payment) []entry {
	at, _ := time.Parse(time.RFC3339, p.TransactionDate)
	list := []entry{{
		At: at.UTC(), Kind: kindPayment, Channel: channel, What: string(p.PayStatus), Transaction: p.TransactionID, Amount: paidOf(p),
		Currency: p.Currency,
	}}
	for _, r := range p.RefundList {
		at, _ := time.Parse(time.RFC3339, r.RefundTransactionDate)
		list = append(list, entry{
			At: at.UTC(), Kind: kindRefund, Channel: channel, What: r.TransactionType, Transaction: p.TransactionID, Amount: givenBack(r),
			Currency: p.Currency, Remarks: []string{"refund " + r.RefundTransactionID.String()},
		})
	}
	return list
}

// timelineColumns fit what is usual, as columns does.
const timelineColumns = "%-24s  %-10s  %-10s  %-18s  %-19s  %-12s  %-36s  %s\n"

// printTimeline writes the entries, oldest first: as lines for people, or as one document a line.
func printTimeline(out io.Writer, entries []entry, asJSON bool) error {
	slices.SortStableFunc(entries, func(a, b entry) int { return a.At.Compare(b.At) })
	if asJSON {
		return documents(out, entries)
	}
	if len(entries) == 0 {
		return nil
	}
	_, err := fmt.Fprintf(out, timelineColumns, "TIME", "KIND", "CHANNEL", "WHAT", "TRANSACTION", "AMOUNT", "COMMAND", "REMARKS")
	if err != nil {
		return err
	}
	for _, e := range entries {
		amount := ""
		if !e.Amount.IsZero() {
			amount = sumOf(e.Amount, e.Currency)
		}
		cells := []string{
			e.At.UTC().Format(timeForm), e.Kind, e.Channel, e.What, e.Transaction.String(), amount, e.Command.ID, strings.Join(e.Remarks, ", "),
		}
		if _, err := fmt.Fprintf(out, timelineColumns, shown(cells)...); err != nil {
			return err
		}
	}
	return nil
}
