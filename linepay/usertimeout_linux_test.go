package linepay

import (
	"net"
	"net/http"
	"net/http/httptrace"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestConnectionsThrowAwayWhatWasGivenUp(t *testing.T) {
	t.Parallel()
	server := newLINEPay(t, successes[Capture])
	c := client(t, server.URL, nil)
	for _, want := range []struct {
		timeout time.Duration
		call    Operation
	}{{60 * time.Second, Capture}, {20 * time.Second, Void}, {60 * time.Second, Capture}} {
		var got net.Conn
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { got = info.Conn }})
		if _, err := tenCalls[want.call](ctx, c); err != nil {
			t.Fatal(err)
		}
		raw, err := got.(*conn).raw.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if err := raw.Control(func(fd uintptr) {
			linger, err := unix.GetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER)
			if err != nil || linger.Onoff == 0 || linger.Linger != 0 {
				t.Errorf("linger is %+v, %v; want on, 0 seconds", linger, err)
			}
			ms, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
			if err != nil || ms != int(want.timeout.Milliseconds()) {
				t.Errorf("%s: TCP_USER_TIMEOUT is %d ms, %v; want %s", want.call, ms, err, want.timeout)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestUserTimeoutEndsWithTheCallersDeadline(t *testing.T) {
	t.Parallel()
	var timeout int
	server := newLINEPay(t, successes[Void])
	transport := NewTransport(Config{})
	t.Cleanup(transport.CloseIdleConnections)
	c := client(t, server.URL, func(c *Config) {
		c.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			ctx := httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{WroteHeaders: func() {}})
			return transport.RoundTrip(r.WithContext(ctx))
		})
	})
	s := newSending(t.Context(), 20*time.Second)
	defer s.stop()
	if left := s.timeLeft(); left != 20*time.Second {
		t.Errorf("without a deadline %s are left", left)
	}
	if _, err := c.Void(t.Context(), idForTests); err != nil {
		t.Fatal(err, timeout)
	}
}
