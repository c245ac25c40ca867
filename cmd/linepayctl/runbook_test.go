package main

import (
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"linepay-worker/cmd/internal/app"
	"linepay-worker/schemas"
)

// conditions have a heading each, which alerts link to by its name in lower case.
var conditions = []string{
	"LinepayWorkerNotReady", "LinepayRedisAway", "LinepayRedisForgot", "LinepayBreakerOpen", "LinepayChannelRefused", "LinepayBacklogOld",
	"LinepayInDoubtOld", "LinepayDeadLetters", "LinepayEventsNotStored", "LinepayNobodyServes", "LinepayStreamNearlyFull", "LinepayReplayFailed",
	"LinepayReloadFailed",
}

func runbook(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../deploy/RUNBOOK.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// sections gives the text under each heading of the third level, and the headings in their order.
func sections(text string) (headings []string, under map[string]string) {
	under = map[string]string{}
	for _, part := range regexp.MustCompile(`(?m)^#{2,3} `).Split(text, -1)[1:] {
		heading, body, _ := strings.Cut(part, "\n")
		headings = append(headings, heading)
		under[heading] = body
	}
	return headings, under
}

func TestRunbookTellsOfEveryConditionAndEveryReasonWhatItMeansAndWhatToType(t *testing.T) {
	t.Parallel()
	headings, under := sections(runbook(t))
	var named []string
	for _, heading := range headings {
		if name, code := strings.CutPrefix(heading, "`"); code {
			named = append(named, strings.TrimSuffix(name, "`"))
		}
	}
	if diff := cmp.Diff(slices.Concat(conditions, schemas.DeadLetterReasons()), named); diff != "" {
		t.Errorf("headings of RUNBOOK.md (-want +got):\n%s", diff)
	}
	for _, name := range named {
		for _, part := range []string{"\n**What it means.** ", "\n**The money.** ", "\n**What to do.** ", "\n```sh\n", "\nlinepayctl "} {
			if !strings.Contains(under["`"+name+"`"], part) {
				t.Errorf("%s has no %q", name, part)
			}
		}
	}
}

func TestRunbookLinksToHeadingsThatExist(t *testing.T) {
	t.Parallel()
	text := runbook(t)
	headings, _ := sections(text)
	var anchors []string
	for _, heading := range headings {
		anchors = append(anchors, strings.ReplaceAll(strings.ToLower(strings.Trim(heading, "`")), " ", "-"))
	}
	links := regexp.MustCompile(`\]\(#([^)]+)\)`).FindAllStringSubmatch(text, -1)
	if len(links) == 0 {
		t.Fatal("no links")
	}
	for _, link := range links {
		if !slices.Contains(anchors, link[1]) {
			t.Errorf("RUNBOOK.md links to #%s, which no heading has", link[1])
		}
	}
}

// Every command line of the runbook is one that linepayctl takes.
func TestRunbookShowsCommandsThatParse(t *testing.T) {
	t.Parallel()
	lines := regexp.MustCompile(`(?m)^linepayctl .*$`).FindAllString(runbook(t), -1)
	if len(lines) < len(conditions) {
		t.Fatalf("only %d command lines: %q", len(lines), lines)
	}
	for _, line := range lines {
		parser, err := newParser(t.Context(), console{strings.NewReader(""), io.Discard, io.Discard})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parser.Parse(words(line)[1:]); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// words splits a command line as a shell does that meets quotes and nothing else of its own.
func words(line string) (list []string) {
	for _, word := range regexp.MustCompile(`(?:[^\s'"]|'[^']*'|"[^"]*")+`).FindAllString(line, -1) {
		list = append(list, strings.NewReplacer(`'`, "", `"`, "").Replace(word))
	}
	return list
}

func TestRunbookNamesSettingsThatExist(t *testing.T) {
	t.Parallel()
	known := app.SettingsTable() + "LINEPAYCTL_OPERATOR"
	for _, name := range regexp.MustCompile("`\\$?([A-Z]+(?:_[A-Z]+)+|CAUTIOUS|CONCURRENCY)\\b").FindAllStringSubmatch(runbook(t), -1) {
		if !strings.Contains(known, name[1]) {
			t.Errorf("RUNBOOK.md names %s, which is no setting", name[1])
		}
	}
}
