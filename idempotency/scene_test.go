package idempotency

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// behaviour is one sentence about the guard, held against every kind of Redis, with each script reaching it once and twice.
type behaviour struct {
	sentence string
	holds    func(s *scene)
}

func hold(t *testing.T, behaviours []behaviour) {
	t.Helper()
	for _, st := range stores {
		for _, mode := range []string{"once", "twice"} {
			t.Run(st.name+"/"+mode, func(t *testing.T) {
				t.Parallel()
				for _, b := range behaviours {
					t.Run(strings.ReplaceAll(b.sentence, " ", "_"), func(t *testing.T) {
						t.Parallel()
						b.holds(newScene(t, st, mode == "twice"))
					})
				}
			})
		}
	}
}

// scene is one entity and a guard to ask about it.
type scene struct {
	testing.TB
	ctx    context.Context
	redis  redis.UniversalClient
	guard  *Guard
	entity Entity
	next   uint64 // stream sequence of the next command
}

var entities atomic.Uint64

const (
	short = time.Millisecond
	long  = time.Hour
)

func newScene(t testing.TB, st store, twice bool) *scene {
	t.Helper()
	client := st.connect(t)
	if twice {
		client.AddHook(echo{t, nil})
	}
	s := &scene{TB: t, ctx: t.Context(), redis: client, next: 10}
	s.entity = Entity{
		Host: "api.example", ChannelID: "1234567890", Kind: KindTransaction,
		ID: t.Name() + strconv.FormatUint(entities.Add(1), 10),
	}
	s.guard = s.newGuard(Config{})
	return s
}

// newGuard is another worker: a guard without memory of its own. Its grace is a millisecond; see TestOwnerIsGivenGraceToComeBack.
func (s *scene) newGuard(config Config) *Guard {
	s.Helper()
	config.Redis = s.redis
	if config.Retention == 0 {
		config.Retention = time.Hour
	}
	g, err := New(config)
	if err != nil {
		s.Fatal(err)
	}
	g.grace = short
	return g
}

// echo lets every script reach Redis twice, and holds the two answers against each other.
type echo struct {
	t  testing.TB
	on *bool // nil is always on
}

func (e echo) DialHook(next redis.DialHook) redis.DialHook { return next }

func (e echo) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			if cmd.Name() != "evalsha" && cmd.Name() != "eval" || e.on != nil && !*e.on {
				return next(ctx, cmds)
			}
		}
		first := make([]redis.Cmder, len(cmds))
		for i, cmd := range cmds {
			first[i] = redis.NewCmd(ctx, cmd.Args()...)
			first[i].SetFirstKeyPos(3)
		}
		firstErr := next(ctx, first)
		err := next(ctx, cmds)
		if firstErr != nil || err != nil {
			return err
		}
		for i := range cmds {
			e.compare(first[i], cmds[i])
		}
		return nil
	}
}

func (e echo) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if name := cmd.Name(); name != "evalsha" && name != "eval" || e.on != nil && !*e.on {
			return next(ctx, cmd)
		}
		first := redis.NewCmd(ctx, cmd.Args()...)
		firstErr := next(ctx, first)
		err := next(ctx, cmd)
		if firstErr != nil || err != nil {
			return err
		}
		e.compare(first, cmd)
		return nil
	}
}

func (e echo) compare(first, second redis.Cmder) {
	one, _ := first.(*redis.Cmd).StringSlice()
	two, _ := second.(*redis.Cmd).StringSlice()
	if !slices.Equal(timeless(one), timeless(two)) {
		e.t.Errorf("a script that ran twice answered\n%q, then\n%q", one, two)
	}
}

// timeless leaves out Redis' clock and what is counted from it.
func timeless(answer []string) []string {
	answer = slices.Clone(answer)
	for i, field := range answer {
		if len(field) == 13 && strings.Trim(field, "0123456789") == "" {
			answer[i] = "time"
		}
	}
	return answer
}

// request is a claim by the named command; each new name comes later in the stream.
func (s *scene) request(command string, change ...func(*ClaimRequest)) ClaimRequest {
	s.next++
	r := ClaimRequest{
		Entity: s.entity, Operation: "refund:1:a", Command: Command{Source: "/checkout", ID: command}, Fingerprint: "print",
		Sequence: s.next, CallFor: long, Lease: 2 * long, Place: long,
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

func (s *scene) claim(command string, change ...func(*ClaimRequest)) *Claim {
	s.Helper()
	return s.claimOf(s.guard, command, change...)
}

func (s *scene) claimOf(g *Guard, command string, change ...func(*ClaimRequest)) *Claim {
	s.Helper()
	c, err := g.Claim(s.ctx, s.request(command, change...))
	if err != nil {
		s.Fatalf("claim by %s: %v", command, err)
	}
	return c
}

func operation(key string) func(*ClaimRequest) { return func(r *ClaimRequest) { r.Operation = key } }

func print(fp string) func(*ClaimRequest)   { return func(r *ClaimRequest) { r.Fingerprint = fp } }
func sequence(n uint64) func(*ClaimRequest) { return func(r *ClaimRequest) { r.Sequence = n } }
func replay(n uint64) func(*ClaimRequest)   { return func(r *ClaimRequest) { r.Replay = n } }
func redelivered(r *ClaimRequest)           { r.Redelivered = true }
func probe(r *ClaimRequest)                 { r.Probe = true }
func bareProbe(r *ClaimRequest)             { r.Probe, r.Fingerprint, r.CallFor, r.Place = true, "", 0, 0 }
func lapsing(r *ClaimRequest)               { r.CallFor, r.Lease = short, 2*short }
func lapsing0(r *ClaimRequest)              { r.Lease = short }
func shortPlace(r *ClaimRequest)            { r.Place = short }

// want holds an answer and its reason against what is expected, and hands the claim on.
func (s *scene) want(c *Claim, answer Answer, reason string) *Claim {
	s.Helper()
	if c.Answer != answer || c.Reason != reason {
		s.Fatalf("answer %v (%s), want %v (%s)", c.Answer, c.Reason, answer, reason)
	}
	if granted := answer == Fresh && !c.request.Probe || answer == InDoubt; granted != c.Granted() {
		s.Fatalf("granted %v, want %v", c.Granted(), granted)
	}
	return c
}

func (s *scene) extend(c *Claim, e Extension) *Claim {
	s.Helper()
	if e.Lease == 0 {
		e.Lease = 3 * long
	}
	if err := s.guard.Extend(s.ctx, c, e); err != nil {
		s.Fatal(err)
	}
	return c
}

func (s *scene) settle(c *Claim, settlement Settlement) {
	s.Helper()
	if settlement.Outcome == nil {
		settlement.Outcome = outcome(settlement.State, c)
	}
	if err := s.guard.Settle(s.ctx, c, settlement); err != nil {
		s.Fatal(err)
	}
}

func outcome(state State, c *Claim) []byte {
	return fmt.Appendf(nil, `{"state":"%v","path":"a/b","text":"\"<ü\u0007 ","by":"%s"}`, state, c.request.Command.ID)
}

func (s *scene) done(c *Claim)    { s.Helper(); s.settle(c, Settlement{State: StateDone}) }
func (s *scene) refused(c *Claim) { s.Helper(); s.settle(c, Settlement{State: StateRefused}) }
func (s *scene) parked(c *Claim, unknown bool) {
	s.Helper()
	s.settle(c, Settlement{State: StateParked, MoneyUnknown: unknown})
}

func (s *scene) release(c *Claim, r Release) {
	s.Helper()
	if err := s.guard.Release(s.ctx, c, r); err != nil {
		s.Fatal(err)
	}
}

// pass waits until Redis' clock is past a time.
func (s *scene) pass(at time.Time) {
	s.Helper()
	err := until(func(ctx context.Context) error {
		if now := s.clock(ctx); !now.After(at.Add(short)) {
			return fmt.Errorf("it is %v, before %v", now, at)
		}
		return nil
	})
	if err != nil {
		s.Fatal(err)
	}
}

// stayAway lets short leases, places and retry times, with their grace, pass from now.
func (s *scene) stayAway() {
	s.Helper()
	s.pass(s.clock(s.ctx).Add(5 * short))
}

// clock is that of the server that has the entity.
func (s *scene) clock(ctx context.Context) time.Time {
	s.Helper()
	var server interface {
		Time(ctx context.Context) *redis.TimeCmd
	} = s.redis
	if cluster, ok := s.redis.(*redis.ClusterClient); ok {
		bucket, _ := entityKey(s.entity)
		node, err := cluster.MasterForKey(ctx, epochKey(bucket))
		if err != nil {
			s.Fatal(err)
		}
		server = node
	}
	now, err := server.Time(ctx).Result()
	if err != nil {
		s.Fatal(err)
	}
	return now
}

// near compares times counted from two readings of Redis' clock, as they are when a script runs twice.
func near(a, b time.Time) bool { return a.Sub(b).Abs() < 10*time.Second }

// lapse takes a claim whose lease is over.
func (s *scene) lapse(command string, change ...func(*ClaimRequest)) *Claim {
	s.Helper()
	c := s.claim(command, append(change, lapsing)...)
	s.pass(c.Until)
	return c
}

// forget is Redis losing the entity.
func (s *scene) forget() {
	s.Helper()
	_, key := entityKey(s.entity)
	if err := s.redis.Del(s.ctx, key).Err(); err != nil {
		s.Fatal(err)
	}
}

// lives says how long the entity has to live; -1 for ever, -2 if there is none.
func (s *scene) lives() time.Duration {
	s.Helper()
	_, key := entityKey(s.entity)
	ttl, err := s.redis.PTTL(s.ctx, key).Result()
	if err != nil {
		s.Fatal(err)
	}
	return ttl
}
