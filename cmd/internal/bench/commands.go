package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// channel is the merchant's name on the bus, that of a worker with a single one.
const channel = "default"

// The amount and currency of every payment.
const (
	amount   = "1000"
	currency = "TWD"
)

// What LINE Pay's stand-in does with a payment is the last digit of its transaction id.
const (
	fateDone    = 0
	fateRefused = 1
	fateRetried = 2 // its first call answers that it is to be called again
	fateLost    = 3 // carried out, and the answer is lost
)

// firstTransaction is as long as LINE Pay's are.
const firstTransaction = 2026_0000_0000_0000_000

// duplicateOf is how far back a duplicate's original is: far enough to be done.
const duplicateOf = 1006

// command is the nth of a load.
type command struct {
	id, order   string
	transaction int64
}

func (l *load) command(n int) command {
	original, fate := n, int64(fateDone)
	if l.mixed {
		switch n % 10 {
		case 6:
			original = max(n-duplicateOf, 0)
		case 7:
			fate = fateRefused
		case 8:
			fate = fateRetried
		case 9:
			fate = fateLost
		}
	}
	return command{id: "C-" + strconv.Itoa(n), order: "B-" + strconv.Itoa(original), transaction: firstTransaction + int64(original)*10 + fate}
}

// orderOf is the order of a transaction.
func orderOf(transaction int64) string {
	return "B-" + strconv.FormatInt((transaction-firstTransaction)/10, 10)
}

// numberOf is the n of an event's subject, whose last token is the order.
func numberOf(subject string) (int, error) {
	return strconv.Atoi(subject[strings.LastIndexByte(subject, '-')+1:])
}

func (l *load) message(n int) *nats.Msg {
	c, operation := l.command(n), linepay.Confirm
	data := fmt.Sprintf(`{"transactionId":"%d","orderId":%q,"amount":%q,"currency":%q}`, c.transaction, c.order, amount, currency)
	if l.refunds {
		operation = linepay.Refund
		data = fmt.Sprintf(`{"transactionId":"%d","orderId":%q,"refundAmount":%q,"refundId":"R-%d"}`, c.transaction, c.order, amount, n)
	}
	msg := nats.NewMsg(schemas.CommandSubject(channel, operation))
	msg.Header.Set(schemas.HeaderContentType, schemas.ContentTypeCloudEvents)
	msg.Header.Set(schemas.HeaderMsgID, "/bench "+c.id)
	msg.Data = []byte(`{"specversion":"1.0","id":"` + c.id + `","source":"/bench","type":"linepay.command.` + string(operation) + `.v1",` +
		`"data":` + data + `}`)
	return msg
}

// publishing is how many commands may be on the way to JetStream at a time.
const publishing = 4000

// feeder gives a load's commands to JetStream, in order.
type feeder struct {
	js   jetstream.JetStream
	load *load
	next int // number of the next command
}

func newFeeder(conn *nats.Conn, l *load) (*feeder, error) {
	js, err := jetstream.New(conn, jetstream.WithPublishAsyncMaxPending(publishing))
	return &feeder{js: js, load: l}, err
}

// publish stores n more commands, and returns when JetStream has acknowledged all.
func (f *feeder) publish(ctx context.Context, n int) error {
	futures := make([]jetstream.PubAckFuture, 0, n)
	for range n {
		future, err := f.js.PublishMsgAsync(f.load.message(f.next), jetstream.WithStallWait(patience))
		if err != nil {
			return fmt.Errorf("publish command %d: %w", f.next, err)
		}
		f.next++
		futures = append(futures, future)
	}
	return acknowledged(ctx, futures)
}

func acknowledged(ctx context.Context, futures []jetstream.PubAckFuture) error {
	for _, future := range futures {
		select {
		case <-future.Ok():
		case err := <-future.Err():
			return fmt.Errorf("publish a command: %w", err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// keep sees to it that as many commands wait as the load says, until ctx ends.
func (f *feeder) keep(ctx context.Context) error {
	for {
		stream, err := f.js.Stream(ctx, schemas.StreamCommands)
		if err == nil {
			err = f.publish(ctx, max(0, f.load.keep-int(stream.CachedInfo().State.Msgs)))
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		pause(ctx, 5*time.Millisecond)
	}
}

// offer publishes commands at the load's rate for some time, and gives the moments at which each was handed to NATS. It keeps to its
// timetable: a slow answer delays no later command.
func (f *feeder) offer(ctx context.Context, d time.Duration) (sent []time.Time, err error) {
	every := time.Second / time.Duration(f.load.rate)
	var futures []jetstream.PubAckFuture
	for began := time.Now(); time.Since(began) < d; {
		pause(ctx, time.Until(began.Add(time.Duration(len(sent))*every)))
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		msg := f.load.message(f.next)
		f.next++
		sent = append(sent, time.Now())
		future, err := f.js.PublishMsgAsync(msg, jetstream.WithStallWait(patience))
		if err != nil {
			return nil, err
		}
		futures = append(futures, future)
	}
	return sent, acknowledged(ctx, futures)
}

// pause lasts until d has passed, or ctx has ended.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

var errRanDry = errors.New("no command was left before the measurement was over")
