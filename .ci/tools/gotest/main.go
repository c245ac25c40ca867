// Command gotest runs `go test -json` with the arguments behind `--` and shows what a person wants to read of it: a line per package, the
// whole output of what failed, and a count at the end. It fails when a test fails, when a package does not build, when a test was skipped,
// and when fewer tests passed than -at-least: a green run must mean that the tests ran.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

func main() {
	atLeast := flag.Int("at-least", 1, "fewest tests that must have passed")
	flag.Parse()
	command := exec.Command("go", append([]string{"test", "-json"}, flag.Args()...)...)
	command.Stderr = os.Stderr
	output, err := command.StdoutPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gotest: go test cannot be run:", err)
		os.Exit(1)
	}
	s := newSummary(os.Stdout)
	s.read(output)
	if err := command.Wait(); err != nil {
		s.problem("go test: " + err.Error())
	}
	if !s.finish(*atLeast) {
		os.Exit(1)
	}
}

// event is one line of `go test -json` (see `go doc test2json`).
type event struct {
	Action, Package, ImportPath, Test, Output string
}

type key struct{ pkg, test string }

// summary counts tests, subtests included, and keeps the output of each until it is known whether anybody wants to see it.
type summary struct {
	to                               io.Writer
	held                             map[key]*strings.Builder
	packages, passed, failed, broken int
	skipped, problems                []string
}

func newSummary(to io.Writer) *summary {
	return &summary{to: to, held: map[key]*strings.Builder{}}
}

func (s *summary) problem(what string) { s.problems = append(s.problems, what) }

func (s *summary) read(from io.Reader) {
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadBytes('\n')
		var e event
		if json.Unmarshal(line, &e) == nil && e.Action != "" {
			s.take(e)
		} else if len(line) > 0 {
			fmt.Fprintf(s.to, "%s", line)
		}
		if err != nil {
			return
		}
	}
}

func (s *summary) take(e event) {
	k := key{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		fmt.Fprint(s.to, e.Output)
	case "output":
		if s.held[k] == nil {
			s.held[k] = &strings.Builder{}
		}
		s.held[k].WriteString(e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			s.endPackage(e, k)
		} else {
			s.endTest(e, k)
		}
		delete(s.held, k)
	}
}

func (s *summary) endTest(e event, k key) {
	switch e.Action {
	case "pass":
		s.passed++
	case "fail":
		s.failed++
		s.show(k)
	case "skip":
		s.skipped = append(s.skipped, e.Package+" "+e.Test)
	}
}

// endPackage shows the package's own line. A package that fails while a test of it has not ended has crashed in that test, whose output
// holds the stack.
func (s *summary) endPackage(e event, k key) {
	s.packages++
	if e.Action == "fail" {
		s.broken++
		for running := range s.held {
			if running.pkg == e.Package && running.test != "" {
				s.failed++
				s.show(running)
				delete(s.held, running)
			}
		}
		s.show(k)
		return
	}
	if s.held[k] == nil {
		return
	}
	for line := range strings.Lines(s.held[k].String()) {
		if strings.HasPrefix(line, "ok ") || strings.HasPrefix(line, "?") {
			fmt.Fprint(s.to, line)
		}
	}
}

func (s *summary) show(k key) {
	if s.held[k] != nil {
		fmt.Fprint(s.to, s.held[k].String())
	}
}

// finish writes the closing lines and reports whether all is well.
func (s *summary) finish(atLeast int) bool {
	if s.broken > 0 {
		s.problem(fmt.Sprintf("%d packages failed", s.broken))
	}
	if s.failed > 0 {
		s.problem(fmt.Sprintf("%d tests failed", s.failed))
	}
	if s.passed < atLeast {
		s.problem(fmt.Sprintf("only %d tests passed, fewer than the %d that there should be", s.passed, atLeast))
	}
	for _, test := range s.skipped {
		s.problem("skipped: " + test)
	}
	for _, problem := range s.problems {
		fmt.Fprintln(s.to, "FAIL:", problem)
	}
	fmt.Fprintf(s.to, "%d packages, %d tests passed, %d failed, %d skipped\n", s.packages, s.passed, s.failed, len(s.skipped))
	return len(s.problems) == 0
}
