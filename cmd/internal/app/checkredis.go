package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// checkRedis asks every Redis that holds records what may make it forget them.
func (w Work) checkRedis(ctx context.Context) []Finding {
	if w.Redis == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cluster, ok := w.Redis.(*redis.ClusterClient)
	if !ok {
		return w.checkNode(ctx, "redis", w.Redis)
	}
	var findings []Finding
	var mu sync.Mutex
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
		found := w.checkNode(ctx, "redis "+node.Options().Addr, node)
		mu.Lock()
		defer mu.Unlock()
		findings = append(findings, found...)
		return nil
	})
	slices.SortStableFunc(findings, func(a, b Finding) int { return cmp.Compare(a.Where, b.Where) })
	if err != nil {
		findings = append(findings, unanswered("redis", "REDIS_URL", err))
	}
	return findings
}

// node is what one Redis tells about itself.
type node struct {
	where   string
	info    map[string]string // INFO
	config  map[string]string // CONFIG GET, where it is not refused
	hidden  []string          // what it does not tell and should
	waitFor int               // REDIS_WAIT
}

func (w Work) checkNode(ctx context.Context, where string, client redis.Cmdable) []Finding {
	n := &node{where: where, waitFor: w.Limits.RedisWait}
	if err := n.ask(ctx, client); err != nil {
		return []Finding{unanswered(where, "REDIS_URL", err)}
	}
	var findings []Finding
	for _, look := range []func() (Finding, bool){n.eviction, n.memory, n.persistence, n.replicas, n.silence} {
		if f, known := look(); known {
			f.Where = where
			findings = append(findings, f)
		}
	}
	return findings
}

// ask reads INFO and CONFIG. A refusal leaves things unknown; no answer is an error.
func (n *node) ask(ctx context.Context, client redis.Cmdable) error {
	var refusal redis.Error
	text, err := client.Info(ctx).Result()
	if err != nil && !errors.As(err, &refusal) {
		return err
	}
	n.info, n.config = map[string]string{}, map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			n.info[name] = value
		}
	}
	for _, name := range []string{"appendfsync", "save"} {
		got, err := client.ConfigGet(ctx, name).Result()
		if err != nil && !errors.As(err, &refusal) {
			return err
		}
		if value, told := got[name]; told {
			n.config[name] = value
		}
	}
	return nil
}

// told gives a value, or remembers that it is missing.
func (n *node) told(from map[string]string, command, name string) (string, bool) {
	value, ok := from[name]
	if !ok {
		n.hidden = append(n.hidden, name+" ("+command+")")
	}
	return value, ok
}

// forgets is what it costs when a record is gone before its time.
const forgets = "the guard may take an operation that was done for a new one"

func (n *node) eviction() (Finding, bool) {
	policy, ok := n.told(n.info, "INFO", "maxmemory_policy")
	f := Finding{Severity: Fine, Setting: "maxmemory-policy", Value: policy}
	if policy == "noeviction" {
		return f, ok
	}
	f.Severity, f.Problem = Broken, "when memory runs out, Redis throws the guard's records away"
	f.Cost, f.Remedy = forgets, "set maxmemory-policy noeviction, in a Redis that nothing else uses as a cache"
	if n.info["maxmemory"] == "0" {
		f.Severity, f.Problem = Weak, "as soon as maxmemory is set, Redis throws the guard's records away when memory runs out"
	}
	return f, ok
}

// memory tells of a Redis that is about to refuse writes, or does. One that evicts never does.
func (n *node) memory() (Finding, bool) {
	used, _ := strconv.ParseUint(n.info["used_memory"], 10, 64)
	limit, _ := strconv.ParseUint(n.info["maxmemory"], 10, 64)
	return Finding{
		Severity: Weak, Setting: "maxmemory", Value: "nearly all used, or all",
		Problem: fmt.Sprintf("%d of %d bytes are used", used, limit),
		Cost:    "full, it takes no writes: nothing is called and all commands wait", Remedy: "give Redis memory, and raise maxmemory",
	}, limit > 0 && used/9 >= limit/10 && n.info["maxmemory_policy"] == "noeviction"
}

// persistence tells what is left of the records after Redis was started again.
func (n *node) persistence() (Finding, bool) {
	enabled, ok := n.told(n.info, "INFO", "aof_enabled")
	if !ok {
		return Finding{}, false
	}
	if enabled == "1" {
		return n.appendOnly()
	}
	const remedy = "set appendonly yes and appendfsync always"
	save, ok := n.told(n.config, "CONFIG GET", "save")
	switch {
	case !ok:
		return Finding{
			Severity: Weak, Setting: "appendonly", Value: "no", Problem: "there are snapshots at best; Redis does not tell",
			Cost: "what was recorded since the last one is lost when Redis ends unexpectedly", Remedy: remedy,
		}, true
	case save == "":
		return Finding{
			Severity: Broken, Setting: "appendonly", Value: `no, and save ""`, Problem: "nothing is written to disk",
			Cost: "when Redis is started again, " + forgets, Remedy: remedy,
		}, true
	default:
		return Finding{
			Severity: Weak, Setting: "appendonly", Value: "no, and save " + strconv.Quote(save), Problem: "only snapshots are written to disk",
			Cost: "when Redis ends unexpectedly, the minutes since the last snapshot are lost: " + forgets, Remedy: remedy,
		}, true
	}
}

func (n *node) appendOnly() (Finding, bool) {
	how, ok := n.told(n.config, "CONFIG GET", "appendfsync")
	f := Finding{Severity: Fine, Setting: "appendfsync", Value: how}
	lost := map[string]string{"everysec": "the last second or two", "no": "the last half minute or more"}[how]
	if how != "always" {
		f.Severity, f.Problem = Weak, "Redis answers before the record is on disk"
		f.Cost = fmt.Sprintf("when its machine fails, %s of records are lost: %s", cmp.Or(lost, "some time"), forgets)
		f.Remedy = "set appendfsync always; beside a payment call it takes no time"
	}
	return f, ok
}

// replicas tells whether another Redis can take over.
func (n *node) replicas() (Finding, bool) {
	if n.info["role"] == "slave" {
		return Finding{
			Severity: Broken, Setting: "role", Value: "replica", Problem: "this Redis is a replica and takes no writes",
			Cost:   "no claim is granted, so nothing is called and all commands wait",
			Remedy: "point REDIS_URL at the master, or use the redis+sentinel:// form",
		}, true
	}
	if _, ok := n.told(n.info, "INFO", "connected_slaves"); !ok {
		return Finding{}, false
	}
	online := 0
	for name, value := range n.info {
		if strings.HasPrefix(name, "slave") && strings.Contains(value, "state=online") {
			online++
		}
	}
	f := Finding{Severity: Fine, Setting: "connected replicas", Value: strconv.Itoa(online)}
	switch {
	case n.waitFor > online:
		f.Severity, f.Setting, f.Value = Broken, "REDIS_WAIT", strconv.Itoa(n.waitFor)
		f.Problem = fmt.Sprintf("a claim needs %d replicas, and %d are connected", n.waitFor, online)
		f.Cost, f.Remedy = "nothing is called and all commands wait", "bring the replicas back, or lower REDIS_WAIT"
	case online == 0:
		f.Severity, f.Problem = Weak, "no other Redis has the records"
		f.Cost = "while this one is away nothing is called, and if its disk is lost, so are the records: " + forgets
		f.Remedy = "add a replica, and set REDIS_WAIT=1"
	case n.waitFor == 0:
		f.Severity, f.Problem = Note, "REDIS_WAIT is 0: a call does not wait for a replica to have its claim"
		f.Cost, f.Remedy = "a failover forgets the last moments of claims; these commands are looked up", "set REDIS_WAIT=1"
	}
	return f, true
}

// silence is the finding about all that this Redis does not tell. It comes last.
func (n *node) silence() (Finding, bool) {
	return Finding{
		Severity: Weak, Setting: "INFO, CONFIG GET", Value: "without " + strings.Join(n.hidden, ", "),
		Problem: "Redis does not tell whether it may forget records",
		Cost:    "a loss shows only afterwards, by the epoch that every claim reads: " + forgets,
		Remedy: "allow this user INFO and CONFIG GET; where the provider refuses them, have it confirm noeviction, an append-only file and " +
			"a replica. A stand-in for Redis is for trying out",
	}, len(n.hidden) > 0
}

// unanswered is the finding about a server that nothing can be done without.
func unanswered(where, setting string, err error) Finding {
	return Finding{
		Severity: Broken, Where: where, Setting: setting, Value: "no answer", Problem: err.Error(),
		Cost: "without it nothing is called and all commands wait", Remedy: "see that it runs, and that address and credentials are right",
	}
}
