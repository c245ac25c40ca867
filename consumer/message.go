package consumer

import (
	"time"

	"go.opentelemetry.io/otel/trace"

	"linepay-worker/idempotency"
	"linepay-worker/schemas"
)

// Message is a command as JetStream delivered it.
type Message struct {
	Subject    string
	Header     map[string][]string
	Body       []byte
	Sequence   uint64    // in LINEPAY_COMMANDS
	Deliveries uint64    // 1 = the first time
	Stored     time.Time // when it was stored in LINEPAY_COMMANDS
	Replay     uint64    // the dead letter it was replayed from, 0 for none
	Source, ID string    // of the command, once it has been read

	// Redelivered says that an earlier delivery may have called LINE Pay: it was made, and not by this process without a claim.
	Redelivered bool
	alone       bool               // it is suspected of crashes: the process has nothing else in hand
	only        bool               // and no other suspect waits
	claimed     time.Time          // by this process' clock, just before the claim was asked for: leases are counted from here
	claim       *idempotency.Claim // once it is answered
	turn        *turn
	arrived     time.Time       // by this process' clock
	span        trace.Span      // of this delivery, where there are traces
	stopping    <-chan struct{} // closed when the worker is told to stop: what has no claim yet is handed back
}

// operation is the last token of the subject where it names an operation, "unknown" elsewhere: it labels metrics.
func (m *Message) operation() string {
	_, op, err := schemas.ParseCommandSubject(m.Subject)
	if err != nil {
		return "unknown"
	}
	return string(op)
}

// tried is how much time earlier deliveries can have spent at least.
func (m *Message) tried(pause time.Duration) time.Duration {
	return time.Duration(min(m.Deliveries, 1000)-1) * pause
}
