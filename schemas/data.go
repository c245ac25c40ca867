package schemas

import (
	"fmt"
	"regexp"

	"linepay-worker/linepay"
)

// Rules for strings. Lengths are LINE Pay's where it gives any (developers-pay.line.me/online-api-v3).
var (
	orderIDRule  = &textRule{least: 1, most: 100, printable: true}
	refundIDRule = &textRule{least: 1, most: 128, printable: true}
	currencyRule = &textRule{words: []string{"TWD", "THB", "USD", "JPY"}}
	productRule  = &textRule{least: 1, most: 4000}
	// A key becomes a segment of LINE Pay's path, where "." and "/" would mean something else. LINE Pay's own keys have 15 letters and
	// digits (its retired manual); there is no stated limit.
	regKeyRule = &textRule{least: 1, most: 64, pattern: regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)}
)

// maxDetails is how many ids one details call takes (developers-pay.line.me/online-api-v3/retrieve-payment-details; more answer 1177).
const maxDetails = 100

// readData reads the data of an operation. o may be nil; the result never is.
func readData(op linepay.Operation, o *object) Data {
	defer o.done()
	switch op {
	case linepay.Request:
		return readRequest(o)
	case linepay.Check:
		return &CheckData{o.transactionID("transactionId", required), o.text("orderId", optional, orderIDRule)}
	case linepay.Confirm:
		d := ConfirmData(readPayment(o))
		return &d
	case linepay.Capture:
		d := CaptureData(readPayment(o))
		return &d
	case linepay.Void:
		return &VoidData{o.transactionID("transactionId", required), o.text("orderId", required, orderIDRule)}
	case linepay.Refund:
		return readRefund(o)
	case linepay.Details:
		return readDetails(o)
	case linepay.PreapprovedCheck:
		auth := o.boolean("creditCardAuth")
		return &PreapprovedCheckData{o.text("regKey", required, regKeyRule), auth != nil && *auth}
	case linepay.PreapprovedPay:
		return readPreapprovedPay(o)
	case linepay.PreapprovedExpire:
		return &PreapprovedExpireData{o.text("regKey", required, regKeyRule)}
	default:
		panic(fmt.Sprintf("schemas: no rules for operation %q", op)) // ParseCommandSubject lets only the ten pass
	}
}

// readPayment reads what confirm and capture share.
func readPayment(o *object) (d struct {
	TransactionID linepay.TransactionID `json:"transactionId"`
	OrderID       string                `json:"orderId"`
	Amount        linepay.Amount        `json:"amount"`
	Currency      string                `json:"currency"`
},
) {
	d.TransactionID = o.transactionID("transactionId", required)
	d.OrderID = o.text("orderId", required, orderIDRule)
	d.Currency = o.text("currency", required, currencyRule)
	d.Amount = orZero(o.amount("amount", required, positive, scaleOf(d.Currency)))
	return d
}

func readRefund(o *object) *RefundData {
	d := &RefundData{
		TransactionID: o.transactionID("transactionId", required),
		OrderID:       o.text("orderId", required, orderIDRule),
		RefundAmount:  o.amount("refundAmount", optional, positive, scaleOf("")),
		RefundID:      o.text("refundId", optional, refundIDRule),
	}
	// Only both together name one refund that a repeat can be recognised by; only neither is "all that is left".
	if amount, id := o.has("refundAmount"), o.has("refundId"); amount != id {
		missing := "refundId"
		if id {
			missing = "refundAmount"
		}
		o.fail(missing, "is missing: give refundAmount and refundId, or neither to refund all that is left")
	}
	return d
}

func readDetails(o *object) *DetailsData {
	d := &DetailsData{
		TransactionIDs: o.transactionIDs("transactionIds", maxDetails),
		OrderIDs:       o.texts("orderIds", optional, orderIDRule, maxDetails),
	}
	if o == nil {
		return d
	}
	n := 0
	for _, name := range []string{"transactionIds", "orderIds"} {
		if v := o.lookup(name); v != nil {
			n += len(v.elements)
		}
	}
	if n < 1 || n > maxDetails {
		o.problems.add(o.path, fmt.Sprintf("must have 1 to %d ids in transactionIds and orderIds together", maxDetails))
	}
	return d
}

func readPreapprovedPay(o *object) *PreapprovedPayData {
	d := &PreapprovedPayData{
		RegKey:      o.text("regKey", required, regKeyRule),
		OrderID:     o.text("orderId", required, orderIDRule),
		ProductName: o.text("productName", required, productRule),
		Currency:    o.text("currency", required, currencyRule),
		Capture:     o.boolean("capture"),
	}
	d.Amount = orZero(o.amount("amount", required, positive, scaleOf(d.Currency)))
	return d
}
