package linepay

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Request asks for a page on which the customer pays. It moves no money. Each call makes a new transaction, even with the same order id (seen
// on the sandbox). (POST /v3/payments/request)
func (c *Client) Request(ctx context.Context, payment *PaymentRequest) (*RequestInfo, error) {
	call := call{op: Request, method: http.MethodPost, path: "/payments/request"}
	if payment == nil {
		return nil, c.refuse(call, errors.New("no payment was given"))
	}
	info := new(RequestInfo)
	answer, err := c.post(ctx, call, payment, info)
	if err != nil {
		return nil, err
	}
	if info.TransactionID == 0 {
		return nil, c.contradict(call, answer, errors.New("the answer has no transactionId"))
	}
	info.Answer = answer.Answer
	return info, nil
}

// Check tells whether the customer has approved a requested payment. Poll at most once a second.
// (GET /v3/payments/requests/{transactionId}/check)
func (c *Client) Check(ctx context.Context, id TransactionID) (*CheckInfo, error) {
	call := call{op: Check, method: http.MethodGet, path: fmt.Sprintf("/payments/requests/%d/check", id)}
	if id <= 0 {
		return nil, c.refuse(call, ErrTransactionID)
	}
	answer, err := c.answerTo(ctx, call)
	if err != nil {
		return nil, err
	}
	return &CheckInfo{Answer: answer.Answer, Status: statuses[answer.Code]}, nil
}

var statuses = map[string]Status{"0000": Waiting, "0110": Authenticated, "0121": Cancelled, "0122": Failed, "0123": Completed}

// Confirm takes the money of an approved payment, or only holds it when capture was false in the request. Amount and currency are the
// request's, else 1153. (POST /v3/payments/{transactionId}/confirm)
func (c *Client) Confirm(ctx context.Context, id TransactionID, amount Amount, currency string) (*ConfirmInfo, error) {
	call := call{op: Confirm, method: http.MethodPost, path: fmt.Sprintf("/payments/%d/confirm", id)}
	if err := checkPayment(id, amount); err != nil {
		return nil, c.refuse(call, err)
	}
	info := new(ConfirmInfo)
	answer, err := c.post(ctx, call, sum{amount, currency}, info)
	if err != nil {
		return nil, err
	}
	if err := sameTransaction(id, info.TransactionID); err != nil {
		return nil, c.contradict(call, answer, err)
	}
	info.Answer = answer.Answer
	return info, nil
}

// Capture takes money that is held, all or part of it, once; the rest is released. (POST /v3/payments/authorizations/{transactionId}/capture)
func (c *Client) Capture(ctx context.Context, id TransactionID, amount Amount, currency string) (*CaptureInfo, error) {
	call := call{op: Capture, method: http.MethodPost, path: fmt.Sprintf("/payments/authorizations/%d/capture", id)}
	if err := checkPayment(id, amount); err != nil {
		return nil, c.refuse(call, err)
	}
	info := new(CaptureInfo)
	answer, err := c.post(ctx, call, sum{amount, currency}, info)
	if err != nil {
		return nil, err
	}
	if err := sameTransaction(id, info.TransactionID); err != nil {
		return nil, c.contradict(call, answer, err)
	}
	info.Answer = answer.Answer
	return info, nil
}

// Void releases money that is held. (POST /v3/payments/authorizations/{transactionId}/void)
func (c *Client) Void(ctx context.Context, id TransactionID) (*Answer, error) {
	call := call{op: Void, method: http.MethodPost, path: fmt.Sprintf("/payments/authorizations/%d/void", id)}
	if id <= 0 {
		return nil, c.refuse(call, ErrTransactionID)
	}
	answer, err := c.post(ctx, call, struct{}{}, nil)
	if err != nil {
		return nil, err
	}
	return &answer.Answer, nil
}

// Refund gives money back: the amount, or all that is left when it is nil. LINE Pay has no name for a refund, so a repeated partial one gives
// money back a second time. (POST /v3/payments/{transactionId}/refund)
func (c *Client) Refund(ctx context.Context, id TransactionID, amount *Amount) (*RefundInfo, error) {
	call := call{op: Refund, method: http.MethodPost, path: fmt.Sprintf("/payments/%d/refund", id)}
	if id <= 0 {
		return nil, c.refuse(call, ErrTransactionID)
	}
	if amount != nil && amount.Sign() <= 0 {
		return nil, c.refuse(call, fmt.Errorf("the refund's amount must be more than 0, not %s", amount))
	}
	info := new(RefundInfo)
	answer, err := c.post(ctx, call, struct {
		RefundAmount *Amount `json:"refundAmount,omitempty"`
	}{amount}, info)
	if err != nil {
		return nil, err
	}
	if info.RefundTransactionID == 0 {
		return nil, c.contradict(call, answer, errors.New("the answer has no refundTransactionId"))
	}
	info.Answer = answer.Answer
	return info, nil
}

// Details looks up confirmed payments. With none to be found LINE Pay answers 1150, which comes back as an error. (GET /v3/payments)
func (c *Client) Details(ctx context.Context, query DetailsQuery) (*DetailsInfo, error) {
	call := call{op: Details, method: http.MethodGet, path: "/payments"}
	if len(query.TransactionIDs)+len(query.OrderIDs) == 0 {
		return nil, c.refuse(call, errors.New("no transaction id and no order id was given"))
	}
	var parts []string
	for _, id := range query.TransactionIDs {
		if id <= 0 {
			return nil, c.refuse(call, ErrTransactionID)
		}
		parts = append(parts, "transactionId="+id.String())
	}
	for _, id := range query.OrderIDs {
		// %20 rather than +: it means a space to every reader.
		parts = append(parts, "orderId="+strings.ReplaceAll(url.QueryEscape(id), "+", "%20"))
	}
	call.payload = strings.Join(parts, "&")
	answer, err := c.answerTo(ctx, call)
	if err != nil {
		return nil, err
	}
	info := &DetailsInfo{Answer: answer.Answer}
	if err := readInfo(answer, &info.Payments); err != nil {
		return nil, c.contradict(call, answer, err)
	}
	return info, nil
}

// CheckPreapproved tells whether a registered key can be used; with creditCardAuth by authorising a small sum on its card, which LINE Pay must
// have approved. (GET /v3/payments/preapprovedPay/{regKey}/check)
func (c *Client) CheckPreapproved(ctx context.Context, regKey string, creditCardAuth bool) (*Answer, error) {
	call, err := preapproved(PreapprovedCheck, http.MethodGet, regKey, "check")
	if err != nil {
		return nil, c.refuse(call, err)
	}
	if creditCardAuth {
		call.payload = "creditCardAuth=" + strconv.FormatBool(creditCardAuth)
	}
	answer, err := c.answerTo(ctx, call)
	if err != nil {
		return nil, err
	}
	return &answer.Answer, nil
}

// PayPreapproved takes or holds money with a registered key, without the customer. (POST /v3/payments/preapprovedPay/{regKey}/payment)
func (c *Client) PayPreapproved(ctx context.Context, regKey string, payment PreapprovedPayment) (*PreapprovedInfo, error) {
	call, err := preapproved(PreapprovedPay, http.MethodPost, regKey, "payment")
	if err != nil {
		return nil, c.refuse(call, err)
	}
	if payment.Amount.Sign() < 0 {
		return nil, c.refuse(call, fmt.Errorf("the amount must not be negative: %s", payment.Amount))
	}
	info := new(PreapprovedInfo)
	answer, err := c.post(ctx, call, payment, info)
	if err != nil {
		return nil, err
	}
	if info.TransactionID == 0 {
		return nil, c.contradict(call, answer, errors.New("the answer has no transactionId"))
	}
	if info.OrderID != "" && info.OrderID != payment.OrderID {
		return nil, c.contradict(call, answer, errors.New("the answer is about another order"))
	}
	info.Answer = answer.Answer
	return info, nil
}

// ExpirePreapproved discards a registered key. (POST /v3/payments/preapprovedPay/{regKey}/expire)
func (c *Client) ExpirePreapproved(ctx context.Context, regKey string) (*Answer, error) {
	call, err := preapproved(PreapprovedExpire, http.MethodPost, regKey, "expire")
	if err != nil {
		return nil, c.refuse(call, err)
	}
	answer, err := c.post(ctx, call, struct{}{}, nil)
	if err != nil {
		return nil, err
	}
	return &answer.Answer, nil
}

// sum is the body of confirm and capture.
type sum struct {
	Amount   Amount `json:"amount"`
	Currency string `json:"currency"`
}

// post sends a body and reads the answer's info; into is nil where LINE Pay sends none. A call without fields has the body {}: that is what
// clients which are known to work sign and send.
func (c *Client) post(ctx context.Context, call call, fields, into any) (*reply, error) {
	payload, err := body(fields)
	if err != nil {
		return nil, c.refuse(call, errors.New("the body cannot be written as JSON: a text is not valid UTF-8"))
	}
	call.payload = payload
	answer, err := c.answerTo(ctx, call)
	if err != nil || into == nil {
		return answer, err
	}
	if err := readInfo(answer, into); err != nil {
		return nil, c.contradict(call, answer, err)
	}
	return answer, nil
}

// preapproved gives the call on a registered key. A key that a server could take for a step in the path never gets there.
func preapproved(op Operation, method, regKey, action string) (call, error) {
	escaped := url.PathEscape(regKey)
	call := call{op: op, method: method, path: "/payments/preapprovedPay/" + escaped + "/" + action, private: []string{regKey, escaped}}
	switch regKey {
	case "", ".", "..":
		call.private = nil
		return call, errors.New("the registered key is empty or made of dots")
	}
	return call, nil
}

func checkPayment(id TransactionID, amount Amount) error {
	if id <= 0 {
		return ErrTransactionID
	}
	if amount.Sign() < 0 {
		return fmt.Errorf("the amount must not be negative: %s", amount)
	}
	return nil
}

// sameTransaction holds an answer against its call; answers need not name the transaction.
func sameTransaction(asked, answered TransactionID) error {
	if answered != 0 && answered != asked {
		return fmt.Errorf("the answer is about another transaction, %s", answered)
	}
	return nil
}

// refuse gives the error of a call that was not made because LINE Pay could not have taken it.
func (c *Client) refuse(call call, err error) error { return c.fail(call, Refused, err) }

// contradict gives the error of a call that was answered with a success which cannot be used. Something may well have happened.
func (c *Client) contradict(call call, answer *reply, err error) error {
	e := c.failWith(call, http.StatusOK, err)
	e.Code, e.Message = answer.Code, answer.Message
	return e
}
