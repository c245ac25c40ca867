package idempotency

import (
	"context"
	"crypto/sha1" // Redis names scripts by their SHA-1
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed record.lua
var recordLua string

//go:embed claim.lua
var claimLua string

//go:embed extend.lua
var extendLua string

//go:embed settle.lua
var settleLua string

//go:embed release.lua
var releaseLua string

//go:embed pass.lua
var passLua string

//go:embed beat.lua
var beatLua string

//go:embed trust.lua
var trustLua string

//go:embed connect.lua
var connectLua string

//go:embed restore.lua
var restoreLua string

var (
	claimScript   = newScript("claim", claimLua)
	foreseeScript = newScript("foresee", "looking = true\n"+claimLua)
	extendScript  = newScript("extend", extendLua)
	settleScript  = newScript("settle", settleLua)
	releaseScript = newScript("release", releaseLua)
	passScript    = newScript("pass", passLua)
	beatScript    = newScript("beat", beatLua)
	trustScript   = newScript("trust", trustLua)
	connectScript = newScript("connect", connectLua)
	restoreScript = newScript("restore", restoreLua)
)

// script is one Lua script as Redis knows it.
type script struct{ name, text, sha string }

func newScript(name, text string) script {
	text = recordLua + "\n" + text
	sum := sha1.Sum([]byte(text))
	return script{name: name, text: text, sha: hex.EncodeToString(sum[:])}
}

// evaluator is a client, a cluster client or one held connection.
type evaluator interface {
	EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd
	Eval(ctx context.Context, text string, keys []string, args ...any) *redis.Cmd
}

// evaluate runs a script by its name, and with its text where the server does not have it: after a restart, a failover, SCRIPT FLUSH, or on
// a cluster node that has never seen it.
func evaluate(ctx context.Context, on evaluator, s script, keys []string, args []any) ([]string, error) {
	answer, err := on.EvalSha(ctx, s.sha, keys, args...).StringSlice()
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		answer, err = on.Eval(ctx, s.text, keys, args...).StringSlice()
	}
	return answer, err
}

// run evaluates a script and repeats it once if its answer was lost on the way: all scripts recognise their caller's token. An answer that
// Redis did give, even an error, is not asked for again.
func run(ctx context.Context, on evaluator, s script, keys []string, args []any) ([]string, error) {
	answer, err := evaluate(ctx, on, s, keys, args)
	if lostAnswer(ctx, err) {
		answer, err = evaluate(ctx, on, s, keys, args)
	}
	return read(s, answer, err)
}

func lostAnswer(ctx context.Context, err error) bool {
	var reply redis.Error
	return err != nil && !errors.As(err, &reply) && ctx.Err() == nil
}

// read turns what all scripts have in common into errors.
func read(s script, answer []string, err error) ([]string, error) {
	switch {
	case err != nil:
		return nil, unavailable(s.name, err)
	case len(answer) == 0:
		return nil, fmt.Errorf("%s: %w: empty answer", s.name, ErrRecord)
	case answer[0] == "damaged":
		return nil, fmt.Errorf("%s: %w", s.name, ErrRecord)
	case answer[0] == "lost":
		return nil, fmt.Errorf("%s: %w", s.name, ErrLost)
	case answer[0] == "forgotten":
		return nil, fmt.Errorf("%s: %w", s.name, ErrForgotten)
	}
	return answer, nil
}

func unavailable(what string, err error) error {
	return fmt.Errorf("%s: %w: %w", what, ErrUnavailable, err)
}

// runReplicated is run for what may lead to a call: where intends(answer), it waits until enough replicas have it, on the connection that
// wrote it. WAIT asks about the connection's own last write; on any other connection it would count replicas that have nothing. The answer
// is returned beside ErrReplicas, so that the caller can give back what was granted.
func (g *Guard) runReplicated(ctx context.Context, s script, keys []string, args []any, intends func([]string) bool) ([]string, error) {
	if g.config.WaitReplicas == 0 {
		return run(ctx, g.scripts, s, keys, args)
	}
	answer, err := g.runOnce(ctx, s, keys, args, intends)
	if answer == nil && lostAnswer(ctx, err) {
		answer, err = g.runOnce(ctx, s, keys, args, intends)
	}
	if errors.Is(err, ErrReplicas) {
		return answer, err
	}
	return read(s, answer, err)
}

func (g *Guard) runOnce(ctx context.Context, s script, keys []string, args []any, intends func([]string) bool) ([]string, error) {
	conn, err := g.pin(ctx, keys[0])
	if err != nil {
		return nil, err
	}
	defer conn.Close() // gives the connection back to its pool
	answer, err := evaluate(ctx, conn, s, keys, args)
	if err != nil {
		return nil, g.moved(ctx, err)
	}
	if len(answer) == 0 || !intends(answer) {
		return answer, nil
	}
	have, err := conn.Wait(ctx, g.config.WaitReplicas, g.config.WaitTimeout).Result()
	if err != nil {
		return answer, fmt.Errorf("%s: %w: %w: %w", s.name, ErrReplicas, ErrUnavailable, err)
	}
	if have < int64(g.config.WaitReplicas) {
		return answer, fmt.Errorf("%s: %w: %d of %d within %v: %w", s.name, ErrReplicas, have, g.config.WaitReplicas, g.config.WaitTimeout,
			ErrUnavailable)
	}
	return answer, nil
}

func pinnable(client redis.UniversalClient) bool {
	switch client.(type) {
	case *redis.Client, *redis.ClusterClient:
		return true
	default:
		return false
	}
}

// pin holds one connection to the server that has the key.
func (g *Guard) pin(ctx context.Context, key string) (*redis.Conn, error) {
	switch client := g.config.Redis.(type) {
	case *redis.Client:
		return client.Conn(), nil
	case *redis.ClusterClient:
		master, err := client.MasterForKey(ctx, key)
		if err != nil {
			return nil, err
		}
		return master.Conn(), nil
	default:
		return nil, fmt.Errorf("a %T cannot hold a connection", client)
	}
}

// moved lets a cluster client look again at which node has which slot: a held connection does not follow redirections. The command is
// tried again later, as after any other failure.
func (g *Guard) moved(ctx context.Context, err error) error {
	if cluster, ok := g.config.Redis.(*redis.ClusterClient); ok && redis.HasErrorPrefix(err, "MOVED") {
		cluster.ReloadState(ctx)
	}
	return err
}

// ms is a span in whole milliseconds, rounded up: a lease or deadline is never shorter than asked for.
func ms(d time.Duration) int64 {
	return int64((d + time.Millisecond - 1) / time.Millisecond)
}

func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}
