package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"

	"linepay-worker/schemas"
)

// ceiling is the loop that somebody in a hurry writes by hand: take, claim, call, keep the result, publish, acknowledge. It is as fast as
// these libraries are, and keeps no promise: killed during a call, it charges the order again, and what it has published may be lost.
type ceiling struct {
	js     jetstream.JetStream
	redis  *redis.AutoPipeliner
	http   *http.Client
	base   string
	id     string
	secret string
}

// runCeiling has the settings of a worker, in the same variables.
func runCeiling(ctx context.Context) error {
	inFlight, err := strconv.Atoi(os.Getenv("CONCURRENCY"))
	if err != nil {
		return fmt.Errorf("CONCURRENCY: %w", err)
	}
	conn, err := nats.Connect(os.Getenv("NATS_URL"))
	if err != nil {
		return err
	}
	defer conn.Close()
	js, err := jetstream.New(conn, jetstream.WithPublishAsyncMaxPending(publishing))
	if err != nil {
		return err
	}
	options, err := redis.ParseURL(os.Getenv("REDIS_URL"))
	if err != nil {
		return err
	}
	client := redis.NewClient(options)
	defer client.Close()
	pipeline, err := client.AutoPipeline()
	if err != nil {
		return err
	}
	transport := &http.Transport{MaxIdleConns: inFlight, MaxIdleConnsPerHost: inFlight, DisableCompression: true}
	c := &ceiling{
		js: js, redis: pipeline, http: &http.Client{Timeout: 40 * time.Second, Transport: transport},
		base: os.Getenv("LINEPAY_BASE_URL"), id: os.Getenv("LINEPAY_CHANNEL_ID"), secret: os.Getenv("LINEPAY_CHANNEL_SECRET"),
	}
	return c.consume(ctx, inFlight)
}

// consume has as many goroutines as commands may be in flight.
func (c *ceiling) consume(ctx context.Context, inFlight int) error {
	consumer, err := c.js.CreateOrUpdateConsumer(ctx, schemas.StreamCommands, jetstream.ConsumerConfig{
		Durable: schemas.ConsumerPrefix + channel, FilterSubject: schemas.CommandSubject(channel, "*"),
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Minute, MaxAckPending: -1,
	})
	if err != nil {
		return err
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(max(2*inFlight, 100)))
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, messages.Stop)()
	taken := make(chan jetstream.Msg)
	var handlers sync.WaitGroup
	for range inFlight {
		handlers.Go(func() {
			for msg := range taken {
				if err := c.handle(ctx, msg); err != nil && ctx.Err() == nil {
					fmt.Fprintln(os.Stderr, err)
				}
			}
		})
	}
	defer handlers.Wait()
	defer close(taken)
	for {
		msg, err := messages.Next()
		if errors.Is(err, jetstream.ErrMsgIteratorClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		taken <- msg
	}
}

// order is as much of a command as the loop reads.
type order struct {
	ID   string `json:"id"`
	Type string `json:"type"`
	Data struct {
		TransactionID string `json:"transactionId"`
		OrderID       string `json:"orderId"`
		Amount        string `json:"amount"`
		Currency      string `json:"currency"`
		RefundAmount  string `json:"refundAmount"`
	} `json:"data"`
}

// result is the event.
type result struct {
	SpecVersion string          `json:"specversion"`
	ID          string          `json:"id"`
	Source      string          `json:"source"`
	Type        string          `json:"type"`
	Time        time.Time       `json:"time"`
	Data        json.RawMessage `json:"data"`
}

func (c *ceiling) handle(ctx context.Context, msg jetstream.Msg) error {
	var o order
	if err := json.Unmarshal(msg.Data(), &o); err != nil {
		return err
	}
	key := "bench:" + o.Type + ":" + o.Data.TransactionID
	first, err := c.redis.SetNX(ctx, key, "claimed", 0).Result()
	if err != nil {
		return err
	}
	event, data := "duplicate", []byte("null")
	if first {
		if event, data, err = c.call(ctx, &o); err != nil {
			event, data = "failed", []byte("null")
		}
		if err := c.redis.Set(ctx, key, data, 0).Err(); err != nil {
			return err
		}
	}
	body, err := json.Marshal(result{
		SpecVersion: "1.0", ID: o.ID + "-" + event, Source: "/ceiling", Type: "linepay.event." + event + ".v1",
		Time: time.Now().UTC(), Data: data,
	})
	if err != nil {
		return err
	}
	if _, err := c.js.PublishAsync(schemas.EventSubject(channel, event, o.Data.OrderID), body, jetstream.WithStallWait(patience)); err != nil {
		return err
	}
	return msg.Ack()
}

// call signs the request as LINE Pay demands it: HMAC-SHA256 of secret, path, body and nonce.
func (c *ceiling) call(ctx context.Context, o *order) (event string, data []byte, err error) {
	path, event := "/v3/payments/"+o.Data.TransactionID+"/confirm", "captured"
	body := `{"amount":` + o.Data.Amount + `,"currency":"` + o.Data.Currency + `"}`
	if strings.Contains(o.Type, ".refund.") {
		path, event = "/v3/payments/"+o.Data.TransactionID+"/refund", "refunded"
		body = `{"refundAmount":` + o.Data.RefundAmount + `}`
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, strings.NewReader(body))
	if err != nil {
		return "", nil, err
	}
	nonce := rand.Text()
	mac := hmac.New(sha256.New, []byte(c.secret))
	mac.Write([]byte(c.secret + path + body + nonce))
	request.Header["Content-Type"] = []string{"application/json"}
	request.Header["X-LINE-ChannelId"] = []string{c.id}
	request.Header["X-LINE-Authorization-Nonce"] = []string{nonce}
	request.Header["X-LINE-Authorization"] = []string{base64.StdEncoding.EncodeToString(mac.Sum(nil))}
	response, err := c.http.Do(request)
	if err != nil {
		return "", nil, err
	}
	defer response.Body.Close()
	data, err = io.ReadAll(response.Body)
	if err != nil {
		return "", nil, err
	}
	if !bytes.Contains(data, []byte(`"returnCode":"0000"`)) {
		event = "failed"
	}
	return event, data, nil
}
