//go:build unix

package main

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// width is that of a terminal in columns, 0 where a writer is none.
func width(w io.Writer) int {
	file, ok := w.(*os.File)
	if !ok {
		return 0
	}
	size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return max(int(size.Col), narrowest)
}

// narrowest is taken for terminals that do not tell their width, or have none to speak of.
const narrowest = 80
