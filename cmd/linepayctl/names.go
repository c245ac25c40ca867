package main

import (
	"github.com/go-json-experiment/json"

	"linepay-worker/idempotency"
	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// names are what the worker calls a command in its events. TestNamesAreThoseOfTheWorker compares them with the worker's own.
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
	n = names{command: schemas.CommandRef{Source: c.Source, ID: c.ID}, operation: c.Operation, key: operationKey(c.Data)}
	if n.key == "" || !valid {
		return n
	}
	if data, err := json.Marshal(normal(c.Data)); err == nil {
		n.fingerprint, _ = idempotency.Fingerprint(data, "redirectUrls") // what is valid can be digested
	}
	return n
}

// operationKey names what the guard carries out once.
func operationKey(data schemas.Data) string {
	op, transaction, order := string(data.Operation()), data.Transaction(), data.Order()
	switch d := data.(type) {
	case *schemas.RequestData, *schemas.PreapprovedPayData:
		if order != "" {
			return idempotency.OperationKey(op, order)
		}
	case *schemas.ConfirmData, *schemas.CaptureData, *schemas.VoidData:
		if transaction != 0 {
			return idempotency.OperationKey(op, transaction.String())
		}
	case *schemas.RefundData:
		if transaction != 0 {
			return idempotency.RefundKey(transaction.String(), d.RefundID)
		}
	case *schemas.PreapprovedExpireData:
		if d.RegKey != "" {
			return idempotency.HashedKey(op, d.RegKey)
		}
	}
	return ""
}

// normal is data without what means the same as its absence: LINE Pay captures unless told otherwise.
func normal(data schemas.Data) schemas.Data {
	captures := func(capture *bool) bool { return capture != nil && *capture }
	switch d := data.(type) {
	case *schemas.PreapprovedPayData:
		if captures(d.Capture) {
			same := *d
			same.Capture = nil
			return &same
		}
	case *schemas.RequestData:
		if d.Options != nil && d.Options.Payment != nil && captures(d.Options.Payment.Capture) {
			same, options, payment := *d, *d.Options, *d.Options.Payment
			payment.Capture, options.Payment, same.Options = nil, &payment, &options
			return &same
		}
	}
	return data
}
