// Command mutate shows that the tests notice when a branch goes. It takes out each branch of the guard, the publisher and the line in turn:
// every if, every case, every operand of && and ||, in Go and in Lua. For each it runs the tests in which that makes a difference, the
// quickest first, until one fails. A mutant that no test notices is a survivor, unless exempt.txt excuses it with a reason.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

func main() {
	o := options{}
	flag.StringVar(&o.root, "root", ".", "the module's folder")
	flag.StringVar(&o.exempt, "exempt", ".ci/tools/mutate/exempt.txt", "mutants that are excused, from the module's folder")
	flag.StringVar(&o.keep, "keep", "", "folder for what is kept between runs (default: in the user's cache)")
	flag.StringVar(&o.match, "match", "", "only mutants whose `file :: function :: change` matches this expression")
	flag.StringVar(&o.changed, "changed", "", "only mutants on lines that were changed since this git revision")
	flag.IntVar(&o.parallel, "parallel", 2, "mutants at a time")
	flag.BoolVar(&o.list, "list", false, "list the mutants and run nothing")
	flag.BoolVar(&o.fresh, "fresh", false, "take nothing from earlier runs but which test to ask first")
	flag.BoolVar(&o.survivors, "survivors", false, "only those that survived the last time, or were never asked about")
	flag.BoolVar(&o.excused, "excused", false, "only those that are exempt; one that a test notices needs no excuse any more")
	flag.Parse()
	o.packages = flag.Args()
	survivors, err := o.run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(2)
	}
	if survivors > 0 {
		os.Exit(1)
	}
}

type options struct {
	root, exempt, keep, match, changed string
	packages                           []string // only these; none means all
	parallel                           int
	list, fresh, survivors, excused    bool
}

func (o options) run() (survivors int, err error) {
	work, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(work)
	if o.root, err = filepath.Abs(o.root); err != nil {
		return 0, err
	}
	t, err := newTree(o.root, work)
	if err != nil {
		return 0, err
	}
	excused, err := readExemptions(filepath.Join(o.root, o.exempt))
	if err != nil {
		return 0, err
	}
	if stale := excused.stale(t.list.all); len(stale) > 0 {
		return 0, fmt.Errorf("%s excuses what is not there; delete, or write again:\n%s", o.exempt, strings.Join(stale, "\n"))
	}
	asked, err := o.choose(t.list.all)
	if err != nil {
		return 0, err
	}
	if o.list {
		for _, m := range asked {
			fmt.Println(m)
		}
		fmt.Printf("%d mutants\n", len(asked))
		return 0, nil
	}
	h, err := o.prepare(t, asked)
	if err != nil {
		return 0, err
	}
	return o.hunt(h, asked, excused)
}

// choose gives the mutants that the options ask for.
func (o options) choose(all []*mutant) ([]*mutant, error) {
	expression, err := regexp.Compile(o.match)
	if err != nil {
		return nil, err
	}
	for _, pkg := range o.packages {
		if !slices.Contains(packages, pkg) {
			return nil, fmt.Errorf("no package %q: there are %s", pkg, strings.Join(packages, ", "))
		}
	}
	changed := func(*mutant) bool { return true }
	if o.changed != "" {
		lines, err := changedLines(o.root, o.changed)
		if err != nil {
			return nil, err
		}
		changed = func(m *mutant) bool { return lines[m.file][m.line] }
	}
	var chosen []*mutant
	for _, m := range all {
		if (len(o.packages) == 0 || slices.Contains(o.packages, m.pkg())) && expression.MatchString(m.key()) && changed(m) {
			chosen = append(chosen, m)
		}
	}
	if len(chosen) == 0 {
		return nil, errors.New("no mutants are asked for")
	}
	return chosen, nil
}

// prepare builds the tests that are needed, and records what they do where that is not known.
func (o options) prepare(t *tree, asked []*mutant) (*hunt, error) {
	keep := o.keep
	if keep == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return nil, err
		}
		keep = filepath.Join(cache, "linepay-worker-mutate")
	}
	if err := os.MkdirAll(keep, 0o700); err != nil {
		return nil, err
	}
	s, err := readState(filepath.Join(keep, "state.json"))
	if err != nil {
		return nil, err
	}
	for _, pkg := range packages {
		if pkg != wholeLine && !slices.ContainsFunc(asked, func(m *mutant) bool { return m.pkg() == pkg }) {
			continue
		}
		b, err := t.build(pkg)
		if err != nil {
			return nil, err
		}
		if s.Tests[pkg].Digest == b.digest {
			continue
		}
		fmt.Printf("running each test of %s without any mutant\n", pkg)
		tests, err := b.record(o.parallel)
		if err != nil {
			return nil, err
		}
		s.Tests[pkg] = recorded{Digest: b.digest, Tests: tests}
		if err := s.write(); err != nil {
			return nil, err
		}
	}
	return newHunt(t, s), nil
}

// hunt asks about each mutant and reports.
func (o options) hunt(h *hunt, asked []*mutant, excused exemptions) (survivors int, err error) {
	var todo, alive []*mutant
	var expected time.Duration
	killed, exempt := 0, 0
	for _, m := range asked {
		last, known := h.known(m)
		switch {
		case (excused[m.key()] != "") != o.excused:
			exempt++
		case o.survivors && last.Killed, known && !o.fresh && last.Killed:
			killed++
		case known && !o.fresh && !o.survivors && !o.excused:
			alive = append(alive, m)
		default:
			todo = append(todo, m)
			expected += h.cost(m)
		}
	}
	fmt.Printf("%d mutants: %d known from earlier runs, %d to do, about %s\n",
		len(asked), killed+len(alive), len(todo), (expected / time.Duration(o.parallel)).Round(time.Minute))
	var mu sync.Mutex
	var problems []error
	began, done := time.Now(), 0
	inParallel(o.parallel, len(todo), func(i int) {
		r, err := h.ask(todo[i])
		if err == nil {
			err = h.state.put(todo[i], r)
		}
		mu.Lock()
		defer mu.Unlock()
		switch done++; {
		case err != nil:
			problems = append(problems, err)
		case r.Killed:
			killed++
		default:
			alive = append(alive, todo[i])
		}
		if done%25 == 0 {
			fmt.Printf("%d of %d done in %s, %d survivors so far\n", done, len(todo), time.Since(began).Round(time.Second), len(alive))
		}
	})
	o.report(h, alive)
	fmt.Printf("%d mutants, %d killed, %d exempt, %d survivors\n", len(asked), killed, exempt, len(alive))
	return len(alive), errors.Join(problems...)
}

func (o options) report(h *hunt, alive []*mutant) {
	slices.SortFunc(alive, func(a, b *mutant) int { return a.id - b.id })
	for _, m := range alive {
		r, _ := h.state.result(m)
		where := fmt.Sprintf("%d tests go through it", r.Ran)
		if r.Ran == 0 {
			where = "no test gets there"
		}
		fmt.Printf("SURVIVOR %s (%s)\n", m, where)
	}
}
