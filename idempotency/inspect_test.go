package idempotency

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
)

// inspect looks at the scene's entity, and fails where the look changed something.
func (s *scene) inspect() *Inspection {
	s.Helper()
	before := s.stored()
	i, err := s.guard.Inspect(s.ctx, s.entity)
	if err != nil {
		s.Fatal(err)
	}
	if diff := cmp.Diff(before, s.stored()); diff != "" {
		s.Fatalf("a look changed the entity (-before +after):\n%s", diff)
	}
	return i
}

func (s *scene) stored() map[string]string {
	s.Helper()
	_, key := entityKey(s.entity)
	fields, err := s.redis.HGetAll(s.ctx, key).Result()
	if err != nil {
		s.Fatal(err)
	}
	return fields
}

// only is the single record of the entity, without the times that a test cannot know.
func (s *scene) only() Record {
	s.Helper()
	i := s.inspect()
	if len(i.Records) != 1 || len(i.Damaged) != 0 {
		s.Fatalf("records %+v, damaged %+v, want one record", i.Records, i.Damaged)
	}
	r := i.Records[0]
	if !near(r.First, i.Now) {
		s.Fatalf("the record was made at %v, by a clock that says %v", r.First, i.Now)
	}
	r.First, r.Claimed, r.MaySendUntil = time.Time{}, time.Time{}, time.Time{}
	return r
}

func (s *scene) same(got, want any) {
	s.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		s.Errorf("(-want +got):\n%s", diff)
	}
}

func (s *scene) overwrite(field, text string) {
	s.Helper()
	_, key := entityKey(s.entity)
	if err := s.redis.HSet(s.ctx, key, field, text).Err(); err != nil {
		s.Fatal(err)
	}
}

func TestInspection(t *testing.T) {
	t.Parallel()
	me := func(id string) Command { return Command{Source: "/checkout", ID: id} }
	hold(t, []behaviour{
		{"an entity that nobody has claimed has nothing on record", func(s *scene) {
			if i := s.inspect(); i.Known() || i.Held != nil || len(i.Waiters)+len(i.Owned) != 0 {
				s.Errorf("inspection %+v, want nothing", i)
			}
		}},
		{"a running claim shows its owner, its lease and that it holds the entity", func(s *scene) {
			c := s.claim("a", sequence(7), replay(3))
			i := s.inspect()
			if len(i.Records) != 1 {
				s.Fatalf("records %+v, want one", i.Records)
			}
			r := i.Records[0]
			if !r.Lease.Equal(c.Until) || !r.MaySendUntil.Equal(c.MaySendUntil) || !near(r.Claimed, c.Now) {
				s.Errorf("lease %v, may send until %v, claimed %v; the claim says %v, %v, %v", r.Lease, r.MaySendUntil, r.Claimed, c.Until,
					c.MaySendUntil, c.Now)
			}
			s.same(i.Held, &Hold{Operation: "refund:1:a", Since: r.Claimed, Until: c.Until})
			r.Lease = time.Time{}
			r.First, r.Claimed, r.MaySendUntil = time.Time{}, time.Time{}, time.Time{}
			s.same(r, Record{
				Operation: "refund:1:a", Standing: StandingClaimed, Owner: me("a"), Fingerprint: "print", Answer: "in doubt",
				Reason: ReasonReplay, Calls: 0, Doubt: true, Why: ReasonReplay, Replay: 3, Delivered: []uint64{7},
			})
		}},
		{"a claim given back shows when its owner comes back, and what it has spent", func(s *scene) {
			c := s.claim("a", sequence(7))
			s.release(c, Release{Unknown: true, RetryAfter: long, Spend: 1500 * time.Millisecond})
			i := s.inspect()
			r := i.Records[0]
			if want := i.Now.Add(long); !near(r.Retry, want) {
				s.Errorf("its owner comes back at %v, want about %v", r.Retry, want)
			}
			s.same(i.Held, &Hold{Operation: "refund:1:a", Since: r.Claimed, Until: r.Retry})
			if r.Standing != StandingOpen || !r.Doubt || r.Why != ReasonUnknown || r.Spent != 1500*time.Millisecond || r.Calls != 1 {
				s.Errorf("record %+v, want one that is open and in doubt after a call, with 1.5s spent", r)
			}
			if !r.Lease.IsZero() {
				s.Errorf("a record that nobody claims has a lease until %v", r.Lease)
			}
		}},
		{"what was not sent holds the entity until its owner comes back, and no longer", func(s *scene) {
			s.release(s.claim("a"), Release{RetryAfter: long})
			if i := s.inspect(); i.Held == nil || i.Held.Operation != "refund:1:a" {
				s.Errorf("held by %+v before the owner comes back", i.Held)
			}
			s.release(s.claim("a"), Release{RetryAfter: short})
			s.stayAway()
			if i := s.inspect(); i.Held != nil {
				s.Errorf("held by %+v after the owner should have come back", i.Held)
			}
		}},
		{"what fell into doubt holds the entity although another operation was granted later", func(s *scene) {
			s.done(s.claim("b", operation("refund:1:b")))
			doubt := s.claim("a")
			s.release(doubt, Release{Unknown: true, RetryAfter: short})
			s.overwrite("gate", "refund:1:b")
			if i := s.inspect(); i.Held == nil || i.Held.Operation != "refund:1:a" {
				s.Errorf("held by %+v, want refund:1:a", i.Held)
			}
		}},
		{"of two in doubt, the one that was granted last holds the entity", func(s *scene) {
			for _, key := range []string{"refund:1:a", "refund:1:b"} {
				s.release(s.claim("c-"+key, operation(key)), Release{Unknown: true, RetryAfter: short})
				s.overwrite("gate", "refund:1:x")
				s.stayAway()
				s.overwrite("open", "{}") // or the first would keep the second out
			}
			s.overwrite("gate", "refund:1:b")
			if i := s.inspect(); i.Held == nil || i.Held.Operation != "refund:1:b" {
				s.Errorf("held by %+v, want refund:1:b", i.Held)
			}
		}},
		{"neither what waits for its own retry nor what is parked holds the entity once another operation was granted", func(s *scene) {
			s.release(s.claim("a"), Release{RetryAfter: long})
			s.overwrite("gate", "refund:1:x")
			if i := s.inspect(); i.Held != nil {
				s.Errorf("held by %+v, want nobody", i.Held)
			}
			s.forget()
			s.parked(s.claim("a"), true)
			if i := s.inspect(); i.Held != nil {
				s.Errorf("held by %+v, which is parked", i.Held)
			}
			s.overwrite("gate", "refund:1:x")
			if i := s.inspect(); i.Held != nil {
				s.Errorf("held by %+v, which is parked", i.Held)
			}
		}},
		{"damage holds the entity where it is that of the operation that was granted last, and nowhere else", func(s *scene) {
			s.done(s.claim("a"))
			s.overwrite("op:refund:1:b", "{")
			if i := s.inspect(); i.Held != nil || len(i.Damaged) != 1 || strings.Contains(i.Damaged[0].Err.Error(), "version 0") {
				s.Errorf("held by %+v, damaged %+v, want one record that is no JSON, and nobody", i.Held, i.Damaged)
			}
			s.forget()
			s.overwrite("waiters", "[]")
			if i := s.inspect(); i.Held != nil || len(i.Damaged) != 1 {
				s.Errorf("held by %+v, damaged %+v, want the waiters damaged, and nobody", i.Held, i.Damaged)
			}
		}},
		{"a done operation shows its outcome and its effect", func(s *scene) {
			c := s.claim("a", sequence(7))
			s.settle(c, Settlement{State: StateDone, Effect: "42"})
			s.same(s.inspect().Owned, []Effect{{"refund:1:a", "42"}})
			s.same(s.only(), Record{
				Operation: "refund:1:a", Standing: StandingDone, Owner: me("a"), Fingerprint: "print", Answer: "fresh", Reason: ReasonNew,
				Calls: 1, Outcome: outcome(StateDone, c), Delivered: []uint64{7},
			})
			if i := s.inspect(); i.Held != nil {
				s.Errorf("a done operation holds the entity: %+v", i.Held)
			}
		}},
		{"refusals are listed, oldest first", func(s *scene) {
			a := s.claim("a", sequence(7))
			s.refused(a)
			b := s.claim("b", sequence(8))
			s.refused(b)
			s.same(s.only(), Record{
				Operation: "refund:1:a", Standing: StandingRefused, Owner: me("b"), Fingerprint: "print", Answer: "fresh", Reason: ReasonFreed,
				Calls: 1, Delivered: []uint64{7, 8},
				Refusals: []Answered{{Command: me("a"), Outcome: outcome(StateRefused, a)}, {Command: me("b"), Outcome: outcome(StateRefused, b)}},
			})
		}},
		{"a parked operation shows who was parked and that money may have moved", func(s *scene) {
			a := s.claim("a", sequence(7))
			s.parked(a, true)
			s.same(s.only(), Record{
				Operation: "refund:1:a", Standing: StandingParked, Owner: me("a"), Fingerprint: "print", Answer: "fresh", Reason: ReasonNew,
				Calls: 1, Doubt: true, Why: ReasonParkedUnknown, Delivered: []uint64{7},
				Parked: &Answered{Command: me("a"), Outcome: outcome(StateParked, a)},
			})
		}},
		{"commands that wait are listed in their order, until their place lapses", func(s *scene) {
			s.claim("a")
			s.claim("c", sequence(100), operation("refund:1:c"))
			s.claim("b", sequence(99), operation("refund:1:b"))
			lapsed := s.claim("d", sequence(98), operation("refund:1:d"), shortPlace)
			s.pass(lapsed.Now.Add(5 * short))
			i := s.inspect()
			for n := range i.Waiters {
				if !near(i.Waiters[n].Until, i.Now.Add(long)) {
					s.Errorf("sequence %d waits until %v", i.Waiters[n].Sequence, i.Waiters[n].Until)
				}
				i.Waiters[n].Until = time.Time{}
			}
			s.same(i.Waiters, []Waiter{{Sequence: 99, Operation: "refund:1:b"}, {Sequence: 100, Operation: "refund:1:c"}})
			if i.Records[1].Standing != StandingWaiting {
				s.Errorf("record %+v of a command that only waits", i.Records[1])
			}
		}},
		{"what is damaged is reported, and the others are shown", func(s *scene) {
			s.done(s.claim("a"))
			s.done(s.claim("b", operation("refund:1:b")))
			for field, text := range map[string]string{
				"op:refund:1:b": "{", "op:refund:1:c": `{"v":2,"st":"done"}`, "op:refund:1:d": `{"v":1,"st":"finished"}`,
				"waiters": `{"x":{}}`, "owned": "[]", "gate": "refund:1:b",
			} {
				s.overwrite(field, text)
			}
			i := s.inspect()
			if len(i.Records) != 1 || i.Records[0].Operation != "refund:1:a" {
				s.Errorf("records %+v, want that of refund:1:a", i.Records)
			}
			var damaged []string
			for _, d := range i.Damaged {
				damaged = append(damaged, d.Operation)
				if !errors.Is(d.Err, ErrRecord) {
					s.Errorf("%q: %v, want ErrRecord", d.Operation, d.Err)
				}
			}
			s.same(damaged, []string{"", "", "refund:1:b", "refund:1:c", "refund:1:d"})
			s.same(i.Held, &Hold{Operation: "refund:1:b"})
		}},
	})
}

func TestInspectionOfAnEntityThatCannotBe(t *testing.T) {
	t.Parallel()
	s := newScene(t, stores[0], false)
	for want, change := range map[string]func(*Entity){
		"Host is empty": func(e *Entity) { e.Host = "" }, "ChannelID is empty": func(e *Entity) { e.ChannelID = "" },
		"ID is empty": func(e *Entity) { e.ID = "" }, `Kind is "refund"`: func(e *Entity) { e.Kind = "refund" },
	} {
		entity := s.entity
		change(&entity)
		if _, err := s.guard.Inspect(s.ctx, entity); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

// noTime is a Redis that does not tell the time.
type noTime struct{}

func (noTime) DialHook(next redis.DialHook) redis.DialHook { return next }
func (noTime) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (noTime) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "time" {
			err := errors.New("no time")
			cmd.SetErr(err)
			return err
		}
		return next(ctx, cmd)
	}
}

func TestInspectionThatRedisDoesNotAnswerInFullIsAnError(t *testing.T) {
	t.Parallel()
	s := newScene(t, stores[0], false)
	_, key := entityKey(s.entity)
	if err := s.redis.Set(s.ctx, key, "not a hash", time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
	if i, err := s.guard.Inspect(s.ctx, s.entity); !errors.Is(err, ErrUnavailable) {
		t.Errorf("inspection %+v, error %v of an entity that is no hash, want ErrUnavailable", i, err)
	}
	s.forget()
	s.claim("a")
	s.redis.AddHook(noTime{})
	if i, err := s.guard.Inspect(s.ctx, s.entity); !errors.Is(err, ErrUnavailable) {
		t.Errorf("inspection %+v, error %v without the time, want ErrUnavailable", i, err)
	}
}

func TestInspectionWithoutRedisSaysSo(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() { _ = client.Close() })
	guard, err := New(Config{Redis: client, Retention: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := guard.Inspect(t.Context(), Entity{"h", "c", KindOrder, "o"}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("error %v, want ErrUnavailable", err)
	}
}
