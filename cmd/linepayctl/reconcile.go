package main

import (
	"context"
	"fmt"

	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// orderOn is an order on a channel.
type orderOn struct{ channel, order string }

// reconciliation compares many orders. Each is looked at once, in whatever order is quickest; what then seems to disagree is looked at a
// second time, in the order that leaves no room for what a worker does meanwhile: LINE Pay and the guard, then the commands that wait, then
// the events. An effect that LINE Pay shows by then has its command waiting still, or its event stored.
type reconciliation struct {
	*look
	channel string // "" for all
	report  *tally
}

// subject is the token of the channels that are looked at.
func (r *reconciliation) subject() string {
	if r.channel == "" {
		return "*"
	}
	return r.channel
}

// whereabouts finds the channels of orders: those that have events of them, or where none has, all that are configured.
func (r *reconciliation) whereabouts(ctx context.Context, orders []string) (places []orderOn, err error) {
	for _, part := range batches(orders) {
		on := map[string]map[string]bool{}
		err := r.history(ctx, r.subject(), part, func(s stored) {
			if channel, _, order, err := schemas.ParseEventSubject(s.subject); err == nil {
				if on[order] == nil {
					on[order] = map[string]bool{}
				}
				on[order][channel] = true
			}
		})
		if err != nil {
			return nil, err
		}
		for _, order := range part {
			channels := sortedKeys(on[order])
			switch {
			case len(channels) > 0:
			case r.channel != "":
				channels = []string{r.channel}
			default:
				channels = sortedKeys(r.merchants)
			}
			for _, channel := range channels {
				places = append(places, orderOn{channel, order})
			}
		}
	}
	return places, nil
}

// run compares the orders. Its error is NATS': without events there is nothing to compare.
func (r *reconciliation) run(ctx context.Context, places []orderOn) error {
	byChannel := map[string][]string{}
	for _, at := range places {
		byChannel[at.channel] = append(byChannel[at.channel], at.order)
	}
	r.report.begin(len(places))
	var again [][]*books
	for _, channel := range sortedKeys(byChannel) {
		orders := byChannel[channel]
		if r.merchants[channel] == nil {
			r.report.unseen(len(orders), fmt.Sprintf("channel %s is not configured here", channel))
			continue
		}
		unclear, err := r.firstLook(ctx, channel, orders)
		if err != nil {
			return err
		}
		again = append(again, unclear...)
	}
	return r.secondLook(ctx, again)
}

// firstLook gives those that seem to disagree, in batches. Where LINE Pay refuses the channel, it is not asked again.
func (r *reconciliation) firstLook(ctx context.Context, channel string, orders []string) (again [][]*books, err error) {
	parts := batches(orders)
	for n, part := range parts {
		batch := make([]*books, len(part))
		for i, order := range part {
			batch[i] = &books{channel: channel, order: order}
		}
		if err := r.events(ctx, batch); err != nil {
			return nil, err
		}
		if err := r.payments(ctx, r.merchants[channel], batch); err != nil {
			if ctx.Err() != nil {
				return nil, err
			}
			if linepay.VerdictOf(err) != linepay.ChannelFault {
				r.report.unseen(len(part), err.Error())
				continue
			}
			left := 0
			for _, part := range parts[n:] {
				left += len(part)
			}
			r.report.unseen(left, err.Error())
			break
		}
		r.ask(ctx, batch, r.records)
		var unclear []*books
		for _, b := range batch {
			if findings := b.compare(); len(findings) > 0 {
				unclear = append(unclear, b)
			} else if err := r.report.add(b, nil); err != nil {
				return nil, err
			}
		}
		if len(unclear) > 0 {
			again = append(again, unclear)
		}
	}
	return again, nil
}

// secondLook decides about what is left.
func (r *reconciliation) secondLook(ctx context.Context, again [][]*books) error {
	var all []*books
	for _, batch := range again {
		if err := r.payments(ctx, r.merchants[batch[0].channel], batch); err != nil {
			if ctx.Err() != nil {
				return err
			}
			r.report.unseen(len(batch), err.Error())
			continue
		}
		r.ask(ctx, batch, r.records)
		all = append(all, batch...)
	}
	if len(all) == 0 {
		return nil
	}
	if err := r.waiting(ctx, r.subject(), all); err != nil {
		return err
	}
	for _, batch := range again {
		if !batch[0].walked { // LINE Pay did not answer
			continue
		}
		if err := r.events(ctx, batch); err != nil {
			return err
		}
		r.ask(ctx, batch, func(ctx context.Context, b *books) error {
			_, err := r.recordsAgain(ctx, b)
			return err
		})
		for _, b := range batch {
			if err := r.report.add(b, b.compare()); err != nil {
				return err
			}
		}
	}
	return nil
}

// events reads the history of a batch, all of one channel.
func (r *reconciliation) events(ctx context.Context, batch []*books) error {
	kept, err := r.kept(ctx)
	if err != nil {
		return err
	}
	byOrder := map[string]*books{}
	var orders []string
	for _, b := range batch {
		b.events, b.kept = nil, kept
		byOrder[b.order] = b
		orders = append(orders, b.order)
	}
	return r.history(ctx, batch[0].channel, orders, func(s stored) {
		if _, _, order, err := schemas.ParseEventSubject(s.subject); err == nil && byOrder[order] != nil {
			byOrder[order].events = append(byOrder[order].events, s)
		}
	})
}

// ask asks the guard about a batch. Should Redis go away on the way, the rest is compared without it, and the report says so.
func (r *reconciliation) ask(ctx context.Context, batch []*books, about func(context.Context, *books) error) {
	for _, b := range batch {
		if err := about(ctx, b); err != nil {
			b.records = nil
			if r.guard != nil {
				r.report.leave("the guard's records are not all compared: " + err.Error())
			}
			r.guard = nil
		}
	}
}
