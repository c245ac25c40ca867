package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"linepay-worker/idempotency"
	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

func TestComparisonOfEventsWithLINEPay(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		books func(*books)
		want  []string
	}{
		"nothing":        {func(*books) {}, nil},
		"only requested": {func(b *books) { b.tell(schemas.EventRequested, linepay.Request, "request:ORDER-1", "1000") }, nil},
		"captured":       {func(b *books) { captured1000(b); b.show(linepay.StatusCapture, "1000") }, nil},
		"captured, written with decimals": {func(b *books) {
			b.tell(schemas.EventCaptured, linepay.Confirm, confirmKey, "1000.00")
			b.show(linepay.StatusCapture, "1000")
		}, nil},
		"captured, and details have no parts": {func(b *books) {
			captured1000(b)
			b.show(linepay.StatusCapture, "0")
			b.payments[0].PayInfo = nil
		}, nil},
		"held":         {func(b *books) { held1000(b); b.show(linepay.StatusAuthorization, "1000") }, nil},
		"hold expired": {func(b *books) { held1000(b); b.show(linepay.StatusExpired, "1000") }, nil},
		"voided": {func(b *books) {
			held1000(b)
			b.tell(schemas.EventVoided, linepay.Void, "void:1", "0")
			b.show(linepay.StatusVoided, "1000")
		}, nil},
		"captured in part": {func(b *books) {
			held1000(b)
			b.tell(schemas.EventCaptured, linepay.Capture, "capture:1", "400")
			b.show(linepay.StatusCapture, "400")
		}, nil},
		"refunded": {func(b *books) {
			captured1000(b)
			b.tell(schemas.EventRefunded, linepay.Refund, "refund:1:a", "300", ofRefund(refund1))
			b.show(linepay.StatusCapture, "1000", entryOf(refund1, "300"))
		}, nil},
		"stored twice under one id": {func(b *books) { captured1000(b); captured1000(b); b.show(linepay.StatusCapture, "1000") }, nil},

		"LINE Pay took money that no event tells": {func(b *books) { b.show(linepay.StatusCapture, "1000") }, []string{effectWithoutEvent}},
		"LINE Pay holds money that no event tells": {func(b *books) {
			b.show(linepay.StatusAuthorization, "1000")
		}, []string{effectWithoutEvent}},
		"a hold was captured, and no event says so": {func(b *books) {
			held1000(b)
			b.show(linepay.StatusCapture, "400")
		}, []string{effectWithoutEvent}},
		"a capture without its hold": {func(b *books) {
			b.tell(schemas.EventCaptured, linepay.Capture, "capture:1", "1000")
			b.show(linepay.StatusCapture, "1000")
		}, []string{effectWithoutEvent}},
		"a hold was released, and no event says so": {func(b *books) {
			held1000(b)
			b.show(linepay.StatusVoided, "1000")
		}, []string{effectWithoutEvent}},
		"LINE Pay shows no payment": {func(b *books) { captured1000(b) }, []string{eventWithoutEffect}},
		"LINE Pay only holds the money": {func(b *books) {
			captured1000(b)
			b.show(linepay.StatusAuthorization, "1000")
		}, []string{eventWithoutEffect}},
		"LINE Pay has not released the hold": {func(b *books) {
			held1000(b)
			b.tell(schemas.EventVoided, linepay.Void, "void:1", "0")
			b.show(linepay.StatusAuthorization, "1000")
		}, []string{eventWithoutEffect}},
		"another amount":      {func(b *books) { captured1000(b); b.show(linepay.StatusCapture, "1001") }, []string{otherAmount}},
		"another amount held": {func(b *books) { held1000(b); b.show(linepay.StatusExpired, "999") }, []string{otherAmount}},
		"another currency": {func(b *books) {
			captured1000(b)
			b.show(linepay.StatusCapture, "1000")
			b.payments[0].Currency = "JPY"
		}, []string{otherAmount}},
		"another order": {func(b *books) {
			captured1000(b)
			b.show(linepay.StatusCapture, "1000")
			b.payments[0].OrderID = "ORDER-2"
		}, []string{otherOrder}},
		"an unknown status": {func(b *books) { captured1000(b); b.show("FROZEN", "1000") }, []string{otherStatus}},
		"a refund by hand": {func(b *books) {
			captured1000(b)
			b.show(linepay.StatusCapture, "1000", entryOf(refund1, "300"))
		}, []string{refundUnmatched}},
		"a refund that LINE Pay does not show": {func(b *books) {
			captured1000(b)
			b.tell(schemas.EventRefunded, linepay.Refund, "refund:1:a", "300", ofRefund(refund1))
			b.show(linepay.StatusCapture, "1000")
		}, []string{eventWithoutEffect}},
		"a refund of another amount": {func(b *books) {
			captured1000(b)
			b.tell(schemas.EventRefunded, linepay.Refund, "refund:1:a", "300", ofRefund(refund1))
			b.show(linepay.StatusCapture, "1000", entryOf(refund1, "301"))
		}, []string{otherAmount}},
		"two refunds changed over": {func(b *books) {
			captured1000(b)
			b.tell(schemas.EventRefunded, linepay.Refund, "refund:1:a", "300", ofRefund(refund1))
			b.show(linepay.StatusCapture, "1000", entryOf(refund2, "300"))
		}, []string{refundUnmatched, eventWithoutEffect}},
		"one operation, two events": {func(b *books) {
			captured1000(b)
			b.tell(schemas.EventCaptured, linepay.Confirm, confirmKey, "1000", func(d *schemas.EventData) { d.Command.ID = "other" })
			b.show(linepay.StatusCapture, "1000")
		}, []string{twoEvents}},
		"one payment, captured by two operations": {func(b *books) {
			held1000(b)
			b.tell(schemas.EventCaptured, linepay.Capture, "capture:1", "1000")
			b.tell(schemas.EventCaptured, linepay.Confirm, "confirm:2", "1000")
			b.show(linepay.StatusCapture, "1000")
		}, []string{twoEvents}},
		"one refund, told by two operations": {func(b *books) {
			captured1000(b)
			b.tell(schemas.EventRefunded, linepay.Refund, "refund:1:a", "300", ofRefund(refund1))
			b.tell(schemas.EventRefunded, linepay.Refund, "refund:1:b", "300", ofRefund(refund1))
			b.show(linepay.StatusCapture, "1000", entryOf(refund1, "300"))
		}, []string{twoEvents}},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			b := newBooks()
			row.books(b)
			if diff := cmp.Diff(append([]string{}, row.want...), kinds(b.compare())); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhatWasNotAskedIsNotCompared(t *testing.T) {
	t.Parallel()
	b := newBooks()
	b.looked = false
	captured1000(b)
	if got := b.compare(); len(got) > 0 {
		t.Errorf("findings %+v although LINE Pay was not asked", got)
	}
}

func TestWhatAWorkerIsAtIsNoDisagreement(t *testing.T) {
	t.Parallel()
	confirm := &schemas.ConfirmData{TransactionID: payment, OrderID: "ORDER-1", Amount: linepay.MustAmount("1000"), Currency: "TWD"}
	for name, row := range map[string]struct {
		books func(*books)
		want  string
	}{
		"a confirm waits": {func(b *books) { b.show(linepay.StatusCapture, "1000"); b.wait(linepay.Confirm, confirm) }, "(effect-without-event)"},
		"a confirm waits, and the hold was released": {func(b *books) {
			held1000(b)
			b.show(linepay.StatusVoided, "1000")
			b.wait(linepay.Confirm, confirm)
		}, "effect-without-event"},
		"a preapproved payment of the order waits": {func(b *books) {
			b.show(linepay.StatusCapture, "1000")
			b.wait(linepay.PreapprovedPay, &schemas.PreapprovedPayData{RegKey: "K", OrderID: "ORDER-1"})
		}, "(effect-without-event)"},
		"a refund waits": {func(b *books) {
			captured1000(b)
			b.show(linepay.StatusCapture, "1000", entryOf(refund1, "300"))
			b.wait(linepay.Refund, refundOf("300", "a"))
		}, "(refund-unmatched)"},
		"a refund of another payment waits": {func(b *books) {
			captured1000(b)
			b.show(linepay.StatusCapture, "1000", entryOf(refund1, "300"))
			other := refundOf("300", "a")
			other.TransactionID = 1
			b.wait(linepay.Refund, other)
		}, "refund-unmatched"},
		"a worker has the refund": {func(b *books) {
			captured1000(b)
			b.show(linepay.StatusCapture, "1000", entryOf(refund1, "300"))
			b.keep(idempotency.Record{Operation: "refund:1:a", Standing: idempotency.StandingClaimed, Lease: asked.Add(time.Second)})
		}, "(refund-unmatched)"},
		"a worker comes back to the refund": {func(b *books) {
			captured1000(b)
			b.show(linepay.StatusCapture, "1000", entryOf(refund1, "300"))
			b.keep(idempotency.Record{Operation: "refund:1:a", Standing: idempotency.StandingOpen, Retry: asked.Add(time.Second)})
		}, "(refund-unmatched)"},
		"a worker should have come back to the refund": {func(b *books) {
			captured1000(b)
			b.show(linepay.StatusCapture, "1000", entryOf(refund1, "300"))
			b.keep(idempotency.Record{Operation: "refund:1:a", Standing: idempotency.StandingOpen, Retry: asked.Add(-time.Second)})
		}, "refund-unmatched"},
		"the event is younger than the look": {func(b *books) {
			captured1000(b)
			b.events[0].event.Time = asked.Add(-time.Second)
		}, "(event-without-effect)"},
		"the refund is younger than the look": {func(b *books) {
			captured1000(b)
			e := b.tell(schemas.EventRefunded, linepay.Refund, "refund:1:a", "300", ofRefund(refund1))
			e.Time = asked.Add(-time.Second)
			b.show(linepay.StatusCapture, "1000")
		}, "(event-without-effect)"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			b := newBooks()
			row.books(b)
			if diff := cmp.Diff([]string{row.want}, kinds(b.compare())); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEventsThatWereDeletedAreNotMissed(t *testing.T) {
	t.Parallel()
	b := newBooks()
	b.kept = asked.Add(-10 * time.Minute)
	b.show(linepay.StatusCapture, "1000", entryOf(refund1, "300"))
	old := schemas.NewEvent(schemas.EventCaptured, asked.Add(-time.Hour), schemas.EventData{Channel: "tw", OrderID: "ORDER-1"})
	b.keep(idempotency.Record{
		Operation: confirmKey, Standing: idempotency.StandingDone,
		Outcome: outcomeOf(t, old),
	})
	if got := b.compare(); len(got) > 0 {
		t.Errorf("findings %+v about what is older than the oldest event that is kept", got)
	}
}

func TestCaptureOfAHoldWhoseEventIsKeptIsMissed(t *testing.T) {
	t.Parallel()
	for _, status := range []linepay.PayStatus{linepay.StatusCapture, linepay.StatusVoided} {
		b := newBooks()
		b.kept = asked // LINE Pay dates the payment by its confirm, before that
		held1000(b)
		b.show(status, "1000")
		if diff := cmp.Diff([]string{effectWithoutEvent}, kinds(b.compare())); diff != "" {
			t.Errorf("%s: findings (-want +got):\n%s", status, diff)
		}
	}
}

func TestComparisonWithTheGuard(t *testing.T) {
	t.Parallel()
	past, future := asked.Add(-time.Minute), asked.Add(time.Minute)
	key := idempotency.RefundKey(payment.String(), "a")
	record := func(standing idempotency.Standing, doubt bool) idempotency.Record {
		return idempotency.Record{Operation: key, Standing: standing, Doubt: doubt, Why: "outcome unknown", Lease: past, Retry: past}
	}
	for name, row := range map[string]struct {
		record idempotency.Record
		waits  bool
		want   []string
		says   string
	}{
		"only waited":                  {record: record(idempotency.StandingWaiting, false)},
		"refused":                      {record: record(idempotency.StandingRefused, false)},
		"not sent":                     {record: record(idempotency.StandingOpen, false)},
		"parked before it moved money": {record: record(idempotency.StandingParked, false)},
		"parked": {
			record: record(idempotency.StandingParked, true), want: []string{parkedUnknown}, says: "replay or resolve",
		},
		"parked and sent again": {
			record: record(idempotency.StandingParked, true), waits: true, want: []string{"(" + parkedUnknown + ")"},
		},
		"in doubt, its command waits":   {record: record(idempotency.StandingOpen, true), waits: true, want: []string{"(" + inDoubt + ")"}},
		"in doubt, its command is gone": {record: record(idempotency.StandingOpen, true), want: []string{inDoubt}, says: "no worker comes back"},
		"a worker is gone":              {record: record(idempotency.StandingClaimed, false), want: []string{inDoubt}, says: "no sign of life"},
		"a worker looks it up": {
			record: idempotency.Record{Operation: key, Standing: idempotency.StandingClaimed, Doubt: true, Why: "lease lapsed", Lease: future},
			want:   []string{"(" + inDoubt + ")"}, says: "lease lapsed",
		},
		"a worker calls": {record: idempotency.Record{Operation: key, Standing: idempotency.StandingClaimed, Lease: future}},
		"an outcome cannot be read": {
			record: idempotency.Record{Operation: key, Standing: idempotency.StandingDone, Outcome: []byte("{")}, want: []string{damagedRecord},
		},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			b := newBooks()
			b.keep(row.record)
			if row.waits {
				b.wait(linepay.Refund, refundOf("300", "a"))
			}
			got := b.compare()
			if diff := cmp.Diff(append([]string{}, row.want...), kinds(got)); diff != "" {
				t.Fatalf("findings (-want +got):\n%s", diff)
			}
			if len(got) > 0 && (!strings.Contains(got[0].Detail, row.says) || got[0].OperationKey != key || got[0].Transaction != payment) {
				t.Errorf("finding %+v, want one about %s that says %q", got[0], key, row.says)
			}
		})
	}
}

func TestDoneWithoutItsEventIsFound(t *testing.T) {
	t.Parallel()
	b := newBooks()
	captured1000(b)
	b.show(linepay.StatusCapture, "1000", entryOf(refund1, "300"))
	lost := newBooks().tell(schemas.EventRefunded, linepay.Refund, "refund:1:a", "300", ofRefund(refund1))
	b.keep(
		idempotency.Record{Operation: confirmKey, Standing: idempotency.StandingDone, Outcome: outcomeOf(t, b.events[0].event)},
		idempotency.Record{Operation: "refund:1:a", Standing: idempotency.StandingDone, Outcome: outcomeOf(t, lost)},
	)
	got := b.compare()
	if diff := cmp.Diff([]string{recordWithoutEvent, refundUnmatched}, kinds(got)); diff != "" {
		t.Fatalf("findings (-want +got):\n%s", diff)
	}
	if got[0].OperationKey != "refund:1:a" || !strings.Contains(got[0].Detail, lost.ID) {
		t.Errorf("finding %+v, want one that names event %s of refund:1:a", got[0], lost.ID)
	}
}

func TestDamagedRecordIsFound(t *testing.T) {
	t.Parallel()
	b := newBooks()
	b.keep()
	b.records[0].Damaged = []idempotency.Damage{{Operation: confirmKey, Err: errors.New("version 2")}}
	if got := b.compare(); len(got) != 1 || got[0].Kind != damagedRecord || got[0].OperationKey != confirmKey || got[0].Detail != "version 2" {
		t.Errorf("findings %+v, want the damaged record", got)
	}
}

func TestParkedIsOpenUntilItsFinalEvent(t *testing.T) {
	t.Parallel()
	key := idempotency.RefundKey(payment.String(), "a")
	unknown := func(d *schemas.EventData) { d.MoneyMoved = schemas.MoneyMovedUnknown }
	for name, row := range map[string]struct {
		books func(*books)
		want  []string
	}{
		"money may have moved": {func(*books) {}, []string{parkedUnknown, refundUnmatched}},
		"failed later":         {func(b *books) { b.tell(schemas.EventFailed, linepay.Refund, key, "0") }, []string{refundUnmatched}},
		"resolved as done":     {func(b *books) { b.tell(schemas.EventRefunded, linepay.Refund, key, "300", ofRefund(refund1)) }, nil},
		"parked again": {func(b *books) {
			b.tell(schemas.EventFailed, linepay.Refund, key, "0")
			b.tell(schemas.EventParked, linepay.Refund, key, "0", unknown)
		}, []string{parkedUnknown, refundUnmatched}},
		"known to the guard as well": {func(b *books) {
			b.keep(idempotency.Record{Operation: key, Standing: idempotency.StandingParked, Doubt: true})
		}, []string{parkedUnknown, refundUnmatched}},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			b := newBooks()
			captured1000(b)
			b.tell(schemas.EventParked, linepay.Refund, key, "0", unknown)
			b.show(linepay.StatusCapture, "1000", entryOf(refund1, "300"))
			row.books(b)
			got := b.compare()
			if diff := cmp.Diff(append([]string{}, row.want...), kinds(got)); diff != "" {
				t.Fatalf("findings (-want +got):\n%s", diff)
			}
			if len(got) == 2 && !strings.HasSuffix(got[1].Detail, "Or by "+key+", whose outcome is unknown") {
				t.Errorf("the refund's detail is %q, want that it may be %s", got[1].Detail, key)
			}
		})
	}
}
