package schemas_test

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

func TestOrderBecomesOneTokenOfTheSubject(t *testing.T) {
	t.Parallel()
	for order, token := range map[string]string{
		"":              "_",
		"_":             "%5F",
		"__":            "__",
		"ORDER-1_a":     "ORDER-1_a",
		"a.b":           "a%2Eb",
		"*":             "%2A",
		">":             "%3E",
		"a b\tc":        "a%20b%09c",
		"100%":          "100%25",
		"%5F":           "%255F",
		"注":             "%E6%B3%A8",
		"\xff\x00":      "%FF%00",
		"2026/01/31~é+": "2026%2F01%2F31%7E%C3%A9%2B",
	} {
		if got := schemas.OrderToken(order); got != token {
			t.Errorf("OrderToken(%q) = %q, want %q", order, got, token)
		}
		if got, err := schemas.OrderFromToken(token); err != nil || got != order {
			t.Errorf("OrderFromToken(%q) = %q, %v, want %q", token, got, err, order)
		}
	}
}

func TestTokenThatNoOrderHasIsRefused(t *testing.T) {
	t.Parallel()
	for _, token := range []string{"", "%", "%5", "%5f", "%zz", "a.b", "a b", "%41", "注", "a*"} {
		if got, err := schemas.OrderFromToken(token); err == nil || !strings.Contains(err.Error(), "is not an order's token") {
			t.Errorf("OrderFromToken(%q) = %q, %v", token, got, err)
		}
	}
}

func TestAnyOrderComesBackFromItsSubject(t *testing.T) {
	t.Parallel()
	safe := regexp.MustCompile(`^linepay\.events\.default\.captured\.[A-Za-z0-9_%-]+$`)
	rapid.Check(t, func(t *rapid.T) {
		order := string(rapid.SliceOf(rapid.Byte()).Draw(t, "order"))
		subject := schemas.EventSubject("default", schemas.EventCaptured, order)
		if !safe.MatchString(subject) {
			t.Fatalf("%q", subject)
		}
		channel, event, back, err := schemas.ParseEventSubject(subject)
		if err != nil || channel != "default" || event != schemas.EventCaptured || back != order {
			t.Fatalf("%q: %q %q %q %v", subject, channel, event, back, err)
		}
	})
}

func TestSubjects(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		schemas.CommandSubject("tw-1", linepay.PreapprovedPay): "linepay.commands.tw-1.preapproved-pay",
		schemas.EventSubject("tw-1", "details", ""):            "linepay.events.tw-1.details._",
		schemas.OrderEventsFilter("tw-1", "A.1"):               "linepay.events.tw-1.*.A%2E1",
		schemas.EventsFilter("tw-1", "captured"):               "linepay.events.tw-1.captured.*",
		schemas.DeadLetterSubject("tw-1", "refund"):            "linepay.deadletters.tw-1.refund",
		schemas.DeadLetterSubject("_", "pay me"):               "linepay.deadletters._.pay%20me",
		schemas.DeadLetterSubject("Shop", ""):                  "linepay.deadletters.Shop.%",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	for _, op := range linepay.Operations() {
		channel, back, err := schemas.ParseCommandSubject(schemas.CommandSubject("tw_1", op))
		if err != nil || channel != "tw_1" || back != op {
			t.Errorf("%s: %q %q %v", op, channel, back, err)
		}
	}
}

func TestSubjectsThatCannotBeAreRefusedWithTheReason(t *testing.T) {
	t.Parallel()
	for subject, want := range map[string]string{
		"":                                   "is not linepay.commands.<channel>.<operation>",
		"linepay.commands.a":                 "is not linepay.commands.<channel>.<operation>",
		"linepay.command.a.confirm":          "is not linepay.commands.<channel>.<operation>",
		"linepay.commands..confirm":          "use 1 to 32 of a-z",
		"linepay.commands.A.confirm":         "use 1 to 32 of a-z",
		"linepay.commands.a.Confirm":         `there is no operation "Confirm"`,
		"linepay.commands.a.confirm.b":       `there is no operation "confirm.b"`,
		"linepay.commands.a.":                `there is no operation ""`,
		"linepay.commands.a.confirm\n":       "there is no operation",
		"linepay.commands." + long + ".void": "use 1 to 32 of a-z",
	} {
		if _, _, err := schemas.ParseCommandSubject(subject); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", subject, err, want)
		}
	}
	for subject, want := range map[string]string{
		"linepay.events.a.captured":     "is not linepay.events.<channel>.<event>.<order>",
		"linepay.events.a.captured.b.c": "is not linepay.events.<channel>.<event>.<order>",
		"linepay.events.A.captured.b":   "use 1 to 32 of a-z",
		"linepay.events.a.*.b":          "is not the name of an event",
		"linepay.events.a.captured.%5f": "is not an order's token",
	} {
		if _, _, _, err := schemas.ParseEventSubject(subject); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", subject, err, want)
		}
	}
}

var long = strings.Repeat("a", 33)
