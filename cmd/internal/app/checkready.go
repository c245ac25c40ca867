package app

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/schemas"
)

// DurabilityCheck is about what would make Redis forget: a policy that throws records away, nothing on disk, fewer replicas than
// REDIS_WAIT. What is broken is not ready; what only weakens the guard, or is not told, stands in the detail. The worker works on all the
// same: what the events prove is made up for.
func (w Work) DurabilityCheck() Check {
	return Check{Name: "redis durability", Run: func(ctx context.Context) (detail string, err error) {
		var said []string
		var faults []error
		for _, f := range w.checkRedis(ctx) {
			text := f.Setting + " " + f.Value
			if f.Problem != "" {
				text += ": " + f.Problem
			}
			if said = append(said, text); f.Severity == Broken {
				faults = append(faults, errors.New(text))
			}
		}
		return strings.Join(said, "; "), errors.Join(faults...)
	}}
}

// ResultsCheck is about the streams that take events and dead letters: one that refuses them keeps its commands waiting.
func (w Work) ResultsCheck() Check {
	return Check{Name: "results", Run: func(ctx context.Context) (detail string, err error) {
		js, err := jetstream.New(w.NATS)
		if err != nil {
			return "", err
		}
		var faults []error
		for _, name := range []string{schemas.StreamEvents, schemas.StreamDeadLetters} {
			faults = append(faults, refuses(ctx, js, name))
		}
		return "events and dead letters are taken", errors.Join(faults...)
	}}
}

// refuses says why a stream would take nothing.
func refuses(ctx context.Context, js jetstream.JetStream, name string) error {
	stream, err := js.Stream(ctx, name)
	if err != nil {
		return fmt.Errorf("stream %s: %w", name, err)
	}
	info := stream.CachedInfo()
	switch {
	case info.Cluster != nil && info.Cluster.Name != "" && info.Cluster.Leader == "":
		return fmt.Errorf("stream %s has no leader, and takes nothing", name)
	case filled(info) >= 1:
		return fmt.Errorf("stream %s is full: %d messages, %d bytes", name, info.State.Msgs, info.State.Bytes)
	default:
		return nil
	}
}
