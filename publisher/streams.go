package publisher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/schemas"
)

// StreamOptions are the settings of streams that Provision creates.
type StreamOptions struct {
	Replicas     int           // 1 to 5; default 1
	DedupeWindow time.Duration // JetStream's duplicate window; default 10 minutes
}

func (o StreamOptions) withDefaults() StreamOptions {
	if o.Replicas == 0 {
		o.Replicas = 1
	}
	if o.DedupeWindow == 0 {
		o.DedupeWindow = 10 * time.Minute
	}
	return o
}

// Streams are the four streams as the worker creates them: on disk, refusing new messages when full, keeping everything.
func Streams(o StreamOptions) []jetstream.StreamConfig {
	o = o.withDefaults()
	stream := func(name, subject, description string, retention jetstream.RetentionPolicy, maxSize int32) jetstream.StreamConfig {
		return jetstream.StreamConfig{
			Name: name, Subjects: []string{subject}, Description: description,
			Retention: retention, MaxMsgSize: maxSize,
			Storage: jetstream.FileStorage, Discard: jetstream.DiscardNew,
			Replicas: o.Replicas, Duplicates: o.DedupeWindow,
		}
	}
	return []jetstream.StreamConfig{
		stream(schemas.StreamCommands, schemas.SubjectsCommands, "LINE Pay commands that are not done", jetstream.WorkQueuePolicy, schemas.MaxCommandBytes),
		stream(schemas.StreamEvents, schemas.SubjectsEvents, "Results of LINE Pay commands", jetstream.LimitsPolicy, -1),
		stream(schemas.StreamDeadLetters, schemas.SubjectsDeadLetters, "LINE Pay commands that were parked", jetstream.LimitsPolicy, -1),
		stream(schemas.StreamAudit, schemas.SubjectsAudit, "What operators did", jetstream.LimitsPolicy, -1),
	}
}

// Provision creates the streams that are missing when create is true, and looks at those that exist without changing them. It returns
// a line for every setting that differs harmlessly, and an error for one that would lose commands or for a stream that is missing.
func Provision(ctx context.Context, js jetstream.JetStream, o StreamOptions, create bool) (differences []string, err error) {
	for _, want := range Streams(o) {
		found, err := js.Stream(ctx, want.Name)
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound) && create:
			if _, err = js.CreateStream(ctx, want); err != nil {
				return differences, fmt.Errorf("create stream %s: %w", want.Name, err)
			}
			continue
		case errors.Is(err, jetstream.ErrStreamNotFound):
			return differences, fmt.Errorf("stream %s does not exist: create it, or run the worker with --provision", want.Name)
		case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
			return differences, fmt.Errorf("JetStream is not enabled on this NATS server, or not for this account: start nats-server with -js (%w)", err)
		case err != nil:
			return differences, fmt.Errorf("look at stream %s: %w", want.Name, err)
		}
		harmless, dangerous := Compare(found.CachedInfo().Config, want)
		differences = append(differences, harmless...)
		if len(dangerous) > 0 {
			remedy := fmt.Sprintf("change them with `nats stream edit %s`", want.Name)
			if config := found.CachedInfo().Config; config.Storage != want.Storage || config.Retention != want.Retention {
				remedy += "; storage and retention cannot be edited: create the stream anew, once nothing is left in it that is needed"
			}
			return differences, fmt.Errorf("stream %s has settings that would lose messages: %s: %s", want.Name, strings.Join(dangerous, "; "), remedy)
		}
	}
	return differences, nil
}

// Compare tells how a stream differs from what the worker would have created: settings that only deserve a mention, and settings under
// which a command, a parked command or a subject would be lost.
func Compare(got, want jetstream.StreamConfig) (harmless, dangerous []string) {
	differs := func(list *[]string, when bool, format string, args ...any) {
		if when {
			*list = append(*list, fmt.Sprintf(format, args...))
		}
	}
	mention := func(when bool, setting string, is, would any) {
		differs(&harmless, when, "stream %s: %s is %v, the worker would set %v", got.Name, setting, is, would)
	}
	events := want.Name == schemas.StreamEvents
	limited := got.MaxMsgs > 0 || got.MaxBytes > 0
	for _, subject := range want.Subjects {
		differs(&dangerous, !slices.Contains(got.Subjects, subject), "it does not store %s", subject)
	}
	differs(&dangerous, got.Storage != jetstream.FileStorage, "it is kept in memory")
	differs(&dangerous, got.NoAck, "it does not acknowledge what is published")
	differs(&dangerous, got.Retention == jetstream.InterestPolicy, "retention is by interest")
	differs(&dangerous, got.Retention == jetstream.WorkQueuePolicy && want.Retention != jetstream.WorkQueuePolicy, "retention is work queue")
	differs(&dangerous, got.MaxMsgsPerSubject > 0, "it keeps %d messages of a subject and deletes older ones, whatever it does when full", got.MaxMsgsPerSubject)
	differs(&dangerous, got.AllowMsgTTL, "it lets a publisher's Nats-TTL delete messages")
	differs(&dangerous, got.AllowRollup, "it lets a publisher's Nats-Rollup delete messages")
	differs(&dangerous, got.SubjectTransform != nil, "it stores messages under other subjects")
	differs(&dangerous, got.MaxAge > 0 && !events, "it has an age limit of %s", got.MaxAge)
	differs(&dangerous, got.Discard == jetstream.DiscardOld && limited && !events, "it discards old messages when it is full")

	mention(got.Retention == jetstream.LimitsPolicy && want.Retention == jetstream.WorkQueuePolicy, "retention", "limits", "work queue")
	mention(events && got.MaxAge > 0, "age limit", got.MaxAge, "none")
	mention(got.Discard == jetstream.DiscardOld && (events || !limited), "when full", "discard old", "discard new")
	mention(got.Replicas != want.Replicas, "replicas", got.Replicas, want.Replicas)
	mention(got.Duplicates != want.Duplicates, "duplicate window", got.Duplicates, want.Duplicates)
	mention(want.MaxMsgSize > 0 && got.MaxMsgSize != want.MaxMsgSize, "largest message", sizeLimit(got.MaxMsgSize), sizeLimit(want.MaxMsgSize))
	return harmless, dangerous
}

// sizeLimit writes a limit in bytes, which JetStream has as -1 where there is none.
func sizeLimit(bytes int32) string {
	if bytes < 0 {
		return "no limit"
	}
	return fmt.Sprint(bytes)
}
