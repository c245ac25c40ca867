package linepay

import "errors"

// Verdict is what an answer, or the lack of one, says about the money: whether the operation was carried out, and whether it may be sent again.
type Verdict int

const (
	// Unknown: LINE Pay may or may not have carried the operation out. Look it up. The zero value, so that whatever is forgotten is doubted.
	Unknown Verdict = iota
	// Done: LINE Pay carried the operation out.
	Done
	// Refused: LINE Pay definitely did not carry out this call, and would not carry out a repeat either.
	Refused
	// Already: this operation, or one like it, has been carried out or is running. Look it up: it may have been somebody else's.
	Already
	// Retry: a passing fault; LINE Pay asks for the same call again. Money calls are looked up before that all the same.
	Retry
	// ChannelFault: the merchant, its credentials or its headers are at fault; nothing is wrong with the operation, and none was carried out.
	ChannelFault
	// NotSent: it is certain that nothing of the call reached LINE Pay.
	NotSent
)

// String gives the verdict's word: unknown, done, refused, already, retry, channel or not-sent.
func (v Verdict) String() string {
	switch v {
	case Done:
		return "done"
	case Refused:
		return "refused"
	case Already:
		return "already"
	case Retry:
		return "retry"
	case ChannelFault:
		return "channel"
	case NotSent:
		return "not-sent"
	default:
		return "unknown"
	}
}

// VerdictOf gives the verdict of a call's error: Done for nil, an [Error]'s own verdict, and Unknown for any other error.
func VerdictOf(err error) Verdict {
	if err == nil {
		return Done
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Verdict
	}
	return Unknown
}
