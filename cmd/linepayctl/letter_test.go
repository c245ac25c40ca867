package main

import (
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"pgregory.net/rapid"
)

func TestKeysAreMaskedWhereverTheyStand(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"regKey":"RK1","a":[{"REG_KEY":{"x":"RK1"}},"regKey"]}`: `{"regKey":"****","a":[{"REG_KEY":"****"},"regKey"]}`,
		`{"reg\u004bey":"RK1","regKey":["RK1"]}`:                  `{"regKey":"****","regKey":"****"}`,
		`{"data_base64":"UksxUksx"}`:                              `{"data_base64":"****"}`,
		`{"regKey" : "RK1", "broken`:                              `{"regKey" : "****", "broken`,
		`{'regKey': RK1}`:                                         `{'regKey': "****"}`,
		`{"regKey": 'RK1', x`:                                     `{"regKey": "****", x`,
		`{"a":"{\"regKey\":\"RK1\"}"}`:                            `{"a":"{\"regKey\":\"****\"}"}`,
		`broken {"a":"{\"regKey\":\"RK1\"}"}`:                     `broken {"a":"{\"regKey\":"****"}"}`,
		`regKey=RK1&x`:                                            `regKey="****"`,
		`"RK1"`:                                                   `"RK1"`,
		``:                                                        ``,
		`{} {"regKey":"RK1"}`:                                     "{}\n" + `{"regKey":"****"}`,
	} {
		if got := string(masked([]byte(body))); got != want {
			t.Errorf("%s becomes %s, want %s", body, got, want)
		}
	}
}

func TestMaskedBodyNeverHoldsAKeyThatJSONHolds(t *testing.T) {
	t.Parallel()
	const secret = "RK0SECRET"
	var value func(*rapid.T, int) any
	value = func(t *rapid.T, depth int) any {
		switch kind := rapid.IntRange(0, 4).Draw(t, "kind"); {
		case depth > 4 || kind == 0:
			return rapid.StringMatching(`[a-z"\\{}:,]{0,6}`).Draw(t, "text")
		case kind == 1:
			return []any{value(t, depth+1), value(t, depth+1)}
		case kind == 2:
			return map[string]any{rapid.SampledFrom([]string{"regKey", "REGKEY", "reg_key", "reg-key"}).Draw(t, "name"): []any{secret, map[string]any{"x": secret}}}
		default:
			return map[string]any{"a": value(t, depth+1), `b"`: value(t, depth+1)}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		body, err := json.Marshal(value(t, 0))
		if err != nil {
			t.Fatal(err)
		}
		if got := string(masked(body)); strings.Contains(got, secret) {
			t.Fatalf("%s becomes %s", body, got)
		}
	})
}

func TestDocumentsArePrintableAndSayTheSame(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.String().Draw(t, "text")
		var out strings.Builder
		if err := document(&out, map[string]string{"x": want}); err != nil {
			t.Fatal(err)
		}
		line, ended := strings.CutSuffix(out.String(), "\n")
		if printed := printable(line); !ended || strings.ReplaceAll(printed, `\\`, `\`) != line {
			t.Fatalf("%q holds what does not print", line)
		}
		var back map[string]string
		if err := json.Unmarshal([]byte(line), &back); err != nil || back["x"] != want {
			t.Fatalf("%q comes back as %q, %v", want, back["x"], err)
		}
	})
}

func TestCellsAreNoFormulas(t *testing.T) {
	t.Parallel()
	for cell, want := range map[string]string{
		"=1+1": "'=1+1", "+1": "'+1", "-1": "'-1", "@SUM": "'@SUM", "\t=1": `'\t=1`, "\r=1": `'\r=1`, "\n=1": `'\n=1`,
		"a=1": "a=1", "": "", "1": "1", "\x1b[2J": `\x1b[2J`, "a;=1": "a;'=1", "a; @b;c": "a;' @b;c", " =1": "' =1", "＝1": "'＝1", "1;-1": "1;'-1",
	} {
		if got := harmless(cell); got != want {
			t.Errorf("%q becomes %q, want %q", cell, got, want)
		}
	}
}

func TestLinesAreCutToATerminalAlone(t *testing.T) {
	t.Parallel()
	for columns, want := range map[int]string{0: "aäb", 3: "aäb", 2: "a…"} {
		if got := clipped("aäb", columns); got != want {
			t.Errorf("to %d columns it is %q, want %q", columns, got, want)
		}
	}
	if got := width(&strings.Builder{}); got != 0 {
		t.Errorf("what is no file has %d columns", got)
	}
}

func TestAgesHaveTwoUnitsAtMost(t *testing.T) {
	t.Parallel()
	for since, want := range map[time.Duration]string{
		50 * time.Hour: "2d2h", 3*time.Hour + 20*time.Minute + time.Second: "3h20m", 90 * time.Second: "1m30s", -time.Hour: "0s",
	} {
		if got := age(time.Now().Add(-since)); got != want {
			t.Errorf("%s is %q, want %q", since, got, want)
		}
	}
}
