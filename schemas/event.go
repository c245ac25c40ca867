package schemas

import (
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"

	"linepay-worker/linepay"
)

const (
	specVersion  = "1.0"
	sourcePrefix = "/linepay-worker/"
)

// Event is a result on the bus: a CloudEvent in structured mode. The same outcome always has the same ID (see EventID), so a consumer
// that keeps ids sees each outcome once.
type Event struct {
	ID          string    // UUIDv5, see EventID
	Source      string    // "/linepay-worker/<channel>"
	Type        string    // "linepay.event.<name>.v1"
	Subject     string    // the order id; "" where there is no order
	TraceParent string    // W3C trace context; "" where there is none
	Time        time.Time // when the outcome was settled
	Data        EventData
}

// EventData is the data of every event. A member that does not apply is absent. Transaction ids are written as strings of digits and
// amounts as decimal strings; no number in an event is above 2^53.
type EventData struct {
	Channel       string                `json:"channel"`
	Operation     linepay.Operation     `json:"operation"`
	Command       CommandRef            `json:"command"`
	OrderID       string                `json:"orderId,omitzero"`
	TransactionID linepay.TransactionID `json:"transactionId,omitzero"`
	Amount        linepay.Amount        `json:"amount,omitzero"`
	Currency      string                `json:"currency,omitzero"`
	ReturnCode    string                `json:"returnCode,omitzero"`    // LINE Pay's
	ReturnMessage string                `json:"returnMessage,omitzero"` // LINE Pay's
	SettledBy     string                `json:"settledBy,omitzero"`     // SettledByResponse, SettledByLookup or SettledByOperator
	Calls         int                   `json:"calls,omitzero"`         // calls made to LINE Pay for this operation
	OperationKey  string                `json:"operationKey,omitzero"`  // what the guard calls the operation
	Fingerprint   string                `json:"fingerprint,omitzero"`   // of the command's data

	PaymentURL         linepay.PaymentURL `json:"paymentUrl,omitzero"`         // requested
	PaymentAccessToken string             `json:"paymentAccessToken,omitzero"` // requested
	PayType            string             `json:"payType,omitzero"`            // requested: PREAPPROVED where the confirm will issue a key

	Status linepay.Status `json:"status,omitzero"` // status

	PayInfo                 []linepay.PayInfo `json:"payInfo,omitzero"`                 // authorized, captured
	AuthorizationExpireDate string            `json:"authorizationExpireDate,omitzero"` // authorized; as LINE Pay writes it

	RefundTransactionID   linepay.TransactionID `json:"refundTransactionId,omitzero"`   // refunded
	RefundAmount          linepay.Amount        `json:"refundAmount,omitzero"`          // refunded
	RefundTransactionDate string                `json:"refundTransactionDate,omitzero"` // refunded; as LINE Pay writes it

	Payments []linepay.Payment `json:"payments,omitzero"` // details

	Usable     *bool  `json:"usable,omitzero"`     // preapproval
	RegKey     string `json:"regKey,omitzero"`     // preapproval, only where a confirm has just issued it
	RegKeyLost bool   `json:"regKeyLost,omitzero"` // preapproval: a key was issued in an answer that was lost, and LINE Pay shows it to nobody again

	Reason     string       `json:"reason,omitzero"`     // failed, rejected, parked; and an operator's reason
	Errors     []FieldError `json:"errors,omitzero"`     // rejected
	Of         *DuplicateOf `json:"of,omitzero"`         // duplicate
	MoneyMoved string       `json:"moneyMoved,omitzero"` // parked: MoneyMovedNo or MoneyMovedUnknown
}

// CommandRef names a command for ever.
type CommandRef struct {
	Source string `json:"source"`
	ID     string `json:"id"`
}

// DuplicateOf names the command that had done the operation already, and its event.
type DuplicateOf struct {
	Command      CommandRef `json:"command"`
	EventID      string     `json:"eventId"`
	EventType    string     `json:"eventType"`
	EventSubject string     `json:"eventSubject"`
}

// EventNames lists all events, in the order of the README's table.
func EventNames() []string {
	return []string{
		EventRequested, EventStatus, EventAuthorized, EventCaptured, EventVoided, EventRefunded, EventDetails, EventPreapproval,
		EventFailed, EventRejected, EventDuplicate, EventParked,
	}
}

// IsMoneyEvent reports whether a ledger books the event: captured, refunded, authorized, voided. An operation has at most one of them.
func IsMoneyEvent(name string) bool {
	switch name {
	case EventCaptured, EventRefunded, EventAuthorized, EventVoided:
		return true
	default:
		return false
	}
}

// EventType is the CloudEvents type of an event: "linepay.event.<name>.v1".
func EventType(name string) string { return "linepay.event." + name + ".v1" }

// NewEvent fills ID, Source, Type and Subject from the data. at is the time when the outcome was settled; it does not enter the id.
// extra enters the id: a `parked` event gives the replay it came from, so that parking the same command again is a new event.
func NewEvent(name string, at time.Time, data EventData, extra ...string) *Event {
	operation := data.OperationKey
	if operation == "" {
		operation = string(data.Operation)
	}
	return &Event{
		ID:      EventID(data.Channel, operation, data.Command.Source, data.Command.ID, EventType(name), extra...),
		Source:  sourcePrefix + data.Channel,
		Type:    EventType(name),
		Subject: data.OrderID,
		Time:    at.UTC(),
		Data:    data,
	}
}

// eventNamespace is the UUID namespace of this project's event ids. It must never change: ids are how consumers recognise an outcome.
var eventNamespace = uuid.MustParse("6f1d7c7e-30a4-5b0e-9d52-8f4f0c1b7a61")

// EventID is a UUIDv5 over its arguments, each preceded by its length, so that no two different lists give the same bytes. The operation
// key counts where there is one, the operation otherwise.
func EventID(channel, operationKeyOrOperation, source, commandID, eventType string, extra ...string) string {
	var name []byte
	for _, part := range append([]string{channel, operationKeyOrOperation, source, commandID, eventType}, extra...) {
		name = binary.BigEndian.AppendUint32(name, uint32(len(part)))
		name = append(name, part...)
	}
	return uuid.NewSHA1(eventNamespace, name).String()
}

// Name is the event's name, such as "captured"; "" if the type is not one of ours.
func (e *Event) Name() string {
	if m := eventTypePattern.FindStringSubmatch(e.Type); m != nil {
		return m[1]
	}
	return ""
}

var eventTypePattern = regexp.MustCompile(`^linepay\.event\.([a-z][a-z0-9-]{0,39})\.v1$`)

// eventEnvelope is the event as CloudEvents writes it.
type eventEnvelope struct {
	SpecVersion     string    `json:"specversion"`
	ID              string    `json:"id"`
	Source          string    `json:"source"`
	Type            string    `json:"type"`
	Subject         string    `json:"subject,omitzero"`
	Time            time.Time `json:"time,omitzero"`
	DataContentType string    `json:"datacontenttype,omitzero"`
	TraceParent     string    `json:"traceparent,omitzero"`
	Data            EventData `json:"data"`
}

// Encode writes the event as CloudEvents JSON. The same event gives the same bytes. It fails only on text that is not UTF-8.
func (e *Event) Encode() ([]byte, error) {
	b, err := json.Marshal(eventEnvelope{
		specVersion, e.ID, e.Source, e.Type, e.Subject, e.Time.UTC(), ContentTypeJSON, e.TraceParent, e.Data,
	}, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("event %s %s cannot be written: %w", e.Type, e.ID, err)
	}
	return b, nil
}

// ErrOtherContent means that JetStream took an event for a duplicate of one that says something else: its duplicate window knows ids, not
// contents. The event is not stored.
var ErrOtherContent = errors.New("another message with this Nats-Msg-Id is stored")

// ErrEvent is wrapped by every error of DecodeEvent.
var ErrEvent = errors.New("not an event of linepay-worker")

// DecodeEvent reads what Encode wrote, by this or a later version: unknown members are passed over, unknown event names are not.
func DecodeEvent(body []byte) (*Event, error) {
	var in eventEnvelope
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEvent, err)
	}
	e := &Event{in.ID, in.Source, in.Type, in.Subject, in.TraceParent, in.Time.UTC(), in.Data}
	switch {
	case in.SpecVersion != specVersion:
		return nil, fmt.Errorf("%w: specversion is %q, want %q", ErrEvent, clip(in.SpecVersion, 20), specVersion)
	case in.ID == "":
		return nil, fmt.Errorf("%w: id is missing", ErrEvent)
	case !slices.Contains(EventNames(), e.Name()):
		return nil, fmt.Errorf("%w: type is %q, want linepay.event.<event>.v1", ErrEvent, clip(in.Type, 60))
	case in.Source != sourcePrefix+in.Data.Channel:
		return nil, fmt.Errorf("%w: source %q is not %s followed by the data's channel", ErrEvent, clip(in.Source, 60), sourcePrefix)
	case in.Subject != in.Data.OrderID:
		return nil, fmt.Errorf("%w: subject is not the data's orderId", ErrEvent)
	}
	return e, nil
}
