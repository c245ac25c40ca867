package idempotency

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// The behaviours are held against three kinds of Redis. Each kind is started once and shared: tests use entities of their own.

var startedServers struct {
	mu   sync.Mutex
	stop []func()
}

// quiet keeps the client's complaints about servers that were stopped on purpose out of the tests' output.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

func TestMain(m *testing.M) {
	redis.SetLogger(quiet{})
	code := m.Run()
	for _, stop := range startedServers.stop {
		stop()
	}
	os.Exit(code)
}

func atEnd(stop func()) {
	startedServers.mu.Lock()
	defer startedServers.mu.Unlock()
	startedServers.stop = append(startedServers.stop, stop)
}

// store is one kind of Redis; options holds addresses only.
type store struct {
	name  string
	start func() (redis.UniversalOptions, error)
}

var stores = []store{
	{"standalone", sync.OnceValues(startStandalone)},
	{"cluster", sync.OnceValues(startCluster)},
	{"miniredis", sync.OnceValues(startMiniredis)},
}

// connect gives a client of one's own, so that a test can hang a hook into it.
func (s store) connect(t testing.TB) redis.UniversalClient {
	t.Helper()
	options, err := s.start()
	if err != nil {
		t.Fatal(err)
	}
	options.MaxRetries = -1
	options.DialerRetries = 1
	options.PoolSize = 8
	options.IsClusterMode = s.name == "cluster"
	client := redis.NewUniversalClient(&options)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func startMiniredis() (redis.UniversalOptions, error) {
	m := miniredis.NewMiniRedis()
	if err := m.Start(); err != nil {
		return redis.UniversalOptions{}, err
	}
	atEnd(m.Close)
	return redis.UniversalOptions{Addrs: []string{m.Addr()}}, nil
}

func startStandalone() (redis.UniversalOptions, error) {
	addr, stop, err := startServer()
	if err != nil {
		return redis.UniversalOptions{}, err
	}
	atEnd(stop)
	return redis.UniversalOptions{Addrs: []string{addr}}, nil
}

// startServer starts a redis-server process of its own on a free port and waits until it answers.
func startServer(settings ...string) (addr string, stop func(), err error) {
	for range 5 { // another process may take the free port first
		addr, stop, err = tryServer(settings)
		if err == nil || errors.Is(err, exec.ErrNotFound) {
			return addr, stop, err
		}
	}
	return "", nil, err
}

func tryServer(settings []string) (addr string, stop func(), err error) {
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		return "", nil, fmt.Errorf("these tests need a real Redis: install it with `apt-get install redis-server` or `brew install redis`: %w", err)
	}
	dir, err := os.MkdirTemp("", "idempotency")
	if err != nil {
		return "", nil, err
	}
	port, err := freePort()
	if err != nil {
		return "", nil, err
	}
	logPath := filepath.Join(dir, "log")
	args := append([]string{
		"--port", port, "--bind", "127.0.0.1", "--dir", dir, "--logfile", logPath, "--save", "", "--appendonly", "no",
		"--repl-diskless-sync-delay", "0",
	}, settings...)
	process := exec.Command(binary, args...)
	if err := process.Start(); err != nil {
		return "", nil, err
	}
	stop = sync.OnceFunc(func() {
		_ = process.Process.Kill()
		_ = process.Wait()
		_ = os.RemoveAll(dir)
	})
	addr = "127.0.0.1:" + port
	if err := answers(addr, port); err != nil {
		text, _ := os.ReadFile(logPath)
		stop()
		return "", nil, fmt.Errorf("redis-server did not start: %w\n%s", err, text)
	}
	return addr, stop, nil
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port), nil
}

// answers waits until the server on the port is the one that was started there.
func answers(addr, port string) error {
	client := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1, DialTimeout: time.Second})
	defer client.Close()
	return until(func(ctx context.Context) error {
		got, err := client.ConfigGet(ctx, "port").Result()
		if err == nil && got["port"] != port {
			err = fmt.Errorf("another server answers: %v", got)
		}
		return err
	})
}

// until asks again, as fast as it gets answers, until there is no error or 20 seconds have passed.
func until(ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

// startCluster starts three nodes, gives each a third of the slots, and waits until all of them see the whole cluster.
func startCluster() (redis.UniversalOptions, error) {
	const nodes, slots = 3, 16384
	var options redis.UniversalOptions
	var clients []*redis.Client
	var buses []string
	ctx := context.Background()
	for i := range nodes {
		bus, err := freePort()
		if err != nil {
			return options, err
		}
		addr, stop, err := startServer("--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-node-timeout", "30000")
		if err != nil {
			return options, err
		}
		atEnd(stop)
		client := redis.NewClient(&redis.Options{Addr: addr})
		defer client.Close()
		if err := client.ClusterAddSlotsRange(ctx, i*slots/nodes, (i+1)*slots/nodes-1).Err(); err != nil {
			return options, err
		}
		if err := client.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err(); err != nil {
			return options, err
		}
		options.Addrs, clients, buses = append(options.Addrs, addr), append(clients, client), append(buses, bus)
	}
	for i := 1; i < nodes; i++ {
		host, port, _ := net.SplitHostPort(options.Addrs[i])
		if err := clients[0].Do(ctx, "CLUSTER", "MEET", host, port, buses[i]).Err(); err != nil {
			return options, err
		}
	}
	for _, client := range clients {
		err := until(func(ctx context.Context) error {
			seen, err := client.ClusterInfo(ctx).Result()
			if err == nil && !(strings.Contains(seen, "cluster_state:ok") && strings.Contains(seen, "cluster_size:3")) {
				err = fmt.Errorf("not all of the cluster is seen:\n%s", seen)
			}
			return err
		})
		if err != nil {
			return options, err
		}
		err = until(func(ctx context.Context) error {
			err := client.Set(ctx, "{linepay:00}:ready", "1", 0).Err()
			if redis.HasErrorPrefix(err, "MOVED") {
				return nil
			}
			return err
		})
		if err != nil {
			return options, err
		}
	}
	return options, nil
}
