package main

import (
	"context"
	"time"

	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// scenario is what the sandbox plays, in this order. An order is named by what is bought; where a step says `answers`, that is the event
// which has to answer the command.
func scenario() []scene {
	return []scene{
		{"A customer pays", []step{
			send(request("tea", "1000 TWD")).answers(schemas.EventRequested),
			customerPays("tea"),
			send(confirm("tea")).answers(schemas.EventCaptured),
		}},
		{"The shop sends the confirm again, and then once more as a new command", []step{
			sendAgain(confirm("tea")).answers(schemas.EventCaptured),
			send(confirm("tea")).answers(schemas.EventDuplicate),
		}},
		{"Money is held, and part of it taken later", []step{
			send(requestHold("hotel", "5000 TWD")).answers(schemas.EventRequested),
			customerPays("hotel"),
			send(confirm("hotel")).answers(schemas.EventAuthorized),
			send(capture("hotel", "4200 TWD")).answers(schemas.EventCaptured),
		}},
		{"Money is held, and let go", []step{
			send(requestHold("car", "3000 TWD")).answers(schemas.EventRequested),
			customerPays("car"),
			send(confirm("car")).answers(schemas.EventAuthorized),
			send(void("car")).answers(schemas.EventVoided),
		}},
		{"One refund, commanded twice at once: the refundId is the same, so it is one", []step{
			atOnce(
				send(refund("tea", "100", "broken-cup")).answers(schemas.EventRefunded),
				send(refund("tea", "100", "broken-cup")).answers(schemas.EventDuplicate),
			),
		}},
		{"Two refunds of the same amount: each has its own refundId, so they are two", []step{
			atOnce(
				send(refund("tea", "250", "late-parcel")).answers(schemas.EventRefunded),
				send(refund("tea", "250", "wrong-leaves")).answers(schemas.EventRefunded),
			),
		}},
		{"LINE Pay refuses: the customer's balance is too low", []step{
			send(request("piano", "90000 TWD")).answers(schemas.EventRequested),
			customerPays("piano"),
			linePayAnswers("1142", "piano", linepay.Confirm),
			send(confirm("piano")).answers(schemas.EventFailed),
		}},
		{"A command that breaks a rule, and one that cannot be read at all", []step{
			send(misspelt(refund("tea", "10", "loyalty"))).answers(schemas.EventRejected),
			sendGarbage(linepay.Refund),
		}},
		{"LINE Pay takes the money and its answer is lost: the worker looks it up", []step{
			send(request("lamp", "25.50 USD")).answers(schemas.EventRequested),
			customerPays("lamp"),
			linePayLosesItsAnswer("lamp", linepay.Confirm),
			send(confirm("lamp")).answers(schemas.EventCaptured).settledBy(schemas.SettledByLookup),
		}},
		{"A membership: the confirm issues a key, the key pays, the key expires", []step{
			send(requestKey("club", "300 TWD")).answers(schemas.EventRequested),
			customerPays("club"),
			send(confirm("club")).answers(schemas.EventCaptured).issuesKey(),
			send(payByKey("club", "club-march", "300 TWD")).answers(schemas.EventCaptured),
			send(expireKey("club")).answers(schemas.EventPreapproval),
		}},
	}
}

// scene is a part of the scenario with a title.
type scene struct {
	title string
	steps []step
}

// step is one thing that somebody does. It returns when it is clear what came of it; an error ends the scenario.
type step interface {
	play(ctx context.Context, s *stage) error
}

// do is a step without an answer to wait for.
type do func(ctx context.Context, s *stage) error

func (d do) play(ctx context.Context, s *stage) error { return d(ctx, s) }

// playScenario plays and prints it, and then the verdict: nil, errDisagree, errUnfinished, or why there is none. With a verdict it gives
// what the run has left behind.
func playScenario(ctx context.Context, on deployment, out *printer) (left remains, err error) {
	ctx, cancel := context.WithTimeout(ctx, on.limit)
	defer cancel()
	began := time.Now()
	s, err := newStage(ctx, on, out)
	if err != nil {
		return left, err
	}
	defer s.close()
	for _, scene := range scenario() {
		out.blank()
		out.title(scene.title)
		for _, step := range scene.steps {
			if err := step.play(ctx, s); err != nil {
				return left, s.stopped(ctx, err)
			}
		}
	}
	if left, err = s.collect(ctx); err != nil {
		return left, s.stopped(ctx, err)
	}
	verdict := compare(left)
	verdict.disagreements = append(s.surprises, verdict.disagreements...)
	verdict.print(out, time.Since(began))
	if len(verdict.disagreements) > 0 {
		return left, errDisagree
	}
	return left, nil
}

// The commands of the scenario. Amounts are written with their currency.

func request(order, price string) draft {
	return draft{linepay.Request, order, price, func(s *stage) schemas.Data {
		return paymentRequest(s.order(order).priced(price), s.on.simulator, nil)
	}}
}

// requestHold asks for a payment that is confirmed without being captured.
func requestHold(order, price string) draft {
	return draft{linepay.Request, order, price + ", to be held", func(s *stage) schemas.Data {
		return paymentRequest(s.order(order).priced(price), s.on.simulator, &linepay.PaymentOptions{Capture: new(false)})
	}}
}

// requestKey asks for a payment whose confirm issues a key for later ones.
func requestKey(order, price string) draft {
	return draft{linepay.Request, order, price + ", and a key for later", func(s *stage) schemas.Data {
		return paymentRequest(s.order(order).priced(price), s.on.simulator, &linepay.PaymentOptions{PayType: "PREAPPROVED"})
	}}
}

func confirm(order string) draft {
	return draft{linepay.Confirm, order, "", func(s *stage) schemas.Data {
		o := s.order(order)
		return &schemas.ConfirmData{TransactionID: o.transaction, OrderID: o.id, Amount: o.amount, Currency: o.currency}
	}}
}

func capture(order, price string) draft {
	return draft{linepay.Capture, order, price, func(s *stage) schemas.Data {
		o := s.order(order)
		amount, currency := parsePrice(price)
		return &schemas.CaptureData{TransactionID: o.transaction, OrderID: o.id, Amount: amount, Currency: currency}
	}}
}

func void(order string) draft {
	return draft{linepay.Void, order, "", func(s *stage) schemas.Data {
		o := s.order(order)
		return &schemas.VoidData{TransactionID: o.transaction, OrderID: o.id}
	}}
}

func refund(order, amount, refundID string) draft {
	return draft{linepay.Refund, order, amount + ", refundId " + refundID, func(s *stage) schemas.Data {
		o := s.order(order)
		return &schemas.RefundData{
			TransactionID: o.transaction, OrderID: o.id, RefundAmount: new(linepay.MustAmount(amount)), RefundID: refundID,
		}
	}}
}

func payByKey(issued, order, price string) draft {
	return draft{linepay.PreapprovedPay, order, price + ", with the key", func(s *stage) schemas.Data {
		o := s.order(order).priced(price)
		return &schemas.PreapprovedPayData{
			RegKey: s.order(issued).key, OrderID: o.id, ProductName: o.name, Amount: o.amount, Currency: o.currency,
		}
	}}
}

func expireKey(issued string) draft {
	return draft{linepay.PreapprovedExpire, "", "the key", func(s *stage) schemas.Data {
		return &schemas.PreapprovedExpireData{RegKey: s.order(issued).key}
	}}
}

// paymentRequest is LINE Pay's request body for one product. LINE Pay sends the customer back to pages of the sandbox.
func paymentRequest(o *order, shop string, payment *linepay.PaymentOptions) *schemas.RequestData {
	d := &schemas.RequestData{PaymentRequest: linepay.PaymentRequest{
		Amount: o.amount, Currency: o.currency, OrderID: o.id,
		Packages: []linepay.RequestPackage{{
			ID: "1", Amount: o.amount,
			Products: []linepay.Product{{Name: o.name, Quantity: linepay.MustAmount("1"), Price: o.amount}},
		}},
		RedirectURLs: linepay.RedirectURLs{ConfirmURL: shop + shopPaid, CancelURL: shop + shopCancelled},
	}}
	if payment != nil {
		d.Options = &linepay.RequestOptions{Payment: payment}
	}
	return d
}
