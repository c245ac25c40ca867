package idempotency

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// intercept stands in for Redis where instead says so, by answering a command or refusing it. It counts the scripts that are sent alone.
type intercept struct {
	scripts atomic.Int64
	instead func(name string) (answer []any, err error, does bool)
}

func (i *intercept) DialHook(next redis.DialHook) redis.DialHook { return next }

func (i *intercept) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) (err error) {
		var others []redis.Cmder
		for _, cmd := range cmds {
			if !i.answers(cmd) {
				others = append(others, cmd)
			} else if err == nil {
				err = cmd.Err()
			}
		}
		if len(others) == 0 {
			return err
		}
		return cmp.Or(err, next(ctx, others))
	}
}

func (i *intercept) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "evalsha" || cmd.Name() == "eval" {
			i.scripts.Add(1)
		}
		if i.answers(cmd) {
			return cmd.Err()
		}
		return next(ctx, cmd)
	}
}

// answers does what instead says, if anything.
func (i *intercept) answers(cmd redis.Cmder) bool {
	if i.instead == nil {
		return false
	}
	answer, err, does := i.instead(cmd.Name())
	switch c := cmd.(type) {
	case *redis.Cmd:
		if does && err == nil {
			c.SetVal(answer)
		}
	case *redis.StringCmd:
		if does && err == nil {
			c.SetVal(fmt.Sprint(answer...))
		}
	}
	if does && err != nil {
		cmd.SetErr(err)
	}
	return does
}

// refusal is an error that Redis answered.
type refusal string

func (r refusal) Error() string { return string(r) }

// RedisError marks it as Redis' own word.
func (r refusal) RedisError() {}

// intercepted is a scene whose Redis can be stood in for, with a guard that waits for replicas and one that does not.
func intercepted(t *testing.T) (s *scene, i *intercept, guards map[string]*Guard) {
	t.Helper()
	s, _ = ownServer(t) // on which nobody else flushes the scripts
	i = &intercept{}
	s.release(s.claim("warm up"), Release{}) // the connection is set up and the scripts known
	s.forget()
	s.redis.AddHook(i)
	return s, i, map[string]*Guard{
		"without replicas": s.newGuard(Config{}),
		"with replicas":    s.newGuard(Config{WaitReplicas: 1, WaitTimeout: time.Millisecond}),
	}
}

// wantScripts demands how many scripts were asked for since the last time.
func (i *intercept) wantScripts(t *testing.T, what string, want int64) {
	t.Helper()
	if n := i.scripts.Swap(0); n != want {
		t.Errorf("%s: %d scripts were sent, want %d", what, n, want)
	}
}

var errCut = errors.New("the connection was cut")

func TestAScriptIsSentAgainOnlyWhereItsAnswerWasLost(t *testing.T) {
	t.Parallel()
	s, i, guards := intercepted(t)
	for name, g := range guards {
		i.scripts.Store(0)
		i.instead = nil
		s.want(s.claimOf(g, "P", redelivered, operation("refund:1:"+name)), InDoubt, ReasonForgotten)
		i.wantScripts(t, name+", answered", 1)

		i.instead = func(command string) ([]any, error, bool) { return nil, errCut, command == "evalsha" }
		if _, err := g.Claim(s.ctx, s.request("A")); !errors.Is(err, errCut) || !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: error %v", name, err)
		}
		i.wantScripts(t, name+", lost", 2)

		ctx, cancel := context.WithCancel(s.ctx)
		i.instead = func(command string) ([]any, error, bool) { cancel(); return nil, errCut, command == "evalsha" }
		_, err := g.Claim(ctx, s.request("A"))
		if !errors.Is(err, ErrUnavailable) || !errors.Is(err, errCut) && !errors.Is(err, context.Canceled) { // which of them comes first is open
			t.Errorf("%s: error %v", name, err)
		}
		i.wantScripts(t, name+", lost as the context ended", 1)

		i.instead = nil
		_, key := entityKey(s.entity)
		s.redis.Set(s.ctx, key, "no hash", 0)
		if _, err := g.Claim(s.ctx, s.request("A")); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "WRONGTYPE") {
			t.Errorf("%s: error %v", name, err)
		}
		i.wantScripts(t, name+", refused by Redis", 1)
		s.forget()
	}
}

func TestAWaitThatFailsIsToldAndTheScriptIsNotRepeated(t *testing.T) {
	t.Parallel()
	s, i, guards := intercepted(t)
	i.instead = func(command string) ([]any, error, bool) { return nil, errCut, command == "wait" }
	_, err := guards["with replicas"].Claim(s.ctx, s.request("A"))
	if !errors.Is(err, errCut) || !errors.Is(err, ErrReplicas) || !errors.Is(err, ErrUnavailable) {
		t.Errorf("error %v", err)
	}
	i.wantScripts(t, "claim and release", 2)
	s.want(s.claim("A"), Fresh, ReasonNotSent)
}

func TestAnExtensionOfALostClaimWaitsForNoReplica(t *testing.T) {
	t.Parallel()
	s, _, guards := intercepted(t)
	old := s.lapse("A")
	s.want(s.claim("B"), InDoubt, ReasonLapsed)
	err := guards["with replicas"].Extend(s.ctx, old, Extension{CallFor: short, Lease: long})
	if !errors.Is(err, ErrLost) || errors.Is(err, ErrReplicas) {
		t.Errorf("error %v, want ErrLost alone", err)
	}
}

func TestAnswersThatCannotBeReadGrantNothing(t *testing.T) {
	t.Parallel()
	fields := func(n int, change ...string) (all []any) {
		for range n {
			all = append(all, "0")
		}
		for i, text := range change {
			all[i] = text
		}
		return all
	}
	s, i, guards := intercepted(t)
	claim := s.claim("A")
	for name, g := range guards {
		for what, answer := range map[string][]any{
			"nothing":         fields(0),
			"too few fields":  fields(claimFields-1, "busy"),
			"no number":       fields(claimFields, "busy", "", "tomorrow"),
			"no known answer": fields(claimFields, "perhaps"),
		} {
			i.instead = func(command string) ([]any, error, bool) { return answer, nil, command == "evalsha" }
			if c, err := g.Claim(s.ctx, s.request("B")); !errors.Is(err, ErrRecord) || c != nil {
				t.Errorf("%s, a claim answered with %s: %+v, %v", name, what, c, err)
			}
			if c, err := g.Foresee(s.ctx, s.request("B")); !errors.Is(err, ErrRecord) || c != nil {
				t.Errorf("%s, a foreseen claim answered with %s: %+v, %v", name, what, c, err)
			}
		}
		for what, answer := range map[string][]any{
			"nothing":         fields(0),
			"too few fields":  fields(5, "ok"),
			"too many fields": fields(7, "ok"),
			"no number":       fields(6, "ok", "tomorrow"),
		} {
			before := *claim
			i.instead = func(command string) ([]any, error, bool) { return answer, nil, command == "evalsha" }
			err := g.Extend(s.ctx, claim, Extension{Lease: long, Snapshot: []byte("[1]")})
			if !errors.Is(err, ErrRecord) || claim.Snapshot != nil || claim.Until != before.Until {
				t.Errorf("%s, an extension answered with %s: %v", name, what, err)
			}
		}
		for what, answer := range map[string][]any{
			"nothing":         fields(0),
			"too few fields":  fields(3, "epoch"),
			"too many fields": fields(5, "epoch"),
			"no number":       fields(4, "epoch", "tomorrow"),
		} {
			i.instead = func(command string) ([]any, error, bool) { return answer, nil, command == "evalsha" }
			if m, err := g.Remember(s.ctx, s.entity, time.Time{}); !errors.Is(err, ErrRecord) || m != nil {
				t.Errorf("%s, a look at the memory answered with %s: %+v, %v", name, what, m, err)
			}
		}
	}
}

// heldUp keeps scripts from Redis until it is let go, and tells of the first that comes.
type heldUp struct {
	come, letGo chan struct{}
	once        sync.Once
}

func (h *heldUp) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *heldUp) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h *heldUp) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "evalsha" {
			h.once.Do(func() { close(h.come) })
			<-h.letGo
		}
		return next(ctx, cmd)
	}
}

func TestWhoseContextEndsWaitsNoLongerAndWhatItsScriptDidStands(t *testing.T) {
	t.Parallel()
	s, _ := ownServer(t)
	s.claim("warm up", operation("refund:1:warm"))
	s.forget()
	h := &heldUp{come: make(chan struct{}), letGo: make(chan struct{})}
	s.redis.AddHook(h)
	ctx, cancel := context.WithCancel(s.ctx)
	go func() { <-h.come; cancel() }()
	if c, err := s.guard.Claim(ctx, s.request("A", lapsing)); !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("claim %+v, error %v", c, err)
	}
	if c, err := s.guard.Claim(ctx, s.request("B")); !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("claim %+v, error %v", c, err)
	}
	close(h.letGo)
	s.guard.scripts.EvalSha(s.ctx, claimScript.sha, nil) // whose turn comes after it
	s.stayAway()
	s.want(s.claim("A"), InDoubt, ReasonLapsed)
}
