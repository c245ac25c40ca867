package consumer

import (
	"fmt"

	"github.com/go-json-experiment/json"

	"linepay-worker/idempotency"
	"linepay-worker/schemas"
)

// Names are what the guard, and every event, call a command: the key of its operation, and the fingerprint of its data. The key is "" for a
// reading, or where the data is too broken to tell; the fingerprint is "" where there is no key, or the data is not valid.
func Names(data schemas.Data, valid bool) (key, fingerprint string, err error) {
	if _, _, key = guarded(data); key == "" || !valid {
		return key, "", nil
	}
	text, err := json.Marshal(normal(data))
	if err != nil {
		return "", "", fmt.Errorf("write the data again: %w", err)
	}
	// The pages that LINE Pay sends the customer back to may differ from attempt to attempt; what is paid may not.
	if fingerprint, err = idempotency.Fingerprint(text, "redirectUrls"); err != nil {
		return "", "", err
	}
	return key, fingerprint, nil
}

// guarded names what the guard guards: the entity that LINE Pay serialises on, and the operation on it. Readings have none.
func guarded(data schemas.Data) (kind, id, key string) {
	op, tx, order := data.Operation(), data.Transaction().String(), data.Order()
	switch d := data.(type) {
	case *schemas.RequestData, *schemas.PreapprovedPayData:
		kind, id, key = idempotency.KindOrder, order, idempotency.OperationKey(string(op), order)
	case *schemas.ConfirmData, *schemas.CaptureData, *schemas.VoidData:
		kind, id, key = idempotency.KindTransaction, tx, idempotency.OperationKey(string(op), tx)
	case *schemas.RefundData:
		kind, id, key = idempotency.KindTransaction, tx, idempotency.RefundKey(tx, d.RefundID)
	case *schemas.PreapprovedExpireData:
		kind, id, key = idempotency.KindKey, d.RegKey, idempotency.HashedKey(string(op), d.RegKey)
	}
	if id == "" {
		return "", "", ""
	}
	return kind, id, key
}

// normal is data without what means the same as its absence: LINE Pay captures unless told otherwise.
func normal(data schemas.Data) schemas.Data {
	switch d := data.(type) {
	case *schemas.PreapprovedPayData:
		if d.Capture != nil && *d.Capture {
			same := *d
			same.Capture = nil
			return &same
		}
	case *schemas.RequestData:
		if d.Options != nil && d.Options.Payment != nil && d.Options.Payment.Capture != nil && *d.Options.Payment.Capture {
			same, options, payment := *d, *d.Options, *d.Options.Payment
			payment.Capture, options.Payment, same.Options = nil, &payment, &options
			return &same
		}
	}
	return data
}
