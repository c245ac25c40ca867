package servers_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"linepay-worker/consumer/consumertest"
)

// redisServer is started by start.sh.
type redisServer struct {
	scheme, port string
	files        *tls.Config // nil without TLS
}

func (r *redisServer) url(account string) string {
	return r.scheme + "://" + account + ":" + password(account) + "@127.0.0.1:" + r.port
}

func (r *redisServer) client(t *testing.T, account string) *redis.Client {
	t.Helper()
	options, err := redis.ParseURL(r.url(account))
	if err != nil {
		t.Fatal(err)
	}
	if r.files != nil {
		options.TLSConfig = r.files
	}
	options.MaxRetries, options.DialerRetries = -1, 1
	client := redis.NewClient(options)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	return port
}

// startRedis runs start.sh; between finding a port and using it somebody else may take it.
func startRedis(t *testing.T, env ...string) *redisServer {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Fatal("redis-server is not in PATH; run `make test`, which installs it")
	}
	var said string
	for range 5 {
		r := &redisServer{scheme: "redis", port: freePort(t)}
		for _, setting := range env {
			if ca, found := strings.CutPrefix(setting, "REDIS_TLS_CA="); found {
				r.scheme, r.files = "rediss", trusting(t, ca)
			}
		}
		p := start(t, append([]string{
			"REDIS_DIR=" + t.TempDir(), "REDIS_BIND=127.0.0.1", "REDIS_PORT=" + r.port, "REDIS_WORKER_PASSWORD=" + password("worker"),
			"REDIS_OPERATOR_PASSWORD=" + password("operator"), "REDIS_REPLICA_PASSWORD=" + password("replica"),
		}, env...), "sh", "../redis/start.sh")
		client := r.client(t, "worker")
		consumertest.Eventually(t, func(ctx context.Context) bool {
			return p.gone() || strings.Contains(p.said(), "Ready to accept connections") && client.Ping(ctx).Err() == nil
		})
		if !p.gone() {
			return r
		}
		said = p.said()
	}
	t.Fatalf("redis-server does not start:\n%s", said)
	return nil
}

// trusting checks certificates against an authority.
func trusting(t *testing.T, ca string) *tls.Config {
	t.Helper()
	content, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(content)
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
}

func TestRedisDoesNotStartWithoutPasswords(t *testing.T) {
	t.Parallel()
	two := []string{"REDIS_DIR=" + t.TempDir(), "REDIS_WORKER_PASSWORD=a", "REDIS_OPERATOR_PASSWORD=b"}
	without := start(t, two, "sh", "../redis/start.sh")
	<-without.ended
	if !strings.Contains(without.said(), "REDIS_REPLICA_PASSWORD") || without.command.ProcessState.Success() {
		t.Errorf("start.sh without a password: exit code %d, it said\n%s", without.command.ProcessState.ExitCode(), without.said())
	}
	plain, err := filepath.Abs("../redis/users.acl")
	if err != nil {
		t.Fatal(err)
	}
	untouched := start(t, nil, "redis-server", "--port", freePort(t), "--bind", "127.0.0.1", "--dir", t.TempDir(), "--aclfile", plain)
	<-untouched.ended
	if !strings.Contains(untouched.said(), "password hash must be") {
		t.Errorf("users.acl without passwords: it said\n%s", untouched.said())
	}
}

func TestRedisAccountsDoWhatTheyAreForAndNothingElse(t *testing.T) {
	t.Parallel()
	r := startRedis(t)
	const key = "{linepay:00}:order:0"
	if err := r.client(t, "worker").HSet(t.Context(), key, "gate", "x").Err(); err != nil {
		t.Fatal(err)
	}
	stranger := redis.NewClient(&redis.Options{Addr: "127.0.0.1:" + r.port, MaxRetries: -1})
	t.Cleanup(func() { _ = stranger.Close() })
	for _, row := range []struct {
		command string
		may     []string // of worker, operator, replica and stranger
	}{
		{"PING", []string{"worker", "operator", "replica"}},
		{"TIME", []string{"worker", "operator"}},
		{"INFO replication", []string{"worker", "operator"}},
		{"CONFIG GET appendfsync", []string{"worker", "operator"}},
		{"HGETALL " + key, []string{"worker", "operator"}},
		{"SCAN 0", []string{"worker", "operator"}},
		{"HSET " + key + " gate y", []string{"worker"}},
		{"HDEL " + key + " gate", []string{"worker"}},
		{"SET {linepay:00}:ready 1", []string{"worker"}},
		{"PEXPIRE " + key + " 100000", []string{"worker"}},
		{"WAIT 0 1", []string{"worker", "operator"}},
		{"HSET other gate y", nil},
		{"HGETALL other", nil},
		{"DEL " + key, nil},
		{"FLUSHALL", nil},
		{"CONFIG SET appendonly no", nil},
		{"CONFIG REWRITE", nil},
		{"ACL LIST", nil},
		{"ACL SETUSER operator +@all", nil},
		{"CLIENT KILL TYPE normal", nil},
		{"SHUTDOWN NOSAVE", nil},
		{"KEYS *", nil},
		{"SUBSCRIBE news", nil},
		{"REPLICAOF NO ONE", nil},
		{"SAVE", nil},
		{"FLUSHDB", nil},
		{"SWAPDB 0 1", nil},
		{"RANDOMKEY", nil},
		{"DUMP " + key, nil},
		{"COPY " + key + " {linepay:00}:order:1", nil},
		{"RENAME " + key + " other", nil},
		{"EXPIRE " + key + " 0", nil},
		{"GET {linepay:00}:ready", nil},
		{"SET other 1", nil},
		{"MIGRATE 127.0.0.1 1 " + key + " 0 10", nil},
		{"CLIENT LIST", nil},
		{"CLIENT PAUSE 1", nil},
		{"CLIENT NO-EVICT on", nil},
		{"MONITOR", nil},
		{"SLOWLOG GET", nil}, // with the arguments of scripts
		{"SCRIPT FLUSH", nil},
		{"FUNCTION LIST", nil},
		{"MODULE LIST", nil},
		{"PUBLISH news 1", nil},
		{"EVAL return(1) 1 other", nil},
	} {
		words := strings.Fields(row.command)
		args := make([]any, len(words))
		for i, word := range words {
			args[i] = word
		}
		for _, account := range []string{"worker", "operator", "replica", "stranger"} {
			client := stranger
			if account != "stranger" {
				client = r.client(t, account)
			}
			err := client.Do(t.Context(), args...).Err()
			denied := redis.HasErrorPrefix(err, "NOPERM") || redis.HasErrorPrefix(err, "NOAUTH")
			if may := slices.Contains(row.may, account); may && err != nil || !may && !denied {
				t.Errorf("%s: %s gives %v, want it to be %s", account, row.command, err, map[bool]string{true: "done", false: "refused"}[may])
			}
		}
	}
	// A script has the rights of who runs it, whatever keys it names.
	for _, script := range []string{
		"return redis.call('SET', 'other', '1')", "return redis.call('FLUSHALL')", "return redis.call('DEL', '" + key + "')",
		"return redis.call('CONFIG', 'SET', 'appendonly', 'no')", "return redis.call('KEYS', '*')",
	} {
		for _, account := range []string{"worker", "operator"} {
			if err := r.client(t, account).Eval(t.Context(), script, nil).Err(); err == nil {
				t.Errorf("%s runs the script %s", account, script)
			}
		}
	}
	for account, want := range map[string]string{"worker": "<nil>", "operator": "can't run this command or subcommand"} {
		err := r.client(t, account).Eval(t.Context(), "return redis.call('HSET', KEYS[1], 'gate', 'z')", []string{key}).Err()
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%s: a script that writes gives %v, want %s", account, err, want)
		}
	}
}

func TestRedisFilesNameEverySettingOfTheStart(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile("../redis/start.sh")
	if err != nil {
		t.Fatal(err)
	}
	head, body, _ := strings.Cut(string(script), "set -eu")
	for _, word := range strings.FieldsFunc(body, func(r rune) bool { return r != '_' && (r < 'A' || r > 'Z') }) {
		if strings.HasPrefix(word, "REDIS_") && !strings.Contains(head, word) {
			t.Errorf("%s is read and not told at the top of start.sh", word)
		}
	}
}
