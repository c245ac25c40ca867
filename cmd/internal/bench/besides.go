package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// What a worker may have besides the commands that are measured: others that wait for a retry, and another channel in trouble.

// neighbour is that channel, and what is wrong with its LINE Pay.
const (
	neighbour   = "neighbour"
	slowLINEPay = "slow"
	downLINEPay = "down"
)

// neighbourDelay is longer than any measurement: a slow LINE Pay has answered nobody by its end.
const neighbourDelay = 30 * time.Second

// ofNeighbour are as many commands as keep all its slots busy, and leave some to wait.
const ofNeighbour = 1000

// besides is how many commands there are that no measurement counts.
func (l *load) besides() int {
	if l.trouble != "" {
		return l.retries + ofNeighbour
	}
	return l.retries
}

// prepareBesides is done before the subject starts.
func (r *round) prepareBesides(ctx context.Context) error {
	if r.load.trouble != "" {
		if err := r.meetNeighbour(ctx); err != nil {
			return err
		}
	}
	if r.load.retries > 0 {
		return r.postpone(ctx)
	}
	return nil
}

// farOff is when the retries are due: not during a measurement.
const farOff = time.Hour

// postpone has commands wait for a retry, as after hours without LINE Pay: they have been delivered, and given back with a delay.
func (r *round) postpone(ctx context.Context) error {
	if err := r.feed.publish(ctx, r.load.retries); err != nil {
		return err
	}
	consumer, err := r.js.CreateConsumer(ctx, schemas.StreamCommands, jetstream.ConsumerConfig{
		Durable: schemas.ConsumerPrefix + channel, FilterSubject: schemas.CommandSubject(channel, "*"),
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: farOff, MaxAckPending: -1,
	})
	if err != nil {
		return err
	}
	for held := 0; held < r.load.retries; {
		batch, err := consumer.Fetch(min(1000, r.load.retries-held), jetstream.FetchMaxWait(patience))
		if err != nil {
			return err
		}
		for msg := range batch.Messages() {
			if err := msg.NakWithDelay(farOff); err != nil {
				return err
			}
			held++
		}
		if err := batch.Error(); err != nil {
			return fmt.Errorf("after %d commands: %w", held, err)
		}
	}
	return r.conn.FlushTimeout(patience)
}

// meetNeighbour starts what the other channel has for a LINE Pay, and gives it commands. Where that is down, nobody listens at its address.
func (r *round) meetNeighbour(ctx context.Context) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	address := "127.0.0.1:" + port
	if r.load.trouble == slowLINEPay {
		env := []string{"BENCH_ADDR=" + address, "BENCH_DELAY=" + neighbourDelay.String()}
		p, err := r.start("neighbour", env, r.self, partLINEPay)
		if err != nil {
			return err
		}
		r.neighbours = append(r.neighbours, p)
		if err := r.until(ctx, "the neighbour's LINE Pay answers", func() (bool, error) { return answers(ctx, address), nil }); err != nil {
			return err
		}
	}
	list := fmt.Sprintf("- {name: %s, id: %q, secret: %s, baseURL: \"http://%s\"}\n", channel, channelID, channelSecret, r.payAddress) +
		fmt.Sprintf("- {name: %s, id: \"2\", secret: %s, baseURL: \"http://%s\"}\n", neighbour, channelSecret, address)
	if err := os.WriteFile(r.channelsFile(), []byte("channels:\n"+list), 0o600); err != nil {
		return err
	}
	futures := make([]jetstream.PubAckFuture, 0, ofNeighbour)
	for range ofNeighbour {
		msg := r.load.message(r.feed.next)
		msg.Subject = schemas.CommandSubject(neighbour, linepay.Confirm)
		r.feed.next++
		future, err := r.feed.js.PublishMsgAsync(msg, jetstream.WithStallWait(patience))
		if err != nil {
			return err
		}
		futures = append(futures, future)
	}
	return acknowledged(ctx, futures)
}

func (r *round) channelsFile() string { return filepath.Join(r.dir, "channels.yaml") }
