package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"linepay-worker/consumer/consumertest"
	"linepay-worker/publisher"
	"linepay-worker/schemas"
)

// terminal is a terminal, and what was written to it.
type terminal struct {
	*os.File
	ended   chan struct{}
	mu      sync.Mutex
	written strings.Builder
}

func newTerminal(t *testing.T, columns uint16) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	fd := int(master.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns})
	}
	tty := &terminal{ended: make(chan struct{})}
	if err == nil {
		tty.File, err = os.OpenFile(fmt.Sprint("/dev/pts/", number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(tty.ended)
		defer master.Close()
		_, _ = io.Copy(screen{tty}, master) // ends with an error once the other side is closed
	}()
	return tty
}

// screen collects what a terminal shows.
type screen struct{ of *terminal }

func (s screen) Write(b []byte) (int, error) {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	return s.of.written.Write(b)
}

func (t *terminal) shows() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.written.String()
}

// end gives all that was written.
func (t *terminal) end() string {
	_ = t.Close()
	<-t.ended
	return t.shows()
}

func TestLinesFitATerminal(t *testing.T) {
	t.Parallel()
	server, js := provisioned(t)
	bus, err := publisher.New(t.Context(), js)
	if err != nil {
		t.Fatal(err)
	}
	d := schemas.DeadLetter{Reason: schemas.ReasonInvalid, Detail: strings.Repeat("long ", 80), Subject: "linepay.commands.default.void", At: time.Now()}
	if err := bus.Park(t.Context(), "1", d, nil, nil); err != nil {
		t.Fatal(err)
	}
	tty := newTerminal(t, 150)
	code := execute(t.Context(), []string{"deadletters", "list", "--nats-url", server.URL()}, console{strings.NewReader(""), tty.File, os.Stderr})
	lines := strings.Split(tty.end(), "\r\n")
	if code != 0 || len(lines) != 4 || len([]rune(lines[1])) != 150 || !strings.HasSuffix(lines[1], "…") {
		t.Errorf("exit code %d and %q", code, lines)
	}
}

func TestProgressIsShownOnATerminalAndGoneAtTheEnd(t *testing.T) {
	t.Parallel()
	server, js := provisioned(t)
	parkVoids(t, js, 2)
	tty := newTerminal(t, 0) // which tells no width
	code := make(chan int, 1)
	go func() {
		code <- execute(t.Context(), []string{"deadletters", "replay", "--all", "--json", "--nats-url", server.URL()},
			console{strings.NewReader(""), io.Discard, tty.File})
	}()
	carryOut(t, js, 1, schemas.EventVoided)
	if !consumertest.Eventually(t, func(context.Context) bool { return strings.Contains(tty.shows(), "2 dead letters, 1 open, 0 failed") }) {
		t.Errorf("it shows %q", tty.shows())
	}
	carryOut(t, js, 2, schemas.EventVoided)
	if got := <-code; got != 0 {
		t.Errorf("exit code %d", got)
	}
	if text := tty.end(); !strings.HasSuffix(text, "\r\x1b[K") {
		t.Errorf("it leaves %q", text)
	}
}
