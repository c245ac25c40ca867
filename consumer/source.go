package consumer

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/idempotency"
	"linepay-worker/schemas"
)

// ConsumerName is the durable pull consumer of a channel on LINEPAY_COMMANDS.
func ConsumerName(channel string) string { return schemas.ConsumerPrefix + channel }

// consumerConfig is the consumer as the worker creates it. Deliveries and pending acknowledgements are unlimited, for the worker decides
// itself when to park, and commands that wait for a retry count as pending. There is no BackOff list: it would silently replace AckWait.
func (c Config) consumerConfig() jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable:       ConsumerName(c.Channel),
		Description:   "Carries out the LINE Pay commands of channel " + c.Channel,
		FilterSubject: schemas.CommandSubject(c.Channel, "*"),
		AckPolicy:     jetstream.AckExplicitPolicy,
		DeliverPolicy: jetstream.DeliverAllPolicy,
		AckWait:       c.ackWait(),
		MaxDeliver:    -1,
		MaxAckPending: -1,
	}
}

// source binds to the channel's consumer. It creates a missing one, and widens an AckWait that is shorter than a call and a limit of
// commands that wait; other settings
// that would lose commands or deliver one twice at a time are refused.
func (c Config) source(ctx context.Context) (jetstream.Consumer, error) {
	want := c.consumerConfig()
	stream, err := c.JetStream.Stream(ctx, schemas.StreamCommands)
	if err != nil {
		return nil, fmt.Errorf("look at stream %s: %w", schemas.StreamCommands, err)
	}
	found, err := stream.Consumer(ctx, want.Durable)
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound) && c.Provision:
		found, err = stream.CreateConsumer(ctx, want)
		if err != nil {
			return nil, fmt.Errorf("create consumer %s: %w", want.Durable, err)
		}
		return found, nil
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		return nil, fmt.Errorf("consumer %s does not exist on %s: create it, or run the worker with --provision", want.Durable, schemas.StreamCommands)
	case err != nil:
		return nil, fmt.Errorf("look at consumer %s: %w", want.Durable, err)
	}
	got := found.CachedInfo().Config
	if narrow := got.AckWait < want.AckWait || got.MaxAckPending > 0; narrow && len(got.BackOff) == 0 && c.Provision {
		got.AckWait, got.MaxAckPending = max(got.AckWait, want.AckWait), want.MaxAckPending
		if found, err = stream.UpdateConsumer(ctx, got); err != nil {
			return nil, fmt.Errorf("widen AckWait of consumer %s to %s, and its MaxAckPending: %w", want.Durable, got.AckWait, err)
		}
	}
	if faults := c.Drift(found.CachedInfo().Config); len(faults) > 0 {
		return found, fmt.Errorf("consumer %s: %w", want.Durable, errors.Join(faults...))
	}
	return found, nil
}

// Drift names the settings of the channel's consumer, as it is, that a worker could not keep its promises with. Of the configuration it
// needs Channel and LINEPay.
func (c Config) Drift(got jetstream.ConsumerConfig) (faults []error) {
	want := c.consumerConfig()
	fault := func(when bool, format string, args ...any) {
		if when {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(got.FilterSubject != want.FilterSubject, "its filter is %q, not %q", got.FilterSubject, want.FilterSubject)
	fault(got.AckPolicy != jetstream.AckExplicitPolicy, "its ack policy is %s, not explicit", got.AckPolicy)
	fault(got.DeliverSubject != "", "it pushes to %s, and the worker pulls", got.DeliverSubject)
	fault(got.HeadersOnly, "it delivers headers only, and commands have their data in the body")
	fault(got.DeliverPolicy != jetstream.DeliverAllPolicy, "it does not deliver all commands, but by policy %s", got.DeliverPolicy)
	fault(got.PriorityPolicy != jetstream.PriorityPolicyNone, "it has a priority policy")
	fault(len(got.BackOff) > 0, "it has a BackOff list, which replaces AckWait: a command would be delivered again during its own call")
	fault(got.MaxAckPending > 0, "it lets %d commands be pending, and those that wait for a retry would stop all others", got.MaxAckPending)
	fault(got.InactiveThreshold > 0, "it is deleted after %s without a worker", got.InactiveThreshold)
	fault(got.MaxRequestBatch > 0 || got.MaxRequestExpires > 0 || got.MaxRequestMaxBytes > 0,
		"it limits what a pull may ask for, and a worker asks for as much as it has free slots")
	fault(got.MaxDeliver > 0, "it gives a command up after %d deliveries", got.MaxDeliver)
	fault(got.AckWait < want.AckWait, "its AckWait is %s, shorter than a call can take (%s)", got.AckWait, want.AckWait)
	return faults
}

// mostEarlier bounds the look at a backlog.
const mostEarlier = 1000

// earlier says whether a command on the same entity is in the stream before this one.
func (w *Worker) earlier(ctx context.Context, entity idempotency.Entity, sequence uint64) (bool, error) {
	stream, err := w.cfg.JetStream.Stream(ctx, schemas.StreamCommands)
	if err != nil {
		return false, fmt.Errorf("look at stream %s: %w", schemas.StreamCommands, err)
	}
	for next, reads := uint64(1), 0; reads < mostEarlier; reads++ {
		msg, err := stream.GetMsg(ctx, next, jetstream.WithGetMsgSubject(schemas.CommandSubject(w.cfg.Channel, "*")))
		if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && msg.Sequence >= sequence {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		other, err := w.decode(&Message{Subject: msg.Subject, Header: msg.Header, Body: msg.Data})
		if err == nil && other.entity == entity {
			return true, nil
		}
		next = msg.Sequence + 1
	}
	return false, nil
}
