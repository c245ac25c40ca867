package schemas

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// DeadLetter says why a command was parked. It travels as headers beside the command's own headers and body, which stay untouched.
type DeadLetter struct {
	Reason     string    // ReasonInvalid, ReasonExhausted, ReasonUnresolved or ReasonPoison
	Detail     string    // for a person
	Code       string    // LINE Pay's last return code; "" where there is none
	Subject    string    // the command's subject
	Sequence   uint64    // the command's sequence in LINEPAY_COMMANDS
	Deliveries uint64    // how often JetStream had delivered it
	At         time.Time // when it was parked
}

// ErrDeadLetter is wrapped by every error of ParseDeadLetter.
var ErrDeadLetter = errors.New("the headers are not those of a dead letter")

// maxHeaderBytes bounds the value of a header, as it is written.
const maxHeaderBytes = 512

// DeadLetterReasons lists the reasons for which a command is parked.
func DeadLetterReasons() []string {
	return []string{ReasonInvalid, ReasonExhausted, ReasonUnresolved, ReasonPoison}
}

// Headers writes the Dead-Letter-* headers. Values hold printable ASCII only: every other byte, and "%", is written %XX, so that
// neither a line break in LINE Pay's text nor a stray byte in an order id can make a header of its own. Values longer than 512 bytes
// are cut, except the subject: a replay needs all of it, and NATS bounds it anyway.
func (d DeadLetter) Headers() map[string][]string {
	headers := map[string][]string{
		HeaderDeadLetterReason:     {headerValue(d.Reason, maxHeaderBytes)},
		HeaderDeadLetterDetail:     {headerValue(strings.ToValidUTF8(d.Detail, "\uFFFD"), maxHeaderBytes)},
		HeaderDeadLetterSubject:    {headerValue(d.Subject, len(d.Subject)*3)},
		HeaderDeadLetterSequence:   {strconv.FormatUint(d.Sequence, 10)},
		HeaderDeadLetterDeliveries: {strconv.FormatUint(d.Deliveries, 10)},
		HeaderDeadLetterAt:         {d.At.UTC().Format(time.RFC3339Nano)},
	}
	if d.Code != "" {
		headers[HeaderDeadLetterCode] = []string{headerValue(d.Code, maxHeaderBytes)}
	}
	return headers
}

// ParseDeadLetter reads what Headers wrote; other headers are passed over.
func ParseDeadLetter(headers map[string][]string) (DeadLetter, error) {
	p := headerReader{headers: headers}
	d := DeadLetter{
		Reason:     p.text(HeaderDeadLetterReason),
		Detail:     strings.ToValidUTF8(p.text(HeaderDeadLetterDetail), ""), // the cut may have split a character
		Code:       p.text(HeaderDeadLetterCode),
		Subject:    p.text(HeaderDeadLetterSubject),
		Sequence:   p.count(HeaderDeadLetterSequence),
		Deliveries: p.count(HeaderDeadLetterDeliveries),
		At:         p.time(HeaderDeadLetterAt),
	}
	if p.err == nil && !slices.Contains(DeadLetterReasons(), d.Reason) {
		p.fail(HeaderDeadLetterReason, "want one of "+strings.Join(DeadLetterReasons(), ", "))
	}
	if p.err == nil && d.Subject == "" {
		p.fail(HeaderDeadLetterSubject, "want the command's subject")
	}
	if p.err != nil {
		return DeadLetter{}, p.err
	}
	return d, nil
}

// headerReader reads headers and keeps the first error.
type headerReader struct {
	headers map[string][]string
	err     error
}

func (p *headerReader) fail(name, rule string) {
	if p.err == nil {
		p.err = fmt.Errorf("%w: %s: %s", ErrDeadLetter, name, rule)
	}
}

func (p *headerReader) text(name string) string {
	values := p.headers[name]
	if len(values) == 0 {
		return ""
	}
	value, ok := percentDecode(values[0])
	if !ok {
		p.fail(name, "want %XX behind every %")
	}
	return value
}

func (p *headerReader) count(name string) uint64 {
	n, err := strconv.ParseUint(p.text(name), 10, 64)
	if err != nil {
		p.fail(name, "want a whole number")
	}
	return n
}

func (p *headerReader) time(name string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, p.text(name))
	if err != nil {
		p.fail(name, "want a time of RFC 3339")
	}
	return t.UTC()
}

const cut = "..."

// headerValue writes s in printable ASCII, with at most most bytes; what was cut off shows as "...". Blanks at either end are written
// %20, as servers trim them.
func headerValue(s string, most int) string {
	encoded := percentEncode(s, func(c byte) bool { return c >= ' ' && c <= '~' && c != '%' })
	if strings.HasPrefix(encoded, " ") {
		encoded = "%20" + encoded[1:]
	}
	if strings.HasSuffix(encoded, " ") {
		encoded = encoded[:len(encoded)-1] + "%20"
	}
	if len(encoded) <= most {
		return encoded
	}
	end := most - len(cut)
	if i := strings.LastIndexByte(encoded[:end], '%'); i > end-3 {
		end = i
	}
	return encoded[:end] + cut
}
