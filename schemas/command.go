package schemas

import (
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"linepay-worker/linepay"
)

// Command is an order to make one call at LINE Pay. Source and ID together identify it for ever.
type Command struct {
	ID              string
	Source          string
	Type            string    // "linepay.command.<operation>.v1"
	Subject         string    // the CloudEvents attribute, of no meaning here; "" where absent
	TraceParent     string    // W3C trace context, from the attribute or else the header; "" where absent or malformed
	DataContentType string    // "" where absent, which means JSON
	Time            time.Time // zero where absent
	ExpiryTime      time.Time // zero where absent; past it, a command that was never sent to LINE Pay is rejected

	Channel   string            // from the NATS subject
	Operation linepay.Operation // from the NATS subject, and the type agrees
	Data      Data
}

// Data is what a command asks for. The concrete types are *RequestData, *CheckData, *ConfirmData, *CaptureData, *VoidData, *RefundData,
// *DetailsData, *PreapprovedCheckData, *PreapprovedPayData and *PreapprovedExpireData. They marshal to the JSON of the bus, with ids and
// amounts as strings.
type Data interface {
	Operation() linepay.Operation
	// Order is the order id, "" where the command names none.
	Order() string
	// Transaction is the transaction id, 0 where the command names none.
	Transaction() linepay.TransactionID
}

// RequestData is LINE Pay's own request body.
type RequestData struct {
	linepay.PaymentRequest
}

// CheckData asks how far a payment request has come. OrderID only labels the event.
type CheckData struct {
	TransactionID linepay.TransactionID `json:"transactionId"`
	OrderID       string                `json:"orderId,omitzero"`
}

// ConfirmData takes, or holds, the money of an authenticated payment.
type ConfirmData struct {
	TransactionID linepay.TransactionID `json:"transactionId"`
	OrderID       string                `json:"orderId"`
	Amount        linepay.Amount        `json:"amount"`
	Currency      string                `json:"currency"`
}

// CaptureData takes held money, all of it or less.
type CaptureData struct {
	TransactionID linepay.TransactionID `json:"transactionId"`
	OrderID       string                `json:"orderId"`
	Amount        linepay.Amount        `json:"amount"`
	Currency      string                `json:"currency"`
}

// VoidData releases held money.
type VoidData struct {
	TransactionID linepay.TransactionID `json:"transactionId"`
	OrderID       string                `json:"orderId"`
}

// RefundData gives money back: RefundAmount under the merchant's own RefundID, or all that is left where both are absent.
type RefundData struct {
	TransactionID linepay.TransactionID `json:"transactionId"`
	OrderID       string                `json:"orderId"`
	// RefundAmount is left out where it is nil and only there: omitzero would leave out an amount of 0 too, and order a full refund.
	RefundAmount *linepay.Amount `json:"refundAmount,omitempty"`
	RefundID     string          `json:"refundId,omitzero"`
}

// DetailsData asks for payments by id, 1 to 100 ids together.
type DetailsData struct {
	TransactionIDs []linepay.TransactionID `json:"transactionIds,omitempty"`
	OrderIDs       []string                `json:"orderIds,omitempty"`
}

// PreapprovedCheckData asks whether a key can be used.
type PreapprovedCheckData struct {
	RegKey         string `json:"regKey"`
	CreditCardAuth bool   `json:"creditCardAuth,omitzero"` // with a minimal authorization of the card
}

// PreapprovedPayData takes, or holds, money with a key.
type PreapprovedPayData struct {
	RegKey      string         `json:"regKey"`
	OrderID     string         `json:"orderId"`
	ProductName string         `json:"productName"`
	Amount      linepay.Amount `json:"amount"`
	Currency    string         `json:"currency"`
	Capture     *bool          `json:"capture,omitzero"` // absent means true
}

// PreapprovedExpireData discards a key.
type PreapprovedExpireData struct {
	RegKey string `json:"regKey"`
}

// Operation is linepay.Request.
func (*RequestData) Operation() linepay.Operation { return linepay.Request }

// Operation is linepay.Check.
func (*CheckData) Operation() linepay.Operation { return linepay.Check }

// Operation is linepay.Confirm.
func (*ConfirmData) Operation() linepay.Operation { return linepay.Confirm }

// Operation is linepay.Capture.
func (*CaptureData) Operation() linepay.Operation { return linepay.Capture }

// Operation is linepay.Void.
func (*VoidData) Operation() linepay.Operation { return linepay.Void }

// Operation is linepay.Refund.
func (*RefundData) Operation() linepay.Operation { return linepay.Refund }

// Operation is linepay.Details.
func (*DetailsData) Operation() linepay.Operation { return linepay.Details }

// Operation is linepay.PreapprovedCheck.
func (*PreapprovedCheckData) Operation() linepay.Operation { return linepay.PreapprovedCheck }

// Operation is linepay.PreapprovedPay.
func (*PreapprovedPayData) Operation() linepay.Operation { return linepay.PreapprovedPay }

// Operation is linepay.PreapprovedExpire.
func (*PreapprovedExpireData) Operation() linepay.Operation { return linepay.PreapprovedExpire }

// Order is the order to be paid.
func (d *RequestData) Order() string { return d.OrderID }

// Order is the label that the command gave, if any.
func (d *CheckData) Order() string { return d.OrderID }

// Order is the payment's order.
func (d *ConfirmData) Order() string { return d.OrderID }

// Order is the payment's order.
func (d *CaptureData) Order() string { return d.OrderID }

// Order is the payment's order.
func (d *VoidData) Order() string { return d.OrderID }

// Order is the payment's order.
func (d *RefundData) Order() string { return d.OrderID }

// Order is the order id where it is the only id asked for.
func (d *DetailsData) Order() string {
	if len(d.OrderIDs) == 1 && len(d.TransactionIDs) == 0 {
		return d.OrderIDs[0]
	}
	return ""
}

// Order is "".
func (*PreapprovedCheckData) Order() string { return "" }

// Order is the order to be paid.
func (d *PreapprovedPayData) Order() string { return d.OrderID }

// Order is "".
func (*PreapprovedExpireData) Order() string { return "" }

// Transaction is 0: LINE Pay has yet to give one.
func (*RequestData) Transaction() linepay.TransactionID { return 0 }

// Transaction is the payment.
func (d *CheckData) Transaction() linepay.TransactionID { return d.TransactionID }

// Transaction is the payment.
func (d *ConfirmData) Transaction() linepay.TransactionID { return d.TransactionID }

// Transaction is the payment.
func (d *CaptureData) Transaction() linepay.TransactionID { return d.TransactionID }

// Transaction is the payment.
func (d *VoidData) Transaction() linepay.TransactionID { return d.TransactionID }

// Transaction is the payment, not the refund.
func (d *RefundData) Transaction() linepay.TransactionID { return d.TransactionID }

// Transaction is the transaction id where it is the only id asked for.
func (d *DetailsData) Transaction() linepay.TransactionID {
	if len(d.TransactionIDs) == 1 && len(d.OrderIDs) == 0 {
		return d.TransactionIDs[0]
	}
	return 0
}

// Transaction is 0.
func (*PreapprovedCheckData) Transaction() linepay.TransactionID { return 0 }

// Transaction is 0: LINE Pay has yet to give one.
func (*PreapprovedPayData) Transaction() linepay.TransactionID { return 0 }

// Transaction is 0.
func (*PreapprovedExpireData) Transaction() linepay.TransactionID { return 0 }

// CommandType is the CloudEvents type of an operation's command: "linepay.command.<operation>.v1".
func CommandType(op linepay.Operation) string { return "linepay.command." + string(op) + ".v1" }

// commandEnvelope is the command as CloudEvents writes it.
type commandEnvelope struct {
	SpecVersion     string    `json:"specversion"`
	ID              string    `json:"id"`
	Source          string    `json:"source"`
	Type            string    `json:"type"`
	Subject         string    `json:"subject,omitzero"`
	Time            time.Time `json:"time,omitzero"`
	ExpiryTime      time.Time `json:"expirytime,omitzero"`
	DataContentType string    `json:"datacontenttype,omitzero"`
	TraceParent     string    `json:"traceparent,omitzero"`
	Data            Data      `json:"data"`
}

// Encode writes the command as CloudEvents JSON in structured mode. It does not check the rules: DecodeCommand does.
func (c *Command) Encode() ([]byte, error) {
	b, err := json.Marshal(commandEnvelope{
		specVersion, c.ID, c.Source, c.Type, c.Subject, c.Time, c.ExpiryTime, c.DataContentType, c.TraceParent, c.Data,
	}, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("command %s cannot be written: %w", clip(c.ID, 80), err)
	}
	return b, nil
}

// UnreadableError says that a message is no command at all: nobody can be told, so the worker parks it in dead letters. It never holds
// a value from the message's data.
type UnreadableError struct {
	Detail string // what is wrong, for a person
	Err    error  // the cause, or nil
}

func (e *UnreadableError) Error() string {
	if e.Err == nil {
		return "the command cannot be read: " + e.Detail
	}
	return "the command cannot be read: " + e.Detail + ": " + clip(e.Err.Error(), 300)
}

func (e *UnreadableError) Unwrap() error { return e.Err }

// FieldError is one rule that a command breaks.
type FieldError struct {
	Path    string `json:"path"`    // JSON pointer into the CloudEvent, such as "/data/refundAmount"
	Message string `json:"message"` // the rule; never the value of a secret
}

// InvalidError says that a readable command breaks rules; the worker answers it with `rejected`.
type InvalidError struct {
	Errors []FieldError // at least one, at most 20
}

func (e *InvalidError) Error() string {
	var b strings.Builder
	b.WriteString("the command is invalid")
	for i, f := range e.Errors {
		b.WriteString([]string{": ", "; "}[min(i, 1)])
		b.WriteString(f.Path + " " + f.Message)
	}
	return b.String()
}
