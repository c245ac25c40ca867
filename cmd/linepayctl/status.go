package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/rs/zerolog"

	"linepay-worker/cmd/internal/app"
	"linepay-worker/idempotency"
	"linepay-worker/schemas"
)

type statusCommand struct {
	Channel string            `placeholder:"NAME" help:"Only this channel (default: all)."`
	Admin   []string          `placeholder:"URL" help:"Admin address of a worker, such as http://127.0.0.1:8080, repeatable: tells whether it is ready."`
	JSON    bool              `help:"Print one JSON document."`
	NATS    app.NATSSettings  `embed:"" group:"NATS"`
	Redis   app.RedisSettings `embed:"" group:"Redis"`
}

// status is how things stand. Times are UTC; what does not apply is absent.
type status struct {
	At          time.Time     `json:"at"`
	Channels    []channel     `json:"channels"`
	DeadLetters []letterCount `json:"deadLetters"`
	Streams     []stream      `json:"streams"`
	Storage     storageUse    `json:"storage"` // of the NATS account, for all its streams on disk
	Guard       guard         `json:"guard"`
	Workers     []workerState `json:"workers,omitzero"`
}

// guard is what Redis tells of operations that are not over, of all channels of all workers that share it.
type guard struct {
	Looked        bool   `json:"looked"`           // false: Redis did not tell
	Problem       string `json:"problem,omitzero"` // why Redis did not tell, or not all
	Complete      bool   `json:"complete"`         // false: the counts are at least so many
	Entities      int    `json:"entities"`         // payments, orders and keys that have a record
	UnderWay      int    `json:"underWay"`         // held by a worker right now
	Retrying      int    `json:"retrying"`         // not called, and to be tried again
	InDoubt       int    `json:"inDoubt"`          // a call may have happened: to be looked up
	ParkedUnknown int    `json:"parkedUnknown"`    // for a person: money may have moved
	Damaged       int    `json:"damaged,omitzero"` // records that cannot be read
	Doubt         *doubt `json:"doubt,omitzero"`   // in doubt, and due first
	Parked        *doubt `json:"parked,omitzero"`  // parked with money unknown, and claimed first
}

type doubt struct {
	Operation string             `json:"operation"` // the operation key
	Command   schemas.CommandRef `json:"command,omitzero"`
	Claimed   time.Time          `json:"claimed,omitzero"`
	NextLook  time.Time          `json:"nextLook,omitzero"`
}

// longestLook bounds how long Redis may be asked: with millions of records, the counts are of those that were seen by then.
const longestLook = 20 * time.Second

// Run shows how things stand. It changes nothing.
func (s *statusCommand) Run(ctx context.Context, c console) error {
	if s.Channel != "" {
		if err := schemas.ValidChannel(s.Channel); err != nil {
			return usageError{err}
		}
	}
	for _, address := range s.Admin {
		if at, err := url.Parse(address); err != nil || at.Scheme != "http" && at.Scheme != "https" || at.Host == "" {
			return usageError{errors.New("--admin needs an address such as http://127.0.0.1:8080")}
		}
	}
	app.LogRedis(zerolog.Nop()) // that Redis does not answer is part of the status
	conn, js, err := connect(s.NATS, c)
	if err != nil {
		return err
	}
	defer conn.Close()
	found := status{At: time.Now().UTC()}
	if err := (&onBus{js: js, only: s.Channel}).look(ctx, &found); err != nil {
		return err
	}
	found.Guard = lookAtGuard(ctx, s.Redis)
	found.Workers = askWorkers(ctx, s.Admin)
	if s.JSON {
		return document(c.out, found)
	}
	_, err = fmt.Fprint(c.out, found.report())
	return err
}

// lookAtGuard counts what is not over in Redis. That Redis cannot be asked is an answer, too: NATS still tells the rest.
func lookAtGuard(ctx context.Context, s app.RedisSettings) guard {
	store, err := app.ConnectRedis(s)
	if err != nil {
		return guard{Problem: err.Error()}
	}
	defer store.Close()
	if err := app.PingRedis(ctx, store, s.URL); err != nil {
		return guard{Problem: err.Error()}
	}
	ctx, cancel := context.WithTimeout(ctx, longestLook)
	defer cancel()
	survey, err := idempotency.TakeSurvey(ctx, store, 0)
	g := guard{
		Looked: true, Complete: survey.Complete, Entities: survey.Entities, UnderWay: survey.UnderWay, Retrying: survey.Retrying,
		InDoubt: survey.InDoubt, ParkedUnknown: survey.ParkedUnknown, Damaged: survey.Damaged,
		Doubt: oldest(survey.Doubts), Parked: oldest(survey.Parked),
	}
	if err != nil {
		g.Looked, g.Problem = !survey.Now.IsZero(), err.Error()
	}
	return g
}

func oldest(doubts []idempotency.Doubt) *doubt {
	if len(doubts) == 0 {
		return nil
	}
	d := doubts[0]
	return &doubt{Operation: d.Operation, Command: schemas.CommandRef(d.Owner), Claimed: d.Claimed, NextLook: d.NextLook}
}
