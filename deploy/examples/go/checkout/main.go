// Command checkout orders that a payment be confirmed, as a shop's backend does once LINE Pay has sent the customer to its confirmUrl.
//
//	go run ./deploy/examples/go/checkout ORDER TRANSACTION AMOUNT CURRENCY
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func main() {
	if len(os.Args) != 5 {
		log.Fatal("usage: checkout ORDER TRANSACTION AMOUNT CURRENCY")
	}
	order, transaction, amount, currency := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	nc := must(nats.Connect(cmp.Or(os.Getenv("NATS_URL"), nats.DefaultURL),
		nats.CustomInboxPrefix(cmp.Or(os.Getenv("NATS_INBOX_PREFIX"), "_INBOX"))))
	defer nc.Close()

	// Source and id name the command for ever. Take the id from your own record: whoever tries again sends the same command.
	id := "confirm-" + transaction
	msg := nats.NewMsg("linepay.commands.default.confirm") // linepay.commands.<channel>.<operation>
	msg.Header.Set("Content-Type", "application/cloudevents+json")
	msg.Data = must(json.Marshal(map[string]any{
		"specversion": "1.0", "id": id, "source": "/checkout", "type": "linepay.command.confirm.v1",
		// Ids and amounts are strings: a transaction id does not fit into a float.
		"data": map[string]string{"transactionId": transaction, "orderId": order, "amount": amount, "currency": currency},
	}))

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	// Only JetStream's acknowledgement says that the command is stored. After an error, send it again: the message id keeps repetitions
	// out for a while, and the worker knows the command however late it comes.
	ack := must(must(jetstream.New(nc)).PublishMsg(ctx, msg,
		jetstream.WithMsgID("/checkout "+id), jetstream.WithExpectStream("LINEPAY_COMMANDS")))
	fmt.Printf("ordered: command %s is stored as %s %d\n", id, ack.Stream, ack.Sequence)
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}
