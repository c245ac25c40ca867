package idempotency

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// intercept stands in for Redis where instead says so, by answering a command or refusing it, and counts the scripts that were asked for.
type intercept struct {
	scripts atomic.Int64
	instead func(name string) (answer []any, err error, does bool)
}

func (i *intercept) DialHook(next redis.DialHook) redis.DialHook { return next }
func (i *intercept) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (i *intercept) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "evalsha" || cmd.Name() == "eval" {
			i.scripts.Add(1)
		}
		if i.instead == nil {
			return next(ctx, cmd)
		}
		answer, err, does := i.instead(cmd.Name())
		if !does {
			return next(ctx, cmd)
		}
		if script, ok := cmd.(*redis.Cmd); ok && err == nil {
			script.SetVal(answer)
		}
		if err != nil {
			cmd.SetErr(err)
		}
		return err
	}
}

// intercepted is a scene whose Redis can be stood in for, with a guard that waits for replicas and one that does not.
func intercepted(t *testing.T) (s *scene, i *intercept, guards map[string]*Guard) {
	t.Helper()
	s, _ = ownServer(t) // on which nobody else flushes the scripts
	i = &intercept{}
	s.release(s.claim("warm up"), Release{}) // the connection is set up and the scripts known
	s.forget()
	s.redis.AddHook(i)
	return s, i, map[string]*Guard{
		"without replicas": s.newGuard(Config{}),
		"with replicas":    s.newGuard(Config{WaitReplicas: 1, WaitTimeout: time.Millisecond}),
	}
}

// wantScripts demands how many scripts were asked for since the last time.
func (i *intercept) wantScripts(t *testing.T, what string, want int64) {
	t.Helper()
	if n := i.scripts.Swap(0); n != want {
		t.Errorf("%s: %d scripts were sent, want %d", what, n, want)
	}
}

var errCut = errors.New("the connection was cut")

func TestAScriptIsSentAgainOnlyWhereItsAnswerWasLost(t *testing.T) {
	t.Parallel()
	s, i, guards := intercepted(t)
	for name, g := range guards {
		i.scripts.Store(0)
		i.instead = nil
		s.want(s.claimOf(g, "P", redelivered, operation("refund:1:"+name)), InDoubt, ReasonForgotten)
		i.wantScripts(t, name+", answered", 1)

		i.instead = func(command string) ([]any, error, bool) { return nil, errCut, command == "evalsha" }
		if _, err := g.Claim(s.ctx, s.request("A")); !errors.Is(err, errCut) || !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: error %v", name, err)
		}
		i.wantScripts(t, name+", lost", 2)

		ctx, cancel := context.WithCancel(s.ctx)
		i.instead = func(command string) ([]any, error, bool) { cancel(); return nil, errCut, command == "evalsha" }
		if _, err := g.Claim(ctx, s.request("A")); !errors.Is(err, errCut) || !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: error %v", name, err)
		}
		i.wantScripts(t, name+", lost as the context ended", 1)

		i.instead = nil
		_, key := entityKey(s.entity)
		s.redis.Set(s.ctx, key, "no hash", 0)
		if _, err := g.Claim(s.ctx, s.request("A")); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "WRONGTYPE") {
			t.Errorf("%s: error %v", name, err)
		}
		i.wantScripts(t, name+", refused by Redis", 1)
		s.forget()
	}
}

func TestAWaitThatFailsIsToldAndTheScriptIsNotRepeated(t *testing.T) {
	t.Parallel()
	s, i, guards := intercepted(t)
	i.instead = func(command string) ([]any, error, bool) { return nil, errCut, command == "wait" }
	_, err := guards["with replicas"].Claim(s.ctx, s.request("A"))
	if !errors.Is(err, errCut) || !errors.Is(err, ErrReplicas) || !errors.Is(err, ErrUnavailable) {
		t.Errorf("error %v", err)
	}
	i.wantScripts(t, "claim and release", 2)
	s.want(s.claim("A"), Fresh, ReasonNotSent)
}

func TestAnExtensionOfALostClaimWaitsForNoReplica(t *testing.T) {
	t.Parallel()
	s, _, guards := intercepted(t)
	old := s.lapse("A")
	s.want(s.claim("B"), InDoubt, ReasonLapsed)
	err := guards["with replicas"].Extend(s.ctx, old, Extension{CallFor: short, Lease: long})
	if !errors.Is(err, ErrLost) || errors.Is(err, ErrReplicas) {
		t.Errorf("error %v, want ErrLost alone", err)
	}
}

func TestAnswersThatCannotBeReadGrantNothing(t *testing.T) {
	t.Parallel()
	fields := func(n int, change ...string) (all []any) {
		for range n {
			all = append(all, "0")
		}
		for i, text := range change {
			all[i] = text
		}
		return all
	}
	s, i, guards := intercepted(t)
	claim := s.claim("A")
	for name, g := range guards {
		for what, answer := range map[string][]any{
			"nothing":         fields(0),
			"too few fields":  fields(claimFields-1, "busy"),
			"no number":       fields(claimFields, "busy", "", "tomorrow"),
			"no known answer": fields(claimFields, "perhaps"),
		} {
			i.instead = func(command string) ([]any, error, bool) { return answer, nil, command == "evalsha" }
			if c, err := g.Claim(s.ctx, s.request("B")); !errors.Is(err, ErrRecord) || c != nil {
				t.Errorf("%s, a claim answered with %s: %+v, %v", name, what, c, err)
			}
		}
		for what, answer := range map[string][]any{
			"nothing":         fields(0),
			"too few fields":  fields(5, "ok"),
			"too many fields": fields(7, "ok"),
			"no number":       fields(6, "ok", "tomorrow"),
		} {
			before := *claim
			i.instead = func(command string) ([]any, error, bool) { return answer, nil, command == "evalsha" }
			err := g.Extend(s.ctx, claim, Extension{Lease: long, Snapshot: []byte("[1]")})
			if !errors.Is(err, ErrRecord) || claim.Snapshot != nil || claim.Until != before.Until {
				t.Errorf("%s, an extension answered with %s: %v", name, what, err)
			}
		}
	}
}

func TestTheGuardNeedsANodeThatHasTheEntity(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	_ = l.Close()
	away := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{nobody}, MaxRedirects: -1})
	t.Cleanup(func() { _ = away.Close() })

	s := newScene(t, stores[1], false)
	shards, err := s.redis.(*redis.ClusterClient).ClusterShards(s.ctx).Result()
	if err != nil {
		t.Fatal(err)
	}
	bucket, _ := entityKey(s.entity)
	slot := s.redis.ClusterKeySlot(s.ctx, epochKey(bucket)).Val()
	other := ""
	for _, shard := range shards {
		if slot < shard.Slots[0].Start || slot > shard.Slots[0].End {
			other = net.JoinHostPort("127.0.0.1", strconv.FormatInt(shard.Nodes[0].Port, 10))
		}
	}
	single := redis.NewClient(&redis.Options{Addr: other, MaxRetries: -1})
	t.Cleanup(func() { _ = single.Close() })

	for text, client := range map[string]redis.UniversalClient{"connect": away, "MOVED": single} {
		g, err := New(Config{Redis: client, Retention: time.Hour, WaitReplicas: 1})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.Claim(s.ctx, s.request("A")); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), text) {
			t.Errorf("error %v, want ErrUnavailable with %q", err, text)
		}
	}
}

func TestWhatAClaimIntendsOutlastsItsExtensions(t *testing.T) {
	t.Parallel()
	hold(t, []behaviour{
		{"an extension for more time keeps in mind that a call was intended", func(s *scene) {
			old := s.extend(s.claim("A", lapsing), Extension{Lease: short})
			s.pass(old.Until)
			s.release(s.extend(s.want(s.claim("A"), InDoubt, ReasonLapsed), Extension{Proven: true}), Release{})
			if err := s.guard.Release(s.ctx, old, Release{Unknown: true}); !errors.Is(err, ErrLost) {
				s.Errorf("error %v, want ErrLost", err)
			}
			s.want(s.claim("A"), InDoubt, ReasonUnknown)
		}},
		{"an extension of a look-up intends no call", func(s *scene) {
			s.lapse("A")
			old := s.extend(s.want(s.claim("A", lapsing), InDoubt, ReasonLapsed), Extension{Lease: short})
			s.pass(old.Until)
			s.release(s.extend(s.want(s.claim("A"), InDoubt, ReasonLapsed), Extension{Proven: true}), Release{})
			if err := s.guard.Release(s.ctx, old, Release{Unknown: true}); !errors.Is(err, ErrLost) {
				s.Errorf("error %v, want ErrLost", err)
			}
			s.want(s.claim("A"), Fresh, ReasonNotSent)
		}},
	})
}

func TestEndsThatContradictThemselvesAreRefused(t *testing.T) {
	t.Parallel()
	s := newScene(t, stores[2], false)
	c := s.claim("A")
	done := func(command Command) error {
		return s.guard.Settle(s.ctx, c, Settlement{State: StateDone, Outcome: []byte("{}"), Command: command})
	}
	for want, err := range map[string]error{
		"Yield is true":         s.guard.Release(s.ctx, c, Release{Yield: true, Unknown: true}),
		"Command is half empty": done(Command{Source: "/checkout"}),
		"Command is not UTF-8":  done(Command{Source: "/checkout", ID: "\xff"}),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	s.want(s.claim("B"), Busy, ReasonClaimed) // nothing of it has reached the record
}

func TestTimesThatThereAreNotAreZero(t *testing.T) {
	t.Parallel()
	s := newScene(t, stores[2], false)
	s.done(s.claim("A"))
	if c := s.want(s.claim("A"), Done, ReasonSettled); !c.Until.IsZero() || c.Now.IsZero() {
		t.Errorf("until %v, now %v", c.Until, c.Now)
	}
	s.claim("X", operation(confirm))
	if c := s.want(s.claim("B", operation(refundB)), Busy, ReasonHeldPrefix+confirm); !c.MaySendUntil.IsZero() {
		t.Errorf("may send until %v, though nothing was ever sent", c.MaySendUntil)
	}
}

func TestConfigurationsHaveDefaults(t *testing.T) {
	t.Parallel()
	s := newScene(t, stores[2], false)
	if err := (Config{Redis: s.redis, Retention: time.Hour}).Validate(); err != nil {
		t.Errorf("without WaitTimeout: %v", err)
	}
}

func TestReplayNumbersAreTheirOwners(t *testing.T) {
	t.Parallel()
	hold(t, []behaviour{
		{"a replay of another command that resolves an operation leaves its owners number alone", func(s *scene) {
			s.lapse("A", replay(4))
			s.refused(s.want(s.claim("B", replay(9)), InDoubt, ReasonLapsed))
			s.want(s.claim("A", replay(4)), RefusedBefore, ReasonSettled)
			s.want(s.claim("A", replay(5)), Fresh, ReasonReopened)
		}},
		{"a replay number outlasts the redelivery of an older replay", func(s *scene) {
			s.release(s.claim("A"), Release{})
			s.release(s.claim("A", replay(9)), Release{})
			s.refused(s.want(s.claim("A", replay(4)), Fresh, ReasonNotSent))
			s.want(s.claim("A", replay(9)), RefusedBefore, ReasonSettled)
		}},
		{"a command that was parked beside the owner is on record for its replay", func(s *scene) {
			s.settle(s.claim("A"), Settlement{State: StateParked, Command: Command{Source: "/checkout", ID: "B"}})
			s.want(s.claim("B", replay(1)), Fresh, ReasonReopened)
		}},
	})
}

func TestWhatHoldsAnEntity(t *testing.T) {
	t.Parallel()
	hold(t, []behaviour{
		{"of several operations in doubt the first by its key is named", func(s *scene) {
			keys := []string{"refund:1:e", "refund:1:b", "refund:1:d", "refund:1:a", "refund:1:c", "refund:1:f"}
			var lost []*Claim
			for _, key := range keys {
				lost = append(lost, s.claim("A"+key, operation(key)))
				s.forget()
			}
			for _, c := range lost {
				if err := s.guard.Release(s.ctx, c, Release{Unknown: true}); !errors.Is(err, ErrLost) {
					s.Errorf("error %v, want ErrLost", err)
				}
			}
			s.want(s.claim("X", operation(confirm)), Busy, ReasonHeldPrefix+"refund:1:a")
		}},
		{"an operation whose record is gone holds nobody", func(s *scene) {
			s.claim("A")
			_, key := entityKey(s.entity)
			s.redis.HDel(s.ctx, key, "op:"+refundA)
			s.want(s.claim("B", operation(refundB)), Fresh, ReasonNew)
		}},
		{"who has to wait is not told what others have brought about", func(s *scene) {
			s.settle(s.claim("A"), Settlement{State: StateDone, Effect: "9001"})
			x := s.claim("X", operation(confirm))
			if c := s.want(s.claim("B", operation(refundB), sequence(50)), Busy, ReasonHeldPrefix+confirm); len(c.Owned) != 0 {
				s.Errorf("owned %q", c.Owned)
			}
			s.done(x)
			if c := s.want(s.claim("B", operation(refundB), sequence(50)), Fresh, ReasonNew); len(c.Owned) != 1 {
				s.Errorf("owned %q", c.Owned)
			}
		}},
	})
}

func TestWhatStaysOnRecord(t *testing.T) {
	t.Parallel()
	hold(t, []behaviour{
		{"a refused command that is replayed has its whole budget again", func(s *scene) {
			s.release(s.claim("A"), Release{Spend: time.Hour})
			s.refused(s.claim("A"))
			if c := s.want(s.claim("A", replay(1)), Fresh, ReasonReopened); c.Spent != 0 {
				s.Errorf("spent %v", c.Spent)
			}
		}},
		{"a refusal stays one when its command probes", func(s *scene) {
			s.refused(s.claim("A"))
			s.claim("A", replay(1), probe)
			s.want(s.claim("B"), Fresh, ReasonFreed)
		}},
		{"a doubt outlasts an extension without a proof", func(s *scene) {
			s.lapse("A")
			c := s.extend(s.want(s.claim("A"), InDoubt, ReasonLapsed), Extension{})
			s.forget()
			if err := s.guard.Release(s.ctx, c, Release{}); !errors.Is(err, ErrLost) {
				s.Errorf("error %v, want ErrLost", err)
			}
			s.want(s.claim("A"), InDoubt, ReasonUnknown)
		}},
		{"nothing is kept of what is empty", func(s *scene) {
			_, key := entityKey(s.entity)
			x := s.claim("X", operation(confirm))
			s.claim("A", sequence(50))
			s.done(x)
			s.done(s.claim("A", sequence(50)))
			for _, field := range []string{"open", "waiters", "owned"} {
				if text, err := s.redis.HGet(s.ctx, key, field).Result(); !errors.Is(err, redis.Nil) {
					s.Errorf("%s is kept as %q, %v", field, text, err)
				}
			}
		}},
		{"commands with one id of two sources have a refusal each", func(s *scene) {
			elsewhere := func(r *ClaimRequest) { r.Command.Source = "/other" }
			s.refused(s.claim("A"))
			s.refused(s.claim("A", elsewhere))
			s.want(s.claim("A"), RefusedBefore, ReasonSettled)
			s.want(s.claim("A", elsewhere), RefusedBefore, ReasonSettled)
		}},
		{"an effect that comes to light after its operation was given up leaves earlier refusals alone", func(s *scene) {
			old := s.lapse("A")
			s.settle(s.want(s.claim("B"), InDoubt, ReasonLapsed), Settlement{State: StateRefused, Command: Command{Source: "/checkout", ID: "B"}})
			s.release(s.want(s.claim("C"), Fresh, ReasonFreed), Release{})
			s.claim("C", probe)
			s.done(old)
			s.want(s.claim("B"), RefusedBefore, ReasonSettled)
			s.want(s.claim("A"), Done, ReasonSettled)
		}},
	})
}
