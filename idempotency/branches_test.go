package idempotency

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

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

func TestWhoComesMeanwhile(t *testing.T) {
	t.Parallel()
	hold(t, []behaviour{
		{"a parked command that another one is resolving waits for what comes of it", func(s *scene) {
			a := s.claim("A")
			s.parked(a, true)
			b := s.want(s.claim("B"), InDoubt, ReasonParkedUnknown)
			s.want(s.claim("A", redelivered, sequence(a.request.Sequence)), Busy, ReasonClaimed)
			s.done(b)
			s.want(s.claim("A", redelivered, sequence(a.request.Sequence)), Done, ReasonSettled)
		}},
		{"commands with one id of two sources are each told once and for all", func(s *scene) {
			elsewhere := func(r *ClaimRequest) { r.Command.Source = "/other" }
			b := s.claim("B")
			s.want(s.claim("A", print("other")), Conflict, ReasonFingerprint)
			s.want(s.claim("A", print("other"), elsewhere), Conflict, ReasonFingerprint)
			s.refused(b)
			s.want(s.claim("A", print("other"), elsewhere), Conflict, ReasonFingerprint) // fresh, it would be called after its last event
			s.want(s.claim("A", print("other")), Conflict, ReasonFingerprint)
		}},
		{"a claim that yields leaves everybody else in the queue", func(s *scene) {
			early := s.request("X").Sequence
			a := s.claim("A")
			b := s.want(s.claim("B", operation(refundB)), Busy, ReasonHeldPrefix+refundA)
			s.release(a, Release{Yield: true, RetryAfter: long})
			s.done(s.want(s.claim("X", operation(confirm), sequence(early)), Fresh, ReasonNew))
			s.done(s.want(s.claim("A", redelivered, sequence(a.request.Sequence)), Fresh, ReasonNotSent))
			// Whoever comes later would overtake it.
			s.want(s.claim("C", operation("refund:1:c")), Busy, fmt.Sprint(ReasonSequencePrefix, b.request.Sequence))
		}},
	})
}

// A call of which there is word only after the operation was refused was another command's. Who can never be called, or never was, is told that
// it is rejected, rather than in the other one's stead; who may have been called is looked up.
func TestProbesOfARefusedOperationThatFellIntoDoubt(t *testing.T) {
	t.Parallel()
	late := func(s *scene) (waited uint64) {
		a := s.lapse("A")
		b := s.want(s.claim("B"), InDoubt, ReasonLapsed)
		waited = s.want(s.claim("C"), Busy, ReasonClaimed).request.Sequence
		s.refused(s.extend(b, Extension{Proven: true}))
		lost(s, s.guard.Release(s.ctx, a, Release{Unknown: true}))
		return waited
	}
	hold(t, []behaviour{
		{"one that was never here is rejected", func(s *scene) {
			late(s)
			s.want(s.claim("P", probe), Rejected, ReasonNever)
		}},
		{"one that can never be called is rejected", func(s *scene) {
			late(s)
			s.want(s.claim("P", bareProbe, redelivered), Rejected, ReasonNever)
		}},
		{"one that was delivered before is looked up", func(s *scene) {
			late(s)
			s.want(s.claim("P", probe, redelivered), InDoubt, ReasonUnknown)
		}},
		{"one that was replayed is looked up", func(s *scene) {
			late(s)
			s.want(s.claim("P", probe, replay(3)), InDoubt, ReasonUnknown)
		}},
		{"one that has waited here is looked up", func(s *scene) {
			s.want(s.claim("C", probe, sequence(late(s))), InDoubt, ReasonUnknown)
		}},
	})
}

// A refusal that was settled while another call of the operation was under way knows nothing of that call.
func TestWordOfACallThatCameAfterTheRefusalCountsFromThen(t *testing.T) {
	t.Parallel()
	s, pass := clockScene(t)
	a := s.claim("A", func(r *ClaimRequest) { r.CallFor, r.Lease = time.Minute, 2*time.Minute })
	pass(3 * time.Minute)
	s.refused(s.extend(s.want(s.claim("B"), InDoubt, ReasonLapsed), Extension{Proven: true}))
	pass(time.Minute)
	lost(s, s.guard.Release(s.ctx, a, Release{Unknown: true}))
	pass(time.Minute)
	c := s.want(s.claim("C"), InDoubt, ReasonUnknown)
	if want := c.Now.Add(-time.Minute); !c.MaySendUntil.Equal(want) || c.Calls != 1 {
		t.Errorf("%d calls, may send until %v, want 1 and %v", c.Calls, c.MaySendUntil, want)
	}
}
