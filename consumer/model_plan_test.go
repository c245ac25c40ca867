package consumer_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"linepay-worker/idempotency"
	"linepay-worker/linepay"
	"linepay-worker/linepay/simulator"
)

// modelPlan is what a schedule is about to do: drawn from its seed alone.
type modelPlan struct {
	seed        uint64
	class       string
	processes   int
	concurrency int
	budget      time.Duration
	cautious    bool
	honest      bool // LINE Pay never answers what is not so
	lateness    time.Duration
	rules       simulator.Rules
	faults      modelFaults
	payments    []*modelPayment
	commands    []*modelCommand
	incidents   []modelIncident

	redisAway, busAway, payAway []window
}

// modelFaults are probabilities, each for one touch of the world.
type modelFaults struct{ redis, bus, acks, unsent, linepay, late, crash, pause float64 }

// modelPayment is a payment that customers made before the schedule begins.
type modelPayment struct {
	order     string
	amount    int
	capture   bool // taken with the confirm, not just held
	register  bool // its confirm has issued a key
	approved  bool
	confirmed bool // before the schedule

	id     linepay.TransactionID
	regKey string
}

// modelCommand is one message that a merchant's service publishes.
type modelCommand struct {
	at      time.Duration
	op      linepay.Operation
	id      string
	payment *modelPayment
	amount  int    // of a confirm, capture, payment by key or refund; 0: a full refund
	name    string // refundId, or the order of a request or of a payment by key
	expires time.Duration
	broken  string // "unreadable" or "invalid"
}

// modelIncident happens once.
type modelIncident struct {
	at   time.Duration
	kind string // "stop", "jump", "flush", "lose", "by hand"
	by   time.Duration

	of     *modelPayment
	amount string
}

type window struct{ from, to time.Duration }

func (w *modelWorld) away(windows []window) bool {
	since := time.Since(w.began)
	return !w.calm && slices.ContainsFunc(windows, func(o window) bool { return o.from <= since && since < o.to })
}

const modelLength = 8 * time.Minute // in which commands come and faults strike

// The classes of schedules. Redis keeps what it was told in all but the forgetful one. Where somebody refunds by hand, the amount is one that no
// command asks for, but for the ambiguous ones.
var modelClasses = []string{
	"faithful", "faithful", "faithful", "faithful", "budget", "by hand", "ambiguous", "cautious", "ordered", "forgetful",
}

func newModelPlan(seed uint64) *modelPlan {
	dice := rand.New(rand.NewPCG(seed, 1))
	p := &modelPlan{
		seed: seed, class: modelClasses[dice.IntN(len(modelClasses))], processes: 1 + dice.IntN(3), concurrency: 1 + dice.IntN(8),
		budget: 24 * time.Hour, honest: dice.IntN(2) == 0,
		rules: simulator.Rules{WaitingTime: -1, ConfirmTime: -1},
	}
	often := func(most float64) float64 {
		if dice.IntN(3) > 0 {
			return 0
		}
		return most * dice.Float64()
	}
	p.faults = modelFaults{
		redis: often(.1), bus: often(.15), acks: often(.3), unsent: often(.3), linepay: often(.7), late: often(.5), crash: often(.04), pause: often(.03),
	}
	switch dice.IntN(3) {
	case 0:
		p.lateness = time.Duration(dice.Int64N(int64(20 * time.Second)))
	case 1:
		p.rules.LookupLag = time.Duration(dice.Int64N(int64(4 * time.Second)))
	}
	switch p.class {
	case "budget":
		p.budget = 2*time.Second + time.Duration(dice.Int64N(int64(3*time.Minute)))
	case "cautious":
		p.cautious = true
	case "ordered":
		p.quiet()
	}
	p.drawPayments(dice)
	for _, x := range p.payments { // or there is little to capture, to void or to refund
		if x.approved && !x.confirmed && dice.IntN(4) > 0 {
			p.commands = append(p.commands, &modelCommand{
				payment: x, op: linepay.Confirm, amount: x.amount, at: time.Duration(dice.Int64N(int64(3 * time.Second))), id: "first-confirm-" + x.order,
			})
		}
	}
	for range 3 + dice.IntN(14) {
		p.commands = append(p.commands, p.drawCommand(dice))
	}
	slices.SortStableFunc(p.commands, func(a, b *modelCommand) int { return int(a.at - b.at) })
	p.drawIncidents(dice)
	return p
}

// quiet leaves nothing that keeps a command away for longer than the guard waits for it: neither crashes nor lost messages, nor an open
// breaker. Then the order of the stream is kept.
func (p *modelPlan) quiet() {
	p.processes = 1
	p.faults.crash, p.faults.pause, p.faults.acks, p.faults.redis, p.faults.unsent = 0, 0, 0, 0, 0
	p.faults.linepay = min(p.faults.linepay, .2)
}

func (p *modelPlan) drawPayments(dice *rand.Rand) {
	for i := range 1 + dice.IntN(3) {
		x := &modelPayment{
			order: fmt.Sprintf("ORDER-%d", i+1), amount: 100 * (1 + dice.IntN(3)), capture: dice.IntN(3) > 0, register: dice.IntN(4) == 0,
			approved: dice.IntN(8) > 0, confirmed: dice.IntN(3) == 0,
		}
		if x.register || x.confirmed {
			x.approved, x.confirmed = true, true
		}
		p.payments = append(p.payments, x)
	}
}

func (p *modelPlan) drawCommand(dice *rand.Rand) *modelCommand {
	x := p.payments[dice.IntN(len(p.payments))]
	c := &modelCommand{payment: x, amount: x.amount, at: time.Duration(dice.Int64N(int64(20 * time.Second)))}
	if dice.IntN(4) == 0 {
		c.at = time.Duration(dice.Int64N(int64(modelLength)))
	}
	ops := []linepay.Operation{linepay.Confirm, linepay.Refund, linepay.Refund, linepay.Refund, linepay.Request, linepay.Check, linepay.Details}
	if !x.capture {
		ops = append(ops, linepay.Capture, linepay.Capture, linepay.Void)
	}
	if x.register {
		ops = append(ops, linepay.PreapprovedPay, linepay.PreapprovedPay, linepay.PreapprovedPay, linepay.PreapprovedCheck, linepay.PreapprovedExpire)
	}
	c.op = ops[dice.IntN(len(ops))]
	switch c.op {
	case linepay.Refund:
		c.amount = []int{30, 30, 30, 50, 100, 0}[dice.IntN(6)]
		if c.amount > 0 {
			c.name = fmt.Sprintf("R-%d", 1+dice.IntN(3))
		}
	case linepay.Capture:
		c.amount -= 10 * dice.IntN(2)
	case linepay.Request:
		c.name = fmt.Sprintf("NEW-%d", 1+dice.IntN(2))
	case linepay.PreapprovedPay:
		c.name, c.amount = fmt.Sprintf("PAY-%d", 1+dice.IntN(2)), 100
	}
	switch dice.IntN(24) {
	case 0:
		c.broken = "unreadable"
	case 1:
		c.broken = "invalid"
	case 2, 3:
		c.expires = time.Duration(dice.Int64N(int64(5 * time.Minute)))
	}
	if c.op != linepay.Refund && dice.IntN(12) == 0 && c.amount > 10 {
		c.amount -= 5 // a conflict, or a wrong amount
	}
	// One command, sent more than once, has one id. Another command for the same has another one.
	c.id = fmt.Sprintf("%s-%d-%s-%d-%d%s", c.op, slices.Index(p.payments, x), c.name, c.amount, dice.IntN(2), c.broken)
	if c.expires > 0 {
		c.id += "-" + c.expires.String()
	}
	return c
}

func (p *modelPlan) drawIncidents(dice *rand.Rand) {
	moment := func() time.Duration { return time.Duration(dice.Int64N(int64(modelLength / 2))) }
	away := func() []window {
		if dice.IntN(6) > 0 {
			return nil
		}
		from := moment()
		return []window{{from, from + time.Duration(dice.Int64N(int64(3*time.Minute)))}}
	}
	p.redisAway, p.busAway, p.payAway = away(), away(), away()
	if p.class == "ordered" {
		p.redisAway, p.busAway, p.payAway = nil, nil, nil
	} else if dice.IntN(4) == 0 {
		p.incidents = append(p.incidents, modelIncident{at: moment(), kind: "stop"})
	}
	if dice.IntN(4) == 0 {
		p.incidents = append(p.incidents, modelIncident{at: moment(), kind: "jump", by: time.Duration(dice.Int64N(int64(5 * time.Second)))})
	}
	if dice.IntN(4) == 0 {
		p.incidents = append(p.incidents, modelIncident{at: moment(), kind: "jump", by: -time.Duration(dice.Int64N(int64(time.Minute)))})
	}
	for range dice.IntN(3) {
		switch p.class {
		case "by hand", "ambiguous":
			i := modelIncident{at: moment(), kind: "by hand", of: p.payments[dice.IntN(len(p.payments))], amount: "7"}
			if p.class == "ambiguous" {
				i.amount = "30"
			}
			p.incidents = append(p.incidents, i)
		case "forgetful":
			i := modelIncident{at: moment(), kind: "flush"}
			if dice.IntN(2) == 0 {
				i.kind, i.by = "lose", time.Duration(dice.Int64N(int64(30*time.Second)))
			}
			p.incidents = append(p.incidents, i)
		}
	}
}

// code is what LINE Pay answers instead of what is so; "" is no answer. Where it has carried the call out it may say that it does not know, or
// that the operation has been carried out; it does not deny it.
func (p *modelPlan) code(dice *rand.Rand, op linepay.Operation, carriedOut bool) string {
	codes := []string{"", "9000", "1199", "1900", "1999"}
	already := map[linepay.Operation][]string{
		linepay.Confirm: {"1172", "1198", "1145"}, linepay.Capture: {"1179", "1155", "1198"}, linepay.Void: {"1165", "1198"},
		linepay.Refund: {"1198", "1165"}, linepay.PreapprovedPay: {"1172", "1197"},
	}[op]
	switch {
	case op.Reads():
		codes = append(codes, "1106")
	case carriedOut:
		codes = append(codes, already...)
	default:
		codes = append(codes, "1104", "1106")
		if !p.honest {
			codes = append(append(codes, already...), "1142", "2101")
		}
	}
	code := codes[dice.IntN(len(codes))]
	if p.class == "ordered" && (code == "1104" || code == "1106") { // they open the breaker
		return "9000"
	}
	return code
}

// subject and body of the message.
func (c *modelCommand) message(now time.Time) (subject, body string) {
	subject = "linepay.commands." + modelChannel + "." + string(c.op)
	if c.broken == "unreadable" {
		return subject, `{"id":"` + c.id + `"`
	}
	x, data := c.payment, ""
	payment := fmt.Sprintf(`"transactionId":"%s","orderId":"%s"`, x.id, x.order)
	switch c.op {
	case linepay.Confirm, linepay.Capture:
		data = fmt.Sprintf(`%s,"amount":"%d","currency":"TWD"`, payment, c.amount)
	case linepay.Refund:
		if data = payment; c.amount > 0 {
			data = fmt.Sprintf(`%s,"refundAmount":"%d","refundId":"%s"`, payment, c.amount, c.name)
		}
	case linepay.Void, linepay.Check:
		data = payment
	case linepay.Details:
		data = fmt.Sprintf(`"transactionIds":["%s"]`, x.id)
	case linepay.Request:
		data = fmt.Sprintf(`"orderId":"%s","amount":"%d","currency":"TWD","packages":[{"id":"1","amount":"%[2]d",
			"products":[{"name":"A book","quantity":"1","price":"%[2]d"}]}],
			"redirectUrls":{"confirmUrl":"https://shop.example/1","cancelUrl":"https://shop.example/2"}`, c.name, c.amount)
	case linepay.PreapprovedPay:
		data = fmt.Sprintf(`"regKey":"%s","orderId":"%s","productName":"A book","amount":"%d","currency":"TWD"`, x.regKey, c.name, c.amount)
	case linepay.PreapprovedCheck, linepay.PreapprovedExpire:
		data = fmt.Sprintf(`"regKey":"%s"`, x.regKey)
	}
	if c.broken == "invalid" {
		data += `,"misspelt":1`
	}
	expires := ""
	if c.expires > 0 {
		expires = fmt.Sprintf(`"expirytime":"%s",`, now.Add(c.expires-c.at).UTC().Format(time.RFC3339Nano))
	}
	return subject, fmt.Sprintf(`{"specversion":"1.0","id":"%s","source":"/model","type":"linepay.command.%s.v1",%s"data":{%s}}`, c.id, c.op, expires, data)
}

// key is the operation key.
func (c *modelCommand) key() string {
	switch c.op {
	case linepay.Confirm, linepay.Capture, linepay.Void:
		return idempotency.OperationKey(string(c.op), c.payment.id.String())
	case linepay.Refund:
		return idempotency.RefundKey(c.payment.id.String(), c.name)
	case linepay.Request, linepay.PreapprovedPay:
		return idempotency.OperationKey(string(c.op), c.name)
	case linepay.PreapprovedExpire:
		return idempotency.HashedKey(string(c.op), c.payment.regKey)
	default:
		return ""
	}
}
