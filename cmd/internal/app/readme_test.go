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
	want = between(t, want, "metrics", "\n"+MetricsTable()+"\n")
	if got == want {
		return
	}
	if os.Getenv("UPDATE_README") == "" {
		t.Fatal("README.md does not show the settings, the metrics or the examples as they are: run UPDATE_README=1 go test ./cmd/internal/app")
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

// Every test and every file that is named in the README, or in what is said of security, exists, and every setting.
func TestReadmeNamesTestsAndFilesThatExist(t *testing.T) {
	t.Parallel()
	var sources strings.Builder
	err := filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, "_test.go") {
			sources.WriteString(read(t, path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	known := SettingsTable() + read(t, filepath.Join(root, "deploy/redis/start.sh"))
	for _, name := range []string{"README.md", "SECURITY.md"} {
		text := read(t, filepath.Join(root, name))
		for _, test := range regexp.MustCompile(`\bTest[A-Z]\w+`).FindAllString(text, -1) {
			if !strings.Contains(sources.String(), "func "+test) {
				t.Errorf("%s names %s, which no package has", name, test)
			}
		}
		for _, link := range regexp.MustCompile(`\]\(([\w./-]+)\)`).FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(root, link[1])); err != nil {
				t.Errorf("%s links to %s: %v", name, link[1], err)
			}
		}
		for _, setting := range regexp.MustCompile("`((?:NATS|REDIS|ADMIN)_[A-Z_]+)`").FindAllStringSubmatch(text, -1) {
			if !strings.Contains(known, setting[1]) {
				t.Errorf("%s names the setting %s, which there is not", name, setting[1])
			}
		}
	}
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

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
