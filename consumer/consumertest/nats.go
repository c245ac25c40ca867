package consumertest

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// patience bounds every wait for a server. A machine under load may need seconds; a test that meets the bound fails.
const patience = 20 * time.Second

// NATSServer is a NATS server with JetStream, inside the test's process, that stores on disk.
type NATSServer struct {
	t       testing.TB
	options server.Options
	running *server.Server
	conns   []*nats.Conn // those of Connect, under mu
	mu      sync.Mutex
}

// NATS starts a server on a free port. Its settings are the defaults of nats-server, so what it has acknowledged may be lost with the
// machine, as in production, but not with the server.
func NATS(t testing.TB) *NATSServer {
	t.Helper()
	s := &NATSServer{t: t, options: server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true,
	}}
	s.start()
	t.Cleanup(s.Stop)
	return s
}

func (s *NATSServer) start() {
	s.t.Helper()
	options := s.options // NewServer fills in defaults
	running, err := server.NewServer(&options)
	if err != nil {
		s.t.Fatalf("consumertest: NATS cannot be started: %v", err)
	}
	running.Start()
	s.running = running
	if !running.ReadyForConnections(patience) {
		s.t.Fatalf("consumertest: NATS is not ready after %s", patience)
	}
	s.options.Port = running.Addr().(*net.TCPAddr).Port
}

// URL is the address for clients; it outlives Stop and Restart.
func (s *NATSServer) URL() string { return s.running.ClientURL() }

// Stop ends the server and all its connections, and waits until it has ended and the connections of Connect have noticed: what is asked over
// one that has not would be lost, and waited for in vain, even where the server is back at once. Stopping twice is harmless.
func (s *NATSServer) Stop() {
	s.running.Shutdown()
	s.running.WaitForShutdown()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, conn := range s.conns {
		if !noticed(conn) {
			s.t.Errorf("consumertest: a connection to NATS does not notice within %s that the server has stopped", patience)
		}
	}
}

func noticed(conn *nats.Conn) bool {
	ctx, cancel := context.WithTimeout(context.Background(), patience) // the test may have ended
	defer cancel()
	return poll(ctx, func(context.Context) bool { return !conn.IsConnected() })
}

// Restart stops the server if it runs, and starts it on the same port with what it had stored.
func (s *NATSServer) Restart() {
	s.t.Helper()
	s.Stop()
	s.start()
}

// Snapshot copies what the server stores, as of now. The server is stopped for it, and started again.
func (s *NATSServer) Snapshot() (dir string) {
	s.t.Helper()
	dir = s.t.TempDir()
	s.Stop()
	if err := os.CopyFS(dir, os.DirFS(s.options.StoreDir)); err != nil {
		s.t.Fatalf("consumertest: NATS cannot be copied: %v", err)
	}
	s.start()
	return dir
}

// Restore puts a snapshot in the place of what the server stores, as after a disaster, and starts it again.
func (s *NATSServer) Restore(snapshot string) {
	s.t.Helper()
	s.Stop()
	s.options.StoreDir = s.t.TempDir()
	if err := os.CopyFS(s.options.StoreDir, os.DirFS(snapshot)); err != nil {
		s.t.Fatalf("consumertest: NATS cannot be restored: %v", err)
	}
	s.start()
}

// Connect gives a connection that reconnects without pause and is closed when the test ends.
func (s *NATSServer) Connect(t testing.TB) *nats.Conn {
	t.Helper()
	conn, err := nats.Connect(s.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond), nats.ReconnectJitter(0, 0),
		nats.ReconnectBufSize(-1))
	if err != nil {
		t.Fatalf("consumertest: no connection to NATS: %v", err)
	}
	t.Cleanup(conn.Close)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns = append(s.conns, conn)
	return conn
}

// JetStream is Connect and JetStream over it.
func (s *NATSServer) JetStream(t testing.TB) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(s.Connect(t))
	if err != nil {
		t.Fatalf("consumertest: %v", err)
	}
	return js
}

// Collect reads every message that the stream holds on subjects matching filter, oldest first. It leaves the stream as it is.
func Collect(t testing.TB, js jetstream.JetStream, stream, filter string) []*jetstream.RawStreamMsg {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	messages, err := collect(ctx, js, stream, filter)
	if err != nil {
		t.Fatalf("consumertest: reading %s of stream %s: %v", filter, stream, err)
	}
	return messages
}

func collect(ctx context.Context, js jetstream.JetStream, stream, filter string) ([]*jetstream.RawStreamMsg, error) {
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return nil, err
	}
	var messages []*jetstream.RawStreamMsg
	for next := uint64(1); ; {
		message, err := s.GetMsg(ctx, next, jetstream.WithGetMsgSubject(filter))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return messages, nil
		}
		if err != nil {
			return nil, err
		}
		messages = append(messages, message)
		next = message.Sequence + 1
	}
}

// Await is Collect once the stream holds at least count such messages; it fails the test when that does not come about.
func Await(t testing.TB, js jetstream.JetStream, stream, filter string, count int) []*jetstream.RawStreamMsg {
	t.Helper()
	var messages []*jetstream.RawStreamMsg
	ok := Eventually(t, func(ctx context.Context) bool {
		var err error
		messages, err = collect(ctx, js, stream, filter)
		return err == nil && len(messages) >= count
	})
	if !ok {
		t.Fatalf("consumertest: stream %s holds %d messages on %s after %s, want %d", stream, len(messages), filter, patience, count)
	}
	return messages
}

// Eventually asks until the answer is yes, and reports false when that takes too long. It asks again every few milliseconds; the test goes
// on as soon as the answer comes.
func Eventually(t testing.TB, holds func(context.Context) bool) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return poll(ctx, holds)
}

func poll(ctx context.Context, holds func(context.Context) bool) bool {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		if holds(ctx) {
			return true
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return false
		}
	}
}
