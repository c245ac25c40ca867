// Books money that was taken or given back: every captured and refunded event, once.
//
//   cd deploy/examples/typescript && npm ci && npm run build
//   node dist/ledger.js
//
// The durable name "ledger" is that of the example in Go, too: started side by side, the two share one feed.
import { AckPolicy, jetstream, jetstreamManager, type JsMsg } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";

// What a ledger needs of an event. Ids and amounts are strings; calculate with a decimal library, never with numbers.
interface LinePayEvent {
  id: string;
  type: string;
  data: {
    orderId: string;
    transactionId: string;
    amount?: string;
    refundTransactionId?: string;
    refundAmount?: string;
    currency?: string;
  };
}

const booked = new Set<string>(); // by event id; in earnest, a table that has the event id as its key

function book(msg: JsMsg): void {
  const event = msg.json<LinePayEvent>();
  const { orderId, transactionId, amount, refundTransactionId, refundAmount, currency } = event.data;
  if (!event.id) throw new Error("it has no id");
  if (!booked.has(event.id)) { // the same outcome always has the same event id
    booked.add(event.id);
    console.log("booked", event.type, orderId, refundTransactionId ?? transactionId, refundAmount ?? amount, currency ?? "");
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
