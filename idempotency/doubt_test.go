package idempotency

import (
	"errors"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

func withLease(record string, at int64) string {
	return regexp.MustCompile(`"lease":\d+`).ReplaceAllString(record, `"lease":`+strconv.FormatInt(at, 10))
}

// clockScene is a scene in which time passes only when told to.
func clockScene(t *testing.T) (*scene, func(time.Duration)) {
	t.Helper()
	m := miniredis.RunT(t)
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	m.SetTime(now)
	s := newScene(t, store{"clock", func() (redis.UniversalOptions, error) {
		return redis.UniversalOptions{Addrs: []string{m.Addr()}}, nil
	}}, false)
	return s, func(d time.Duration) {
		now = now.Add(d)
		m.SetTime(now)
	}
}

func TestClaimsInDoubt(t *testing.T) {
	t.Parallel()
	hold(t, []behaviour{
		{"a lapsed claim is in doubt and not fresh", func(s *scene) {
			a := s.lapse("A")
			for _, command := range []string{"A", "B"} {
				c := s.want(s.claim(command, lapsing), InDoubt, ReasonLapsed)
				if c.Owner.ID != "A" || c.Calls != 1 || !c.MaySendUntil.Equal(a.MaySendUntil) {
					s.Errorf("%+v", c)
				}
				s.pass(c.Until)
			}
		}},
		{"a lapsed claim given back is still in doubt", func(s *scene) {
			s.lapse("A")
			s.release(s.claim("A"), Release{})
			if c := s.want(s.claim("A"), InDoubt, ReasonUnknown); c.Calls != 1 {
				s.Errorf("a call that may have been made is not counted: %d", c.Calls)
			}
		}},
		{"the first reason for a doubt is kept", func(s *scene) {
			s.release(s.claim("A", redelivered), Release{Unknown: true})
			s.want(s.claim("A"), InDoubt, ReasonForgotten)
		}},
		{"a call that may have happened is in doubt and its sending is over", func(s *scene) {
			a := s.claim("A")
			s.release(a, Release{Unknown: true})
			c := s.want(s.claim("A"), InDoubt, ReasonUnknown)
			if c.MaySendUntil.Before(a.Now) || c.MaySendUntil.After(c.Now) || c.Calls != 1 {
				s.Errorf("calls %d, may send until %v, claimed at %v and %v", c.Calls, c.MaySendUntil, a.Now, c.Now)
			}
			s.release(c, Release{})
			again := s.want(s.claim("A"), InDoubt, ReasonUnknown)
			if !again.MaySendUntil.Equal(c.MaySendUntil) {
				s.Errorf("may send until %v, then %v", c.MaySendUntil, again.MaySendUntil)
			}
		}},
		{"asking again in doubt does not move the end of the sending", func(s *scene) {
			a := s.claim("A")
			s.release(a, Release{Unknown: true})
			c := s.claim("A")
			s.stayAway()
			s.release(c, Release{Unknown: true})
			if again := s.claim("A"); !again.MaySendUntil.Equal(c.MaySendUntil) {
				s.Errorf("may send until %v, then %v", c.MaySendUntil, again.MaySendUntil)
			}
		}},
		{"a redelivered command without a record is in doubt", func(s *scene) {
			c := s.want(s.claim("A", redelivered), InDoubt, ReasonForgotten)
			if c.Owner.ID != "A" || c.Calls != 0 || !near(c.MaySendUntil, c.Now) {
				s.Errorf("%+v", c)
			}
			s.release(c, Release{})
			s.want(s.claim("A"), InDoubt, ReasonForgotten)
		}},
		{"a redelivered command that the record has not seen is in doubt", func(s *scene) {
			c := s.claim("B")
			s.release(c, Release{})
			s.stayAway()
			if c := s.want(s.claim("A", redelivered), InDoubt, ReasonForgotten); c.Owner.ID != "B" {
				s.Errorf("owner %v", c.Owner)
			}
		}},
		{"a redelivered command that the record of a refusal has not seen starts anew in doubt", func(s *scene) {
			b := s.extend(s.claim("B"), Extension{Snapshot: []byte("[]")})
			s.release(b, Release{Spend: time.Minute})
			s.refused(s.claim("B"))
			c := s.want(s.claim("A", print("other"), redelivered), InDoubt, ReasonForgotten)
			if c.Owner.ID != "A" || c.Calls != 0 || c.Spent != 0 || c.Snapshot != nil || !near(c.MaySendUntil, c.Now) {
				s.Errorf("%+v", c)
			}
			s.release(c, Release{})
			s.want(s.claim("A", print("other")), InDoubt, ReasonForgotten)
		}},
		{"a replay number ends with a refusal though its successor is in doubt", func(s *scene) {
			s.refused(s.want(s.claim("A", replay(9)), InDoubt, ReasonReplay))
			s.refused(s.want(s.claim("B", redelivered), InDoubt, ReasonForgotten))
			s.want(s.claim("B", replay(1)), Fresh, ReasonReopened)
		}},
		{"a command that asks again and again does not push out the others", func(s *scene) {
			x := s.claim("X", operation(confirm))
			s.claim("A", sequence(5))
			for range 65 {
				s.claim("B", sequence(6))
			}
			s.done(x)
			s.want(s.claim("A", redelivered, sequence(5)), Fresh, ReasonNew)
		}},
		{"a fingerprint that a look-up did not know is filled in", func(s *scene) {
			c := s.claim("A", bareProbe, redelivered, lapsing0)
			s.pass(c.Until)
			s.want(s.claim("A"), InDoubt, ReasonLapsed)
			s.want(s.claim("B", print("other")), Conflict, ReasonFingerprint)
		}},
		{"a fingerprint is not lost to a look-up that does not know it", func(s *scene) {
			s.lapse("A")
			s.want(s.claim("B", bareProbe), InDoubt, ReasonLapsed)
			s.want(s.claim("B", print("other")), Conflict, ReasonFingerprint)
		}},
		{"the last sixty-four sequences are remembered", func(s *scene) {
			x := s.claim("X", operation(confirm))
			for n := range uint64(65) {
				s.claim("A", sequence(100+n))
			}
			s.done(x)
			s.want(s.claim("A", redelivered, sequence(101)), Busy, "behind sequence 100")
			s.release(s.want(s.claim("A", redelivered, sequence(100)), InDoubt, ReasonForgotten), Release{})
		}},
		{"a replay without a record is in doubt", func(s *scene) {
			c := s.want(s.claim("A", replay(7)), InDoubt, ReasonReplay)
			if c.Owner.ID != "A" || c.Calls != 0 || !near(c.MaySendUntil, c.Now) {
				s.Errorf("%+v", c)
			}
		}},
		{"a replay that finds only another command on record is in doubt", func(s *scene) {
			b := s.claim("B")
			s.release(b, Release{})
			s.stayAway()
			a := s.want(s.claim("A", replay(7)), InDoubt, ReasonReplay)
			s.extend(a, Extension{Proven: true})
			s.release(a, Release{})
			s.stayAway()
			s.want(s.claim("A", replay(7), sequence(a.request.Sequence)), Fresh, ReasonNotSent)
		}},
		{"a replay of a command on record is no witness", func(s *scene) {
			s.release(s.claim("A"), Release{})
			s.want(s.claim("A", replay(7)), Fresh, ReasonNotSent)
		}},
		{"a replay that finds only others waiting is in doubt", func(s *scene) {
			x := s.claim("X", operation(confirm))
			s.claim("B", shortPlace)
			s.done(x)
			s.stayAway()
			s.want(s.claim("A", replay(7)), InDoubt, ReasonReplay)
		}},
		{"a cautious guard takes nothing for fresh", func(s *scene) {
			careful := s.newGuard(Config{Cautious: true})
			c := s.want(s.claimOf(careful, "A"), InDoubt, ReasonCautious)
			if c.Calls != 0 || !near(c.MaySendUntil, c.Now) {
				s.Errorf("%+v", c)
			}
			s.release(c, Release{})
			c = s.want(s.claim("A"), InDoubt, ReasonCautious)
			s.extend(c, Extension{Proven: true})
			s.release(c, Release{})
			c = s.want(s.claimOf(careful, "A"), InDoubt, ReasonCautious)
			s.refused(c)
			s.want(s.claimOf(careful, "B"), InDoubt, ReasonCautious)
			s.want(s.claimOf(careful, "P", probe, operation(refundB)), Busy, ReasonHeldPrefix+refundA)
			s.want(s.claimOf(careful, "A"), RefusedBefore, ReasonSettled)
		}},
		{"a cautious guard tells what is done and what is busy all the same", func(s *scene) {
			careful := s.newGuard(Config{Cautious: true})
			c := s.claimOf(careful, "A")
			s.want(s.claimOf(careful, "B"), Busy, ReasonClaimed)
			s.done(c)
			s.want(s.claimOf(careful, "A"), Done, ReasonSettled)
		}},
		{"a probe can be in doubt and then holds the claim", func(s *scene) {
			s.lapse("A")
			c := s.want(s.claim("A", probe), InDoubt, ReasonLapsed)
			s.want(s.claim("A"), Busy, ReasonClaimed)
			s.refused(c)
		}},
		{"a proof that nothing happened makes it fresh again", func(s *scene) {
			s.lapse("A")
			c := s.extend(s.claim("B"), Extension{Proven: true})
			s.release(c, Release{})
			c = s.want(s.claim("A"), Fresh, ReasonNotSent)
			if c.Calls != 2 {
				s.Errorf("calls %d", c.Calls)
			}
		}},
		{"a proof counts the call it is about", func(s *scene) {
			c := s.extend(s.claim("A"), Extension{Proven: true})
			s.release(c, Release{})
			if c = s.want(s.claim("A"), Fresh, ReasonNotSent); c.Calls != 2 {
				s.Errorf("calls %d", c.Calls)
			}
		}},
		{"a call after the proof is in doubt again when it lapses", func(s *scene) {
			s.lapse("A")
			c := s.claim("A", lapsing)
			if err := s.guard.Extend(s.ctx, c, Extension{Proven: true, Call: true, CallFor: short, Lease: 2 * short}); err != nil {
				s.Fatal(err)
			}
			if c.Calls != 2 {
				s.Errorf("calls %d", c.Calls)
			}
			s.pass(c.Until)
			if c := s.want(s.claim("A"), InDoubt, ReasonLapsed); c.Calls != 2 {
				s.Errorf("calls %d", c.Calls)
			}
		}},
		{"a call after the proof that was not sent leaves it proven", func(s *scene) {
			s.lapse("A")
			c := s.extend(s.claim("A"), Extension{Proven: true, Call: true, CallFor: long})
			s.release(c, Release{})
			if c := s.want(s.claim("A"), Fresh, ReasonNotSent); c.Calls != 2 {
				s.Errorf("calls %d", c.Calls)
			}
		}},
		{"a second call without a proof puts the first in doubt", func(s *scene) {
			c := s.extend(s.claim("A"), Extension{Call: true, CallFor: long})
			s.release(c, Release{})
			if c = s.want(s.claim("A"), InDoubt, ReasonUnknown); c.Calls != 1 {
				s.Errorf("calls %d", c.Calls)
			}
			c = s.extend(c, Extension{Call: true, CallFor: long})
			s.release(c, Release{})
			if c = s.want(s.claim("A"), InDoubt, ReasonUnknown); c.Calls != 1 {
				s.Errorf("calls %d", c.Calls)
			}
		}},
	})
}

func TestForgottenRecords(t *testing.T) {
	t.Parallel()
	lost := func(s *scene, err error) {
		s.Helper()
		if !errors.Is(err, ErrLost) {
			s.Fatalf("error %v, want ErrLost", err)
		}
	}
	hold(t, []behaviour{
		{"done is stored over a forgotten record", func(s *scene) {
			c := s.claim("A")
			s.forget()
			s.settle(c, Settlement{State: StateDone, Effect: "9001"})
			again := s.want(s.claim("A", redelivered), Done, ReasonSettled)
			if string(again.Outcome) != string(outcome(StateDone, c)) || again.Calls != 1 {
				s.Errorf("%+v", again)
			}
			s.want(s.claim("B"), Duplicate, ReasonSettled)
			s.want(s.claim("B", print("other")), Conflict, ReasonFingerprint)
			if c := s.claim("C", operation(refundB)); len(c.Owned) != 1 {
				s.Errorf("owned %v", c.Owned)
			}
			if s.lives() != -1 {
				s.Error("an open operation expires")
			}
		}},
		{"done is stored over a record that only waited", func(s *scene) {
			c := s.claim("A")
			s.forget()
			s.claim("X", operation(confirm))
			s.claim("B")
			s.done(c)
			s.want(s.claim("B"), Duplicate, ReasonSettled)
			s.want(s.claim("Y", operation(refundB)), Busy, ReasonHeldPrefix+confirm)
		}},
		{"done of a lost claim puts the new one in doubt", func(s *scene) {
			a := s.claim("A")
			s.forget()
			b := s.claim("B")
			lost(s, s.guard.Settle(s.ctx, a, Settlement{State: StateDone, Outcome: []byte("{}")}))
			s.release(b, Release{})
			s.want(s.claim("B"), InDoubt, ReasonUnknown)
		}},
		{"done of a lost claim puts a refusal in doubt", func(s *scene) {
			a := s.claim("A")
			s.forget()
			s.refused(s.claim("B"))
			lost(s, s.guard.Settle(s.ctx, a, Settlement{State: StateDone, Outcome: []byte("{}")}))
			s.want(s.claim("C"), InDoubt, ReasonUnknown)
		}},
		{"done of a lost claim leaves done alone", func(s *scene) {
			a := s.lapse("A")
			s.done(s.claim("B"))
			lost(s, s.guard.Settle(s.ctx, a, Settlement{State: StateDone, Outcome: []byte("late")}))
			if c := s.want(s.claim("A"), Done, ReasonSettled); string(c.Outcome) == "late" || s.lives() < 0 {
				s.Errorf("outcome %s, lives %v", c.Outcome, s.lives())
			}
		}},
		{"a refusal is not stored over a forgotten record", func(s *scene) {
			c := s.claim("A")
			s.forget()
			lost(s, s.guard.Settle(s.ctx, c, Settlement{State: StateRefused, Outcome: []byte("{}")}))
			s.want(s.claim("B"), Fresh, ReasonNew)
		}},
		{"parking without money moved is not stored over a forgotten record", func(s *scene) {
			c := s.claim("A")
			s.forget()
			lost(s, s.guard.Settle(s.ctx, c, Settlement{State: StateParked, Outcome: []byte("{}")}))
			s.want(s.claim("B"), Fresh, ReasonNew)
		}},
		{"parking with unknown outcome leaves doubt in a forgotten record", func(s *scene) {
			c := s.claim("A")
			s.forget()
			lost(s, s.guard.Settle(s.ctx, c, Settlement{State: StateParked, Outcome: []byte("{}"), MoneyUnknown: true}))
			s.stayAway()
			again := s.want(s.claim("B"), InDoubt, ReasonUnknown)
			if again.Owner.ID != "A" || again.Calls != 1 || s.lives() != -1 {
				s.Errorf("%+v lives %v", again, s.lives())
			}
			s.refused(again)
			s.want(s.claim("A", redelivered, sequence(c.request.Sequence)), RefusedBefore, ReasonSettled)
		}},
		{"a message that passed is not forgotten, and that of another is", func(s *scene) {
			for range 2 {
				if err := s.guard.Pass(s.ctx, s.entity, refundA, 11); err != nil {
					s.Fatal(err)
				}
			}
			s.want(s.claim("B", redelivered, sequence(12)), InDoubt, ReasonForgotten)
			s.forget()
			if err := s.guard.Pass(s.ctx, s.entity, refundA, 11); err != nil {
				s.Fatal(err)
			}
			s.refused(s.want(s.claim("A", redelivered, sequence(11)), Fresh, ReasonNew))
			s.want(s.claim("B", sequence(12)), Fresh, ReasonFreed)
		}},
		{"a message that passes a record in doubt changes nothing", func(s *scene) {
			s.release(s.claim("A", sequence(11)), Release{Unknown: true})
			if err := s.guard.Pass(s.ctx, s.entity, refundA, 12); err != nil {
				s.Fatal(err)
			}
			s.stayAway()
			s.want(s.claim("B", redelivered, sequence(12)), InDoubt, ReasonUnknown)
		}},
		{"a call that may have happened leaves its snapshot in a forgotten record", func(s *scene) {
			c := s.extend(s.claim("A"), Extension{Snapshot: []byte(`["1"]`)})
			s.forget()
			lost(s, s.guard.Release(s.ctx, c, Release{Unknown: true}))
			s.stayAway()
			if again := s.want(s.claim("A"), InDoubt, ReasonUnknown); string(again.Snapshot) != `["1"]` {
				s.Errorf("snapshot %s", again.Snapshot)
			}
		}},
		{"a call that may have happened leaves doubt in a forgotten record", func(s *scene) {
			c := s.claim("A")
			s.forget()
			lost(s, s.guard.Release(s.ctx, c, Release{Unknown: true}))
			s.want(s.claim("X", operation(confirm)), Busy, ReasonHeldPrefix+refundA)
			s.want(s.claim("B", print("other")), Conflict, ReasonFingerprint)
			s.stayAway()
			s.want(s.claim("C"), InDoubt, ReasonUnknown)
		}},
		{"a call that may have happened raises doubt in the record of another claim", func(s *scene) {
			c := s.claim("A")
			s.forget()
			b := s.claim("B")
			lost(s, s.guard.Release(s.ctx, c, Release{Unknown: true}))
			s.release(b, Release{})
			s.want(s.claim("B"), InDoubt, ReasonUnknown)
		}},
		{"a call made after a look-up raises doubt in the record of another claim", func(s *scene) {
			c := s.extend(s.claim("A", redelivered), Extension{Proven: true, Call: true, CallFor: long})
			s.forget()
			b := s.claim("B")
			lost(s, s.guard.Release(s.ctx, c, Release{Unknown: true}))
			s.release(b, Release{})
			s.want(s.claim("B"), InDoubt, ReasonUnknown)
		}},
		{"a call proven to have come to nothing raises no doubt in the record of another claim", func(s *scene) {
			c := s.extend(s.claim("A"), Extension{Proven: true})
			s.forget()
			b := s.claim("B")
			lost(s, s.guard.Release(s.ctx, c, Release{Unknown: true}))
			s.release(b, Release{})
			s.want(s.claim("B"), Fresh, ReasonNotSent)
		}},
		{"a doubt that was not resolved is left in a forgotten record", func(s *scene) {
			c := s.claim("A", redelivered)
			s.forget()
			lost(s, s.guard.Release(s.ctx, c, Release{}))
			s.stayAway()
			s.want(s.claim("B"), InDoubt, ReasonUnknown)
		}},
		{"a doubt that was taken over is not raised again by its first claimant", func(s *scene) {
			a := s.claim("A", redelivered, lapsing)
			s.pass(a.Until)
			s.refused(s.claim("B"))
			lost(s, s.guard.Release(s.ctx, a, Release{}))
			lost(s, s.guard.Release(s.ctx, a, Release{Unknown: true}))
			lost(s, s.guard.Settle(s.ctx, a, Settlement{State: StateParked, Outcome: []byte("{}"), MoneyUnknown: true}))
			s.want(s.claim("C"), Fresh, ReasonFreed)
		}},
		{"a proof that came too late to be stored leaves nothing", func(s *scene) {
			c := s.extend(s.claim("A", redelivered), Extension{Proven: true})
			s.forget()
			lost(s, s.guard.Release(s.ctx, c, Release{}))
			s.want(s.claim("B"), Fresh, ReasonNew)
		}},
		{"a claim that was certainly not sent leaves nothing in a forgotten record", func(s *scene) {
			c := s.claim("A")
			s.forget()
			lost(s, s.guard.Release(s.ctx, c, Release{}))
			s.want(s.claim("B"), Fresh, ReasonNew)
		}},
		{"a forgotten claim cannot be extended", func(s *scene) {
			c := s.claim("A")
			s.forget()
			lost(s, s.guard.Extend(s.ctx, c, Extension{Lease: long}))
			s.want(s.claim("B"), Fresh, ReasonNew)
		}},
	})
}
