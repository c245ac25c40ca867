package schemas

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"
)

// Audit is what an operator does, put on record before it is done: a CloudEvent in structured mode on LINEPAY_AUDIT.
type Audit struct {
	ID   string    // a UUID; every action has an entry of its own
	Type string    // "linepay.audit.<action>.v1"
	Time time.Time // when the entry was written
	Data AuditData
}

// AuditData is the data of every entry. A member that does not apply is absent. It holds no keys, tokens or secrets.
type AuditData struct {
	Action   string `json:"action"`            // one of AuditActions
	Operator string `json:"operator"`          // who did it, as linepayctl was told
	Host     string `json:"host"`              // the machine it was done from
	Reason   string `json:"reason,omitzero"`   // why, in the operator's words
	Channel  string `json:"channel"`           // the channel's name
	Outcome  string `json:"outcome,omitzero"`  // resolve: what is put on record; or, in an entry after that, that it was refused
	Evidence string `json:"evidence,omitzero"` // resolve: what that rests on; or why it was refused

	DeadLetter    uint64     `json:"deadLetter,omitzero"`   // its sequence in LINEPAY_DEADLETTERS
	ReasonParked  string     `json:"reasonParked,omitzero"` // ReasonInvalid and the like
	Command       CommandRef `json:"command,omitzero"`      // absent where the command cannot be read
	Operation     string     `json:"operation,omitzero"`
	OperationKey  string     `json:"operationKey,omitzero"` // what the guard calls the operation
	OrderID       string     `json:"orderId,omitzero"`
	TransactionID string     `json:"transactionId,omitzero"` // a string of digits
}

// Actions of operators.
const (
	ActionReplay  = "replay"
	ActionResolve = "resolve"
	ActionDrop    = "drop"
	ActionPause   = "pause"
	ActionResume  = "resume"
)

// AuditActions lists all actions.
func AuditActions() []string {
	return []string{ActionReplay, ActionResolve, ActionDrop, ActionPause, ActionResume}
}

const auditSource = "/linepayctl"

// AuditType is the CloudEvents type of an entry: "linepay.audit.<action>.v1".
func AuditType(action string) string { return "linepay.audit." + action + ".v1" }

// NewAudit makes an entry with an id of its own. What is not UTF-8 in a text is replaced by U+FFFD: an action must not fail to be on record
// for what somebody has written into a command.
func NewAudit(at time.Time, data AuditData) *Audit {
	for _, text := range []*string{
		&data.Operator, &data.Host, &data.Reason, &data.Channel, &data.Outcome, &data.Evidence, &data.ReasonParked,
		&data.Command.Source, &data.Command.ID, &data.Operation, &data.OperationKey, &data.OrderID,
	} {
		*text = strings.ToValidUTF8(*text, "\uFFFD")
	}
	return &Audit{ID: uuid.NewString(), Type: AuditType(data.Action), Time: at.UTC(), Data: data}
}

// Subject is where the entry is published.
func (a *Audit) Subject() string { return AuditSubject(a.Data.Channel, a.Data.Action) }

// auditEnvelope is an entry as CloudEvents writes it.
type auditEnvelope struct {
	SpecVersion     string    `json:"specversion"`
	ID              string    `json:"id"`
	Source          string    `json:"source"`
	Type            string    `json:"type"`
	Subject         string    `json:"subject"`
	Time            time.Time `json:"time"`
	DataContentType string    `json:"datacontenttype"`
	Data            AuditData `json:"data"`
}

// Encode writes the entry as CloudEvents JSON. It fails on an entry that DecodeAudit would refuse.
func (a *Audit) Encode() ([]byte, error) {
	out := auditEnvelope{specVersion, a.ID, auditSource, a.Type, a.Subject(), a.Time.UTC(), ContentTypeJSON, a.Data}
	if err := out.check(); err != nil {
		return nil, err
	}
	b, err := json.Marshal(out, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("audit entry %s cannot be written: %w", a.ID, err)
	}
	return b, nil
}

// ErrAudit is wrapped by every error of DecodeAudit.
var ErrAudit = errors.New("not an audit entry of linepayctl")

// DecodeAudit reads what Encode wrote, by this or a later version: unknown members are passed over, unknown actions are not.
func DecodeAudit(body []byte) (*Audit, error) {
	var in auditEnvelope
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAudit, err)
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	return &Audit{in.ID, in.Type, in.Time.UTC(), in.Data}, nil
}

func (e auditEnvelope) check() error {
	for _, rule := range []struct {
		holds bool
		text  string
	}{
		{e.SpecVersion == specVersion, fmt.Sprintf("specversion is %q, want %q", clip(e.SpecVersion, 20), specVersion)},
		{e.ID != "", "id is missing"},
		{e.Source == auditSource, fmt.Sprintf("source is %q, want %s", clip(e.Source, 60), auditSource)},
		{slices.Contains(AuditActions(), e.Data.Action), fmt.Sprintf("action %q is none of %s", clip(e.Data.Action, 40), strings.Join(AuditActions(), ", "))},
		{e.Type == AuditType(e.Data.Action), fmt.Sprintf("type is %q, want %s", clip(e.Type, 60), AuditType(clip(e.Data.Action, 40)))},
		{e.Subject == AuditSubject(e.Data.Channel, e.Data.Action), "subject is not linepay.audit.<channel>.<action> of its data"},
		{!e.Time.IsZero(), "time is missing"},
		{e.Data.Operator != "", "operator is missing"},
		{e.Data.Host != "", "host is missing"},
		{e.Data.Channel != "", "channel is missing"},
	} {
		if !rule.holds {
			return fmt.Errorf("%w: %s", ErrAudit, rule.text)
		}
	}
	return nil
}
