package consumer_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"linepay-worker/consumer"
	"linepay-worker/consumer/consumertest"
	"linepay-worker/idempotency"
	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// BenchmarkHandle carries a confirm out, from the delivery to its fate. In memory, nothing but the line's own work is left; with Redis, the
// claim and the settle are real.
func BenchmarkHandle(b *testing.B) {
	b.Run("in-memory", func(b *testing.B) {
		client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
		b.Cleanup(func() { _ = client.Close() })
		client.AddHook(granting{})
		benchmarkHandle(b, oneByOne{client})
	})
	b.Run("redis", func(b *testing.B) { benchmarkHandle(b, consumertest.Redis(b).Client(b)) })
}

func benchmarkHandle(b *testing.B, client redis.UniversalClient) {
	pay, err := linepay.New(linepay.Config{BaseURL: "http://127.0.0.1", ChannelID: "1", Secret: "secret", Transport: confirming{}})
	if err != nil {
		b.Fatal(err)
	}
	guard, err := idempotency.New(idempotency.Config{Redis: client, Retention: time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	worker, err := consumer.New(consumer.Config{
		Channel: "tw", ChannelID: "1", LINEPay: pay, Guard: guard, Bus: &forgetful{}, JetStream: noStreams{},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for n := 1; b.Loop(); n++ {
		id := strconv.Itoa(n)
		fate := worker.Handle(b.Context(), &consumer.Message{
			Subject: "linepay.commands.tw.confirm", Sequence: uint64(n), Deliveries: 1, Stored: time.Now(),
			Body: []byte(`{"specversion":"1.0","id":"C-` + id + `","source":"/test","type":"linepay.command.confirm.v1",` +
				`"data":{"transactionId":"` + id + `","orderId":"ORDER-` + id + `","amount":"1000","currency":"TWD"}}`),
		})
		if fate.Kind != consumer.Ack || fate.Outcome != schemas.EventCaptured {
			b.Fatalf("the fate is %s, the answer %q: %s (%v)", fate.Kind, fate.Outcome, fate.Why, fate.Err)
		}
	}
}

// granting is a Redis that grants every claim, and takes everything else.
type granting struct{ redis.Hook }

// Arguments of a claim, which has more of them than the other scripts.
const (
	argumentsOfAClaim = 20
	claimSource       = 7
	claimID           = 8
)

func (granting) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(_ context.Context, cmd redis.Cmder) error {
		answer := []any{"ok"}
		if args := cmd.Args(); len(args) > argumentsOfAClaim {
			now := time.Now().UnixMilli()
			answer = []any{
				idempotency.Fresh.String(), idempotency.ReasonNew, strconv.FormatInt(now, 10), args[claimSource], args[claimID], "", "1",
				strconv.FormatInt(now+60_000, 10), "0", "", "", strconv.FormatInt(now+70_000, 10), "0", "0", "0", "",
			}
		}
		cmd.(*redis.Cmd).SetVal(answer)
		return nil
	}
}

func (granting) DialHook(next redis.DialHook) redis.DialHook { return next }

func (granting) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// confirming is a LINE Pay that confirms every payment at once.
type confirming struct{}

func (confirming) RoundTrip(r *http.Request) (*http.Response, error) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return nil, err
	}
	id, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v3/payments/"), "/")
	body := fmt.Sprintf(`{"returnCode":"0000","returnMessage":"Success.","info":{"orderId":"ORDER-%s","transactionId":%s,`+
		`"payInfo":[{"method":"BALANCE","amount":1000}]}}`, id, id)
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// forgetful is a bus that takes events and keeps none, but writes them as they would go out.
type forgetful struct{ shelf }

func (*forgetful) Publish(_ context.Context, e *schemas.Event) error {
	_, err := e.Encode()
	return err
}
