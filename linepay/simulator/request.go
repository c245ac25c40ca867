package simulator

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"slices"
	"time"

	"linepay-worker/linepay"
)

// request reserves a payment and gives the address of its page (developers-pay.line.me/online-api-v3, request payment).
func (s *Simulator) request(c *call) *answer {
	var body requestBody
	if refusal := c.decode(&body); refusal != nil {
		return refusal
	}
	c.record.OrderID = body.OrderID
	if refusal := first(body.check(), s.sums(c, &body)); refusal != nil {
		return refusal
	}
	capture := body.Options.Payment.Capture == nil || *body.Options.Payment.Capture
	register := body.Options.Payment.PayType == "PREAPPROVED"
	switch {
	case !capture && s.rules.RefuseSeparateCapture:
		return refuse("2103", "[capture:false]")
	case register && s.rules.RefusePreapproved:
		return refuse("1194")
	case !s.rules.AcceptPaidOrder && s.paidOrder(c.channel, body.OrderID) != nil:
		return refuse("1172")
	case s.rules.OpenOrderCode != "" && s.openOrder(c.channel, body.OrderID):
		return refuse(s.rules.OpenOrderCode)
	}
	now := s.now()
	p := &payment{
		channel: c.channel, id: s.newID(now, paymentDigits), orderID: body.OrderID, currency: body.Currency, requested: body.Amount.Amount,
		capture: capture, register: register, product: body.Packages[0].Products[0].Name, packages: body.Packages,
		redirects: body.RedirectURLs, reserve: secretPart(), state: Reserved, until: deadline(now, s.rules.WaitingTime),
	}
	s.keep(p)
	c.record.TransactionID = p.id
	return done("Success.", requestInfo{
		PaymentURL:         paymentURL{Web: c.address + pagePath + "?transactionReserveId=" + p.reserve, App: "line://pay/payment/" + p.reserve},
		TransactionID:      numberID(p.id),
		PaymentAccessToken: fmt.Sprintf("%012d", s.luck.Uint64N(1e12)),
	})
}

type requestInfo struct {
	PaymentURL         paymentURL `json:"paymentUrl"`
	TransactionID      numberID   `json:"transactionId"`
	PaymentAccessToken string     `json:"paymentAccessToken"`
}

type paymentURL struct {
	Web string `json:"web"`
	App string `json:"app"`
}

// sums checks currency (1178), the scale of each amount (1124), the merchant's limits (1183, 1184), and that the parts add up (2101):
// v3 counts user and shipping fees, v4 the packages alone.
func (s *Simulator) sums(c *call, body *requestBody) *answer {
	if !slices.Contains(c.channel.Currencies, body.Currency) {
		return refuse("1178")
	}
	check := func(at string, n number) *answer { return money(s.rules, at, n, body.Currency) }
	optional := func(at string, n number) *answer {
		if !n.given {
			return nil
		}
		return check(at, n)
	}
	fee := body.Options.Shipping.FeeAmount
	if refusal := first(check("amount", body.Amount), optional("options/shipping/feeAmount", fee)); refusal != nil {
		return refusal
	}
	total := linepay.Amount{}
	if c.version == "v3" {
		total = fee.Amount
	}
	for i, p := range body.Packages {
		at := fmt.Sprintf("packages/%d/", i)
		if refusal := first(check(at+"amount", p.Amount), optional(at+"userFee", p.UserFee)); refusal != nil {
			return refusal
		}
		products := linepay.Amount{}
		for j, product := range p.Products {
			at := fmt.Sprintf("packages/%d/products/%d/", i, j)
			if refusal := first(check(at+"price", product.Price), optional(at+"originalPrice", product.OriginalPrice)); refusal != nil {
				return refusal
			}
			products = products.Add(product.Quantity.Mul(product.Price.Amount))
		}
		if !products.Equal(p.Amount.Amount) {
			return refuse("2101", "[packages[].amount != sum(packages[].products[].quantity * packages[].products[].price)]")
		}
		total = total.Add(p.Amount.Amount)
		if c.version == "v3" {
			total = total.Add(p.UserFee.Amount)
		}
	}
	if !total.Equal(body.Amount.Amount) {
		return refuse("2101", "[form.amount != sum(packages[].amount) + sum(packages[].userFee) + shippingFee]")
	}
	return limits(s.rules, body.Amount.Amount)
}

// The last two digits of a transaction id: 10 for payments and 11 for refunds in LINE Pay's examples.
const (
	paymentDigits = 10
	refundDigits  = 11
)

// newID makes an id in LINE Pay's form: the day in Taipei, nine digits, and two for the kind; 19 digits, beyond what a float can hold.
// The nine digits count from a point of their own in each simulator, so that two runs hardly share ids, and repeat after a thousand million.
func (s *Simulator) newID(now time.Time, kind int64) linepay.TransactionID {
	local := now.In(time.FixedZone("Taipei", 8*60*60))
	date := int64(local.Year())*10000 + int64(local.Month())*100 + int64(local.Day())
	s.serial++
	return linepay.TransactionID(date*1e11 + int64(s.serial%1e9)*100 + kind)
}

// secretPart is what makes a payment page's address known to the merchant and the customer alone.
func secretPart() string {
	b := make([]byte, 48)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}
