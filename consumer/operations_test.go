package consumer_test

import (
	"testing"

	"github.com/go-json-experiment/json"

	"linepay-worker/consumer/consumertest"
	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
	"linepay-worker/schemas"
)

func TestEveryOperationIsCarriedOutAndTold(t *testing.T) {
	t.Parallel()
	l := startLine(t)

	request := requestData(t, "ORDER-1")
	request["options"] = data{"payment": data{"payType": "PREAPPROVED"}}
	requested := l.done(l.send(linepay.Request, request), schemas.EventRequested)
	id := requested.Data.TransactionID
	if id == 0 || requested.Data.PaymentURL.Web == "" || requested.Data.PaymentAccessToken == "" {
		t.Errorf("requested without page or transaction: %+v", requested.Data)
	}

	waiting := l.done(l.send(linepay.Check, data{"transactionId": id.String(), "orderId": "ORDER-1"}), schemas.EventStatus)
	if waiting.Data.Status != linepay.Waiting {
		t.Errorf("status is %q before the customer pays", waiting.Data.Status)
	}
	if err := l.pay.Sim.Authenticate(id); err != nil {
		t.Fatal(err)
	}

	captured := l.done(l.send(linepay.Confirm, confirmData(id, "ORDER-1")), schemas.EventCaptured)
	if captured.Data.SettledBy != schemas.SettledByResponse || captured.Data.Calls != 1 || captured.Data.ReturnCode != "0000" || len(captured.Data.PayInfo) == 0 {
		t.Errorf("captured says %+v", captured.Data)
	}
	key := issuedKey(t, l)

	held := l.authorized("ORDER-2")
	l.done(l.send(linepay.Capture, confirmData(held, "ORDER-2")), schemas.EventCaptured)
	l.wantEffects(held, "confirm 100", "capture 100")

	let := l.authorized("ORDER-3")
	l.done(l.send(linepay.Void, data{"transactionId": let.String(), "orderId": "ORDER-3"}), schemas.EventVoided)
	l.wantEffects(let, "confirm 100", "void 100")

	part := l.done(l.send(linepay.Refund, refundData(id, "ORDER-1", "30", "R-1")), schemas.EventRefunded)
	if part.Data.RefundTransactionID == 0 || part.Data.RefundAmount.String() != "30" || part.Data.Currency != "TWD" || part.Data.RefundTransactionDate == "" {
		t.Errorf("refunded says %+v", part.Data)
	}
	rest := l.done(l.send(linepay.Refund, data{"transactionId": id.String(), "orderId": "ORDER-1"}), schemas.EventRefunded)
	if rest.Data.RefundAmount.String() != "70" {
		t.Errorf("the full refund gave %s back, want the 70 that were left", rest.Data.RefundAmount)
	}
	l.wantEffects(id, "confirm 100", "refund 30", "refund 70")

	details := l.done(l.send(linepay.Details, data{"transactionIds": []string{id.String()}}), schemas.EventDetails)
	if len(details.Data.Payments) != 1 || len(details.Data.Payments[0].RefundList) != 2 {
		t.Errorf("details say %+v", details.Data.Payments)
	}

	usable := l.done(l.send(linepay.PreapprovedCheck, data{"regKey": key}), schemas.EventPreapproval)
	if usable.Data.Usable == nil || !*usable.Data.Usable || usable.Data.RegKey != "" {
		t.Errorf("the check of a key says %+v", usable.Data)
	}
	paid := l.done(l.send(linepay.PreapprovedPay, payData(key, "ORDER-4")), schemas.EventCaptured)
	l.wantEffects(paid.Data.TransactionID, "preapproved-pay 100")
	expired := l.done(l.send(linepay.PreapprovedExpire, data{"regKey": key}), schemas.EventPreapproval)
	if expired.Data.Usable == nil || *expired.Data.Usable {
		t.Errorf("an expired key is still usable: %+v", expired.Data)
	}
	again := l.done(l.send(linepay.PreapprovedCheck, data{"regKey": key}), schemas.EventPreapproval)
	if again.Data.Usable == nil || *again.Data.Usable {
		t.Errorf("the check of an expired key says %+v", again.Data)
	}
	l.idle()
	l.agree()
}

// LINE Pay tells a key once, in its answer to the confirm.
func TestKeyWhoseAnswerWasLostIsToldToBeLost(t *testing.T) {
	t.Parallel()
	for name, payType := range map[string]string{"registers": "PREAPPROVED", "does not": "NORMAL"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := startLine(t)
			order := requestData(t, "ORDER-1")
			order["options"] = map[string]any{"payment": map[string]any{"payType": payType}}
			requested := l.done(l.send(linepay.Request, order), schemas.EventRequested)
			if lost := requested.Data.PayType == "PREAPPROVED"; lost != (payType == "PREAPPROVED") {
				t.Errorf("requested says payType %q", requested.Data.PayType)
			}
			id := requested.Data.TransactionID
			if err := l.pay.Sim.Authenticate(id); err != nil {
				t.Fatal(err)
			}
			l.fault(simulator.Fault{Operation: linepay.Confirm, Kind: simulator.KindDrop, When: simulator.After})
			captured := l.done(l.send(linepay.Confirm, confirmData(id, "ORDER-1")), schemas.EventCaptured)
			var told []*schemas.Event
			for _, e := range l.events() {
				if e.Name() == schemas.EventPreapproval {
					told = append(told, e)
				}
			}
			switch {
			case payType == "NORMAL" && len(told) > 0:
				t.Errorf("a key is told of that was never issued: %+v", told[0].Data)
			case payType == "NORMAL":
			case len(told) != 1 || !told[0].Data.RegKeyLost || told[0].Data.RegKey != "" || told[0].Data.Usable != nil:
				t.Errorf("%d events tell of the key: %+v", len(told), told)
			case told[0].Data.Command != captured.Data.Command:
				t.Errorf("told for %+v", told[0].Data.Command)
			}
			l.wantEffects(id, "confirm 100")
		})
	}
}

func TestRefusalIsFailedWithLINEPaysCode(t *testing.T) {
	t.Parallel()
	l := startLine(t)
	id := l.pay.Requested(t, "ORDER-1", "100", "TWD", true)
	failed := l.done(l.send(linepay.Confirm, confirmData(id, "ORDER-1")), schemas.EventFailed)
	if failed.Data.ReturnCode != "1169" || failed.Data.Calls != 1 {
		t.Errorf("failed with code %q after %d calls, want 1169 after 1", failed.Data.ReturnCode, failed.Data.Calls)
	}
	l.wantEffects(id)
}

func TestRefusedOperationCanBeCommandedAgain(t *testing.T) {
	t.Parallel()
	l := startLine(t)
	id := l.pay.Paid(t, "ORDER-1", "100", "TWD", true)
	l.fault(simulator.Fault{Operation: linepay.Confirm, Kind: simulator.KindCode, Code: "1142", When: simulator.Before})
	l.done(l.send(linepay.Confirm, confirmData(id, "ORDER-1")), schemas.EventFailed)
	l.done(l.send(linepay.Confirm, confirmData(id, "ORDER-1")), schemas.EventCaptured)
	l.wantEffects(id, "confirm 100")
	l.agree()
}

// A dead channel is nobody's refusal: the commands wait.
func TestUnacceptedChannelFailsNoCommand(t *testing.T) {
	t.Parallel()
	l := startLine(t)
	id := l.pay.Paid(t, "ORDER-1", "100", "TWD", true)
	l.fault(simulator.Fault{Operation: linepay.Confirm, Kind: simulator.KindCode, Code: "1106", When: simulator.Before, Count: 3})
	captured := l.done(l.send(linepay.Confirm, confirmData(id, "ORDER-1")), schemas.EventCaptured)
	if captured.Data.SettledBy != schemas.SettledByResponse {
		t.Errorf("settled by %s", captured.Data.SettledBy)
	}
	l.wantEffects(id, "confirm 100")
}

func requestData(t *testing.T, order string) data {
	t.Helper()
	body, err := json.Marshal(consumertest.Order(order, "100", "TWD"))
	if err != nil {
		t.Fatal(err)
	}
	var d data
	if err := json.Unmarshal(body, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func payData(key, order string) data {
	return data{"regKey": key, "orderId": order, "productName": "A book", "amount": "100", "currency": "TWD"}
}

// issuedKey finds the key that a confirm issued.
func issuedKey(t *testing.T, l *line) string {
	t.Helper()
	for _, e := range l.events() {
		if e.Name() == schemas.EventPreapproval && e.Data.RegKey != "" {
			return e.Data.RegKey
		}
	}
	t.Fatal("no key was issued")
	return ""
}
