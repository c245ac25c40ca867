package publisher

import (
	"context"
	"strings"

	"github.com/nats-io/nats.go"

	"linepay-worker/schemas"
)

// originalPrefix keeps the command's own Nats- headers readable without their effect: live, they would expire, dedupe, roll up or
// misroute the dead letter (Nats-Expected-Stream alone makes the publish fail with 10060).
const originalPrefix = "Dead-Letter-Original-"

// Park stores a command in LINEPAY_DEADLETTERS, its body and headers untouched, and returns when JetStream has acknowledged it. The id
// names this parking of this command: parking it again, as after a crash between parking and acknowledging, leaves one dead letter.
func (p *Publisher) Park(ctx context.Context, id string, d schemas.DeadLetter, header map[string][]string, body []byte) error {
	msg := nats.NewMsg(deadLetterSubject(d.Subject))
	msg.Data = body
	for name, values := range header {
		switch {
		case hasPrefixFold(name, schemas.HeaderNATSPrefix):
			msg.Header[originalPrefix+name] = values
		case hasPrefixFold(name, schemas.HeaderDeadLetterPrefix): // of an earlier dead letter, or forged
		default:
			msg.Header[name] = values
		}
	}
	for name, values := range d.Headers() {
		msg.Header[name] = values
	}
	msg.Header.Set(schemas.HeaderMsgID, id)
	return p.store(ctx, p.deadLetters, msg)
}

// deadLetterSubject follows the command's subject, whose operation may be one that nobody knows.
func deadLetterSubject(command string) string {
	parts := strings.SplitN(command, ".", 4)
	if len(parts) != 4 {
		parts = []string{"", "", "", command}
	}
	return schemas.DeadLetterSubject(parts[2], parts[3])
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}
