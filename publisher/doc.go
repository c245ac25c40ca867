// Package publisher is all that linepay-worker writes to the bus: result events, dead letters, and the streams they live in.
//
// It promises that an event is stored once under its id, however often it is published: a publish that was not preceded by its own
// successful settle first reads what the subject holds and then publishes on the condition that nothing has come since. JetStream's
// duplicate window helps, but nothing depends on it.
//
// It is not for consuming commands (see package consumer) and decides nothing about them.
package publisher
