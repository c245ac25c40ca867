package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"linepay-worker/schemas"
)

// results tell what becomes of replays: each in JSON, and for people those alone that need a look.
type results struct {
	console
	json     bool
	followed bool

	mu     sync.Mutex
	shown  bool // a progress line is on the terminal
	broken error
}

// replayDocument is one line of --json.
type replayDocument struct {
	Number       uint64             `json:"number"`
	Result       string             `json:"result"`
	Sequence     uint64             `json:"sequence,omitzero"` // in LINEPAY_COMMANDS
	Channel      string             `json:"channel,omitzero"`
	Operation    string             `json:"operation,omitzero"`
	OrderID      string             `json:"orderId,omitzero"`
	Command      schemas.CommandRef `json:"command,omitzero"`
	OperationKey string             `json:"operationKey,omitzero"`
	EventID      string             `json:"eventId,omitzero"`
	DeadLetter   uint64             `json:"deadLetter,omitzero"` // that it has become
	Why          string             `json:"why,omitzero"`
}

// summaryDocument is the last line of --json.
type summaryDocument struct {
	Summary map[string]int `json:"summary"` // numbers of dead letters by result
	Stopped string         `json:"stopped,omitzero"`
}

// over tells of one replay that is over.
func (p *results) over(r *replay) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.json:
		p.broken = errors.Join(p.broken, document(p.out, r.document()))
	case isFailure(r.result), r.result == resultRefused, r.result == resultGone, r.result == resultUnknown:
		p.clearLocked()
		_, err := fmt.Fprintf(p.out, "%d  %s  %s  %s%s\n", r.number, cmp.Or(printable(r.op), "-"), cmp.Or(printable(r.order), "-"), r.result, r.remark())
		p.broken = errors.Join(p.broken, err)
	}
}

// remark is why, and where to look.
func (r *replay) remark() string {
	var parts []string
	if r.again != 0 {
		parts = append(parts, fmt.Sprintf("as dead letter %d", r.again))
	}
	if r.why != "" {
		parts = append(parts, r.why)
	}
	if r.event != nil {
		parts = append(parts, remarks(r.event)...)
	}
	if len(parts) == 0 {
		return ""
	}
	return ": " + printable(strings.Join(parts, ", "))
}

func (r *replay) document() replayDocument {
	d := replayDocument{
		Number: r.number, Result: r.result, Sequence: r.sequence, Channel: text(r.channel), Operation: text(r.op), OrderID: r.order,
		Command: r.command, OperationKey: r.key, DeadLetter: r.again, Why: text(r.why),
	}
	if r.event != nil {
		d.EventID = r.event.ID
	}
	return d
}

func (p *results) warn(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clearLocked()
	fmt.Fprintf(p.err, "%s: %s\n", program, printable(err.Error()))
}

// progress keeps a line up to date, on a terminal.
func (p *results) progress(f *follower) func(context.Context) error {
	return func(ctx context.Context) error {
		columns := width(p.err)
		if columns == 0 {
			return nil
		}
		tick := time.NewTicker(sweepEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				p.mu.Lock()
				p.clearLocked()
				p.mu.Unlock()
				return nil
			case <-tick.C:
				f.mu.Lock()
				all, left, failed := len(f.all), f.left, f.failed
				f.mu.Unlock()
				p.mu.Lock()
				p.clearLocked()
				line := fmt.Sprintf("%d dead letters, %d open, %d failed", all, left, failed)
				fmt.Fprint(p.err, line[:min(len(line), columns-1)])
				p.shown = true
				p.mu.Unlock()
			}
		}
	}
}

func (p *results) clearLocked() {
	if p.shown {
		fmt.Fprint(p.err, "\r\x1b[K")
		p.shown = false
	}
}

// mostOpen are listed at the end.
const mostOpen = 10

// end prints what is open yet and the summary, and gives what the exit code is made of. stopped is why not all was published.
func (p *results) end(f *follower, stopped error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	count, open := map[string]int{}, []*replay(nil)
	for _, r := range f.all {
		count[r.result]++
		if r.result == resultOpen {
			open = append(open, r)
		}
	}
	slices.SortFunc(open, func(a, b *replay) int { return cmp.Compare(a.number, b.number) })
	summary := summaryDocument{Summary: count}
	if stopped != nil {
		summary.Stopped = stopped.Error()
	}
	if p.json {
		for _, r := range open {
			p.broken = errors.Join(p.broken, document(p.out, r.document()))
		}
		p.broken = errors.Join(p.broken, document(p.out, summary))
	} else {
		for _, r := range open[:min(mostOpen, len(open))] {
			fmt.Fprintf(p.out, "%d  %s  %s  open: sequence %d of %s\n", r.number, cmp.Or(printable(r.op), "-"), cmp.Or(printable(r.order), "-"),
				r.sequence, schemas.StreamCommands)
		}
		if len(open) > mostOpen {
			fmt.Fprintf(p.out, "and %d more that are open\n", len(open)-mostOpen)
		}
		_, err := fmt.Fprintln(p.out, counted(count))
		p.broken = errors.Join(p.broken, err)
	}
	return errors.Join(p.broken, stopped, judge(count))
}

// judge turns results into an exit code.
func judge(count map[string]int) error {
	open, failed := count[resultOpen]+count[resultUnknown], 0
	for result, n := range count {
		if isFailure(result) {
			failed += n
		}
	}
	switch {
	case open > 0:
		return openError{fmt.Errorf("nobody knows yet what becomes of %s", plural(open, "command"))}
	case failed > 0:
		return fmt.Errorf("%s failed", plural(failed, "replay"))
	case count[resultRefused] > 0:
		return refusedError{fmt.Errorf("%s refused", plural(count[resultRefused], "dead letter"))}
	default:
		return nil
	}
}
