package chaos

import (
	"net"
	"sync"
	"testing"
	"time"
)

// link is the network between two programs: a proxy that can cut connections, hold back what passes, and refuse new connections.
type link struct {
	pair     string // which two kinds of program it joins
	listener net.Listener

	mu      sync.Mutex
	target  string
	refuses bool
	slow    time.Duration    // that everything takes longer
	free    [2]chan struct{} // by direction: closed while bytes may pass
	wires   map[*wire]bool
	serving sync.WaitGroup
}

// Directions, as seen by the program that connects.
const (
	requests = iota
	answers
)

// wire is one connection through a link.
type wire struct {
	ends [2]net.Conn
	gone chan struct{}
	once sync.Once
}

func newLink(t *testing.T, pair, target string) *link {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &link{pair: pair, listener: listener, target: target, wires: map[*wire]bool{}}
	for i := range l.free {
		l.free[i] = make(chan struct{})
		close(l.free[i])
	}
	l.serving.Go(l.serve)
	t.Cleanup(func() {
		_ = listener.Close()
		l.cut()
		l.serving.Wait()
	})
	return l
}

func (l *link) addr() string { return l.listener.Addr().String() }

func (l *link) serve() {
	for {
		client, err := l.listener.Accept()
		if err != nil {
			return
		}
		l.serving.Go(func() { l.join(client) })
	}
}

func (l *link) join(client net.Conn) {
	l.mu.Lock()
	target, refuses := l.target, l.refuses
	l.mu.Unlock()
	server, err := net.Dial("tcp", target)
	if err != nil || refuses {
		reset(client)
		if err == nil {
			reset(server)
		}
		return
	}
	w := &wire{ends: [2]net.Conn{client, server}, gone: make(chan struct{})}
	l.mu.Lock()
	l.wires[w] = true
	l.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { l.carry(w, requests) })
	both.Go(func() { l.carry(w, answers) })
	both.Wait()
	l.mu.Lock()
	delete(l.wires, w)
	l.mu.Unlock()
}

// carry takes bytes one way until the connection ends. What is held back while it is cut is lost.
func (l *link) carry(w *wire, direction int) {
	defer w.end()
	from, to := w.ends[direction], w.ends[1-direction]
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if err != nil || !l.pass(w, direction) {
			return
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

func (l *link) pass(w *wire, direction int) bool {
	l.mu.Lock()
	free, slow := l.free[direction], l.slow
	l.mu.Unlock()
	if slow > 0 {
		timer := time.NewTimer(slow)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-w.gone:
			return false
		}
	}
	select {
	case <-free:
		return true
	case <-w.gone:
		return false
	}
}

func (w *wire) end() {
	w.once.Do(func() {
		close(w.gone)
		reset(w.ends[0])
		reset(w.ends[1])
	})
}

// reset closes a connection without a farewell.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

// cut ends all connections.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for w := range l.wires {
		w.end()
	}
}

// cutSome ends each connection with even chances.
func (l *link) cutSome(d *dice) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for w := range l.wires {
		if d.one(2) {
			w.end()
		}
	}
}

// hold lets nothing pass in these directions until it is released.
func (l *link) hold(directions ...int) (release func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var held []chan struct{}
	for _, d := range directions {
		free := make(chan struct{})
		l.free[d] = free
		held = append(held, free)
	}
	return func() {
		for _, free := range held {
			close(free)
		}
	}
}

// refuse turns away new connections.
func (l *link) refuse(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refuses = on
}

// delay makes everything take longer.
func (l *link) delay(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slow = d
}

// lead sends connections elsewhere: new ones, as the old ones are cut.
func (l *link) lead(target string) {
	l.mu.Lock()
	l.target = target
	l.mu.Unlock()
	l.cut()
}
