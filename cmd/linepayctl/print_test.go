package main

import (
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

func TestTextFromTheBusIsEscaped(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"ORDER 1 é 訂單": "ORDER 1 é 訂單",
		`back\slash`:   `back\\slash`,
		"\x1b[2J":      `\x1b[2J`,
		"\u009b2J":     `\u009b2J`,
		"a\nb\tc":      `a\nb\tc`,
		"\u202eexe":    `\u202eexe`,
		"bad\xffbyte":  `bad\xffbyte`,
		"\ufffd":       "\ufffd",
		"no\u00a0line": `no\u00a0line`,
	} {
		if got := printable(text); got != want {
			t.Errorf("printable(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestRemarksAreInPlainWords(t *testing.T) {
	t.Parallel()
	type data = schemas.EventData
	for want, e := range map[string]struct {
		event string
		data  data
	}{
		"LINE Pay refused it, 1142":       {schemas.EventFailed, data{Reason: "LINE Pay refused it", ReturnCode: "1142", ReturnMessage: "-"}},
		"cancelled, 0121 The time is up":  {schemas.EventStatus, data{Status: "cancelled", ReturnCode: "0121", ReturnMessage: "The time is up."}},
		"0 payments":                      {schemas.EventDetails, data{}},
		"1 payment":                       {schemas.EventDetails, data{Payments: make([]linepay.Payment, 1)}},
		"2 payments":                      {schemas.EventDetails, data{Payments: make([]linepay.Payment, 2)}},
		"exhausted, money moved: unknown": {schemas.EventParked, data{Reason: "exhausted", MoneyMoved: "unknown"}},
	} {
		if got := strings.Join(remarks(schemas.NewEvent(e.event, time.Now(), e.data)), ", "); got != want {
			t.Errorf("remarks %q, want %q", got, want)
		}
	}
}

func FuzzEscapedTextIsHarmlessAndExact(f *testing.F) {
	for _, seed := range []string{"", "ORDER-1", `\x1b`, "\x1b[0m", "\xff\\", "\u2028\u202e"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := printable(text)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }) {
			t.Fatalf("printable(%q) = %q holds what a terminal would act on", text, got)
		}
		back, err := strconv.Unquote(`"` + strings.ReplaceAll(got, `"`, `\"`) + `"`)
		if err != nil || back != text {
			t.Fatalf("printable(%q) = %q, which reads back as %q (error %v)", text, got, back, err)
		}
	})
}
