package schemas_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

func TestEventIDNeverChanges(t *testing.T) {
	t.Parallel()
	// Computed apart from this code. Consumers have these ids in their records: a change of the recipe would book every payment again.
	for want, got := range map[string]string{
		"47f226c3-9c5b-5ec3-9125-9c3f7df6c054": schemas.EventID("default", "confirm:2018082512345678910", "/checkout", "c-1", "linepay.event.captured.v1"),
		"036e8158-9d6d-51f0-8e01-02c1b54ade4b": schemas.EventID("default", "refund:7:R-1", "/checkout", "c-1", "linepay.event.parked.v1", "12"),
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if id, err := uuid.Parse(got); err != nil || id.Version() != 5 {
			t.Errorf("%s is not a UUIDv5", got)
		}
	}
}

func TestEventIDsDifferWhereAnyPartDiffers(t *testing.T) {
	t.Parallel()
	ids := map[string]bool{}
	lists := [][]string{
		{"a", "b", "c", "d", "e"},
		{"ab", "", "c", "d", "e"},
		{"a", "bc", "", "d", "e"},
		{"a", "b", "cd", "", "e"},
		{"a", "b", "c", "de", ""},
		{"a", "b", "c", "d", "e", ""},
		{"a", "b", "c", "d", "e", "f"},
		{"a", "b", "c", "d", "e", "f", "g"},
		{"a", "b", "c", "d", "e", "fg"},
		{"a", "b", "c", "d", "ef"},
	}
	for _, l := range lists {
		ids[schemas.EventID(l[0], l[1], l[2], l[3], l[4], l[5:]...)] = true
	}
	if len(ids) != len(lists) {
		t.Errorf("%d ids for %d outcomes", len(ids), len(lists))
	}
}

func TestNewEventNamesItselfByTheOperationKeyAndNotByTheTime(t *testing.T) {
	t.Parallel()
	data := schemas.EventData{
		Channel: "tw", Operation: linepay.Refund, Command: schemas.CommandRef{Source: "/s", ID: "1"}, OrderID: "A", OperationKey: "refund:7:R-1",
	}
	e := schemas.NewEvent(schemas.EventRefunded, time.Unix(5, 0), data)
	want := &schemas.Event{
		ID: schemas.EventID("tw", "refund:7:R-1", "/s", "1", "linepay.event.refunded.v1"), Source: "/linepay-worker/tw",
		Type: "linepay.event.refunded.v1", Subject: "A", Time: time.Unix(5, 0).UTC(), Data: data,
	}
	if diff := cmp.Diff(want, e); diff != "" {
		t.Error(diff)
	}
	if later := schemas.NewEvent(schemas.EventRefunded, time.Unix(6, 0), data); later.ID != e.ID {
		t.Error("the id depends on the time")
	}
	if replayed := schemas.NewEvent(schemas.EventRefunded, time.Unix(5, 0), data, "12"); replayed.ID == e.ID {
		t.Error("the id does not depend on the replay")
	}
	data.OperationKey = ""
	if e := schemas.NewEvent(schemas.EventStatus, time.Unix(5, 0), data); e.ID != schemas.EventID("tw", "refund", "/s", "1", "linepay.event.status.v1") {
		t.Error("without a key the operation names the event")
	}
}

func TestLedgerBooksFourEvents(t *testing.T) {
	t.Parallel()
	var booked []string
	for _, name := range schemas.EventNames() {
		if schemas.IsMoneyEvent(name) {
			booked = append(booked, name)
		}
	}
	if diff := cmp.Diff([]string{"authorized", "captured", "voided", "refunded"}, booked); diff != "" {
		t.Error(diff)
	}
	if len(schemas.EventNames()) != 12 || schemas.IsMoneyEvent("") {
		t.Errorf("%v", schemas.EventNames())
	}
}

func TestEveryEventFitsItsSchemaAndComesBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom(schemas.EventNames()).Draw(t, "event")
		e := schemas.NewEvent(name, time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "second"), 0), drawData(t, name))
		if rapid.Bool().Draw(t, "traced") {
			e.TraceParent = trace
		}
		if e.Name() != name {
			t.Fatalf("Name is %q, want %q", e.Name(), name)
		}
		body, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if err := validate(t, "event."+name, body); err != nil {
			t.Fatalf("%v\n%s", err, body)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		smallNumbers(t, doc)
		back, err := schemas.DecodeEvent(body)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(e, back); diff != "" {
			t.Fatal(diff)
		}
		once, err := back.Encode()
		if err != nil || !bytes.Equal(body, once) {
			t.Fatalf("the same event gives other bytes:\n%s\n%s", body, once)
		}
	})
}

// smallNumbers holds that no number in a document is beyond what every JSON reader keeps.
func smallNumbers(t *rapid.T, doc any) {
	switch v := doc.(type) {
	case json.Number:
		if n, err := v.Int64(); err != nil || n > 1<<53 || n < -1<<53 {
			t.Fatalf("an event carries the number %s", v)
		}
	case []any:
		for _, element := range v {
			smallNumbers(t, element)
		}
	case map[string]any:
		for _, member := range v {
			smallNumbers(t, member)
		}
	}
}

func drawData(t *rapid.T, name string) schemas.EventData {
	text := func(label string) string { return rapid.StringN(0, 20, -1).Draw(t, label) }
	id := func(label string) linepay.TransactionID {
		return linepay.TransactionID(rapid.Int64Range(1, 1<<63-1).Draw(t, label))
	}
	amount := func(label string) linepay.Amount {
		return linepay.MustAmount(rapid.StringMatching(`[1-9][0-9]{0,17}(\.[0-9]{1,2})?`).Draw(t, label))
	}
	d := schemas.EventData{
		Channel:      rapid.StringMatching(`[a-z0-9_-]{1,32}`).Draw(t, "channel"),
		Operation:    rapid.SampledFrom(linepay.Operations()).Draw(t, "operation"),
		Command:      schemas.CommandRef{Source: text("source"), ID: text("id")},
		ReturnCode:   text("code"),
		SettledBy:    rapid.SampledFrom([]string{"", "response", "lookup", "operator"}).Draw(t, "settled by"),
		Calls:        rapid.IntRange(0, 1000).Draw(t, "calls"),
		OperationKey: text("key"),
		Fingerprint:  text("fingerprint"),
		Reason:       text("reason"),
	}
	if schemas.IsMoneyEvent(name) || rapid.Bool().Draw(t, "of a payment") {
		d.OrderID, d.TransactionID, d.Amount, d.Currency = "o"+text("order"), id("transaction"), amount("amount"), "THB"
	}
	payInfo := []linepay.PayInfo{{Method: text("method"), Amount: amount("share"), CreditCardBrand: text("brand")}, {Method: "POINT"}}
	switch name {
	case schemas.EventRequested:
		d.PaymentURL, d.PaymentAccessToken = linepay.PaymentURL{Web: "https://" + text("web"), App: text("app")}, text("token")
		d.PayType = rapid.SampledFrom([]string{"", "PREAPPROVED"}).Draw(t, "payType")
	case schemas.EventStatus:
		d.Status = rapid.SampledFrom([]linepay.Status{
			linepay.Waiting, linepay.Authenticated, linepay.Cancelled, linepay.Failed, linepay.Completed,
		}).Draw(t, "status")
	case schemas.EventAuthorized, schemas.EventCaptured:
		d.PayInfo, d.AuthorizationExpireDate = payInfo, text("until")
	case schemas.EventRefunded:
		d.RefundTransactionID, d.RefundAmount, d.RefundTransactionDate = id("refund"), amount("refunded"), text("date")
	case schemas.EventDetails:
		d.Payments = []linepay.Payment{{
			TransactionID: id("payment"), OrderID: text("payment's order"), PayInfo: payInfo, PayStatus: linepay.StatusCapture,
			RefundList: []linepay.RefundEntry{{RefundTransactionID: id("entry"), RefundAmount: amount("entry's").Neg()}},
			Packages:   []linepay.PaymentPackage{{ID: "1", Amount: amount("package")}},
		}}
	case schemas.EventPreapproval:
		usable := rapid.Bool().Draw(t, "usable")
		d.Usable, d.RegKey, d.RegKeyLost = &usable, text("regKey"), rapid.Bool().Draw(t, "lost")
	case schemas.EventFailed:
		d.Reason = "refused " + d.Reason
	case schemas.EventRejected:
		d.Reason = rapid.SampledFrom([]string{"invalid", "conflict", "expired"}).Draw(t, "rejected")
		d.Errors = []schemas.FieldError{{Path: text("path"), Message: text("message")}}
	case schemas.EventDuplicate:
		d.Of = &schemas.DuplicateOf{Command: schemas.CommandRef{Source: text("other"), ID: text("other id")}, EventID: text("event")}
	case schemas.EventParked:
		d.Reason = rapid.SampledFrom(schemas.DeadLetterReasons()).Draw(t, "parked")
		d.MoneyMoved = rapid.SampledFrom([]string{schemas.MoneyMovedNo, schemas.MoneyMovedUnknown}).Draw(t, "moved")
	}
	return d
}

func TestUsableFalseIsWritten(t *testing.T) {
	t.Parallel()
	no := false
	body, err := schemas.NewEvent(schemas.EventPreapproval, time.Unix(1, 0), schemas.EventData{Channel: "a", Usable: &no}).Encode()
	if err != nil || !bytes.Contains(body, []byte(`"usable":false`)) {
		t.Errorf("%s %v", body, err)
	}
}

func TestEventIsReadThoughALaterVersionAddedMembers(t *testing.T) {
	t.Parallel()
	e := schemas.NewEvent(schemas.EventVoided, time.Unix(1, 0), schemas.EventData{Channel: "a", OrderID: "A"})
	body, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	body = bytes.Replace(body, []byte(`"data":{`), []byte(`"tenant":{"x":1},"data":{"new":[1],`), 1)
	back, err := schemas.DecodeEvent(body)
	if diff := cmp.Diff(e, back); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

func TestBodyThatIsNoEventIsRefusedWithTheReason(t *testing.T) {
	t.Parallel()
	e := schemas.NewEvent(schemas.EventVoided, time.Unix(1, 0), schemas.EventData{Channel: "a", OrderID: "A"})
	good, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for want, body := range map[string]string{
		"unexpected EOF":                        "",
		"duplicate object member name":          strings.Replace(string(good), "{", `{"id":"x",`, 1),
		"specversion is \"0.3\"":                strings.Replace(string(good), `"1.0"`, `"0.3"`, 1),
		"id is missing":                         strings.Replace(string(good), e.ID, "", 1),
		"type is \"linepay.event.stolen.v1\"":   strings.Replace(string(good), "voided", "stolen", 1),
		"type is \"linepay.event.voided.v2\"":   strings.Replace(string(good), "voided.v1", "voided.v2", 1),
		"source \"/linepay-worker/b\" is not":   strings.Replace(string(good), "worker/a", "worker/b", 1),
		"subject is not the data's orderId":     strings.Replace(string(good), `"subject":"A"`, `"subject":"B"`, 1),
		"string of digits or an integer from 1": strings.Replace(string(good), `"orderId"`, `"transactionId":"x","orderId"`, 1),
	} {
		_, err := schemas.DecodeEvent([]byte(body))
		if !errors.Is(err, schemas.ErrEvent) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", body, err, want)
		}
	}
}
