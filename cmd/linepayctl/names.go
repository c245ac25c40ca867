package main

import (
	"linepay-worker/consumer"
	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// names are what the worker calls a command in its events. TestNamesAreThoseOfTheWorker compares them with what it publishes.
type names struct {
	command     schemas.CommandRef
	operation   linepay.Operation
	key         string // what the guard calls the operation; "" for a reading, or where the data is too broken to tell
	fingerprint string // of the data; "" where there is no key, or the data is invalid
}

// namesOf reads them from a command as it was decoded; a nil one was unreadable, and no event will name it.
func namesOf(c *schemas.Command, valid bool) (n names) {
	if c == nil {
		return n
	}
	n = names{command: schemas.CommandRef{Source: c.Source, ID: c.ID}, operation: c.Operation}
	n.key, n.fingerprint, _ = consumer.Names(c.Data, valid) // what was decoded can be written again
	return n
}
