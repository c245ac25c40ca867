package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/consumer"
	"linepay-worker/idempotency"
	"linepay-worker/schemas"
)

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
	guard    *idempotency.Guard
	close    func()
	channels map[string]consumer.Config
	next     uint64 // the sequence that the next command would have
}

// open prepares the question. It is a usage error where the worker's settings are not complete.
func (s guardSettings) open(ctx context.Context, js jetstream.JetStream) (*seer, error) {
	if err := s.needed("--dry-run asks the guard,"); err != nil {
		return nil, err
	}
	merchants, err := loadMerchants(s, 0)
	if err != nil {
		return nil, err
	}
	commands, err := js.Stream(ctx, schemas.StreamCommands)
	if err != nil {
		return nil, explain(err, schemas.StreamCommands)
	}
	v := &seer{channels: map[string]consumer.Config{}, next: commands.CachedInfo().State.LastSeq + 1}
	for name, m := range merchants {
		v.channels[name] = consumer.Config{ChannelID: m.ID, LINEPay: m.client}
	}
	guard, closing, err := openGuard(ctx, s.Redis)
	if err != nil {
		if closing != nil {
			closing()
		}
		return nil, err
	}
	v.guard, v.close = guard, closing
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
