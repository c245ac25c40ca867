package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// hunt asks tests about mutants.
type hunt struct {
	tree  *tree
	state *state
	seen  map[string]map[int][]testRecord // by package and mutant: the tests in which it makes a difference, the quickest first
	guard map[string][]testRecord         // by package: the tests that run Lua, the quickest first
}

func newHunt(t *tree, s *state) *hunt {
	h := &hunt{tree: t, state: s, seen: map[string]map[int][]testRecord{}, guard: map[string][]testRecord{}}
	lua := map[string]bool{}
	for _, m := range t.list.all {
		if m.isLua() {
			lua[m.pkg()] = true
		}
	}
	for pkg, r := range s.Tests {
		h.seen[pkg] = map[int][]testRecord{}
		tests := slices.SortedFunc(slices.Values(r.Tests), func(a, b testRecord) int { return cmp.Compare(a.Took, b.Took) })
		for _, test := range tests {
			for _, id := range test.Mutants {
				h.seen[pkg][id] = append(h.seen[pkg][id], test)
			}
			// Lua is run by tests that get as far as the Go around it.
			if slices.ContainsFunc(test.Mutants, func(id int) bool { return lua[t.list.all[id-1].pkg()] }) {
				h.guard[pkg] = append(h.guard[pkg], test)
			}
		}
	}
	return h
}

// testsOf gives the tests of a package that can notice a mutant.
func (h *hunt) testsOf(m *mutant, pkg string) []testRecord {
	if m.isLua() {
		return h.guard[pkg]
	}
	return h.seen[pkg][m.id]
}

// askedIn gives the packages whose tests are asked.
func askedIn(m *mutant) []string {
	if m.pkg() == wholeLine {
		return []string{wholeLine}
	}
	return []string{m.pkg(), wholeLine}
}

// Tests are asked in three groups, so that the slow ones are asked only about what the quick ones did not notice.
const (
	quick  = time.Second
	slower = 10 * time.Second
)

func groups(tests []testRecord) (all [][]testRecord) {
	for _, most := range []time.Duration{quick, slower, 1 << 62} {
		var group []testRecord
		for sum := time.Duration(0); len(tests) > 0 && (len(group) == 0 || sum+tests[0].Took <= most); tests = tests[1:] {
			group, sum = append(group, tests[0]), sum+tests[0].Took
		}
		if len(group) > 0 {
			all = append(all, group)
		}
	}
	return all
}

// ask finds out whether any test notices a mutant.
func (h *hunt) ask(m *mutant) (result, error) {
	environment := []string{"MUTATE_ACTIVE=" + strconv.Itoa(m.id)}
	if m.isLua() {
		path := filepath.Join(h.tree.work, fmt.Sprintf("%d.lua", m.id))
		defer os.Remove(path)
		if err := os.WriteFile(path, []byte(m.text), 0o600); err != nil {
			return result{}, err
		}
		environment = append(environment, "MUTATE_FILE="+m.file, "MUTATE_TEXT="+path)
	}
	survivor := result{}
	for _, pkg := range askedIn(m) {
		b, tests := h.tree.binaries[pkg], h.testsOf(m, pkg)
		survivor.Ran += len(tests)
		survivor.Digests = append(survivor.Digests, b.digest)
		for _, group := range h.hinted(m, pkg, groups(tests)) {
			by, err := noticed(b, group, environment)
			if err != nil {
				return result{}, err
			}
			if by != "" {
				return result{Killed: true, By: by, In: pkg, Digests: []string{b.digest}}, nil
			}
		}
	}
	return survivor, nil
}

// hinted puts the test in front that noticed the mutant the last time.
func (h *hunt) hinted(m *mutant, pkg string, all [][]testRecord) [][]testRecord {
	last, ok := h.state.result(m)
	if !ok || !last.Killed || last.In != pkg {
		return all
	}
	for _, group := range all {
		for _, test := range group {
			if test.Name == last.By {
				return append([][]testRecord{{test}}, all...)
			}
		}
	}
	return all
}

// noticed gives the test of a group that fails with a mutant, or what else shows that it is there. A test that fails among others must fail
// alone too, so that one that fails by chance proves nothing.
func noticed(b *binary, group []testRecord, environment []string) (string, error) {
	for len(group) > 0 {
		names, limit := []string{}, 10*time.Second
		for _, test := range group {
			names, limit = append(names, test.Name), limit+5*test.Took
		}
		v, err := b.tests(names, limit, environment...)
		switch {
		case err != nil || v.passed:
			return "", err
		case v.failed == "":
			return v.ended, nil
		case len(group) == 1:
			return v.failed, nil
		}
		at := slices.IndexFunc(group, func(test testRecord) bool { return test.Name == v.failed })
		if at < 0 {
			return v.failed, nil
		}
		for range 2 {
			alone, err := b.tests([]string{v.failed}, 10*time.Second+5*group[at].Took, environment...)
			if err != nil {
				return "", err
			}
			if !alone.passed {
				return v.failed, nil
			}
		}
		fmt.Fprintf(os.Stderr, "%s failed among other tests with %s and passes alone: it is not counted\n",
			v.failed, strings.Join(environment, " "))
		group = slices.Delete(slices.Clone(group), at, at+1)
	}
	return "", nil
}

// known says whether the result on record stands: the tests that gave it have not changed.
func (h *hunt) known(m *mutant) (result, bool) {
	r, ok := h.state.result(m)
	if !ok {
		return r, false
	}
	asked := askedIn(m)
	if r.Killed {
		asked = []string{r.In}
	}
	var now []string
	for _, pkg := range asked {
		now = append(now, h.tree.binaries[pkg].digest)
	}
	return r, slices.Equal(now, r.Digests)
}

// cost guesses how long a mutant will take: one test where it is known which one notices it, all of them for a survivor, and the first two
// groups for one that is new.
func (h *hunt) cost(m *mutant) (sum time.Duration) {
	const start = 700 * time.Millisecond
	last, known := h.state.result(m)
	for _, pkg := range askedIn(m) {
		for i, group := range h.hinted(m, pkg, groups(h.testsOf(m, pkg))) {
			if known && last.Killed && i > 0 || !known && i > 1 {
				break
			}
			sum += start
			for _, test := range group {
				sum += test.Took / 2 // most wait rather than compute
			}
		}
		if known && last.Killed && last.In == pkg || !known && sum > 0 {
			break
		}
	}
	return sum
}
