package linepay

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// hangUp closes the connection without an answer.
func hangUp(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	_ = conn.Close()
}

func TestLostAnswerIsUnknownAndNothingIsSentAgain(t *testing.T) {
	t.Parallel()
	eachCall(t, func(t *testing.T, op Operation, call func(context.Context, *Client) (any, error)) {
		var answered atomic.Int32
		server := newLINEPayWith(t, func(w http.ResponseWriter, r *http.Request) {
			// The first call leaves a connection behind that can be used again; it is closed after the second one has been read.
			if answered.Add(1) == 1 {
				_, _ = io.WriteString(w, successes[op])
				return
			}
			hangUp(w, r)
		})
		c := client(t, server.URL, nil)
		if _, err := call(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		_, err := call(t.Context(), c)
		if e := failure(t, err); e.Verdict != Unknown || !e.Sent || e.HTTPStatus != 0 || e.Err == nil {
			t.Errorf("%+v, want unknown", *e)
		}
		want := 2
		if op.Reads() {
			want = 3 // net/http asks again, on a new connection
		}
		if got := len(server.requests()); got != want {
			t.Errorf("%d requests arrived, want %d", got, want)
		}
	})
}

func TestConnectionResetBeforeTheAnswerIsUnknown(t *testing.T) {
	t.Parallel()
	server := newLINEPayWith(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		_ = conn.(*net.TCPConn).SetLinger(0)
		_ = conn.Close()
	})
	_, err := client(t, server.URL, nil).Void(t.Context(), idForTests)
	if e := failure(t, err); e.Verdict != Unknown || !e.Sent {
		t.Errorf("%+v, want unknown", *e)
	}
	if got := len(server.requests()); got != 1 {
		t.Errorf("%d requests arrived, want 1", got)
	}
}

func TestAnswerCutOnItsWayIsUnknown(t *testing.T) {
	t.Parallel()
	for _, head := range []string{"Content-Length: 1000", "Transfer-Encoding: chunked"} {
		answer := "HTTP/1.1 200 OK\r\n" + head + "\r\n\r\n" + successes[Void]
		if head != "Content-Length: 1000" {
			answer = fmt.Sprintf("HTTP/1.1 200 OK\r\n%s\r\n\r\n%x\r\n%s\r\n", head, len(successes[Void]), successes[Void])
		}
		url := rawServer(t, func(conn net.Conn) { _, _ = io.WriteString(conn, answer) })
		_, err := client(t, url, nil).Void(t.Context(), idForTests)
		if e := failure(t, err); e.Verdict != Unknown || !e.Sent || e.HTTPStatus != 200 || !errors.Is(e, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %+v, want unknown", head, *e)
		}
	}
}

// rawServer answers the first request on each connection by hand, and closes it.
func rawServer(t *testing.T, answer func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			group.Go(func() {
				defer func() { _ = conn.Close() }()
				request, err := http.ReadRequest(bufio.NewReader(conn))
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, request.Body)
				answer(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		group.Wait()
	})
	return "http://" + listener.Addr().String()
}

func TestNoAnswerInTimeIsUnknown(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	server := newLINEPayWith(t, func(http.ResponseWriter, *http.Request) { <-release })
	t.Cleanup(func() { close(release) })
	for name, row := range map[string]struct {
		ctx    func() (context.Context, context.CancelFunc)
		read   time.Duration
		reason error
	}{
		"read timeout before a later deadline": {func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(t.Context(), 5*time.Second)
		}, 50 * time.Millisecond, errReadTimeout},
		"the caller's deadline": {func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(t.Context(), 50*time.Millisecond)
		}, 0, context.DeadlineExceeded},
		"the caller's cancellation": {func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(t.Context())
			return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { cancel() }}), cancel
		}, 0, context.Canceled},
	} {
		ctx, cancel := row.ctx()
		_, err := client(t, server.URL, func(c *Config) { c.ReadTimeout = row.read }).Refund(ctx, idForTests, nil)
		cancel()
		if e := failure(t, err); e.Verdict != Unknown || !e.Sent || !errors.Is(err, row.reason) {
			t.Errorf("%s: %+v, want unknown because of %v", name, *e, row.reason)
		}
	}
}

func TestSlowBodyIsBoundedByTheReadTimeout(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	server := newLINEPayWith(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"returnCode":`)
		w.(http.Flusher).Flush()
		<-release
	})
	t.Cleanup(func() { close(release) })
	_, err := client(t, server.URL, func(c *Config) { c.ReadTimeout = 50 * time.Millisecond }).Void(t.Context(), idForTests)
	if e := failure(t, err); e.Verdict != Unknown || !e.Sent || e.HTTPStatus != 200 || !errors.Is(err, errReadTimeout) {
		t.Errorf("%+v, want unknown because the read timeout is over", *e)
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v is not known as a deadline", err)
	}
}

func TestWhatIsNotHTTPIsNotQuoted(t *testing.T) {
	t.Parallel()
	url := rawServer(t, func(conn net.Conn) { _, _ = io.WriteString(conn, "card 4111111111111111\r\n\r\n") })
	_, err := client(t, url, nil).Void(t.Context(), idForTests)
	if e := failure(t, err); e.Verdict != Unknown || !errors.Is(e.Err, errNotHTTP) || strings.Contains(e.Error(), "4111") {
		t.Errorf("%+v, want unknown because it is not HTTP", *e)
	}
}

func TestNothingIsSentWithoutAConnection(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	plain := newLINEPay(t, `{}`)
	untrusted := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a call arrived over untrusted TLS") }))
	untrusted.Config.ErrorLog = quiet()
	untrusted.StartTLS()
	t.Cleanup(untrusted.Close)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for name, row := range map[string]struct {
		ctx context.Context
		url string
	}{
		"nobody listens":                {t.Context(), nobody},
		"the server does not speak TLS": {t.Context(), strings.Replace(plain.URL, "http://", "https://", 1)},
		"the certificate is untrusted":  {t.Context(), untrusted.URL},
		"the context is over":           {over, plain.URL},
	} {
		_, err := client(t, row.url, nil).Refund(row.ctx, idForTests, nil)
		if e := failure(t, err); e.Verdict != NotSent || e.Sent || e.Err == nil {
			t.Errorf("%s: %+v, want not-sent", name, *e)
		}
	}
	if got := len(plain.requests()); got != 0 {
		t.Errorf("%d requests arrived", got)
	}
}

func TestDialThatOutlivesTheCallersDeadlineIsNotSent(t *testing.T) {
	t.Parallel()
	transport := NewTransport(Config{})
	transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	c := client(t, "http://127.0.0.1:1", func(c *Config) { c.Transport = transport })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := c.Refund(ctx, idForTests, nil)
	if e := failure(t, err); e.Verdict != NotSent || e.Sent || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%+v, want not-sent", *e)
	}
}

func TestNotSentIsNeverSaidOfACallThatArrived(t *testing.T) {
	t.Parallel()
	server := newLINEPay(t, successes[Refund])
	c := client(t, server.URL, nil)
	arrived := 0
	for range 100 {
		// The caller gives up in the moment in which the call gets its connection: it may or may not still be written.
		ctx, cancel := context.WithCancel(t.Context())
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { cancel() }})
		_, err := c.Refund(ctx, idForTests, nil)
		cancel()
		if err != nil && failure(t, err).Verdict == NotSent {
			continue
		}
		arrived++
	}
	server.Close() // waits for calls on their way
	if got := len(server.requests()); got > arrived {
		t.Errorf("%d calls arrived, but only %d may have been sent", got, arrived)
	}
}

func TestCallGivenUpBeforeItWasWrittenIsSealed(t *testing.T) {
	t.Parallel()
	near, far := net.Pipe()
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	// An earlier call was written to the connection.
	ours := &conn{Conn: near, raw: near, written: true}
	s := newSending(t.Context(), time.Minute)
	defer s.stop()
	s.getConn("")
	s.gotConn(httptrace.GotConnInfo{Conn: ours})
	if !s.nothingSent() {
		t.Fatal("nothing was written, and yet the call counts as sent")
	}
	if n, err := ours.Write([]byte("POST")); n != 0 || !errors.Is(err, errSealed) {
		t.Errorf("a sealed connection wrote %d bytes, %v", n, err)
	}
}

func TestCallCountsAsSentFromTheFirstAttemptToWrite(t *testing.T) {
	t.Parallel()
	near, far := net.Pipe()
	_ = far.Close()
	ours := &conn{Conn: near, raw: near}
	s := newSending(t.Context(), time.Minute)
	defer s.stop()
	s.getConn("")
	s.gotConn(httptrace.GotConnInfo{Conn: ours})
	if _, err := ours.Write([]byte("POST")); err == nil {
		t.Fatal("the pipe is closed; writing should fail")
	}
	if s.nothingSent() {
		t.Error("a failed write does not prove that nothing left")
	}
	// A second connection of the same call, untouched, changes nothing about the first.
	s.gotConn(httptrace.GotConnInfo{Conn: &conn{Conn: near, raw: near}})
	if s.nothingSent() {
		t.Error("the first connection was forgotten")
	}
}

func TestForeignTransportsAreDoubted(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for name, row := range map[string]struct {
		transport http.RoundTripper
		want      Verdict
	}{
		"one that reports nothing": {roundTrip(func(*http.Request) (*http.Response, error) { return nil, broken }), Unknown},
		"one with connections of its own": {roundTrip(func(r *http.Request) (*http.Response, error) {
			trace := httptrace.ContextClientTrace(r.Context())
			trace.GetConn("")
			near, _ := net.Pipe()
			trace.GotConn(httptrace.GotConnInfo{Conn: near})
			return nil, broken
		}), Unknown},
		"one that got no connection": {roundTrip(func(r *http.Request) (*http.Response, error) {
			httptrace.ContextClientTrace(r.Context()).GetConn("")
			return nil, broken
		}), NotSent},
	} {
		_, err := client(t, SandboxURL, func(c *Config) { c.Transport = row.transport }).Refund(t.Context(), idForTests, nil)
		if e := failure(t, err); e.Verdict != row.want || e.Sent != (row.want != NotSent) {
			t.Errorf("%s: %+v, want %s", name, *e, row.want)
		}
	}
}

func TestTransportFollowsNoProxyAndSpeaksHTTP1Alone(t *testing.T) {
	t.Parallel()
	transport := NewTransport(Config{MaxConns: 3})
	if transport.Proxy != nil {
		t.Error("a proxy setting of the environment would be followed")
	}
	if transport.MaxConnsPerHost != 3 || NewTransport(Config{}).MaxConnsPerHost != defaultMaxConns {
		t.Error("MaxConns does not limit the connections")
	}
	if !transport.DisableCompression || transport.TLSClientConfig.MinVersion != tls.VersionTLS12 {
		t.Error("compression is on, or TLS below 1.2 allowed")
	}
	var proto, alpn atomic.Value
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proto.Store(r.Proto)
		alpn.Store(r.TLS.NegotiatedProtocol)
		_, _ = io.WriteString(w, successes[Void])
	}))
	server.EnableHTTP2 = true
	server.TLS = &tls.Config{NextProtos: []string{"h2", "http/1.1"}}
	server.StartTLS()
	t.Cleanup(server.Close)
	transport.TLSClientConfig.RootCAs = x509.NewCertPool()
	transport.TLSClientConfig.RootCAs.AddCert(server.Certificate())
	c := client(t, server.URL, func(c *Config) { c.Transport = transport })
	for range 2 {
		if _, err := c.Void(t.Context(), idForTests); err != nil {
			t.Fatal(err)
		}
	}
	if proto.Load() != "HTTP/1.1" || alpn.Load() != "http/1.1" || transport.Protocols.HTTP2() {
		t.Errorf("the server offered HTTP/2 and was spoken to in %v, negotiated %v", proto.Load(), alpn.Load())
	}
}

func TestOldTLSIsNotSpoken(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a call arrived over TLS 1.1") }))
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	server.Config.ErrorLog = quiet()
	server.StartTLS()
	t.Cleanup(server.Close)
	transport := NewTransport(Config{})
	transport.TLSClientConfig.RootCAs = x509.NewCertPool()
	transport.TLSClientConfig.RootCAs.AddCert(server.Certificate())
	_, err := client(t, server.URL, func(c *Config) { c.Transport = transport }).Void(t.Context(), idForTests)
	if e := failure(t, err); e.Verdict != NotSent {
		t.Errorf("%+v, want not-sent", *e)
	}
}

func TestErrorsHoldNoSecrets(t *testing.T) {
	t.Parallel()
	const key = "RK7SECRETKEY123"
	echo := func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, `{"returnCode":"1190","returnMessage":"The regKey %s does not exist, %s, %s"}`, key, r.URL.Path, secretForTests)
	}
	garbage := rawServer(t, func(conn net.Conn) { _, _ = io.WriteString(conn, "garbage "+key+" "+secretForTests+"\r\n\r\n") })
	badHeader := rawServer(t, func(conn net.Conn) { _, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n"+key+"\r\n\r\n") })
	for name, url := range map[string]string{
		"an answer that repeats them":  newLINEPayWith(t, echo).URL,
		"a page that repeats them":     newLINEPay(t, "<p>"+key+secretForTests).URL,
		"an info that repeats them":    newLINEPay(t, `{"returnCode":"0000","info":{"transactionId":"`+key+secretForTests+`"}}`).URL,
		"a code that repeats them":     newLINEPay(t, `{"returnCode":"`+key+secretForTests+`"}`).URL,
		"a name that repeats them":     newLINEPay(t, `{"returnCode":"0000","info":{"`+key+`":1,"`+key+`":1}}`).URL,
		"what is not HTTP":             garbage,
		"a broken header":              badHeader,
		"nobody, at an unusual port":   "http://127.0.0.1:1",
		"nobody, with a key in a path": "https://127.0.0.1:1",
	} {
		c := client(t, url, nil)
		_, paid := c.PayPreapproved(t.Context(), key, PreapprovedPayment{})
		_, checked := c.CheckPreapproved(t.Context(), key, false)
		_, expired := c.ExpirePreapproved(t.Context(), key)
		for _, err := range []error{paid, checked, expired} {
			if err == nil {
				continue // a check needs no info
			}
			for _, text := range []string{err.Error(), fmt.Sprintf("%+v", *failure(t, err)), fmt.Sprintf("%#v", failure(t, err).Err)} {
				if strings.Contains(text, key) || strings.Contains(text, secretForTests) {
					t.Errorf("%s: %s", name, text)
				}
			}
		}
	}
}

func TestShortKeyLeavesLINEPaysWordsWhole(t *testing.T) {
	t.Parallel()
	server := newLINEPay(t, `{"returnCode":"1190","returnMessage":"The regKey does not exist."}`)
	for _, key := range []string{"K", "reg", "regKey", "1234567"} {
		_, err := client(t, server.URL, nil).ExpirePreapproved(t.Context(), key)
		if e := failure(t, err); e.Message != "The regKey does not exist." || e.Code != "1190" {
			t.Errorf("key %q: code %s, message %q, want LINE Pay's", key, e.Code, e.Message)
		}
	}
	_, err := client(t, newLINEPay(t, `{"returnCode":"1190","returnMessage":"No 12345678."}`).URL, nil).ExpirePreapproved(t.Context(), "12345678")
	if e := failure(t, err); e.Message != "No "+hidden+"." {
		t.Errorf("message %q, want it without the key", e.Message)
	}
}

func TestTransportErrorsAreToldWithoutTheirURL(t *testing.T) {
	t.Parallel()
	c := client(t, SandboxURL, func(c *Config) {
		c.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			return nil, fmt.Errorf("while calling %s: %w", r.URL, &net.OpError{Op: "read", Net: "tcp", Err: errors.New("reset")})
		})
	})
	_, err := c.ExpirePreapproved(t.Context(), "RK7SECRETKEY123")
	want := "LINE Pay preapproved-expire at sandbox-api-pay.line.me: read tcp: reset (unknown)"
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestClientIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	server := newLINEPay(t, successes[Refund])
	c := client(t, server.URL, func(c *Config) { c.MaxConns = 4 })
	var group sync.WaitGroup
	for range 40 {
		group.Go(func() {
			if _, err := c.Refund(t.Context(), idForTests, nil); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if got := len(server.requests()); got != 40 {
		t.Errorf("%d requests arrived, want 40", got)
	}
}
