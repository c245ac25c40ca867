package linepay

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// connectTimeout is what LINE Pay's older manual recommends. It holds for the connection and again for the TLS handshake.
	connectTimeout = 5 * time.Second
	// idleTimeout is kept short: a connection that LINE Pay closes just as a call is written to it costs a look-up.
	idleTimeout = 30 * time.Second
)

// NewTransport gives the connections that a client makes for itself: HTTP/1.1 over TLS 1.2 or newer, no proxy, no compression.
// TLSClientConfig may be changed before the first use, to trust another root for example.
//
// A payment call that was given up must not reach LINE Pay later. So a connection is closed with linger 0, which throws away what the kernel
// has not sent yet; and on Linux, while a call is under way, TCP_USER_TIMEOUT ends a connection whose bytes LINE Pay has not acknowledged in
// the time that the call waits for its answer. HTTP/1.1 has one call at a time on a connection, which is what makes both possible.
func NewTransport(c Config) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	t := &http.Transport{
		Proxy:               nil, // HTTP_PROXY must not redirect payments
		Protocols:           protocols,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
		DisableCompression:  true,
		MaxConnsPerHost:     c.maxConns(),
		MaxIdleConnsPerHost: c.maxConns(),
		IdleConnTimeout:     idleTimeout,
	}
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		raw, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &conn{Conn: raw, raw: raw}, nil
	}
	// TLS is dialled here rather than by net/http, so that conn lies above it and sees the calls alone, no handshakes and no alerts.
	t.DialTLSContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		raw, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		secured, err := handshake(ctx, raw, address, t.TLSClientConfig)
		if err != nil {
			return nil, errors.Join(err, raw.Close())
		}
		return &conn{Conn: secured, raw: raw}, nil
	}
	return t
}

func dial(ctx context.Context, network, address string) (net.Conn, error) {
	raw, err := (&net.Dialer{Timeout: connectTimeout}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if tcp, ok := raw.(*net.TCPConn); ok {
		if err := tcp.SetLinger(0); err != nil {
			return nil, errors.Join(err, raw.Close())
		}
	}
	return raw, nil
}

func handshake(ctx context.Context, raw net.Conn, address string, config *tls.Config) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	config = config.Clone()
	config.ServerName = cmp.Or(config.ServerName, host)
	config.NextProtos = []string{"http/1.1"}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	secured := tls.Client(raw, config)
	return secured, secured.HandshakeContext(ctx)
}

// conn remembers whether a call has begun to write, and can be sealed against it.
type conn struct {
	net.Conn          // TLS, or raw itself
	raw      net.Conn // TCP

	mu      sync.Mutex
	written bool
	sealed  bool
}

var errSealed = errors.New("the call was given up before it was written")

// Write notes the attempt, whatever comes of it: an error does not tell how much has left.
func (c *conn) Write(b []byte) (int, error) {
	c.mu.Lock()
	sealed := c.sealed
	c.written = c.written || !sealed
	c.mu.Unlock()
	if sealed {
		return 0, errSealed
	}
	return c.Conn.Write(b)
}

// begin is called when a call gets the connection for itself, which it will give up after timeout.
func (c *conn) begin(timeout time.Duration) {
	c.mu.Lock()
	c.written = false
	c.mu.Unlock()
	// The call works without it too. An error here is that of a connection which is closed already, and the write will say so.
	_ = setUserTimeout(c.raw, timeout)
}

// seal reports whether nothing of the call was written, and if so sees to it that nothing will be: net/http may give a call up while a
// goroutine of its own is about to write it.
func (c *conn) seal() (unwritten bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.written {
		c.sealed = true
	}
	return c.sealed
}
