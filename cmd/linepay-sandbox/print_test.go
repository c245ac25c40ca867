package main

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"linepay-worker/linepay"
)

func TestColourIsForTerminalsAlone(t *testing.T) {
	t.Parallel()
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if newPrinter(file).color || newPrinter(newScreen()).color {
		t.Error("what is no terminal gets colour")
	}
}

func TestTerminalGetsColourUnlessItIsRefused(t *testing.T) {
	// The null device is a character device, as a terminal is.
	terminal, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	for _, row := range []struct {
		noColor, term string
		want          bool
	}{{"", "xterm", true}, {"1", "xterm", false}, {"", "dumb", false}} {
		t.Setenv("NO_COLOR", row.noColor)
		t.Setenv("TERM", row.term)
		if got := newPrinter(terminal).color; got != row.want {
			t.Errorf("NO_COLOR=%s TERM=%s: colour %v, want %v", row.noColor, row.term, got, row.want)
		}
	}
}

func TestColourDoesNotMoveColumns(t *testing.T) {
	t.Parallel()
	rows := func(color bool) string {
		out := newScreen()
		p := &printer{w: out, color: color}
		p.row([]int{6, 4}, cell{"ab", red}, cell{"…", plain}, cell{"end", bold})
		p.row([]int{6, 4}, cell{}, cell{"longer than its column", green}, cell{"end", plain})
		return out.String()
	}
	const want = "  ab      …     end\n          longer than its column  end\n"
	if got := rows(false); got != want {
		t.Errorf("rows\n%swant\n%s", got, want)
	}
	colored := rows(true)
	for _, code := range []style{red, green, bold, "0"} {
		if !strings.Contains(colored, "\x1b["+string(code)+"m") {
			t.Errorf("no code %s in %q", code, colored)
		}
		colored = strings.ReplaceAll(colored, "\x1b["+string(code)+"m", "")
	}
	if colored != want {
		t.Errorf("without its codes the coloured text is\n%swant\n%s", colored, want)
	}
}

func TestMoneyHasTheDecimalsOfItsCurrency(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ amount, currency, want string }{
		{"1000", "TWD", "1000 TWD"},
		{"25.5", "USD", "25.50 USD"},
		{"25", "THB", "25.00 THB"},
		{"25.505", "USD", "25.505 USD"},
		{"7", "XXX", "7 XXX"},
	} {
		if got := money(linepay.MustAmount(row.amount), row.currency); got != row.want {
			t.Errorf("%s %s is written %q, want %q", row.amount, row.currency, got, row.want)
		}
	}
}

func TestTextOfOthersCannotSteerTheTerminal(t *testing.T) {
	t.Parallel()
	const hostile, harmless = "a\x1b[2Jb\u202ec", `a\x1b[2Jb\u202ec`
	out := newScreen()
	newPrinter(out).row([]int{20}, cell{hostile, plain}, cell{hostile, plain})
	verdict{disagreements: []string{hostile}}.print(newPrinter(out), time.Second)
	sandbox{stderr: out}.fail(disagreed, errors.New("first\nthen "+hostile))
	for _, want := range []string{
		"  " + pad(harmless, 20) + "  " + harmless + "\n", "  ✗ " + harmless + "\n", program + ": first\nthen " + harmless + "\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%q", want, out)
		}
	}
	if strings.ContainsAny(out.String(), "\x1b\u202e") {
		t.Errorf("the text steers the terminal:\n%q", out)
	}
}

func TestLongTextIsCut(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"ünï": "ünï", "abcdefghij": "abcdefghij", "äbcdefghijk": "äbcdefghij…", "": ""} {
		if got := clip(text, 10); got != want {
			t.Errorf("clip(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestCommandLinesSurviveAShell(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"a":"it's $HOME"}`: `'{"a":"it'\''s $HOME"}'`, "tea-1": "tea-1", "": "''", "-n": "-n", "a\nb": "'a\nb'",
	} {
		if got := shellQuote(text); got != want {
			t.Errorf("shellQuote gives %s, want %s", got, want)
		}
	}
}

func TestSurpriseIsADisagreement(t *testing.T) {
	t.Parallel()
	out := newScreen()
	s := &stage{}
	s.surprise("command %s was answered by %s, want %s", "x", "failed", "captured")
	v := verdict{disagreements: s.surprises}
	v.print(newPrinter(out), time.Second)
	if !strings.Contains(out.String(), "  ✗ command x was answered by failed, want captured\n") {
		t.Errorf("the surprise is not told:\n%s", out)
	}
}
