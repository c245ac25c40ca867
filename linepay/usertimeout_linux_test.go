package linepay

import (
	"context"
	"net"
	"net/http/httptrace"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestConnectionsThrowAwayWhatWasGivenUp(t *testing.T) {
	t.Parallel()
	server := newLINEPay(t, successes[Capture])
	c := client(t, server.URL, nil)
	for _, row := range []struct {
		op       Operation
		deadline time.Duration
		from, to time.Duration
	}{
		{Capture, time.Hour, 60 * time.Second, 60 * time.Second},
		{Void, time.Hour, 20 * time.Second, 20 * time.Second},
		{Capture, 10 * time.Second, time.Second, 10 * time.Second},
		{Capture, time.Hour, 60 * time.Second, 60 * time.Second},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), row.deadline)
		var got net.Conn
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { got = info.Conn }})
		_, err := tenCalls[row.op](ctx, c)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		linger, timeout := socketOptions(t, got.(*conn).raw.(*net.TCPConn))
		if linger.Onoff == 0 || linger.Linger != 0 {
			t.Errorf("linger is %+v, want on, 0 seconds", linger)
		}
		if timeout < row.from || timeout > row.to {
			t.Errorf("%s with a deadline in %s: TCP_USER_TIMEOUT is %s, want %s to %s", row.op, row.deadline, timeout, row.from, row.to)
		}
	}
}

func socketOptions(t *testing.T, tcp *net.TCPConn) (linger *unix.Linger, userTimeout time.Duration) {
	t.Helper()
	raw, err := tcp.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var errLinger, errTimeout error
	err = raw.Control(func(fd uintptr) {
		linger, errLinger = unix.GetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER)
		var ms int
		ms, errTimeout = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
		userTimeout = time.Duration(ms) * time.Millisecond
	})
	if err != nil || errLinger != nil || errTimeout != nil {
		t.Fatal(err, errLinger, errTimeout)
	}
	return linger, userTimeout
}
