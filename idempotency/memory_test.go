package idempotency

import (
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
		"a parking without money moved leaves no doubt beyond the quarantine": func(s *scene) {
			m := s.remember()
			s.release(s.want(s.claim("A", with(m), sibling), InDoubt, ReasonQuarantine), Release{})
			s.restore("A", Restoration{State: StateParked})
			s.trust(m)
			s.want(s.claim("B", with(m)), Fresh, ReasonNotSent)
		},
		"a parking with unknown outcome leaves one that outlasts it": func(s *scene) {
			m := s.remember()
			s.release(s.want(s.claim("A", with(m), sibling), InDoubt, ReasonQuarantine), Release{})
			s.restore("A", Restoration{State: StateParked, MoneyUnknown: true})
			s.trust(m)
			s.want(s.claim("B", with(m)), InDoubt, ReasonParkedUnknown)
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
		"one bucket in quarantine is enough for the memory not to be trusted": func(s *scene) {
			s.trust(s.remember())
			for _, bucket := range []int{0, 7, buckets - 1} {
				s.redis.Del(s.ctx, epochKey(bucket))
				m := s.remember()
				if m.Trusted {
					t.Errorf("the records of bucket %d are gone, and nobody makes up for them", bucket)
				}
				s.trust(m)
			}
		},
		"a claimant that does not look at epochs ends no doubt that a quarantine has raised": func(s *scene) {
			s.release(s.want(s.claim("A", with(s.remember()), sibling, sequence(7)), InDoubt, ReasonQuarantine), Release{})
			s.stayAway()
			s.want(s.claim("A", sequence(7)), InDoubt, ReasonQuarantine)
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
	if time.Since(first.From) > time.Minute {
		t.Errorf("from %v: all events since then are read again, though a worker was here a moment ago and nothing was missing", first.From)
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

// The call of a forgotten claim and one that was made since the loss may both be under way: "it did not happen" waits for the later one.
func TestALookUpInQuarantineWaitsForTheLatestCall(t *testing.T) {
	t.Parallel()
	s, pass := clockScene(t)
	m := s.remember()
	c := s.want(s.claim("A", with(m), sequence(7)), Fresh, ReasonNew)
	pass(10 * time.Minute)
	s.release(c, Release{Unknown: true})
	pass(time.Minute)
	c = s.want(s.claim("A", with(m), sequence(7), func(r *ClaimRequest) { r.CallFor = time.Minute }), InDoubt, ReasonUnknown)
	if want := c.Now.Add(-time.Minute); !c.MaySendUntil.Equal(want) {
		t.Errorf("may send until %v, want %v", c.MaySendUntil, want)
	}
}

// Claims wait while the buckets' epochs are looked at: sixteen questions are one round trip.
func TestAllBucketsAreAskedInOneGo(t *testing.T) {
	t.Parallel()
	s, i, _ := intercepted(t)
	i.scripts.Store(0)
	s.remember()
	i.wantScripts(t, "a server that does not have the script yet", buckets+1)
	s.remember()
	i.wantScripts(t, "one that has it", 0)
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

// Two answers may change places on the way: a guard that took back when it was at a bucket would believe a memory that ends in between.
func TestAnAnswerThatArrivesLateTakesNothingBack(t *testing.T) {
	t.Parallel()
	s := newScene(t, stores[2], false)
	for _, now := range []int64{10, 30, 20} {
		s.guard.wasAt(3, now)
	}
	if reach := s.guard.reach(3, 0); reach != 30 {
		t.Errorf("the guard was there at 30, and asks for a memory up to %d", reach)
	}
	if reach := s.guard.reach(3, 40); reach != 40 {
		t.Errorf("an event of 40 is known, and the guard asks for a memory up to %d", reach)
	}
	if reach := s.guard.reach(4, 0); reach != 0 {
		t.Errorf("the guard was never at the bucket, and asks for a memory up to %d", reach)
	}
}
