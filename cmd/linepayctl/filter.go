package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"linepay-worker/publisher"
	"linepay-worker/schemas"
)

// letterFilter chooses among dead letters.
type letterFilter struct {
	Reason    []string      `placeholder:"REASON" help:"Only those parked for these reasons, repeatable: ${reasons}."`
	Code      []string      `sep:"," placeholder:"CODE" help:"Only those with these codes of LINE Pay, repeatable."`
	Channel   string        `default:"*" placeholder:"NAME" help:"Only those of this channel (default: all)."`
	Operation string        `default:"*" placeholder:"NAME" help:"Only those of this operation (default: all)."`
	Order     *string       `placeholder:"ORDER" help:"Only those of this order."`
	OlderThan time.Duration `placeholder:"DURATION" help:"Only those that were parked longer ago than this."`
	NewerThan time.Duration `placeholder:"DURATION" help:"Only those that were parked within this time."`
}

// Validate checks the spans of time against each other.
func (f *letterFilter) Validate() error {
	switch {
	case f.OlderThan < 0 || f.NewerThan < 0:
		return errors.New("--older-than and --newer-than must not be negative")
	case f.NewerThan > 0 && f.OlderThan >= f.NewerThan:
		return fmt.Errorf("nothing is older than %s and newer than %s", f.OlderThan, f.NewerThan)
	default:
		return nil
	}
}

// check says whether the reasons are such.
func (f *letterFilter) check() error {
	for _, reason := range f.Reason {
		if known := schemas.DeadLetterReasons(); !slices.Contains(known, reason) {
			return usageError{fmt.Errorf("--reason must be one of %s, not %q", strings.Join(known, ", "), reason)}
		}
	}
	return nil
}

// empty says whether it lets everything through.
func (f *letterFilter) empty() bool {
	return len(f.Reason) == 0 && len(f.Code) == 0 && f.Channel == "*" && f.Operation == "*" && f.Order == nil &&
		f.OlderThan == 0 && f.NewerThan == 0
}

func (f *letterFilter) lets(l *letter, now time.Time) bool {
	age := now.Sub(l.parkedAt())
	among := func(list []string, value string) bool { return len(list) == 0 || slices.Contains(list, value) }
	is := func(pattern, value string) bool { return pattern == "*" || pattern == value }
	switch {
	case !is(f.Channel, l.channel), !is(f.Operation, l.operation): // the tokens of its subject may be cut, or escaped
		return false
	case !among(f.Reason, l.Reason), !among(f.Code, l.Code):
		return false
	case f.Order != nil && (l.command == nil || l.order() != *f.Order):
		return false
	case f.OlderThan > 0 && age <= f.OlderThan, f.NewerThan > 0 && age > f.NewerThan:
		return false
	default:
		return true
	}
}

// each gives what the filter lets through, oldest first.
func (f *letterFilter) each(ctx context.Context, b *box, give func(*letter) error) error {
	now, subjects := time.Now(), schemas.DeadLettersFilter(f.Channel, f.Operation)
	if f.Channel == "*" && f.Operation == "*" { // what somebody else has put on a subject of another form, too
		subjects = schemas.SubjectsDeadLetters
	}
	return b.letters.Each(ctx, subjects, func(d *publisher.Letter) error {
		if l := examine(d); f.lets(l, now) {
			return give(l)
		}
		return nil
	})
}

// chosen are dead letters by number, by filter, or all of them: what a verb that changes something has to be told.
type chosen struct {
	Numbers []string     `arg:"" optional:"" name:"number" help:"Numbers of dead letters."`
	All     bool         `help:"All dead letters."`
	Filter  letterFilter `embed:""`
}

// check demands exactly one way of choosing. Those that are named by their numbers need no filter: there --reason says why, as it does for resolve.
func (s *chosen) check(because *string) (numbers, error) {
	if len(s.Numbers) > 0 && *because == "" {
		*because, s.Filter.Reason = strings.Join(s.Filter.Reason, ","), nil
	}
	list, err := readNumbers(s.Numbers)
	if err == nil {
		err = s.Filter.check()
	}
	ways := 0
	for _, given := range []bool{len(list) > 0, s.All, !s.Filter.empty()} {
		if given {
			ways++
		}
	}
	switch {
	case err != nil:
		return nil, err
	case ways == 0:
		return nil, usageError{errors.New("which dead letters? Give numbers, a filter such as --reason exhausted, or --all")}
	case ways > 1:
		return nil, usageError{errors.New("give numbers, a filter or --all, and only one of these")}
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}

// each gives the chosen ones, oldest first; gone is told of numbers that are not there.
func (s *chosen) each(ctx context.Context, b *box, list numbers, give func(*letter) error, gone func(uint64) error) error {
	if len(list) == 0 {
		return s.Filter.each(ctx, b, give)
	}
	for _, number := range list {
		d, err := b.letters.Get(ctx, number)
		switch {
		case errors.Is(err, publisher.ErrGone):
			err = gone(number)
		case err == nil:
			err = give(examine(d))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

const (
	page    = 256 // dead letters that are held at a time
	lookers = 16  // look-ups at a time
)

// paged gives dead letters on, in their order, after something was looked up about each: for many at a time.
type paged struct {
	look func(context.Context, *letter) error
	give func(*letter) error
	held []*letter
}

func (p *paged) add(ctx context.Context, l *letter) error {
	if p.held = append(p.held, l); len(p.held) < page {
		return nil
	}
	return p.flush(ctx)
}

// flush gives on what is held. The caller ends with it.
func (p *paged) flush(ctx context.Context) error {
	looking, within := errgroup.WithContext(ctx)
	looking.SetLimit(lookers)
	for _, l := range p.held {
		looking.Go(func() error { return p.look(within, l) })
	}
	if err := looking.Wait(); err != nil {
		return err
	}
	for _, l := range p.held {
		if err := p.give(l); err != nil {
			return err
		}
	}
	p.held = p.held[:0]
	return nil
}
