package chaos

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is a program that the test starts, stops, kills and starts again. It ends with the test's own process at the latest.
type process struct {
	name    string
	program string
	args    []string
	env     []string
	log     string // what it writes goes here, run after run

	turn sync.Mutex // held by the fault that strikes it: one at a time

	mu      sync.Mutex
	running *os.Process
	ended   chan struct{} // closed when it has ended
	code    int           // then its exit code, -1 after a signal
}

func (p *process) start() error {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	command := exec.Command(p.program, p.args...)
	command.Env = append([]string{"PATH=" + os.Getenv("PATH")}, p.env...)
	command.Stdout, command.Stderr = log, log
	endWithParent(command)
	started, ended := make(chan error, 1), make(chan struct{})
	// The kernel ends the child when the thread that started it ends, and Go ends threads as it likes: so it has one for itself.
	go func() {
		defer close(ended)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := command.Start()
		started <- err
		if err != nil {
			return
		}
		_ = command.Wait()
		p.mu.Lock()
		p.code = command.ProcessState.ExitCode()
		p.mu.Unlock()
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running, p.ended = command.Process, ended
	return nil
}

// signal is harmless where the process has ended.
func (p *process) signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running != nil {
		_ = p.running.Signal(s)
	}
}

// over is closed when the process has ended.
func (p *process) over() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}

func (p *process) alive() bool {
	over := p.over()
	if over == nil {
		return false
	}
	select {
	case <-over:
		return false
	default:
		return true
	}
}

// kill ends it as a crash does. Killing twice is harmless.
func (p *process) kill() {
	if over := p.over(); over != nil {
		p.signal(syscall.SIGKILL)
		<-over
	}
}

// terminate asks it to end, and gives the exit code. It is killed when it takes longer than patience.
func (p *process) terminate(patience time.Duration) (code int, took time.Duration) {
	began := time.Now()
	p.signal(syscall.SIGTERM)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-p.over():
	case <-timer.C:
		p.kill()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.code, time.Since(began)
}

// halt stops the process for a while, as a machine under load or a debugger does.
func (p *process) halt(ctx context.Context, d time.Duration) {
	p.signal(syscall.SIGSTOP)
	pause(ctx, d)
	p.signal(syscall.SIGCONT)
}

// pause lasts until d has passed, or ctx has ended.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// until asks again and again, and reports false when ctx ends before the answer is yes.
func until(ctx context.Context, holds func() bool) bool {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		if holds() {
			return true
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return false
		}
	}
}

// freePort is one below those that the kernel gives to outgoing connections, so that nobody takes it while its server is down.
func freePort(t *testing.T, d *dice) string {
	t.Helper()
	for range 1000 {
		port := strconv.Itoa(10_000 + d.n(20_000))
		listener, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err == nil {
			_ = listener.Close()
			return port
		}
	}
	t.Fatal("there is no free port from 10000 to 29999")
	return ""
}
