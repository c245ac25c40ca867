package main

import (
	"strings"
	"testing"
)

const (
	passing = `{"Action":"run","Package":"a","Test":"TestOne"}
{"Action":"output","Package":"a","Test":"TestOne","Output":"noise\n"}
{"Action":"pass","Package":"a","Test":"TestOne"}
{"Action":"output","Package":"a","Output":"PASS\n"}
{"Action":"output","Package":"a","Output":"ok  \ta\t0.1s\n"}
{"Action":"pass","Package":"a"}
`
	failing = `{"Action":"output","Package":"b","Test":"TestTwo","Output":"two is wrong\n"}
{"Action":"fail","Package":"b","Test":"TestTwo"}
{"Action":"output","Package":"b","Output":"FAIL\tb\t0.1s\n"}
{"Action":"fail","Package":"b"}
`
	crashing = `{"Action":"output","Package":"c","Test":"TestThree","Output":"panic: three\n"}
{"Action":"fail","Package":"c"}
`
	unbuilt = `{"ImportPath":"d [d.test]","Action":"build-output","Output":"d.go:1: syntax error\n"}
{"ImportPath":"d [d.test]","Action":"build-fail"}
{"Action":"output","Package":"d","Output":"FAIL\td [build failed]\n"}
{"Action":"fail","Package":"d","FailedBuild":"d [d.test]"}
`
	skipping = `{"Action":"skip","Package":"e","Test":"TestFive"}
{"Action":"pass","Package":"e"}
`
)

func TestOnlyARunWithoutFaultsIsGreen(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		output  string
		atLeast int
		green   bool
		want    []string
	}{
		"passing":       {passing, 1, true, []string{"ok  \ta\t0.1s\n", "1 packages, 1 tests passed, 0 failed, 0 skipped\n"}},
		"nothing ran":   {"", 1, false, []string{"only 0 tests passed", "0 packages, 0 tests passed"}},
		"too few":       {passing, 2, false, []string{"only 1 tests passed, fewer than the 2"}},
		"failing":       {passing + failing, 1, false, []string{"two is wrong", "FAIL\tb", "1 tests failed", "2 packages, 1 tests passed, 1 failed"}},
		"crashing":      {passing + crashing, 1, false, []string{"panic: three", "1 packages failed", "1 failed"}},
		"not built":     {passing + unbuilt, 1, false, []string{"d.go:1: syntax error", "1 packages failed"}},
		"skipping":      {passing + skipping, 1, false, []string{"skipped: e TestFive", "1 skipped"}},
		"not from JSON": {"go: no such module\n" + passing, 1, true, []string{"go: no such module\n"}},
	} {
		var shown strings.Builder
		s := newSummary(&shown)
		s.read(strings.NewReader(row.output))
		if green := s.finish(row.atLeast); green != row.green {
			t.Errorf("%s: green %t, want %t\n%s", name, green, row.green, shown.String())
		}
		for _, want := range row.want {
			if !strings.Contains(shown.String(), want) {
				t.Errorf("%s: %q is not in:\n%s", name, want, shown.String())
			}
		}
		if strings.Contains(shown.String(), "noise") {
			t.Errorf("%s: shows the output of a test that passed:\n%s", name, shown.String())
		}
	}
}

func TestFailureOfGoTestItselfIsNotGreen(t *testing.T) {
	t.Parallel()
	var shown strings.Builder
	s := newSummary(&shown)
	s.read(strings.NewReader(passing))
	s.problem("go test: exit status 2")
	if s.finish(1) || !strings.Contains(shown.String(), "FAIL: go test: exit status 2") {
		t.Errorf("green, or without the reason:\n%s", shown.String())
	}
}
