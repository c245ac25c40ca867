package publisher

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/schemas"
)

// Record stores an audit entry and returns when JetStream has acknowledged it: nothing is done that is not on record. With any error the
// action must not be done; it is unknown then whether the entry is stored. Recording the same entry again stores it once.
func Record(ctx context.Context, js jetstream.JetStream, entry *schemas.Audit) error {
	body, err := entry.Encode()
	if err != nil {
		return err
	}
	msg := nats.NewMsg(schemas.AuditSubject(short(entry.Data.Channel), entry.Data.Action))
	msg.Data = body
	msg.Header.Set(schemas.HeaderMsgID, entry.ID)
	msg.Header.Set(schemas.HeaderContentType, schemas.ContentTypeCloudEvents)
	if _, err := js.PublishMsg(ctx, msg, jetstream.WithExpectStream(schemas.StreamAudit)); err != nil {
		return fmt.Errorf("put the %s on record in %s: %w", entry.Data.Action, schemas.StreamAudit, err)
	}
	return nil
}
