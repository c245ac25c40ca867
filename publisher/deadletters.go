package publisher

import (
	"context"
	"net/url"
	"regexp"
	"strings"

	"github.com/nats-io/nats.go"

	"linepay-worker/schemas"
)

// originalPrefix keeps the command's own Nats- headers readable without their effect: live, they would expire, dedupe, roll up or
// misroute the dead letter (Nats-Expected-Stream alone makes the publish fail with 10060).
const originalPrefix = "Dead-Letter-Original-"

// headerName is what the client library writes as the name of a header (a token of RFC 9110).
var headerName = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

// Park stores a command in LINEPAY_DEADLETTERS, its body and headers untouched, and returns when JetStream has acknowledged it. The id
// names this parking of this command: parking it again, as after a crash between parking and acknowledging, leaves one dead letter.
func (p *Publisher) Park(ctx context.Context, id string, d schemas.DeadLetter, header map[string][]string, body []byte) error {
	msg := nats.NewMsg(deadLetterSubject(d.Subject))
	msg.Data = body
	for name, values := range header {
		switch {
		case hasPrefixFold(name, schemas.HeaderNATSPrefix):
			msg.Header[originalPrefix+name] = values
		case !headerName.MatchString(name): // which the server takes from a publisher, and the client library refuses to write
			msg.Header[originalPrefix+strings.ReplaceAll(url.QueryEscape(name), "+", "%20")] = values
		case hasPrefixFold(name, schemas.HeaderDeadLetterPrefix): // of an earlier dead letter, or forged
		default:
			msg.Header[name] = values
		}
	}
	for name, values := range d.Headers() {
		msg.Header[name] = values
	}
	msg.Header.Set(schemas.HeaderMsgID, id)
	_, err := p.store(ctx, p.deadLetters, msg)
	return err
}

// deadLetterSubject follows the command's subject, whose operation may be one that nobody knows.
func deadLetterSubject(command string) string {
	parts := strings.SplitN(command, ".", 4)
	if len(parts) != 4 {
		parts = []string{"", "", "", command}
	}
	return schemas.DeadLetterSubject(short(parts[2]), short(parts[3]))
}

// short keeps a token of a dead letter's subject far from the server's max_control_line: a line that is longer makes the server end the
// connection for good. The whole subject is in the header Dead-Letter-Subject.
func short(token string) string { return token[:min(len(token), longestToken)] }

const longestToken = 64

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}
