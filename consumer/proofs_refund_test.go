package consumer_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"linepay-worker/consumer"
	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// LINE Pay shows the payment, so nobody has to go first: an earlier command on it may wait for a retry for hours.
func TestRefundOfAPaymentThatIsThereWaitsForNobody(t *testing.T) {
	t.Parallel()
	d := newDesk(t, func(c *consumer.Config) { behindItsConfirm(t, c) })
	d.wire.answer = paidBy(7, "O", payment(linepay.StatusCapture, "100"))
	o := order{id: "C", op: linepay.Refund, data: refundData(7, "O", "10", "R-1"), sequence: 5, stored: time.Now()}
	if got := d.conclusion(o); got != "called" {
		t.Errorf("concluded %q, want called", got)
	}
}

// paidBy answers readings with a payment, and calls with success.
func paidBy(tx linepay.TransactionID, order, details string) func(*http.Request) string {
	return func(r *http.Request) string {
		if r.Method == http.MethodPost {
			return `{"returnCode":"0000","info":{"refundTransactionId":99}}`
		}
		at := time.Now().UTC().Format(time.RFC3339)
		return strings.NewReplacer("{tx}", tx.String(), "{order}", order, "{now}", at).Replace(shown(details))
	}
}

// Redis has forgotten the refund; the order's events have not.
func TestRefundIsHeldBackByItsParkingUntilAFinalWord(t *testing.T) {
	t.Parallel()
	const key = "refund:7:R-1"
	unknown, no := schemas.EventData{MoneyMoved: schemas.MoneyMovedUnknown}, schemas.EventData{MoneyMoved: schemas.MoneyMovedNo}
	for _, c := range []struct {
		name    string
		history []told
		want    string
	}{
		{"parked in doubt", []told{{schemas.EventParked, key, unknown}}, "parked: unresolved"},
		{"parked, and no money moved", []told{{schemas.EventParked, key, no}}, "called"},
		{"parked in doubt, then failed", []told{{schemas.EventParked, key, unknown}, {schemas.EventFailed, key, no}}, "called"},
		{"failed, then parked in doubt", []told{{schemas.EventFailed, key, no}, {schemas.EventParked, key, unknown}}, "parked: unresolved"},
		{"parked in doubt, then once more", []told{{schemas.EventParked, key, unknown}, {schemas.EventParked, key, no}}, "parked: unresolved"},
		{"another refund was parked in doubt", []told{{schemas.EventParked, "refund:7:R-2", unknown}}, "called"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			d.wire.answer = paidBy(7, "O", payment(linepay.StatusCapture, "100"))
			for _, e := range c.history {
				e.data.Operation, e.data.OrderID, e.data.TransactionID = linepay.Refund, "O", 7
				d.put(e.name, e.key, e.data)
			}
			o := order{id: "C", op: linepay.Refund, data: refundData(7, "O", "10", "R-1"), stored: time.Now()}
			if got := d.conclusion(o); got != c.want {
				t.Errorf("concluded %q, want %q", got, c.want)
			}
		})
	}
}

// LINE Pay's details are behind: they show the full refund, and not yet the one before it that an event tells. So they still show something
// left, and it is not another refund that is missing.
func TestFullRefundIsFoundThoughTheDetailsLackAnEarlierOne(t *testing.T) {
	t.Parallel()
	conclusions(t, []lookUp{{
		name: "full", op: linepay.Refund, data: data{}, notes: `{"payment":{"refunds":["5"],"left":"70","currency":"TWD","orderId":"O"}}`,
		history: []told{{
			schemas.EventRefunded, "refund:{tx}:R-2", schemas.EventData{RefundTransactionID: 5, RefundAmount: linepay.MustAmount("30")},
		}},
		details: shown(payment(linepay.StatusCapture, "100", refunds(entry(6, "70", now)))), want: "refunded 6: 70 TWD",
	}})
}
