package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"golang.org/x/time/rate"

	"linepay-worker/cmd/internal/app"
	"linepay-worker/idempotency"
	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// guardSettings are the worker's: with them the guard can be asked. The flags of channels have a prefix, as --channel chooses dead letters.
type guardSettings struct {
	Redis    app.RedisSettings   `embed:""`
	Channels app.ChannelSettings `embed:"" prefix:"linepay-"`
}

// needed is a usage error of a verb that cannot do without; what says what for.
func (s guardSettings) needed(what string) error {
	if !s.configured() {
		return usageError{errors.New(what + " as a worker would: it needs the worker's settings, REDIS_URL and " +
			"LINEPAY_CHANNEL_ID with LINEPAY_CHANNEL_SECRET, or LINEPAY_CHANNELS")}
	}
	return nil
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

// merchant is a configured channel: whose records the guard keeps, and whose payments LINE Pay shows.
type merchant struct {
	app.Channel
	client *linepay.Client
	pace   *rate.Limiter // of calls to LINE Pay; nil: none
}

// entity names what the guard guards.
func (m *merchant) entity(kind, id string) idempotency.Entity {
	return idempotency.Entity{Host: m.client.Host(), ChannelID: m.ID, Kind: kind, ID: id}
}

// merchants are the configured channels by name.
type merchants map[string]*merchant

// onlyChannel is the one channel that is asked for; "" is all.
func onlyChannel(given *string) (string, error) {
	if given == nil {
		return "", nil
	}
	if err := schemas.ValidChannel(*given); err != nil {
		return "", usageError{err}
	}
	return *given, nil
}

// loadMerchants reads the channels; none where no settings are given. Calls to LINE Pay keep to a rate a second, for each channel; 0 is no
// limit.
func loadMerchants(s guardSettings, callsASecond float64) (merchants, error) {
	all := merchants{}
	if !s.configured() {
		return all, nil
	}
	channels, err := s.channels()
	if err != nil {
		return nil, err
	}
	for _, channel := range channels {
		client, err := app.Work{Insecure: s.Channels.Insecure}.Client(channel)
		if err != nil {
			return nil, usageError{fmt.Errorf("channel %s: %w", channel.Name, err)}
		}
		m := &merchant{Channel: channel, client: client}
		if callsASecond > 0 {
			m.pace = rate.NewLimiter(rate.Limit(callsASecond), 1)
		}
		all[channel.Name] = m
	}
	return all, nil
}

func (m merchants) close() {
	for _, each := range m {
		each.client.CloseIdle()
	}
}

// openGuard gives a guard to look at. Where Redis does not answer it is nil, with the reason.
func openGuard(ctx context.Context, s app.RedisSettings) (guard *idempotency.Guard, closing func(), err error) {
	app.LogRedis(zerolog.Nop()) // that Redis does not answer is told once, by the ping
	client, err := app.ConnectRedis(s)
	if err != nil {
		return nil, nil, usageError{err}
	}
	closing = func() { _ = client.Close() }
	if guard, err = lookAt(ctx, client, s.URL); err != nil {
		return nil, closing, err
	}
	return guard, closing, nil
}

// lookAt makes a guard that grants nothing: its retention plays no part.
func lookAt(ctx context.Context, client redis.UniversalClient, address string) (*idempotency.Guard, error) {
	if err := app.PingRedis(ctx, client, address); err != nil {
		return nil, err
	}
	return idempotency.New(idempotency.Config{Redis: client, Retention: time.Hour})
}

// tries is how often LINE Pay is asked for the same before it is given up.
const tries = 3

// details asks LINE Pay for payments; none where it knows none (1150). A passing fault is asked about again.
func (m *merchant) details(ctx context.Context, query linepay.DetailsQuery) (payments []linepay.Payment, err error) {
	for range tries {
		if m.pace != nil {
			if err := m.pace.Wait(ctx); err != nil {
				return nil, err
			}
		}
		var info *linepay.DetailsInfo
		info, err = m.client.Details(ctx, query)
		answer, _ := errors.AsType[*linepay.Error](err)
		switch {
		case err == nil:
			// A refund that is asked for by its own id is no payment.
			return slices.DeleteFunc(info.Payments, func(p linepay.Payment) bool { return p.OriginalTransactionID != 0 }), nil
		case answer != nil && answer.Code == notFound:
			return nil, nil
		case ctx.Err() != nil, answer != nil && (answer.Verdict == linepay.ChannelFault || answer.Verdict == linepay.Refused):
			return nil, err
		}
	}
	return nil, err
}

// LINE Pay's answers that details meet.
const (
	notFound = "1150"
	tooMany  = "1177"
)

// refusedAs says whether LINE Pay's answer was this code.
func refusedAs(err error, code string) bool {
	answer, _ := errors.AsType[*linepay.Error](err)
	return answer != nil && answer.Code == code
}
