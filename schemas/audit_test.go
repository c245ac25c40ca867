package schemas_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"linepay-worker/schemas"
)

func TestAuditEntriesAreThoseOfTheSchemaAndComeBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		// Any bytes: operators' names come from their machine, channels and ids from whoever publishes.
		text := func(label string) string { return string(rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, label)) }
		a := schemas.NewAudit(time.Unix(rapid.Int64Range(1, 4e9).Draw(t, "second"), 7), schemas.AuditData{
			Action:   rapid.SampledFrom(schemas.AuditActions()).Draw(t, "action"),
			Operator: "o" + text("operator"), Host: "h" + text("host"), Channel: "c" + text("channel"), Reason: text("reason"),
			Outcome: text("outcome"), Evidence: text("evidence"), DeadLetter: uint64(rapid.Int64Range(0, 1<<53).Draw(t, "number")),
			ReasonParked: text("reason parked"), Command: schemas.CommandRef{Source: text("source"), ID: text("id")},
			Operation: text("operation"), OperationKey: text("key"), OrderID: text("order"),
			TransactionID: rapid.StringMatching(`([1-9][0-9]{18})?`).Draw(t, "transaction"),
		})
		body, err := a.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if err := validate(t, "audit", body); err != nil {
			t.Fatalf("schema: %v\n%s", err, body)
		}
		back, err := schemas.DecodeAudit(body)
		if diff := cmp.Diff(a, back); err != nil || diff != "" {
			t.Fatal(err, diff)
		}
	})
}

func TestTwoAuditEntriesNeverShareAnID(t *testing.T) {
	t.Parallel()
	data := schemas.AuditData{Action: schemas.ActionPause, Operator: "o", Host: "h", Channel: "tw"}
	first, second := schemas.NewAudit(time.Unix(1, 0), data), schemas.NewAudit(time.Unix(1, 0), data)
	if first.ID == second.ID || first.Subject() != "linepay.audit.tw.pause" {
		t.Errorf("ids %s and %s on %s", first.ID, second.ID, first.Subject())
	}
}

func TestBodyThatIsNoAuditEntryIsRefusedWithTheReason(t *testing.T) {
	t.Parallel()
	a := schemas.NewAudit(time.Unix(1, 0), schemas.AuditData{Action: schemas.ActionDrop, Operator: "night-shift", Host: "ops-1", Channel: "tw"})
	good, err := a.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string][2]string{
		`specversion is "0.3"`: {`"1.0"`, `"0.3"`},
		"id is missing":        {a.ID, ""},
		`source is "/shop"`:    {"/linepayctl", "/shop"},
		`action "steal"`:       {`"action":"drop"`, `"action":"steal"`},
		"type is":              {"audit.drop.v1", "audit.replay.v1"},
		"subject is not":       {"audit.tw.drop", "audit.jp.drop"},
		"time is missing":      {"1970-01-01T00:00:01Z", "0001-01-01T00:00:00Z"},
		"operator is missing":  {"night-shift", ""},
		"host is missing":      {"ops-1", ""},
		"channel is missing":   {`"channel":"tw"`, `"channel":""`},
		"invalid character":    {`{"specversion"`, `{specversion`},
	} {
		body := strings.Replace(string(good), change[0], change[1], 1)
		if want == "channel is missing" {
			body = strings.Replace(body, "linepay.audit.tw.", "linepay.audit.%.", 1)
		}
		if _, err := schemas.DecodeAudit([]byte(body)); !errors.Is(err, schemas.ErrAudit) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", body, err, want)
		}
	}
	a.Data.Operator = ""
	if _, err := a.Encode(); !errors.Is(err, schemas.ErrAudit) {
		t.Errorf("an entry without an operator is written: %v", err)
	}
}

// What the schema accepts, the rules accept, but that they also look at how type and subject agree with the data.
func TestWhatTheSchemaOfAuditEntriesAcceptsTheRulesAccept(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		body, err := schemas.NewAudit(time.Unix(1, 0), schemas.AuditData{
			Action: schemas.ActionReplay, Operator: "o", Host: "h", Channel: "tw", DeadLetter: 7, Reason: "r", OrderID: "O",
			Command: schemas.CommandRef{Source: "/shop", ID: "1"},
		}).Encode()
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if body, err = json.Marshal(mutate(t, doc)); err != nil {
			t.Fatal(err)
		}
		_, byRules := schemas.DecodeAudit(body)
		disagrees := byRules != nil && (strings.Contains(byRules.Error(), "type is") || strings.Contains(byRules.Error(), "subject is not"))
		if bySchema := validate(t, "audit", body); bySchema == nil && byRules != nil && !disagrees {
			t.Fatalf("%s\nthe schema accepts it, the rules say: %v", body, byRules)
		}
	})
}
