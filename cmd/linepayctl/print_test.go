package main

import (
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
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
