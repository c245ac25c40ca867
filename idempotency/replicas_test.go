package idempotency

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

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
