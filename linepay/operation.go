package linepay

import "time"

// Operation is one of the ten calls of LINE Pay's Online API, by the name that commands, subjects and metrics use.
type Operation string

// The ten operations.
const (
	Request           Operation = "request"
	Check             Operation = "check"
	Confirm           Operation = "confirm"
	Capture           Operation = "capture"
	Void              Operation = "void"
	Refund            Operation = "refund"
	Details           Operation = "details"
	PreapprovedCheck  Operation = "preapproved-check"
	PreapprovedPay    Operation = "preapproved-pay"
	PreapprovedExpire Operation = "preapproved-expire"
)

// Operations lists all ten, in the order of LINE Pay's documentation.
func Operations() []Operation {
	return []Operation{
		Request, Check, Confirm, Capture, Void, Refund, Details, PreapprovedCheck, PreapprovedPay, PreapprovedExpire,
	}
}

// Reads reports whether the operation only reads: repeating it changes nothing at LINE Pay.
func (op Operation) Reads() bool {
	return op == Check || op == Details || op == PreapprovedCheck
}

// MovesMoney reports whether a repeat could take, hold, release or give back money. A request only reserves a page, and an expire only
// discards a key.
func (op Operation) MovesMoney() bool {
	switch op {
	case Confirm, Capture, Void, Refund, PreapprovedPay:
		return true
	default:
		return false
	}
}

// ReadTimeout is the time to wait for an answer: the larger of what LINE Pay's current pages and its older manual ask for.
// (developers-pay.line.me/online-api-v3: confirm at least 40 s, capture 60 s, the others 20 s or less; older manual: request 20 s,
// pre-approved payment 40 s.)
func (op Operation) ReadTimeout() time.Duration {
	switch op {
	case Capture:
		return 60 * time.Second
	case Confirm, PreapprovedPay:
		return 40 * time.Second
	default:
		return 20 * time.Second
	}
}
