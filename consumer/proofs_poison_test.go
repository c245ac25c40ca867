package consumer

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"linepay-worker/consumer/consumertest"
	"linepay-worker/idempotency"
	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// delivered is a message with a command, as JetStream delivers it for the first time.
func delivered(op linepay.Operation, body string) *Message {
	return &Message{
		Subject: schemas.CommandSubject("tw", op), Body: []byte(body), Sequence: 1, Deliveries: 1, Stored: time.Now(), turn: next(nil),
	}
}

// mustClaim claims for a message as the second step does.
func (p *past) mustClaim(m *Message) *idempotency.Claim {
	p.t.Helper()
	cmd, err := p.decode(m)
	if err != nil {
		p.t.Fatal(err)
	}
	_, claim, err := p.claim(p.t.Context(), m, cmd)
	if err != nil {
		p.t.Fatal(err)
	}
	return claim
}

// A command whose handling panicked is parked with the truth about its money: an operator refunds, or does not, by that.
func TestPanicParksWithWhatIsKnownOfTheMoney(t *testing.T) {
	t.Parallel()
	page, err := json.Marshal(consumertest.Order("O", "100", "TWD"))
	if err != nil {
		t.Fatal(err)
	}
	claimed := func(p *past, m *Message) { p.mustClaim(m) }
	again := func(_ *past, m *Message) { m.Redelivered = true }
	answered := func(p *past, m *Message) {
		claim := p.mustClaim(m)
		done := idempotency.Settlement{State: idempotency.StateDone, Outcome: []byte("{}")}
		if err := p.cfg.Guard.Settle(p.t.Context(), claim, done); err != nil {
			p.t.Fatal(err)
		}
		if m.turn = next(nil); p.mustClaim(m).Answer != idempotency.Done {
			p.t.Fatal("it is not done")
		}
	}
	const poison = "dead letter poison"
	for name, c := range map[string]struct {
		op     linepay.Operation
		body   string
		before func(*past, *Message)
		kind   FateKind
		told   []string
		moved  string
	}{
		"before its claim":                   {linepay.Confirm, confirmOf(7), nil, Ack, []string{poison, "parked"}, schemas.MoneyMovedNo},
		"before its claim, delivered before": {linepay.Confirm, confirmOf(7), again, Ack, []string{poison, "parked"}, schemas.MoneyMovedUnknown},
		"after its claim":                    {linepay.Confirm, confirmOf(7), claimed, Ack, []string{poison, "parked"}, schemas.MoneyMovedUnknown},
		"a payment page, after its claim":    {linepay.Request, body(linepay.Request, string(page)), claimed, Ack, []string{poison, "parked"}, schemas.MoneyMovedNo},
		"a reading":                          {linepay.Check, body(linepay.Check, `{"transactionId":"7"}`), claimed, Ack, []string{poison, "parked"}, schemas.MoneyMovedNo},
		"its answer is on record":            {linepay.Confirm, confirmOf(7), answered, Retry, nil, ""},
		"what nobody can read":               {linepay.Confirm, "unreadable", nil, Ack, []string{"dead letter invalid"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPast(t)
			m := delivered(c.op, c.body)
			if c.before != nil {
				c.before(p, m)
			}
			if fate := p.poisoned(t.Context(), m, "it panicked"); fate.Kind != c.kind || !slices.Equal(p.annals.told, c.told) {
				t.Errorf("the fate is %s: %s (%v), told %q; want %s and %q", fate.Kind, fate.Why, fate.Err, p.annals.told, c.kind, c.told)
			}
			for _, e := range p.annals.answers {
				if e.Data.MoneyMoved != c.moved || e.Data.Reason != schemas.ReasonPoison {
					t.Errorf("parked as %s, money moved %s, want %s", e.Data.Reason, e.Data.MoneyMoved, c.moved)
				}
			}
		})
	}
}

// A suspect that is handled beside others takes them down with it, and they are suspected in its place.
func TestSuspectWaitsUntilNothingElseIsInHand(t *testing.T) {
	t.Parallel()
	h := NewHands()
	give := h.take(t.Context(), &Message{})
	h.take(ended(t), &Message{alone: true, turn: next(nil)})() // not even once: it has got none to give back
	alone := make(chan func())
	go func() { alone <- h.take(t.Context(), &Message{alone: true, turn: next(nil)}) }()
	for h.free.TryAcquire(allHands - 1) { // until it waits, or has got what it wants
		h.free.Release(allHands - 1)
		pause(t.Context(), time.Millisecond)
	}
	if h.free.TryAcquire(1) { // nobody gets by those who wait
		t.Fatal("it is handled while another command is in hand")
	}
	give()
	(<-alone)()
	if !h.free.TryAcquire(allHands) {
		t.Error("not all hands came back")
	}
}

// Whose doing a crash was that hit a suspect alone: its own, unless another suspect might have been meant as well.
func TestCrashOfASuspectCountsTwiceOnlyWhereNoOtherIsLeft(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		only  bool // no other suspect waited for all hands
		other func(*deliveries)
		want  int
	}{
		"no other":                       {true, func(*deliveries) {}, poisonous},
		"another one waits":              {false, func(*deliveries) {}, poisonous - 1},
		"another one is yet to be back":  {true, func(d *deliveries) { d.suspect(9) }, poisonous - 1},
		"another one was back, and went": {true, func(d *deliveries) { d.suspect(9); d.suspected(9) }, poisonous},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPast(t)
			m := delivered(linepay.Confirm, confirmOf(7))
			crash := func() *idempotency.Claim { // of a process that is not heard of again
				p.t.Helper()
				var err error
				if p.cfg.Guard, err = idempotency.New(idempotency.Config{Redis: p.store, Retention: time.Hour}); err != nil {
					t.Fatal(err)
				}
				m.turn = next(nil)
				claim := p.mustClaim(m)
				p.redis.SetTime(claim.Until.Add(time.Second))
				return claim
			}
			crash()
			crash()
			m.alone, m.only = true, c.only
			c.other(&p.deliveries)
			if claim := crash(); claim.Suspicion != suspicious {
				t.Fatalf("suspicion %d after two crashes, want %d", claim.Suspicion, suspicious)
			}
			if claim := crash(); claim.Suspicion != c.want {
				t.Errorf("suspicion %d after one alone, want %d", claim.Suspicion, c.want)
			}
		})
	}
}

// Who is suspected: only of crashes under its own claim, and alone it gets one more try. One whose answer is on record is answered, whatever
// happened before; else it would step aside for ever.
func TestOnlyACommandThatCrashedProcessesIsSuspected(t *testing.T) {
	t.Parallel()
	granted := idempotency.Claim{Answer: idempotency.InDoubt, Token: "T"}
	for _, c := range []struct {
		claim     idempotency.Claim
		suspicion int
		alone     bool
		want      bool
	}{
		{granted, 0, false, false},
		{granted, suspicious - 1, false, false},
		{granted, suspicious, false, true},
		{granted, suspicious, true, false},
		{granted, poisonous, false, true},
		{granted, poisonous, true, true},
		{idempotency.Claim{Answer: idempotency.Done}, suspicious, false, false},
		{idempotency.Claim{Answer: idempotency.Busy}, poisonous, true, false},
	} {
		c.claim.Suspicion = c.suspicion
		task := &task{claim: &c.claim, m: &Message{alone: c.alone}}
		if got := task.isSuspect(); got != c.want {
			t.Errorf("%s, suspicion %d, alone: %t; suspected: %t, want %t", c.claim.Answer, c.suspicion, c.alone, got, c.want)
		}
	}
}

// After two crashes it comes back alone; when the next one says whose doing they are it is parked, with the truth about its money.
func TestSuspectComesBackAloneOrIsParked(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		op        linepay.Operation
		suspicion int
		alone     bool
		moved     string
	}{
		{linepay.Confirm, suspicious, true, ""},
		{linepay.Confirm, poisonous, false, schemas.MoneyMovedUnknown},
		{linepay.Request, poisonous, false, schemas.MoneyMovedNo},
	} {
		t.Run(fmt.Sprintf("%s after %d", c.op, c.suspicion), func(t *testing.T) {
			t.Parallel()
			w, _ := logged(t)
			task := &task{
				worker: w, m: &Message{Sequence: 5}, redis: time.Now(), answered: time.Now(),
				claim: &idempotency.Claim{Answer: idempotency.InDoubt, Token: "T", Suspicion: c.suspicion, Owner: idempotency.Command{Source: "/test", ID: "C"}},
				cmd:   &command{Command: &schemas.Command{Channel: "tw", Operation: c.op, Source: "/test", ID: "C", Data: &schemas.ConfirmData{}}, key: "K"},
			}
			o := task.suspected()
			if alone := w.deliveries.suspected(5); alone != c.alone || !o.aside {
				t.Errorf("its next delivery is handled alone: %t, want %t", alone, c.alone)
			}
			moved := ""
			if o.park != nil {
				moved = o.events[0].Data.MoneyMoved
			}
			if moved != c.moved {
				t.Errorf("parked with money moved %q, want %q", moved, c.moved)
			}
			if w.deliveries.suspected(5) {
				t.Error("it is handled alone for ever")
			}
		})
	}
}
