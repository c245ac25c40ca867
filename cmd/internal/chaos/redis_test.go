package chaos

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"
)

// redisPair is a primary and its replica, and the links of the workers to the primary.
type redisPair struct {
	servers     [2]*redisServer
	replication *link // from the replica to the primary
	workers     []*link

	turn sync.Mutex // one server at a time is in trouble

	mu      sync.Mutex
	primary int
}

type redisServer struct {
	*process
	addr, dir string
}

func startRedis(t *testing.T, dir string, d *dice) *redisPair {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal("redis-server is not in PATH; run `make test`, which installs it, or install the package redis-server (Debian, Ubuntu) " +
			"or redis (Alpine, Fedora, Homebrew)")
	}
	p := &redisPair{}
	for i := range p.servers {
		name, port := fmt.Sprintf("redis%d", i+1), freePort(t, d)
		s := &redisServer{addr: "127.0.0.1:" + port, dir: filepath.Join(dir, name)}
		if err := os.Mkdir(s.dir, 0o700); err != nil {
			t.Fatal(err)
		}
		s.process = &process{name: name, program: program, log: filepath.Join(dir, name+".log"), args: []string{
			"--port", port, "--bind", "127.0.0.1", "--dir", s.dir, "--daemonize", "no", "--save", "", "--maxmemory-policy", "noeviction",
			// What was answered is on disk: a kill alone forgets nothing. Losing memory is a fault of its own.
			"--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0",
			"--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1",
		}}
		p.servers[i] = s
		t.Cleanup(s.kill)
		if err := s.start(); err != nil {
			t.Fatal(err)
		}
		if err := s.await(t.Context(), "role:master"); err != nil {
			t.Fatal(err)
		}
	}
	p.replication = newLink(t, "redis-replica", p.servers[0].addr)
	if err := p.follow(t.Context(), p.servers[1]); err != nil {
		t.Fatal(err)
	}
	return p
}

func (s *redisServer) client() *redis.Client {
	return redis.NewClient(&redis.Options{Addr: s.addr, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true})
}

// await waits until the server answers, and says something about itself.
func (s *redisServer) await(ctx context.Context, says string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	client := s.client()
	defer client.Close()
	var last string
	if !until(ctx, func() bool {
		info, err := client.Info(ctx).Result()
		last = fmt.Sprint(err)
		return err == nil && strings.Contains(info, says) && client.Ping(ctx).Err() == nil
	}) {
		return fmt.Errorf("%s does not say %q within %s (%s); its log is %s", s.name, says, patience, last, s.log)
	}
	return nil
}

// follow makes a server the replica of whoever the replication link leads to.
func (p *redisPair) follow(ctx context.Context, s *redisServer) error {
	client := s.client()
	defer client.Close()
	host, port, _ := strings.Cut(p.replication.addr(), ":")
	if err := client.ReplicaOf(ctx, host, port).Err(); err != nil {
		return fmt.Errorf("%s does not follow: %w", s.name, err)
	}
	return s.await(ctx, "master_link_status:up")
}

// roles gives the primary and the replica.
func (p *redisPair) roles() (primary, replica *redisServer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.servers[p.primary], p.servers[1-p.primary]
}

// client speaks to the primary directly.
func (p *redisPair) client() *redis.Client {
	primary, _ := p.roles()
	return primary.client()
}

// restart kills a server, and starts it again with what it had stored and in the role that it had.
func (p *redisPair) restart(ctx context.Context, s *redisServer) error {
	s.kill()
	if err := s.start(); err != nil {
		return err
	}
	if err := s.await(ctx, "role:master"); err != nil {
		return err
	}
	if _, replica := p.roles(); s != replica {
		return nil
	}
	return p.follow(ctx, s)
}

// failover is what a cluster manager does when the primary is gone. What the primary took and the replica had not got is lost: at least one
// write, while anybody writes.
func (p *redisPair) failover(ctx context.Context) error {
	before, after := p.roles()
	p.replication.refuse(true)
	p.replication.cut()
	if err := p.awaitWrites(ctx, before); err != nil {
		return err
	}
	before.kill()
	client := after.client()
	defer client.Close()
	if err := client.ReplicaOf(ctx, "NO", "ONE").Err(); err != nil {
		return fmt.Errorf("promote %s: %w", after.name, err)
	}
	p.mu.Lock()
	p.primary = 1 - p.primary
	p.mu.Unlock()
	for _, l := range p.workers {
		l.lead(after.addr)
	}
	// The old primary comes back empty, and follows.
	if err := os.RemoveAll(filepath.Join(before.dir, "appendonlydir")); err != nil {
		return err
	}
	p.replication.lead(after.addr)
	p.replication.refuse(false)
	if err := before.start(); err != nil {
		return err
	}
	if err := before.await(ctx, "role:master"); err != nil {
		return err
	}
	return p.follow(ctx, before)
}

// awaitWrites waits until the primary has taken some writes more: they will be lost.
func (p *redisPair) awaitWrites(ctx context.Context, primary *redisServer) error {
	client := primary.client()
	defer client.Close()
	first, err := writes(ctx, client)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	until(ctx, func() bool {
		now, err := writes(ctx, client)
		return err == nil && now >= first+lostWrites
	})
	return nil // without any load there is nothing to lose
}

const lostWrites = 50

// writes counts the claims and settles that a server has been asked for.
func writes(ctx context.Context, client *redis.Client) (n int, err error) {
	info, err := client.Info(ctx, "stats").Result()
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(info, "total_commands_processed:")
	_, err = fmt.Sscan(rest, &n)
	return n, err
}
