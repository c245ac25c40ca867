package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// Severity says how much a finding matters.
type Severity string

const (
	// Fine is as it should be.
	Fine Severity = "ok"
	// Note deserves to be known: it cannot be seen from here, or costs nothing that was promised.
	Note Severity = "note"
	// Weak weakens the guard: an accident of its own, such as the loss of a machine, must come about before it costs anything.
	Weak Severity = "weak"
	// Broken breaks a promise: commands are not carried out or get lost, or what was done is forgotten before RECORD_RETENTION is over.
	Broken Severity = "broken"
)

// Finding is one thing that was looked at.
type Finding struct {
	Severity Severity `json:"severity"`
	Where    string   `json:"where"`             // redis, nats, stream NAME, consumer NAME, channel NAME, worker
	Setting  string   `json:"setting"`           // as its owner spells it
	Value    string   `json:"value"`             // what it is
	Problem  string   `json:"problem,omitempty"` // what is wrong with that; empty where nothing is
	Cost     string   `json:"cost,omitempty"`    // what it may cost
	Remedy   string   `json:"remedy,omitempty"`  // what to do
}

// patience bounds what one server may take to answer a check-up.
const patience = 5 * time.Second

// AtStart looks at what a worker stands on. Three things are left to Doctor: the consumers of its own channels, which the workers widen or
// refuse when they begin; NATS' sync_interval, since asking for it without permission leaves an error in the logs of both sides; and the
// channels' credentials, since nothing but a command makes a worker call LINE Pay, and the first one tells.
func (w Work) AtStart(ctx context.Context) []Finding {
	return slices.Concat(w.checkRedis(ctx), w.checkStreams(ctx), w.checkUnserved(ctx, w.Channels...), w.checkClocks(ctx))
}

// Doctor looks at everything that it has a connection or a setting for. monitoring are addresses of NATS' monitoring, such as
// http://127.0.0.1:8222.
func (w Work) Doctor(ctx context.Context, monitoring ...string) []Finding {
	return slices.Concat(
		w.checkRedis(ctx), w.checkSync(ctx, monitoring), w.checkStreams(ctx), w.checkConsumers(ctx), w.checkUnserved(ctx),
		w.checkClocks(ctx), w.checkAccounts(ctx),
	)
}

// LogFindings writes a line for each finding: a warning for what weakens or breaks something, and nothing for what is fine.
func LogFindings(logger zerolog.Logger, findings []Finding) {
	for _, f := range findings {
		if f.Severity == Fine {
			continue
		}
		event := logger.Warn()
		if f.Severity == Note {
			event = logger.Info()
		}
		event.Str("severity", string(f.Severity)).Str("where", f.Where).Str("setting", f.Setting).Str("value", f.Value).
			Str("cost", f.Cost).Str("remedy", f.Remedy).Msg(f.Problem)
	}
}

// mostSkew is how far two clocks may be apart.
const mostSkew = 2 * time.Second

// checkClocks holds the worker's clock against those of its servers.
func (w Work) checkClocks(ctx context.Context) (findings []Finding) {
	if w.Redis != nil {
		findings = append(findings, w.skew("redis", func() (time.Time, error) {
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			return w.Redis.Time(ctx).Result()
		})...)
	}
	if w.NATS != nil {
		findings = append(findings, w.skew("nats", func() (time.Time, error) {
			info, err := w.stream(ctx, schemas.StreamCommands)
			if err != nil {
				return time.Time{}, err
			}
			return info.CachedInfo().TimeStamp, nil
		})...)
	}
	return findings
}

// skew gives nothing where a server does not tell its time: that it does not answer is found elsewhere. Half of the round trip stays in
// doubt and excuses as much.
func (w Work) skew(where string, read func() (time.Time, error)) []Finding {
	now := w.clock
	if now == nil {
		now = time.Now
	}
	began, asked := now(), time.Now()
	theirs, err := read()
	if err != nil || theirs.IsZero() {
		return nil
	}
	doubt := time.Since(asked) / 2
	apart := theirs.Sub(began.Add(doubt))
	f := Finding{Severity: Fine, Where: where, Setting: "clock", Value: "agrees with this machine's within " + mostSkew.String()}
	if apart.Abs()-doubt > mostSkew {
		direction := "ahead of"
		if apart < 0 {
			direction = "behind"
		}
		f.Severity = Weak
		f.Value = fmt.Sprintf("%s %s this machine's", apart.Abs().Round(100*time.Millisecond), direction)
		f.Problem = "the clocks of the worker and of " + where + " disagree by more than " + mostSkew.String()
		f.Cost = "commands expire too early or too late, events carry wrong times, and a payment is looked for in the wrong minutes"
		f.Remedy = "run NTP on every machine, and look at this one first"
	}
	return []Finding{f}
}

// checkAccounts asks LINE Pay, for every channel, about a transaction that cannot exist: it reads, and tells whether the credentials are
// accepted.
func (w Work) checkAccounts(ctx context.Context) []Finding {
	findings := make([]Finding, len(w.Channels))
	var asking sync.WaitGroup
	for i, channel := range w.Channels {
		asking.Go(func() { findings[i] = w.checkAccount(ctx, channel) })
	}
	asking.Wait()
	return findings
}

// impossible is no transaction's id: LINE Pay's have 19 digits that begin with a date.
const impossible linepay.TransactionID = 1

func (w Work) checkAccount(ctx context.Context, c Channel) Finding {
	f := Finding{Severity: Fine, Where: "channel " + c.Name, Setting: "credentials", Value: "accepted by " + apiHost(c.BaseURL)}
	client, err := w.Client(c)
	if err != nil {
		f.Severity, f.Value, f.Problem = Broken, "not usable", err.Error()
		f.Cost, f.Remedy = "no worker starts with this channel", "correct the channel's settings"
		return f
	}
	defer client.CloseIdle()
	_, err = client.Details(ctx, linepay.DetailsQuery{TransactionIDs: []linepay.TransactionID{impossible}})
	answer, _ := errors.AsType[*linepay.Error](err)
	switch {
	case err == nil, answer != nil && answer.Verdict == linepay.Refused && answer.Code != "":
		return f
	case answer != nil && answer.Verdict == linepay.ChannelFault:
		f.Severity, f.Value = Broken, answer.Code
		f.Problem = fmt.Sprintf("LINE Pay at %s refuses the channel: %s", answer.Host, meaningOf(answer.Code))
		f.Cost = "every command of this channel waits; nothing is parked"
		f.Remedy = "set id and secret as LINE Pay's merchant centre has them, of the sandbox for the sandbox; there, allow this machine's address"
		return f
	}
	f.Severity, f.Value, f.Problem = Weak, "not known", err.Error()
	f.Cost = "the credentials could not be tried; commands wait while LINE Pay cannot be reached"
	f.Remedy = "see that this machine reaches LINE Pay, and ask again"
	return f
}

// meaningOf is what the table of codes says of one.
func meaningOf(code string) string {
	for _, row := range linepay.Codes() {
		if row.Code == code {
			return code + ", " + row.Meaning
		}
	}
	return code
}

// unseen is the finding about something that a server does not tell.
func unseen(where, setting string, err error) Finding {
	return Finding{
		Severity: Weak, Where: where, Setting: setting, Value: "not known",
		Problem: "cannot be looked at: " + err.Error(),
		Cost:    "what is wrong here stays hidden until it strikes",
		Remedy:  "see that the server runs and that this user may ask for it, and ask again",
	}
}
