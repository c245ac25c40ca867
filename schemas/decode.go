package schemas

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"linepay-worker/linepay"
)

// DecodeCommand reads a command from a NATS message: CloudEvents 1.0 JSON in structured mode, or binary mode with ce-* headers (names
// in any case, values percent-encoded, as the CloudEvents NATS binding has it).
//
// The error is an *UnreadableError where the message is no command; the command is then nil. It is an *InvalidError where the envelope
// is complete but rules are broken; the command then comes with it and Data, never nil, holds what could be read, so that the operation
// can still be named. Each piece that could not be read is zero.
func DecodeCommand(subject string, headers map[string][]string, body []byte) (*Command, error) {
	channel, op, err := ParseCommandSubject(subject)
	if err != nil {
		return nil, &UnreadableError{"it is on a wrong subject", err}
	}
	attrs, data, err := readMessage(headers, body)
	if err != nil {
		return nil, err
	}
	if err := checkEnvelope(attrs, op); err != nil {
		return nil, err
	}
	c := &Command{
		ID: attrs["id"].text, Source: attrs["source"].text, Type: attrs["type"].text, Channel: channel, Operation: op,
		TraceParent: traceParent(attrs, headers),
	}
	p := &problems{}
	c.Subject = p.attribute(attrs, "subject", nil, "must be a string")
	c.DataContentType = p.attribute(attrs, "datacontenttype", jsonMediaType, "must be a JSON media type such as application/json")
	c.Time = p.timeAttribute(attrs, "time")
	c.ExpiryTime = p.timeAttribute(attrs, "expirytime")
	c.Data = readData(op, p.root(data))
	if len(p.list) > 0 {
		return c, &InvalidError{p.list}
	}
	return c, nil
}

// attributes are the CloudEvents attributes by lower-case name; one that was null is absent.
type attributes map[string]value

// known attributes; all others are extensions, which may hold anything.
var attributeNames = []string{
	"specversion", "id", "source", "type", "subject", "time", "expirytime", "datacontenttype", "traceparent",
}

// readMessage finds the mode of the message and takes its envelope apart. data is nil where there is none.
func readMessage(headers map[string][]string, body []byte) (attributes, *value, error) {
	contentType := strings.ToLower(header(headers, HeaderContentType))
	switch {
	case strings.HasPrefix(contentType, ContentTypeCloudEvents):
		return readStructured(body)
	case strings.HasPrefix(contentType, "application/cloudevents"):
		return nil, nil, &UnreadableError{"of the CloudEvents formats only " + ContentTypeCloudEvents + " is taken", nil}
	case header(headers, "ce-specversion") != "" || header(headers, "ce-id") != "" || header(headers, "ce-type") != "":
		return readBinary(headers, body)
	default:
		return readStructured(body)
	}
}

func readStructured(body []byte) (attributes, *value, error) {
	event, err := parse(body)
	if err != nil {
		return nil, nil, &UnreadableError{"the body is not JSON in good order", err}
	}
	if event.kind != '{' {
		return nil, nil, &UnreadableError{"the body is not a CloudEvent: want a JSON object", nil}
	}
	attrs := attributes{}
	for _, name := range attributeNames {
		if v := event.member(name); v != nil && v.kind != 'n' {
			attrs[name] = *v
		}
	}
	data, encoded := event.member("data"), event.member("data_base64")
	if encoded == nil || encoded.kind == 'n' {
		return attrs, data, nil
	}
	if data != nil {
		return nil, nil, &UnreadableError{"it has both data and data_base64", nil}
	}
	plain, err := base64.StdEncoding.Strict().DecodeString(encoded.text)
	if err != nil || encoded.kind != '"' {
		return nil, nil, &UnreadableError{"data_base64 is not a string of base64", nil}
	}
	decoded, err := parse(plain)
	if err != nil {
		return nil, nil, &UnreadableError{"data_base64 does not hold JSON in good order", err}
	}
	return attrs, &decoded, nil
}

const binaryPrefix = "ce-"

func readBinary(headers map[string][]string, body []byte) (attributes, *value, error) {
	attrs := attributes{}
	for name, values := range headers {
		attribute, ok := strings.CutPrefix(strings.ToLower(name), binaryPrefix)
		if !ok || !slices.Contains(attributeNames, attribute) {
			continue
		}
		for _, encoded := range values {
			text, ok := percentDecode(encoded)
			if !ok || !utf8.ValidString(text) {
				return nil, nil, &UnreadableError{fmt.Sprintf("header %s%s is not percent-encoded UTF-8", binaryPrefix, attribute), nil}
			}
			if earlier, twice := attrs[attribute]; twice && earlier.text != text {
				return nil, nil, &UnreadableError{fmt.Sprintf("header %s%s is there twice, with different values", binaryPrefix, attribute), nil}
			}
			attrs[attribute] = value{kind: '"', text: text}
		}
	}
	if contentType := header(headers, HeaderContentType); contentType != "" {
		if _, given := attrs["datacontenttype"]; !given {
			attrs["datacontenttype"] = value{kind: '"', text: strings.ToValidUTF8(contentType, "\uFFFD")}
		}
	}
	if len(body) == 0 {
		return attrs, nil, nil
	}
	data, err := parse(body)
	if err != nil {
		return nil, nil, &UnreadableError{"the body is not JSON in good order", err}
	}
	return attrs, &data, nil
}

// checkEnvelope holds the rules without which a command has no name.
func checkEnvelope(attrs attributes, op linepay.Operation) error {
	if v := attrs["specversion"]; v.kind != '"' || v.text != specVersion {
		return &UnreadableError{`specversion must be "1.0": the message is not a CloudEvent of version 1.0`, nil}
	}
	for _, name := range []string{"id", "source"} {
		if v := attrs[name]; v.kind != '"' || !identifier.valid(v.text) {
			return &UnreadableError{name + " " + identifier.rule(), nil}
		}
	}
	v := attrs["type"]
	if v.kind != '"' {
		return &UnreadableError{"type must be a string such as " + CommandType(op), nil}
	}
	if v.text == CommandType(op) {
		return nil
	}
	for _, other := range linepay.Operations() {
		if v.text == CommandType(other) {
			return &UnreadableError{fmt.Sprintf("type is %s, but the subject says %s", v.text, op), nil}
		}
	}
	return &UnreadableError{fmt.Sprintf("type %q is unknown, want %s", clip(v.text, 60), CommandType(op)), nil}
}

// identifier is the rule for the id and the source of a CloudEvent.
var identifier = textRule{least: 1, most: 256, printable: true}

// jsonMediaType matches application/json and the like, with parameters.
var jsonMediaType = regexp.MustCompile(`^[A-Za-z]+/([A-Za-z0-9!#$&^_.-]+\+)?[Jj][Ss][Oo][Nn] *(;[ -~]*)?$`)

// traceParentPattern is version 00 of the W3C trace context. Anything else is dropped: a bad trace is no reason to refuse a payment.
var traceParentPattern = regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)

func traceParent(attrs attributes, headers map[string][]string) string {
	for _, candidate := range []string{attrs["traceparent"].text, header(headers, HeaderTraceParent)} {
		if traceParentPattern.MatchString(candidate) {
			return candidate
		}
	}
	return ""
}

// attribute reads an optional attribute; pattern may be nil.
func (p *problems) attribute(attrs attributes, name string, pattern *regexp.Regexp, rule string) string {
	v, ok := attrs[name]
	if !ok {
		return ""
	}
	if v.kind != '"' || pattern != nil && !pattern.MatchString(v.text) {
		p.add("/"+name, rule)
		return ""
	}
	return v.text
}

func (p *problems) timeAttribute(attrs attributes, name string) time.Time {
	const rule = "must be a time of RFC 3339 such as 2026-01-31T12:00:00Z"
	var t time.Time
	text := p.attribute(attrs, name, timePattern, rule)
	if text == "" {
		return t
	}
	if err := t.UnmarshalText([]byte(text)); err != nil || t.IsZero() {
		p.add("/"+name, rule)
		return time.Time{}
	}
	return t
}

// timePattern is stricter than the standard library about offsets and fractions, and lets a JSON Schema say the same.
var timePattern = regexp.MustCompile(
	`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-5][0-9](\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`)

// header gives the first value of a header, whose name is compared without case.
func header(headers map[string][]string, name string) string {
	if values := headers[name]; len(values) > 0 {
		return values[0]
	}
	for key, values := range headers {
		if len(values) > 0 && strings.EqualFold(key, name) {
			return values[0]
		}
	}
	return ""
}

// hasControl reports whether s holds a control character.
func hasControl(s string) bool { return strings.ContainsFunc(s, unicode.IsControl) }
