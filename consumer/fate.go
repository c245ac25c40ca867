package consumer

import (
	"math/rand/v2"
	"time"
)

// Fate is what becomes of a message. Steps decide it; conclude in run.go carries it out.
type Fate struct {
	Kind  FateKind
	Why   string        // for the log line: what was decided, in a few words
	After time.Duration // for Wait and Retry: when the message comes back
	Err   error         // the cause, if something went wrong

	Outcome string // for Ack: the event that answers the command, or parked
}

// outcome labels metrics and log lines: one of the events, or "none" while there is none.
func (f Fate) outcome() string { return or(f.Outcome, "none") }

// FateKind says how a message is handed back to JetStream. The zero value gives it back.
type FateKind int

const (
	// Retry: it comes back after a fault. Nothing is lost by trying again.
	Retry FateKind = iota
	// Wait: it comes back because somebody else comes first, or because time has to pass. Nothing has failed.
	Wait
	// Ack: its event, or its dead letter, is stored. It is done.
	Ack
)

// String gives the fate's word.
func (k FateKind) String() string {
	switch k {
	case Ack:
		return "ack"
	case Wait:
		return "wait"
	default:
		return "retry"
	}
}

// A negative acknowledgement without a delay would make JetStream deliver again at once, in a loop without end.
const leastDelay = 20 * time.Millisecond

func ack(why string) Fate { return Fate{Kind: Ack, Why: why} }

func wait(after time.Duration, why string) Fate {
	return Fate{Kind: Wait, After: max(after, leastDelay), Why: why}
}

func retry(after time.Duration, why string, err error) Fate {
	return Fate{Kind: Retry, After: max(after, leastDelay), Why: why, Err: err}
}

// backoff is exponential with full jitter. It grows with the time spent on retries already, so that nobody has to count them: waiting
// as long again as one has waited before doubles the pause.
func backoff(spent, least, most time.Duration) time.Duration {
	ceiling := min(max(2*spent, least), most)
	return least/2 + rand.N(ceiling)
}
