package idempotency

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestExtendSettleRelease(t *testing.T) {
	t.Parallel()
	takenOver := func(s *scene) (old, now *Claim) {
		old = s.lapse("A")
		return old, s.want(s.claim("B"), InDoubt, ReasonLapsed)
	}
	lost := func(s *scene, what string, err error) {
		s.Helper()
		if !errors.Is(err, ErrLost) {
			s.Errorf("%s: error %v, want ErrLost", what, err)
		}
	}
	hold(t, []behaviour{
		{"whoever was taken over has lost the claim", func(s *scene) {
			old, now := takenOver(s)
			lost(s, "extend", s.guard.Extend(s.ctx, old, Extension{Lease: long, Proven: true}))
			lost(s, "release", s.guard.Release(s.ctx, old, Release{}))
			lost(s, "refuse", s.guard.Settle(s.ctx, old, Settlement{State: StateRefused, Outcome: []byte("{}")}))
			lost(s, "park", s.guard.Settle(s.ctx, old, Settlement{State: StateParked, Outcome: []byte("{}")}))
			lost(s, "done", s.guard.Settle(s.ctx, old, Settlement{State: StateDone, Outcome: []byte("{}")}))
			s.release(now, Release{})
			s.want(s.claim("A"), InDoubt, ReasonUnknown)
		}},
		{"a claim that lapsed and was not taken over goes on", func(s *scene) {
			c := s.extend(s.lapse("A"), Extension{})
			s.want(s.claim("B"), Busy, ReasonClaimed)
			s.done(c)
		}},
		{"a released claim is over", func(s *scene) {
			c := s.claim("A")
			s.release(c, Release{RetryAfter: long, Spend: time.Minute})
			s.release(c, Release{Unknown: true, RetryAfter: long, Spend: time.Minute})
			lost(s, "extend", s.guard.Extend(s.ctx, c, Extension{Lease: long}))
			lost(s, "refuse", s.guard.Settle(s.ctx, c, Settlement{State: StateRefused, Outcome: []byte("{}")}))
			if c := s.want(s.claim("A"), Fresh, ReasonNotSent); c.Spent != time.Minute {
				s.Errorf("spent %v", c.Spent)
			}
		}},
		{"a settled claim is over", func(s *scene) {
			c := s.claim("A")
			s.refused(c)
			s.settle(c, Settlement{State: StateRefused, Outcome: []byte("again")})
			lost(s, "extend", s.guard.Extend(s.ctx, c, Extension{Lease: long}))
			lost(s, "release", s.guard.Release(s.ctx, c, Release{}))
			lost(s, "park", s.guard.Settle(s.ctx, c, Settlement{State: StateParked, Outcome: []byte("{}")}))
			if c := s.want(s.claim("A"), RefusedBefore, ReasonSettled); strings.Contains(string(c.Outcome), "again") {
				s.Errorf("outcome %s", c.Outcome)
			}
		}},
		{"extending moves the lease and keeps the rest", func(s *scene) {
			c := s.claim("A")
			before := *c
			s.extend(c, Extension{Lease: 3 * long})
			if !near(c.Until, c.Now.Add(3*long)) || c.Calls != 1 || !c.MaySendUntil.Equal(before.MaySendUntil) || c.Snapshot != nil {
				s.Errorf("%+v", c)
			}
			if b := s.claim("B"); !b.Until.Equal(c.Until) {
				s.Errorf("the lease on record ends at %v, not %v", b.Until, c.Until)
			}
		}},
		{"extending a look-up does not move the time of the call", func(s *scene) {
			s.lapse("A")
			c := s.claim("A")
			before := c.MaySendUntil
			if s.extend(c, Extension{}); !c.MaySendUntil.Equal(before) {
				s.Errorf("may send until %v, then %v", before, c.MaySendUntil)
			}
		}},
		{"extending never makes the lease shorter", func(s *scene) {
			c := s.claim("A")
			before := c.Until
			s.extend(c, Extension{Lease: short})
			if !c.Until.Equal(before) {
				s.Errorf("%v became %v", before, c.Until)
			}
		}},
		{"a lease never ends before the call may", func(s *scene) {
			c := s.claim("A", lapsing)
			s.extend(c, Extension{CallFor: long, Lease: 2 * long})
			s.extend(c, Extension{CallFor: short, Lease: 2 * short})
			if c.Until.Before(c.MaySendUntil) || c.MaySendUntil.Sub(c.Now) < long/2 {
				s.Errorf("lease until %v, may send until %v, now %v", c.Until, c.MaySendUntil, c.Now)
			}
		}},
		{"another call is counted once and gets its time", func(s *scene) {
			s.lapse("A")
			c := s.extend(s.claim("A"), Extension{Call: true, CallFor: time.Minute, Lease: long})
			if c.Calls != 2 || !near(c.MaySendUntil, c.Now.Add(time.Minute)) {
				s.Errorf("%+v", c)
			}
			s.release(c, Release{Unknown: true})
			if c := s.claim("A"); c.Calls != 2 {
				s.Errorf("calls %d", c.Calls)
			}
		}},
		{"more time for the same call is no other call", func(s *scene) {
			c := s.extend(s.claim("A", lapsing), Extension{CallFor: time.Minute, Lease: long})
			if c.Calls != 1 || !near(c.MaySendUntil, c.Now.Add(time.Minute)) {
				s.Errorf("%+v", c)
			}
			s.release(c, Release{})
			s.want(s.claim("A"), Fresh, ReasonNotSent)
		}},
		{"a snapshot is stored and kept", func(s *scene) {
			c := s.extend(s.claim("A", lapsing), Extension{Snapshot: []byte(`{"a":"b/c"}`), Lease: short})
			s.extend(c, Extension{Lease: short})
			if string(c.Snapshot) != `{"a":"b/c"}` {
				s.Errorf("snapshot %s", c.Snapshot)
			}
			s.pass(c.Until)
			c = s.want(s.claim("B", lapsing), InDoubt, ReasonLapsed)
			if string(c.Snapshot) != `{"a":"b/c"}` {
				s.Errorf("snapshot %s", c.Snapshot)
			}
			s.extend(c, Extension{Snapshot: []byte(`{}`), Lease: short})
			s.pass(c.Until)
			if c = s.claim("B"); string(c.Snapshot) != `{}` {
				s.Errorf("snapshot %s", c.Snapshot)
			}
		}},
		{"an extension asked for again after its answer was lost gets its time and its proof", func(s *scene) {
			c := s.claim("A", lapsing)
			unheard := *c
			s.extend(&unheard, Extension{Call: true, CallFor: short})
			s.extend(c, Extension{Call: true, Proven: true, CallFor: time.Minute})
			if c.Calls != 2 || !near(c.MaySendUntil, c.Now.Add(time.Minute)) {
				s.Errorf("calls %d, may send until %v, now %v", c.Calls, c.MaySendUntil, c.Now)
			}
			s.release(c, Release{})
			if c = s.want(s.claim("A"), Fresh, ReasonNotSent); c.Calls != 2 {
				s.Errorf("calls %d", c.Calls)
			}
		}},
		{"a late script does not prove what came after it", func(s *scene) {
			c := s.claim("A")
			s.extend(c, Extension{Proven: true, Call: true, CallFor: long}) // proves call 1, intends 2
			s.extend(c, Extension{Call: true, CallFor: long})               // call 2 unproven, intends 3
			stale := *c
			stale.Calls = 1
			s.extend(&stale, Extension{Proven: true, Call: true, CallFor: long})
			if stale.Calls != 3 {
				s.Errorf("calls %d", stale.Calls)
			}
			s.release(c, Release{})
			if c = s.want(s.claim("A"), InDoubt, ReasonUnknown); c.Calls != 2 {
				s.Errorf("calls %d", c.Calls)
			}
		}},
		{"a call that was not sent does not count once it is parked", func(s *scene) {
			s.settle(s.claim("A"), Settlement{State: StateParked})
			s.settle(s.claim("A", replay(1)), Settlement{State: StateParked, Unsent: true})
			if c := s.want(s.claim("A", replay(2)), Fresh, ReasonReopened); c.Calls != 2 {
				s.Errorf("calls %d, want the one that was sent and the one to come", c.Calls)
			}
		}},
		{"a settled record keeps no snapshot and no dead letter", func(s *scene) {
			_, key := entityKey(s.entity)
			for _, state := range []State{StateRefused, StateDone} {
				s.parked(s.extend(s.claim("A", replay(1)), Extension{Snapshot: []byte("[]")}), true)
				s.settle(s.claim("A", replay(2)), Settlement{State: state})
				if text := s.redis.HGet(s.ctx, key, "op:"+refundA).Val(); strings.Contains(text, `"snap"`) || strings.Contains(text, `"park"`) {
					s.Errorf("%v: %s", state, text)
				}
				s.forget()
			}
		}},
		{"an entity lives for ever while an operation is open and for the retention after that", func(s *scene) {
			want := func(ever bool) {
				s.Helper()
				if ttl := s.lives(); ever != (ttl == -1) || !ever && (ttl <= 0 || ttl > time.Hour) {
					s.Errorf("for ever %v, lives %v", ever, ttl)
				}
			}
			c := s.claim("A")
			want(true)
			s.release(c, Release{})
			want(true)
			s.refused(s.claim("A"))
			want(false)
			s.parked(s.claim("B"), false)
			want(false)
			s.parked(s.claim("C"), true)
			want(true)
			s.done(s.claim("D"))
			want(false)
			c = s.claim("X", operation(confirm))
			s.claim("E", operation(refundB))
			want(true)
			s.done(c)
			want(false)
			s.claim("F", operation(refundB), redelivered)
			want(true)
		}},
		{"an entity with one operation open lives for ever whatever the others do", func(s *scene) {
			s.parked(s.claim("A"), true)
			s.done(s.claim("B", operation(refundB)))
			if s.lives() != -1 {
				s.Errorf("lives %v", s.lives())
			}
		}},
		{"a waiting command in doubt lives for ever", func(s *scene) {
			x := s.claim("X", operation(confirm))
			s.claim("A", redelivered)
			s.done(x)
			if s.lives() != -1 {
				s.Errorf("lives %v", s.lives())
			}
		}},
		{"who was answered for good beside the owner is answered the same when the operation is done", func(s *scene) {
			s.lapse("A")
			s.release(s.want(s.claim("B"), InDoubt, ReasonLapsed), Release{Told: Rejected})
			s.stayAway()
			c := s.want(s.claim("C"), InDoubt, ReasonUnknown)
			s.settle(c, Settlement{State: StateParked, MoneyUnknown: true, Told: Conflict})
			s.release(s.want(s.claim("D"), InDoubt, ReasonParkedUnknown), Release{})
			s.done(s.claim("A", replay(1)))
			s.want(s.claim("B"), Rejected, ReasonNever)
			s.want(s.claim("C"), Conflict, ReasonFingerprint)
			s.want(s.claim("D"), Duplicate, ReasonSettled)
			s.want(s.claim("A", replay(1)), Done, ReasonSettled)
		}},
		{"a record of a newer version or damaged is an error and grants nothing", func(s *scene) {
			_, key := entityKey(s.entity)
			everything := func(c *Claim) map[string]error {
				_, claimErr := s.guard.Claim(s.ctx, s.request("A"))
				_, otherErr := s.guard.Claim(s.ctx, s.request("B", operation(refundB)))
				return map[string]error{
					"claim": claimErr, "claim of another operation": otherErr,
					"extend": s.guard.Extend(s.ctx, c, Extension{Lease: long}),
					"settle": s.guard.Settle(s.ctx, c, Settlement{State: StateDone, Outcome: []byte("{}")}),
					"restore": s.guard.Restore(s.ctx, Restoration{
						Entity: s.entity, Operation: refundA, Command: Command{"/checkout", "A"}, State: StateDone, Outcome: []byte("{}"),
					}),
					"pass":    s.guard.Pass(s.ctx, s.entity, refundA, 1),
					"release": s.guard.Release(s.ctx, c, Release{Unknown: true}),
				}
			}
			c := s.claim("A")
			for _, text := range []string{`{"v":2,"st":"new"}`, `{"v":1`, `7`} {
				s.redis.HSet(s.ctx, key, "op:"+refundA, text)
				errs := everything(c)
				for what, err := range errs {
					if !errors.Is(err, ErrRecord) || errors.Is(err, ErrUnavailable) {
						s.Errorf("%s: error %v, want ErrRecord", what, err)
					}
				}
				if got := s.redis.HGet(s.ctx, key, "op:"+refundA).Val(); got != text {
					s.Errorf("the record %s was overwritten with %s", text, got)
				}
			}
			for field, verbs := range map[string]string{
				"waiters": "claim release", "owned": "claim settle restore", "open": "claim release settle restore extend pass",
			} {
				s.forget()
				c := s.claim("A")
				s.redis.HSet(s.ctx, key, field, "}")
				for verb, err := range everything(c) {
					if strings.Contains(verbs, verb) && (!errors.Is(err, ErrRecord) || errors.Is(err, ErrUnavailable)) {
						s.Errorf("%s damaged, %s: error %v, want ErrRecord", field, verb, err)
					}
				}
			}
		}},
	})
}
