package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"time"
)

// process is a program that the bench starts. It ends with the bench at the latest.
type process struct {
	name  string
	log   string // what it writes goes here
	pid   int
	ended chan struct{} // closed when it has ended
	kill  func()        // ends it as a crash does, and waits until it has
}

func start(name, log string, env []string, program string, args ...string) (*process, error) {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	command := exec.Command(program, args...)
	command.Env = append([]string{"PATH=" + os.Getenv("PATH")}, env...)
	command.Stdout, command.Stderr = file, file
	endWithParent(command)
	started, ended := make(chan error, 1), make(chan struct{})
	// The kernel ends the child when the thread that started it ends, and Go ends threads as it likes: so it has one for itself.
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
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return &process{name: name, log: log, pid: command.Process.Pid, ended: ended, kill: func() {
		_ = command.Process.Kill() // it may have ended by itself
		<-ended
	}}, nil
}

// lastWords is the end of what it wrote.
func (p *process) lastWords() string {
	said, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(said[max(0, len(said)-1000):])
}

// alive gives an error with its last words when it has ended.
func (p *process) alive() error {
	select {
	case <-p.ended:
		return fmt.Errorf("%s has ended by itself; it said\n%s", p.name, p.lastWords())
	default:
		return nil
	}
}

// freePort is one below those that the kernel gives to outgoing connections, so that nobody takes it before its server does.
func freePort() (string, error) {
	for range 1000 {
		port := strconv.Itoa(10_000 + rand.IntN(20_000))
		listener, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err == nil {
			return port, listener.Close()
		}
	}
	return "", fmt.Errorf("there is no free port from 10000 to 29999")
}

// usage is what processes have used up.
type usage struct {
	cpu  time.Duration
	peak int // KiB of memory, at the most
}

func used(processes []*process) (sum usage, err error) {
	for _, p := range processes {
		u, err := usageOf(p.pid)
		if err != nil {
			return usage{}, fmt.Errorf("%s: %w", p.name, err)
		}
		sum.cpu += u.cpu
		sum.peak = max(sum.peak, u.peak)
	}
	return sum, nil
}
