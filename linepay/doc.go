// Package linepay calls LINE Pay's Online API, versions 3 and 4: the ten calls, signed, with exact ids and amounts, and with errors that say
// what is known about the money.
//
// It is for programs that must know whether they may call again. It is not for LINE Pay's offline (in-store) API, has no retries, no rate
// limit and no memory: whether a call was made before is for the caller to know.
//
// It promises:
//
//   - One call of a method that posts is at most one request at LINE Pay. Redirects are not followed, and net/http is given no way to send a
//     body twice.
//   - A call that is given up is not delivered later: see [NewTransport].
//   - Every error is an [*Error] with a [Verdict]. NotSent means that it is certain that nothing reached LINE Pay; Refused and ChannelFault
//     that LINE Pay, or this package in its place, turned the call down; whatever is not certain is Unknown, the zero value. That includes
//     timeouts, every HTTP status but 200, answers that are not readable, and result codes that are not in the table (see [Codes]).
//   - Transaction ids and amounts never pass through a float, in either direction.
//   - Neither the channel secret nor a registered key appears in an error, a message, or anything that is printed of a [Config].
package linepay
