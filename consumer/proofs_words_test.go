package consumer

import (
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"linepay-worker/consumer/consumertest"
	"linepay-worker/idempotency"
	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// What is handed back is not looked up by the next worker, unless an earlier delivery may have called.
func TestOnlyWhatCertainlyWasNotCalledIsHandedBackAsSuch(t *testing.T) {
	t.Parallel()
	for redelivered, want := range map[bool]idempotency.Answer{false: idempotency.Fresh, true: idempotency.InDoubt} {
		p := newPast(t)
		m := delivered(linepay.Confirm, confirmOf(7))
		m.Redelivered = redelivered
		if fate := p.handBack(t.Context(), m); fate.Err != nil {
			t.Error(fate.Err)
		}
		m.Redelivered = true
		if claim := p.mustClaim(m); claim.Answer != want {
			t.Errorf("delivered before: %t; the next worker finds it %s: %s, want %s", redelivered, claim.Answer, claim.Reason, want)
		}
	}
	// A reading has no record to leave word in.
	p := newPast(t)
	if fate := p.handBack(t.Context(), delivered(linepay.Check, body(linepay.Check, `{"transactionId":"7"}`))); fate.Err != nil {
		t.Error(fate.Err)
	}
	if keys := p.redis.Keys(); len(keys) > 0 {
		t.Errorf("it has left %q", keys)
	}
}

// A key can be used as soon as its confirm has issued it; one that was lost with the answer is told as lost, and as nothing more.
func TestIssuedKeyIsToldAsUsableAndALostOneIsNot(t *testing.T) {
	t.Parallel()
	task := &task{claim: &idempotency.Claim{}, cmd: &command{Command: &schemas.Command{Operation: linepay.Confirm, Data: &schemas.ConfirmData{}}}}
	for _, e := range []effect{{event: schemas.EventCaptured, regKey: "KEY"}, {event: schemas.EventCaptured, keyLost: true}} {
		d := task.done(e, schemas.SettledByResponse).events[0].Data
		if usable := d.Usable != nil && *d.Usable; usable == d.RegKeyLost || d.RegKey != e.regKey {
			t.Errorf("key %q, lost: %t, is told as usable: %t", d.RegKey, d.RegKeyLost, usable)
		}
	}
}

// A capture that may have been made stays in the confirm's sight: money that is shown as taken may be the capture's doing.
func TestCaptureParkedInDoubtMayHaveTakenTheMoney(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		op     linepay.Operation
		moved  string
		effect string
	}{
		{linepay.Capture, schemas.MoneyMovedUnknown, byCapture},
		{linepay.Capture, schemas.MoneyMovedNo, ""},
		{linepay.Confirm, schemas.MoneyMovedUnknown, ""},
	} {
		task := &task{
			claim: &idempotency.Claim{}, m: &Message{}, cmd: &command{Command: &schemas.Command{Operation: c.op, Data: &schemas.CaptureData{}}},
		}
		if o := task.parkedFor(schemas.ReasonExhausted, "", "", c.moved); o.effect != c.effect {
			t.Errorf("%s parked with money moved %s may have brought about %q, want %q", c.op, c.moved, o.effect, c.effect)
		}
	}
}

// Of a payment that has no page told with a key to come, no key is told as lost; nor because another payment of the order has one.
func TestOnlyThePageOfThisPaymentTellsOfAKey(t *testing.T) {
	t.Parallel()
	page := func(id linepay.TransactionID, payType string) *schemas.Event {
		return schemas.NewEvent(schemas.EventRequested, time.Now(), schemas.EventData{TransactionID: id, PayType: payType})
	}
	for _, c := range []struct {
		page *schemas.Event
		want bool
	}{{page(7, preapproved), true}, {page(8, preapproved), false}, {page(7, ""), false}} {
		if got := issuesKey([]*schemas.Event{c.page}, 7); got != c.want {
			t.Errorf("the page of %s with payType %q: a key is issued: %t, want %t", c.page.Data.TransactionID, c.page.Data.PayType, got, c.want)
		}
	}
}

// What is left with a claim lies in Redis as long as the operation is open: enough to look it up by, and no key, page or shopping basket.
func TestErrandHoldsWhatALookUpNeedsAndNoMore(t *testing.T) {
	t.Parallel()
	basket, err := json.Marshal(consumertest.Order("O", "100", "TWD"))
	if err != nil {
		t.Fatal(err)
	}
	p := newPast(t)
	for name, c := range map[string]struct {
		op   linepay.Operation
		data string
		want string // its data; "" = none is left
	}{
		"a confirm":        {linepay.Confirm, `{"transactionId":"7","orderId":"O","amount":"100","currency":"TWD"}`, `{"transactionId":"7","orderId":"O","amount":"100","currency":"TWD"}`},
		"a payment page":   {linepay.Request, string(basket), `{"amount":"100","currency":"TWD","orderId":"O","packages":[],"redirectUrls":{}}`},
		"a payment by key": {linepay.PreapprovedPay, `{"regKey":"SECRET","orderId":"O","productName":"A book","amount":"100","currency":"TWD","capture":false}`, `{"regKey":"","orderId":"O","productName":"","amount":"100","currency":"TWD","capture":false}`},
		"a reading":        {linepay.Check, `{"transactionId":"7"}`, ""},
		"the end of a key": {linepay.PreapprovedExpire, `{"regKey":"SECRET"}`, ""},
		"what is invalid":  {linepay.Confirm, `{"transactionId":"7","orderId":"O","amount":"-1","currency":"TWD"}`, ""},
	} {
		m := delivered(c.op, body(c.op, c.data))
		cmd, err := p.decode(m)
		if err != nil {
			t.Fatal(err)
		}
		text := newErrand(m, cmd)
		if c.want == "" {
			if text != nil {
				t.Errorf("%s leaves %s", name, text)
			}
			continue
		}
		var e errand
		if err := json.Unmarshal(text, &e); err != nil {
			t.Fatalf("%s leaves %q: %v", name, text, err)
		}
		if strings.Contains(string(text), "SECRET") || string(e.Data) != c.want {
			t.Errorf("%s leaves %s, want %s", name, e.Data, c.want)
		}
	}
}

// An errand that cannot be understood is nobody's: a look-up of something else would settle the owner's operation by it.
func TestErrandThatCannotBeUnderstoodNamesNoCommand(t *testing.T) {
	t.Parallel()
	for _, e := range []errand{
		{Operation: linepay.Details, Data: []byte(`{}`)},
		{Operation: linepay.Refund, Data: []byte(`{"transactionId":[]}`)},
	} {
		if cmd, err := e.command("tw", idempotency.Command{}, idempotency.Entity{}, "K"); err == nil || cmd != nil {
			t.Errorf("%s %s is command %+v, %v", e.Operation, e.Data, cmd, err)
		}
	}
}

// What became of an owner's operation is dated from its own command on, and not from that of the command that waits behind it, which may be
// hours younger: LINE Pay's refund from in between would be taken for nobody's, and the payment stay held.
func TestWhatTheOwnerDidIsDatedByItsOwnCommand(t *testing.T) {
	t.Parallel()
	ago := func(d time.Duration) time.Time { return time.Now().Add(-d) }
	for _, c := range []struct{ absent, want bool }{{true, true}, {false, false}} {
		task := &task{
			m: &Message{Stored: time.Now()}, cmd: &command{absent: c.absent, stored: ago(2 * time.Hour)}, claim: &idempotency.Claim{},
		}
		if got := task.madeSince(ago(time.Hour).Format(time.RFC3339)); got != c.want {
			t.Errorf("of an absent owner: %t; what was done an hour ago may be its doing: %t, want %t", c.absent, got, c.want)
		}
	}
}

// A refund that failed has an amount in its event as well. What is left is what was not given back: a full refund asks for it by its amount.
func TestWhatIsLeftIsNotLessenedByARefundThatFailed(t *testing.T) {
	t.Parallel()
	const tx = linepay.TransactionID(7)
	event := func(name string, id linepay.TransactionID) *schemas.Event {
		d := schemas.EventData{TransactionID: tx, RefundTransactionID: id, RefundAmount: linepay.MustAmount("30")}
		return schemas.NewEvent(name, time.Now(), d)
	}
	history := []*schemas.Event{event(schemas.EventFailed, 0), event(schemas.EventRefunded, 9)}
	s := newSnapshot(&linepay.Payment{TransactionID: tx, Currency: "TWD"}, linepay.MustAmount("100"), history)
	if s.Left.String() != "70" || len(s.Refunds) != 1 || s.Refunds[0] != "9" {
		t.Errorf("%s is left after refunds %q, want 70 after 9", s.Left, s.Refunds)
	}
}
