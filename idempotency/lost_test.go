package idempotency

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// cutter passes a connection on to Redis, and cuts it instead of passing on the next answer when told to.
type cutter struct {
	listener net.Listener
	cuts     atomic.Int64 // answers still to be cut
	wg       sync.WaitGroup
}

func newCutter(t testing.TB, to string) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{listener: l}
	c.wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				_ = client.Close()
				continue
			}
			c.wg.Go(func() { _, _ = io.Copy(server, client); _ = server.Close() })
			c.wg.Go(func() { c.answers(client, server); _ = client.Close(); _ = server.Close() })
		}
	})
	t.Cleanup(func() { _ = l.Close(); c.wg.Wait() })
	return c
}

func (c *cutter) answers(client io.Writer, server io.Reader) {
	buffer := make([]byte, 1<<16)
	for {
		n, err := server.Read(buffer)
		if err != nil || c.cuts.Add(-1) >= 0 {
			return
		}
		c.cuts.Add(1)
		if c.cuts.Load() < 0 {
			c.cuts.Store(0)
		}
		if _, err := client.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// cutScene is a scene over a connection whose answers can be lost. The server is its own: on another's, a SCRIPT FLUSH would cost answers.
func cutScene(t *testing.T, config Config) (*scene, *cutter) {
	t.Helper()
	address, stop, err := startServer()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	c := newCutter(t, address)
	s := newScene(t, store{"cut", func() (redis.UniversalOptions, error) {
		return redis.UniversalOptions{Addrs: []string{c.listener.Addr().String()}, DisableIdentity: true, Protocol: 2}, nil
	}}, false)
	s.guard = s.newGuard(config)
	s.claim("warm up", operation("refund:1:warm")) // the connection is set up and the script known
	s.forget()
	return s, c
}

func TestALostAnswerIsAskedForAgainWithTheSameToken(t *testing.T) {
	t.Parallel()
	s, cut := cutScene(t, Config{})
	cut.cuts.Store(1)
	c := s.want(s.claim("A"), Fresh, ReasonNew)
	if c.Calls != 1 {
		t.Errorf("calls %d", c.Calls)
	}
	cut.cuts.Store(1)
	s.extend(c, Extension{Proven: true, Call: true, CallFor: long})
	if c.Calls != 2 {
		t.Errorf("calls %d", c.Calls)
	}
	cut.cuts.Store(1)
	s.release(c, Release{Spend: time.Minute})
	c = s.want(s.claim("A"), Fresh, ReasonNotSent)
	if c.Spent != time.Minute || c.Calls != 2 {
		t.Errorf("spent %v, calls %d", c.Spent, c.Calls)
	}
	cut.cuts.Store(1)
	s.done(c)
	s.want(s.claim("A"), Done, ReasonSettled)
}

func TestAnAnswerLostTwiceIsAnErrorAndTheClaimIsInDoubtAfterwards(t *testing.T) {
	t.Parallel()
	s, cut := cutScene(t, Config{})
	cut.cuts.Store(1000) // a connection that is made anew has answers of its own to be lost
	if c, err := s.guard.Claim(s.ctx, s.request("A", lapsing)); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("claim %+v, error %v", c, err)
	}
	cut.cuts.Store(0)
	s.stayAway()
	s.want(s.claim("A"), InDoubt, ReasonLapsed)
}
