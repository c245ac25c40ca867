package simulator

import (
	"crypto/hmac"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"linepay-worker/linepay"
)

// maxBody bounds a request's body; LINE Pay's longest is a few kilobytes.
const maxBody = 1 << 20

// call is one HTTP request on its way.
type call struct {
	version string // v3 or v4
	route   *route
	method  string
	path    string // as signed
	query   string // as signed
	payload []byte // as signed
	header  http.Header
	address string // of the simulator, as the caller sees it
	record  *Call  // its line in the ledger; guarded by Simulator.mu

	variable string                // of the path, as sent
	id       linepay.TransactionID // the variable as an id; 0 where there is none, or none that LINE Pay could have issued
	misread  error                 // why the variable is no 64-bit integer
	key      string                // the variable as a regKey
	channel  *Channel              // set by admit
	fault    FaultKind             // that strikes it
	remark   string                // for the report: what is wrong with the signature, or LINE Pay's message
}

// route is one of the ten calls. A pattern is the path behind the version.
type route struct {
	operation linepay.Operation
	method    string
	pattern   string
	carryOut  func(*Simulator, *call) *answer // under Simulator.mu
}

var routes = []route{
	{linepay.Request, "POST", "payments/request", (*Simulator).request},
	{linepay.Check, "GET", "payments/requests/{id}/check", (*Simulator).check},
	{linepay.Confirm, "POST", "payments/{id}/confirm", (*Simulator).confirm},
	{linepay.Capture, "POST", "payments/authorizations/{id}/capture", (*Simulator).capture},
	{linepay.Void, "POST", "payments/authorizations/{id}/void", (*Simulator).void},
	{linepay.Details, "GET", "payments", (*Simulator).details},
	{linepay.Refund, "POST", "payments/{id}/refund", (*Simulator).refund},
	{linepay.PreapprovedCheck, "GET", "payments/preapprovedPay/{key}/check", (*Simulator).checkKey},
	{linepay.PreapprovedPay, "POST", "payments/preapprovedPay/{key}/payment", (*Simulator).payWithKey},
	{linepay.PreapprovedExpire, "POST", "payments/preapprovedPay/{key}/expire", (*Simulator).expireKey},
}

// namesPayment says whether an operation's path holds a transaction id.
func namesPayment(op linepay.Operation) bool {
	return slices.ContainsFunc(routes, func(r route) bool { return r.operation == op && strings.Contains(r.pattern, "{id}") })
}

// match finds the call that a path names, whatever the method, and the path's variable.
func match(path string) (*route, string) {
	segments := strings.Split(path, "/")
next:
	for i := range routes {
		pattern := strings.Split(routes[i].pattern, "/")
		if len(pattern) != len(segments) {
			continue
		}
		variable := ""
		for j, want := range pattern {
			if strings.HasPrefix(want, "{") {
				variable = segments[j]
			} else if segments[j] != want {
				continue next
			}
		}
		return &routes[i], variable
	}
	return nil, ""
}

// serveAPI answers one call. Its order is LINE Pay's: headers, signature, path, and then the operation; faults strike behind the
// signature, so that a stranger cannot use them up.
func (s *Simulator) serveAPI(w http.ResponseWriter, r *http.Request) {
	c, refusal := s.receive(r)
	defer s.report(c)
	if refusal == nil {
		refusal = s.admit(c)
	}
	if refusal != nil {
		s.send(w, r, c, refusal)
		return
	}
	fault := s.takeFault(c)
	c.fault = fault.Kind
	if fault.When == Before {
		s.strike(w, r, c, fault, nil)
		return
	}
	a := s.perform(c, fault)
	switch {
	case a == nil: // closed before it was carried out
		drop(w)
	case fault.When == After:
		s.strike(w, r, c, fault, a)
	default:
		s.send(w, r, c, a)
	}
}

// receive reads the request and enters it in the ledger. The call counts from here on, also when its body cannot be read.
func (s *Simulator) receive(r *http.Request) (*call, *answer) {
	path := sentPath(r)
	c := &call{
		version: r.URL.Path[1:3], method: r.Method, path: path, query: r.URL.RawQuery, header: r.Header,
		address: s.address(r),
	}
	c.route, c.variable = match(path[4:])
	c.record = &Call{Path: path}
	if c.route != nil {
		c.record.Operation = c.route.operation
		c.readVariable()
	}
	payload, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
	s.mu.Lock()
	defer s.mu.Unlock()
	c.record.At = s.now()
	s.calls = append(s.calls, c.record)
	if err != nil {
		return c, refuse("2102", "[the body cannot be read or is too long]")
	}
	c.payload = payload
	return c, nil
}

// sentPath is the path in the bytes that were sent, for they were signed; behind a handler that rewrites paths, it is what that left.
func sentPath(r *http.Request) string {
	sent, _, _ := strings.Cut(r.RequestURI, "?")
	if path, err := url.PathUnescape(sent); err == nil && path == r.URL.Path {
		return sent
	}
	return r.URL.EscapedPath()
}

// readVariable reads the path's transaction id or key. An id that does not fit is admit's to refuse: after the signature.
func (c *call) readVariable() {
	switch {
	case strings.Contains(c.route.pattern, "{key}"):
		c.key, _ = url.PathUnescape(c.variable)
	case strings.Contains(c.route.pattern, "{id}"):
		n, err := strconv.ParseInt(c.variable, 10, 64)
		if c.misread = err; n > 0 && err == nil {
			c.id = linepay.TransactionID(n)
			c.record.TransactionID = c.id
		}
	}
}

// admit checks headers, signature, merchant and path, in the order that LINE Pay's answers show.
func (s *Simulator) admit(c *call) *answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, nonce, signature := c.header.Get("X-LINE-ChannelId"), c.header.Get("X-LINE-Authorization-Nonce"), c.header.Get("X-LINE-Authorization")
	channel := s.channels[id]
	switch {
	case id == "" || channel == nil && !digits(id):
		return refuse("1106", "X-LINE-ChannelId data is invalid.")
	case nonce == "":
		return refuse("1106", "X-LINE-Authorization-Nonce data is invalid.")
	case signature == "":
		return refuse("1106", "X-LINE-Authorization data is invalid.")
	case channel == nil:
		return refuse("1104")
	}
	payload := string(c.payload)
	if c.method == http.MethodGet {
		payload = c.query
	}
	signed := func(secret linepay.Secret) bool {
		return hmac.Equal([]byte(linepay.Sign(secret, c.path, payload, nonce)), []byte(signature))
	}
	if !signed(channel.Secret) && !slices.ContainsFunc(channel.also, signed) {
		c.remark = wrongSignature(c, channel.Secret, payload, nonce, signature)
		return refuse("1106")
	}
	if s.rules.RefuseRepeatedNonce {
		key := nonceKey{channel, nonce}
		if s.nonces[key] {
			return refuse("1106", "X-LINE-Authorization-Nonce was used before.")
		}
		s.nonces[key] = true
	}
	c.channel = channel
	if s.rules.MerchantUnavailable {
		return refuse("1105")
	}
	return c.checkPath()
}

// checkPath refuses what is none of the ten calls, and an id that LINE Pay cannot read as a 64-bit integer.
func (c *call) checkPath() *answer {
	if c.route == nil || c.route.method != c.method {
		return refuse("2104")
	}
	if c.misread == nil {
		return nil
	}
	a := refuse("2101")
	a.Detail = map[string]string{
		"unrecognizedPathVariable": "transactionId",
		"requiredType":             "long",
		"cause":                    `For input string: "` + c.variable + `"`,
	}
	return a
}

// send answers, and notes the code in the ledger unless the caller has gone: then no code was sent.
func (s *Simulator) send(w http.ResponseWriter, r *http.Request, c *call, a *answer) {
	body := s.note(r, c, a)
	writeBody(w, http.StatusOK, "application/json", body)
}

func (s *Simulator) note(r *http.Request, c *call, a *answer) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Context().Err() == nil {
		c.record.ReturnCode = a.Code
		if c.remark == "" && a.Code != "0000" {
			c.remark = strings.TrimPrefix(a.Message, "-")
		}
	}
	return a.body(s.rules)
}

// address is where the caller, and so presumably the customer's browser, finds the simulator.
func (s *Simulator) address(r *http.Request) string {
	if s.base != "" {
		return s.base
	}
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

func digits(s string) bool {
	return strings.Trim(s, "0123456789") == ""
}
