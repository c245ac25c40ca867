package consumer

import (
	"context"
	"crypto/rand"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"linepay-worker/idempotency"
	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// Nobody waits for ever. Where the operation in the way has lapsed, and its own command has not come back, whoever waits behind it looks it up
// in its owner's name: its message may be minutes away, or purged. It is settled, and told under the owner's id, if it happened or is over; if
// nothing happened it is let go, for its owner alone may call.

// errand is what a look-up has to know of a command when its message is not at hand. It stays on record while the operation is open, so it
// holds no key.
type errand struct {
	Operation   linepay.Operation `json:"op"`
	Data        jsontext.Value    `json:"data"`
	Fingerprint string            `json:"fp"`
	Stored      time.Time         `json:"stored"`
}

// newErrand is nil where nobody waits behind such an operation: for a reading, and for what has a key to itself.
func newErrand(m *Message, cmd *command) []byte {
	if inTheWay[cmd.Operation] == nil || cmd.unfit() {
		return nil
	}
	data := cmd.Data
	switch d := data.(type) {
	case *schemas.RequestData:
		data = &schemas.RequestData{PaymentRequest: linepay.PaymentRequest{OrderID: d.OrderID, Amount: d.Amount, Currency: d.Currency}}
	case *schemas.PreapprovedPayData:
		data = &schemas.PreapprovedPayData{OrderID: d.OrderID, Amount: d.Amount, Currency: d.Currency, Capture: d.Capture}
	}
	text, err := json.Marshal(data)
	if err != nil {
		return nil
	}
	if text, err = json.Marshal(errand{cmd.Operation, text, cmd.fingerprint, m.Stored.UTC()}); err != nil {
		return nil
	}
	return text
}

// inTheWay are the operations behind which others wait, with their data to be filled in.
var inTheWay = map[linepay.Operation]func() schemas.Data{
	linepay.Request:        func() schemas.Data { return &schemas.RequestData{} },
	linepay.Confirm:        func() schemas.Data { return &schemas.ConfirmData{} },
	linepay.Capture:        func() schemas.Data { return &schemas.CaptureData{} },
	linepay.Void:           func() schemas.Data { return &schemas.VoidData{} },
	linepay.Refund:         func() schemas.Data { return &schemas.RefundData{} },
	linepay.PreapprovedPay: func() schemas.Data { return &schemas.PreapprovedPayData{} },
}

// command is the owner's, as far as a look-up needs it.
func (e errand) command(channel string, owner idempotency.Command, entity idempotency.Entity, key string) (*command, error) {
	blank := inTheWay[e.Operation]
	if blank == nil {
		return nil, fmt.Errorf("operation %q is in nobody's way", e.Operation)
	}
	data := blank()
	if err := json.Unmarshal(e.Data, data); err != nil {
		return nil, err
	}
	read := &schemas.Command{Channel: channel, Operation: e.Operation, Source: owner.Source, ID: owner.ID, Data: data}
	return &command{Command: read, entity: entity, key: key, fingerprint: e.Fingerprint, absent: true, stored: e.Stored}, nil
}

// standIn claims what is in the way, if its owner has given no sign of life, and gives the owner's command with that claim; else the command's
// own with the claim that told it to wait.
func (w *Worker) standIn(ctx context.Context, m *Message, cmd *command, busy *idempotency.Claim) (*command, *idempotency.Claim) {
	if busy.Holder == "" || busy.Until.After(busy.Now) { // nothing is in the way, or it is alive; so is the command's own that is under way
		return cmd, busy
	}
	name, _, _ := strings.Cut(busy.Holder, ":")
	op := linepay.Operation(name)
	request := idempotency.ClaimRequest{
		Entity: cmd.entity, Operation: busy.Holder, Sequence: lastInLine, Probe: true,
		Command: idempotency.Command{ // nobody else's, whatever they send
			Source: "/linepay-worker/" + w.cfg.Channel, ID: fmt.Sprintf("in the way of sequence %d, %s", m.Sequence, rand.Text()),
		},
		CallFor: w.cfg.callFor(op), Lease: w.cfg.lease(op), Place: w.cfg.place(), Alone: m.alone,
	}
	w.remembering(&request)
	claim, err := w.cfg.Guard.Claim(ctx, request)
	if err != nil || !claim.Granted() {
		return cmd, busy
	}
	var e errand
	err = json.Unmarshal(claim.Errand, &e)
	var owner *command
	if err == nil {
		owner, err = e.command(w.cfg.Channel, claim.Owner, cmd.entity, busy.Holder)
	}
	if err != nil || claim.Suspicion >= suspicious { // what is nobody's has no errand either
		w.leaveBe(ctx, claim, claim.Owner == request.Command)
		return cmd, busy
	}
	return owner, claim
}

// lastInLine is the place of who claims in another's name: an operation that is let go waits there, and nobody behind it.
const lastInLine = math.MaxUint64

// leaveBe gives back what only its owner can decide. Where it has none, that was answered since it told the other command to wait, and only a
// guard that believes no record sees a doubt in what is left: nobody would ever come to resolve it. Nor would anybody where it was parked, and
// another command that was parked with it opened it again, late: that is put back.
func (w *Worker) leaveBe(ctx context.Context, claim *idempotency.Claim, ownerless bool) {
	if !ownerless && len(claim.Errand) == 0 && len(claim.Outcome) > 0 {
		w.settle(ctx, claim, Outcome{standing: parked, kept: claim.Outcome, owner: schemas.CommandRef(claim.Owner)})
		return
	}
	ctx, cancel := aftermath(ctx)
	defer cancel()
	if ownerless {
		_ = w.cfg.Guard.Extend(ctx, claim, idempotency.Extension{Lease: w.cfg.place(), Proven: true})
	}
	_ = w.cfg.Guard.Release(ctx, claim, idempotency.Release{Aside: true, Yield: ownerless}) // or it lapses
}

// inAbsence looks up an operation whose command is not at hand. What only its owner can decide is left as it was found.
func (t *task) inAbsence(ctx context.Context) Outcome {
	o := t.worker.throughBreaker(ctx, t, (*task).lookUp)
	if o.standing == parked {
		o = t.stillInDoubt(undecided(wait(t.worker.cfg.RetryMax, o.fate.Why)))
	}
	o.fate = wait(o.fate.After, "in the name of the command that is in the way: "+o.fate.Why)
	return o
}

// letGo: nothing happened, and the owner alone may call. Those behind it need not wait for that.
func (t *task) letGo(ctx context.Context) Outcome {
	if err := t.record(ctx, idempotency.Extension{Proven: true}); err != nil {
		return t.stillInDoubt(t.later("proof not on record", err))
	}
	o := t.stillInDoubt(undecided(wait(0, "nothing happened")))
	o.yield = true
	return o
}
