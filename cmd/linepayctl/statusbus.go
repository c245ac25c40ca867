package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/consumer/pull"
	"linepay-worker/schemas"
)

// channel is how one channel stands on the bus.
type channel struct {
	Name        string    `json:"channel"`
	Served      bool      `json:"served"`               // a worker has made its consumer
	Pulls       int       `json:"pulls"`                // pulls of workers that wait right now; a worker that is busy has none
	PausedUntil time.Time `json:"pausedUntil,omitzero"` // where an operator has paused it
	Backlog     uint64    `json:"backlog"`              // commands that were not delivered yet
	InHand      int       `json:"inHand"`               // delivered and not done: in flight, or waiting for a retry
	Redelivered int       `json:"redelivered"`          // of those in hand, delivered more than once
	Oldest      *undone   `json:"oldest,omitzero"`      // the oldest command that is not done
	Events      uint64    `json:"events"`               // stored
	LastEvent   time.Time `json:"lastEvent,omitzero"`
	DeadLetters uint64    `json:"deadLetters"`
}

// undone is a command that is not done.
type undone struct {
	Sequence  uint64    `json:"sequence"`
	At        time.Time `json:"at"`                  // when it was stored
	Operation string    `json:"operation"`           // as its subject has it
	OrderID   string    `json:"orderId,omitzero"`    // absent where its data does not tell
	ID        string    `json:"id,omitzero"`         // of the command; absent where it cannot be read
	Problem   string    `json:"unreadable,omitzero"` // why it cannot be read
}

// letterCount counts dead letters of one reason on one channel.
type letterCount struct {
	Channel        string    `json:"channel"`
	Reason         string    `json:"reason"` // of schemas.DeadLetterReasons, or unreadable
	Count          uint64    `json:"count"`
	Oldest         time.Time `json:"oldest"` // when it was stored
	OldestSequence uint64    `json:"oldestSequence"`
}

// stream is how full a stream is. A limit of 0 is none.
type stream struct {
	Name        string `json:"stream"`
	Exists      bool   `json:"exists"`
	Messages    uint64 `json:"messages"`
	MaxMessages uint64 `json:"maxMessages"`
	Bytes       uint64 `json:"bytes"`
	MaxBytes    uint64 `json:"maxBytes"`
}

// storageUse is how much an account has on disk, with all replicas. A limit of 0 is none: then the servers' own limits count.
type storageUse struct {
	Bytes    uint64 `json:"bytes"`
	MaxBytes uint64 `json:"maxBytes"`
}

// onBus looks at the streams of one account.
type onBus struct {
	js       jetstream.JetStream
	only     string            // channel, "" for all
	commands jetstream.Stream  // nil where there is none
	events   jetstream.Stream  // likewise
	letters  map[string]uint64 // dead letters by channel
}

var streams = []string{schemas.StreamCommands, schemas.StreamEvents, schemas.StreamDeadLetters, schemas.StreamAudit}

func (b *onBus) look(ctx context.Context, found *status) error {
	var parked jetstream.Stream
	for _, name := range streams {
		s, err := b.js.Stream(ctx, name)
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound):
			found.Streams = append(found.Streams, stream{Name: name})
			continue
		case err != nil:
			return explain(err, name)
		}
		found.Streams = append(found.Streams, size(s.CachedInfo()))
		switch name {
		case schemas.StreamCommands:
			b.commands = s
		case schemas.StreamEvents:
			b.events = s
		case schemas.StreamDeadLetters:
			parked = s
		}
	}
	account, err := b.js.AccountInfo(ctx)
	if err != nil {
		return explain(err, schemas.StreamCommands)
	}
	found.Storage = storageUse{account.Store, uint64(max(0, account.Limits.MaxStore))}
	if found.DeadLetters, err = b.countLetters(ctx, parked); err != nil {
		return explain(err, schemas.StreamDeadLetters)
	}
	if found.Channels, err = b.channels(ctx); err != nil {
		return explain(err, schemas.StreamCommands)
	}
	return nil
}

func size(info *jetstream.StreamInfo) stream {
	return stream{
		Name: info.Config.Name, Exists: true, Messages: info.State.Msgs, Bytes: info.State.Bytes,
		MaxMessages: uint64(max(0, info.Config.MaxMsgs)), MaxBytes: uint64(max(0, info.Config.MaxBytes)),
	}
}

// channels are those that have a consumer, commands or dead letters.
func (b *onBus) channels(ctx context.Context) (list []channel, err error) {
	byName := map[string]*channel{}
	at := func(name string) *channel {
		if byName[name] == nil {
			byName[name] = &channel{Name: name}
		}
		return byName[name]
	}
	if b.only != "" {
		at(b.only)
	}
	for name, count := range b.letters {
		at(name).DeadLetters = count
	}
	if b.commands != nil {
		if err := b.consumers(ctx, at); err != nil {
			return nil, err
		}
		if err := b.unserved(ctx, at); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		c := byName[name]
		if c.Oldest, err = b.oldest(ctx, name); err != nil {
			return nil, err
		}
		if err := b.stored(ctx, c); err != nil {
			return nil, err
		}
		list = append(list, *c)
	}
	return list, nil
}

// consumers reads the workers' consumers; others are for doctor to find.
func (b *onBus) consumers(ctx context.Context, at func(string) *channel) error {
	infos := b.commands.ListConsumers(ctx)
	for info := range infos.Info() {
		name, ours := strings.CutPrefix(info.Name, schemas.ConsumerPrefix)
		if !ours || b.only != "" && name != b.only {
			continue
		}
		c := at(name)
		c.Served, c.Pulls, c.Backlog = true, info.NumWaiting, info.NumPending
		c.InHand, c.Redelivered = info.NumAckPending, info.NumRedelivered
		if until := info.Config.PauseUntil; info.Paused && until != nil {
			c.PausedUntil = until.UTC()
		}
	}
	return infos.Err()
}

// unserved counts the commands of channels without a consumer.
func (b *onBus) unserved(ctx context.Context, at func(string) *channel) error {
	subjects := schemas.SubjectsCommands
	if b.only != "" {
		subjects = schemas.CommandSubject(b.only, "*")
	}
	info, err := b.commands.Info(ctx, jetstream.WithSubjectFilter(subjects))
	if err != nil {
		return err
	}
	for subject, count := range info.State.Subjects {
		if c := at(strings.Split(subject, ".")[2]); !c.Served {
			c.Backlog += count
		}
	}
	return nil
}

// oldest is the first command of a channel that is still in the stream.
func (b *onBus) oldest(ctx context.Context, channel string) (*undone, error) {
	if b.commands == nil {
		return nil, nil
	}
	msg, err := b.commands.GetMsg(ctx, 1, jetstream.WithGetMsgSubject(schemas.CommandSubject(channel, "*")))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	w := &undone{Sequence: msg.Sequence, At: msg.Time.UTC(), Operation: strings.Split(msg.Subject, ".")[3]}
	command, err := schemas.DecodeCommand(msg.Subject, msg.Header, msg.Data)
	if _, invalid := errors.AsType[*schemas.InvalidError](err); err != nil && !invalid {
		w.Problem = err.Error()
		return w, nil
	}
	w.ID, w.OrderID = command.ID, command.Data.Order()
	return w, nil
}

// stored tells of the events of a channel.
func (b *onBus) stored(ctx context.Context, c *channel) error {
	if b.events == nil || schemas.ValidChannel(c.Name) != nil { // which no worker serves
		return nil
	}
	filter := schemas.EventsFilter(c.Name, "*")
	last, err := b.events.GetLastMsgForSubject(ctx, filter)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("events: %w", err)
	}
	c.LastEvent = last.Time.UTC()
	reader, end, err := temporary(ctx, b.events, filter)
	if err != nil {
		return fmt.Errorf("events: %w", err)
	}
	defer end()
	c.Events = reader.NumPending
	return nil
}

// temporary makes a consumer of headers alone, which counts messages by subject where listing all subjects would be too much. The server
// forgets it soon, if end cannot tell it to.
func temporary(ctx context.Context, s jetstream.Stream, filter string) (info *jetstream.ConsumerInfo, end func(), err error) {
	made, err := s.CreateConsumer(ctx, jetstream.ConsumerConfig{
		FilterSubject: filter, DeliverPolicy: jetstream.DeliverAllPolicy, AckPolicy: jetstream.AckNonePolicy,
		HeadersOnly: true, MemoryStorage: true, InactiveThreshold: time.Minute,
	})
	if err != nil {
		return nil, nil, err
	}
	info = made.CachedInfo()
	return info, func() { _ = s.DeleteConsumer(context.WithoutCancel(ctx), info.Name) }, nil
}

// countLetters reads the headers of all dead letters, and nothing else of them.
func (b *onBus) countLetters(ctx context.Context, parked jetstream.Stream) ([]letterCount, error) {
	b.letters = map[string]uint64{}
	counts := map[[2]string]*letterCount{}
	if parked == nil {
		return nil, nil
	}
	last := parked.CachedInfo().State.LastSeq
	reading := pull.Reading{Stream: schemas.StreamDeadLetters, HeadersOnly: true}
	if b.only != "" {
		reading.Filters = []string{schemas.DeadLettersFilter(b.only, "*")}
	}
	err := readStream(ctx, b.js, reading, func(m pull.Message) (more bool, err error) {
		b.countLetter(counts, m)
		return m.Sequence < last, nil
	})
	if err != nil {
		return nil, err
	}
	list := make([]letterCount, 0, len(counts))
	for _, count := range counts {
		list = append(list, *count)
	}
	slices.SortFunc(list, func(a, b letterCount) int {
		return cmp.Or(cmp.Compare(a.Channel, b.Channel), cmp.Compare(a.Reason, b.Reason))
	})
	return list, nil
}

func (b *onBus) countLetter(counts map[[2]string]*letterCount, m pull.Message) {
	reason := "unreadable"
	if letter, err := schemas.ParseDeadLetter(m.Header); err == nil {
		reason = letter.Reason
	}
	channel := strings.Split(m.Subject, ".")[2]
	b.letters[channel]++
	count := counts[[2]string{channel, reason}]
	if count == nil { // they come oldest first
		count = &letterCount{Channel: channel, Reason: reason, Oldest: m.Stored, OldestSequence: m.Sequence}
		counts[[2]string{channel, reason}] = count
	}
	count.Count++
}
