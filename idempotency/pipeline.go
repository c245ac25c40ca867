package idempotency

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// inPipelines has the scripts of many callers go out together: those that come while an answer is on its way share the next round trip. A kind
// of client that cannot do that serves each caller by itself.
func inPipelines(client redis.UniversalClient) (evaluator, error) {
	if !pinnable(client) {
		return client, nil
	}
	pipeline, err := client.AsyncAutoPipeline() // it ends with the client
	if err != nil {
		return nil, err
	}
	return pipelined{pipeline}, nil
}

// pipelined sends scripts in pipelines, and heeds contexts, which the pipeline by itself does not: once a context has ended, its caller waits no
// longer. Its script may run all the same, as one may whose connection is cut; what it has answered is then nobody's to read.
type pipelined struct{ pipeline *redis.AutoPipeliner }

// EvalSha runs a script by its name.
func (p pipelined) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	return p.send(ctx, "evalsha", sha, keys, args)
}

// Eval runs a script by its text.
func (p pipelined) Eval(ctx context.Context, text string, keys []string, args ...any) *redis.Cmd {
	return p.send(ctx, "eval", text, keys, args)
}

func (p pipelined) send(ctx context.Context, verb, script string, keys []string, args []any) *redis.Cmd {
	err := ctx.Err() // then it is not sent at all
	if err == nil {
		words := append(make([]any, 0, 3+len(keys)+len(args)), verb, script, len(keys))
		for _, key := range keys {
			words = append(words, key)
		}
		command := redis.NewCmd(ctx, append(words, args...)...)
		command.SetFirstKeyPos(3)
		if err = p.pipeline.Submit(ctx, command).WaitContext(ctx); err == nil {
			return command
		}
	}
	failed := redis.NewCmd(ctx)
	failed.SetErr(err)
	return failed
}
