// Package consumer carries payment commands out: it takes them from JetStream, claims them in Redis, calls LINE Pay or looks up what an
// earlier call has done, and publishes the result.
//
//	consumer.Run ─▶ consumer.Handle ─────────────────────────────────────────────────────────┐
//	take a slot     1 decode, validate   schemas          unreadable ─▶ dead letter           │
//	start lease     2 claim              idempotency      busy ─▶ wait · duplicate ─▶ answer  │
//	                3 call, or look up   linepay          in doubt ─▶ look up, call on proof     │
//	                4 settle             idempotency                                          │
//	                5 publish            publisher        down ─▶ retry later                 │
//	6 carry out the fate ◀──── Fate{Ack | Wait | Retry, why, after} ◀─────────────────────────┘
//
// The rule under all of it: no call that moves money is sent a second time before a look-up has shown that the first one did not
// happen. Redelivery, replay and takeover take the same line and skip what the claim says is done.
//
// Handle holds the steps, operations.go what the ten operations call and look at, run.go the loop around it and the only place that
// acknowledges a message.
package consumer
