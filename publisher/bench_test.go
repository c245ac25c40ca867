package publisher_test

import (
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"linepay-worker/consumer/consumertest"
	"linepay-worker/linepay"
	"linepay-worker/publisher"
	"linepay-worker/schemas"
)

// BenchmarkPublish waits for JetStream's acknowledgement of each event: of one at a time, and of as many as a worker has in flight.
func BenchmarkPublish(b *testing.B) {
	js := consumertest.NATS(b).JetStream(b)
	if _, err := publisher.Provision(b.Context(), js, publisher.StreamOptions{}, true); err != nil {
		b.Fatal(err)
	}
	p, err := publisher.New(b.Context(), js)
	if err != nil {
		b.Fatal(err)
	}
	var n atomic.Int64
	publish := func(b *testing.B) {
		id := strconv.FormatInt(n.Add(1), 10)
		err := p.Publish(b.Context(), schemas.NewEvent(schemas.EventCaptured, time.Now(), schemas.EventData{
			Channel: "tw", Operation: linepay.Confirm, Command: schemas.CommandRef{Source: "/test", ID: "C-" + id}, OrderID: "ORDER-" + id,
			TransactionID: 2026110112345678910, Amount: linepay.MustAmount("1000"), Currency: "TWD", ReturnCode: "0000", ReturnMessage: "Success.",
			SettledBy: schemas.SettledByResponse, Calls: 1, OperationKey: "confirm:2026110112345678910",
			PayInfo: []linepay.PayInfo{{Method: "BALANCE", Amount: linepay.MustAmount("1000")}},
		}))
		if err != nil {
			b.Error(err)
		}
	}
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			publish(b)
		}
	})
	b.Run("many", func(b *testing.B) {
		b.ReportAllocs()
		b.SetParallelism(64)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				publish(b)
			}
		})
	})
}
