package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// exemptions are the mutants that no test is asked to notice, by key, each with its reason.
type exemptions map[string]string

// readExemptions reads lines of "file :: function :: change :: reason". Lines that begin with # and empty lines say nothing.
func readExemptions(path string) (exemptions, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	e := exemptions{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, reason := line, ""
		if at := strings.LastIndex(line, separator); at >= 0 {
			key, reason = line[:at], strings.TrimSpace(line[at+len(separator):])
		}
		if strings.Count(key, separator) != 2 || reason == "" {
			return nil, fmt.Errorf("%s: not of the form file%sfunction%schange%sreason: %s", path, separator, separator, separator, line)
		}
		if _, twice := e[key]; twice {
			return nil, fmt.Errorf("%s: twice: %s", path, key)
		}
		e[key] = reason
	}
	return e, nil
}

// stale gives the keys that name no mutant: what they excused is gone, or is written otherwise now.
func (e exemptions) stale(all []*mutant) (keys []string) {
	known := map[string]bool{}
	for _, m := range all {
		known[m.key()] = true
	}
	for key := range e {
		if !known[key] {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}
