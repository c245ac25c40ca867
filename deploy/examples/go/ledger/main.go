// Command ledger books money that was taken or given back: every captured and refunded event, once.
//
//	go run ./deploy/examples/go/ledger
//
// The durable name "ledger" is that of the example in TypeScript, too: started side by side, the two share one feed.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var booked = map[string]bool{} // by event id; in earnest, a table that has the event id as its key

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	nc := must(nats.Connect(cmp.Or(os.Getenv("NATS_URL"), nats.DefaultURL), nats.MaxReconnects(-1),
		nats.CustomInboxPrefix(cmp.Or(os.Getenv("NATS_INBOX_PREFIX"), "_INBOX"))))
	defer nc.Close()
	// JetStream keeps the place of a durable consumer, and delivers again what was not acknowledged. Where a ledger may not make one, an
	// operator has made it.
	js := must(jetstream.New(nc))
	consumer, err := js.Consumer(ctx, "LINEPAY_EVENTS", "ledger")
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		consumer, err = js.CreateConsumer(ctx, "LINEPAY_EVENTS", jetstream.ConsumerConfig{
			Durable: "ledger", FilterSubjects: []string{"linepay.events.*.captured.>", "linepay.events.*.refunded.>"},
		})
	}
	consumer = must(consumer, err)
	consuming := must(consumer.Consume(book))
	<-ctx.Done()
	consuming.Drain()
	<-consuming.Closed()
}

func book(msg jetstream.Msg) {
	var e struct { // ids and amounts are strings; calculate with a decimal type, never with floats
		ID, Type string
		Data     struct{ OrderID, TransactionID, Amount, RefundTransactionID, RefundAmount, Currency string }
	}
	if err := json.Unmarshal(msg.Data(), &e); err != nil || e.ID == "" {
		log.Printf("not an event: %s: %v", msg.Subject(), err)
		_ = msg.NakWithDelay(time.Minute) // it comes again until a person has looked at it
		return
	}
	if !booked[e.ID] { // the same outcome always has the same event id
		booked[e.ID] = true
		fmt.Println("booked", e.Type, e.Data.OrderID, cmp.Or(e.Data.RefundTransactionID, e.Data.TransactionID),
			cmp.Or(e.Data.RefundAmount, e.Data.Amount), e.Data.Currency)
	}
	_ = msg.Ack() // last: a crash before it costs a redelivery, which the id recognises
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}
