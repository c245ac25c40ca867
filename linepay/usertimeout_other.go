//go:build !linux

package linepay

import (
	"net"
	"time"
)

// setUserTimeout does nothing: TCP_USER_TIMEOUT is Linux'. Elsewhere the kernel may go on sending what was given up while this process is
// stopped.
func setUserTimeout(net.Conn, time.Duration) error { return nil }
