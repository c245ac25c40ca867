package simulator

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"linepay-worker/linepay"
)

// FaultKind is a way in which a call goes wrong.
type FaultKind string

// The kinds. None but KindCode sends a code of its own.
const (
	KindDelay    FaultKind = "delay"     // the call takes its time: it is carried out late, answered late, or neither
	KindDrop     FaultKind = "drop"      // the connection is closed without a byte
	KindCode     FaultKind = "code"      // Fault.Code is answered
	KindHTTP500  FaultKind = "http500"   // HTTP status 500
	KindGarbage  FaultKind = "garbage"   // HTTP 200 with JSON that breaks off
	KindHTML     FaultKind = "html"      // HTTP 200 with a gateway's HTML page
	KindSlowBody FaultKind = "slow-body" // the answer arrives in pieces, over Delay
)

// Moment says on which side of the operation a fault strikes.
type Moment string

// The moments.
const (
	Before Moment = "before" // instead of the operation, which is never carried out; after a delay the connection is closed
	During Moment = "during" // of a delay alone: the operation is on its way meanwhile, and carried out at its end
	After  Moment = "after"  // the operation is carried out, or refused by its own rules; then the fault strikes
)

// Fault makes calls go wrong. Faults strike signed calls only, and one call meets at most one fault: the first added that fits.
type Fault struct {
	Operation linepay.Operation `json:"operation"` // "" or "*": any
	// TransactionID leaves all calls alone but those that have this payment's id in their path, so that one who tries something out does
	// not disturb others; 0: any.
	TransactionID linepay.TransactionID `json:"transactionId,omitzero"`

	Kind        FaultKind `json:"kind"`
	Count       int       `json:"count"`       // how many calls it strikes; 0: one, -1: without end
	Probability float64   `json:"probability"` // for each call, above 0 to 1; 0: 1
	// Delay, at most 10 minutes of real time, belongs to KindDelay and KindSlowBody (0: one second there); before the other kinds strike
	// it is waited too.
	Delay time.Duration `json:"delayMs"`
	Code  string        `json:"code"` // KindCode: four digits. slow-body before: the code in the slow answer, default 9000
	When  Moment        `json:"when"` // "": During for KindDelay, Before for the others
}

const maxDelay = 10 * time.Minute

// checked fills in defaults, or says what is wrong.
func (f Fault) checked() (Fault, error) {
	if f.Operation == "*" {
		f.Operation = ""
	}
	if f.Operation != "" && !slices.Contains(linepay.Operations(), f.Operation) {
		return f, fmt.Errorf("fault: operation must be one of %q, or * for any, not %q", linepay.Operations(), f.Operation)
	}
	if f.TransactionID != 0 && f.Operation != "" && !namesPayment(f.Operation) {
		return f, fmt.Errorf("fault: transactionId must be left out with operation %s, whose path has none", f.Operation)
	}
	if kinds := []FaultKind{KindDelay, KindDrop, KindCode, KindHTTP500, KindGarbage, KindHTML, KindSlowBody}; !slices.Contains(kinds, f.Kind) {
		return f, fmt.Errorf("fault: kind must be one of %q, not %q", kinds, f.Kind)
	}
	if f.Count < -1 {
		return f, fmt.Errorf("fault: count must be 1 or more, or -1 for without end, not %d", f.Count)
	}
	if !(f.Probability >= 0 && f.Probability <= 1) {
		return f, fmt.Errorf("fault: probability must be from 0 to 1, not %v", f.Probability)
	}
	if f.Delay < 0 || f.Delay > maxDelay {
		return f, fmt.Errorf("fault: delayMs must be from 0 to %d, not %d", maxDelay.Milliseconds(), f.Delay.Milliseconds())
	}
	if (f.Kind == KindCode || f.Code != "") && !isResultCode(f.Code) {
		return f, fmt.Errorf("fault: code must be a result code of four digits, not %q", f.Code)
	}
	if f.Count == 0 {
		f.Count = 1
	}
	if f.Probability == 0 {
		f.Probability = 1
	}
	if f.Delay == 0 && (f.Kind == KindDelay || f.Kind == KindSlowBody) {
		f.Delay = time.Second
	}
	return f.timed()
}

// timed fills in the moment, or says what is wrong with it.
func (f Fault) timed() (Fault, error) {
	switch delay := f.Kind == KindDelay; {
	case f.When == "" && delay:
		f.When = During
	case f.When == "":
		f.When = Before
	case f.When != Before && f.When != After && (f.When != During || !delay):
		return f, fmt.Errorf("fault: when must be before or after, or during for a delay, not %q", f.When)
	}
	return f, nil
}

// AddFault puts a fault behind those already there. It fails on a fault that could not strike.
func (s *Simulator) AddFault(f Fault) error {
	f, err := f.checked()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
	return nil
}

// Faults are those still to strike, with what is left of their counts.
func (s *Simulator) Faults() []Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	faults := make([]Fault, 0, len(s.faults))
	for _, f := range s.faults {
		faults = append(faults, *f)
	}
	return faults
}

// ClearFaults removes all faults. Delays that have begun go on.
func (s *Simulator) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// fits says whether a fault is meant for a call.
func (f *Fault) fits(c *call) bool {
	return (f.Operation == "" || f.Operation == c.route.operation) && (f.TransactionID == 0 || f.TransactionID == c.id)
}

// takeFault uses up one strike of the first fault that fits; the zero Fault is none.
func (s *Simulator) takeFault(c *call) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, f := range s.faults {
		if !f.fits(c) || s.luck.Float64() >= f.Probability {
			continue
		}
		taken := *f
		if f.Count > 0 {
			f.Count--
		}
		if f.Count == 0 {
			s.faults = slices.Delete(s.faults, i, i+1)
		}
		return taken
	}
	return Fault{}
}

// strike spoils the answer a; a is nil where the fault struck before the operation.
func (s *Simulator) strike(w http.ResponseWriter, r *http.Request, c *call, f Fault, a *answer) {
	if f.Kind != KindSlowBody && !s.wait(f.Delay) {
		drop(w)
		return
	}
	switch f.Kind {
	case KindDelay:
		if a == nil {
			drop(w)
			return
		}
		s.send(w, r, c, a)
	case KindDrop:
		drop(w)
	case KindCode:
		s.consequence(c, f.Code)
		s.send(w, r, c, refuse(f.Code))
	case KindHTTP500:
		writeBody(w, http.StatusInternalServerError, "text/plain; charset=utf-8", []byte("Internal Server Error\n"))
	case KindGarbage:
		writeBody(w, http.StatusOK, "application/json", []byte(`{"returnCode":"00`))
	case KindHTML:
		writeBody(w, http.StatusOK, "text/html; charset=utf-8", []byte("<!doctype html><title>Maintenance</title><h1>Service under maintenance</h1>\n"))
	case KindSlowBody:
		if a == nil {
			a = refuse(or(f.Code, "9000"))
		}
		s.trickle(w, r, s.note(r, c, a), f.Delay)
	}
}

// trickle sends the body in ten pieces over a time.
func (s *Simulator) trickle(w http.ResponseWriter, r *http.Request, body []byte, over time.Duration) {
	const pieces = 10
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	for i := range pieces {
		from, to := len(body)*i/pieces, len(body)*(i+1)/pieces
		if _, err := w.Write(body[from:to]); err != nil || r.Context().Err() != nil {
			return
		}
		_ = http.NewResponseController(w).Flush() // a writer that cannot flush sends the body late, which is slow too
		if i < pieces-1 && !s.wait(over/(pieces-1)) {
			drop(w)
			return
		}
	}
}

// consequence does what LINE Pay documents for a code, where the rules ask for it.
func (s *Simulator) consequence(c *call, code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.rules.CodesHaveConsequences {
		return
	}
	switch c.route.operation {
	case linepay.Capture:
		p := s.find(c.channel, c.id)
		if p != nil && p.state == Authorized && (code == "1199" || code >= "1280" && code <= "1298") {
			p.state, p.voidedAt, p.until = Voided, s.now(), time.Time{}
		}
	case linepay.PreapprovedPay:
		key := s.keys[c.key]
		if key != nil && key.channel == c.channel && (code == "1141" || code >= "1282" && code <= "1287" || code >= "1290" && code <= "1295") {
			key.expired = true
		}
	}
}

// drop closes the connection without an answer.
func drop(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2, or an answer already begun: the server aborts the stream
	}
	_ = conn.Close()
}

// wait lets real time pass, whether the caller is still there or not: LINE Pay does not notice either. It is false once the simulator
// is closed.
func (s *Simulator) wait(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.ctx.Done():
		return false
	}
}

func or(s, standard string) string {
	if s == "" {
		return standard
	}
	return s
}
