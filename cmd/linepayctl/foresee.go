package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"linepay-worker/cmd/internal/app"
	"linepay-worker/consumer"
	"linepay-worker/idempotency"
	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// guardSettings are the worker's: with them the guard can be asked. The flags of channels have a prefix, as --channel chooses dead letters.
type guardSettings struct {
	Redis    app.RedisSettings   `embed:""`
	Channels app.ChannelSettings `embed:"" prefix:"linepay-"`
}

// needed are the channels of a verb that cannot do without; what says what for.
func (s guardSettings) needed(what string) ([]app.Channel, error) {
	if !s.configured() {
		return nil, usageError{errors.New(what + " as a worker would: it needs the worker's settings, REDIS_URL and " +
			"LINEPAY_CHANNEL_ID with LINEPAY_CHANNEL_SECRET, or LINEPAY_CHANNELS")}
	}
	return s.channels()
}

// channels are those that are configured. Errors name the flags as this program has them.
func (s guardSettings) channels() ([]app.Channel, error) {
	s.Channels.Prefix = "linepay-"
	channels, err := s.Channels.Load(1)
	if err != nil {
		return nil, usageError{err}
	}
	return channels, nil
}

func unconfigured(channel string) string {
	return fmt.Sprintf("channel %s is not configured here: name it in LINEPAY_CHANNELS, or set LINEPAY_CHANNEL", channel)
}

func (s guardSettings) configured() bool {
	return s.Channels.File != "" || s.Channels.ID != "" || s.Channels.Secret != "" || s.Channels.SecretFile != ""
}

// What a replay would lead to.
const (
	wouldCall      = "call"      // LINE Pay is called
	wouldLookUp    = "look up"   // and called only on proof that nothing happened
	wouldAnswer    = "answer"    // the event on record is told again
	wouldDuplicate = "duplicate" // another command has done it
	wouldReject    = "reject"
	wouldWait      = "wait" // for another command
	wouldPark      = "park" // parked again at once
	wouldRead      = "read" // LINE Pay is asked; nothing changes there
	wouldRefuse    = "refuse"
	notKnown       = "not known"
)

// foreseen is what the replay of a dead letter would lead to as things stand.
type foreseen struct {
	Would string `json:"would"`
	Why   string `json:"why,omitzero"`
}

// String is for people.
func (f foreseen) String() string { return strings.TrimSuffix(f.Would+": "+f.Why, ": ") }

// seer asks the guard what it would answer to a replay. It changes nothing.
type seer struct {
	redis    redis.UniversalClient
	guard    *idempotency.Guard
	channels map[string]consumer.Config
	next     uint64 // the sequence that the next command would have
}

// open prepares the question. It is a usage error where the worker's settings are not complete.
func (s guardSettings) open(ctx context.Context, js jetstream.JetStream) (*seer, error) {
	channels, err := s.needed("--dry-run asks the guard,")
	if err != nil {
		return nil, err
	}
	app.LogRedis(zerolog.Nop()) // what Redis does not answer is told by its error
	commands, err := js.Stream(ctx, schemas.StreamCommands)
	if err != nil {
		return nil, explain(err, schemas.StreamCommands)
	}
	v := &seer{channels: map[string]consumer.Config{}, next: commands.CachedInfo().State.LastSeq + 1}
	for _, channel := range channels {
		client, err := linepay.New(linepay.Config{
			BaseURL: channel.BaseURL, ChannelID: channel.ID, Secret: channel.Secret, Version: channel.APIVersion, AllowInsecure: s.Channels.Insecure,
		})
		if err != nil {
			return nil, usageError{err}
		}
		v.channels[channel.Name] = consumer.Config{ChannelID: channel.ID, LINEPay: client}
	}
	if v.redis, err = app.ConnectRedis(s.Redis.URL); err != nil {
		return nil, usageError{err}
	}
	v.guard, err = idempotency.New(idempotency.Config{Redis: v.redis, Retention: time.Hour}) // nothing is stored
	if err == nil {
		err = app.PingRedis(ctx, v.redis, s.Redis.URL)
	}
	if err != nil {
		_ = v.redis.Close()
		return nil, err
	}
	return v, nil
}

// foresee asks about a single dead letter.
func (s guardSettings) foresee(ctx context.Context, b *box, l *letter) (foreseen, error) {
	seer, err := s.open(ctx, b.js)
	if err != nil {
		return foreseen{}, err
	}
	defer seer.close()
	return seer.foresee(ctx, l)
}

func (v *seer) close() { _ = v.redis.Close() }

// foresee says what the replay of a dead letter would lead to. Another command of the same payment may change that meanwhile.
func (v *seer) foresee(ctx context.Context, l *letter) (foreseen, error) {
	if l.Problem != nil {
		return foreseen{wouldRefuse, l.Problem.Error()}, nil
	}
	if _, _, err := schemas.ParseCommandSubject(l.DeadLetter.Subject); err != nil {
		return foreseen{wouldRefuse, err.Error()}, nil
	}
	config, known := v.channels[l.channel]
	if !known {
		return foreseen{notKnown, unconfigured(l.channel)}, nil
	}
	question, err := config.Ask(&consumer.Message{
		Subject: l.DeadLetter.Subject, Header: l.Header, Body: l.Body, Sequence: v.next, Replay: l.Number,
	})
	if err != nil {
		return foreseen{wouldPark, inWords(err)}, nil
	}
	if question.Claim.Operation == "" {
		if why := unfit(question); why != "" {
			return foreseen{wouldReject, why}, nil
		}
		return foreseen{Would: wouldRead}, nil
	}
	claim, err := v.guard.Foresee(ctx, question.Claim)
	switch {
	case errors.Is(err, idempotency.ErrRecord):
		return foreseen{wouldPark, err.Error()}, nil
	case err != nil:
		return foreseen{}, err
	}
	return answerTo(question, claim), nil
}

// unfit says why a command is never sent to LINE Pay, if so.
func unfit(q *consumer.Question) string {
	switch {
	case q.Invalid != nil:
		return q.Invalid.Error()
	case q.Expired:
		return "it has expired"
	default:
		return ""
	}
}

// answerTo follows the worker's own third step.
func answerTo(q *consumer.Question, claim *idempotency.Claim) foreseen {
	owner := fmt.Sprintf("command %s of %s", claim.Owner.ID, claim.Owner.Source)
	switch claim.Answer {
	case idempotency.Fresh:
		return foreseen{wouldCall, claim.Reason}
	case idempotency.InDoubt:
		return foreseen{wouldLookUp, claim.Reason}
	case idempotency.Done, idempotency.RefusedBefore:
		return foreseen{wouldAnswer, onRecord(claim)}
	case idempotency.Parked:
		return foreseen{wouldPark, onRecord(claim) + ", and this replay does not reopen it"}
	case idempotency.Duplicate:
		if why := unfit(q); q.Invalid != nil {
			return foreseen{wouldReject, why}
		}
		return foreseen{wouldDuplicate, "of " + owner + ": " + onRecord(claim)}
	case idempotency.Conflict:
		return foreseen{wouldReject, "the operation is known with other data, from " + owner}
	case idempotency.Rejected:
		return foreseen{wouldReject, unfit(q)}
	case idempotency.Busy:
		return foreseen{wouldWait, claim.Reason}
	default:
		return foreseen{notKnown, "the guard gives no answer"}
	}
}

// onRecord names the event that an operation has on record.
func onRecord(claim *idempotency.Claim) string {
	e, err := consumer.Answer(claim.Outcome)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%s, event %s of %s", e.Name(), e.ID, e.Time.Format(timeForm))
}
