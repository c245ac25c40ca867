package simulator

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"linepay-worker/linepay"
)

// maxRecords is how many payments one details call answers; more is 1177.
const maxRecords = 100

// record is one payment or refund of a details answer.
type record struct {
	TransactionID           numberID        `json:"transactionId"`
	TransactionDate         string          `json:"transactionDate"`
	TransactionType         string          `json:"transactionType"`
	PayStatus               string          `json:"payStatus"`
	ProductName             string          `json:"productName,omitzero"`
	MerchantName            string          `json:"merchantName"`
	Currency                string          `json:"currency"`
	PaymentProvider         string          `json:"paymentProvider,omitzero"`
	AuthorizationExpireDate string          `json:"authorizationExpireDate"`
	OrderID                 string          `json:"orderId"`
	OriginalTransactionID   numberID        `json:"originalTransactionId,omitzero"`
	PayInfo                 []payInfoBody   `json:"payInfo"`
	RefundList              []refundRecord  `json:"refundList,omitempty"`
	Packages                []packageRecord `json:"packages,omitempty"`
}

type refundRecord struct {
	RefundTransactionID   numberID     `json:"refundTransactionId"`
	TransactionType       string       `json:"transactionType"`
	RefundAmount          numberAmount `json:"refundAmount"` // negative
	RefundTransactionDate string       `json:"refundTransactionDate"`
}

type packageRecord struct {
	ID            string          `json:"id"`
	Amount        numberAmount    `json:"amount"`
	Name          string          `json:"name,omitzero"`
	UserFeeAmount *numberAmount   `json:"userFeeAmount,omitzero"`
	Products      []productRecord `json:"products"`
}

type productRecord struct {
	ID            string        `json:"id,omitzero"`
	Name          string        `json:"name"`
	ImageURL      string        `json:"imageUrl,omitzero"`
	Quantity      numberAmount  `json:"quantity"`
	Price         numberAmount  `json:"price"`
	OriginalPrice *numberAmount `json:"originalPrice,omitzero"`
}

// details tells about confirmed payments, and about refunds by their own ids. What is only requested or authenticated is as unknown to
// it as an id never issued (1150).
func (s *Simulator) details(c *call) *answer {
	ids, orders, refusal := c.asked()
	if refusal != nil {
		return refusal
	}
	var found []record
	for _, p := range s.order {
		if p.channel != c.channel || !s.visible(p.confirmedAt) {
			continue
		}
		found = append(found, s.matching(c, p, ids, orders)...)
	}
	switch {
	case len(found) == 0:
		return refuse("1150")
	case len(found) > maxRecords:
		return refuse("1177")
	default:
		return done("success", found)
	}
}

// asked reads the query: transactionId and orderId, repeated or joined by commas, at least one and at most a hundred.
func (c *call) asked() (ids []linepay.TransactionID, orders []string, refusal *answer) {
	query, err := url.ParseQuery(c.query)
	if err != nil {
		return nil, nil, refuse("2101")
	}
	list := func(name string) []string {
		all := strings.Split(strings.Join(query[name], ","), ",")
		return slices.DeleteFunc(all, func(s string) bool { return s == "" })
	}
	for _, each := range list("transactionId") {
		id, err := linepay.ParseTransactionID(each)
		if err != nil {
			return nil, nil, parameter("transactionId")
		}
		ids = append(ids, id)
	}
	// An orderId may hold a comma itself: the value as it stands is asked for as well.
	orders = list("orderId")
	for _, whole := range query["orderId"] {
		if strings.Contains(whole, ",") {
			orders = append(orders, whole)
		}
	}
	if len(ids) == 1 {
		c.record.TransactionID = ids[0]
	}
	if len(orders) == 1 {
		c.record.OrderID = orders[0]
	}
	if len(ids)+len(orders) == 0 {
		return nil, nil, refuse("2101", "[transactionId or orderId is required]")
	}
	if len(ids) > maxRecords || len(list("orderId")) > maxRecords {
		return nil, nil, refuse("1177")
	}
	return ids, orders, nil
}

// matching gives the records of one payment that the query asks for: itself, and each of its refunds named by id.
func (s *Simulator) matching(c *call, p *payment, ids []linepay.TransactionID, orders []string) []record {
	byOrder := slices.Contains(orders, p.orderID)
	both := len(ids) > 0 && len(orders) > 0 && !s.rules.DetailsAnyOf
	wanted := func(id linepay.TransactionID) bool {
		byID := slices.Contains(ids, id)
		if both {
			return byID && byOrder
		}
		return byID || byOrder && id == p.id
	}
	var records []record
	if wanted(p.id) {
		records = append(records, s.paymentRecord(c, p))
	}
	for _, r := range s.visibleRefunds(p) {
		if wanted(r.id) {
			records = append(records, s.refundRecord(c, p, r))
		}
	}
	return records
}

func (s *Simulator) paymentRecord(c *call, p *payment) record {
	status, amount := s.payStatus(p)
	r := record{
		TransactionID: numberID(p.id), TransactionDate: stamp(p.confirmedAt), TransactionType: "PAYMENT", PayStatus: status,
		ProductName: p.product, MerchantName: p.channel.MerchantName, Currency: p.currency, PaymentProvider: c.provider(),
		AuthorizationExpireDate: stamp(p.authExpires), OrderID: p.orderID, PayInfo: p.payInfo(amount),
	}
	refunds := s.visibleRefunds(p)
	for _, each := range refunds {
		r.RefundList = append(r.RefundList, refundRecord{
			RefundTransactionID: numberID(each.id), TransactionType: p.refundType(refunds),
			RefundAmount: numberAmount(each.amount.Neg()), RefundTransactionDate: stamp(each.at),
		})
	}
	for _, each := range p.packages {
		r.Packages = append(r.Packages, packageDetail(c, each))
	}
	return r
}

// refundRecord is a refund asked for by its own id; its payInfo is what was given back, negative as in refundList.
func (s *Simulator) refundRecord(c *call, p *payment, of refund) record {
	status, _ := s.payStatus(p)
	return record{
		TransactionID: numberID(of.id), TransactionDate: stamp(of.at), TransactionType: p.refundType(s.visibleRefunds(p)), PayStatus: status,
		ProductName: p.product, MerchantName: p.channel.MerchantName, Currency: p.currency, PaymentProvider: c.provider(),
		AuthorizationExpireDate: stamp(p.authExpires), OrderID: p.orderID, OriginalTransactionID: numberID(p.id),
		PayInfo: []payInfoBody{{p.method, numberAmount(of.amount.Neg())}},
	}
}

// refundType is PAYMENT_REFUND for one refund of everything and PARTIAL_REFUND for each of several, the last one included. There is at
// least one.
func (p *payment) refundType(refunds []refund) string {
	if refunds[0].amount.Equal(p.captured) {
		return "PAYMENT_REFUND"
	}
	return "PARTIAL_REFUND"
}

// payStatus is the status that is visible now, and the amount held or taken that goes with it.
func (s *Simulator) payStatus(p *payment) (string, linepay.Amount) {
	switch {
	case s.visible(p.voidedAt):
		return "VOIDED_AUTHORIZATION", p.requested
	case s.visible(p.capturedAt):
		return "CAPTURE", p.captured
	case s.aged(p).state == AuthorizationExpired:
		return "EXPIRED_AUTHORIZATION", p.requested
	default:
		return "AUTHORIZATION", p.requested
	}
}

func (s *Simulator) visibleRefunds(p *payment) []refund {
	return slices.DeleteFunc(slices.Clone(p.refunds), func(r refund) bool { return !s.visible(r.at) })
}

// visible reports whether look-ups already see what happened then; the zero time never happened.
func (s *Simulator) visible(then time.Time) bool {
	return !then.IsZero() && !then.Add(s.rules.LookupLag).After(s.now())
}

func packageDetail(c *call, p packageBody) packageRecord {
	detail := packageRecord{ID: p.ID, Amount: numberAmount(p.Amount.Amount), Name: p.Name, UserFeeAmount: c.fee(p)}
	for _, each := range p.Products {
		product := productRecord{
			ID: each.ID, Name: each.Name, ImageURL: each.ImageURL,
			Quantity: numberAmount(each.Quantity.Amount), Price: numberAmount(each.Price.Amount),
		}
		if each.OriginalPrice.given {
			original := numberAmount(each.OriginalPrice.Amount)
			product.OriginalPrice = &original
		}
		detail.Products = append(detail.Products, product)
	}
	return detail
}
