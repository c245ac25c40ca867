package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/consumer/pull"
	"linepay-worker/idempotency"
	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// look fills books: it asks everybody who knows something about an order.
type look struct {
	js        jetstream.JetStream
	guard     *idempotency.Guard // nil: not asked
	merchants merchants
}

// history reads every event of the orders, on a channel or on all ("*"), oldest first.
func (l *look) history(ctx context.Context, channel string, orders []string, f func(stored)) error {
	if len(orders) == 0 {
		return nil
	}
	var reading pull.Reading
	for _, order := range orders {
		reading.Filters = append(reading.Filters, schemas.OrderEventsFilter(channel, order))
	}
	return readEvents(ctx, l.js, reading, func(s stored) (bool, error) {
		f(s)
		return true, nil
	})
}

// kept is since when the stream of events holds everything; zero where nothing was ever deleted at its beginning.
func (l *look) kept(ctx context.Context) (time.Time, error) {
	stream, err := l.js.Stream(ctx, schemas.StreamEvents)
	if err != nil {
		return time.Time{}, explain(err, schemas.StreamEvents)
	}
	state := stream.CachedInfo().State
	switch {
	case state.FirstSeq <= 1:
		return time.Time{}, nil
	case state.Msgs == 0:
		return time.Now(), nil
	default:
		return state.FirstTime, nil
	}
}

// inspect asks the guard about the order and all its transactions; nothing where it cannot be asked.
func (l *look) inspect(ctx context.Context, b *books) (found []inspected, err error) {
	m := l.merchants[b.channel]
	if l.guard == nil || m == nil {
		return nil, nil
	}
	entities := []idempotency.Entity{m.entity(idempotency.KindOrder, b.order)}
	transactions := append([]linepay.TransactionID{0}, b.transactions()...)
	for _, id := range transactions[1:] {
		entities = append(entities, m.entity(idempotency.KindTransaction, id.String()))
	}
	for i, entity := range entities {
		inspection, err := l.guard.Inspect(ctx, entity)
		if err != nil {
			return nil, err
		}
		found = append(found, inspected{transactions[i], inspection})
	}
	return found, nil
}

// records asks the guard for what is to be compared: before the commands that wait and the events are read, so that what is done by then
// has its event stored, or its command waiting.
func (l *look) records(ctx context.Context, b *books) (err error) {
	b.records, err = l.inspect(ctx, b)
	return err
}

// recordsAgain asks the guard once more, after the events were read. What was in doubt before and is not any more was decided on the way:
// its command may have left the stream, and its event may not have been read.
func (l *look) recordsAgain(ctx context.Context, b *books) (now []inspected, err error) {
	if now, err = l.inspect(ctx, b); err != nil {
		return nil, err
	}
	doubtful := map[string]bool{}
	for _, on := range now {
		for i := range on.Records {
			doubtful[on.Records[i].Operation] = on.doubtful(&on.Records[i])
		}
	}
	for _, on := range b.records {
		on.Records = slices.DeleteFunc(on.Records, func(r idempotency.Record) bool { return on.doubtful(&r) && !doubtful[r.Operation] })
	}
	return now, nil
}

// longestQuery bounds what one call's address may hold of ids: servers in between take 8 KiB.
const longestQuery = 6000

// mostIDs is how many ids LINE Pay takes in one call.
const mostIDs = 100

// batches cuts ids into lists that fit into one call.
func batches(ids []string) (list [][]string) {
	size := 0
	for _, id := range ids {
		length := len("orderId=&") + len(url.QueryEscape(id))
		if n := len(list); n == 0 || len(list[n-1]) == mostIDs || size+length > longestQuery {
			list, size = append(list, nil), 0
		}
		list[len(list)-1] = append(list[len(list)-1], id)
		size += length
	}
	return list
}

// payments asks LINE Pay about the orders of one channel, all of which have a place in one call. It asks by order, and then by those
// transactions that events name and the answer lacks.
func (l *look) payments(ctx context.Context, m *merchant, orders []*books) error {
	asked := time.Now()
	found, err := byOrder(ctx, m, orders)
	if err != nil {
		return err
	}
	for _, b := range orders {
		b.asked, b.payments = asked, nil
		for _, p := range found {
			if p.OrderID == b.order {
				b.payments = append(b.payments, p)
			}
		}
	}
	if err := byTransaction(ctx, m, orders); err != nil {
		return err
	}
	for _, b := range orders {
		b.looked = true
	}
	return nil
}

// byOrder halves the question where the answer would be too long, and where it is that there is nothing although events tell of payments:
// LINE Pay does not say what one order that it does not know means for the others.
func byOrder(ctx context.Context, m *merchant, orders []*books) ([]linepay.Payment, error) {
	var query linepay.DetailsQuery
	paid := false
	for _, b := range orders {
		query.OrderIDs = append(query.OrderIDs, b.order)
		paid = paid || len(b.moneyEvents()) > 0
	}
	found, err := m.details(ctx, query)
	again := refusedAs(err, tooMany) || err == nil && len(found) == 0 && paid
	if !again || len(orders) == 1 {
		return found, err
	}
	half := len(orders) / 2
	first, err := byOrder(ctx, m, orders[:half])
	if err != nil {
		return nil, err
	}
	second, err := byOrder(ctx, m, orders[half:])
	return append(first, second...), err
}

// byTransaction asks for payments that LINE Pay does not show under their order.
func byTransaction(ctx context.Context, m *merchant, orders []*books) error {
	missing := map[linepay.TransactionID]*books{}
	var ids []linepay.TransactionID
	for _, b := range orders {
		for _, s := range b.moneyEvents() {
			if id := s.event.Data.TransactionID; id != 0 && b.payment(id) == nil && missing[id] == nil {
				missing[id] = b
				ids = append(ids, id)
			}
		}
	}
	for part := range slices.Chunk(ids, mostIDs) {
		found, err := eachTransaction(ctx, m, part)
		if err != nil {
			return err
		}
		for _, p := range found {
			if b := missing[p.TransactionID]; b != nil {
				b.payments = append(b.payments, p)
			}
		}
	}
	return nil
}

// eachTransaction halves the question, as byOrder does: every id should be found.
func eachTransaction(ctx context.Context, m *merchant, ids []linepay.TransactionID) ([]linepay.Payment, error) {
	found, err := m.details(ctx, linepay.DetailsQuery{TransactionIDs: ids})
	if err != nil || len(found) > 0 || len(ids) == 1 {
		return found, err
	}
	half := len(ids) / 2
	first, err := eachTransaction(ctx, m, ids[:half])
	if err != nil {
		return nil, err
	}
	second, err := eachTransaction(ctx, m, ids[half:])
	return append(first, second...), err
}

// waiting finds the commands that wait and are about one of the orders, or one of their transactions.
func (l *look) waiting(ctx context.Context, channel string, orders []*books) error {
	type name struct{ channel, id string }
	byOrder, byTransaction := map[name]*books{}, map[name]*books{}
	for _, b := range orders {
		b.waiting, b.walked = nil, true
		byOrder[name{b.channel, b.order}] = b
		for _, id := range b.transactions() {
			byTransaction[name{b.channel, id.String()}] = b
		}
	}
	err := walk(ctx, l.js, schemas.CommandSubject(channel, "*"), func(m pull.Message) {
		p := place(m, m.Subject)
		if p == nil {
			return
		}
		seen := map[*books]bool{nil: true}
		add := func(b *books) {
			if !seen[b] {
				seen[b] = true
				b.waiting = append(b.waiting, p.named())
			}
		}
		for _, order := range p.orders() {
			add(byOrder[name{p.command.Channel, order}])
		}
		for _, id := range p.transactions() {
			add(byTransaction[name{p.command.Channel, id.String()}])
		}
	})
	if err != nil {
		return fmt.Errorf("find the commands that wait: %w", err)
	}
	for _, b := range orders {
		slices.SortFunc(b.waiting, func(x, y *placed) int { return cmp.Compare(x.sequence, y.sequence) })
	}
	return nil
}

// sortedKeys gives the keys of a map in their order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
