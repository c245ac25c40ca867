// Orders that a payment be confirmed, as a shop's backend does once LINE Pay has sent the customer to its confirmUrl.
//
//   cd deploy/examples/typescript && npm ci && npm run build
//   node dist/checkout.js ORDER TRANSACTION AMOUNT CURRENCY
import { jetstream } from "@nats-io/jetstream";
import { connect, headers } from "@nats-io/transport-node";
import type { CommandConfirm, Currency } from "./linepay.js"; // linepayctl schemas typescript

const [orderId, transactionId, amount, currency] = process.argv.slice(2);
if (!orderId || !transactionId || !amount || !currency) {
  console.error("usage: checkout ORDER TRANSACTION AMOUNT CURRENCY");
  process.exit(2);
}

// Source and id name the command for ever. Take the id from your own record: whoever tries again sends the same command.
const command: CommandConfirm = {
  specversion: "1.0",
  id: `confirm-${transactionId}`,
  source: "/checkout",
  type: "linepay.command.confirm.v1",
  // Ids and amounts are strings: as a JavaScript number, a transaction id would be rounded. The type takes no numbers.
  data: { transactionId, orderId, amount, currency: currency as Currency },
};

const nc = await connect({ servers: process.env.NATS_URL ?? "nats://127.0.0.1:4222" });
try {
  const header = headers();
  header.set("Content-Type", "application/cloudevents+json");
  // Only JetStream's acknowledgement says that the command is stored. After an error, send it again: the message id keeps
  // repetitions out for a while, and the worker knows the command however late it comes.
  const ack = await jetstream(nc).publish(
    "linepay.commands.default.confirm", // linepay.commands.<channel>.<operation>
    JSON.stringify(command),
    { headers: header, msgID: `${command.source} ${command.id}`, expect: { streamName: "LINEPAY_COMMANDS" } },
  );
  console.log(`ordered: command ${command.id} is stored as ${ack.stream} ${ack.seq}`);
} finally {
  await nc.close();
}
