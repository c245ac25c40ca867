package linepay

import (
	"fmt"
	"strings"
)

// Error is what a call returns that was not answered with success. Its text names operation, host and cause; it never holds the channel
// secret, a registered key, or LINE Pay's answer beyond code and message.
type Error struct {
	// Operation is the call that failed, Host the LINE Pay host it was meant for.
	Operation Operation
	Host      string
	// Verdict says what is known about the money.
	Verdict Verdict
	// Code and Message are LINE Pay's, when it answered with HTTP status 200 and a readable body; else empty.
	Code, Message string
	// HTTPStatus is 0 when no answer came.
	HTTPStatus int
	// Sent is false only when it is certain that nothing of the call reached LINE Pay.
	Sent bool
	// Err is the cause, when there is no code or when an answer with a code could not be used.
	Err error
}

// Error says which call failed at which host, how, and what that means for the money.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "LINE Pay %s at %s: ", e.Operation, e.Host)
	if e.Code != "" {
		fmt.Fprintf(&b, "code %s", e.Code)
		if e.Message != "" && e.Message != "-" {
			fmt.Fprintf(&b, " %q", e.Message)
		}
	}
	if e.Err != nil {
		if e.Code != "" {
			b.WriteString(": ")
		}
		b.WriteString(e.Err.Error())
	}
	fmt.Fprintf(&b, " (%s)", e.Verdict)
	return b.String()
}

// Unwrap gives the cause, so that errors.Is finds context.DeadlineExceeded and the like.
func (e *Error) Unwrap() error { return e.Err }
