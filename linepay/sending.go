package linepay

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http/httptrace"
	"sync"
	"time"
)

// errReadTimeout says which of two clocks ran out; it is a deadline all the same.
var errReadTimeout = readTimeoutError{}

type readTimeoutError struct{}

func (readTimeoutError) Error() string   { return "no answer within the read timeout" }
func (readTimeoutError) Is(e error) bool { return e == context.DeadlineExceeded }

// sending watches one call on its way: how long it may take, and whether anything of it can have reached LINE Pay.
type sending struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	read   time.Duration

	mu     sync.Mutex
	traced bool  // the transport reports connections at all
	conn   *conn // the connection in use, if it is one of ours
	sent   bool  // something may have been written that conn does not answer for
}

func newSending(ctx context.Context, read time.Duration) *sending {
	s := &sending{read: read}
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	// The read timeout starts when there is a connection. Until then this bounds dialling and waiting for a free one.
	s.timer = time.AfterFunc(2*connectTimeout+read, func() { s.cancel(errReadTimeout) })
	s.ctx = httptrace.WithClientTrace(s.ctx, &httptrace.ClientTrace{GetConn: s.getConn, GotConn: s.gotConn})
	return s
}

func (s *sending) stop() {
	s.timer.Stop()
	s.cancel(nil)
}

func (s *sending) getConn(string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.traced = true
}

func (s *sending) gotConn(info httptrace.GotConnInfo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil && !s.conn.seal() {
		// net/http repeats a GET by itself; the first try was written.
		s.sent = true
	}
	s.timer.Reset(s.read)
	ours, ok := info.Conn.(*conn)
	if !ok {
		// Somebody else's connection tells us nothing about what it writes.
		s.conn, s.sent = nil, true
		return
	}
	s.conn = ours
	ours.begin(s.timeLeft())
}

// timeLeft is the read timeout, or what remains until the caller's deadline if that is sooner.
func (s *sending) timeLeft() time.Duration {
	if deadline, ok := s.ctx.Deadline(); ok {
		return min(s.read, time.Until(deadline))
	}
	return s.read
}

// nothingSent reports, after the transport gave up, that it is certain that nothing was or will be written. Doubt counts as sent.
func (s *sending) nothingSent() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.traced || s.sent {
		return false
	}
	return s.conn == nil || s.conn.seal()
}

// errNotHTTP stands for the errors of net/http that quote what came over the connection.
var errNotHTTP = errors.New("the connection broke, or what came over it was not HTTP")

// cause gives the part of a transport's error that may be told. It prefers our reason for giving up to net/http's "context canceled", and lets
// through only kinds of error that hold neither a URL nor anything of an answer.
func (s *sending) cause(err error) error {
	if s.ctx.Err() != nil && errors.Is(context.Cause(s.ctx), errReadTimeout) {
		return errReadTimeout
	}
	for _, telling := range []error{context.Canceled, context.DeadlineExceeded, io.EOF, io.ErrUnexpectedEOF, errTooLong} {
		if errors.Is(err, telling) {
			return telling
		}
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return e
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		return e
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return e
	}
	return errNotHTTP
}
