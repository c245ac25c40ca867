package idempotency

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// remember looks at the memory, as a worker does at its start.
func (s *scene) remember() *Memory {
	s.Helper()
	m, err := s.guard.Remember(s.ctx, s.entity, time.Time{})
	if err != nil {
		s.Fatal(err)
	}
	return m
}

// anew begins another epoch: the records may be those of a snapshot.
func (s *scene) anew() {
	s.Helper()
	if _, err := s.guard.Remember(s.ctx, s.entity, time.Now().Add(time.Minute)); err != nil {
		s.Fatal(err)
	}
}

func (s *scene) trust(m *Memory) {
	s.Helper()
	if err := s.guard.Trust(s.ctx, s.entity, m); err != nil {
		s.Fatal(err)
	}
}

func with(m *Memory) func(*ClaimRequest) { return func(r *ClaimRequest) { r.Memory = m } }

func sibling(r *ClaimRequest) { r.Sibling = true }

// ownMemory is a scene that may lose its memory without harm to others.
func ownMemory(t *testing.T) *scene {
	t.Helper()
	m := miniredis.RunT(t)
	return newScene(t, store{"own", func() (redis.UniversalOptions, error) {
		return redis.UniversalOptions{Addrs: []string{m.Addr()}}, nil
	}}, false)
}

func lost(s *scene, err error) {
	s.Helper()
	if !errors.Is(err, ErrLost) {
		s.Errorf("error %v, want that the claim is lost", err)
	}
}

func TestQuarantine(t *testing.T) {
	t.Parallel()
	for name, act := range map[string]func(*scene){
		"a memory that is new is not believed before it is trusted": func(s *scene) {
			m := s.remember()
			if m.Trusted || !m.From.Before(time.Now().Add(-50*time.Minute)) {
				t.Errorf("trusted %v, from %v, want all of the hour that records are kept", m.Trusted, m.From)
			}
			s.trust(m)
			if m = s.remember(); !m.Trusted || time.Since(m.From) > time.Minute {
				t.Errorf("trusted %v, from %v", m.Trusted, m.From)
			}
		},
		"in quarantine a command without a past is fresh": func(s *scene) {
			s.want(s.claim("A", with(s.remember())), Fresh, ReasonNew)
		},
		"in quarantine a command that was delivered before is in doubt, though its record says that it only waited": func(s *scene) {
			x := s.claim("X", operation(confirm))
			a := s.want(s.claim("A"), Busy, "held by confirm:1").request
			s.done(x)
			s.anew()
			s.want(s.claim("A", with(s.remember()), redelivered, sequence(a.Sequence)), InDoubt, ReasonQuarantine)
		},
		"a record that began in the quarantine is believed": func(s *scene) {
			m := s.remember()
			x := s.claim("X", operation(confirm))
			a := s.want(s.claim("A", with(m)), Busy, "held by confirm:1").request
			s.done(x)
			s.want(s.claim("A", with(m), redelivered, sequence(a.Sequence)), Fresh, ReasonNew)
		},
		"in quarantine a replay is in doubt, though its record says that it was refused": func(s *scene) {
			s.refused(s.claim("A"))
			s.anew()
			s.want(s.claim("A", with(s.remember()), replay(3)), InDoubt, ReasonQuarantine)
		},
		"in quarantine a command with a sibling is in doubt": func(s *scene) {
			c := s.want(s.claim("A", with(s.remember()), sibling), InDoubt, ReasonQuarantine)
			// What may have been called before is over as soon as a call of the time before would be.
			if until := c.MaySendUntil.Sub(c.Now); until > long || until < long-time.Minute {
				t.Errorf("may send for %v more, want %v at most", until, long)
			}
		},
		"a claimant that has not made up for the epoch gets no answer, not even one from what is left": func(s *scene) {
			m := s.remember()
			s.trust(m)
			s.done(s.claim("A"))
			s.anew()
			if _, err := s.guard.Claim(s.ctx, s.request("A", with(m))); !errors.Is(err, ErrForgotten) {
				s.Errorf("error %v", err)
			}
			s.want(s.claim("A", with(s.remember())), Done, ReasonSettled)
		},
		"a claimant that has seen no memory yet is in doubt": func(s *scene) {
			s.remember()
			s.want(s.claim("A", with(&Memory{})), Fresh, ReasonNew) // it does not look at epochs
		},
		"doubt that quarantine raised ends with it": func(s *scene) {
			m := s.remember()
			s.release(s.want(s.claim("A", with(m), sibling, sequence(7)), InDoubt, ReasonQuarantine), Release{})
			s.trust(m)
			s.stayAway()
			s.want(s.claim("A", with(m), sibling, sequence(7)), Fresh, ReasonNotSent)
		},
		"doubt about a call outlasts the quarantine": func(s *scene) {
			m := s.remember()
			c := s.want(s.claim("A", with(m), sibling, sequence(7)), InDoubt, ReasonQuarantine)
			s.release(c, Release{Unknown: true})
			s.trust(m)
			s.stayAway()
			s.want(s.claim("A", with(m), sequence(7)), InDoubt, ReasonUnknown)
		},
		"a lost claim leaves a doubt that outlasts the quarantine": func(s *scene) {
			c := s.claim("A", sequence(7))
			s.redis.FlushAll(s.ctx)
			m := s.remember()
			s.release(s.want(s.claim("B", with(m), sibling, sequence(8)), InDoubt, ReasonQuarantine), Release{})
			lost(s, s.guard.Release(s.ctx, c, Release{Unknown: true}))
			s.trust(m)
			s.stayAway()
			s.want(s.claim("B", with(m), sequence(8)), InDoubt, ReasonUnknown)
		},
		"a proof that nothing happened counts once for a quarantine": func(s *scene) {
			m := s.remember()
			c := s.want(s.claim("A", with(m), sibling, sequence(7)), InDoubt, ReasonQuarantine)
			s.extend(c, Extension{Proven: true})
			s.release(c, Release{})
			s.stayAway()
			s.want(s.claim("A", with(m), sibling, redelivered, sequence(7)), Fresh, ReasonNotSent)
		},
		"a call that was forgotten may be under way though the record left knows an older one only": func(s *scene) {
			m := s.remember()
			s.trust(m)
			s.lapse("A", with(m), sequence(7))
			s.anew()
			c := s.want(s.claim("A", with(s.remember()), redelivered, sequence(7)), InDoubt, ReasonLapsed)
			if until := c.MaySendUntil.Sub(c.Now); until < long-time.Minute {
				s.Errorf("may send for %v more, want %v", until, long)
			}
		},
		"a merchant that is away when memory is lost twice misses all of it": func(s *scene) {
			other := s.entity
			other.ChannelID = "other"
			s.trust(s.remember())
			s.anew()
			m, err := s.guard.Remember(s.ctx, other, time.Time{})
			if err != nil || time.Since(m.From) < 50*time.Minute {
				s.Errorf("records missing since %v (%v)", m.From, err)
			}
		},
		"another merchant's quarantine goes on": func(s *scene) {
			s.trust(s.remember())
			s.entity.ChannelID = "other"
			if m := s.remember(); m.Trusted {
				t.Error("trusted")
			}
		},
		"what has been forgotten again is not trusted": func(s *scene) {
			m := s.remember()
			s.redis.FlushAll(s.ctx)
			if s.remember().Same(m) {
				t.Error("the same memory")
			}
			lost(s, s.guard.Trust(s.ctx, s.entity, m))
		},
		"a memory that does not reach to the last event is not believed": func(s *scene) {
			m := s.remember()
			s.trust(m)
			for ahead, want := range map[time.Duration]bool{-time.Minute: true, time.Minute: false} {
				now, err := s.guard.Remember(s.ctx, s.entity, time.Now().Add(ahead))
				if err != nil || now.Trusted != want || now.Same(m) != want {
					t.Errorf("events of %v from now: trusted %v (%v)", ahead, now.Trusted, err)
				}
				s.trust(now)
				m = now
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			act(ownMemory(t))
		})
	}
}

// A server is known by its replication id, which a restart and a promotion change.
func TestServerThatIsAnotherOneIsNotBelieved(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		act  func(*scene)
		want bool
	}{
		"the same server": {func(*scene) {}, true},
		"another": {func(s *scene) {
			for bucket := range buckets {
				s.redis.HSet(s.ctx, epochKey(bucket), "repl", "of another server")
			}
		}, false},
		"one that did not tell before": {func(s *scene) {
			for bucket := range buckets {
				s.redis.HDel(s.ctx, epochKey(bucket), "repl")
			}
		}, false},
		"one that has nothing at all": {func(s *scene) { s.redis.FlushAll(s.ctx) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := ownServer(t)
			connect(s)
			m := s.remember()
			s.trust(m)
			c.act(s)
			for range 2 { // the second connection to a server changes nothing
				connect(s)
				now := s.remember()
				if now.Trusted != c.want || now.Same(m) != c.want {
					t.Errorf("trusted %v", now.Trusted)
				}
				s.trust(now)
				m, c.want = now, true
			}
		})
	}
}

func connect(s *scene) {
	s.Helper()
	client, isClient := s.redis.(*redis.Client)
	if !isClient {
		s.Fatal("one server is needed")
	}
	conn := client.Conn()
	defer conn.Close()
	if err := OnConnect(s.ctx, conn); err != nil {
		s.Fatal(err)
	}
}

// Records that were missing when one quarantine began are missing still when another one does.
func TestQuarantineReachesBackToTheFirstLoss(t *testing.T) {
	t.Parallel()
	s, _ := ownServer(t)
	m := s.remember()
	s.trust(m)
	first, err := s.guard.Remember(s.ctx, s.entity, time.Now().Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.guard.Remember(s.ctx, s.entity, time.Now().Add(time.Hour))
	if err != nil || !second.From.Equal(first.From) || second.Same(first) {
		t.Errorf("from %v, then %v (%v)", first.From, second.From, err)
	}
	s.trust(second)
	third, err := s.guard.Remember(s.ctx, s.entity, time.Now().Add(time.Hour))
	if err != nil || !third.From.After(first.From) {
		t.Errorf("from %v after all was made up for, and %v before (%v)", third.From, first.From, err)
	}
}

// Keys of long ago in the place of newer ones, under the same server: nothing but the guard's own last visit tells.
func TestMemoryThatGoesBackwardsUnderALivingServerIsNotBelieved(t *testing.T) {
	t.Parallel()
	for name, look := range map[string]func(*scene, *Memory) error{
		"a claim": func(s *scene, m *Memory) error {
			_, err := s.guard.Claim(s.ctx, s.request("B", with(m)))
			return err
		},
		"a look": func(s *scene, m *Memory) error {
			now, err := s.guard.Remember(s.ctx, s.entity, time.Time{})
			if err == nil && !now.Same(m) && !now.Trusted {
				return ErrForgotten
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, pass := clockScene(t)
			m := s.remember()
			s.trust(m)
			bucket, key := entityKey(s.entity)
			was := s.everything()
			pass(time.Minute)
			s.claim("A", with(m))
			if err := look(s, m); err != nil {
				t.Fatalf("a memory that has lost nothing: %v", err)
			}
			pass(time.Minute)
			s.redis.Del(s.ctx, key)
			for field, value := range was[1] {
				s.redis.HSet(s.ctx, epochKey(bucket), field, value)
			}
			s.redis.HSet(s.ctx, epochKey(bucket), "alive", s.clock(s.ctx).Add(-2*time.Minute).UnixMilli())
			if err := look(s, m); !errors.Is(err, ErrForgotten) {
				t.Errorf("error %v, want %v", err, ErrForgotten)
			}
		})
	}
}

func TestServerThatDoesNotTellIsNoWitness(t *testing.T) {
	t.Parallel()
	if id := replicationField("# Replication\r\nrole:master\r\nmaster_replid:0123\r\nmaster_replid2:0000\r\n", "master_replid"); id != "0123" {
		t.Errorf("replication id %q", id)
	}
	if id := replicationField("role:master\r\n", "master_replid"); id != "" {
		t.Errorf("replication id %q", id)
	}
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, DialerRetries: 1})
	defer client.Close()
	conn := client.Conn()
	defer conn.Close()
	if err := OnConnect(context.Background(), conn); !errors.Is(err, ErrUnavailable) {
		t.Errorf("error %v of a server that is away", err)
	}
}

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
