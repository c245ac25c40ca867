package schemas

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"linepay-worker/linepay"
)

// Streams, their subjects, and the durable consumer of a channel (its name is ConsumerPrefix + channel).
const (
	StreamCommands    = "LINEPAY_COMMANDS"
	StreamEvents      = "LINEPAY_EVENTS"
	StreamDeadLetters = "LINEPAY_DEADLETTERS"
	StreamAudit       = "LINEPAY_AUDIT"

	SubjectsCommands    = "linepay.commands.*.*"
	SubjectsEvents      = "linepay.events.>"
	SubjectsDeadLetters = "linepay.deadletters.>"
	SubjectsAudit       = "linepay.audit.>"

	ConsumerPrefix = "linepay-worker-"

	// MaxCommandBytes is the largest message that LINEPAY_COMMANDS takes, headers included.
	MaxCommandBytes = 256 << 10
)

// Header names, spelt exactly as they go over the wire: NATS compares them with case.
const (
	HeaderMsgID                       = "Nats-Msg-Id"
	HeaderExpectedStream              = "Nats-Expected-Stream"
	HeaderExpectedLastSequence        = "Nats-Expected-Last-Sequence"
	HeaderExpectedLastSubjectSequence = "Nats-Expected-Last-Subject-Sequence"
	HeaderExpectedLastMsgID           = "Nats-Expected-Last-Msg-Id"
	// HeaderNATSPrefix begins every header with a meaning to the server. None of a dead letter's original ones may reach a live
	// message: they would expire, dedupe or misroute it.
	HeaderNATSPrefix = "Nats-"

	HeaderContentType = "Content-Type"
	HeaderTraceParent = "traceparent"

	HeaderDeadLetterReason     = "Dead-Letter-Reason"
	HeaderDeadLetterDetail     = "Dead-Letter-Detail"
	HeaderDeadLetterCode       = "Dead-Letter-Code"
	HeaderDeadLetterSubject    = "Dead-Letter-Subject"
	HeaderDeadLetterSequence   = "Dead-Letter-Sequence"
	HeaderDeadLetterDeliveries = "Dead-Letter-Deliveries"
	HeaderDeadLetterAt         = "Dead-Letter-At"
	// HeaderDeadLetterPrefix begins every header that parking adds.
	HeaderDeadLetterPrefix = "Dead-Letter-"

	// HeaderReplay carries the dead letter's sequence on a command that was published again.
	HeaderReplay = "Linepay-Replay"
)

// ParseReplay reads the value of HeaderReplay, 0 for none. Anybody who publishes commands can write one: what is above any sequence of
// JetStream is read as the highest, 2^63-1, and an operator's word is above that.
func ParseReplay(value string) uint64 {
	number, _ := strconv.ParseUint(value, 10, 63)
	return number
}

// Content types.
const (
	ContentTypeCloudEvents = "application/cloudevents+json"
	ContentTypeJSON        = "application/json"
)

// Event names. Type(name) is the CloudEvents type, and the name is a token of the event's subject.
const (
	EventRequested   = "requested"
	EventStatus      = "status"
	EventAuthorized  = "authorized"
	EventCaptured    = "captured"
	EventVoided      = "voided"
	EventRefunded    = "refunded"
	EventDetails     = "details"
	EventPreapproval = "preapproval"
	EventFailed      = "failed"
	EventRejected    = "rejected"
	EventDuplicate   = "duplicate"
	EventParked      = "parked"
)

// Reasons. A dead letter has invalid, exhausted, unresolved or poison; a `rejected` event has invalid, conflict or expired.
const (
	ReasonInvalid    = "invalid"
	ReasonExhausted  = "exhausted"
	ReasonUnresolved = "unresolved"
	ReasonPoison     = "poison"
	ReasonConflict   = "conflict"
	ReasonExpired    = "expired"
)

// What settled an operation: LINE Pay's answer to the call, a look-up after it, or an operator.
const (
	SettledByResponse = "response"
	SettledByLookup   = "lookup"
	SettledByOperator = "operator"
)

// Whether the money of a parked command moved.
const (
	MoneyMovedNo      = "no"
	MoneyMovedUnknown = "unknown"
)

const (
	commandPrefix    = "linepay.commands."
	eventPrefix      = "linepay.events."
	deadLetterPrefix = "linepay.deadletters."
	auditPrefix      = "linepay.audit."
	noOrder          = "_"
)

var channelName = regexp.MustCompile(`^[a-z0-9_-]{1,32}$`)

// ValidChannel says what is wrong with a channel's name, if anything: it is a token of every subject, so that NATS permissions can be
// given per channel.
func ValidChannel(name string) error {
	if !channelName.MatchString(name) {
		return fmt.Errorf("channel name %q: use 1 to 32 of a-z, 0-9, _ and -", clip(name, 40))
	}
	return nil
}

// CommandSubject is where commands for a channel and an operation are published.
func CommandSubject(channel string, op linepay.Operation) string {
	return commandPrefix + channel + "." + string(op)
}

// ParseCommandSubject is the inverse of CommandSubject. It refuses channel names and operations that cannot be.
func ParseCommandSubject(subject string) (channel string, op linepay.Operation, err error) {
	rest, ok := strings.CutPrefix(subject, commandPrefix)
	channel, operation, two := strings.Cut(rest, ".")
	if !ok || !two {
		return "", "", fmt.Errorf("subject %q is not linepay.commands.<channel>.<operation>", clip(subject, 80))
	}
	if err := ValidChannel(channel); err != nil {
		return "", "", fmt.Errorf("subject %q: %w", clip(subject, 80), err)
	}
	if op = linepay.Operation(operation); !slices.Contains(linepay.Operations(), op) {
		return "", "", fmt.Errorf("subject %q: there is no operation %q", clip(subject, 80), clip(operation, 40))
	}
	return channel, op, nil
}

// EventSubject is where an event goes; orderID is "" where there is no order.
func EventSubject(channel, event, orderID string) string {
	return eventPrefix + channel + "." + event + "." + OrderToken(orderID)
}

// OrderEventsFilter matches every event of one order on one channel.
func OrderEventsFilter(channel, orderID string) string { return EventSubject(channel, "*", orderID) }

// EventsFilter matches every event of one name on one channel; the name * every event.
func EventsFilter(channel, event string) string { return eventPrefix + channel + "." + event + ".*" }

// ParseEventSubject is the inverse of EventSubject. Event names that this version does not know are accepted.
func ParseEventSubject(subject string) (channel, event, orderID string, err error) {
	rest, ok := strings.CutPrefix(subject, eventPrefix)
	parts := strings.Split(rest, ".")
	if !ok || len(parts) != 3 {
		return "", "", "", fmt.Errorf("subject %q is not linepay.events.<channel>.<event>.<order>", clip(subject, 80))
	}
	if err := ValidChannel(parts[0]); err != nil {
		return "", "", "", fmt.Errorf("subject %q: %w", clip(subject, 80), err)
	}
	if !eventName.MatchString(parts[1]) {
		return "", "", "", fmt.Errorf("subject %q: %q is not the name of an event", clip(subject, 80), clip(parts[1], 40))
	}
	if orderID, err = OrderFromToken(parts[2]); err != nil {
		return "", "", "", fmt.Errorf("subject %q: %w", clip(subject, 80), err)
	}
	return parts[0], parts[1], orderID, nil
}

var eventName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,39}$`)

// DeadLetterSubject is where a parked command goes. The two tokens are those of the command's own subject, which need not name a
// channel or an operation that exists; what could not stand in a subject is written %XX.
func DeadLetterSubject(channel, operation string) string {
	return deadLetterPrefix + token(channel) + "." + token(operation)
}

// DeadLettersFilter matches the dead letters of a channel and an operation, either of which may be "*".
func DeadLettersFilter(channel, operation string) string {
	if channel != "*" {
		channel = token(channel)
	}
	if operation != "*" {
		operation = token(operation)
	}
	return deadLetterPrefix + channel + "." + operation
}

// AuditSubject is where an operator's action is put on record. A channel that could not stand in a subject is written as in
// DeadLetterSubject.
func AuditSubject(channel, action string) string {
	return auditPrefix + token(channel) + "." + token(action)
}

// OrderToken writes an order id as one token of a subject: every byte outside [A-Za-z0-9_-] as %XX, "_" as "%5F", and no order as "_".
func OrderToken(orderID string) string {
	switch orderID {
	case "":
		return noOrder
	case noOrder:
		return "%5F"
	default:
		return token(orderID)
	}
}

// OrderFromToken is the inverse of OrderToken. It refuses a token that OrderToken would not have written, so that one order never has
// two subjects.
func OrderFromToken(tok string) (string, error) {
	if tok == noOrder {
		return "", nil
	}
	orderID, ok := percentDecode(tok)
	if !ok || orderID == "" || OrderToken(orderID) != tok {
		return "", fmt.Errorf("%q is not an order's token: bytes outside A-Z, a-z, 0-9, _ and - are written %%XX in upper case", clip(tok, 80))
	}
	return orderID, nil
}

// token keeps [A-Za-z0-9_-] and writes every other byte as %XX; "" becomes "%", which no other input gives.
func token(s string) string {
	if s == "" {
		return "%"
	}
	return percentEncode(s, func(c byte) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
	})
}

const upperHex = "0123456789ABCDEF"

// percentEncode writes every byte that is not kept as %XX.
func percentEncode(s string, keep func(byte) bool) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; keep(c) {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', upperHex[c>>4], upperHex[c&15]})
		}
	}
	return b.String()
}

// percentDecode reads %XX in either case; a % without two hexadecimal digits behind it is refused.
func percentDecode(s string) (string, bool) {
	if !strings.Contains(s, "%") {
		return s, true
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b = append(b, s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		high, okHigh := unhex(s[i+1])
		low, okLow := unhex(s[i+2])
		if !okHigh || !okLow {
			return "", false
		}
		b = append(b, high<<4|low)
		i += 2
	}
	return string(b), true
}

func unhex(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	default:
		return 0, false
	}
}

// clip keeps error texts short however long the input was.
func clip(s string, most int) string {
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
