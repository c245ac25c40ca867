package idempotency

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

func TestScriptsAreSentAgainWhenRedisHasForgottenThem(t *testing.T) {
	t.Parallel()
	for _, st := range stores {
		t.Run(st.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, st, false)
			flush := func() {
				t.Helper()
				err := s.redis.ScriptFlush(s.ctx).Err()
				if cluster, ok := s.redis.(*redis.ClusterClient); ok {
					err = cluster.ForEachMaster(s.ctx, func(ctx context.Context, node *redis.Client) error {
						return node.ScriptFlush(ctx).Err()
					})
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			flush()
			c := s.want(s.claim("A"), Fresh, ReasonNew)
			flush()
			s.extend(c, Extension{Call: true, CallFor: long})
			flush()
			s.release(c, Release{Unknown: true})
			c = s.want(s.claim("A"), InDoubt, ReasonUnknown)
			flush()
			s.done(c)
			s.want(s.claim("A"), Done, ReasonSettled)
		})
	}
}

func TestAnswersOfRedisThatAreNoAnswersAreErrors(t *testing.T) {
	t.Parallel()
	for _, message := range []string{
		"LOADING Redis is loading the dataset in memory",
		"READONLY You can't write against a read only replica.",
		"OOM command not allowed when used memory > 'maxmemory'.",
		"NOREPLICAS Not enough good replicas to write.",
		"CLUSTERDOWN Hash slot not served",
		"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
		"MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
		"NOPERM this user has no permissions to run the 'evalsha' command",
	} {
		t.Run(strings.Fields(message)[0], func(t *testing.T) {
			t.Parallel()
			m := miniredis.RunT(t)
			s := newScene(t, store{"failing", func() (redis.UniversalOptions, error) {
				return redis.UniversalOptions{Addrs: []string{m.Addr()}}, nil
			}}, false)
			c := s.claim("A")
			m.SetError(message)
			everythingIsUnavailable(s, c)
			m.SetError("")
			s.want(s.claim("A"), Busy, ReasonClaimed)
		})
	}
}

// everythingIsUnavailable asks the guard everything, and wants ErrUnavailable from all of it.
func everythingIsUnavailable(s *scene, c *Claim) {
	s.Helper()
	_, claimErr := s.guard.Claim(s.ctx, s.request("B"))
	_, foreseeErr := s.guard.Foresee(s.ctx, s.request("B"))
	_, rememberErr := s.guard.Remember(s.ctx, s.entity, time.Time{})
	_, timeErr := s.guard.Time(s.ctx)
	for what, err := range map[string]error{
		"claim":   claimErr,
		"foresee": foreseeErr,
		"extend":  s.guard.Extend(s.ctx, c, Extension{Lease: long}),
		"settle":  s.guard.Settle(s.ctx, c, Settlement{State: StateDone, Outcome: []byte("{}")}),
		"release": s.guard.Release(s.ctx, c, Release{}),
		"restore": s.guard.Restore(s.ctx, Restoration{
			Entity: s.entity, Operation: refundA, Command: Command{"/checkout", "A"}, State: StateDone, Outcome: []byte("{}"),
		}),
		"time":     timeErr,
		"remember": rememberErr,
		"trust":    s.guard.Trust(s.ctx, s.entity, &Memory{}),
		"pass":     s.guard.Pass(s.ctx, s.entity, refundA, 1),
	} {
		if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrLost) {
			s.Errorf("%s: error %v, want ErrUnavailable", what, err)
		}
	}
}

func ownServer(t *testing.T, settings ...string) (*scene, func()) {
	t.Helper()
	addr, stop, err := startServer(settings...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return newScene(t, store{"own", func() (redis.UniversalOptions, error) {
		return redis.UniversalOptions{Addrs: []string{addr}}, nil
	}}, false), stop
}

func TestNothingIsGrantedWhenRedisIsDown(t *testing.T) {
	t.Parallel()
	s, stop := ownServer(t)
	if now, err := s.guard.Time(s.ctx); err != nil || time.Since(now).Abs() > time.Minute {
		t.Fatal(now, err)
	}
	c := s.claim("A")
	stop()
	everythingIsUnavailable(s, c)
}

func TestNothingIsGrantedWhenRedisIsFull(t *testing.T) {
	t.Parallel()
	s, _ := ownServer(t, "--maxmemory-policy", "noeviction")
	s.want(s.claim("A"), Fresh, ReasonNew)
	s.redis.ConfigSet(s.ctx, "maxmemory", "1")
	if _, err := s.guard.Claim(s.ctx, s.request("B", operation(refundB))); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "OOM") {
		t.Errorf("error %v", err)
	}
}

func TestAnEndedContextIsUnavailableAndItself(t *testing.T) {
	t.Parallel()
	s := newScene(t, stores[0], false)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.guard.Claim(ctx, s.request("A"))
	if !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	s.want(s.claim("A"), Fresh, ReasonNew)
}

func TestFiftyAskAtOnceAndOneIsGranted(t *testing.T) {
	t.Parallel()
	for _, st := range stores {
		t.Run(st.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, st, false)
			var fresh, busy atomic.Int64
			var wg sync.WaitGroup
			for i := range 50 {
				key := []string{refundA, refundB, confirm}[i%3]
				request := s.request("A"+key, operation(key), sequence(uint64(100-i)))
				wg.Go(func() {
					c, err := s.guard.Claim(s.ctx, request)
					switch {
					case err != nil:
						t.Error(err)
					case c.Answer == Fresh:
						fresh.Add(1)
					case c.Answer == Busy:
						busy.Add(1)
					}
				})
			}
			wg.Wait()
			if fresh.Load() != 1 || busy.Load() != 49 {
				t.Errorf("%d fresh, %d busy", fresh.Load(), busy.Load())
			}
		})
	}
}

// A held connection follows no redirection: the cluster client has to be told that the slots have moved.
func TestAMovedSlotIsFoundOnTheNextClaim(t *testing.T) {
	t.Parallel()
	s := newScene(t, stores[1], false)
	nodes, err := s.redis.(*redis.ClusterClient).ClusterShards(s.ctx).Result()
	if err != nil {
		t.Fatal(err)
	}
	bucket, _ := entityKey(s.entity)
	slot := s.redis.ClusterKeySlot(s.ctx, epochKey(bucket)).Val()
	asked := make(chan struct{}, 100)
	var times atomic.Int64
	client := redis.NewClusterClient(&redis.ClusterOptions{
		MaxRedirects: -1,
		ClusterSlots: func(context.Context) ([]redis.ClusterSlot, error) {
			var all []redis.ClusterSlot
			first := times.Add(1) == 1
			select {
			case asked <- struct{}{}:
			default:
			}
			for _, shard := range nodes {
				owns := shard.Slots[0].Start <= slot && slot <= shard.Slots[0].End
				addr := net.JoinHostPort(shard.Nodes[0].IP, strconv.FormatInt(shard.Nodes[0].Port, 10))
				node := []redis.ClusterNode{{Addr: addr}}
				if first != owns {
					all = append(all, redis.ClusterSlot{Start: 0, End: 16383, Nodes: node})
				}
			}
			return all[:1], nil
		},
	})
	t.Cleanup(func() { _ = client.Close() })
	s.redis = client
	s.guard = s.newGuard(Config{WaitReplicas: 1, WaitTimeout: time.Millisecond})
	if _, err := s.guard.Claim(s.ctx, s.request("A")); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "MOVED") {
		t.Fatal(err)
	}
	for range 2 {
		select {
		case <-asked:
		case <-time.After(5 * time.Second):
			t.Fatal("nobody asked again where the slots are")
		}
	}
	err = until(func(context.Context) error {
		if _, err := s.guard.Claim(s.ctx, s.request("A")); !errors.Is(err, ErrReplicas) {
			return err
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestAnAnswerOfNothingIsDamage(t *testing.T) {
	t.Parallel()
	for _, answer := range [][]string{nil, {"damaged"}} {
		if _, err := read(claimScript, answer, nil); !errors.Is(err, ErrRecord) || !strings.HasPrefix(err.Error(), "claim: ") {
			t.Errorf("%q: error %v", answer, err)
		}
	}
}

func TestEveryClaimLeavesAHeartbeatInTheBucket(t *testing.T) {
	t.Parallel()
	hold(t, []behaviour{{"an epoch has an id that stays and a heartbeat in Redis clock", func(s *scene) {
		bucket, _ := entityKey(s.entity)
		read := func() (id string, alive int64) {
			id = s.redis.HGet(s.ctx, epochKey(bucket), "id").Val()
			alive, err := s.redis.HGet(s.ctx, epochKey(bucket), "alive").Int64()
			if err != nil {
				s.Fatal(err)
			}
			return id, alive
		}
		c := s.claim("A")
		id, alive := read()
		if len(id) != 32 || alive < c.Now.Add(-time.Minute).UnixMilli() {
			s.Errorf("id %q, alive %d, claimed at %d", id, alive, c.Now.UnixMilli())
		}
		s.pass(c.Now.Add(2 * short))
		c = s.want(s.claim("A"), Busy, ReasonClaimed)
		if again, later := read(); again != id || later <= alive || later < c.Now.Add(-time.Minute).UnixMilli() {
			s.Errorf("id %q then %q, alive %d then %d", id, again, alive, later)
		}
		if s.redis.PTTL(s.ctx, epochKey(bucket)).Val() != -1 {
			s.Error("the epoch expires")
		}
	}}})
}
