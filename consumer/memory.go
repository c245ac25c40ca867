package consumer

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"linepay-worker/idempotency"
	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// Redis may forget what was done; the event stream does not. At every start, whenever Redis answers again, and when it turns out to have lost
// its memory, the worker writes back what the events say. What they do not say is of commands that had been delivered and are not done: until
// those are, Redis' memory is not believed where one of them may have been called.

// memory is what the worker has made up for.
type memory struct {
	redis     *idempotency.Memory
	delivered map[string][]uint64 // of operations not done: the sequences of their commands that had been delivered by then
	last      uint64              // the highest sequence that had been
	anew      bool                // JetStream's consumer is younger than some of them, and cannot tell that they had been delivered
	restored  time.Time           // when the events were written back last
}

// sibling says whether another command of the operation may have been called before Redis lost its memory, or this one, where JetStream
// cannot tell.
func (m *memory) sibling(key string, sequence uint64) bool {
	for _, s := range m.delivered[key] {
		if s != sequence || m.anew {
			return true
		}
	}
	return false
}

// eventMargin is how much older than Redis' last sign of life an event may be that Redis does not know: clocks differ, and what could not be
// put on record was told all the same.
const eventMargin = 5 * time.Minute

func (w *Worker) merchant() idempotency.Entity {
	return idempotency.Entity{Host: w.cfg.LINEPay.Host(), ChannelID: w.cfg.ChannelID}
}

// recall makes up for what Redis may have forgotten. Nothing is pulled before it has succeeded once.
func (w *Worker) recall(ctx context.Context) error {
	newest, err := w.cfg.Bus.Newest(ctx, w.cfg.Channel)
	if err != nil {
		return err
	}
	if !newest.IsZero() {
		newest = newest.Add(-eventMargin)
	}
	m := &memory{}
	if m.redis, err = w.cfg.Guard.Remember(ctx, w.merchant(), newest); err != nil {
		return err
	}
	if !m.redis.Trusted {
		if err := w.underWay(ctx, m, !newest.IsZero()); err != nil {
			return err
		}
	}
	restored, err := w.restore(ctx, m.redis.From.Add(-eventMargin))
	if err != nil {
		return fmt.Errorf("write back what events say: %w", err)
	}
	m.restored = time.Now()
	w.memory.Store(m)
	w.disbelieves.Store(len(m.delivered) > 0)
	if len(m.delivered) == 0 { // as at the very first start, or believed already
		if err := w.cfg.Guard.Trust(ctx, w.merchant(), m.redis); err != nil {
			return err
		}
	}
	line := w.cfg.Logger.Debug()
	if !m.redis.Trusted && restored > 0 {
		line = w.cfg.Logger.Warn()
	}
	line.Int("restored", restored).Int("underWay", len(m.delivered)).Bool("believed", m.redis.Trusted).
		Msg("Redis' memory is made up for from the events; what had been delivered is looked up before it is called")
	return nil
}

// recallNow is for when Redis was away, or has not been asked yet.
func (w *Worker) recallNow(ctx context.Context) bool {
	err := w.recall(ctx)
	switch {
	case err == nil:
		w.cfg.Logger.Info().Msg("Redis answers")
	case ctx.Err() == nil && !errors.Is(err, idempotency.ErrUnavailable):
		w.cfg.Logger.Warn().Err(err).Msg("Redis' memory cannot be made up for: no call is made, and commands wait")
	}
	return err == nil
}

// underWay finds the commands in the stream that had been delivered: they may have been called. Where anything was ever told, those that are
// older than JetStream's consumer may have been delivered to the one before it.
func (w *Worker) underWay(ctx context.Context, m *memory, told bool) error {
	stream, err := w.cfg.JetStream.Stream(ctx, schemas.StreamCommands)
	if err != nil {
		return fmt.Errorf("look at stream %s: %w", schemas.StreamCommands, err)
	}
	source, err := stream.Consumer(ctx, ConsumerName(w.cfg.Channel))
	if err != nil {
		return fmt.Errorf("look at consumer %s: %w", ConsumerName(w.cfg.Channel), err)
	}
	m.delivered, m.last = map[string][]uint64{}, source.CachedInfo().Delivered.Stream
	for next := uint64(1); ; {
		msg, err := w.oldestFrom(ctx, stream, next)
		if err != nil {
			return err
		}
		if msg == nil {
			return nil
		}
		older := told && msg.Time.Before(source.CachedInfo().Created)
		if msg.Sequence > m.last && !older {
			return nil
		}
		m.anew, m.last = m.anew || older, max(m.last, msg.Sequence)
		if cmd, err := w.decode(&Message{Subject: msg.Subject, Header: msg.Header, Body: msg.Data}); err == nil && cmd.key != "" {
			m.delivered[cmd.key] = append(m.delivered[cmd.key], msg.Sequence)
		}
		next = msg.Sequence + 1
	}
}

// oldestFrom reads the channel's first command from a sequence on; nil where there is none.
func (w *Worker) oldestFrom(ctx context.Context, stream jetstream.Stream, sequence uint64) (*jetstream.RawStreamMsg, error) {
	msg, err := stream.GetMsg(ctx, sequence, jetstream.WithGetMsgSubject(schemas.CommandSubject(w.cfg.Channel, "*")))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	return msg, err
}

// watchMemory keeps Redis' epochs alive, makes up for them when a claim or a look shows new ones, and ends a quarantine once every command is
// done that had been delivered when it was noticed: later ones find their records; until it is told to stop.
func (w *Worker) watchMemory(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() { w.watch(ctx) })
	return func() { cancel(); watching.Wait() }
}

func (w *Worker) watch(ctx context.Context) {
	for believed := false; ctx.Err() == nil; {
		every := 2 * w.cfg.RetryMin
		if believed {
			every = heartbeat * w.cfg.RetryMin
		}
		w.untilForgotten(ctx, every)
		known := w.memory.Load()
		if known == nil || w.guardDown.Load() {
			continue
		}
		now, err := w.cfg.Guard.Remember(ctx, w.merchant(), time.Time{})
		switch {
		case err != nil: // the next claim says so
			continue
		case !now.Same(known.redis):
			w.disbelieves.Store(true)
			if err := w.recall(ctx); err != nil && ctx.Err() == nil {
				w.cfg.Logger.Warn().Err(err).Msg("Redis has lost its memory, and it cannot be made up for yet: commands wait")
			}
		case !now.Trusted:
			w.endQuarantine(ctx, known)
		default:
			w.disbelieves.Store(false)
		}
		believed = now.Trusted
	}
}

// heartbeat is how often epochs are kept alive, in pauses of RetryMin: claims do it, too. It also tells a process that lives from one that has
// crashed with its claims.
const heartbeat = 20

// untilForgotten waits, unless a claim finds that Redis has lost its memory.
func (w *Worker) untilForgotten(ctx context.Context, most time.Duration) {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-w.forgotten:
	}
}

func (w *Worker) lookAtMemory() {
	select {
	case w.forgotten <- struct{}{}:
	default:
	}
}

func (w *Worker) endQuarantine(ctx context.Context, known *memory) {
	stream, err := w.cfg.JetStream.Stream(ctx, schemas.StreamCommands)
	if err != nil {
		return
	}
	oldest, err := w.oldestFrom(ctx, stream, 1)
	underWay := err != nil || oldest != nil && oldest.Sequence <= known.last
	if underWay && time.Since(known.restored) < w.cfg.ackWait() {
		return
	}
	// What was under way has been told since the first look, some of it put on record by a server that is gone; and claims have lapsed that
	// are as old as the memory, and keep what was under way from being done.
	if _, err := w.restore(ctx, known.redis.From.Add(-eventMargin)); err != nil {
		return
	}
	if known.restored = time.Now(); underWay {
		return
	}
	if err := w.cfg.Guard.Trust(ctx, w.merchant(), known.redis); err == nil {
		w.cfg.Logger.Info().Msg("Redis' memory is believed: all that was under way is done")
	}
}

// Events of one operation are written back in their order, those of different ones at the same time.
const restorers = 16

// restore writes back what the events since then prove.
func (w *Worker) restore(ctx context.Context, since time.Time) (restored int, err error) {
	writers, ctx := errgroup.WithContext(ctx)
	var queues [restorers]chan idempotency.Restoration
	for i := range queues {
		queues[i] = make(chan idempotency.Restoration, 64)
		writers.Go(func() error {
			for r := range queues[i] {
				if err := w.cfg.Guard.Restore(ctx, r); err != nil && !errors.Is(err, idempotency.ErrRecord) {
					return err
				}
			}
			return nil
		})
	}
	seed := maphash.MakeSeed()
	err = w.cfg.Bus.Proofs(ctx, w.cfg.Channel, since, func(e *schemas.Event) {
		r, ok := w.proves(e)
		if !ok {
			return
		}
		restored++
		select {
		case queues[maphash.String(seed, r.Operation)%restorers] <- r:
		case <-ctx.Done():
		}
	})
	for _, queue := range queues {
		close(queue)
	}
	return restored, errors.Join(err, writers.Wait())
}

// proves is what an event says about an operation that the guard guards. An expired key cannot be named by its event, and no money hangs on it.
func (w *Worker) proves(e *schemas.Event) (r idempotency.Restoration, ok bool) {
	r = idempotency.Restoration{
		Entity: w.merchant(), Operation: e.Data.OperationKey, Command: idempotency.Command(e.Data.Command), Fingerprint: e.Data.Fingerprint,
		Calls: e.Data.Calls, At: e.Time,
	}
	switch e.Data.Operation {
	case linepay.Request, linepay.PreapprovedPay:
		r.Entity.Kind, r.Entity.ID = idempotency.KindOrder, e.Data.OrderID
	case linepay.Confirm, linepay.Capture, linepay.Void, linepay.Refund:
		r.Entity.Kind, r.Entity.ID = idempotency.KindTransaction, e.Data.TransactionID.String()
	}
	o := Outcome{events: []*schemas.Event{e}}
	switch name := e.Name(); {
	case schemas.IsMoneyEvent(name), name == schemas.EventRequested:
		r.State, r.Effect = idempotency.StateDone, effectOf(e)
	case name == schemas.EventFailed:
		r.State = idempotency.StateRefused
	case name == schemas.EventRejected:
		r.State, r.Told = idempotency.StateRefused, idempotency.Rejected
		if e.Data.Reason == schemas.ReasonConflict {
			r.Told = idempotency.Conflict
		}
	case name == schemas.EventParked:
		r.State, r.MoneyUnknown = idempotency.StateParked, e.Data.MoneyMoved == schemas.MoneyMovedUnknown
	}
	var err error
	r.Outcome, err = o.encode()
	return r, err == nil && r.State != 0 && r.Entity.ID != "" && r.Operation != "" && r.Command.Source != "" && r.Command.ID != ""
}
