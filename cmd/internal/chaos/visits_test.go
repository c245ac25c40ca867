package chaos

import (
	"fmt"

	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// price is what everything costs.
const price = "1000"

// visit is what one customer does, from the request on.
func (c *customer) visit() {
	switch c.n(10) {
	case 0:
		c.withKey()
	case 1, 2, 3:
		c.held()
	case 4:
		c.leaves()
	default:
		c.buys()
	}
}

// request orders a payment page, and gives the payment.
func (c *customer) request(payment map[string]any) linepay.TransactionID {
	e := c.answer(c.send(linepay.Request, "request:"+c.order, map[string]any{
		"amount": price, "currency": "TWD", "orderId": c.order,
		"packages": []any{map[string]any{
			"id": "1", "amount": price, "products": []any{map[string]any{"name": "Tea", "quantity": "1", "price": price}},
		}},
		"redirectUrls": map[string]any{"confirmUrl": "https://shop.example/paid", "cancelUrl": "https://shop.example/cancelled"},
		"options":      map[string]any{"payment": payment},
	}))
	if e == nil || e.Name() != schemas.EventRequested {
		return 0
	}
	return e.Data.TransactionID
}

// pays is the customer on LINE Pay's page.
func (c *customer) pays(id linepay.TransactionID) bool {
	err := c.s.w.pay.sim.Authenticate(id)
	if err != nil {
		c.s.w.complain("the customer of order %s cannot pay: %v", c.order, err)
	}
	return err == nil
}

func (c *customer) confirm(id linepay.TransactionID) *order {
	return c.send(linepay.Confirm, "confirm:"+id.String(), c.whole(id))
}

func (c *customer) whole(id linepay.TransactionID) map[string]any {
	return map[string]any{"transactionId": id.String(), "orderId": c.order, "amount": price, "currency": "TWD"}
}

// buys: request, confirm, refunds.
func (c *customer) buys() {
	id := c.request(map[string]any{"capture": true})
	if id == 0 || !c.pays(id) {
		return
	}
	confirm := c.confirm(id)
	if c.one(8) {
		c.asks(id)
	}
	if c.one(2) && c.answer(confirm) == nil {
		return
	}
	c.getsBack(id)
}

// held: the money is held first, and then taken or released.
func (c *customer) held() {
	id := c.request(map[string]any{"capture": false})
	if id == 0 || !c.pays(id) {
		return
	}
	confirm := c.confirm(id)
	if c.one(2) && c.answer(confirm) == nil {
		return
	}
	void := map[string]any{"transactionId": id.String(), "orderId": c.order}
	switch c.n(8) {
	case 0: // both at once: one of them comes too late
		c.send(linepay.Void, "void:"+id.String(), void)
		c.send(linepay.Capture, "capture:"+id.String(), c.whole(id))
	case 1, 2:
		c.send(linepay.Void, "void:"+id.String(), void)
	default:
		capture := c.send(linepay.Capture, "capture:"+id.String(), c.whole(id))
		if c.one(2) && c.answer(capture) == nil {
			return
		}
		c.getsBack(id)
	}
}

// leaves: the customer does not pay, or cancels, and the shop confirms all the same.
func (c *customer) leaves() {
	id := c.request(map[string]any{"capture": true})
	if id == 0 {
		return
	}
	if c.one(2) {
		if err := c.s.w.pay.sim.Cancel(id); err != nil {
			c.s.w.complain("the customer of order %s cannot cancel: %v", c.order, err)
		}
	}
	c.send(linepay.Check, "", map[string]any{"transactionId": id.String(), "orderId": c.order})
	c.answer(c.confirm(id))
	c.send(linepay.Refund, refundKey(id, "R-1"), refundData(id, c.order, "10", "R-1"))
}

// withKey: the payment issues a key, with which further payments are made until it is discarded.
func (c *customer) withKey() {
	id := c.request(map[string]any{"payType": "PREAPPROVED"})
	if id == 0 || !c.pays(id) {
		return
	}
	confirm := c.confirm(id)
	if e := c.answer(confirm); e == nil || e.Name() != schemas.EventCaptured {
		return
	}
	key := c.s.w.journal.key(confirm.ref)
	if key == "" { // the answer with the key was lost, and LINE Pay tells it to nobody again
		return
	}
	c.send(linepay.PreapprovedCheck, "", map[string]any{"regKey": key})
	for n := range 1 + c.n(3) {
		c.paysWithKey(key, fmt.Sprintf("%s-%d", c.order, n+1))
	}
	// What it is called is a digest of the key, which nobody here needs to know: there is one such operation for a key.
	expire := c.send(linepay.PreapprovedExpire, "preapproved-expire of "+c.order, map[string]any{"regKey": key})
	if c.answer(expire) != nil {
		c.paysWithKey(key, c.order+"-late")
	}
}

func (c *customer) paysWithKey(key, orderID string) {
	data := map[string]any{"regKey": key, "orderId": orderID, "productName": "Tea", "amount": price, "currency": "TWD"}
	held := c.one(4)
	if held {
		data["capture"] = false
	}
	e := c.answer(c.send(linepay.PreapprovedPay, "preapproved-pay:"+orderID, data))
	if e == nil || !schemas.IsMoneyEvent(e.Name()) {
		return
	}
	other := &customer{c.dice, c.s, c.ctx, orderID}
	id := e.Data.TransactionID
	if held {
		c.send(linepay.Capture, "capture:"+id.String(), other.whole(id))
	}
	if c.one(2) {
		other.getsBack(id)
	}
}

// getsBack: refunds, of equal amounts or of different ones; now and then somebody repeats one by hand.
func (c *customer) getsBack(id linepay.TransactionID) {
	equal, patient := c.one(2), c.one(3)
	twin := c.one(30) && !c.s.w.form.honest
	for n := range c.n(5) {
		amount, refundID := fmt.Sprint(10+n), fmt.Sprintf("R-%d", n+1)
		if equal {
			amount = "10"
		}
		if twin {
			amount = fmt.Sprint(100 + n) // nothing else is of this amount
		}
		if twin && n == 0 {
			c.s.w.pay.addTwin(id, amount)
		}
		refund := c.send(linepay.Refund, refundKey(id, refundID), refundData(id, c.order, amount, refundID))
		if patient && c.answer(refund) == nil {
			return
		}
		if c.one(12) {
			c.odd(id, n)
		}
	}
	if c.one(4) {
		c.send(linepay.Refund, refundKey(id, "full"), map[string]any{"transactionId": id.String(), "orderId": c.order})
	}
	if c.one(6) {
		c.asks(id)
	}
}

// asks reads, which changes nothing.
func (c *customer) asks(id linepay.TransactionID) {
	if c.one(2) {
		c.send(linepay.Check, "", map[string]any{"transactionId": id.String(), "orderId": c.order})
		return
	}
	c.send(linepay.Details, "", map[string]any{"transactionIds": []any{id.String()}})
}
