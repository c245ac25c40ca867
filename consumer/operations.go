package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// operation is what the worker does at LINE Pay for a command: the call, and the look-up that finds out what became of one.
type operation struct {
	// prepare reads what has to be on record before the call. When it is not ready, its outcome is the command's.
	prepare func(context.Context, *task) (o Outcome, ready bool)
	call    func(context.Context, *task) (effect, error)
	// lookUp gets the events of the order, which tell whose doing a payment or refund was.
	lookUp func(context.Context, *task, []*schemas.Event) finding
}

// operations has all ten. Readings have no look-up: they are never in doubt.
var operations map[linepay.Operation]operation

func init() {
	operations = map[linepay.Operation]operation{
		linepay.Request:           {call: request, lookUp: lookUpRequest},
		linepay.Check:             {call: check},
		linepay.Confirm:           {call: confirm, lookUp: lookUpConfirm},
		linepay.Capture:           {call: capture, lookUp: lookUpCapture},
		linepay.Void:              {call: void, lookUp: lookUpVoid},
		linepay.Refund:            {prepare: snapshotRefunds, call: refund, lookUp: lookUpRefund},
		linepay.Details:           {call: details},
		linepay.PreapprovedCheck:  {call: preapprovedCheck},
		linepay.PreapprovedPay:    {call: preapprovedPay, lookUp: lookUpPreapprovedPay},
		linepay.PreapprovedExpire: {call: preapprovedExpire, lookUp: lookUpPreapprovedExpire},
	}
}

func (t *task) client() *linepay.Client { return t.worker.cfg.LINEPay }

// request.

func request(ctx context.Context, t *task) (effect, error) {
	d := t.cmd.Data.(*schemas.RequestData)
	info, err := t.client().Request(ctx, &d.PaymentRequest)
	if err != nil {
		return effect{}, err
	}
	payType := ""
	if d.Options != nil && d.Options.Payment != nil && d.Options.Payment.PayType == preapproved {
		payType = preapproved
	}
	return effect{event: schemas.EventRequested, answer: info.Answer, fill: func(d *schemas.EventData) {
		d.TransactionID = info.TransactionID
		d.PaymentURL = info.PaymentURL
		d.PaymentAccessToken, d.PayType = info.PaymentAccessToken, payType
	}}, nil
}

// preapproved is the payType of a payment whose confirm issues a key. LINE Pay tells the key in its answer to the confirm, and never again.
const preapproved = "PREAPPROVED"

// issuesKey: the order's events tell that the confirm of a transaction issues a key.
func issuesKey(history []*schemas.Event, id linepay.TransactionID) bool {
	return slices.ContainsFunc(history, func(e *schemas.Event) bool {
		return e.Data.TransactionID == id && e.Data.PayType == preapproved // which the payment page's event alone tells
	})
}

// lookUpRequest finds nothing, ever: before a confirm LINE Pay shows a payment to nobody who does not know its transaction id. Calling
// again is safe, for a page that nobody knows takes no money and expires.
func lookUpRequest(context.Context, *task, []*schemas.Event) finding {
	return finding{evidence: nothing}
}

// confirm.

func confirm(ctx context.Context, t *task) (effect, error) {
	d := t.cmd.Data.(*schemas.ConfirmData)
	info, err := t.client().Confirm(ctx, d.TransactionID, d.Amount, d.Currency)
	if err != nil {
		return effect{}, err
	}
	e := taken(info.AuthorizationExpireDate != "", info.PayInfo, info.AuthorizationExpireDate)
	e.answer, e.regKey = info.Answer, info.RegKey
	return e, nil
}

// lookUpConfirm judges by transaction and amount: an order that was paid with another transaction answers 1172 just the same.
func lookUpConfirm(ctx context.Context, t *task, history []*schemas.Event) finding {
	d := t.cmd.Data.(*schemas.ConfirmData)
	payment, answer, err := t.payment(ctx, d.TransactionID)
	switch {
	case err != nil && !errors.Is(err, errNotShown): // check knows more about a payment that details do not show
		return learntNothing(err)
	case payment != nil && total(payment).Cmp(d.Amount) > 0:
		return isOver(answer, fmt.Sprintf("transaction %s was confirmed with more than %s %s", d.TransactionID, d.Amount, d.Currency))
	case payment != nil && (capturedByOther(history, t.cmd) || slices.Contains(t.claim.Owned, byCapture)): // so the confirm held the money, of which less may have been captured
		e := taken(true, nil, payment.AuthorizationExpireDate)
		e.answer, e.keyLost = answer, issuesKey(history, d.TransactionID)
		return found(e)
	case payment != nil && !paid(payment, d.Amount):
		return isOver(answer, fmt.Sprintf("transaction %s was confirmed with another amount than %s %s", d.TransactionID, d.Amount, d.Currency))
	case payment != nil:
		e := taken(payment.PayStatus != linepay.StatusCapture, payment.PayInfo, payment.AuthorizationExpireDate)
		e.answer, e.keyLost = answer, issuesKey(history, d.TransactionID)
		return found(e)
	}
	info, err := t.client().Check(ctx, d.TransactionID)
	if answerOf(err).Code == "1159" {
		return isOver(answerOf(err), "LINE Pay knows no request for this transaction")
	}
	if err != nil {
		return learntNothing(err)
	}
	switch info.Status {
	case linepay.Authenticated:
		return finding{evidence: nothing}
	case linepay.Completed:
		// Confirmed, but not to be seen in details yet; only they tell whether the money was taken or is held.
		return learntNothing(fmt.Errorf("LINE Pay says that transaction %s is completed and does not show it yet", d.TransactionID))
	case linepay.Waiting:
		return isOver(linepay.Answer{Code: "1169", Message: info.Message}, "the customer has not approved the payment")
	default:
		return isOver(info.Answer, "the payment request is "+string(info.Status))
	}
}

// capture.

func capture(ctx context.Context, t *task) (effect, error) {
	d := t.cmd.Data.(*schemas.CaptureData)
	info, err := t.client().Capture(ctx, d.TransactionID, d.Amount, d.Currency)
	if err != nil {
		return effect{}, err
	}
	e := taken(false, info.PayInfo, "")
	e.answer, e.id = info.Answer, byCapture
	return e, nil
}

// byCapture is what a capture leaves on record: a confirm that is looked up later sees money taken, and not by which of the two.
const byCapture = "capture"

func lookUpCapture(ctx context.Context, t *task, history []*schemas.Event) finding {
	d := t.cmd.Data.(*schemas.CaptureData)
	payment, answer, err := t.payment(ctx, d.TransactionID)
	switch {
	case err != nil:
		return learntNothing(err)
	case payment == nil:
		return t.absent(ctx, history, answer)
	case payment.PayStatus == linepay.StatusAuthorization:
		return finding{evidence: nothing}
	case payment.PayStatus != linepay.StatusCapture:
		return isOver(answer, "the authorization is "+string(payment.PayStatus))
	case !paid(payment, d.Amount):
		return isOver(answer, "another amount than "+d.Amount.String()+" was captured")
	case capturedByOther(history, t.cmd):
		return isOver(answer, "the money was taken by another operation on this transaction")
	}
	e := taken(false, payment.PayInfo, "")
	e.answer, e.id = answer, byCapture
	return found(e)
}

// capturedByOther: a payment that a confirm captured at once looks, in LINE Pay's details, just like one that was captured later.
func capturedByOther(history []*schemas.Event, cmd *command) bool {
	return slices.ContainsFunc(history, func(e *schemas.Event) bool {
		return e.Name() == schemas.EventCaptured && e.Data.TransactionID == cmd.Data.Transaction()
	})
}

// void.

func void(ctx context.Context, t *task) (effect, error) {
	answer, err := t.client().Void(ctx, t.cmd.Data.Transaction())
	if err != nil {
		return effect{}, err
	}
	return effect{event: schemas.EventVoided, answer: *answer}, nil
}

func lookUpVoid(ctx context.Context, t *task, history []*schemas.Event) finding {
	payment, answer, err := t.payment(ctx, t.cmd.Data.Transaction())
	switch {
	case err != nil:
		return learntNothing(err)
	case payment == nil:
		return t.absent(ctx, history, answer)
	case payment.PayStatus == linepay.StatusVoided:
		return found(effect{event: schemas.EventVoided, answer: answer})
	case payment.PayStatus == linepay.StatusAuthorization:
		return finding{evidence: nothing}
	default:
		return isOver(answer, "the payment is "+string(payment.PayStatus))
	}
}

// preapproved-pay.

func preapprovedPay(ctx context.Context, t *task) (effect, error) {
	d := t.cmd.Data.(*schemas.PreapprovedPayData)
	info, err := t.client().PayPreapproved(ctx, d.RegKey, linepay.PreapprovedPayment{
		ProductName: d.ProductName, Amount: d.Amount, Currency: d.Currency, OrderID: d.OrderID, Capture: d.Capture,
	})
	if err != nil {
		return effect{}, err
	}
	e := taken(d.Capture != nil && !*d.Capture, nil, info.AuthorizationExpireDate)
	e.answer = info.Answer
	return e.of(info.TransactionID), nil
}

// lookUpPreapprovedPay looks for a payment of the order that can only be this command's: of its amount, made since it was commanded, and
// not told by another event of the order. One of the same amount that is older, or undated, may be a person's doing.
func lookUpPreapprovedPay(ctx context.Context, t *task, history []*schemas.Event) finding {
	d := t.cmd.Data.(*schemas.PreapprovedPayData)
	info, err := t.client().Details(ctx, linepay.DetailsQuery{OrderIDs: []string{d.OrderID}})
	if answerOf(err).Code == "1150" {
		return finding{evidence: nothing}
	}
	if err != nil {
		return learntNothing(err)
	}
	var candidates []linepay.Payment
	for _, p := range info.Payments {
		known := slices.ContainsFunc(history, func(e *schemas.Event) bool {
			return e.Data.TransactionID == p.TransactionID && schemas.IsMoneyEvent(e.Name())
		})
		if p.OrderID == d.OrderID && paid(&p, d.Amount) && !known {
			candidates = append(candidates, p)
		}
	}
	switch {
	case len(candidates) == 0:
		return finding{evidence: nothing}
	case len(candidates) == 1 && t.madeSince(candidates[0].TransactionDate):
		p := candidates[0]
		e := taken(p.PayStatus != linepay.StatusCapture, p.PayInfo, p.AuthorizationExpireDate)
		e.answer = info.Answer
		return found(e.of(p.TransactionID))
	}
	return finding{evidence: ambiguous, detail: fmt.Sprintf("%d payments of %s %s for order %s could be this one: %s",
		len(candidates), d.Amount, d.Currency, d.OrderID, listPayments(candidates))}
}

// preapproved-expire.

func preapprovedExpire(ctx context.Context, t *task) (effect, error) {
	answer, err := t.client().ExpirePreapproved(ctx, t.cmd.Data.(*schemas.PreapprovedExpireData).RegKey)
	if err != nil {
		return effect{}, err
	}
	return usable(false, *answer), nil
}

func lookUpPreapprovedExpire(ctx context.Context, t *task, _ []*schemas.Event) finding {
	_, err := t.client().CheckPreapproved(ctx, t.cmd.Data.(*schemas.PreapprovedExpireData).RegKey, false)
	switch {
	case err == nil:
		return finding{evidence: nothing}
	case gone(answerOf(err)):
		return found(usable(false, answerOf(err)))
	default:
		return learntNothing(err)
	}
}

// The readings.

func check(ctx context.Context, t *task) (effect, error) {
	info, err := t.client().Check(ctx, t.cmd.Data.Transaction())
	if err != nil {
		return effect{}, err
	}
	return effect{event: schemas.EventStatus, answer: info.Answer, fill: func(d *schemas.EventData) { d.Status = info.Status }}, nil
}

func details(ctx context.Context, t *task) (effect, error) {
	d := t.cmd.Data.(*schemas.DetailsData)
	info, err := t.client().Details(ctx, linepay.DetailsQuery{TransactionIDs: d.TransactionIDs, OrderIDs: d.OrderIDs})
	if err != nil {
		return effect{}, err
	}
	return effect{event: schemas.EventDetails, answer: info.Answer, fill: func(e *schemas.EventData) { e.Payments = info.Payments }}, nil
}

func preapprovedCheck(ctx context.Context, t *task) (effect, error) {
	d := t.cmd.Data.(*schemas.PreapprovedCheckData)
	answer, err := t.client().CheckPreapproved(ctx, d.RegKey, d.CreditCardAuth)
	if gone(answerOf(err)) { // That the key is gone is an answer, not a failure to answer.
		return usable(false, answerOf(err)), nil
	}
	if err != nil {
		return effect{}, err
	}
	return usable(true, *answer), nil
}

// What the operations share.

// taken is an effect on a payment's money: held, or taken.
func taken(held bool, payInfo []linepay.PayInfo, until string) effect {
	e := effect{event: schemas.EventCaptured}
	if held {
		e.event = schemas.EventAuthorized
	}
	e.fill = func(d *schemas.EventData) {
		d.PayInfo = payInfo
		if held {
			d.AuthorizationExpireDate = until
		}
	}
	return e
}

// of adds the transaction id that LINE Pay gave.
func (e effect) of(id linepay.TransactionID) effect {
	fill := e.fill
	e.fill = func(d *schemas.EventData) {
		fill(d)
		d.TransactionID = id
	}
	return e
}

func usable(is bool, answer linepay.Answer) effect {
	return effect{event: schemas.EventPreapproval, answer: answer, fill: func(d *schemas.EventData) { d.Usable = new(is) }}
}

// gone: LINE Pay knows no such key (1190), it has expired (1193), or it was discarded with the customer's account (1141).
func gone(a linepay.Answer) bool { return a.Code == "1190" || a.Code == "1193" || a.Code == "1141" }

// errNotShown: LINE Pay did not say that there is no such payment, and did not show it either. That proves nothing.
var errNotShown = errors.New("LINE Pay's details do not show the payment that they were asked for")

// shown: the order's events say that LINE Pay has carried something out on the transaction, so it knows the payment, whatever it says.
func shown(history []*schemas.Event, id linepay.TransactionID) bool {
	return slices.ContainsFunc(history, func(e *schemas.Event) bool {
		return e.Data.TransactionID == id && schemas.IsMoneyEvent(e.Name())
	})
}

// absent is what it means for a capture, void or refund that LINE Pay shows no payment: nothing that it could have been carried out on,
// unless the order's events know better. While the command that makes the payment is still in the stream, it is not too late.
func (t *task) absent(ctx context.Context, history []*schemas.Event, answer linepay.Answer) finding {
	switch {
	case t.notes.Payment != nil || shown(history, t.cmd.Data.Transaction()):
		return learntNothing(errNotShown)
	case t.overtook(ctx):
		return finding{evidence: nothing}
	case t.shownByNow(ctx):
		return learntNothing(errNotShown)
	default:
		return isOver(answer, "LINE Pay knows no payment by this transaction id")
	}
}

// shownByNow reads the events once more, after the stream: a command leaves the stream only when its event is there.
func (t *task) shownByNow(ctx context.Context) bool {
	now, err := t.worker.cfg.Bus.History(ctx, t.cmd.Channel, t.cmd.Data.Order())
	return err != nil || shown(now, t.cmd.Data.Transaction())
}

// payment reads one confirmed payment; nil when LINE Pay says that there is none, with 1150.
func (t *task) payment(ctx context.Context, id linepay.TransactionID) (*linepay.Payment, linepay.Answer, error) {
	info, err := t.client().Details(ctx, linepay.DetailsQuery{TransactionIDs: []linepay.TransactionID{id}})
	if a := answerOf(err); a.Code == "1150" {
		return nil, a, nil
	}
	if err != nil {
		return nil, linepay.Answer{}, err
	}
	for i := range info.Payments {
		if info.Payments[i].TransactionID == id {
			return &info.Payments[i], info.Answer, nil
		}
	}
	return nil, info.Answer, errNotShown
}

// paid says whether a payment's parts add up to an amount. Details without parts say nothing against it.
func paid(p *linepay.Payment, amount linepay.Amount) bool {
	return len(p.PayInfo) == 0 || total(p).Equal(amount)
}

func total(p *linepay.Payment) (sum linepay.Amount) {
	for _, part := range p.PayInfo {
		sum = sum.Add(part.Amount)
	}
	return sum
}

// clocksApart is how far LINE Pay's clock and ours may disagree.
const clocksApart = 5 * time.Minute

// madeSince says whether LINE Pay dates something after the latest call began: every call before it was proved to have done nothing. Where
// no call is on record, the command's own age serves. An unreadable date says no.
func (t *task) madeSince(date string) bool {
	began := t.m.Stored
	if t.cmd.absent {
		began = t.cmd.stored
	}
	if t.claim.Calls > 0 {
		began = t.claim.MaySendUntil.Add(-t.worker.cfg.callFor(t.cmd.Operation))
	}
	at, _ := time.Parse(time.RFC3339, date) // the zero time is long before
	return at.After(began.Add(-clocksApart))
}

func listPayments(payments []linepay.Payment) (s string) {
	for i, p := range payments {
		if i > 0 {
			s += ", "
		}
		s += fmt.Sprintf("%s of %s", p.TransactionID, p.TransactionDate)
	}
	return s
}
