package consumer_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/consumer"
	"linepay-worker/idempotency"
	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

func TestConfirmInDoubtIsConcludedBesideTheCaptureOfItsMoney(t *testing.T) {
	t.Parallel()
	captured := []told{{name: schemas.EventCaptured, key: "capture:{tx}"}}
	conclusions(t, []lookUp{
		{
			name: "confirmed with more, which was captured", op: linepay.Confirm, history: captured,
			details: shown(payment(linepay.StatusCapture, "150")), want: "failed 0000",
		},
		{
			name: "captured by its event, and not shown", op: linepay.Confirm, history: captured,
			details: nothingThere, check: code("0123"), want: "look-up failed",
		},
	})
}

// The events are out of reach; the guard knows that a capture took the money, of which the confirm had held more.
func TestCaptureOnRecordTellsThatTheConfirmHeldTheMoney(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	tx := linepay.TransactionID(1000)
	taken := order{id: "CAPTURE", op: linepay.Capture, data: confirmData(tx, "O")}
	taken.data["amount"] = "70"
	claim, err := d.guard.Claim(t.Context(), d.request(taken))
	if err != nil {
		t.Fatal(err)
	}
	done := idempotency.Settlement{State: idempotency.StateDone, Outcome: []byte("{}"), Effect: "capture"}
	if err := d.guard.Settle(t.Context(), claim, done); err != nil {
		t.Fatal(err)
	}
	o := order{id: "CONFIRM", op: linepay.Confirm, data: confirmData(tx, "O"), stored: time.Now(), delivery: 2}
	d.claim(o, "")
	d.wire.answer = func(*http.Request) string {
		return strings.NewReplacer("{tx}", tx.String(), "{order}", "O", "{now}", time.Now().UTC().Format(time.RFC3339)).
			Replace(shown(payment(linepay.StatusCapture, "70")))
	}
	if got := d.conclusion(o); got != schemas.EventAuthorized {
		t.Errorf("concluded %q, want authorized", got)
	}
}

// An event of the order may be stored while its command is just leaving the stream: LINE Pay's "no such payment" is held against the events
// as they are after the look at the stream.
func TestPaymentThatTheEventsTellOfByNowIsNotGone(t *testing.T) {
	t.Parallel()
	for _, op := range []linepay.Operation{linepay.Void, linepay.Refund} {
		for name, c := range map[string]struct {
			told bool
			err  error
			want string
		}{
			"told by now":         {told: true},
			"the events are away": {err: errors.New("NATS is away")},
			"not told either":     {want: "failed 1150"},
		} {
			t.Run(string(op)+", "+name, func(t *testing.T) {
				t.Parallel()
				d := newDesk(t)
				d.wire.answer = func(*http.Request) string { return nothingThere }
				o := order{id: "C", op: op, data: data{"transactionId": "7", "orderId": "O"}, stored: time.Now()}
				want := "not sent"
				if op == linepay.Refund {
					o.data = refundData(7, "O", "10", "R-1")
				} else {
					d.claim(o, "")
					o.delivery, want = 2, "look-up failed"
					<-time.After(deskTimeout + 10*time.Millisecond)
				}
				if c.want != "" {
					want = c.want
				}
				reads := 0
				d.shelf.reading = func(context.Context) error {
					if reads++; reads != 2 {
						return nil
					}
					if c.told {
						d.put(schemas.EventAuthorized, "confirm:7", schemas.EventData{Operation: linepay.Confirm, OrderID: "O", TransactionID: 7})
					}
					return c.err
				}
				if got := d.conclusion(o); got != want || reads != 2 {
					t.Errorf("concluded %q after %d reads of the events, want %q after 2", got, reads, want)
				}
				d.wantCalls("POST", "", 0)
			})
		}
	}
}

// The stream holds the confirm of the same payment before the command.
func behindItsConfirm(t *testing.T, c *consumer.Config) {
	t.Helper()
	m := order{id: "CONFIRM", op: linepay.Confirm, data: confirmData(7, "O")}.message(t)
	c.JetStream = backlog{messages: []*jetstream.RawStreamMsg{{Sequence: 1, Subject: m.Subject, Data: m.Body}}}
}

// In doubt, LINE Pay knows no payment, and the command that makes it is still in the stream: it is not too late.
func TestLookUpThatFindsNoPaymentLetsTheConfirmGoFirst(t *testing.T) {
	t.Parallel()
	for name, told := range map[string]bool{"an earlier command on the same payment goes first": false, "look-up failed": true} {
		d := newDesk(t, func(c *consumer.Config) { behindItsConfirm(t, c) })
		if told { // the payment is known all the same, whatever LINE Pay says, so that nothing is proved
			d.put(schemas.EventAuthorized, "confirm:7", schemas.EventData{Operation: linepay.Confirm, OrderID: "O", TransactionID: 7})
		}
		d.wire.answer = func(*http.Request) string { return nothingThere }
		o := order{id: "C", op: linepay.Void, data: data{"transactionId": "7", "orderId": "O"}, sequence: 5, stored: time.Now()}
		d.claim(o, "")
		<-time.After(deskTimeout + 10*time.Millisecond)
		o.delivery = 2
		if fate := d.deliver(o); !strings.HasPrefix(fate.Why, name) {
			t.Errorf("the fate is %s: %s (%v), want %s", fate.Kind, fate.Why, fate.Err, name)
		}
		d.wantVerbs()
		d.wantCalls("POST", "", 0)
	}
}

// A proof that Redis has not heard of lets nobody go first: the next try would believe in a doubt that is none, or the other way round.
func TestProofThatCannotBeRecordedIsNone(t *testing.T) {
	t.Parallel()
	d := newDesk(t, func(c *consumer.Config) { behindItsConfirm(t, c) })
	o := order{id: "C", op: linepay.Void, data: data{"transactionId": "7", "orderId": "O"}, sequence: 5, stored: time.Now()}
	d.claim(o, "")
	<-time.After(deskTimeout + 10*time.Millisecond)
	d.wire.answer = func(*http.Request) string {
		d.redis.Kill()
		return nothingThere
	}
	o.delivery = 2
	d.expect(o, consumer.Retry, "proof not on record")
	d.wantVerbs()
}
