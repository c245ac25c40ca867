package consumer_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"linepay-worker/consumer/consumertest"
	"linepay-worker/idempotency"
)

// memoryHook answers a client from a memoryRedis.
type memoryHook struct{ store *memoryRedis }

func (h memoryHook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h memoryHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h memoryHook) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(_ context.Context, command redis.Cmder) error {
		reply, err := h.store.do(command.Args())
		if err != nil {
			command.SetErr(err)
			return err
		}
		command.(*redis.Cmd).SetVal(reply)
		return nil
	}
}

// What the model takes for Redis answers the guard as Redis does. The same random story is told to both; times are compared as far as two
// clocks can be.
func TestMemoryRedisAnswersAsRedisDoes(t *testing.T) {
	t.Parallel()
	inMemory := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1})
	defer func() { _ = inMemory.Close() }()
	inMemory.AddHook(memoryHook{newMemoryRedis(time.Now)})
	server := consumertest.Redis(t).Client(t)
	for seed := range uint64(40) {
		var told [2][]string
		for i, client := range []redis.UniversalClient{server, inMemory} {
			guard, err := idempotency.New(idempotency.Config{Redis: client, Retention: time.Hour, Cautious: seed%8 == 7})
			if err != nil {
				t.Fatal(err)
			}
			told[i] = guardStory(t, guard, seed)
		}
		if diff := cmp.Diff(told[0], told[1]); diff != "" {
			t.Fatalf("seed %d (-Redis +memory):\n%s", seed, diff)
		}
	}
}

// guardStory has random commands claim, extend, release and settle, and tells what the guard answered.
func guardStory(t *testing.T, guard *idempotency.Guard, seed uint64) (story []string) {
	dice := rand.New(rand.NewPCG(seed, 3))
	pick := func(options ...string) string { return options[dice.IntN(len(options))] }
	var held []*idempotency.Claim
	for range 60 {
		n := dice.IntN(4)
		if n < 2 || len(held) == 0 {
			request := idempotency.ClaimRequest{
				Entity:    idempotency.Entity{Host: "linepay.example", ChannelID: "1", Kind: idempotency.KindTransaction, ID: fmt.Sprint(seed)},
				Operation: pick("confirm:1", "refund:1:A", "refund:1:B"), Command: idempotency.Command{Source: "/s", ID: pick("1", "2", "3")},
				Fingerprint: pick("f", "f", "f", "g"), Sequence: 1 + dice.Uint64N(12), Redelivered: dice.IntN(3) == 0, Replay: dice.Uint64N(12) / 9,
				CallFor: time.Hour, Lease: []time.Duration{2 * time.Hour, time.Hour + time.Millisecond}[dice.IntN(2)], Place: time.Hour,
				Probe: dice.IntN(8) == 0,
			}
			claim, err := guard.Claim(t.Context(), request)
			if err != nil {
				t.Fatal(err)
			}
			story = append(story, tellClaim(request, claim))
			if claim.Granted() {
				held = append(held, claim)
			}
			continue
		}
		story = append(story, endOrExtend(t.Context(), guard, held[dice.IntN(len(held))], dice))
	}
	return story
}

func tellClaim(r idempotency.ClaimRequest, c *idempotency.Claim) string {
	away := func(at time.Time) string { // in quarters of an hour, from the answer
		if at.IsZero() {
			return "never"
		}
		return at.Sub(c.Now).Round(15 * time.Minute).String()
	}
	return fmt.Sprintf("%s by %s: %s (%s), owner %s, %d calls until %s, spent %s, snapshot %s, outcome %s, held by %s until %s, owned %v",
		r.Operation, r.Command.ID, c.Answer, c.Reason, c.Owner.ID, c.Calls, away(c.MaySendUntil), c.Spent, c.Snapshot, c.Outcome, c.Holder,
		away(c.Until), c.Owned)
}

func endOrExtend(ctx context.Context, guard *idempotency.Guard, claim *idempotency.Claim, dice *rand.Rand) string {
	var err error
	what := []string{"extend", "release", "done", "refused", "parked"}[dice.IntN(5)]
	unknown := dice.IntN(2) == 0
	switch what {
	case "extend":
		e := idempotency.Extension{Lease: 2 * time.Hour, Snapshot: []byte(`{"n":` + fmt.Sprint(dice.IntN(9)) + `}`)}
		if dice.IntN(2) == 0 {
			e.Call, e.CallFor, e.Proven = true, time.Hour, unknown
		}
		err = guard.Extend(ctx, claim, e)
	case "release":
		err = guard.Release(ctx, claim, idempotency.Release{Unknown: unknown, RetryAfter: time.Hour * time.Duration(dice.IntN(2)), Spend: time.Second})
	default:
		s := idempotency.Settlement{State: idempotency.StateDone, Outcome: []byte(`{"é":"` + what + `"}`)}
		switch what {
		case "done":
			s.Effect = fmt.Sprint(dice.IntN(1000))
		case "refused":
			s.State = idempotency.StateRefused
		case "parked":
			s.State, s.MoneyUnknown = idempotency.StateParked, unknown
		}
		err = guard.Settle(ctx, claim, s)
	}
	words := strings.SplitN(fmt.Sprint(err), ":", 3)
	return fmt.Sprintf("%s %v: %v", what, unknown, slices.Compact(words))
}
