// Package idempotency is the guard: it decides, in Redis, whether an operation may be carried out at LINE Pay now, has been carried out
// before, or has to be looked up first.
//
// LINE Pay has no idempotency header, and a partial refund sent twice gives the money back twice. So every operation that moves money is
// claimed before it is called. The claim is stored before the call, which makes it an intent: whoever finds a claim that was never settled
// knows that a call may have happened, and looks up instead of calling.
//
// # Names
//
// An [Entity] is what LINE Pay serialises on: a transaction, an order, or a key. It is one Redis hash. An operation is one thing done to an
// entity, named by its operation key ([OperationKey], [RefundKey], [HashedKey]); it is one record in that hash. At most one operation of an
// entity is carried out at a time: it holds the entity's gate, and the commands behind it wait in the order of the stream.
//
// # Promises
//
//   - Of all who ask, at most one holds a live claim on an entity.
//   - [Fresh] is never answered once a granted claim may have led to a call, unless a proof that nothing happened ([Extension].Proven) or a
//     definite refusal ([StateRefused]) was stored in between, or Redis forgot the record and no witness said so: see [ClaimRequest].
//   - Only the newest claimant can extend, settle or release; an older one learns [ErrLost].
//   - Each script may reach Redis twice, as happens when an answer is lost on the network, and answers the same both times.
//   - An error is never an answer. Without Redis nothing is granted: errors.Is(err, [ErrUnavailable]).
//
// Time is Redis' own clock, so that workers need not agree about theirs. All times are sent and stored in whole milliseconds.
//
// # What it is not for
//
// The guard does not know LINE Pay: it does not look up, call or decide what a result code means. That Redis has lost its memory shows in the
// epochs of the buckets ([Memory]) and in the server behind a new connection ([OnConnect]); what was lost is for the caller to make up for.
package idempotency
