package idempotency

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// A server is known by its replication id, which a restart and a promotion change.
func TestServerThatIsAnotherOneIsNotBelieved(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		act  func(*scene)
		want bool
	}{
		"the same server": {func(*scene) {}, true},
		"another": {func(s *scene) {
			for bucket := range buckets {
				s.redis.HSet(s.ctx, epochKey(bucket), "repl", "of another server")
			}
		}, false},
		"one that did not tell before": {func(s *scene) {
			for bucket := range buckets {
				s.redis.HDel(s.ctx, epochKey(bucket), "repl")
			}
		}, false},
		"one that has nothing at all": {func(s *scene) { s.redis.FlushAll(s.ctx) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := ownServer(t)
			connect(s)
			m := s.remember()
			s.trust(m)
			c.act(s)
			for range 2 { // the second connection to a server changes nothing
				connect(s)
				now := s.remember()
				if now.Trusted != c.want || now.Same(m) != c.want {
					t.Errorf("trusted %v", now.Trusted)
				}
				s.trust(now)
				m, c.want = now, true
			}
		})
	}
}

func connect(s *scene) {
	s.Helper()
	client, isClient := s.redis.(*redis.Client)
	if !isClient {
		s.Fatal("one server is needed")
	}
	conn := client.Conn()
	defer conn.Close()
	if err := OnConnect(s.ctx, conn); err != nil {
		s.Fatal(err)
	}
}

func TestReplicationIDIsReadFromWhatTheServerTells(t *testing.T) {
	t.Parallel()
	if id := replicationField("# Replication\r\nrole:master\r\nmaster_replid:0123\r\nmaster_replid2:0000\r\n", "master_replid"); id != "0123" {
		t.Errorf("replication id %q", id)
	}
	if id := replicationField("role:master\r\n", "master_replid"); id != "" {
		t.Errorf("replication id %q", id)
	}
}

// A server that keeps its replication id to itself would otherwise be another one on each connection, and no record of it ever be believed.
func TestServerThatDoesNotTellIsNoWitness(t *testing.T) {
	t.Parallel()
	for name, instead := range map[string]func(string) ([]any, error, bool){
		"nothing is told of it": func(command string) ([]any, error, bool) { return []any{"role:master\r\n"}, nil, command == "info" },
		"asking is refused": func(command string) ([]any, error, bool) {
			return nil, refusal("NOPERM this user has no permissions to run the 'info' command"), command == "info"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, i, _ := intercepted(t)
			m := s.remember()
			s.trust(m)
			i.instead = instead
			connect(s)
			if now := s.remember(); !now.Same(m) || !now.Trusted {
				t.Errorf("trusted %v, the same %v", now.Trusted, now.Same(m))
			}
			if repl, err := s.redis.HGet(s.ctx, epochKey(0), "repl").Result(); !errors.Is(err, redis.Nil) {
				t.Errorf("replication id %q on record (%v)", repl, err)
			}
		})
	}
}

func TestConnectionThatCouldNotBeAskedForItsServerIsNotUsed(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, DialerRetries: 1})
	defer client.Close()
	conn := client.Conn()
	defer conn.Close()
	if err := OnConnect(t.Context(), conn); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "ask for the replication id") {
		t.Errorf("error %v of a server that is away", err)
	}

	s, i, _ := intercepted(t)
	conn = s.redis.(*redis.Client).Conn()
	defer conn.Close()
	for problem, usable := range map[error]bool{
		refusal("MOVED 866 127.0.0.1:7001"):                            true,
		refusal("ASK 866 127.0.0.1:7001"):                              true,
		refusal("CLUSTERDOWN Hash slot not served"):                    true,
		refusal("CLUSTERDOWN The cluster is down"):                     false,
		refusal("LOADING Redis is loading the dataset in memory"):      false,
		refusal("NOPERM this user has no permissions to run 'script'"): false,
		errCut: false,
	} {
		for _, command := range []string{"evalsha", "script"} {
			i.instead = func(asked string) ([]any, error, bool) { return nil, problem, asked == command }
			if err := OnConnect(s.ctx, conn); (err == nil) != usable || err != nil && !(errors.Is(err, ErrUnavailable) && errors.Is(err, problem)) {
				t.Errorf("%s answered with %q: error %v", command, problem, err)
			}
		}
	}
}

// Each node of a cluster has buckets of its own, and says of the others where they are.
func TestClusterNodeIsAskedAboutItsOwnBuckets(t *testing.T) {
	t.Parallel()
	s := newScene(t, store{"cluster", startCluster}, false) // of its own: the memory of the others would be lost with its epochs
	m := s.remember()
	s.trust(m)
	nodes := map[string]bool{}
	for bucket := range buckets {
		node, err := s.redis.(*redis.ClusterClient).MasterForKey(s.ctx, epochKey(bucket))
		if err != nil {
			t.Fatal(err)
		}
		nodes[node.Options().Addr] = true
		conn := node.Conn()
		defer conn.Close()
		if err := OnConnect(s.ctx, conn); err != nil {
			t.Fatal(err)
		}
		if repl := s.redis.HGet(s.ctx, epochKey(bucket), "repl").Val(); repl == "" {
			t.Errorf("nobody has asked which server bucket %d is on", bucket)
		}
	}
	if len(nodes) != 3 {
		t.Errorf("%d nodes have a bucket, want all 3", len(nodes))
	}
}

// A cluster's node is down for two seconds after a restart. The connections that are made meanwhile are those that stay.
func TestClusterNodeThatIsDownIsAskedWhenItIsUpAgain(t *testing.T) {
	t.Parallel()
	s, _ := ownServer(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "1000")
	node := s.redis.(*redis.Client)
	state := func(want string) {
		t.Helper()
		err := until(func(ctx context.Context) error {
			info, err := node.ClusterInfo(ctx).Result()
			if err == nil && !strings.Contains(info, "cluster_state:"+want) {
				err = errors.New(info)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := node.ClusterAddSlotsRange(s.ctx, 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	state("ok")
	connect(s)
	m := s.remember()
	s.trust(m)
	for bucket := range buckets {
		node.HSet(s.ctx, epochKey(bucket), "repl", "of the server before the restart")
	}
	if err := node.ClusterDelSlots(s.ctx, 1).Err(); err != nil { // no bucket is there
		t.Fatal(err)
	}
	state("fail")
	conn := node.Conn()
	defer conn.Close()
	if err := OnConnect(s.ctx, conn); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "The cluster is down") {
		t.Errorf("error %v of a node that is down", err)
	}
	if err := node.ClusterAddSlots(s.ctx, 1).Err(); err != nil {
		t.Fatal(err)
	}
	state("ok")
	connect(s)
	if now := s.remember(); now.Trusted || now.Same(m) {
		t.Error("the memory of another server is believed")
	}
}
