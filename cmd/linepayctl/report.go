package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
)

// tally tells what a reconciliation finds, as it finds it, and at the end how much it has looked at.
type tally struct {
	console
	json     bool
	file     *os.File // of the CSV; nil for none
	csv      *csv.Writer
	headed   bool
	progress *progress

	orders, seen          int // to be looked at; looked at
	disagree, underWay    int // findings
	unclear               int // orders with a disagreement
	unseenOrders          int
	notes                 []string
	fromEvents, fromLINEP sums
}

// newTally makes the CSV's file, so that a path that cannot be is told before an hour of asking.
func newTally(c console, asJSON bool, path string) (*tally, error) {
	r := &tally{console: c, json: asJSON, progress: newProgress(c.err)}
	if path == "" {
		return r, nil
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, usageError{fmt.Errorf("--csv: %w", err)}
	}
	r.file, r.csv = file, csv.NewWriter(file)
	return r, r.csv.Write([]string{
		"finding", "underWay", "channel", "orderId", "transactionId", "operationKey", "events", "linePay", "detail",
	})
}

func (r *tally) begin(orders int) { r.orders = orders }

// add counts an order that was looked at, and tells what was found.
func (r *tally) add(b *books, findings []finding) error {
	r.seen++
	r.fromEvents.add(b.told())
	r.fromLINEP.add(b.shown())
	disagrees := false
	for _, f := range findings {
		if f.UnderWay {
			r.underWay++
		} else {
			r.disagree++
			disagrees = true
		}
	}
	if disagrees {
		r.unclear++
	}
	if b.unknown() { // a slip of the pen would otherwise pass for agreement
		r.progress.clear()
		fmt.Fprintf(r.err, "nothing is known of order %s on channel %s, and LINE Pay shows nothing\n", printable(b.order), printable(b.channel))
	}
	if err := r.tell(findings); err != nil {
		return err
	}
	r.progress.show(fmt.Sprintf("%d of %d orders looked at, %d disagree", r.seen+r.unseenOrders, r.orders, r.unclear))
	return nil
}

// reportColumns fit what is usual, as columns does.
const reportColumns = "%-9s  %-20s  %-10s  %-16s  %-19s  %-26s  %-26s  %s\n"

func (r *tally) tell(findings []finding) error {
	if len(findings) == 0 {
		return nil
	}
	r.progress.clear()
	for _, f := range findings {
		if r.csv == nil {
			break
		}
		cells := []string{
			f.Kind, strconv.FormatBool(f.UnderWay), f.Channel, f.Order, f.Transaction.String(), f.OperationKey, f.Events, f.LINEPay, f.Detail,
		}
		for i, cell := range cells {
			cells[i] = harmless(cell)
		}
		if err := r.csv.Write(cells); err != nil {
			return fmt.Errorf("--csv: %w", err)
		}
	}
	if r.json {
		return documents(r.out, findings)
	}
	return r.rows(findings)
}

func (r *tally) rows(findings []finding) error {
	if !r.headed {
		r.headed = true
		_, err := fmt.Fprintf(r.out, reportColumns, "STATE", "FINDING", "CHANNEL", "ORDER", "TRANSACTION", "EVENTS", "LINE PAY", "DETAIL")
		if err != nil {
			return err
		}
	}
	for _, f := range findings {
		state := "disagrees"
		if f.UnderWay {
			state = "under way"
		}
		detail := f.Detail
		if f.OperationKey != "" {
			detail = f.OperationKey + ": " + detail
		}
		cells := []string{state, f.Kind, f.Channel, f.Order, f.Transaction.String(), f.Events, f.LINEPay, detail}
		if _, err := fmt.Fprintf(r.out, reportColumns, shown(cells)...); err != nil {
			return err
		}
	}
	return nil
}

// unseen counts orders that could not be looked at.
func (r *tally) unseen(orders int, why string) {
	r.unseenOrders += orders
	r.leave(plural(orders, "order") + " not looked at: " + why)
}

// leave says what was left out.
func (r *tally) leave(note string) {
	r.progress.clear()
	r.notes = append(r.notes, note)
	fmt.Fprintln(r.err, printable(note))
}

// end sums up. Its error is that of the run, or says what the exit code is for.
func (r *tally) end(err error) error {
	r.progress.clear()
	if r.file != nil {
		r.csv.Flush()
		if wrong := errors.Join(r.csv.Error(), r.file.Close()); wrong != nil {
			err = errors.Join(err, fmt.Errorf("--csv: %w", wrong))
		}
	}
	if err != nil {
		return err
	}
	to := r.out
	if r.json { // what is read by a program has findings only
		to = r.err
	}
	if err := r.sum(to); err != nil {
		return err
	}
	switch {
	case r.disagree > 0:
		text := fmt.Sprintf("%s in disagreement, about %s", plural(r.disagree, "finding"), plural(r.unclear, "order"))
		if len(r.notes) > 0 {
			text += "; not all could be looked at"
		}
		return errors.New(text)
	case len(r.notes) > 0:
		return openError{errors.New("not all could be looked at")}
	default:
		return nil
	}
}

func (r *tally) sum(to io.Writer) error {
	orders, pending := plural(r.seen, "order"), plural(r.underWay, "finding")
	if _, err := fmt.Fprintf(to, "%s looked at: %d disagree; %s under way\n", orders, r.unclear, pending); err != nil {
		return err
	}
	for _, side := range []struct {
		name string
		sums sums
	}{{"events", r.fromEvents}, {"LINE Pay", r.fromLINEP}} {
		for _, m := range side.sums {
			if _, err := fmt.Fprintf(to, "%s: %s\n", side.name, printable(m.String())); err != nil {
				return err
			}
		}
	}
	return nil
}

// progress is a line that is kept up to date, on a terminal.
type progress struct {
	out     io.Writer
	columns int // 0: it is no terminal
	shown   bool
}

func newProgress(out io.Writer) *progress { return &progress{out: out, columns: width(out)} }

func (p *progress) show(text string) {
	if p.columns == 0 {
		return
	}
	p.clear()
	fmt.Fprint(p.out, text[:min(len(text), p.columns-1)])
	p.shown = true
}

func (p *progress) clear() {
	if p.shown {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.shown = false
	}
}
