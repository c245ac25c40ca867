// Command linepay-sandbox is for trying linepay-worker out and for testing against LINE Pay without LINE Pay: one process with an
// embedded NATS server, an embedded Redis-compatible store, the LINE Pay simulator and the real worker. It plays a scenario, prints it,
// and holds the events against the simulator's ledger. The same scenario can be played on servers, workers and a simulator that run
// elsewhere.
//
// It keeps no secrets and asks nobody who they are: it listens on loopback addresses, and is not for production.
package main
