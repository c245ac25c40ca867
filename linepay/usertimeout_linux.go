package linepay

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// setUserTimeout bounds the time that the kernel goes on sending what the other side does not acknowledge (TCP_USER_TIMEOUT, milliseconds).
// It goes on doing so while this process is stopped, when nothing else could end it.
func setUserTimeout(nc net.Conn, timeout time.Duration) error {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(max(timeout, time.Millisecond).Milliseconds()))
	})
	if err != nil {
		return err
	}
	return failed
}
