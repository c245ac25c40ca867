package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// document writes a value as one line of JSON, in ASCII where a terminal could take a character for an order. What is not UTF-8 is replaced, so
// that one hostile text does not hide the rest.
func document(out io.Writer, value any) error {
	line, err := json.Marshal(value, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s\n", tame(string(line)))
	return err
}

// tame escapes what does not print in JSON, all of which is in strings: JSON's own writers leave much of it as it is.
func tame(line string) string {
	var b strings.Builder
	for _, r := range line {
		switch {
		case strconv.IsPrint(r):
			b.WriteRune(r)
		case r > 0xFFFF:
			high, low := surrogates(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// documents writes one document a line.
func documents[T any](out io.Writer, list []T) error {
	for _, each := range list {
		if err := document(out, each); err != nil {
			return err
		}
	}
	return nil
}
