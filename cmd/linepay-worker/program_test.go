package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"go.uber.org/goleak"

	"linepay-worker/consumer/consumertest"
)

// binary is the program as .ci/build makes it but for its paths and version, built once.
var binary string

func TestMain(m *testing.M) { os.Exit(build(m)) }

func build(m *testing.M) int {
	dir, err := os.MkdirTemp("", "linepay-worker-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "linepay-worker")
	if output, err := exec.Command("go", "build", "-ldflags", "-s -w", "-o", binary, ".").CombinedOutput(); err != nil {
		panic(string(output))
	}
	code := m.Run()
	http.DefaultClient.CloseIdleConnections()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// patience bounds every wait for a process.
const patience = 30 * time.Second

// process is a running worker and all that it has written to standard output and standard error.
type process struct {
	command *exec.Cmd
	ended   chan struct{}

	mu     sync.Mutex
	output bytes.Buffer
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

// start runs the program with these variables and nothing else of the test's environment.
func start(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	p := &process{ended: make(chan struct{})}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	p.command = exec.CommandContext(ctx, binary, args...)
	p.command.Env = append([]string{"PATH=" + os.Getenv("PATH")}, env...)
	p.command.Stdout, p.command.Stderr = p, p
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = p.command.Wait(); close(p.ended) }()
	t.Cleanup(func() { cancel(); <-p.ended })
	return p
}

// end waits for the process and gives its exit code.
func (p *process) end() int {
	<-p.ended
	return p.command.ProcessState.ExitCode()
}

func (p *process) terminate(t *testing.T) {
	t.Helper()
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}

func (p *process) stop(t *testing.T) int {
	t.Helper()
	p.terminate(t)
	return p.end()
}

// logLine is what tests look at in a log line.
type logLine struct {
	Level       string `json:"level"`
	Message     string `json:"message"`
	Error       string `json:"error"`
	Address     string `json:"address"`
	Channel     string `json:"channel"`
	Host        string `json:"host"`
	Concurrency int    `json:"concurrency"`
	TraceID     string `json:"traceId"`
}

// logged finds the first complete line with a message, if there is one yet.
func (p *process) logged(message string) (line logLine, found bool) {
	for text := range strings.Lines(p.said()) {
		line = logLine{}
		if json.Unmarshal([]byte(text), &line) == nil && line.Message == message {
			return line, true
		}
	}
	return line, false
}

// awaitLog waits for a line with a message, and fails when the process ends without it.
func (p *process) awaitLog(t *testing.T, message string) logLine {
	t.Helper()
	var line logLine
	consumertest.Eventually(t, func(context.Context) (found bool) {
		line, found = p.logged(message)
		return found || p.gone()
	})
	if line.Message != message {
		t.Fatalf("the worker never logged %q:\n%s", message, p.said())
	}
	return line
}

func (p *process) gone() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

var errGone = errors.New("the worker has ended")
