package idempotency

import (
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
	s := newScene(t, stores[0], false)
	for name, r := range map[string]Restoration{
		"State is 0": {Operation: refundA, Entity: s.entity, Command: Command{"/checkout", "A"}, Outcome: []byte("{}")},
		"Outcome":    {Operation: refundA, Entity: s.entity, Command: Command{"/checkout", "A"}, State: StateDone},
		"Entity":     {Entity: s.entity, Command: Command{"/checkout", "A"}, State: StateDone, Outcome: []byte("{}")},
	} {
		if err := s.guard.Restore(s.ctx, r); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func (s *scene) restore(command string, r Restoration) {
	s.Helper()
	request := s.request(command)
	r.Entity, r.Command, r.Fingerprint, r.Outcome = request.Entity, request.Command, request.Fingerprint, []byte("{}")
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
