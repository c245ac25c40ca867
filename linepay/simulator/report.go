package simulator

import (
	"crypto/hmac"
	"net/url"
	"regexp"
	"strings"

	"linepay-worker/linepay"
)

// Report is one call as a log tells it. It holds neither secrets nor registered keys.
type Report struct {
	Operation  linepay.Operation // "" for a path that is none of the ten calls
	Method     string
	Path       string // without the query; {key} in the place of a registered key
	Channel    string // as the call names it, which a wrong signature leaves unproved
	ReturnCode string // "" where no result code was sent
	Fault      FaultKind
	Remark     string // LINE Pay's message beside a code other than 0000; with a wrong signature, which part of it is wrong
}

// report tells that a call is over.
func (s *Simulator) report(c *call) {
	if s.onCall == nil {
		return
	}
	s.mu.Lock()
	r := Report{
		Operation: c.record.Operation, Method: c.method, Path: short(keySegment.ReplaceAllString(c.path, "$1{key}")), Channel: short(c.header.Get("X-LINE-ChannelId")),
		ReturnCode: c.record.ReturnCode, Fault: c.fault, Remark: short(c.remark),
	}
	s.mu.Unlock()
	if c.key != "" {
		r.Remark = strings.ReplaceAll(r.Remark, c.key, "{key}")
	}
	s.onCall(r)
}

// keySegment is where a registered key stands in a path, whether or not the path is one of the ten calls.
var keySegment = regexp.MustCompile(`(/preapprovedPay/)[^/]+`)

const maxReported = 200 // bytes of what a caller chose

func short(text string) string {
	if len(text) > maxReported {
		return strings.ToValidUTF8(text[:maxReported], "") + "…"
	}
	return text
}

// wrongSignature tries the usual mistakes, so that whoever writes a client need not guess.
func wrongSignature(c *call, secret linepay.Secret, payload, nonce, signature string) string {
	is := func(path, payload string) bool {
		return hmac.Equal([]byte(linepay.Sign(secret, path, payload, nonce)), []byte(signature))
	}
	decoded, _ := url.QueryUnescape(payload)
	switch {
	case is(c.path, "") && c.method == "GET":
		return "wrong signature: the query was not signed"
	case is(c.path, ""):
		return "wrong signature: the body was not signed"
	case is(c.path, "?"+payload), is(c.path+"?"+payload, ""), is(c.path+"?"+payload, payload):
		return "wrong signature: the query is signed behind the path, without the question mark"
	case c.method == "GET" && is(c.path, decoded):
		return "wrong signature: the query is signed as it is sent, percent-encoded"
	case is(c.path[3:], payload), is(strings.TrimPrefix(c.path, "/"), payload):
		return "wrong signature: the path is signed whole, from /" + c.version + " on"
	case is(c.address+c.path, payload):
		return "wrong signature: the path is signed without scheme and host"
	case c.method != "GET" && is(c.path, strings.TrimSpace(string(c.payload))):
		return "wrong signature: the body is signed byte for byte, with the spaces around it"
	default:
		return "wrong signature: the secret is another one, or what was signed is not path, body (or query) and nonce as they were sent"
	}
}
