package schemas_test

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"linepay-worker/schemas"
)

func TestDeadLetterHeadersAreThoseOfTheContract(t *testing.T) {
	t.Parallel()
	d := schemas.DeadLetter{
		Reason: schemas.ReasonUnresolved, Detail: "two refunds of 300 TWD\r\nfit", Code: "1199", Subject: "linepay.commands.default.refund",
		Sequence: 1<<64 - 1, Deliveries: 3, At: time.Date(2026, 1, 31, 20, 0, 0, 5, time.FixedZone("", 8*3600)),
	}
	want := map[string][]string{
		"Dead-Letter-Reason": {"unresolved"}, "Dead-Letter-Detail": {"two refunds of 300 TWD%0D%0Afit"}, "Dead-Letter-Code": {"1199"},
		"Dead-Letter-Subject": {"linepay.commands.default.refund"}, "Dead-Letter-Sequence": {"18446744073709551615"},
		"Dead-Letter-Deliveries": {"3"}, "Dead-Letter-At": {"2026-01-31T12:00:00.000000005Z"},
	}
	if diff := cmp.Diff(want, d.Headers()); diff != "" {
		t.Error(diff)
	}
	d.Code = ""
	if _, there := d.Headers()["Dead-Letter-Code"]; there {
		t.Error("a dead letter without a code has the header of one")
	}
}

func TestDeadLetterComesBackFromItsHeaders(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := schemas.DeadLetter{
			Reason:     rapid.SampledFrom(schemas.DeadLetterReasons()).Draw(t, "reason"),
			Detail:     rapid.StringN(0, -1, 160).Draw(t, "detail"),
			Code:       rapid.StringMatching(`[0-9]{0,4}`).Draw(t, "code"),
			Subject:    string(rapid.SliceOfN(rapid.Byte(), 1, 1000).Draw(t, "subject")),
			Sequence:   rapid.Uint64().Draw(t, "sequence"),
			Deliveries: rapid.Uint64().Draw(t, "deliveries"),
			At:         time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "second"), rapid.Int64Range(0, 999999999).Draw(t, "nanosecond")).UTC(),
		}
		headers := d.Headers()
		for name, values := range headers {
			for _, c := range []byte(values[0]) {
				if c < ' ' || c > '~' {
					t.Fatalf("%s: %q", name, values[0])
				}
			}
			if strings.TrimSpace(values[0]) != values[0] {
				t.Fatalf("%s begins or ends with a blank that a server would trim: %q", name, values[0])
			}
		}
		headers["Nats-Msg-Id"] = []string{"7"}
		back, err := schemas.ParseDeadLetter(headers)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(d, back); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestLongDetailIsCutAndTheSubjectIsNot(t *testing.T) {
	t.Parallel()
	subject := "linepay.commands.default." + strings.Repeat("x", 2000)
	for _, unit := range []string{"a", "注", "%", "é1", " "} {
		for shift := range 5 {
			d := schemas.DeadLetter{Reason: schemas.ReasonInvalid, Subject: subject, Detail: strings.Repeat("-", shift) + strings.Repeat(unit, 600)}
			headers := d.Headers()
			detail := headers[schemas.HeaderDeadLetterDetail][0]
			if len(detail) > 512 || len(detail) < 505 || !strings.HasSuffix(detail, "...") {
				t.Errorf("%q: %d bytes: %q", unit, len(detail), detail)
			}
			back, err := schemas.ParseDeadLetter(headers)
			if err != nil || back.Subject != subject || !utf8.ValidString(back.Detail) || !strings.HasPrefix(d.Detail, strings.TrimSuffix(back.Detail, "...")) {
				t.Errorf("%q: %v, %q", unit, err, back.Detail)
			}
		}
	}
}

func TestHeadersOfAnotherMessageAreNoDeadLetter(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct{ value, want string }{
		"Dead-Letter-Reason":     {"tired", "Dead-Letter-Reason: want one of invalid, exhausted, unresolved, poison"},
		"Dead-Letter-Subject":    {"", "Dead-Letter-Subject: want the command's subject"},
		"Dead-Letter-Sequence":   {"-1", "Dead-Letter-Sequence: want a whole number"},
		"Dead-Letter-Deliveries": {"", "Dead-Letter-Deliveries: want a whole number"},
		"Dead-Letter-At":         {"now", "Dead-Letter-At: want a time of RFC 3339"},
		"Dead-Letter-Detail":     {"100%", "Dead-Letter-Detail: want %XX behind every %"},
	} {
		headers := schemas.DeadLetter{Reason: schemas.ReasonPoison, Subject: "s"}.Headers()
		headers[name] = []string{row.value}
		if _, err := schemas.ParseDeadLetter(headers); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", name, err, row.want)
		}
	}
	if _, err := schemas.ParseDeadLetter(nil); err == nil {
		t.Error("no headers at all are a dead letter")
	}
}
