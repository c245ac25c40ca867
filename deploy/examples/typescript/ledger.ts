// Books money that was taken or given back: every captured and refunded event, once.
//
//   cd deploy/examples/typescript && npm ci && npm run build
//   node dist/ledger.js
//
// The durable name "ledger" is that of the example in Go, too: started side by side, the two share one feed.
import { AckPolicy, jetstream, jetstreamManager, type JsMsg } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import type { EventCaptured, EventRefunded } from "./linepay.js"; // linepayctl schemas typescript

const booked = new Set<string>(); // by event id; in earnest, a table that has the event id as its key

function book(msg: JsMsg): void {
  // Ids and amounts are strings; calculate with a decimal library, never with numbers.
  const event = msg.json<EventCaptured | EventRefunded>();
  if (!event.id) throw new Error("it has no id");
  if (!booked.has(event.id)) { // the same outcome always has the same event id
    booked.add(event.id);
    const { orderId, transactionId, currency } = event.data;
    if (event.type === "linepay.event.refunded.v1") {
      const { refundTransactionId, refundAmount } = event.data;
      console.log("booked", event.type, orderId, refundTransactionId ?? transactionId, refundAmount, currency ?? "");
    } else {
      console.log("booked", event.type, orderId, transactionId, event.data.amount, currency);
    }
  }
  msg.ack(); // last: a crash before it costs a redelivery, which the id recognises
}

const nc = await connect({ servers: process.env.NATS_URL ?? "nats://127.0.0.1:4222", maxReconnectAttempts: -1 });
// JetStream keeps the place of a durable consumer, and delivers again what was not acknowledged.
await (await jetstreamManager(nc)).consumers.add("LINEPAY_EVENTS", {
  durable_name: "ledger",
  ack_policy: AckPolicy.Explicit,
  filter_subjects: ["linepay.events.*.captured.>", "linepay.events.*.refunded.>"],
});
const messages = await (await jetstream(nc).consumers.get("LINEPAY_EVENTS", "ledger")).consume();
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => void messages.close());

for await (const msg of messages) {
  try {
    book(msg);
  } catch (err) {
    console.error(`not an event: ${msg.subject}: ${err}`);
    msg.nak(60_000); // it comes again until a person has looked at it
  }
}
await nc.drain();
