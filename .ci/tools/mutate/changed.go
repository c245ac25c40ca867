package main

import (
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

var hunk = regexp.MustCompile(`^@@ [^+]*\+(\d+)(?:,(\d+))? @@`)

// changedLines asks git which lines of which files differ from a revision.
func changedLines(root, revision string) (map[string]map[int]bool, error) {
	command := exec.Command("git", "diff", "--unified=0", "--no-ext-diff", "--src-prefix=a/", "--dst-prefix=b/", "--relative", revision, "--")
	command.Dir = root
	output, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("git diff %s: %w", revision, complaint(err))
	}
	return parseDiff(string(output))
}

func parseDiff(diff string) (map[string]map[int]bool, error) {
	lines, file := map[string]map[int]bool{}, ""
	for line := range strings.Lines(diff) {
		line = strings.TrimRight(line, "\n")
		if name, ok := strings.CutPrefix(line, "+++ b/"); ok {
			file = name
			lines[file] = map[int]bool{}
			continue
		}
		found := hunk.FindStringSubmatch(line)
		if found == nil || lines[file] == nil {
			continue
		}
		first, err := strconv.Atoi(found[1])
		if err != nil {
			return nil, err
		}
		n := 1
		if found[2] != "" {
			if n, err = strconv.Atoi(found[2]); err != nil {
				return nil, err
			}
		}
		for i := range n {
			lines[file][first+i] = true
		}
	}
	return lines, nil
}
