package consumer

import (
	"fmt"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"linepay-worker/idempotency"
	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// Outcome is what step 3 concludes: where the operation stands now, what to publish, and the fate of the message if that succeeds.
// The zero value concludes nothing: the operation stays in doubt and the message comes back.
type Outcome struct {
	standing standing
	events   []*schemas.Event // the last one is the command's answer
	park     *schemas.DeadLetter
	owner    schemas.CommandRef // whose outcome it is
	effect   string             // what a done operation brought about at LINE Pay: a refund's transaction id
	kept     []byte             // what stays on record instead of events and park

	untouched bool               // no call was sent under this claim, certainly
	yield     bool               // an earlier command of the entity goes first
	aside     bool               // it has not begun, and comes back alone
	told      idempotency.Answer // of a command beside the owner: its answer for good, whatever becomes of the operation
	spend     time.Duration      // counts against the retry budget

	fate Fate
}

// standing is where an operation stands.
type standing int

const (
	open    standing = iota // not settled: the claim is given back
	settled                 // nothing to settle: the answer comes from the record, or from a reading
	done                    // carried out
	refused                 // definitely not carried out
	parked                  // given up for a person to look at
)

// undecided gives the claim back in doubt.
func undecided(f Fate) Outcome { return Outcome{fate: f} }

// data is what every event of this command says. In the owner's name, where another command is resolved on the way.
func (t *task) data() schemas.EventData {
	d := schemas.EventData{
		Channel:       t.cmd.Channel,
		Operation:     t.cmd.Operation,
		Command:       schemas.CommandRef{Source: t.cmd.Source, ID: t.cmd.ID},
		OperationKey:  t.cmd.key,
		Fingerprint:   t.cmd.fingerprint,
		OrderID:       t.cmd.Data.Order(),
		TransactionID: t.cmd.Data.Transaction(),
		Calls:         t.claim.Calls,
	}
	switch data := t.cmd.Data.(type) {
	case *schemas.RequestData:
		d.Amount, d.Currency = data.Amount, data.Currency
	case *schemas.ConfirmData:
		d.Amount, d.Currency = data.Amount, data.Currency
	case *schemas.CaptureData:
		d.Amount, d.Currency = data.Amount, data.Currency
	case *schemas.PreapprovedPayData:
		d.Amount, d.Currency = data.Amount, data.Currency
	case *schemas.RefundData:
		if data.RefundAmount != nil {
			d.RefundAmount = *data.RefundAmount
		}
	}
	return d
}

// own is data in this command's own name, about something it did not do itself.
func (t *task) own() schemas.EventData {
	d := t.data()
	d.Calls = 0
	return d
}

// inOwnersName is data in the name of the command whose claim this is: this command's, or an earlier one that did not come back.
func (t *task) inOwnersName() schemas.EventData {
	d := t.data()
	if t.claim.Granted() {
		d.Command = schemas.CommandRef(t.claim.Owner)
	}
	return d
}

// isOwner says whether this command's own outcome is being decided.
func (t *task) isOwner() bool {
	return !t.claim.Granted() || t.claim.Owner == t.cmd.name()
}

func (t *task) event(name string, d schemas.EventData, extra ...string) *schemas.Event {
	e := schemas.NewEvent(name, t.now(), d, extra...)
	e.TraceParent = t.cmd.TraceParent
	return e
}

// conclude is the fate of a message whose operation was settled: done with, unless it was settled in an earlier command's name. Then
// this command comes round again and finds the record as it stands now.
func (t *task) conclude(why string) Fate {
	if t.isOwner() {
		return ack(why)
	}
	return wait(0, why+", for the command that had claimed it")
}

// done: LINE Pay carried the operation out. A key that a confirm issued goes out on a subject of its own, or that it is lost.
func (t *task) done(e effect, settledBy string) Outcome {
	d := t.inOwnersName()
	d.SettledBy, d.ReturnCode, d.ReturnMessage = settledBy, e.answer.Code, e.answer.Message
	var events []*schemas.Event
	if e.regKey != "" || e.keyLost {
		key := d
		key.RegKey, key.RegKeyLost = e.regKey, e.keyLost
		if e.regKey != "" {
			key.Usable = new(true)
		}
		events = append(events, t.event(schemas.EventPreapproval, key))
	}
	if e.fill != nil {
		e.fill(&d)
	}
	events = append(events, t.event(e.event, d))
	return Outcome{standing: done, events: events, owner: d.Command, effect: e.id, fate: t.conclude(e.event)}
}

// doneBefore: the order's own events show it. Invalid data has no fingerprint: it is told so at its next delivery, which finds that it is done.
func (t *task) doneBefore(e *schemas.Event) Outcome {
	if t.cmd.invalid == nil && e.Data.Fingerprint != "" && e.Data.Fingerprint != t.cmd.fingerprint {
		return t.rejectedFor(schemas.ReasonConflict, schemas.FieldError{
			Path: "/data", Message: fmt.Sprintf("event %s of the order tells operation %s with other data", e.ID, t.cmd.key),
		})
	}
	o := Outcome{
		standing: done, events: []*schemas.Event{e}, owner: e.Data.Command, effect: effectOf(e),
		fate: wait(0, "its event, by another command, was stored already"),
	}
	if idempotency.Command(e.Data.Command) == t.cmd.name() {
		o.fate = ack("its event was stored already")
	}
	return o
}

// effectOf is what the record of a done operation says it brought about.
func effectOf(e *schemas.Event) string {
	if e.Data.Operation == linepay.Capture {
		return byCapture
	}
	return e.Data.RefundTransactionID.String()
}

// answeredBefore settles what this command owns as refused, with the event that says so; another's operation is left as it was.
func (t *task) answeredBefore(e *schemas.Event) Outcome {
	return t.besideOwner(Outcome{
		standing: refused, events: []*schemas.Event{e}, owner: e.Data.Command, untouched: true, fate: ack("its event was stored already"),
	})
}

// failed: LINE Pay definitely refused, or a look-up proved that it had.
func (t *task) failed(answer linepay.Answer, settledBy, reason string) Outcome {
	d := t.inOwnersName()
	d.SettledBy, d.ReturnCode, d.ReturnMessage, d.Reason = settledBy, answer.Code, answer.Message, reason
	return Outcome{standing: refused, events: []*schemas.Event{t.event(schemas.EventFailed, d)}, owner: d.Command, fate: t.conclude("failed")}
}

// rejected: never sent to LINE Pay, because the command is invalid or has expired.
func (t *task) rejected() Outcome {
	if t.cmd.invalid != nil {
		return t.rejectedFor(schemas.ReasonInvalid, t.cmd.invalid.Errors...)
	}
	return t.rejectedFor(schemas.ReasonExpired, schemas.FieldError{
		Path: "/expirytime", Message: "passed before LINE Pay was called: " + t.cmd.ExpiryTime.Format(time.RFC3339),
	})
}

// rejectedFor frees the operation where it was claimed.
func (t *task) rejectedFor(reason string, errors ...schemas.FieldError) Outcome {
	d := t.own()
	d.Reason, d.Errors = reason, errors
	return t.besideOwner(Outcome{
		standing: refused, events: []*schemas.Event{t.event(schemas.EventRejected, d)}, owner: d.Command,
		untouched: true, fate: ack("rejected: " + reason),
	})
}

// besideOwner: a command that is answered for itself, while another one owns the operation, leaves the record as it found it. An owner that
// is parked has no message any more that would come back to an open record.
func (t *task) besideOwner(o Outcome) Outcome {
	if t.isOwner() {
		return o
	}
	o.standing, o.untouched = open, true
	switch answer := o.events[len(o.events)-1]; {
	case answer.Data.Reason == schemas.ReasonConflict:
		o.told = idempotency.Conflict
	case answer.Name() == schemas.EventRejected:
		o.told = idempotency.Rejected
	}
	if len(t.claim.Outcome) > 0 {
		o.standing, o.kept, o.owner = parked, t.claim.Outcome, schemas.CommandRef(t.claim.Owner)
	}
	return o
}

// conflict: the same operation is known with other data.
func (t *task) conflict() Outcome {
	return t.rejectedFor(schemas.ReasonConflict, schemas.FieldError{
		Path: "/data",
		Message: fmt.Sprintf("operation %s is known with other data from command %q of %q; a new refund needs its own refundId, a new payment its own orderId",
			t.cmd.key, t.claim.Owner.ID, t.claim.Owner.Source),
	})
}

// duplicate: another command had done the same; no call was made for this one.
func (t *task) duplicate() Outcome {
	stored, err := decodeStored(t.claim.Outcome)
	if len(stored.events) == 0 {
		return undecided(retry(t.worker.cfg.RetryMax, "the record's outcome cannot be read", err))
	}
	of := stored.events[len(stored.events)-1]
	d := t.own()
	d.Of = &schemas.DuplicateOf{
		Command: of.Data.Command, EventID: of.ID, EventType: of.Type,
		EventSubject: schemas.EventSubject(of.Data.Channel, of.Name(), of.Subject),
	}
	return Outcome{standing: settled, events: []*schemas.Event{t.event(schemas.EventDuplicate, d)}, fate: ack("duplicate")}
}

// behind: somebody else holds the entity, or comes before. It may be done in milliseconds, so the next in line asks often at first, and the
// longer it has waited, the less often. Those behind it ask the less often the more are ahead of them, so that a long queue on one payment
// leaves the others their share of the channel.
func (t *task) behind() Outcome {
	left, waited := t.claim.Until.Sub(t.now()), time.Since(t.m.Stored)
	pause := min(left, backoff(waited/16, leastDelay, mostPolite))
	if t.claim.Ahead > 1 {
		pause = backoff(time.Duration(t.claim.Ahead)*leastDelay, leastDelay, longestInLine)
	}
	return Outcome{standing: settled, fate: wait(pause, "busy: "+t.claim.Reason)}
}

// The longest pauses of a command that waits for another one: as the next in line, and far behind.
const (
	mostPolite    = 2 * time.Second
	longestInLine = 30 * time.Second
)

// parkedFor: given up, with what a person needs to decide.
func (t *task) parkedFor(reason, detail, code, moved string) Outcome {
	d := t.data()
	d.Reason, d.MoneyMoved, d.ReturnCode = reason, moved, code
	letter := &schemas.DeadLetter{
		Reason: reason, Detail: detail, Code: code, Subject: t.m.Subject, Sequence: t.m.Sequence, Deliveries: t.m.Deliveries, At: t.now(),
	}
	o := Outcome{
		standing: parked, park: letter, owner: d.Command, fate: ack("parked: " + reason),
		events: []*schemas.Event{t.event(schemas.EventParked, d, strconv.FormatUint(t.m.Replay, 10))},
	}
	if t.cmd.Operation == linepay.Capture && moved == schemas.MoneyMovedUnknown {
		o.effect = byCapture
	}
	switch {
	case t.isOwner():
	case len(t.claim.Outcome) > 0: // The owner is parked already, and stays so. This command joins it.
		return t.besideOwner(o)
	default: // The owner is on its way, and has the first word about its operation.
		return t.stillInDoubt(undecided(wait(t.worker.cfg.RetryMax, "its owner is to be parked: "+reason)))
	}
	return o
}

// asStored publishes the outcome on record again.
func (t *task) asStored() Outcome {
	o, err := decodeStored(t.claim.Outcome)
	if len(o.events) == 0 {
		return undecided(retry(t.worker.cfg.RetryMax, "the record's outcome cannot be read", err))
	}
	if o.park != nil { // this message may be another copy of the command than the one that was parked
		o.park.Sequence, o.park.Deliveries = t.m.Sequence, t.m.Deliveries
	}
	o.standing, o.fate = settled, ack(t.claim.Answer.String())
	return o
}

// storedOutcome is what the guard keeps of an outcome.
type storedOutcome struct {
	Events     []jsontext.Value    `json:"events"`
	DeadLetter *schemas.DeadLetter `json:"deadLetter,omitzero"`
}

// encode writes what a later delivery needs to give the same answer.
func (o Outcome) encode() ([]byte, error) {
	if o.kept != nil {
		return o.kept, nil
	}
	kept := storedOutcome{DeadLetter: o.park}
	for _, e := range o.events {
		body, err := e.Encode()
		if err != nil {
			return nil, err
		}
		kept.Events = append(kept.Events, body)
	}
	return json.Marshal(kept)
}

// StoredEvents reads the events in an outcome that a worker has put on record: the answer that its command has had, or will have. They may
// hold a registered key.
func StoredEvents(outcome []byte) ([]*schemas.Event, error) {
	o, err := decodeStored(outcome)
	return o.events, err
}

func decodeStored(b []byte) (Outcome, error) {
	var kept storedOutcome
	if err := json.Unmarshal(b, &kept); err != nil {
		return Outcome{}, fmt.Errorf("outcome on record: %w", err)
	}
	o := Outcome{park: kept.DeadLetter}
	for _, body := range kept.Events {
		e, err := schemas.DecodeEvent(body)
		if err != nil {
			return Outcome{}, fmt.Errorf("event on record: %w", err)
		}
		o.events = append(o.events, e)
	}
	return o, nil
}
