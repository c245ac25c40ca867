package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"linepay-worker/cmd/internal/app"
)

// printer writes for a person: aligned columns, and colour where there is a terminal to show it. What it cannot write is lost; the exit
// code does not depend on it.
type printer struct {
	w     io.Writer
	color bool
}

// newPrinter colours only on a terminal, and not where NO_COLOR is set to anything (no-color.org) or the terminal is a dumb one.
func newPrinter(w io.Writer) *printer {
	return &printer{w: w, color: isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// style is a colour or weight as terminals know it (ECMA-48, SGR).
type style string

const (
	plain  style = ""
	bold   style = "1"
	faint  style = "2"
	red    style = "31"
	green  style = "32"
	yellow style = "33"
	cyan   style = "36"
)

func (p *printer) paint(s style, text string) string {
	if !p.color || s == plain || text == "" {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[0m"
}

func (p *printer) line(text string) { _, _ = fmt.Fprintln(p.w, text) }

func (p *printer) blank() { p.line("") }

func (p *printer) title(text string) { p.line(p.paint(bold, text)) }

// commands are for copying: each on a line of its own.
func (p *printer) commands(lines ...string) {
	for _, line := range lines {
		p.line("  " + p.paint(cyan, line))
	}
}

// list writes names and values below each other.
func (p *printer) list(rows [][2]string) {
	width := 0
	for _, row := range rows {
		width = max(width, utf8.RuneCountInString(row[0]))
	}
	for _, row := range rows {
		p.line("  " + p.paint(faint, pad(row[0], width)) + "   " + row[1])
	}
}

// cell is a piece of text in a column.
type cell struct {
	text  string
	style style
}

// The columns of the scenario: who acts, on which order, how; and what came of it.
var scenarioColumns = []int{18, 19, 31, 13}

// The columns of the verdict: operation, order, amount, transaction; equal or not; event, amount.
var verdictColumns = []int{18, 19, 9, 19, 1, 10}

// row writes cells into columns of the given widths; the last cell, and one that is too long, take the room they need. Most cells come from
// messages, and nothing in them may steer the terminal.
func (p *printer) row(widths []int, cells ...cell) {
	var b strings.Builder
	for i, c := range cells {
		width := 0
		if i < len(widths) && i < len(cells)-1 {
			width = widths[i]
		}
		text := app.Printable(c.text)
		b.WriteString("  " + p.paint(c.style, text) + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(text))))
	}
	p.line(strings.TrimRight(b.String(), " "))
}

func pad(text string, width int) string {
	return text + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(text)))
}
