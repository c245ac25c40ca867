package main

import (
	"fmt"
	"strings"
)

// mutant is one change to the source. Changes to Go are compiled into the tests and switched on by their number; changes to Lua are texts
// that the tests read instead of the embedded one.
type mutant struct {
	id       int
	file     string // from the module's root, with slashes
	line     int
	function string
	change   string // "if x == nil is never true"
	text     string // of a Lua file: the whole file, changed
}

// key names a mutant without its line, so that it stays the same when code around it moves.
func (m *mutant) key() string {
	return m.file + separator + m.function + separator + m.change
}

const separator = " :: "

func (m *mutant) String() string {
	return fmt.Sprintf("%s:%d: %s: %s", m.file, m.line, m.function, m.change)
}

func (m *mutant) isLua() bool { return strings.HasSuffix(m.file, ".lua") }

// pkg is the package's folder.
func (m *mutant) pkg() string { return m.file[:strings.LastIndexByte(m.file, '/')] }

// list collects mutants, numbers them from 1, and tells those with the same words in one function apart.
type list struct {
	all  []*mutant
	same map[string]int
}

func newList() *list { return &list{same: map[string]int{}} }

func (l *list) add(m mutant) *mutant {
	m.id = len(l.all) + 1
	m.change = oneLine(m.change)
	key := m.key()
	l.same[key]++
	if n := l.same[key]; n > 1 {
		m.change += fmt.Sprintf(" (%d)", n)
	}
	l.all = append(l.all, &m)
	return &m
}

// The words for changes.
func never(keyword, condition string) string { return keyword + " " + condition + " is never true" }

func always(keyword, condition string) string { return keyword + " " + condition + " is always true" }
func gone(what string) string                 { return what + " is gone" }
func without(whole, part string) string       { return oneLine(whole) + " without " + oneLine(part) }

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
