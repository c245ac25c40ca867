package idempotency

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestBusyEntities(t *testing.T) {
	t.Parallel()
	hold(t, []behaviour{
		{"a claim that has not lapsed keeps everybody out", func(s *scene) {
			a := s.claim("A")
			for _, c := range []*Claim{s.claim("A", redelivered, sequence(a.request.Sequence)), s.claim("B"), s.claim("C", probe)} {
				s.want(c, Busy, ReasonClaimed)
				if c.Holder != refundA || !c.Until.Equal(a.Until) || c.Token != "" {
					s.Errorf("%+v", c)
				}
			}
		}},
		{"another operation that is claimed holds the entity", func(s *scene) {
			x := s.claim("X", operation(confirm))
			c := s.want(s.claim("A"), Busy, ReasonHeldPrefix+confirm)
			if c.Holder != confirm || !c.Until.Equal(x.Until) || c.Owner.ID != "A" {
				s.Errorf("%+v", c)
			}
		}},
		{"another operation whose claim has lapsed holds the entity until it is resolved", func(s *scene) {
			x := s.lapse("X", operation(confirm))
			c := s.want(s.claim("A"), Busy, ReasonHeldPrefix+confirm)
			if !c.Until.Equal(x.Until) {
				s.Errorf("until %v, want %v", c.Until, x.Until)
			}
			resolved := s.want(s.claim("A", bareProbe, operation(c.Holder), sequence(c.request.Sequence)), InDoubt, ReasonLapsed)
			if resolved.Owner.ID != "X" {
				s.Errorf("owner %v", resolved.Owner)
			}
			s.done(resolved)
			s.want(s.claim("A", sequence(c.request.Sequence)), Fresh, ReasonNew)
			s.want(s.claim("X", operation(confirm)), Done, ReasonSettled)
		}},
		{"resolving the holder does not cost the place in the queue", func(s *scene) {
			s.lapse("X", operation(confirm))
			a := s.claim("A")
			s.done(s.claim("A", bareProbe, operation(confirm), sequence(a.request.Sequence)))
			s.want(s.claim("B", operation(refundB)), Busy, fmt.Sprint(ReasonSequencePrefix, a.request.Sequence))
		}},
		{"another operation in doubt holds the entity however late it is", func(s *scene) {
			x := s.claim("X", operation(confirm))
			s.release(x, Release{Unknown: true})
			s.stayAway()
			s.want(s.claim("A"), Busy, ReasonHeldPrefix+confirm)
		}},
		{"a claim that yields lets go of the entity, keeps its place, and is fresh when it comes back", func(s *scene) {
			early := s.request("X").Sequence
			a := s.claim("A")
			s.release(a, Release{Yield: true, RetryAfter: long})
			s.want(s.claim("C", operation(refundB)), Busy, fmt.Sprint(ReasonSequencePrefix, a.request.Sequence))
			x := s.want(s.claim("X", operation(confirm), sequence(early)), Fresh, ReasonNew)
			s.want(s.claim("A", redelivered, sequence(a.request.Sequence)), Busy, ReasonHeldPrefix+confirm)
			s.done(x)
			if again := s.want(s.claim("A", redelivered, sequence(a.request.Sequence)), Fresh, ReasonNotSent); again.Calls != 1 {
				s.Errorf("%d calls, want the one that is intended now", again.Calls)
			}
		}},
		{"an operation in doubt does not yield", func(s *scene) {
			s.release(s.claim("A"), Release{Unknown: true})
			s.stayAway()
			a := s.want(s.claim("A"), InDoubt, ReasonUnknown)
			s.release(a, Release{Yield: true})
			s.want(s.claim("X", operation(confirm)), Busy, ReasonHeldPrefix+refundA)
		}},
		{"another operation that waits for its retry holds the entity", func(s *scene) {
			x := s.claim("X", operation(confirm))
			s.release(x, Release{RetryAfter: long})
			c := s.want(s.claim("A"), Busy, ReasonHeldPrefix+confirm)
			if late := c.Until.Sub(x.Now); late < long+short || late > long+time.Minute {
				s.Errorf("until %v after the claim", late)
			}
			s.want(s.claim("X", operation(confirm)), Fresh, ReasonNotSent)
		}},
		{"another operation whose owner has not come back for its retry gives way", func(s *scene) {
			x := s.claim("X", operation(confirm))
			s.release(x, Release{RetryAfter: short})
			s.stayAway()
			s.want(s.claim("A"), Fresh, ReasonNew)
			s.want(s.claim("X", operation(confirm)), Busy, ReasonHeldPrefix+refundA)
		}},
		{"merely waiting does not hold the entity", func(s *scene) {
			x := s.claim("X", operation(confirm))
			s.claim("A", shortPlace)
			s.done(x)
			s.stayAway()
			s.want(s.claim("B", operation(refundB)), Fresh, ReasonNew)
		}},
		{"a lower sequence that waits goes first", func(s *scene) {
			x := s.claim("X", operation(confirm))
			s.claim("A", sequence(90))
			s.claim("B", operation(refundB), sequence(100))
			s.done(x)
			c := s.want(s.claim("B", operation(refundB), sequence(100)), Busy, "behind sequence 90")
			if c.Holder != "" || c.Until.Sub(c.Now) < long/2 {
				s.Errorf("%+v", c)
			}
			a := s.want(s.claim("A", sequence(90)), Fresh, ReasonNew)
			s.done(a)
			s.want(s.claim("B", operation(refundB), sequence(100)), Fresh, ReasonNew)
		}},
		{"the lowest sequence that waits is named", func(s *scene) {
			s.claim("X", operation(confirm))
			for _, n := range []uint64{30, 9, 20} {
				s.claim(fmt.Sprint(n), operation(fmt.Sprint("refund:1:", n)), sequence(n))
			}
			s.done(s.lapse0("X", operation(confirm)))
			s.want(s.claim("A", sequence(40)), Busy, "behind sequence 9")
			s.want(s.claim("9", operation("refund:1:9"), sequence(9)), Fresh, ReasonNew)
		}},
		{"sequences are compared exactly", func(s *scene) {
			const big = 1<<63 + 1
			x := s.claim("X", operation(confirm))
			s.claim("A", sequence(big))
			s.done(x)
			s.want(s.claim("B", operation(refundB), sequence(big+1)), Busy, fmt.Sprint(ReasonSequencePrefix, uint64(big)))
			s.want(s.claim("C", operation(refundB), sequence(big-1)), Fresh, ReasonNew)
		}},
		{"a place in the queue expires", func(s *scene) {
			x := s.claim("X", operation(confirm))
			s.claim("A", shortPlace)
			s.stayAway()
			s.claim("B", operation(refundB), shortPlace)
			_, key := entityKey(s.entity)
			if waiters := s.redis.HGet(s.ctx, key, "waiters").Val(); strings.Contains(waiters, refundA) {
				s.Errorf("an expired place is kept: %s", waiters)
			}
			s.done(x)
			s.stayAway()
			s.want(s.claim("C", operation(refundB)), Fresh, ReasonNew)
		}},
		{"the owner of what waits is who waited first", func(s *scene) {
			s.claim("X", operation(confirm))
			s.claim("A")
			if b := s.want(s.claim("B"), Busy, ReasonHeldPrefix+confirm); b.Owner.ID != "A" {
				s.Errorf("owner %v", b.Owner)
			}
		}},
		{"asking again keeps the place", func(s *scene) {
			x := s.claim("X", operation(confirm))
			a := s.claim("A", shortPlace)
			s.claim("A", sequence(a.request.Sequence))
			s.done(x)
			s.stayAway()
			s.want(s.claim("B", operation(refundB)), Busy, fmt.Sprint(ReasonSequencePrefix, a.request.Sequence))
		}},
		{"a probe keeps no place", func(s *scene) {
			x := s.claim("X", operation(confirm))
			s.want(s.claim("A", probe, redelivered), Busy, ReasonHeldPrefix+confirm)
			s.done(x)
			s.want(s.claim("B", operation(refundB)), Fresh, ReasonNew)
		}},
		{"a probe that has to wait does not own the operation", func(s *scene) {
			x := s.claim("X", operation(confirm))
			s.want(s.claim("A", probe, redelivered), Busy, ReasonHeldPrefix+confirm)
			s.want(s.claim("B", print("other")), Busy, ReasonHeldPrefix+confirm)
			s.done(x)
			s.want(s.claim("C"), Conflict, ReasonFingerprint)
		}},
		{"a probe that need not look up waits for nobody", func(s *scene) {
			s.claim("X", operation(confirm))
			s.claim("A", operation(refundB))
			s.want(s.claim("P", probe), Rejected, ReasonNever)
			s.want(s.claim("P", probe, operation(refundB)), Rejected, ReasonNever)
		}},
		{"a probe does not wait in line", func(s *scene) {
			x := s.claim("X", operation(confirm))
			s.claim("A")
			s.done(x)
			s.want(s.claim("P", probe, redelivered, operation(refundB)), InDoubt, ReasonForgotten)
		}},
		{"a command that is answered leaves the queue", func(s *scene) {
			x := s.claim("X", operation(confirm))
			a := s.claim("A")
			s.done(x)
			s.done(s.want(s.claim("B", sequence(5)), Fresh, ReasonNew))
			s.want(s.claim("A", sequence(a.request.Sequence)), Duplicate, ReasonSettled)
			s.want(s.claim("C", operation(refundB)), Fresh, ReasonNew)
		}},
		{"a probe that is answered leaves the queue", func(s *scene) {
			x := s.claim("X", operation(confirm))
			a := s.claim("A")
			s.done(x)
			s.want(s.claim("A", probe, sequence(a.request.Sequence)), Rejected, ReasonNever)
			s.want(s.claim("B", operation(refundB)), Fresh, ReasonNew)
		}},
		{"the holder does not wait for those behind it", func(s *scene) {
			x := s.claim("X", operation(confirm), sequence(50))
			s.release(x, Release{RetryAfter: long})
			s.claim("A", sequence(9))
			x = s.want(s.claim("X", operation(confirm), sequence(50)), Fresh, ReasonNotSent)
			s.release(x, Release{Unknown: true})
			s.want(s.claim("X", operation(confirm), sequence(50)), InDoubt, ReasonUnknown)
		}},
		{"an operation in doubt is left to its owner until the owner stays away", func(s *scene) {
			a := s.claim("A")
			s.release(a, Release{Unknown: true, RetryAfter: long})
			c := s.want(s.claim("B"), Busy, ReasonOwnerRetries)
			if c.Holder != refundA || c.Until.Sub(a.Now) < long+short {
				s.Errorf("%+v", c)
			}
			a = s.want(s.claim("A"), InDoubt, ReasonUnknown)
			s.release(a, Release{RetryAfter: short})
			s.stayAway()
			if c := s.want(s.claim("B"), InDoubt, ReasonUnknown); c.Owner.ID != "A" {
				s.Errorf("owner %v", c.Owner)
			}
		}},
		{"who looked it up instead of its owner comes back as it has announced", func(s *scene) {
			s.lapse("A")
			b := s.want(s.claim("B"), InDoubt, ReasonLapsed)
			s.release(b, Release{RetryAfter: long})
			s.want(s.claim("C"), Busy, ReasonOwnerRetries)
			b = s.want(s.claim("B", sequence(b.request.Sequence)), InDoubt, ReasonUnknown)
			s.release(b, Release{RetryAfter: long})
			a := s.want(s.claim("A"), InDoubt, ReasonUnknown)
			s.release(a, Release{RetryAfter: long})
			s.want(s.claim("B", sequence(b.request.Sequence)), Busy, ReasonOwnerRetries)
		}},
		{"an operation that was not sent is left to its owner until the owner stays away", func(s *scene) {
			s.release(s.claim("A"), Release{RetryAfter: long})
			s.want(s.claim("B"), Busy, ReasonOwnerRetries)
			s.want(s.claim("A"), Fresh, ReasonNotSent)
		}},
		{"a command that only waited is fresh when it comes again", func(s *scene) {
			x := s.claim("X", operation(confirm))
			a := s.claim("A")
			s.done(x)
			s.want(s.claim("A", redelivered, sequence(a.request.Sequence)), Fresh, ReasonNew)
		}},
		{"a forgotten command that has to wait is still in doubt afterwards", func(s *scene) {
			x := s.claim("X", operation(confirm))
			a := s.want(s.claim("A", redelivered), Busy, ReasonHeldPrefix+confirm)
			b := s.want(s.claim("B", operation(refundB), replay(1)), Busy, ReasonHeldPrefix+confirm)
			s.done(x)
			a = s.want(s.claim("A", redelivered, sequence(a.request.Sequence)), InDoubt, ReasonForgotten)
			s.done(a)
			s.want(s.claim("B", operation(refundB), replay(1), sequence(b.request.Sequence)), InDoubt, ReasonReplay)
		}},
		{"a forgotten command raises doubt about the running claim of another", func(s *scene) {
			b := s.claim("B")
			s.want(s.claim("A", redelivered), Busy, ReasonClaimed)
			s.release(b, Release{})
			s.want(s.claim("B"), InDoubt, ReasonForgotten)
		}},
		{"an operation that fell into doubt while another had the entity holds it next", func(s *scene) {
			x := s.claim("X", operation(confirm))
			s.release(x, Release{})
			s.stayAway()
			a := s.want(s.claim("A"), Fresh, ReasonNew)
			s.want(s.claim("X", operation(confirm), redelivered), Busy, ReasonHeldPrefix+refundA)
			s.done(a)
			s.want(s.claim("B", operation(refundB)), Busy, ReasonHeldPrefix+confirm)
			s.want(s.claim("X", operation(confirm)), InDoubt, ReasonForgotten)
		}},
		{"two operations in doubt do not wait for each other", func(s *scene) {
			x := s.claim("X", operation(confirm))
			s.release(x, Release{})
			s.stayAway()
			a := s.claim("A")
			s.claim("X", operation(confirm), redelivered)
			s.release(a, Release{Unknown: true})
			s.want(s.claim("X", operation(confirm)), Busy, ReasonHeldPrefix+refundA)
			a = s.want(s.claim("A"), InDoubt, ReasonUnknown)
			s.done(a)
			s.want(s.claim("X", operation(confirm)), InDoubt, ReasonForgotten)
		}},
	})
}

// lapse0 takes over what is claimed for hours: it ends the lease and claims again.
func (s *scene) lapse0(command string, change ...func(*ClaimRequest)) *Claim {
	s.Helper()
	_, entity := entityKey(s.entity)
	field := "op:" + s.request(command, change...).Operation
	record := s.redis.HGet(s.ctx, entity, field).Val()
	s.redis.HSet(s.ctx, entity, field, withLease(record, 1))
	return s.want(s.claim(command, change...), InDoubt, ReasonLapsed)
}

func TestOwnerIsBelievedToComeBackForAsLongAsAPlaceIsKept(t *testing.T) {
	t.Parallel()
	s, clock := clockScene(t)
	s.guard.grace = 0
	const place = 5 * time.Second
	keeping := func(r *ClaimRequest) { r.Place = place }
	x := s.claim("X", operation(confirm))
	s.release(x, Release{RetryAfter: time.Minute})
	clock(time.Minute + place - short)
	a := s.want(s.claim("A", keeping), Busy, ReasonHeldPrefix+confirm)
	s.want(s.claim("B", keeping, operation(confirm)), Busy, ReasonOwnerRetries)
	if free := a.Until.Sub(x.Now); free != time.Minute+place {
		t.Errorf("free after %v", free)
	}
	clock(short)
	a = s.want(s.claim("A", keeping, sequence(a.request.Sequence)), Fresh, ReasonNew)
	s.release(a, Release{RetryAfter: time.Minute})
	clock(time.Minute + place - short)
	s.want(s.claim("C", keeping, sequence(5)), Busy, ReasonOwnerRetries)
	clock(short)
	s.want(s.claim("C", keeping, sequence(5)), Fresh, ReasonNotSent)
}

func TestPlaceEndsToTheMillisecond(t *testing.T) {
	t.Parallel()
	s, clock := clockScene(t)
	x := s.claim("X", operation(confirm))
	s.claim("A", func(r *ClaimRequest) { r.Place = time.Minute })
	s.done(x)
	clock(time.Minute - short)
	b := s.want(s.claim("B", operation(refundB)), Busy, "behind sequence 12")
	clock(short)
	s.want(s.claim("B", operation(refundB), sequence(b.request.Sequence)), Fresh, ReasonNew)
}

func TestLeaseEndsToTheMillisecond(t *testing.T) {
	t.Parallel()
	s, clock := clockScene(t)
	s.claim("A", func(r *ClaimRequest) { r.CallFor, r.Lease = time.Second, time.Minute })
	clock(time.Minute - short)
	s.want(s.claim("B"), Busy, ReasonClaimed)
	clock(short)
	s.want(s.claim("B"), InDoubt, ReasonLapsed)
}
