package idempotency

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	refundA = "refund:1:a"
	refundB = "refund:1:b"
	confirm = "confirm:1"
)

func TestSettledOperations(t *testing.T) {
	t.Parallel()
	hold(t, []behaviour{
		{"done answers the same command with the stored event", func(s *scene) {
			c := s.claim("A")
			s.done(c)
			again := s.want(s.claim("A", redelivered), Done, ReasonSettled)
			if diff := cmp.Diff(string(outcome(StateDone, c)), string(again.Outcome)); diff != "" {
				s.Error(diff)
			}
			if again.Owner != c.request.Command || again.Calls != 1 {
				s.Errorf("owner %v, calls %d", again.Owner, again.Calls)
			}
		}},
		{"done answers the same command even with another fingerprint", func(s *scene) {
			s.done(s.claim("A"))
			s.want(s.claim("A", print("other")), Done, ReasonSettled)
		}},
		{"done answers another command that means the same with duplicate", func(s *scene) {
			c := s.claim("A")
			s.done(c)
			again := s.want(s.claim("B", redelivered, replay(3)), Duplicate, ReasonSettled)
			if string(again.Outcome) != string(outcome(StateDone, c)) || again.Owner.ID != "A" {
				s.Errorf("outcome %s, owner %v", again.Outcome, again.Owner)
			}
		}},
		{"done answers another command that means something else with conflict", func(s *scene) {
			s.done(s.claim("A"))
			s.want(s.claim("B", print("other")), Conflict, ReasonFingerprint)
		}},
		{"done answers a probe without fingerprint with duplicate", func(s *scene) {
			s.done(s.claim("A"))
			s.want(s.claim("B", bareProbe), Duplicate, ReasonSettled)
		}},
		{"done belongs to the command it was settled for", func(s *scene) {
			s.settle(s.claim("A"), Settlement{State: StateDone, Command: Command{Source: "/checkout", ID: "B"}})
			s.want(s.claim("B"), Done, ReasonSettled)
			s.want(s.claim("A"), Duplicate, ReasonSettled)
		}},
		{"done frees the entity", func(s *scene) {
			s.done(s.claim("A", operation(confirm)))
			s.want(s.claim("B"), Fresh, ReasonNew)
		}},
		{"refused answers the same command with the stored refusal", func(s *scene) {
			c := s.claim("A")
			s.refused(c)
			again := s.want(s.claim("A", redelivered), RefusedBefore, ReasonSettled)
			if string(again.Outcome) != string(outcome(StateRefused, c)) {
				s.Errorf("outcome %s", again.Outcome)
			}
		}},
		{"refused stays the answer to its command while another one is at it and after that has done it", func(s *scene) {
			s.refused(s.claim("A"))
			b := s.claim("B")
			s.want(s.claim("A"), RefusedBefore, ReasonSettled)
			s.done(b)
			s.want(s.claim("A"), RefusedBefore, ReasonSettled)
		}},
		{"refused is reopened by a replay with a new number only", func(s *scene) {
			s.refused(s.claim("A", replay(9)))
			s.want(s.claim("A", replay(9)), RefusedBefore, ReasonSettled)
			c := s.want(s.claim("A", replay(10)), Fresh, ReasonReopened)
			s.refused(c)
			s.want(s.claim("A", replay(10)), RefusedBefore, ReasonSettled)
			s.want(s.claim("A"), RefusedBefore, ReasonSettled)
		}},
		{"refused stays refused for a replay once another command has done it", func(s *scene) {
			s.refused(s.claim("A"))
			s.done(s.claim("B"))
			s.want(s.claim("A", replay(1)), RefusedBefore, ReasonSettled)
		}},
		{"refused frees the operation for another command", func(s *scene) {
			c := s.claim("A")
			s.extend(c, Extension{Snapshot: []byte(`["1"]`)})
			s.release(c, Release{Spend: time.Minute})
			s.refused(s.claim("A"))
			again := s.want(s.claim("B", print("other")), Fresh, ReasonFreed)
			if again.Calls != 1 || again.Spent != 0 || again.Snapshot != nil || again.Owner.ID != "B" {
				s.Errorf("not a clean start: %+v", again)
			}
			s.release(again, Release{})
			if again := s.claim("B", print("other")); again.Calls != 1 {
				s.Errorf("a call that was not made was counted: %d", again.Calls)
			}
		}},
		{"refused in the owners name is the owners refusal", func(s *scene) {
			s.lapse("A", replay(4))
			s.refused(s.claim("B"))
			s.want(s.claim("A", replay(4)), RefusedBefore, ReasonSettled)
			s.want(s.claim("A", replay(5)), Fresh, ReasonReopened)
		}},
		{"refused for another command than the owner counts that commands replays", func(s *scene) {
			for _, command := range []Command{{Source: "/checkout", ID: "B"}, {Source: "/other", ID: "A"}} {
				key := operation(OperationKey("refund", command.Source, command.ID))
				asks := func(r *ClaimRequest) { r.Command = command }
				s.lapse("A", replay(4), key)
				s.settle(s.claim("", asks, replay(9), key), Settlement{State: StateRefused, Command: command})
				s.want(s.claim("", asks, replay(9), key), RefusedBefore, ReasonSettled)
				s.want(s.claim("", asks, replay(10), key), Fresh, ReasonReopened)
				s.done(s.lapse0("", asks, key, replay(10)))
			}
		}},
		{"a replay number outlasts the redelivery of an older message", func(s *scene) {
			s.release(s.claim("A"), Release{})
			s.release(s.claim("A", replay(9)), Release{})
			s.refused(s.want(s.claim("A"), Fresh, ReasonNotSent))
			s.want(s.claim("A", replay(9)), RefusedBefore, ReasonSettled)
		}},
		{"a command is its source and its id", func(s *scene) {
			s.done(s.claim("A"))
			s.want(s.claim("A", func(r *ClaimRequest) { r.Command.Source = "/other" }), Duplicate, ReasonSettled)
			s.want(s.claim("B"), Duplicate, ReasonSettled)
		}},
		{"refused for another command than the owner is that commands refusal", func(s *scene) {
			s.settle(s.claim("A", replay(9)), Settlement{State: StateRefused, Command: Command{Source: "/checkout", ID: "B"}})
			s.want(s.claim("B", replay(9)), RefusedBefore, ReasonSettled)
			s.want(s.claim("A"), Fresh, ReasonFreed)
		}},
		{"only the last 64 refusals are remembered", func(s *scene) {
			for i := range 65 {
				s.refused(s.claim(fmt.Sprint(i)))
			}
			s.want(s.claim("1"), RefusedBefore, ReasonSettled)
			s.want(s.claim("0"), Fresh, ReasonFreed)
		}},
		{"refused frees the entity", func(s *scene) {
			s.refused(s.claim("A", operation(confirm)))
			s.want(s.claim("B"), Fresh, ReasonNew)
		}},
		{"parked answers the same command with the stored dead letter", func(s *scene) {
			for _, unknown := range []bool{false, true} {
				key := operation(fmt.Sprint("refund:1:", unknown))
				c := s.claim("A", key, replay(9))
				s.parked(c, unknown)
				again := s.want(s.claim("A", key, replay(9), redelivered), Parked, ReasonSettled)
				if string(again.Outcome) != string(outcome(StateParked, c)) {
					s.Errorf("outcome %s", again.Outcome)
				}
			}
		}},
		{"parked without money moved is fresh for its replay with a new budget", func(s *scene) {
			c := s.claim("A", replay(9))
			s.release(c, Release{Spend: time.Hour})
			c = s.claim("A", replay(9))
			if c.Spent != time.Hour {
				s.Errorf("spent %v", c.Spent)
			}
			s.parked(c, false)
			if c = s.want(s.claim("A", replay(10)), Fresh, ReasonReopened); c.Spent != 0 || c.Outcome != nil {
				s.Errorf("spent %v, outcome %s", c.Spent, c.Outcome)
			}
		}},
		{"parked without money moved is fresh for another command", func(s *scene) {
			s.parked(s.claim("A"), false)
			s.want(s.claim("B"), Fresh, ReasonNotSent)
		}},
		{"parked with unknown outcome is in doubt for a replay with a new budget", func(s *scene) {
			c := s.claim("A")
			s.release(c, Release{Spend: time.Hour})
			s.parked(s.claim("A"), true)
			c = s.want(s.claim("A", replay(1)), InDoubt, ReasonParkedUnknown)
			if c.Spent != 0 || len(c.Outcome) == 0 {
				s.Errorf("spent %v, outcome %q", c.Spent, c.Outcome)
			}
			s.parked(c, true)
			s.want(s.claim("A", replay(1)), Parked, ReasonSettled)
		}},
		{"parked with unknown outcome is in doubt for another command in the owners name", func(s *scene) {
			s.parked(s.claim("A"), true)
			if c := s.want(s.claim("B"), InDoubt, ReasonParkedUnknown); c.Owner.ID != "A" {
				s.Errorf("owner %v", c.Owner)
			}
		}},
		{"parked keeps the snapshot for the look-up after a replay", func(s *scene) {
			c := s.extend(s.claim("A"), Extension{Snapshot: []byte(`["1"]`)})
			s.parked(c, true)
			if c := s.claim("A", replay(1)); string(c.Snapshot) != `["1"]` {
				s.Errorf("snapshot %q", c.Snapshot)
			}
		}},
		{"parked frees the entity even with unknown outcome", func(s *scene) {
			s.parked(s.claim("A", operation(confirm)), true)
			s.want(s.claim("B"), Fresh, ReasonNew)
		}},
		{"another fingerprint is a conflict unless refused", func(s *scene) {
			c := s.claim("A")
			s.want(s.claim("B", print("other")), Conflict, ReasonFingerprint)
			s.release(c, Release{})
			s.want(s.claim("B", print("other")), Conflict, ReasonFingerprint)
			c = s.claim("A")
			s.parked(c, true)
			s.want(s.claim("B", print("other")), Conflict, ReasonFingerprint)
		}},
		{"another fingerprint conflicts with a command that waits", func(s *scene) {
			c := s.claim("X", operation(confirm))
			s.claim("A")
			s.done(c)
			s.want(s.claim("B", print("other")), Conflict, ReasonFingerprint)
		}},
		{"a probe without fingerprint conflicts with nothing and nothing with it", func(s *scene) {
			s.lapse("A")
			c := s.want(s.claim("B", bareProbe), InDoubt, ReasonLapsed)
			s.refused(c)
			c = s.claim("C", bareProbe, operation(refundB), redelivered)
			s.want(c, InDoubt, ReasonForgotten)
			s.extend(c, Extension{Proven: true})
			s.release(c, Release{})
			s.stayAway()
			s.want(s.claim("D", print("other"), operation(refundB)), Fresh, ReasonNotSent)
		}},
	})
}

func TestFreshClaims(t *testing.T) {
	t.Parallel()
	hold(t, []behaviour{
		{"never tried is fresh", func(s *scene) {
			c := s.want(s.claim("A", func(r *ClaimRequest) { r.CallFor, r.Lease = time.Minute, 2*time.Minute }), Fresh, ReasonNew)
			if c.Calls != 1 || !near(c.MaySendUntil, c.Now.Add(time.Minute)) || !near(c.Until, c.Now.Add(2*time.Minute)) {
				s.Errorf("%+v", c)
			}
			if c.Owner.ID != "A" || c.Snapshot != nil || c.Outcome != nil || c.Owned != nil || c.Spent != 0 {
				s.Errorf("%+v", c)
			}
		}},
		{"a claim is in Redis clock", func(s *scene) {
			before := s.clock(s.ctx)
			c := s.claim("A")
			after := s.clock(s.ctx)
			if c.Now.Before(before.Truncate(time.Millisecond)) || c.Now.After(after) {
				s.Errorf("%v is not between %v and %v", c.Now, before, after)
			}
		}},
		{"entities do not meet", func(s *scene) {
			s.claim("A")
			for _, change := range []func(*Entity){
				func(e *Entity) { e.Host += "x" },
				func(e *Entity) { e.ChannelID += "x" },
				func(e *Entity) { e.Kind = KindOrder },
				func(e *Entity) { e.ID += "x" },
			} {
				other := s.entity
				change(&other)
				s.want(s.claim("A", func(r *ClaimRequest) { r.Entity = other }), Fresh, ReasonNew)
			}
		}},
		{"released before the call is fresh again", func(s *scene) {
			s.release(s.claim("A"), Release{})
			c := s.want(s.claim("A", redelivered, sequence(11)), Fresh, ReasonNotSent)
			if c.Calls != 1 {
				s.Errorf("a call that was not made was counted: %d", c.Calls)
			}
		}},
		{"released before the call is fresh for another command once the owner stays away", func(s *scene) {
			c := s.claim("A")
			s.release(c, Release{Spend: time.Minute})
			s.stayAway()
			c = s.want(s.claim("B"), Fresh, ReasonNotSent)
			if c.Owner.ID != "B" || c.Spent != 0 {
				s.Errorf("owner %v, spent %v", c.Owner, c.Spent)
			}
			s.refused(c)
		}},
		{"a replay number belongs to the owner it came with", func(s *scene) {
			c := s.claim("A", replay(9))
			s.refused(s.want(c, InDoubt, ReasonReplay))
			s.refused(s.want(s.claim("B"), Fresh, ReasonFreed))
			s.want(s.claim("B", replay(1)), Fresh, ReasonReopened)
		}},
		{"the retry budget of an owner goes on", func(s *scene) {
			s.release(s.claim("A"), Release{Spend: time.Minute})
			s.release(s.claim("A"), Release{Spend: time.Second})
			if c := s.claim("A"); c.Spent != time.Minute+time.Second {
				s.Errorf("spent %v", c.Spent)
			}
		}},
		{"a fresh claim has no snapshot from before", func(s *scene) {
			c := s.extend(s.claim("A"), Extension{Snapshot: []byte(`["1"]`)})
			s.release(c, Release{})
			if c := s.claim("A"); c.Snapshot != nil {
				s.Errorf("snapshot %s", c.Snapshot)
			}
		}},
		{"effects of the other operations of the entity are told", func(s *scene) {
			for key, effect := range map[string]string{refundB: "9002", "refund:1:c": "9001", confirm: "9000", "refunds:1": "9009"} {
				s.settle(s.claim(key, operation(key)), Settlement{State: StateDone, Effect: effect})
			}
			s.done(s.claim("D", operation("refund:1:d"))) // has no effect to tell
			c := s.claim("A")
			if diff := cmp.Diff([]string{"9000", "9001", "9002", "9009"}, c.Owned); diff != "" {
				s.Error(diff)
			}
			s.settle(c, Settlement{State: StateDone, Effect: "9003"})
			if c := s.claim("A"); len(c.Owned) != 4 {
				s.Errorf("its own effect is told: %v", c.Owned)
			}
		}},
		{"what a parked operation may have brought about is told until it is known", func(s *scene) {
			park := Settlement{State: StateParked, MoneyUnknown: true, Effect: "9000"}
			s.settle(s.claim("X", operation(confirm)), park)
			s.done(s.claim("A", operation(refundB)))
			c := s.claim("B")
			if diff := cmp.Diff([]string{"9000"}, c.Owned); diff != "" {
				s.Error(diff)
			}
			s.refused(c)
			again := s.want(s.claim("X", operation(confirm), replay(1)), InDoubt, ReasonParkedUnknown)
			park.Effect = ""
			s.settle(again, park) // parked once more, by somebody who did not look
			if c = s.claim("C"); !slices.Equal(c.Owned, []string{"9000"}) {
				s.Errorf("owned %q", c.Owned)
			}
			s.refused(c)
			s.refused(s.want(s.claim("X", operation(confirm), replay(2)), InDoubt, ReasonParkedUnknown))
			if c = s.claim("D"); len(c.Owned) != 0 {
				s.Errorf("owned %q", c.Owned)
			}
		}},
		{"a probe is granted nothing", func(s *scene) {
			c := s.want(s.claim("A", probe), Rejected, ReasonNever)
			if err := s.guard.Settle(s.ctx, c, Settlement{State: StateDone, Outcome: []byte("{}")}); err == nil {
				s.Error("a probe settled")
			}
			s.want(s.claim("B", print("other")), Fresh, ReasonNew)
		}},
		{"a probe was here", func(s *scene) {
			s.claim("A", probe, sequence(5))
			s.want(s.claim("A", probe, sequence(5), redelivered), Rejected, ReasonNever)
			_, key := entityKey(s.entity)
			if text := s.redis.HGet(s.ctx, key, "op:"+refundA).Val(); !strings.Contains(text, `"st":"waiting"`) {
				s.Errorf("record %s", text)
			}
		}},
		{"a probe gives up what its command had waiting", func(s *scene) {
			x := s.claim("X", operation(confirm))
			a := s.want(s.claim("A"), Busy, "held by confirm:1").request
			s.done(x)
			s.claim("A", probe, sequence(a.Sequence))
			x = s.claim("X", operation("confirm:2"))
			s.want(s.claim("B", print("other")), Busy, "held by confirm:2")
			s.want(s.claim("C"), Conflict, ReasonFingerprint)
			s.done(x)
			s.want(s.claim("B", print("other"), sequence(a.Sequence)), Fresh, ReasonNew)
		}},
		{"a probe gives up what its command had open", func(s *scene) {
			s.release(s.claim("A"), Release{RetryAfter: long})
			s.want(s.claim("A", probe), Rejected, ReasonNever)
			s.want(s.claim("X", operation(confirm)), Fresh, ReasonNew)
		}},
		{"a probe leaves alone what was parked or refused", func(s *scene) {
			s.parked(s.claim("A"), false)
			s.want(s.claim("P", probe), Rejected, ReasonNever)
			s.want(s.claim("A"), Parked, ReasonSettled)
			s.refused(s.claim("A", replay(1)))
			s.want(s.claim("P", probe), Rejected, ReasonNever)
			s.want(s.claim("B", print("other")), Fresh, ReasonFreed)
		}},
		{"a probe leaves alone what another command has waiting", func(s *scene) {
			x := s.claim("X", operation(confirm))
			s.claim("A", shortPlace)
			s.done(x)
			s.stayAway()
			s.want(s.claim("B", probe), Rejected, ReasonNever)
			s.want(s.claim("C", print("other")), Conflict, ReasonFingerprint)
		}},
		{"a call proven to have come to nothing before a probe is not forgotten", func(s *scene) {
			s.lapse("A")
			c := s.extend(s.claim("A"), Extension{Proven: true})
			s.release(c, Release{})
			s.want(s.claim("A", probe), Rejected, ReasonNever)
			if c := s.want(s.claim("B"), Fresh, ReasonNotSent); c.Calls != 2 {
				s.Errorf("calls %d", c.Calls)
			}
		}},
		{"a command that was rejected stays rejected, as valid as it may be to another worker's clock", func(s *scene) {
			s.claim("A", probe)
			s.want(s.claim("A"), Rejected, ReasonNever)
			s.done(s.claim("B"))
			s.want(s.claim("A"), Rejected, ReasonNever)
			s.want(s.claim("C"), Duplicate, ReasonSettled)
		}},
		{"a command that was told of a conflict is told so again, though the operation was freed", func(s *scene) {
			b := s.claim("B")
			s.want(s.claim("A", print("other")), Conflict, ReasonFingerprint)
			s.refused(b)
			s.want(s.claim("A", print("other")), Conflict, ReasonFingerprint)
			s.done(s.claim("C", print("other")))
			s.want(s.claim("A", print("other")), Conflict, ReasonFingerprint)
		}},
		{"only the last 64 commands that were told so are remembered", func(s *scene) {
			b := s.claim("B")
			for i := range 65 {
				s.claim(fmt.Sprint(i), print("other"))
			}
			s.refused(b)
			s.want(s.claim("1", print("other")), Conflict, ReasonFingerprint)
			s.want(s.claim("0", print("other")), Fresh, ReasonFreed)
		}},
		{"a claim that arrives after its own end grants nothing", func(s *scene) {
			for _, end := range []func(*Claim){
				func(c *Claim) { s.release(c, Release{}) },
				func(c *Claim) { s.refused(c) },
				func(c *Claim) { s.parked(c, true) },
			} {
				request := s.request("A", func(r *ClaimRequest) { r.Entity.ID += fmt.Sprint(s.next) })
				bucket, key := entityKey(request.Entity)
				token := newToken()
				late := func() ([]string, error) {
					return run(s.ctx, s.redis, claimScript, []string{key, epochKey(bucket)}, s.guard.claimArgs(request, bucket, token))
				}
				answer, err := late()
				if err != nil {
					s.Fatal(err)
				}
				c, err := parseClaim(answer, request, token)
				if err != nil {
					s.Fatal(err)
				}
				end(s.want(c, Fresh, ReasonNew))
				if _, err := late(); !errors.Is(err, ErrLost) {
					s.Errorf("granted again: %v", err)
				}
			}
		}},
	})
}
