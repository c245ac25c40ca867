package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"linepay-worker/idempotency"
)

// modelRedisHook takes a process' Redis commands to the world.
type modelRedisHook struct{ p *modelProcess }

func (h modelRedisHook) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessPipelineHook is for the look at all epochs in one go.
func (h modelRedisHook) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, commands []redis.Cmder) error {
		if err := h.p.connect(ctx); err != nil {
			for _, command := range commands {
				command.SetErr(err)
			}
			return err
		}
		return h.p.contact(ctx, "redis pipeline", func(s *modelStep) {
			w := h.p.w
			if w.away(w.plan.redisAway) || w.strike(w.plan.faults.redis, 1) > 0 {
				for _, command := range commands {
					command.SetErr(errRedis)
				}
				s.answer(w.some(3*time.Second), errRedis)
				return
			}
			for _, command := range commands {
				if reply, err := w.redis.do(command.Args()); err != nil {
					command.SetErr(err)
				} else {
					command.(*redis.Cmd).SetVal(reply)
				}
			}
			s.answer(w.some(2*time.Millisecond), nil)
		})
	}
}

var errRedis = errors.New("redis: connection lost")

// connect is what every new connection begins with, when Redis is another server than before.
func (p *modelProcess) connect(ctx context.Context) error {
	if ctx.Value(connecting{}) != nil {
		return nil
	}
	select {
	case p.dialling <- struct{}{}:
		defer func() { <-p.dialling }()
	case <-ctx.Done():
		return ctx.Err()
	}
	server := p.w.redis.server.Load()
	if server == p.server {
		return nil
	}
	if err := idempotency.OnConnect(context.WithValue(ctx, connecting{}, true), p.store.Conn()); err != nil {
		return err
	}
	p.server = server
	return nil
}

type connecting struct{}

func (h modelRedisHook) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, command redis.Cmder) error {
		if err := h.p.connect(ctx); err != nil {
			command.SetErr(err)
			return err
		}
		args := h.p.fixPause(command.Args())
		var reply any
		err := h.p.contact(ctx, redisWords(args), func(s *modelStep) { h.p.w.askRedis(s, args, &reply) })
		if err != nil {
			command.SetErr(err)
			return err
		}
		switch c := command.(type) {
		case *redis.Cmd:
			c.SetVal(reply)
		case *redis.StringCmd:
			c.SetVal(reply.(string))
		}
		return nil
	}
}

func (w *modelWorld) askRedis(s *modelStep, args []any, reply *any) {
	do := func() (err error) {
		*reply, err = w.redis.do(args)
		s.p.notice(args, *reply, err)
		if w.story != nil && !redis.HasErrorPrefix(err, "NOSCRIPT") {
			w.tell("process %d: %s → %.60q %v", s.p.number, s.what, fmt.Sprint(*reply), err)
		}
		return err
	}
	if w.away(w.plan.redisAway) {
		s.answer(w.some(3*time.Second), errRedis)
		return
	}
	switch w.strike(w.plan.faults.redis, 3) {
	case 0:
		s.answer(w.some(2*time.Millisecond), do())
	case 1:
		s.answer(w.some(3*time.Second), errRedis)
	case 2:
		w.tell("the next answer of Redis is lost")
		_ = do()
		s.answer(w.some(3*time.Second), errRedis)
	default:
		w.tell("Redis will hear of it later: %s", s.what)
		w.at(3*time.Second+w.some(2*time.Minute), nil, func() { _, _ = w.redis.do(args) })
		s.answer(3*time.Second, errRedis)
	}
}

// scriptArgs are a script's ARGV, without its text and keys.
func scriptArgs(args []any) []any {
	if len(args) < 3 {
		return nil
	}
	n, _ := strconv.Atoi(fmt.Sprint(args[2]))
	return args[min(3+n, len(args)):]
}

// claimArgs is how many arguments claim.lua has, and no other script.
const claimArgs = 22

// redisWords is what the story says of a command, without tokens.
func redisWords(args []any) string {
	argv := scriptArgs(args)
	switch len(argv) {
	case claimArgs:
		return fmt.Sprintf("claim %s for %s, sequence %s, redelivered %s, replay %s", argv[1], argv[3], argv[5], argv[6], argv[7])
	case 9:
		return fmt.Sprintf("extend %s proven %s", argv[1], argv[7])
	case 17:
		if isRelease(argv) {
			return fmt.Sprintf("release %s unknown %s, sequence %s", argv[1], argv[2], argv[12])
		}
		return fmt.Sprintf("settle %s %s for %s", argv[1], argv[2], argv[6])
	default:
		return fmt.Sprintf("a script with %d arguments", len(argv))
	}
}

// isRelease tells release.lua from settle.lua by what a lost claim leaves.
func isRelease(argv []any) bool {
	return len(argv) == 17 && slices.Contains([]string{"never", "missing", "always"}, fmt.Sprint(argv[6]))
}

// notice remembers what the model needs of a claim's answer.
func (p *modelProcess) notice(args []any, reply any, err error) {
	argv, answer := scriptArgs(args), reply
	list, ok := answer.([]any)
	if err != nil || !ok || len(argv) != claimArgs || len(list) < 14 {
		return
	}
	ms, _ := strconv.ParseInt(list[8].(string), 10, 64)
	sequence, _ := strconv.ParseUint(fmt.Sprint(argv[5]), 10, 64)
	p.w.mu.Lock()
	p.spent[sequence] = time.Duration(ms) * time.Millisecond
	p.w.mu.Unlock()
	p.w.seen.claim(list[0].(string), list[1].(string))
}
