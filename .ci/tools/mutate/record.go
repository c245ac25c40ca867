package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// recordLimit is how long one test may take without any mutant.
const recordLimit = 3 * time.Minute

// record runs each test of a package once without any mutant, and notes how long it takes and where a mutant would make a difference.
func (b *binary) record(parallel int) ([]testRecord, error) {
	names, err := b.names()
	if err != nil {
		return nil, err
	}
	records, problems := make([]testRecord, len(names)), make([]error, len(names))
	inParallel(parallel, len(names), func(i int) { records[i], problems[i] = b.recordOne(names[i]) })
	return records, errors.Join(problems...)
}

func (b *binary) recordOne(name string) (testRecord, error) {
	path := strings.TrimSuffix(b.path, ".test") + "-" + name + ".seen"
	defer os.Remove(path)
	began := time.Now()
	v, err := b.tests([]string{name}, recordLimit, "MUTATE_RECORD="+path)
	if err != nil {
		return testRecord{}, err
	}
	if !v.passed {
		return testRecord{}, fmt.Errorf("%s of %s fails without any mutant: %s%s\n%s", name, b.pkg, v.failed, v.ended, strings.Join(v.last, "\n"))
	}
	r := testRecord{Name: name, Took: time.Since(began)}
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return r, err
	}
	seen := map[int]bool{}
	for _, line := range strings.Fields(string(text)) { // once for each process of the test
		id, err := strconv.Atoi(line)
		if err != nil {
			return r, fmt.Errorf("%s: %w", path, err)
		}
		if !seen[id] {
			seen[id] = true
			r.Mutants = append(r.Mutants, id)
		}
	}
	return r, nil
}

// inParallel calls f for 0 to n-1.
func inParallel(parallel, n int, f func(int)) {
	next := make(chan int)
	var workers sync.WaitGroup
	for range parallel {
		workers.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	workers.Wait()
}
