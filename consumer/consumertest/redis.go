package consumertest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"
)

// RedisServer is a redis-server process with files of its own.
type RedisServer struct {
	t         testing.TB
	program   string
	dir, port string
	file      string // configuration file, "" for none
	arguments []string

	process *os.Process
	ended   chan struct{} // closed when the process has ended
}

// Redis starts a redis-server on a free port, with an append-only file and without eviction, as the guard wants it. Further settings are
// redis-server's own, such as "--appendonly", "no"; the last one counts.
func Redis(t testing.TB, settings ...string) *RedisServer {
	t.Helper()
	s := newRedis(t)
	s.arguments = append([]string{
		"--bind", "127.0.0.1", "--dir", s.dir, "--logfile", s.logfile(), "--daemonize", "no", "--save", "", "--appendonly", "yes",
		"--maxmemory-policy", "noeviction",
	}, settings...)
	return s.begin()
}

// Sentinel starts a Sentinel that watches a master under a name, and makes a replica the master half a second after that has gone.
func Sentinel(t testing.TB, name string, master *RedisServer) *RedisServer {
	t.Helper()
	s := newRedis(t)
	s.file = filepath.Join(s.dir, "sentinel.conf") // which it writes itself
	settings := fmt.Sprintf("sentinel monitor %s 127.0.0.1 %s 1\nsentinel down-after-milliseconds %s 500\nsentinel failover-timeout %s 3000\n",
		name, master.port, name, name)
	if err := os.WriteFile(s.file, []byte(settings), 0o600); err != nil {
		t.Fatalf("consumertest: %v", err)
	}
	s.arguments = []string{"--bind", "127.0.0.1", "--dir", s.dir, "--logfile", s.logfile(), "--daemonize", "no", "--sentinel"}
	return s.begin()
}

// Cluster starts so many masters that share the slots between them, without replicas.
func Cluster(t testing.TB, masters int) []*RedisServer {
	t.Helper()
	nodes := make([]*RedisServer, masters)
	for i := range nodes {
		nodes[i] = Redis(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-port", freePort(t))
	}
	const slots = 16384
	for i, node := range nodes {
		client := node.Client(t)
		if err := client.ClusterAddSlotsRange(t.Context(), slots*i/masters, slots*(i+1)/masters-1).Err(); err != nil {
			t.Fatalf("consumertest: slots of a cluster's node: %v", err)
		}
		for _, other := range nodes[:i] {
			bus := other.arguments[len(other.arguments)-1]
			if err := client.Do(t.Context(), "CLUSTER", "MEET", "127.0.0.1", other.port, bus).Err(); err != nil {
				t.Fatalf("consumertest: nodes of a cluster do not meet: %v", err)
			}
		}
	}
	for _, node := range nodes {
		client := node.Client(t)
		whole := Eventually(t, func(ctx context.Context) bool {
			info := client.ClusterInfo(ctx).Val()
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, fmt.Sprintf("cluster_known_nodes:%d\r", masters))
		})
		if !whole {
			t.Fatalf("consumertest: a cluster of Redis does not come about: %s", node.lastWords())
		}
	}
	return nodes
}

func newRedis(t testing.TB) *RedisServer {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal("consumertest: redis-server is not in PATH; run `make test`, which installs it, or install the package redis-server (Debian, Ubuntu) or redis (Alpine, Fedora, Homebrew)")
	}
	return &RedisServer{t: t, program: program, dir: t.TempDir()}
}

func (s *RedisServer) begin() *RedisServer {
	t := s.t
	t.Helper()
	t.Cleanup(s.Kill)

	// Between finding a free port and using it, somebody else may take it: try another one then.
	var problem string
	for range 5 {
		if s.port, problem = freePort(t), ""; s.launch(t.Context(), &problem) {
			return s
		}
	}
	t.Fatalf("consumertest: redis-server does not start: %s", problem)
	return nil
}

func freePort(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("consumertest: no free port: %v", err)
	}
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	return port
}

// Host is the address with its port.
func (s *RedisServer) Host() string { return "127.0.0.1:" + s.port }

// URL is the REDIS_URL of database 0; it outlives Stop and Start.
func (s *RedisServer) URL() string { return "redis://127.0.0.1:" + s.port + "/0" }

// Client gives a client that never repeats a command by itself and is closed when the test ends.
func (s *RedisServer) Client(t testing.TB) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:" + s.port, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// Start starts a stopped server on the same port with what it had stored. Starting one that runs is harmless.
func (s *RedisServer) Start() {
	s.t.Helper()
	if s.process != nil {
		return
	}
	var problem string
	if !s.launch(s.t.Context(), &problem) {
		s.t.Fatalf("consumertest: redis-server does not start again: %s", problem)
	}
}

// Stop ends the server the orderly way, with everything written down, and waits until it has ended.
func (s *RedisServer) Stop() { s.end(syscall.SIGTERM) }

// Kill ends the server as a crash would: what the append-only file had not yet been given is lost. Killing a stopped server is harmless.
func (s *RedisServer) Kill() { s.end(syscall.SIGKILL) }

func (s *RedisServer) end(signal syscall.Signal) {
	if s.process == nil {
		return
	}
	if signal == syscall.SIGKILL {
		kill(s.process)
	} else {
		_ = s.process.Signal(signal)
	}
	<-s.ended
	s.process = nil
}

// FlushAll makes the server forget everything.
func (s *RedisServer) FlushAll() {
	s.t.Helper()
	if err := s.Client(s.t).FlushAll(s.t.Context()).Err(); err != nil {
		s.t.Fatalf("consumertest: FLUSHALL: %v", err)
	}
}

// launch starts the process and waits until it answers. It reports false, with the reason, when the process ends before that.
func (s *RedisServer) launch(ctx context.Context, problem *string) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := s.spawn(); err != nil {
		*problem = err.Error()
		return false
	}
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:" + s.port, MaxRetries: -1, DialerRetries: 1})
	defer client.Close()
	gone := false
	ready := poll(ctx, func(ctx context.Context) bool {
		select {
		case <-s.ended:
			gone = true
			return true
		default:
			return s.answers(ctx, client)
		}
	})
	if ready && !gone {
		return true
	}
	*problem = s.lastWords()
	s.Kill()
	return false
}

// answers asks for the process id, so that a stranger who took the port is not taken for ours. Redis refuses to tell while it loads.
func (s *RedisServer) answers(ctx context.Context, client *redis.Client) bool {
	// A plain dial first: go-redis logs every failed one.
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", client.Options().Addr)
	if err != nil {
		return false
	}
	_ = conn.Close()
	info, err := client.Info(ctx, "server").Result()
	return err == nil && client.Ping(ctx).Err() == nil && strings.Contains(info, fmt.Sprintf("\nprocess_id:%d\r", s.process.Pid))
}

// spawn starts the process from a thread that lives as long as the process: the kernel ends the child when the thread that started it
// ends (see endWithParent), and Go ends threads as it likes.
func (s *RedisServer) spawn() error {
	arguments := append([]string{"--port", s.port}, s.arguments...)
	if s.file != "" {
		arguments = append([]string{s.file}, arguments...)
	}
	command := exec.Command(s.program, arguments...)
	command.Dir = s.dir
	endWithParent(command)
	started, ended := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := command.Start()
		started <- err
		if err == nil {
			_ = command.Wait()
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	s.process, s.ended = command.Process, ended
	return nil
}

func (s *RedisServer) logfile() string { return filepath.Join(s.dir, "redis.log") }

// lastWords is the end of the server's log.
func (s *RedisServer) lastWords() string {
	log, err := os.ReadFile(s.logfile())
	if err != nil {
		return "it left no log"
	}
	return string(log[max(0, len(log)-1000):])
}
