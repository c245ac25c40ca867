package app

import (
	"context"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"linepay-worker/consumer/consumertest"
)

// said is what a finding says in short. That it says the rest, too, is checked on the way.
func said(t *testing.T, findings []Finding) (list []string) {
	t.Helper()
	for _, f := range findings {
		if f.Severity == Fine && f.Problem+f.Cost+f.Remedy != "" || f.Severity != Fine && (f.Problem == "" || f.Cost == "" || f.Remedy == "") {
			t.Errorf("%+v: what is fine needs no words, all else needs what is wrong, what it costs and what to do", f)
		}
		if f.Where == "" || f.Setting == "" || f.Value == "" {
			t.Errorf("%+v does not say where", f)
		}
		list = append(list, strings.Join([]string{string(f.Severity), f.Where, f.Setting, f.Value}, " | "))
	}
	return list
}

func wantSaid(t *testing.T, findings []Finding, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, said(t, findings)); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

const (
	keeps       = "ok | redis | maxmemory-policy | noeviction"
	synced      = "ok | redis | appendfsync | always"
	alone       = "weak | redis | connected replicas | 0"
	everySecond = "weak | redis | appendfsync | everysec"
)

func TestRedisThatMayForgetIsFound(t *testing.T) {
	t.Parallel()
	always := []string{"--appendfsync", "always"}
	with := func(settings ...string) []string { return append(settings, always...) }
	for name, row := range map[string]struct {
		settings []string
		wait     int
		want     []string
	}{
		"appends every second":           {nil, 0, []string{keeps, everySecond, alone}},
		"appends at once":                {always, 0, []string{keeps, synced, alone}},
		"leaves appending to the kernel": {[]string{"--appendfsync", "no"}, 0, []string{keeps, "weak | redis | appendfsync | no", alone}},
		"evicts": {
			with("--maxmemory-policy", "allkeys-lru", "--maxmemory", "100mb"), 0,
			[]string{"broken | redis | maxmemory-policy | allkeys-lru", synced, alone},
		},
		"would evict if it had a limit": {
			with("--maxmemory-policy", "volatile-ttl"), 0, []string{"weak | redis | maxmemory-policy | volatile-ttl", synced, alone},
		},
		"is full": {with("--maxmemory", "100kb"), 0, []string{keeps, "weak | redis | maxmemory | nearly all used, or all", synced, alone}},
		"is full, and evicts": {
			with("--maxmemory", "100kb", "--maxmemory-policy", "allkeys-lru"), 0,
			[]string{"broken | redis | maxmemory-policy | allkeys-lru", synced, alone},
		},
		"writes nothing": {[]string{"--appendonly", "no"}, 0, []string{keeps, `broken | redis | appendonly | no, and save ""`, alone}},
		"writes snapshots alone": {
			[]string{"--appendonly", "no", "--save", "3600 1"}, 0, []string{keeps, `weak | redis | appendonly | no, and save "3600 1"`, alone},
		},
		"has too few replicas": {always, 1, []string{keeps, synced, "broken | redis | REDIS_WAIT | 1"}},
		"is a replica":         {with("--replicaof", "127.0.0.1", "1"), 0, []string{keeps, synced, "broken | redis | role | replica"}},
		"does not tell how it appends": {
			[]string{"--rename-command", "CONFIG", ""},
			0,
			[]string{keeps, alone, "weak | redis | INFO, CONFIG GET | without appendfsync (CONFIG GET)"},
		},
		"does not tell of snapshots": {
			[]string{"--appendonly", "no", "--rename-command", "CONFIG", ""},
			0,
			[]string{keeps, "weak | redis | appendonly | no", alone, "weak | redis | INFO, CONFIG GET | without save (CONFIG GET)"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			work := Work{Redis: consumertest.Redis(t, row.settings...).Client(t), Limits: WorkerSettings{RedisWait: row.wait}}
			wantSaid(t, work.checkRedis(t.Context()), row.want...)
		})
	}
}

func TestReplicasAreCountedAgainstRedisWait(t *testing.T) {
	t.Parallel()
	master := consumertest.Redis(t, "--appendfsync", "always", "--repl-diskless-sync-delay", "0")
	client := master.Client(t)
	consumertest.Redis(t, "--replicaof", "127.0.0.1", strings.TrimPrefix(client.Options().Addr, "127.0.0.1:"))
	if !consumertest.Eventually(t, func(ctx context.Context) bool {
		return strings.Contains(client.Info(ctx, "replication").Val(), "state=online")
	}) {
		t.Fatal("the replica never came")
	}
	for wait, want := range []string{
		"note | redis | connected replicas | 1", "ok | redis | connected replicas | 1", "broken | redis | REDIS_WAIT | 2",
	} {
		wantSaid(t, Work{Redis: client, Limits: WorkerSettings{RedisWait: wait}}.checkRedis(t.Context()), keeps, synced, want)
	}
}

func TestStandInForRedisIsFound(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	defer client.Close()
	wantSaid(t, Work{Redis: client}.checkRedis(t.Context()),
		"weak | redis | INFO, CONFIG GET | without maxmemory_policy (INFO), aof_enabled (INFO), connected_slaves (INFO)")
}

func TestRedisThatDoesNotAnswerIsFound(t *testing.T) {
	t.Parallel()
	server := consumertest.Redis(t)
	work := Work{Redis: server.Client(t)}
	server.Kill()
	wantSaid(t, work.checkRedis(t.Context()), "broken | redis | REDIS_URL | no answer")
	if found := work.checkClocks(t.Context()); len(found) != 0 {
		t.Errorf("it is found a second time by its clock: %v", found)
	}
	if found := (Work{}).checkRedis(t.Context()); len(found) != 0 {
		t.Errorf("no Redis was asked for, and found is %v", found)
	}
}

func TestEveryMasterOfAClusterIsLookedAt(t *testing.T) {
	t.Parallel()
	server := consumertest.Redis(t, "--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1", "--maxmemory-policy", "allkeys-lfu")
	node := server.Client(t)
	address := node.Options().Addr
	if err := node.Do(t.Context(), "CLUSTER", "ADDSLOTSRANGE", 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	if !consumertest.Eventually(t, func(ctx context.Context) bool {
		return strings.Contains(node.ClusterInfo(ctx).Val(), "cluster_state:ok")
	}) {
		t.Fatal("the cluster never came")
	}
	cluster, err := ConnectRedis(RedisSettings{URL: "redis+cluster://" + address})
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	wantSaid(t, Work{Redis: cluster}.checkRedis(t.Context()), "weak | redis "+address+" | maxmemory-policy | allkeys-lfu",
		"weak | redis "+address+" | appendfsync | everysec", "weak | redis "+address+" | connected replicas | 0")
	server.Kill()
	gone, err := ConnectRedis(RedisSettings{URL: "redis+cluster://" + address})
	if err != nil {
		t.Fatal(err)
	}
	defer gone.Close()
	wantSaid(t, Work{Redis: gone}.checkRedis(t.Context()), "broken | redis | REDIS_URL | no answer")
}
