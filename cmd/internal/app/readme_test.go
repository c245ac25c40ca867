package app

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// What the README shows is compared with what it comes from. UPDATE_README=1 go test ./cmd/internal/app writes the generated parts anew.

const root = "../../.."

func TestReadmeShowsTheSettingsTheMetricsAndTheExamplesAsTheyAre(t *testing.T) {
	t.Parallel()
	path := filepath.Join(root, "README.md")
	got := read(t, path)
	want := between(t, got, "settings", "\n"+SettingsTable()+"\n")
	want = between(t, want, "examples", examples(t))
	want = between(t, want, "codes", "\n"+codesTable()+"\n")
	want = between(t, want, "metrics", "\n"+MetricsTable()+"\n")
	want = between(t, want, "performance", performance(t))
	if got == want {
		return
	}
	if os.Getenv("UPDATE_README") == "" {
		t.Fatal("README.md does not show the settings, the codes, the metrics, the examples or the figures as they are: " +
			"run UPDATE_README=1 go test ./cmd/internal/app")
	}
	if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestReadmeNamesEveryOperationAndEveryEvent(t *testing.T) {
	t.Parallel()
	readme := read(t, filepath.Join(root, "README.md"))
	var rows []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\|").FindAllStringSubmatch(readme, -1) {
		rows = append(rows, row[1])
	}
	var want []string
	for _, op := range linepay.Operations() {
		want = append(want, string(op))
	}
	want = append(want, schemas.EventNames()...)
	if fmt.Sprint(rows) != fmt.Sprint(want) {
		t.Errorf("the tables of README.md have\n%v, want\n%v", rows, want)
	}
}

// Every test and every file that the README and the pages of deploy name exists.
func TestPagesNameTestsAndFilesThatExist(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob(filepath.Join(root, "deploy", "*.md"))
	if err != nil || len(pages) == 0 {
		t.Fatalf("no pages in deploy: %v", err)
	}
	pages = append(pages, filepath.Join(root, "README.md"), filepath.Join(root, "SECURITY.md"))
	var sources strings.Builder
	err = filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, "_test.go") {
			sources.WriteString(read(t, path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	known := SettingsTable() + read(t, filepath.Join(root, "deploy/redis/start.sh"))
	for _, page := range pages {
		text := read(t, page)
		for _, setting := range regexp.MustCompile("`((?:NATS|REDIS|ADMIN)_[A-Z_]+)`").FindAllStringSubmatch(text, -1) {
			if !strings.Contains(known, setting[1]) {
				t.Errorf("%s names the setting %s, which there is not", page, setting[1])
			}
		}
		for _, name := range regexp.MustCompile(`\bTest[A-Z]\w+`).FindAllString(text, -1) {
			if !strings.Contains(sources.String(), "func "+name) {
				t.Errorf("%s names %s, which no package has", page, name)
			}
		}
		for _, link := range regexp.MustCompile(`\]\(([\w./-]+)(#[\w-]+)?\)`).FindAllStringSubmatch(text, -1) {
			target := filepath.Join(filepath.Dir(page), link[1])
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s: %v", page, link[1], err)
			} else if link[2] != "" && !hasHeading(read(t, target), link[2][1:]) {
				t.Errorf("%s links to %s%s, and there is no such heading", page, link[1], link[2])
			}
		}
	}
}

// hasHeading says whether a page has a heading with that anchor, as GitHub makes them.
func hasHeading(text, anchor string) bool {
	for _, heading := range regexp.MustCompile("(?m)^#+ (.+)$").FindAllStringSubmatch(text, -1) {
		plain := regexp.MustCompile(`[^\w -]`).ReplaceAllString(strings.ToLower(heading[1]), "")
		if strings.ReplaceAll(plain, " ", "-") == anchor {
			return true
		}
	}
	return false
}

// codesTable is LINE Pay's result codes with what each says, in Markdown.
func codesTable() string {
	var b strings.Builder
	b.WriteString("| code | meaning | says | except for |\n|---|---|---|---|\n")
	for _, c := range linepay.Codes() {
		var exceptions []string
		for _, op := range linepay.Operations() {
			if v := linepay.Classify(op, strings.Replace(c.Code, "X", "0", 1)); v != c.Verdict {
				exceptions = append(exceptions, fmt.Sprintf("%s: %s", op, v))
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", c.Code, c.Meaning, c.Verdict, strings.Join(exceptions, ", "))
	}
	return b.String()
}

// between replaces what stands between <!-- name --> and <!-- /name -->.
func between(t *testing.T, text, name, content string) string {
	t.Helper()
	open, end := "<!-- "+name+" -->\n", "<!-- /"+name+" -->\n"
	before, rest, ok := strings.Cut(text, open)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("README.md has no %q followed by %q", open, end)
	}
	return before + open + content + end + after
}

func examples(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, e := range []struct{ title, language, path string }{
		{"A service that orders a confirm, in Go", "go", "deploy/examples/go/checkout/main.go"},
		{"The same in TypeScript", "ts", "deploy/examples/typescript/checkout.ts"},
		{"A ledger, in Go", "go", "deploy/examples/go/ledger/main.go"},
		{"The same in TypeScript", "ts", "deploy/examples/typescript/ledger.ts"},
	} {
		fmt.Fprintf(&b, "\n<details><summary>%s: <code>%s</code></summary>\n\n```%s\n%s```\n\n</details>\n",
			e.title, e.path, e.language, read(t, filepath.Join(root, e.path)))
	}
	return b.String() + "\n"
}

// performance is what `BENCH_OUT=cmd/internal/bench/figures make bench` has written.
func performance(t *testing.T) string {
	t.Helper()
	const figures = "cmd/internal/bench/figures/"
	var pictures strings.Builder
	for _, p := range []struct{ file, shows string }{
		{"share.svg", "Commands a second as a share of the hand-written loop's, by commands in flight and LINE Pay's delay"},
		{"throughput-0ms.svg", "Commands a second, by commands in flight, while LINE Pay answers at once"},
		{"cpu-0ms.svg", "CPU seconds for 1,000 commands, by commands in flight, while LINE Pay answers at once"},
		{"latency.svg", "Latency added to LINE Pay's own at 200 commands a second"},
	} {
		read(t, filepath.Join(root, figures, p.file))
		fmt.Fprintf(&pictures, "![%s](%s%s)\n\n", p.shows, figures, p.file)
	}
	return "\n" + pictures.String() + "<details><summary>All figures</summary>\n\n" + read(t, filepath.Join(root, figures, "table.md")) + "\n</details>\n\n"
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
