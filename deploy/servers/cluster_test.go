package servers_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"linepay-worker/consumer/consumertest"
)

// cluster starts the three servers of nats.conf on loopback.
func cluster(t *testing.T) (servers []*natsServer) {
	t.Helper()
	var clients, routes, peers []string
	for range 3 {
		clients, routes = append(clients, "127.0.0.1:"+freePort(t)), append(routes, "127.0.0.1:"+freePort(t))
		peers = append(peers, fmt.Sprintf("%q", "nats-route://routes:routes-password@"+routes[len(routes)-1]))
	}
	for i := range 3 {
		servers = append(servers, startNATS(t, configure(t, "../nats/nats.conf", map[string]string{
			"NATS_SERVER_NAME": fmt.Sprintf("nats-%d", i+1), "NATS_LISTEN": clients[i], "NATS_CLUSTER_LISTEN": routes[i],
			"NATS_ROUTES": "[" + strings.Join(peers, ",") + "]", "NATS_ROUTES_PASSWORD": "routes-password",
			"NATS_MONITORING": "127.0.0.1:" + freePort(t), "NATS_STORE_DIR": t.TempDir(), "NATS_MAX_FILE_STORE": "1GB",
		})))
	}
	for _, s := range servers {
		if !s.ReadyForConnections(patience) {
			t.Fatalf("%s does not start", s.Name())
		}
	}
	whole := func(context.Context) bool {
		for _, s := range servers {
			if s.JetStreamIsLeader() {
				return len(s.JetStreamClusterPeers()) == len(servers)
			}
		}
		return false
	}
	if !consumertest.Eventually(t, whole) {
		t.Fatal("the servers do not become a cluster")
	}
	return servers
}

// The whole as deploy has it: three NATS servers, Redis with a replica, and the worker; one server is lost on the way.
func TestLineRunsOnTheServersOfDeployAndDoctorFindsNothing(t *testing.T) {
	t.Parallel()
	servers := cluster(t)
	master := startRedis(t)
	startRedis(t, "REDIS_REPLICAOF=127.0.0.1 "+master.port)
	w := &world{nats: servers[0], redis: master, pay: consumertest.Simulator(t), settings: []string{"REDIS_WAIT=1"}}
	worker := w.startWorker(t, "--replicas", "3")
	makeReaders(t, w.nats)
	w.playOnce(t, "ORDER-1")

	var arguments []string
	for _, s := range servers {
		arguments = append(arguments, "--nats-monitoring", "http://"+s.MonitorAddr().String())
	}
	said, code := w.ctl(t, "operator", "operator", append([]string{"doctor", "--json", "--replicas", "3"}, arguments...)...)
	if code != 0 {
		t.Errorf("doctor: exit code %d", code)
	}
	found := 0
	for line := range bytes.Lines([]byte(said)) {
		var finding struct{ Severity, Where, Setting, Value, Problem string }
		if err := json.Unmarshal(line, &finding, json.MatchCaseInsensitiveNames(true)); err != nil || finding.Severity != "ok" {
			t.Errorf("doctor finds %s", line)
		}
		found++
	}
	if found < 15 {
		t.Errorf("doctor looked at %d things, want all:\n%s", found, said)
	}

	servers[2].Shutdown()
	servers[2].WaitForShutdown()
	w.playOnce(t, "ORDER-2")
	if code := worker.stop(t); code != 0 {
		t.Errorf("the worker's exit code is %d:\n%s", code, worker.said())
	}
	w.quiet(t, "worker", "operator", "checkout", "refunds", "ledger", "keys")
}

func TestSettingsOfTheServersAreThoseThatWereMeant(t *testing.T) {
	t.Parallel()
	options := configure(t, "../nats/nats.conf", map[string]string{
		"NATS_SERVER_NAME": "nats-1", "NATS_LISTEN": "127.0.0.1:4222", "NATS_CLUSTER_LISTEN": "127.0.0.1:6222", "NATS_ROUTES": "[]",
		"NATS_ROUTES_PASSWORD": "routes-password", "NATS_MONITORING": "127.0.0.1:8222", "NATS_STORE_DIR": "/data", "NATS_MAX_FILE_STORE": "100GB",
	})
	type meant struct {
		SyncAlways bool
		Store      int64
		Payload    int32
		System     string
	}
	got := meant{options.SyncAlways, options.JetStreamMaxStore, options.MaxPayload, options.SystemAccount}
	if diff := cmp.Diff(meant{true, 100 << 30, 1 << 20, "SYS"}, got); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
	client := startRedis(t).client(t, "worker")
	for setting, want := range map[string]string{
		"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction", "save": "", "no-appendfsync-on-rewrite": "no",
	} {
		if got := client.ConfigGet(t.Context(), setting).Val()[setting]; got != want {
			t.Errorf("%s is %q, want %q", setting, got, want)
		}
	}
}

// tls.conf and REDIS_TLS_… have everything encrypted, and NATS ask for a certificate.
func TestLineRunsOverTLS(t *testing.T) {
	t.Parallel()
	files := consumertest.Certificates(t)
	var both []byte
	for _, file := range []string{"../nats/permissions.conf", "../nats/tls.conf"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		both = append(both, text...)
	}
	file := filepath.Join(t.TempDir(), "nats.conf")
	if err := os.WriteFile(file, both, 0o600); err != nil {
		t.Fatal(err)
	}
	options := configure(t, file, map[string]string{"NATS_TLS_CERT": files.Cert, "NATS_TLS_KEY": files.Key, "NATS_TLS_CA": files.CA})
	options.Host, options.Port, options.JetStream, options.StoreDir = "127.0.0.1", server.RANDOM_PORT, true, t.TempDir()
	bus := startNATS(t, options)
	if !bus.ReadyForConnections(patience) {
		t.Fatal("NATS does not start")
	}
	store := startRedis(t, "REDIS_TLS_CERT="+files.Cert, "REDIS_TLS_KEY="+files.Key, "REDIS_TLS_CA="+files.CA)
	w := &world{nats: bus, redis: store, pay: consumertest.Simulator(t), settings: []string{
		"NATS_CA=" + files.CA, "NATS_CERT=" + files.Cert, "NATS_KEY=" + files.Key, "REDIS_CA=" + files.CA,
	}}
	worker := w.startWorker(t)
	if said, code := w.ctl(t, "operator", "operator", "status"); code != 0 || strings.Contains(said, "no answer") {
		t.Errorf("linepayctl status: exit code %d:\n%s", code, said)
	}
	if code := worker.stop(t); code != 0 {
		t.Errorf("the worker's exit code is %d:\n%s", code, worker.said())
	}
	if conn, err := nats.Connect(url(bus, "worker"), nats.RootCAs(files.CA)); err == nil {
		conn.Close()
		t.Error("NATS takes a client without a certificate")
	}
}
