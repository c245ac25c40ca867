package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/consumer/pull"
	"linepay-worker/idempotency"
	"linepay-worker/schemas"
)

// What the metrics of the servers are read from. Nothing here changes anything.

// What one look may take: at the streams, and through the guard's records.
const (
	natsLook      = 10 * time.Second
	longestSurvey = 20 * time.Second
)

// survey counts what is not over in Redis. What was counted until the time was over is told, too.
func (w Work) survey(ctx context.Context) ([]sample, error) {
	found, err := idempotency.TakeSurvey(ctx, w.Redis, 0)
	if err != nil && found.Entities == 0 {
		return nil, err
	}
	var oldest time.Duration
	if !found.DoubtSince.IsZero() {
		oldest = max(0, found.Now.Sub(found.DoubtSince))
	}
	return []sample{
		{operationsUnderWay, float64(found.UnderWay), nil},
		{operationsRetrying, float64(found.Retrying), nil},
		{operationsInDoubt, float64(found.InDoubt), nil},
		{inDoubtOldest, oldest.Seconds(), nil},
		{operationsParked, float64(found.ParkedUnknown), nil},
		{recordsDamaged, float64(found.Damaged), nil},
		{recordsSeenComplete, flag(found.Complete), nil},
	}, nil
}

// busLook reads the streams. It keeps what it knows of the dead letters, which are read again when they have changed.
type busLook struct {
	work    Work
	served  func() []string       // names of the channels
	state   jetstream.StreamState // of the dead letters when they were read
	letters map[[2]string]*letterCount
	signs   map[string]sign // of life, by the consumer of a channel that others serve
}

// sign is what changes about a consumer when a worker pulls from it, and when that was seen last.
type sign struct {
	delivered, done uint64
	inHand          int
	at              time.Time
}

// longestLull is for how long nobody may pull from a consumer until its commands count as nobody's. A worker that has its hands full pulls
// again when a call is over.
const longestLull = 3 * time.Minute

// letterCount counts the dead letters of one channel and reason.
type letterCount struct {
	count  int
	oldest time.Time
}

var watchedStreams = []string{schemas.StreamCommands, schemas.StreamEvents, schemas.StreamDeadLetters, schemas.StreamAudit}

// look is only called from one goroutine at a time. What one part cannot be told, as for lack of a permission, leaves the others be.
func (b *busLook) look(ctx context.Context) (samples []sample, err error) {
	js, err := jetstream.New(b.work.NATS)
	if err != nil {
		return nil, err
	}
	var faults []error
	for _, name := range watchedStreams {
		of, err := part(ctx, func(ctx context.Context) ([]sample, error) { return b.stream(ctx, js, name) })
		if err != nil {
			faults = append(faults, fmt.Errorf("look at stream %s: %w", name, err))
		}
		samples = append(samples, of...)
	}
	of, err := part(ctx, func(ctx context.Context) ([]sample, error) {
		account, err := js.AccountInfo(ctx)
		if err != nil {
			return nil, fmt.Errorf("look at the account: %w", err)
		}
		return []sample{{storageFill, fill(account.Store, account.Limits.MaxStore), nil}}, nil
	})
	return append(samples, of...), errors.Join(append(faults, err)...)
}

// part is one of those that a look consists of. A request that NATS refuses is not answered.
func part(ctx context.Context, look func(context.Context) ([]sample, error)) ([]sample, error) {
	ctx, cancel := context.WithTimeout(ctx, natsLook/time.Duration(len(watchedStreams)+1))
	defer cancel()
	return look(ctx)
}

// stream tells of one stream. That there is none is for doctor to tell.
func (b *busLook) stream(ctx context.Context, js jetstream.JetStream, name string) (samples []sample, err error) {
	stream, err := js.Stream(ctx, name)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	}
	info := stream.CachedInfo()
	var more []sample
	switch name {
	case schemas.StreamCommands:
		more, err = b.waiting(ctx, stream)
	case schemas.StreamDeadLetters:
		more, err = b.parked(ctx, js, info)
	}
	return append(sizes(info), more...), err
}

func sizes(info *jetstream.StreamInfo) []sample {
	label := []string{info.Config.Name}
	return []sample{
		{streamMessages, float64(info.State.Msgs), label},
		{streamBytes, float64(info.State.Bytes), label},
		{streamFill, filled(info), label},
	}
}

// filled is how far a stream is to its nearest limit.
func filled(info *jetstream.StreamInfo) float64 {
	return max(fill(info.State.Msgs, info.Config.MaxMsgs), fill(info.State.Bytes, info.Config.MaxBytes))
}

// fill is a part of a limit; no limit, which is 0 or below, is never filled.
func fill(used uint64, limit int64) float64 {
	if limit <= 0 {
		return 0
	}
	return float64(used) / float64(limit)
}

// waiting tells of each channel what is not done. What no worker's consumer counts is nobody's, and so is what waits where nobody pulls.
func (b *busLook) waiting(ctx context.Context, stream jetstream.Stream) (samples []sample, err error) {
	info := stream.CachedInfo()
	unserved := int64(info.State.Msgs)
	signs := map[string]sign{}
	consumers := stream.ListConsumers(ctx)
	for found := range consumers.Info() {
		channel, ours := strings.CutPrefix(found.Name, schemas.ConsumerPrefix)
		if !ours {
			continue
		}
		serves := b.serves(channel)
		if !serves {
			signs[channel] = b.sign(channel, found)
		}
		if serves || found.Paused || b.now().Sub(signs[channel].at) < longestLull {
			unserved -= int64(found.NumPending) + int64(found.NumAckPending)
		}
		if !serves {
			continue
		}
		label := []string{channel}
		samples = append(
			samples, sample{commandsPending, float64(found.NumPending), label}, sample{commandsInHand, float64(found.NumAckPending), label},
			sample{channelPaused, flag(found.Paused), label},
		)
	}
	if err := consumers.Err(); err != nil {
		return nil, err
	}
	b.signs = signs
	for _, channel := range b.served() {
		oldest, err := stream.GetMsg(ctx, 1, jetstream.WithGetMsgSubject(schemas.CommandSubject(channel, "*")))
		var age time.Duration
		switch {
		case err == nil:
			age = max(0, info.TimeStamp.Sub(oldest.Time))
		case !errors.Is(err, jetstream.ErrMsgNotFound):
			return nil, err
		}
		samples = append(samples, sample{commandsOldest, age.Seconds(), []string{channel}})
	}
	return append(samples, sample{commandsUnserved, float64(max(0, unserved)), nil}), nil
}

// sign is the latest sign of a worker at a consumer. One that is seen for the first time counts as one.
func (b *busLook) sign(channel string, found *jetstream.ConsumerInfo) sign {
	before, known := b.signs[channel]
	now := sign{delivered: found.Delivered.Consumer, done: found.AckFloor.Consumer, inHand: found.NumAckPending, at: before.at}
	if !known || now != before || found.NumWaiting > 0 || found.Paused {
		now.at = b.now()
	}
	return now
}

// now is the time of this machine.
func (b *busLook) now() time.Time {
	if b.work.clock != nil {
		return b.work.clock()
	}
	return time.Now()
}

func (b *busLook) serves(channel string) bool { return slices.Contains(b.served(), channel) }

// mostLetters bounds the reading of dead letters.
const mostLetters = 10_000

// otherChannel stands for what this worker does not serve, and unreadable for dead letters whose headers somebody else has written.
const (
	otherChannel = "other"
	unreadable   = "unreadable"
)

// parked counts dead letters. It reads their headers, and only if some have come or gone.
func (b *busLook) parked(ctx context.Context, js jetstream.JetStream, info *jetstream.StreamInfo) (samples []sample, err error) {
	now, was := info.State, b.state
	if b.letters == nil || now.Msgs != was.Msgs || now.FirstSeq != was.FirstSeq || now.LastSeq != was.LastSeq {
		if err := b.readLetters(ctx, js, now); err != nil {
			return nil, err
		}
		b.state = now
	}
	for key, found := range b.letters {
		age := max(0, info.TimeStamp.Sub(found.oldest))
		samples = append(samples, sample{deadLetters, float64(found.count), key[:]}, sample{deadLettersOldest, age.Seconds(), key[:]})
	}
	for _, channel := range b.served() { // an alert on the first one needs the 0 before it
		for _, reason := range schemas.DeadLetterReasons() {
			if b.letters[[2]string{channel, reason}] == nil {
				samples = append(samples, sample{deadLetters, 0, []string{channel, reason}})
			}
		}
	}
	return samples, nil
}

func (b *busLook) readLetters(ctx context.Context, js jetstream.JetStream, state jetstream.StreamState) error {
	letters, left := map[[2]string]*letterCount{}, min(state.Msgs, mostLetters)
	if left > 0 {
		reading := pull.Reading{Stream: schemas.StreamDeadLetters, HeadersOnly: true}
		err := pull.Read(ctx, js, reading, func(m pull.Message) (more bool, err error) {
			b.count(letters, m)
			left--
			return left > 0 && m.Sequence < state.LastSeq, nil
		})
		if err != nil {
			return err
		}
	}
	b.letters = letters
	return nil
}

func (b *busLook) count(letters map[[2]string]*letterCount, m pull.Message) {
	channel, reason := otherChannel, unreadable
	if parts := strings.Split(m.Subject, "."); len(parts) > 2 && b.serves(parts[2]) {
		channel = parts[2]
	}
	if letter, err := schemas.ParseDeadLetter(m.Header); err == nil {
		reason = letter.Reason
	}
	key := [2]string{channel, reason}
	if letters[key] == nil { // they come oldest first
		letters[key] = &letterCount{oldest: m.Stored}
	}
	letters[key].count++
}
