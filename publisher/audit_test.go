package publisher_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/consumer/consumertest"
	"linepay-worker/publisher"
	"linepay-worker/schemas"
)

func dropOf(channel string) *schemas.Audit {
	return schemas.NewAudit(settledAt, schemas.AuditData{Action: schemas.ActionDrop, Operator: "night-shift", Host: "ops-1", Channel: channel})
}

func TestAuditEntryIsStoredOnceOnItsSubject(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	entry, hostile := dropOf("tw"), dropOf("a.b>* \x1b"+strings.Repeat("x", 100_000))
	for _, e := range []*schemas.Audit{entry, entry, hostile} {
		if err := publisher.Record(t.Context(), b.js, e); err != nil {
			t.Fatal(err)
		}
	}
	got := consumertest.Collect(t, b.js, schemas.StreamAudit, schemas.SubjectsAudit)
	if len(got) != 2 || got[0].Subject != "linepay.audit.tw.drop" || !strings.HasPrefix(got[1].Subject, "linepay.audit.a%2Eb%3E%2A%20%1Bxxx") {
		t.Fatalf("entries are %+v, want one on linepay.audit.tw.drop and the hostile one", got)
	}
	want, err := entry.Encode()
	if err != nil || !bytes.Equal(got[0].Data, want) {
		t.Errorf("stored as %s, want %s (%v)", got[0].Data, want, err)
	}
	back, err := schemas.DecodeAudit(got[1].Data)
	if diff := cmp.Diff(hostile, back); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

func TestActionThatCannotBePutOnRecordIsToldSo(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	nobody := dropOf("tw")
	nobody.Data.Operator = ""
	if err := publisher.Record(t.Context(), b.js, nobody); err == nil || !strings.Contains(err.Error(), "operator is missing") {
		t.Errorf("error is %v, want that the operator is missing", err)
	}
	b.change(schemas.StreamAudit, func(c *jetstream.StreamConfig) { c.MaxMsgSize = 10 })
	if err := publisher.Record(t.Context(), b.js, dropOf("tw")); err == nil || !strings.HasPrefix(err.Error(), "put the drop on record in LINEPAY_AUDIT: ") {
		t.Errorf("error is %v, want one that names what could not be put on record", err)
	}
}
