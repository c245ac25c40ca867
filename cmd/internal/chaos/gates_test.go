package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// gateRecord is what a record of the guard says about who holds its entity (idempotency/record.lua).
type gateRecord struct {
	State string  `json:"st"`
	Doubt bool    `json:"doubt"`
	Why   string  `json:"why"`
	Lease float64 `json:"lease"`
	Retry float64 `json:"retry"`
	Own   struct {
		ID string `json:"id"`
	} `json:"own"`
}

// gateCount is what the entities in Redis look like.
type gateCount struct {
	entities int
	states   tally    // records by state
	inDoubt  []string // records that hold their entity, and will be looked up by the command that comes next
}

// gates looks at every entity: its gate must be open, or its holder be in doubt with a time for the next look-up. It waits for what is
// about to lapse.
func (w *world) gates(ctx context.Context) (held []string, count *gateCount, err error) {
	lapsing, cancel := context.WithTimeout(ctx, 3*w.form.lease())
	defer cancel()
	client := w.redis.client()
	defer client.Close()
	until(lapsing, func() bool {
		held, count, err = scanGates(ctx, client)
		return err == nil && len(held) == 0
	})
	return held, count, err
}

func scanGates(ctx context.Context, client *redis.Client) (held []string, count *gateCount, err error) {
	now, err := client.Time(ctx).Result()
	if err != nil {
		return nil, nil, err
	}
	count = &gateCount{}
	keys := client.ScanType(ctx, 0, "{linepay:*}:*", 1000, "hash").Iterator()
	for keys.Next(ctx) {
		key := keys.Val()
		if strings.HasSuffix(key, ":epoch") {
			continue
		}
		entity, err := client.HGetAll(ctx, key).Result()
		if err != nil {
			return nil, nil, err
		}
		count.entities++
		found, err := count.holders(entity, now)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", key, err)
		}
		for _, each := range found {
			held = append(held, key+": "+each)
		}
	}
	return held, count, keys.Err()
}

// holders are the records of an entity that hold it, and have no time at which that ends.
func (c *gateCount) holders(entity map[string]string, now time.Time) (held []string, err error) {
	for field, value := range entity {
		op, isRecord := strings.CutPrefix(field, "op:")
		if !isRecord {
			continue
		}
		var r gateRecord
		if err := json.Unmarshal([]byte(value), &r); err != nil {
			return nil, fmt.Errorf("record %s: %w", op, err)
		}
		c.states.add(r.State)
		ms := float64(now.UnixMilli())
		switch {
		case r.State == "claimed":
			held = append(held, fmt.Sprintf("%s is claimed by command %s, lease %s", op, r.Own.ID, ago(ms-r.Lease)))
		case r.State == "open" && r.Doubt && r.Retry > 0:
			c.inDoubt = append(c.inDoubt, fmt.Sprintf("%s is in doubt (%s), of command %s", op, r.Why, r.Own.ID))
		case r.State == "open" && (r.Doubt || r.Retry > ms):
			held = append(held, fmt.Sprintf("%s is open, held by command %s in doubt %t (%s), retry %s",
				op, r.Own.ID, r.Doubt, r.Why, ago(ms-r.Retry)))
		}
	}
	return held, nil
}

func ago(ms float64) string { return strconv.FormatFloat(ms/1000, 'f', 3, 64) + " s ago" }
