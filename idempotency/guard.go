package idempotency

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// Config says which Redis the guard lives in and how much it asks of it.
type Config struct {
	// Redis is a standalone, Sentinel or Cluster client. Its MaxRetries should be -1: the guard itself repeats a script whose answer was
	// lost, once, with the same token.
	Redis redis.UniversalClient
	// Retention is how long settled operations are remembered, at least a minute. It must be longer than a duplicate of a command can
	// take to arrive, replays of dead letters included. Open operations (in doubt, parked with an unknown outcome) never expire.
	Retention time.Duration
	// WaitReplicas is the number of replicas, 0 to 100, that must have acknowledged a claim before it may lead to a call.
	WaitReplicas int
	// WaitTimeout bounds that wait: a millisecond to a minute; 0 means one second.
	WaitTimeout time.Duration
	// Cautious takes nothing for fresh: every answer that would be Fresh is InDoubt. For the time after a disaster recovery.
	Cautious bool
}

// Guard grants claims on operations. It is safe for concurrent use.
type Guard struct {
	config  Config
	scripts evaluator     // for scripts that need no connection of their own
	grace   time.Duration // instead of a claim's Place, where tests have no time for it

	process string                // names this guard among those of other processes
	seen    [buckets]atomic.Int64 // when the guard was at each bucket last, by Redis' clock (ms): its memory reaches that far, or is lost
}

// Errors that callers decide on. Match them with errors.Is.
var (
	// ErrLost says that the token of a claim is no longer that of the record: the lease lapsed and somebody else took over, or Redis
	// forgot, or the claim has ended already. What the claimant knows must not be written over the record; events are then published
	// only after reading the last event of their subject.
	ErrLost = errors.New("the claim is lost: the operation's record carries another token, or none; look up before doing anything more")
	// ErrUnavailable says that Redis gave no answer that counts: network, timeout, LOADING, OOM, READONLY, NOREPLICAS and the like. It
	// never means that there is no record. No call may be started; the command is tried again later.
	ErrUnavailable = errors.New("the guard's Redis is unavailable")
	// ErrReplicas says that too few replicas acknowledged a claim in time. It comes with ErrUnavailable; the claim has been released.
	ErrReplicas = errors.New("too few replicas acknowledged the claim, so nothing may be called")
	// ErrForgotten says that Redis has lost its memory since the claimant looked ([ClaimRequest].Memory). Nothing is granted, nor answered
	// from what is left, before it has been made up for.
	ErrForgotten = errors.New("the memory of Redis is lost, and has to be made up for first")
	// ErrRecord says that a record, or what Redis answered about it, cannot be read: it is damaged, or a newer version of the worker
	// wrote it. Nothing was granted. A person has to look at it.
	ErrRecord = errors.New("the guard's record cannot be read: it is damaged or was written by a newer version")
)

// New checks the configuration and returns a guard. It does not talk to Redis.
func New(config Config) (*Guard, error) {
	if config.WaitTimeout == 0 {
		config.WaitTimeout = time.Second
	}
	if err := config.Validate(); err != nil {
		return nil, err
	}
	scripts, err := inPipelines(config.Redis)
	if err != nil {
		return nil, fmt.Errorf("idempotency: Redis: %w", err)
	}
	return &Guard{config: config, scripts: scripts, process: newToken()}, nil
}

// Validate names the first field that breaks its rule.
func (c Config) Validate() error {
	switch {
	case c.Redis == nil:
		return errors.New("idempotency: Redis is nil: it must be a client")
	case c.Retention < time.Minute:
		return fmt.Errorf("idempotency: Retention is %v: it must be at least 1m", c.Retention)
	case c.WaitReplicas < 0 || c.WaitReplicas > 100:
		return fmt.Errorf("idempotency: WaitReplicas is %d: it must be from 0 to 100", c.WaitReplicas)
	case c.WaitTimeout != 0 && (c.WaitTimeout < time.Millisecond || c.WaitTimeout > time.Minute):
		return fmt.Errorf("idempotency: WaitTimeout is %v: it must be from 1ms to 1m, or 0 for 1s", c.WaitTimeout)
	case c.WaitReplicas > 0 && !pinnable(c.Redis):
		return fmt.Errorf("idempotency: Redis is a %T: WaitReplicas above 0 needs a *redis.Client or *redis.ClusterClient, whose connections "+
			"can be held", c.Redis)
	}
	return nil
}

// Time reads Redis' clock, which judges all leases. In a cluster it is the clock of any one node.
func (g *Guard) Time(ctx context.Context) (time.Time, error) {
	now, err := g.config.Redis.Time(ctx).Result()
	if err != nil {
		return time.Time{}, unavailable("read the time", err)
	}
	return now.UTC(), nil
}
