package idempotency

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func alone(r *ClaimRequest) { r.Alone = true }
func only(r *ClaimRequest)  { r.Only = true }

// crash takes a claim with a process of its own, which is never heard of again.
func (s *scene) crash(command string, change ...func(*ClaimRequest)) *Claim {
	s.Helper()
	g := s.newGuard(Config{})
	c := s.claimOf(g, command, append(change, lapsing)...)
	// A script that reaches Redis twice, the second time after the lease, would be a sign of life.
	bucket, _ := entityKey(s.entity)
	if err := s.redis.HSet(s.ctx, epochKey(bucket), "p:"+g.process, c.Until.Add(-short).UnixMilli()).Err(); err != nil {
		s.Fatal(err)
	}
	s.pass(c.Until)
	return c
}

func TestCrashesAreCounted(t *testing.T) {
	t.Parallel()
	crashes := func(s *scene, c *Claim, want int) *Claim {
		s.Helper()
		if c.Suspicion != want {
			s.Errorf("suspicion %d, want %d", c.Suspicion, want)
		}
		return c
	}
	hold(t, []behaviour{
		{"a claim that lapsed in another process counts", func(s *scene) {
			crashes(s, s.crash("A"), 0)
			crashes(s, s.crash("A"), 1)
			crashes(s, s.claim("A"), 2)
		}},
		{"after the second one only a claim that was alone counts, and twice without other suspects", func(s *scene) {
			s.crash("A")
			s.crash("A")
			s.crash("A")
			crashes(s, s.crash("A", only), 2)
			crashes(s, s.crash("A", alone), 2)
			crashes(s, s.crash("A", alone, only), 3)
			crashes(s, s.claim("A"), 5)
		}},
		{"a claim whose process nobody remembers, or never named, counts", func(s *scene) {
			bucket, key := entityKey(s.entity)
			c := s.crash("A")
			fields := s.redis.HKeys(s.ctx, epochKey(bucket)).Val()
			record := s.redis.HGet(s.ctx, key, "op:"+refundA).Val()
			by := regexp.MustCompile(`"by":"(\w+)"`).FindStringSubmatch(record)
			if len(by) != 2 || !slices.Contains(fields, "p:"+by[1]) {
				s.Fatalf("claim %v of no process among %q: %s", c.Answer, fields, record)
			}
			s.redis.HDel(s.ctx, epochKey(bucket), "p:"+by[1])
			crashes(s, s.crash("A"), 1)
			record = s.redis.HGet(s.ctx, key, "op:"+refundA).Val()
			s.redis.HSet(s.ctx, key, "op:"+refundA, strings.Replace(record, `"by":`, `"of a version before it":`, 1))
			crashes(s, s.claim("A"), 2)
		}},
		{"a claim that lapsed in the same process does not count", func(s *scene) {
			s.crash("A")
			s.lapse("A")
			crashes(s, s.claim("A"), 1)
		}},
		{"nor does one in a process that was heard of afterwards", func(s *scene) {
			alive := s.newGuard(Config{})
			c := s.claimOf(alive, "A", lapsing)
			s.pass(c.Until)
			if _, err := alive.Remember(s.ctx, s.entity, time.Time{}); err != nil {
				s.Fatal(err)
			}
			crashes(s, s.claim("A"), 0)
		}},
		{"a claim given back starts anew, unless it had not begun", func(s *scene) {
			s.crash("A")
			s.crash("A")
			s.release(crashes(s, s.claim("A"), 2), Release{Aside: true})
			s.release(crashes(s, s.claim("A"), 2), Release{})
			crashes(s, s.claim("A"), 0)
		}},
		{"a parking starts anew", func(s *scene) {
			s.crash("A")
			s.crash("A")
			s.parked(crashes(s, s.claim("A"), 2), true)
			crashes(s, s.claim("A", replay(1)), 0)
		}},
		{"a claim that is answered again tells the same", func(s *scene) {
			s.crash("A")
			request := s.request("A")
			first, err := s.guard.Claim(s.ctx, request)
			if err != nil {
				s.Fatal(err)
			}
			crashes(s, first, 1)
			s.want(s.claim("A"), Busy, ReasonClaimed)
		}},
	})
}

// everything is what Redis has of the entity and its bucket's epoch.
func (s *scene) everything() (all [2]map[string]string) {
	s.Helper()
	bucket, key := entityKey(s.entity)
	for i, key := range []string{key, epochKey(bucket)} {
		fields, err := s.redis.HGetAll(s.ctx, key).Result()
		if err != nil {
			s.Fatal(err)
		}
		all[i] = fields
	}
	maps.DeleteFunc(all[1], func(field, _ string) bool { return field == "alive" || strings.HasPrefix(field, "p:") }) // others come by
	return all
}

func TestForeseeGivesAClaimsAnswerAndChangesNothing(t *testing.T) {
	t.Parallel()
	state := func(sentence string, before func(*scene), answer Answer, reason string, change ...func(*ClaimRequest)) behaviour {
		return behaviour{sentence, func(s *scene) {
			s.remember() // the epoch is there: whoever comes first to the bucket makes it
			before(s)
			request := s.request("A", change...)
			was, lives := s.everything(), s.lives()
			c, err := s.guard.Foresee(s.ctx, request)
			if err != nil {
				s.Fatal(err)
			}
			if c.Answer != answer || c.Reason != reason || c.Granted() {
				s.Errorf("foreseen %v (%s), granted %v; want %v (%s)", c.Answer, c.Reason, c.Granted(), answer, reason)
			}
			if diff := cmp.Diff(was, s.everything()); diff != "" {
				s.Errorf("foreseeing has changed something: %s", diff)
			}
			if now := s.lives(); now > lives {
				s.Errorf("lives for %v, before %v", now, lives)
			}
			s.want(s.claim("A", append(change, sequence(request.Sequence))...), answer, reason)
		}}
	}
	hold(t, []behaviour{
		state("never tried", func(*scene) {}, Fresh, ReasonNew),
		state("lapsed", func(s *scene) { s.lapse("A") }, InDoubt, ReasonLapsed),
		state("done", func(s *scene) { s.done(s.claim("A")) }, Done, ReasonSettled),
		state("done by another", func(s *scene) { s.done(s.claim("B")) }, Duplicate, ReasonSettled),
		state("known with other data", func(s *scene) { s.done(s.claim("B", print("other"))) }, Conflict, ReasonFingerprint),
		state("under way", func(s *scene) { s.claim("B") }, Busy, ReasonClaimed),
		state("held by another operation", func(s *scene) { s.claim("B", operation(confirm)) }, Busy, ReasonHeldPrefix+confirm),
		state("parked and replayed", func(s *scene) { s.parked(s.claim("A"), true) }, InDoubt, ReasonParkedUnknown, replay(4)),
		state("refused and replayed", func(s *scene) { s.refused(s.claim("A")) }, Fresh, ReasonReopened, replay(4)),
		state("a probe", func(*scene) {}, Rejected, ReasonNever, probe),
	})
}

func TestProcessesThatAreLongGoneAreForgotten(t *testing.T) {
	t.Parallel()
	s, _ := ownServer(t)
	s.claim("A")
	bucket, _ := entityKey(s.entity)
	day := 24 * time.Hour
	for process, age := range map[string]time.Duration{"p:gone": day + time.Minute, "p:here": day - time.Minute} {
		if err := s.redis.HSet(s.ctx, epochKey(bucket), process, s.clock(s.ctx).Add(-age).UnixMilli()).Err(); err != nil {
			t.Fatal(err)
		}
	}
	connect(s)
	left := s.redis.HMGet(s.ctx, epochKey(bucket), "p:gone", "p:here", "p:"+s.guard.process).Val()
	if left[0] != nil || left[1] == nil || left[2] == nil {
		t.Errorf("left are %v", left)
	}
}
