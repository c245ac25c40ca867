package linepay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"
)

// maxBody is the most that is read of an answer, in bytes. A hundred payments with their packages stay well below it.
const maxBody = 1 << 20

var errTooLong = fmt.Errorf("longer than %d bytes", maxBody)

// Client calls LINE Pay for one merchant channel. It is safe for concurrent use.
type Client struct {
	config    Config // without the secret
	secret    func() Secret
	keep      func(Secret)        // the secret of calls that begin from now on
	hide      func(string) string // writes out every secret that it ever had
	base      *url.URL
	transport http.RoundTripper
	observe   Observer // nil: nobody watches
}

// Observer watches calls. It is told of each one when it begins, and gives the context that the call goes on with; what it returns is told how
// the call came out, as LINE Pay's code says: nil for a success. It must be safe for concurrent use.
type Observer func(ctx context.Context, op Operation) (watched context.Context, end func(error))

// New makes a client, or says what is wrong with the configuration. It connects to nothing yet.
func New(c Config) (*Client, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("LINE Pay client: %w", err)
	}
	base, err := c.base()
	if err != nil {
		return nil, fmt.Errorf("LINE Pay client: %w", err)
	}
	transport := c.Transport
	if transport == nil {
		transport = NewTransport(c)
	}
	// Whoever prints a client, or a struct that holds one, must not print the secret: fmt reads unexported fields past their own formatting, but
	// does not look into a function.
	secrets := new(secretBox)
	secrets.keep(c.Secret)
	c.Secret = ""
	return &Client{config: c, secret: secrets.newest, keep: secrets.keep, hide: secrets.hide, base: base, transport: transport}, nil
}

// SetSecret signs the calls that begin from now on with another secret, as after a rotation; those under way keep theirs. Safe for
// concurrent use. It refuses what New would.
func (c *Client) SetSecret(secret Secret) error {
	config := c.config
	config.Secret = secret
	if err := config.Validate(); err != nil {
		return fmt.Errorf("LINE Pay client: %w", err)
	}
	c.keep(secret)
	return nil
}

// Observed gives a client that shares everything with this one, and whose calls are watched.
func (c *Client) Observed(by Observer) *Client {
	watched := *c
	watched.observe = by
	return &watched
}

// Host is host[:port] of the base URL, in lower case and without the scheme's own port: one name for one LINE Pay.
func (c *Client) Host() string { return c.base.Host }

// ReadTimeout is how long the client waits for the answer to op, from the moment that it has a connection. Getting one takes up to ten
// seconds more.
func (c *Client) ReadTimeout(op Operation) time.Duration {
	if c.config.ReadTimeout > 0 {
		return c.config.ReadTimeout
	}
	return op.ReadTimeout()
}

// CloseIdle closes the connections that no call uses.
func (c *Client) CloseIdle() {
	if t, ok := c.transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// call is one call of LINE Pay's API.
type call struct {
	op     Operation
	method string
	// path is what follows the version, escaped.
	path string
	// payload is a POST's body or a GET's raw query: what is signed is what is sent.
	payload string
	// private must not appear in errors or messages: the registered key, in the spellings that it has in path and body.
	private []string
}

// answerTo sends the call once and reads the answer. The error is nil when LINE Pay answered with a code that means success; info is then what
// it said beside the code, nil when it said nothing.
func (c *Client) answerTo(ctx context.Context, call call) (*reply, error) {
	if c.observe == nil {
		return c.send(ctx, call)
	}
	ctx, end := c.observe(ctx, call.op)
	answer, err := c.send(ctx, call)
	end(err)
	return answer, err
}

func (c *Client) send(ctx context.Context, call call) (*reply, error) {
	if err := ctx.Err(); err != nil {
		return nil, c.fail(call, NotSent, err)
	}
	sending := newSending(ctx, c.ReadTimeout(call.op))
	defer sending.stop()
	request, err := c.newRequest(sending.ctx, call)
	if err != nil {
		return nil, c.fail(call, Refused, err)
	}
	response, err := c.transport.RoundTrip(request)
	if err != nil {
		verdict := Unknown
		if sending.nothingSent() {
			verdict = NotSent
		}
		return nil, c.fail(call, verdict, sending.cause(err))
	}
	body, err := readAll(response.Body)
	if err != nil {
		return nil, c.failWith(call, response.StatusCode, fmt.Errorf("reading the answer: %w", sending.cause(err)))
	}
	if response.StatusCode != http.StatusOK {
		// LINE Pay answers everything with 200. Whatever this is, it is not LINE Pay's word on the operation, even if it looks like it.
		return nil, c.failWith(call, response.StatusCode, fmt.Errorf("HTTP status %d instead of 200", response.StatusCode))
	}
	return c.judge(call, body)
}

// judge turns a body into the answer, or into the error that its code calls for.
func (c *Client) judge(call call, body []byte) (*reply, error) {
	r, err := readReply(body)
	if err != nil {
		return nil, c.failWith(call, http.StatusOK, err)
	}
	r.Message = c.withoutSecrets(call, r.Message)
	verdict := Classify(call.op, r.Code)
	if verdict == Done && r.otherShape {
		// Only errors have this shape. A success in it is nothing LINE Pay documents.
		verdict = Unknown
	}
	if verdict == Done {
		return r, nil
	}
	e := c.failWith(call, http.StatusOK, nil)
	e.Verdict, e.Code, e.Message = verdict, c.withoutSecrets(call, clip(r.Code)), r.Message
	return nil, e
}

func (c *Client) newRequest(ctx context.Context, call call) (*http.Request, error) {
	escaped := "/" + c.config.version() + call.path
	path, err := url.PathUnescape(escaped)
	if err != nil {
		return nil, errors.New("the path cannot be unescaped again")
	}
	u := &url.URL{Scheme: c.base.Scheme, Host: c.base.Host, Path: path, RawPath: escaped}
	var body io.Reader
	if call.method == http.MethodGet {
		u.RawQuery = call.payload
	} else {
		body = strings.NewReader(call.payload)
	}
	request, err := http.NewRequestWithContext(ctx, call.method, u.String(), body)
	if err != nil {
		return nil, errors.New("the URL cannot be formed")
	}
	request.URL = u
	// Without GetBody net/http cannot send the body again on another connection, whatever it thinks of the first one.
	request.GetBody = nil
	nonce := uuid.NewString()
	// LINE Pay's spelling of the names, which Header.Set would change. No Idempotency-Key: LINE Pay ignores it, and net/http takes it for
	// leave to repeat a POST.
	request.Header = http.Header{
		"Content-Type":               {"application/json"},
		"User-Agent":                 {"linepay-worker"},
		"X-LINE-ChannelId":           {c.config.ChannelID},
		"X-LINE-Authorization-Nonce": {nonce},
		"X-LINE-Authorization":       {Sign(c.secret(), u.EscapedPath(), call.payload, nonce)},
	}
	if c.config.DeviceProfileID != "" {
		request.Header["X-LINE-MerchantDeviceProfileId"] = []string{c.config.DeviceProfileID}
		request.Header["X-LINE-MerchantDeviceType"] = []string{c.config.DeviceType}
	}
	return request, nil
}

// readAll reads an answer to its end, so that the connection can be used again, and closes it.
func readAll(body io.ReadCloser) (all []byte, err error) {
	// What is said here changes nothing any more.
	defer func() { _ = body.Close() }()
	var b bytes.Buffer
	n, err := b.ReadFrom(io.LimitReader(body, maxBody+1))
	if err != nil {
		return nil, err
	}
	if n > maxBody {
		return nil, errTooLong
	}
	return b.Bytes(), nil
}

// fail gives the error of a call that got no answer.
func (c *Client) fail(call call, verdict Verdict, err error) *Error {
	return &Error{
		Operation: call.op, Host: c.Host(), Verdict: verdict, Sent: verdict != NotSent && verdict != Refused, Err: c.withoutSecretsIn(call, err),
	}
}

// failWith gives the error of a call that got an answer which settles nothing.
func (c *Client) failWith(call call, status int, err error) *Error {
	e := c.fail(call, Unknown, err)
	e.HTTPStatus = status
	return e
}

// withoutSecretsIn keeps what is private out of an error, whoever made its text.
func (c *Client) withoutSecretsIn(call call, err error) error {
	if err == nil || c.withoutSecrets(call, err.Error()) == err.Error() {
		return err
	}
	return errors.New(c.withoutSecrets(call, err.Error()))
}

// shortestKey is the length below which a registered key is left standing: LINE Pay's own have 15 characters (its retired manual), and what is
// shorter than this, such as a mistyped one, would be found within LINE Pay's words.
const shortestKey = 8

func (c *Client) withoutSecrets(call call, text string) string {
	text = c.hide(text)
	for _, private := range call.private {
		if len(private) >= shortestKey {
			text = strings.ReplaceAll(text, private, hidden)
		}
	}
	return text
}
