package idempotency

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestRestoredRecords(t *testing.T) {
	t.Parallel()
	hold(t, []behaviour{
		{"what an event proves is done", func(s *scene) {
			s.restore("A", Restoration{State: StateDone, Effect: "9001", Calls: 2})
			c := s.want(s.claim("A", redelivered), Done, ReasonSettled)
			if string(c.Outcome) != "{}" || c.Calls != 2 {
				s.Errorf("outcome %s, calls %d", c.Outcome, c.Calls)
			}
			s.want(s.claim("B"), Duplicate, ReasonSettled)
			s.want(s.claim("C", print("other")), Conflict, ReasonFingerprint)
			if c := s.claim("D", operation(refundB)); len(c.Owned) != 1 || c.Owned[0] != "9001" {
				s.Errorf("owned %v", c.Owned)
			}
		}},
		{"done is written over an operation in doubt and frees the entity", func(s *scene) {
			s.release(s.claim("A"), Release{Unknown: true})
			s.restore("A", Restoration{State: StateDone})
			s.want(s.claim("A", redelivered), Done, ReasonSettled)
			s.want(s.claim("X", operation(confirm)), Fresh, ReasonNew)
		}},
		{"a claim that has not lapsed is left to its claimant", func(s *scene) {
			c := s.claim("A")
			s.restore("A", Restoration{State: StateParked, MoneyUnknown: true})
			s.done(c)
		}},
		{"what is settled stays", func(s *scene) {
			s.done(s.claim("A"))
			s.restore("B", Restoration{State: StateDone})
			s.want(s.claim("A"), Done, ReasonSettled)
			s.refused(s.claim("R", operation(refundB)))
			s.restore("R", Restoration{State: StateParked, MoneyUnknown: true, Operation: refundB})
			s.want(s.claim("R", operation(refundB)), RefusedBefore, ReasonSettled)
		}},
		{"what was parked with unknown outcome is in doubt", func(s *scene) {
			s.restore("A", Restoration{State: StateParked, MoneyUnknown: true})
			s.want(s.claim("A", redelivered), Parked, ReasonSettled)
			c := s.want(s.claim("B"), InDoubt, ReasonParkedUnknown)
			if c.Owner.ID != "A" || string(c.Outcome) != "{}" {
				s.Errorf("owner %v, outcome %s", c.Owner, c.Outcome)
			}
		}},
		{"what was parked without money moved is not in doubt", func(s *scene) {
			s.restore("A", Restoration{State: StateParked})
			s.want(s.claim("B"), Fresh, ReasonNotSent)
		}},
		{"who was told of a conflict, or rejected, is told so again", func(s *scene) {
			s.restore("A", Restoration{State: StateRefused, Told: Conflict})
			s.restore("B", Restoration{State: StateRefused, Told: Rejected})
			s.want(s.claim("A"), Conflict, ReasonFingerprint)
			s.want(s.claim("B"), Rejected, ReasonNever)
			s.want(s.claim("C"), Fresh, ReasonNew)
		}},
		{"a parking that is older than a doubt leaves it alone", func(s *scene) {
			s.parked(s.claim("A"), false)
			s.release(s.want(s.claim("B", sequence(20)), Fresh, ReasonNotSent), Release{Unknown: true})
			s.restore("A", Restoration{State: StateParked})
			s.stayAway()
			s.want(s.claim("B", sequence(20), redelivered), InDoubt, ReasonUnknown)
		}},
		{"so does the older parking of a command that was replayed", func(s *scene) {
			s.parked(s.claim("A", sequence(5)), false)
			c := s.want(s.claim("A", sequence(20), replay(3)), Fresh, ReasonReopened)
			s.extend(c, Extension{Snapshot: []byte(`["1"]`)})
			s.release(c, Release{Unknown: true})
			s.restore("A", Restoration{State: StateParked})
			s.stayAway()
			if c := s.want(s.claim("A", sequence(20), replay(3), redelivered), InDoubt, ReasonUnknown); string(c.Snapshot) != `["1"]` {
				s.Errorf("snapshot %s", c.Snapshot)
			}
		}},
		{"and one that is older than a claim that lapsed", func(s *scene) {
			s.parked(s.claim("A", sequence(5)), false)
			s.lapse("A", sequence(20), replay(3))
			s.restore("A", Restoration{State: StateParked})
			s.want(s.claim("A", sequence(20), replay(3), redelivered), InDoubt, ReasonParkedUnknown)
		}},
		{"a refusal that is older than a replay leaves its doubt alone", func(s *scene) {
			s.refused(s.claim("A", sequence(5)))
			s.release(s.want(s.claim("A", sequence(20), replay(3)), Fresh, ReasonReopened), Release{Unknown: true})
			s.restore("A", Restoration{State: StateRefused})
			s.stayAway()
			s.want(s.claim("A", sequence(20), replay(3), redelivered), InDoubt, ReasonUnknown)
		}},
		{"an event that is older than the claim says nothing about its call", func(s *scene) {
			for _, state := range []State{StateRefused, StateParked} {
				key := operation("refund:1:" + state.String())
				c := s.claim("A", key, sequence(5))
				s.release(c, Release{Unknown: true})
				s.restore("A", Restoration{State: state, At: c.Now.Add(-time.Second), Operation: c.request.Operation, Told: 0})
				s.stayAway()
				c = s.want(s.claim("B", key, sequence(6)), InDoubt, ReasonUnknown)
				s.done(c)
			}
		}},
		{"parking frees an entity that its command held in doubt", func(s *scene) {
			s.release(s.claim("A"), Release{Unknown: true})
			s.restore("A", Restoration{State: StateParked, MoneyUnknown: true})
			s.want(s.claim("X", operation(confirm)), Fresh, ReasonNew)
		}},
		{"a refusal frees what its own command held, and nothing else", func(s *scene) {
			s.restore("A", Restoration{State: StateRefused})
			s.want(s.claim("A"), RefusedBefore, ReasonSettled)
			s.refused(s.want(s.claim("B"), Fresh, ReasonNew))
			s.release(s.claim("C", operation(confirm)), Release{Unknown: true})
			s.restore("D", Restoration{State: StateRefused, Operation: confirm})
			s.stayAway()
			s.want(s.claim("E", operation(refundB)), Busy, ReasonHeldPrefix+confirm)
			s.restore("C", Restoration{State: StateRefused, Operation: confirm})
			s.want(s.claim("C", operation(confirm)), RefusedBefore, ReasonSettled)
		}},
	})
}

func TestRestoredRecordsBesideWhatIsLeft(t *testing.T) {
	t.Parallel()
	elsewhere := func(r *ClaimRequest) { r.Command.Source = "/other" }
	fromElsewhere := Command{"/other", "A"}
	hold(t, []behaviour{
		{"what is done is done, whatever was settled before", func(s *scene) {
			s.parked(s.claim("A"), true)
			s.restore("A", Restoration{State: StateDone})
			s.want(s.claim("A", redelivered), Done, ReasonSettled)
			s.want(s.claim("B"), Duplicate, ReasonSettled)
			s.refused(s.claim("A", operation(refundB)))
			s.restore("B", Restoration{State: StateDone, Operation: refundB})
			s.want(s.claim("C", operation(refundB)), Duplicate, ReasonSettled)
		}},
		{"an older parking does not take back a refusal", func(s *scene) {
			s.refused(s.claim("A"))
			s.restore("A", Restoration{State: StateParked, MoneyUnknown: true})
			s.want(s.claim("B"), Fresh, ReasonFreed)
		}},
		{"a parking that is told of again, although its command was answered since, is in doubt in the next command's name", func(s *scene) {
			for _, told := range []Answer{Rejected, 0} {
				key := "refund:1:" + strconv.Itoa(int(told))
				s.restore("A", Restoration{State: StateParked, MoneyUnknown: true, Operation: key})
				s.restore("A", Restoration{State: StateRefused, Told: told, Operation: key})
				c := s.want(s.claim("B", operation(key)), InDoubt, ReasonParkedUnknown)
				if c.Owner.ID != "B" {
					s.Errorf("owner %v, want B: A has been answered", c.Owner)
				}
				s.done(c)
			}
		}},
		{"but not while a replay of that command may have called", func(s *scene) {
			s.refused(s.claim("A", sequence(5)))
			s.lapse("A", sequence(20), replay(3))
			if c := s.want(s.claim("B", sequence(21)), InDoubt, ReasonLapsed); c.Owner.ID != "A" {
				s.Errorf("owner %v, want A: its answer is yet to come", c.Owner)
			}
		}},
		{"and what cannot be called takes nothing over from it", func(s *scene) {
			s.restore("A", Restoration{State: StateParked, MoneyUnknown: true})
			s.restore("A", Restoration{State: StateRefused})
			if c := s.want(s.claim("P", probe), InDoubt, ReasonParkedUnknown); c.Owner.ID != "A" {
				s.Errorf("owner %v of what a probe looks up, want A", c.Owner)
			}
		}},
		{"a parking keeps the number of the replay that it came from", func(s *scene) {
			s.parked(s.claim("A", replay(3)), true)
			s.restore("A", Restoration{State: StateParked, MoneyUnknown: true})
			s.want(s.claim("A", redelivered, replay(3)), Parked, ReasonSettled)
		}},
		{"a rebuild that comes a second time does not free what a replay left in doubt", func(s *scene) {
			for range 2 {
				s.restore("A", Restoration{State: StateRefused})
				s.restore("A", Restoration{State: StateParked, MoneyUnknown: true})
			}
			s.restore("A", Restoration{State: StateRefused})
			s.want(s.claim("B"), InDoubt, ReasonParkedUnknown)
		}},
		{"nor what a replay has done", func(s *scene) {
			s.restore("A", Restoration{State: StateRefused})
			s.restore("A", Restoration{State: StateDone})
			s.restore("A", Restoration{State: StateRefused})
			s.want(s.claim("A", redelivered), Done, ReasonSettled)
			s.want(s.claim("B"), Duplicate, ReasonSettled)
		}},
		{"a refusal is its commands answer though another one has done it meanwhile", func(s *scene) {
			s.done(s.claim("B"))
			s.restore("A", Restoration{State: StateRefused})
			s.want(s.claim("A", redelivered), RefusedBefore, ReasonSettled)
			s.want(s.claim("B"), Done, ReasonSettled)
		}},
		{"all refusals of an operation are kept, also once it is done", func(s *scene) {
			s.restore("A", Restoration{State: StateRefused})
			s.restore("B", Restoration{State: StateRefused})
			s.restore("C", Restoration{State: StateDone})
			s.want(s.claim("A", redelivered), RefusedBefore, ReasonSettled)
			s.want(s.claim("B", redelivered), RefusedBefore, ReasonSettled)
		}},
		{"commands with one id of two sources have a refusal each", func(s *scene) {
			s.restore("A", Restoration{State: StateRefused})
			s.restore("A", Restoration{State: StateRefused, Command: fromElsewhere})
			s.want(s.claim("A", redelivered), RefusedBefore, ReasonSettled)
			s.want(s.claim("A", redelivered, elsewhere), RefusedBefore, ReasonSettled)
		}},
		{"a refusal does not free what a command of the same id from another source has in doubt", func(s *scene) {
			s.release(s.claim("A"), Release{Unknown: true})
			s.restore("A", Restoration{State: StateRefused, Command: fromElsewhere})
			s.stayAway()
			s.want(s.claim("B"), InDoubt, ReasonUnknown)
		}},
		{"a refusal that its command has not been told of frees the entity and the operation", func(s *scene) {
			s.release(s.claim("A"), Release{Unknown: true})
			s.restore("A", Restoration{State: StateRefused})
			s.want(s.claim("X", operation(confirm)), Fresh, ReasonNew)
		}},
		{"the last sixty-four refusals are kept", func(s *scene) {
			for n := range max64 + 1 {
				s.restore(strconv.Itoa(n), Restoration{State: StateRefused})
			}
			_, key := entityKey(s.entity)
			record := s.redis.HGet(s.ctx, key, "op:"+refundA).Val()
			if n := strings.Count(record, `"out":`); n != max64 {
				s.Errorf("%d refusals are kept, want %d: a record that is asked for again and again would grow for ever", n, max64)
			}
			s.want(s.claim(strconv.Itoa(max64), redelivered), RefusedBefore, ReasonSettled)
		}},
		{"a parking is written over a record that only waits", func(s *scene) {
			s.claim("X", operation(confirm))
			b := s.want(s.claim("B"), Busy, ReasonHeldPrefix+confirm)
			s.restore("A", Restoration{State: StateParked, MoneyUnknown: true})
			s.forgetGate()
			s.want(s.claim("B", redelivered, sequence(b.request.Sequence)), InDoubt, ReasonParkedUnknown)
		}},
		{"a parking of one command says nothing about another one that waits in doubt", func(s *scene) {
			s.claim("X", operation(confirm))
			b := s.want(s.claim("B", redelivered), Busy, ReasonHeldPrefix+confirm)
			s.restore("A", Restoration{State: StateParked})
			s.forgetGate()
			s.want(s.claim("B", redelivered, sequence(b.request.Sequence)), InDoubt, ReasonForgotten)
		}},
		{"a parking of one command lets go of nothing that another one holds in doubt", func(s *scene) {
			s.release(s.claim("B"), Release{Unknown: true})
			s.restore("A", Restoration{State: StateParked})
			s.want(s.claim("X", operation(confirm)), Busy, ReasonHeldPrefix+refundA)
		}},
		{"a parking with unknown outcome raises doubt about a command that was given back as not sent", func(s *scene) {
			s.release(s.claim("A"), Release{})
			s.restore("A", Restoration{State: StateParked, MoneyUnknown: true})
			s.want(s.claim("B"), InDoubt, ReasonParkedUnknown)
		}},
	})
}

const max64 = 64 // as in record.lua

// A record under half a name would answer for others, and one without an outcome would have an empty event published.
func TestRestorationsThatCannotBeAreRefused(t *testing.T) {
	t.Parallel()
	s := newScene(t, stores[0], false)
	const named = "Entity, Operation or Command is empty"
	const outcome = "Outcome is empty or not UTF-8"
	for _, c := range []struct {
		want   string
		change func(*Restoration)
	}{
		{"State is 0", func(r *Restoration) { r.State = 0 }},
		{"State is 4", func(r *Restoration) { r.State = StateParked + 1 }},
		{named, func(r *Restoration) { r.Operation = "" }},
		{named, func(r *Restoration) { r.Entity.ID = "" }},
		{named, func(r *Restoration) { r.Command.Source = "" }},
		{named, func(r *Restoration) { r.Command.ID = "" }},
		{outcome, func(r *Restoration) { r.Outcome = nil }},
		{outcome, func(r *Restoration) { r.Outcome = []byte("\xff") }},
	} {
		r := Restoration{Operation: refundA, Entity: s.entity, Command: Command{"/checkout", "A"}, State: StateDone, Outcome: []byte("{}")}
		c.change(&r)
		if err := s.guard.Restore(s.ctx, r); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
	if s.lives() != -2 {
		t.Error("something of it has reached Redis")
	}
}

// forgetGate takes away what holds the entity, as when its own event was restored.
func (s *scene) forgetGate() {
	s.Helper()
	_, key := entityKey(s.entity)
	if err := s.redis.HDel(s.ctx, key, "gate", "op:"+confirm).Err(); err != nil {
		s.Fatal(err)
	}
}

func (s *scene) restore(command string, r Restoration) {
	s.Helper()
	request := s.request(command)
	r.Entity, r.Fingerprint, r.Outcome = request.Entity, request.Fingerprint, []byte("{}")
	if r.Command == (Command{}) {
		r.Command = request.Command
	}
	if r.Operation == "" {
		r.Operation = request.Operation
	}
	if r.At.IsZero() {
		r.At = time.Now().Add(time.Second)
	}
	if err := s.guard.Restore(s.ctx, r); err != nil {
		s.Fatal(err)
	}
}
