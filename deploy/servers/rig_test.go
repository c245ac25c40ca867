// Package servers_test starts NATS and Redis from the files in deploy, and sees that everybody can do what they are there for, and nothing
// else.
package servers_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/consumer/consumertest"
	"linepay-worker/linepay"
)

// programs is the folder with our programs and the examples in Go, built once.
var programs string

func TestMain(m *testing.M) { os.Exit(build(m)) }

func build(m *testing.M) int {
	dir, err := os.MkdirTemp("", "linepay-worker-servers-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	programs = dir
	command := exec.Command("go", "build", "-o", dir+string(filepath.Separator),
		"linepay-worker/cmd/linepay-worker", "linepay-worker/cmd/linepayctl", "linepay-worker/cmd/linepay-sandbox",
		"linepay-worker/deploy/examples/go/checkout", "linepay-worker/deploy/examples/go/ledger")
	output, err := command.CombinedOutput()
	if err != nil {
		panic(fmt.Sprintf("%v\n%s", err, output))
	}
	return m.Run()
}

const patience = 60 * time.Second

// roles are the users of permissions.conf, each of which has the password ROLE-password here.
var roles = []string{"checkout", "refunds", "ledger", "keys", "worker", "operator", "reader"}

func password(role string) string { return role + "-password" }

var environment sync.Mutex // NATS reads it while it reads a file

// configure reads a configuration file of NATS, with variables of its own.
func configure(t *testing.T, file string, variables map[string]string) *server.Options {
	t.Helper()
	environment.Lock()
	defer environment.Unlock()
	all := map[string]string{"NATS_SYS_PASSWORD": password("sys")}
	for _, role := range roles {
		all["NATS_"+strings.ToUpper(role)+"_PASSWORD"] = password(role)
	}
	for name, value := range variables {
		all[name] = value
	}
	for name, value := range all {
		if err := os.Setenv(name, value); err != nil {
			t.Fatal(err)
		}
		defer os.Unsetenv(name)
	}
	options, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	options.NoSigs = true
	return options
}

// natsServer is a NATS server that remembers what it has refused.
type natsServer struct {
	*server.Server
	mu         sync.Mutex
	violations []string
}

func startNATS(t *testing.T, options *server.Options) *natsServer {
	t.Helper()
	running, err := server.NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	s := &natsServer{Server: running}
	running.SetLoggerV2(s, false, false, false)
	running.Start()
	t.Cleanup(func() { running.Shutdown(); running.WaitForShutdown() })
	return s
}

// withPermissions starts one server with permissions.conf alone, which change may alter, and with the streams on a disk.
func withPermissions(t *testing.T, disk string, change *strings.Replacer) *natsServer {
	t.Helper()
	text, err := os.ReadFile("../nats/permissions.conf")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "permissions.conf")
	if err := os.WriteFile(file, []byte(change.Replace(string(text))), 0o600); err != nil {
		t.Fatal(err)
	}
	options := configure(t, file, nil)
	options.Host, options.Port, options.JetStream, options.StoreDir = "127.0.0.1", server.RANDOM_PORT, true, disk
	s := startNATS(t, options)
	if !s.ReadyForConnections(patience) {
		t.Fatal("NATS does not start")
	}
	return s
}

// refused tells what a role was not allowed to do.
func (s *natsServer) refused(role string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for _, line := range s.violations {
		if strings.Contains(line, fmt.Sprintf("User %q", role)) {
			list = append(list, line)
		}
	}
	return list
}

// Errorf is given the violations.
func (s *natsServer) Errorf(format string, values ...any) {
	line := fmt.Sprintf(format, values...)
	if strings.Contains(line, "Violation") {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.violations = append(s.violations, line)
	}
}

// The rest of what NATS says is not needed.
func (*natsServer) Noticef(string, ...any) {}
func (*natsServer) Warnf(string, ...any)   {}
func (*natsServer) Fatalf(string, ...any)  {}
func (*natsServer) Debugf(string, ...any)  {}
func (*natsServer) Tracef(string, ...any)  {}

// url is the address of a server for a role.
func url(s *natsServer, role string) string {
	scheme, host, _ := strings.Cut(s.ClientURL(), "://")
	return scheme + "://" + role + ":" + password(role) + "@" + host
}

func connect(t *testing.T, s *natsServer, role string) *nats.Conn {
	t.Helper()
	conn, err := nats.Connect(url(s, role), nats.CustomInboxPrefix("_INBOX."+role), nats.MaxReconnects(-1),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // what is refused is told by the server
	if err != nil {
		t.Fatalf("%s: %v", role, err)
	}
	t.Cleanup(conn.Close)
	return conn
}

func jetStream(t *testing.T, s *natsServer, role string) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(connect(t, s, role))
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// process is a program that runs, and what it has written.
type process struct {
	command *exec.Cmd
	ended   chan struct{}
	mu      sync.Mutex
	output  bytes.Buffer
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.Write(b)
}

func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.String()
}

// start runs a program with these variables until the test ends.
func start(t *testing.T, env []string, name string, args ...string) *process {
	t.Helper()
	p := &process{ended: make(chan struct{})}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	p.command = exec.CommandContext(ctx, name, args...)
	p.command.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "GORACE=atexit_sleep_ms=0"}, env...)
	p.command.Stdout, p.command.Stderr = p, p
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = p.command.Wait(); close(p.ended) }()
	t.Cleanup(func() { cancel(); <-p.ended })
	return p
}

// await waits until the process has written a text.
func (p *process) await(t *testing.T, text string) {
	t.Helper()
	if !consumertest.Eventually(t, func(context.Context) bool { return strings.Contains(p.said(), text) || p.gone() }) || p.gone() {
		t.Fatalf("%s never said %q:\n%s", filepath.Base(p.command.Path), text, p.said())
	}
}

func (p *process) gone() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// stop ends the process the orderly way, and gives its exit code.
func (p *process) stop(t *testing.T) int {
	t.Helper()
	if err := p.command.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	<-p.ended
	return p.command.ProcessState.ExitCode()
}

// world is a worker and all that it stands between.
type world struct {
	nats  *natsServer
	redis *redisServer
	pay   *consumertest.LINEPay

	settings []string // of all programs, beside those of env
}

// env are the settings of a program that acts in a role, with an account at Redis.
func (w *world) env(role, account string) []string {
	return append([]string{
		"NATS_URL=" + url(w.nats, role), "NATS_INBOX_PREFIX=_INBOX." + role, "REDIS_URL=" + w.redis.url(account),
		"LINEPAY_BASE_URL=" + w.pay.URL, "LINEPAY_CHANNEL_ID=" + w.pay.ChannelID, "LINEPAY_CHANNEL_SECRET=" + w.pay.Secret.Reveal(),
	}, w.settings...)
}

// startWorker gives a worker that takes commands.
func (w *world) startWorker(t *testing.T, args ...string) *process {
	t.Helper()
	p := start(t, append(w.env("worker", "worker"), "ADMIN_ADDR=127.0.0.1:0"), filepath.Join(programs, "linepay-worker"), args...)
	p.await(t, `"taking commands"`)
	return p
}

// ctl runs linepayctl as somebody, and gives what it wrote and its exit code.
func (w *world) ctl(t *testing.T, role, account string, args ...string) (said string, code int) {
	t.Helper()
	p := start(t, append(w.env(role, account), "LINEPAYCTL_OPERATOR=night-shift"), filepath.Join(programs, "linepayctl"), args...)
	<-p.ended
	return p.said(), p.command.ProcessState.ExitCode()
}

// letterOf is a dead letter of a confirm that was never sent.
func letterOf(id string, transaction linepay.TransactionID) *nats.Msg {
	msg := nats.NewMsg("linepay.deadletters.default.confirm")
	for name, value := range map[string]string{
		"Dead-Letter-Reason": "exhausted", "Dead-Letter-Detail": "not sent", "Dead-Letter-Subject": "linepay.commands.default.confirm",
		"Dead-Letter-Sequence": "9", "Dead-Letter-Deliveries": "1", "Dead-Letter-At": "2026-01-01T00:00:00Z",
		"Content-Type": "application/cloudevents+json",
	} {
		msg.Header.Set(name, value)
	}
	msg.Data = fmt.Appendf(nil, `{"specversion":"1.0","id":"confirm-%s","source":"/shop","type":"linepay.command.confirm.v1",`+
		`"data":{"transactionId":"%d","orderId":"%s","amount":"500","currency":"TWD"}}`, id, transaction, id)
	return msg
}

// everything tells what is stored, of all streams and of Redis.
func (w *world) everything(t *testing.T) string {
	t.Helper()
	js := jetStream(t, w.nats, "operator")
	var all []string
	for _, name := range []string{"LINEPAY_COMMANDS", "LINEPAY_EVENTS", "LINEPAY_DEADLETTERS", "LINEPAY_AUDIT"} {
		stream, err := js.Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		state := stream.CachedInfo().State
		all = append(all, fmt.Sprint(name, " ", state.FirstSeq, "-", state.LastSeq, ", ", state.Msgs))
	}
	worker, err := js.Consumer(t.Context(), "LINEPAY_COMMANDS", "linepay-worker-default")
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(all, " paused: ", worker.CachedInfo().Paused, ", in Redis: ", w.records(t))
}

// records are the guard's records as they stand.
func (w *world) records(t *testing.T) map[string]map[string]string {
	t.Helper()
	client := w.redis.client(t, "operator")
	records := map[string]map[string]string{}
	for cursor, more := uint64(0), true; more; more = cursor != 0 {
		keys, next, err := client.Scan(t.Context(), cursor, "{linepay:??}:*", 1000).Result()
		if err != nil {
			t.Fatal(err)
		}
		cursor = next
		for _, key := range keys {
			if strings.HasSuffix(key, ":epoch") || strings.HasSuffix(key, ":ready") { // which tell the time
				continue
			}
			if records[key], err = client.HGetAll(t.Context(), key).Result(); err != nil {
				t.Fatal(err)
			}
		}
	}
	return records
}
