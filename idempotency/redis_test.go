package idempotency

import (
	"context"
	"errors"
	"io"
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
	_, timeErr := s.guard.Time(s.ctx)
	for what, err := range map[string]error{
		"claim":   claimErr,
		"extend":  s.guard.Extend(s.ctx, c, Extension{Lease: long}),
		"settle":  s.guard.Settle(s.ctx, c, Settlement{State: StateDone, Outcome: []byte("{}")}),
		"release": s.guard.Release(s.ctx, c, Release{}),
		"time":    timeErr,
		"trust":   s.guard.Trust(s.ctx, s.entity, &Memory{}),
		"pass":    s.guard.Pass(s.ctx, s.entity, refundA, 1),
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

func TestNothingIsGrantedByAReadOnlyReplica(t *testing.T) {
	t.Parallel()
	primary, _ := ownServer(t)
	host, port, _ := net.SplitHostPort(primary.redis.(*redis.Client).Options().Addr)
	replica, _ := ownServer(t, "--replicaof", host+" "+port)
	if _, err := replica.guard.Claim(t.Context(), replica.request("A")); !errors.Is(err, ErrUnavailable) {
		t.Errorf("error %v", err)
	}
	conn := replica.redis.(*redis.Client).Conn()
	defer conn.Close()
	if err := OnConnect(t.Context(), conn); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "is a replica") {
		t.Errorf("a connection to a replica: error %v", err)
	}
}

func TestNothingIsGrantedWhenWritesNeedReplicas(t *testing.T) {
	t.Parallel()
	s, _ := ownServer(t, "--min-replicas-to-write", "1")
	if _, err := s.guard.Claim(s.ctx, s.request("A")); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "NOREPLICAS") {
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

// cutter passes a connection on to Redis, and cuts it instead of passing on the next answer when told to.
type cutter struct {
	listener net.Listener
	cuts     atomic.Int64 // answers still to be cut
	wg       sync.WaitGroup
}

func newCutter(t testing.TB, to string) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{listener: l}
	c.wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				_ = client.Close()
				continue
			}
			c.wg.Go(func() { _, _ = io.Copy(server, client); _ = server.Close() })
			c.wg.Go(func() { c.answers(client, server); _ = client.Close(); _ = server.Close() })
		}
	})
	t.Cleanup(func() { _ = l.Close(); c.wg.Wait() })
	return c
}

func (c *cutter) answers(client io.Writer, server io.Reader) {
	buffer := make([]byte, 1<<16)
	for {
		n, err := server.Read(buffer)
		if err != nil || c.cuts.Add(-1) >= 0 {
			return
		}
		c.cuts.Add(1)
		if c.cuts.Load() < 0 {
			c.cuts.Store(0)
		}
		if _, err := client.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// cutScene is a scene over a connection whose answers can be lost. The server is its own: on another's, a SCRIPT FLUSH would cost answers.
func cutScene(t *testing.T, config Config) (*scene, *cutter) {
	t.Helper()
	address, stop, err := startServer()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	c := newCutter(t, address)
	s := newScene(t, store{"cut", func() (redis.UniversalOptions, error) {
		return redis.UniversalOptions{Addrs: []string{c.listener.Addr().String()}, DisableIdentity: true, Protocol: 2}, nil
	}}, false)
	s.guard = s.newGuard(config)
	s.claim("warm up", operation("refund:1:warm")) // the connection is set up and the script known
	s.forget()
	return s, c
}

func TestALostAnswerIsAskedForAgainWithTheSameToken(t *testing.T) {
	t.Parallel()
	s, cut := cutScene(t, Config{})
	cut.cuts.Store(1)
	c := s.want(s.claim("A"), Fresh, ReasonNew)
	if c.Calls != 1 {
		t.Errorf("calls %d", c.Calls)
	}
	cut.cuts.Store(1)
	s.extend(c, Extension{Proven: true, Call: true, CallFor: long})
	if c.Calls != 2 {
		t.Errorf("calls %d", c.Calls)
	}
	cut.cuts.Store(1)
	s.release(c, Release{Spend: time.Minute})
	c = s.want(s.claim("A"), Fresh, ReasonNotSent)
	if c.Spent != time.Minute || c.Calls != 2 {
		t.Errorf("spent %v, calls %d", c.Spent, c.Calls)
	}
	cut.cuts.Store(1)
	s.done(c)
	s.want(s.claim("A"), Done, ReasonSettled)
}

func TestAnAnswerLostTwiceIsAnErrorAndTheClaimIsInDoubtAfterwards(t *testing.T) {
	t.Parallel()
	s, cut := cutScene(t, Config{})
	cut.cuts.Store(2)
	if c, err := s.guard.Claim(s.ctx, s.request("A", lapsing)); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("claim %+v, error %v", c, err)
	}
	s.stayAway()
	s.want(s.claim("A"), InDoubt, ReasonLapsed)
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

func TestAClaimIsOnTheReplicasBeforeTheCall(t *testing.T) {
	t.Parallel()
	primary, _ := ownServer(t)
	addr := primary.redis.(*redis.Client).Options().Addr
	host, port, _ := net.SplitHostPort(addr)
	replica, stop := ownServer(t, "--replicaof", host+" "+port)
	err := until(func(ctx context.Context) error {
		info, err := replica.redis.Info(ctx, "replication").Result()
		if err == nil && !strings.Contains(info, "master_link_status:up") {
			err = errors.New(info)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s := primary
	s.guard = s.newGuard(Config{WaitReplicas: 1, WaitTimeout: 10 * time.Second})
	c := s.want(s.claim("A"), Fresh, ReasonNew)
	_, key := entityKey(s.entity)
	if !replica.redis.HExists(s.ctx, key, "op:"+refundA).Val() {
		t.Error("the replica has no record")
	}
	s.extend(c, Extension{CallFor: long})
	s.release(c, Release{})
	anAnswerLostOnTheHeldConnectionIsAskedForAgain(s, addr)

	stop()
	s.guard = s.newGuard(Config{WaitReplicas: 1, WaitTimeout: 10 * time.Millisecond})
	if c, err := s.guard.Claim(s.ctx, s.request("A")); !errors.Is(err, ErrReplicas) || !errors.Is(err, ErrUnavailable) {
		t.Fatalf("claim %+v, error %v", c, err)
	}
	alone := s.newGuard(Config{})
	c = s.want(s.claimOf(alone, "A"), Fresh, ReasonNotSent)
	if c.Calls != 1 {
		t.Errorf("calls %d", c.Calls)
	}
	if err := s.guard.Extend(s.ctx, c, Extension{Lease: long}); err != nil {
		t.Errorf("an extension without a call needs no replica: %v", err)
	}
	if err := s.guard.Extend(s.ctx, c, Extension{Proven: true, Call: true, CallFor: short, Lease: long}); !errors.Is(err, ErrReplicas) {
		t.Errorf("error %v", err)
	}
	if c = s.want(s.claimOf(alone, "A"), Fresh, ReasonNotSent); c.Calls != 2 {
		t.Errorf("calls %d", c.Calls)
	}
	s.release(c, Release{Unknown: true})
	s.want(s.claim("A"), InDoubt, ReasonUnknown) // a look-up needs no replica
}

func anAnswerLostOnTheHeldConnectionIsAskedForAgain(s *scene, addr string) {
	s.Helper()
	cut := newCutter(s, addr)
	client := redis.NewClient(&redis.Options{Addr: cut.listener.Addr().String(), MaxRetries: -1, DisableIdentity: true, Protocol: 2})
	s.Cleanup(func() { _ = client.Close() })
	g, err := New(Config{Redis: client, Retention: time.Hour, WaitReplicas: 1, WaitTimeout: 10 * time.Second})
	if err != nil {
		s.Fatal(err)
	}
	elsewhere := func(r *ClaimRequest) { r.Entity.ID += "elsewhere" }
	c := s.want(s.claimOf(g, "A", elsewhere), Fresh, ReasonNew)
	cut.cuts.Store(1)
	if err := g.Extend(s.ctx, c, Extension{Proven: true, Call: true, CallFor: long, Lease: 2 * long}); err != nil || c.Calls != 2 {
		s.Errorf("calls %d, error %v", c.Calls, err)
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

func TestMissingReplicasAreAnErrorEverywhere(t *testing.T) {
	t.Parallel()
	for _, st := range stores {
		t.Run(st.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, st, false)
			waiting := s.newGuard(Config{WaitReplicas: 1, WaitTimeout: time.Millisecond})
			s.want(s.claimOf(waiting, "P", probe), Rejected, ReasonNever) // no call, no replicas
			if c, err := waiting.Claim(s.ctx, s.request("A")); !errors.Is(err, ErrReplicas) {
				t.Errorf("claim %+v, error %v", c, err)
			}
			s.want(s.claim("A"), Fresh, ReasonNotSent)
			s.want(s.claimOf(waiting, "B"), Busy, ReasonClaimed)
		})
	}
}

func TestAWaitWhoseConnectionBreaksDoesNotCountOnAnother(t *testing.T) {
	t.Parallel()
	primary, _ := ownServer(t)
	cut := newCutter(t, primary.redis.(*redis.Client).Options().Addr)
	client := redis.NewClient(&redis.Options{Addr: cut.listener.Addr().String(), MaxRetries: -1, DisableIdentity: true, Protocol: 2})
	t.Cleanup(func() { _ = client.Close() })
	client.AddHook(before{"wait", func() { cut.cuts.Store(1) }})
	g, err := New(Config{Redis: client, Retention: time.Hour, WaitReplicas: 1, WaitTimeout: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if c, err := g.Claim(t.Context(), primary.request("A")); !errors.Is(err, ErrReplicas) {
		t.Fatalf("claim %+v, error %v", c, err)
	}
	primary.want(primary.claim("A"), Fresh, ReasonNotSent)
}

// before does something before a command is sent.
type before struct {
	name string
	do   func()
}

func (b before) DialHook(next redis.DialHook) redis.DialHook { return next }
func (b before) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (b before) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == b.name {
			b.do()
		}
		return next(ctx, cmd)
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
