package consumer_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"linepay-worker/schemas"
)

// modelCoverage counts what schedules have met.
type modelCoverage struct {
	mu        sync.Mutex
	schedules map[string]int
	claims    map[string]int
	fates     map[string]int
	events    map[string]int
	faults    map[string]int
}

func newModelCoverage() *modelCoverage {
	return &modelCoverage{schedules: map[string]int{}, claims: map[string]int{}, fates: map[string]int{}, events: map[string]int{}, faults: map[string]int{}}
}

func (c *modelCoverage) count(m map[string]int, what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m[what]++
}

func (c *modelCoverage) claim(answer, reason string) {
	for _, prefix := range []string{"held by", "behind sequence"} {
		if strings.HasPrefix(reason, prefix) {
			reason = prefix
		}
	}
	c.count(c.claims, answer+": "+reason)
}

func (c *modelCoverage) fate(_, fate, why string) {
	for _, prefix := range []string{"busy: held by", "busy: behind sequence"} {
		if strings.HasPrefix(why, prefix) {
			why = prefix
		}
	}
	c.count(c.fates, fate+": "+why)
}

func (c *modelCoverage) event(e *schemas.Event) {
	what := string(e.Data.Operation) + ": " + e.Name()
	if e.Data.SettledBy != "" {
		what += " by " + e.Data.SettledBy
	}
	c.count(c.events, what)
}

func (c *modelCoverage) schedule(plan *modelPlan, faults []string) {
	c.count(c.schedules, plan.class)
	for _, fault := range faults {
		kind, _, _ := strings.Cut(fault, ":")
		c.count(c.faults, plan.class+": "+kind)
	}
}

func (c *modelCoverage) report() string {
	var b strings.Builder
	for _, m := range []struct {
		name   string
		counts map[string]int
	}{{"schedules", c.schedules}, {"claims", c.claims}, {"fates", c.fates}, {"events", c.events}, {"broken promises", c.faults}} {
		fmt.Fprintf(&b, "%s:\n", m.name)
		for _, what := range slices.Sorted(maps.Keys(m.counts)) {
			fmt.Fprintf(&b, "\t%7d  %s\n", m.counts[what], what)
		}
	}
	return b.String()
}

// modelEnough is how many schedules should have met everything that can be met.
const modelEnough = 5000

// modelReachable are answers of the guard, fates, and ends of operations that were looked up, that many schedules must have met.
var modelReachable = []string{
	"fresh: never tried", "fresh: not sent before", "fresh: refused before, another command", "fresh: replay reopens",
	"in doubt: lease lapsed", "in doubt: outcome unknown", "in doubt: parked with unknown outcome",
	"in doubt: redelivered without a record", "in doubt: cautious", "in doubt: quarantine",
	"done: settled", "duplicate: settled", "refused before: settled", "parked: settled", "conflict: other fingerprint",
	"rejected: never to be called", "busy: claimed", "busy: its owner tries again", "busy: held by", "busy: behind sequence",

	"ack: captured", "ack: authorized", "ack: voided", "ack: refunded", "ack: requested", "ack: preapproval", "ack: status", "ack: details",
	"ack: failed", "ack: done", "ack: refused before", "ack: duplicate", "ack: rejected: conflict", "ack: rejected: expired",
	"ack: rejected: invalid", "ack: parked", "ack: parked: unreadable", "ack: parked: exhausted", "ack: parked: unresolved", "ack: parked: poison",
	"ack: its event was stored already",
	"retry: no claim", "retry: not sent", "retry: outcome unknown", "retry: look-up failed", "retry: events of the order cannot be read",
	"retry: done, but not on record", "retry: not on record", "retry: event not stored", "retry: dead letter not stored",
	"wait: breaker open", "wait: Redis' memory has to be made up for first", "wait: busy: held by", "wait: busy: behind sequence", "wait: busy: claimed", "wait: busy: its owner tries again",
	"wait: in doubt: too early to believe that nothing happened", "wait: somebody else took the claim over",
	"wait: captured, for the command that had claimed it", "wait: two processes crashed with it in hand: it is handled alone",
	"wait: in the name of the command that is in the way: captured", "wait: in the name of the command that is in the way: nothing happened",
	"wait: failed, for the command that had claimed it",

	"confirm: captured by lookup", "confirm: authorized by lookup", "confirm: failed by lookup", "capture: captured by lookup",
	"capture: failed by lookup", "void: voided by lookup", "void: failed by lookup", "refund: refunded by lookup", "refund: failed by lookup",
	"refund: parked", "preapproved-pay: captured by lookup", "preapproved-pay: failed by lookup", "preapproved-expire: preapproval by lookup",
	"request: requested by response",
}

// missing is what so many schedules should have met, and have not.
func (c *modelCoverage) missing() (never []string) {
	schedules := 0
	for _, n := range c.schedules {
		schedules += n
	}
	if schedules < modelEnough {
		return nil
	}
	for _, what := range modelReachable {
		if c.claims[what]+c.fates[what]+c.events[what] == 0 {
			never = append(never, what)
		}
	}
	return never
}
