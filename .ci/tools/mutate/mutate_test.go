package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestExemptionsNameAMutantAndAReason(t *testing.T) {
	t.Parallel()
	read := func(text string) (exemptions, error) {
		path := filepath.Join(t.TempDir(), "exempt.txt")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return readExemptions(path)
	}
	got, err := read("# a note\n\na/a.go :: f :: if x is never true :: nothing else can happen\na/a.go :: g :: case 1 is gone :: as above\n")
	want := exemptions{"a/a.go :: f :: if x is never true": "nothing else can happen", "a/a.go :: g :: case 1 is gone": "as above"}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("exemptions are %v, %v", got, err)
	}
	known := &mutant{file: "a/a.go", function: "g", change: "case 1 is gone"}
	if stale := got.stale([]*mutant{known}); !slices.Equal(stale, []string{"a/a.go :: f :: if x is never true"}) {
		t.Errorf("stale are %v", stale)
	}
	for text, part := range map[string]string{
		"a/a.go :: f :: if x is never true":        "not of the form",
		"a/a.go :: f :: if x is never true ::":     "not of the form",
		"a :: b :: c :: d\na :: b :: c :: another": "twice: a :: b :: c",
	} {
		if _, err := read(text); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q: error is %v, want one that says %q", text, err, part)
		}
	}
}

func TestChangedLinesAreThoseOfTheNewSide(t *testing.T) {
	t.Parallel()
	got, err := parseDiff(`diff --git a/consumer/run.go b/consumer/run.go
--- a/consumer/run.go
+++ b/consumer/run.go
@@ -10 +10,2 @@ func a() {
-old
+new
+newer
@@ -20,2 +21,0 @@ func b() {
-gone
-gone
@@ -30,0 +30 @@
+added
`)
	if err != nil {
		t.Fatal(err)
	}
	lines := slices.Sorted(maps.Keys(got["consumer/run.go"]))
	if !slices.Equal(lines, []int{10, 11, 30}) || len(got) != 1 {
		t.Errorf("changed lines are %v", got)
	}
}

func TestQuickTestsAreAskedFirst(t *testing.T) {
	t.Parallel()
	var tests []testRecord
	for _, took := range []time.Duration{quick / 2, quick / 2, quick, slower / 2, slower, slower} {
		tests = append(tests, testRecord{Took: took})
	}
	var sizes []int
	for _, group := range groups(tests) {
		sizes = append(sizes, len(group))
	}
	if !slices.Equal(sizes, []int{2, 2, 2}) {
		t.Errorf("the groups have %v tests, want 2, 2 and 2", sizes)
	}
	if n := len(groups(tests[4:])); n != 2 {
		t.Errorf("two slow tests make %d groups, want 2", n)
	}
	if groups(nil) != nil {
		t.Error("no tests make a group")
	}
}

func TestOutputIsReadUntilItDecides(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]verdict{
		"=== RUN   TestA":                  {},
		"--- PASS: TestA (0.00s)":          {},
		"--- FAIL: TestA (0.00s)":          {failed: "TestA"},
		"    --- FAIL: TestA/b/c (0.00s)":  {failed: "TestA"},
		"panic: test timed out after 1m0s": {ended: "timeout"},
	} {
		v := verdict{}
		decided := v.read(line)
		if v.failed != want.failed || v.ended != want.ended || decided != (want.failed+want.ended != "") {
			t.Errorf("%q reads as %+v, %t", line, v, decided)
		}
	}
}
