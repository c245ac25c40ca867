package idempotency

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/redis/go-redis/v9"
)

// Redis may forget: it is flushed, restarted without its last writes, replaced by a replica that did not have them, or by yesterday's
// snapshot. Each bucket has an epoch, which shows that, and is then in quarantine until a merchant's records have been made up for
// (Restore) and the commands that were under way are done (Trust).

// Memory is how far Redis' memory of one merchant can be believed.
type Memory struct {
	epochs [buckets]string
	// From is the time since when records may be missing, by Redis' clock; no further back than records are kept. Where none should be, it
	// is when a worker was here last.
	From time.Time
	// Trusted says that no bucket is in quarantine.
	Trusted bool
}

// Same says whether Redis has not lost its memory in between.
func (m *Memory) Same(as *Memory) bool { return m.epochs == as.epochs }

func (m *Memory) epoch(bucket int) string {
	if m == nil {
		return ""
	}
	return m.epochs[bucket]
}

// Remember keeps the epochs of all buckets alive and tells what can be believed of a merchant's records. The ID and Kind of the entity do not
// matter. A memory that does not reach to the given time is not believed; the zero time asks nothing of it.
//
// Errors: ErrUnavailable.
func (g *Guard) Remember(ctx context.Context, merchant Entity, reach time.Time) (*Memory, error) {
	m := &Memory{Trusted: true}
	since := int64(0)
	if !reach.IsZero() {
		since = reach.UnixMilli()
	}
	answers, err := g.beat(ctx, merchant.merchant(), since)
	if err != nil {
		return nil, err
	}
	oldest := int64(math.MaxInt64)
	for bucket, answer := range answers {
		if len(answer) != 4 {
			return nil, fmt.Errorf("beat: %w: %d fields, not 4", ErrRecord, len(answer))
		}
		numbers, err := parseNumbers("beat", answer, 1, 2)
		if err != nil {
			return nil, err
		}
		g.wasAt(bucket, numbers[0])
		m.epochs[bucket], m.Trusted = answer[0], m.Trusted && answer[3] == "1"
		oldest = min(oldest, max(numbers[1], numbers[0]-ms(g.config.Retention)))
	}
	m.From = moment(oldest)
	return m, nil
}

// beat runs the script for all buckets in one go, and one by one where a server does not have it yet.
func (g *Guard) beat(ctx context.Context, merchant string, reach int64) (answers [buckets][]string, err error) {
	commands, _ := g.config.Redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for bucket := range buckets {
			p.EvalSha(ctx, beatScript.sha, []string{epochKey(bucket)}, newToken(), merchant, g.reach(bucket, reach), g.process)
		}
		return nil
	})
	for bucket, command := range commands {
		if answers[bucket], err = command.(*redis.Cmd).StringSlice(); err == nil {
			continue
		}
		args := []any{newToken(), merchant, g.reach(bucket, reach), g.process}
		if answers[bucket], err = run(ctx, g.config.Redis, beatScript, []string{epochKey(bucket)}, args); err != nil {
			return answers, err
		}
	}
	return answers, nil
}

// wasAt notes when this guard was at a bucket.
func (g *Guard) wasAt(bucket int, now int64) {
	for {
		seen := g.seen[bucket].Load()
		if now <= seen || g.seen[bucket].CompareAndSwap(seen, now) {
			return
		}
	}
}

// reach is what a bucket's memory has to reach to.
func (g *Guard) reach(bucket int, asked int64) int64 { return max(asked, g.seen[bucket].Load()) }

// Trust ends the quarantine of a merchant: all that was done is on record again, and no command is left that was delivered before.
//
// Errors: ErrLost where Redis has lost its memory again; ErrUnavailable.
func (g *Guard) Trust(ctx context.Context, merchant Entity, m *Memory) error {
	for bucket := range buckets {
		if _, err := run(ctx, g.config.Redis, trustScript, []string{epochKey(bucket)}, []any{merchant.merchant(), m.epochs[bucket]}); err != nil {
			return err
		}
	}
	return nil
}

// Restoration is what an event proves about an operation.
type Restoration struct {
	Entity      Entity
	Operation   string
	Command     Command // whose outcome it is
	Fingerprint string  // as the event tells it, "" where it does not
	Calls       int
	State       State
	Outcome     []byte    // as Settle would have stored it
	At          time.Time // when it was settled, by Redis' clock
	Effect      string    // done only
	// MoneyUnknown says of a parked operation that money may have moved.
	MoneyUnknown bool
	// Told is Conflict or Rejected, where that was the command's answer.
	Told Answer
}

// Restore writes an operation's record where Redis has forgotten it. What is settled stays as it is, and so does a claim that has not lapsed.
// A refusal frees the operation only where its own command still holds it open.
//
// Errors: a restoration that breaks a rule; ErrUnavailable; ErrRecord.
func (g *Guard) Restore(ctx context.Context, r Restoration) error {
	switch {
	case r.State < StateDone || r.State > StateParked:
		return fmt.Errorf("restore: %w", broken("State", int(r.State), "it must be StateDone, StateRefused or StateParked"))
	case r.Operation == "" || r.Entity.ID == "" || r.Command.Source == "" || r.Command.ID == "":
		return fmt.Errorf("restore: %w", broken("Entity, Operation or Command", "empty", "they must be given"))
	case len(r.Outcome) == 0 || !utf8.Valid(r.Outcome):
		return fmt.Errorf("restore: %w", broken("Outcome", "empty or not UTF-8", "it must be the event"))
	}
	told := ""
	if r.Told != 0 {
		told = r.Told.String()
	}
	_, key := entityKey(r.Entity)
	_, err := run(ctx, g.config.Redis, restoreScript, []string{key}, []any{
		r.Operation, r.State.String(), string(r.Outcome), r.Effect, r.Command.Source, r.Command.ID, r.Fingerprint, r.Calls,
		flag(r.MoneyUnknown), ms(g.config.Retention), told, r.At.UnixMilli(),
	})
	return err
}

// OnConnect begins a quarantine where the server behind a new connection is another one, or was restarted: it may have lost its last writes. It
// goes into the options of the client that the guard gets. A server that does not tell its replication id (some managed ones, and miniredis) is
// no witness: then the epochs alone serve. A replica is not connected to.
//
// Errors: ErrUnavailable; the connection is not to be used then.
func OnConnect(ctx context.Context, conn *redis.Conn) error {
	info, err := conn.Info(ctx, "replication").Result()
	replication := replicationField(info, "master_replid")
	var reply redis.Error
	if err != nil && !errors.As(err, &reply) {
		return unavailable("ask for the replication id", err)
	}
	if replication == "" {
		return nil
	}
	if replicationField(info, "role") == "slave" { // it may be promoted later, without a new connection
		return unavailable("connect", errors.New("this Redis server is a replica"))
	}
	answers, err := conn.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.Do(ctx, "SCRIPT", "LOAD", connectScript.text)
		for bucket := range buckets {
			p.EvalSha(ctx, connectScript.sha, []string{epochKey(bucket)}, replication, newToken())
		}
		return nil
	})
	problems := []error{err}
	for _, answer := range answers {
		problems = append(problems, answer.Err())
	}
	for _, problem := range problems {
		if problem != nil && !elsewhere(problem) {
			return unavailable("connect", problem)
		}
	}
	return nil
}

// elsewhere: a cluster's node does not have the bucket. One that answers "CLUSTERDOWN The cluster is down", as in its first seconds after a
// restart, may have it and is not to be used: the connection would last, and nobody would have asked whether it is the server from before.
func elsewhere(err error) bool {
	return redis.HasErrorPrefix(err, "MOVED") || redis.HasErrorPrefix(err, "ASK") ||
		redis.HasErrorPrefix(err, "CLUSTERDOWN Hash slot not served")
}

func replicationField(info, name string) string {
	for lines := bufio.NewScanner(strings.NewReader(info)); lines.Scan(); {
		if value, found := strings.CutPrefix(lines.Text(), name+":"); found {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
