package main

import (
	"cmp"
	"slices"
	"strings"
)

// insertions are texts to be put into a source. They add no line, so that a failing test still names the right one.
type insertions struct{ all []insertion }

type insertion struct {
	at      int
	closing bool // belongs to what ends here
	order   int
	text    string
}

// around puts one text before a piece of the source and one behind it. A piece within must be given after the one around it.
func (e *insertions) around(begin, end int, before, after string) {
	order := len(e.all)
	e.all = append(e.all, insertion{at: begin, order: order, text: before}, insertion{at: end, closing: true, order: -order, text: after})
}

func (e *insertions) at(offset int, text string) {
	e.all = append(e.all, insertion{at: offset, order: len(e.all), text: text})
}

// into gives the source with everything put in. At one place, what ends there comes first, the innermost first; then what begins there,
// the outermost first.
func (e *insertions) into(source string) string {
	sorted := slices.SortedStableFunc(slices.Values(e.all), func(a, b insertion) int {
		if c := cmp.Compare(a.at, b.at); c != 0 {
			return c
		}
		if a.closing != b.closing {
			if a.closing {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.order, b.order)
	})
	var out strings.Builder
	from := 0
	for _, i := range sorted {
		out.WriteString(source[from:i.at])
		out.WriteString(i.text)
		from = i.at
	}
	out.WriteString(source[from:])
	return out.String()
}
