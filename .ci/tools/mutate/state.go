package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// state is what is kept between runs: an interrupted run goes on where it stopped, and a later one knows which test to ask first.
type state struct {
	mu   sync.Mutex
	path string

	Tests   map[string]recorded `json:"tests"`   // by package
	Results map[string]result   `json:"results"` // by a mutant's key
}

// recorded is what the tests of a package do without any mutant.
type recorded struct {
	Digest string       `json:"digest"` // of the build
	Tests  []testRecord `json:"tests"`
}

// testRecord is one test function.
type testRecord struct {
	Name    string        `json:"name"`
	Took    time.Duration `json:"took"`
	Mutants []int         `json:"mutants"` // that would make a difference in it
}

// result is what became of a mutant.
type result struct {
	Killed  bool     `json:"killed"`
	By      string   `json:"by,omitempty"`  // the test, or what else ended the tests
	In      string   `json:"in,omitempty"`  // the package of the test
	Digests []string `json:"digests"`       // of the builds that were asked: the killer's, or all
	Ran     int      `json:"ran,omitempty"` // tests that a survivor went through
}

func readState(path string) (*state, error) {
	s := &state{path: path, Tests: map[string]recorded{}, Results: map[string]result{}}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	return s, json.Unmarshal(text, s)
}

func (s *state) write() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.path+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(s.path+".new", filepath.Clean(s.path))
}

func (s *state) result(m *mutant) (result, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.Results[m.key()]
	return r, ok
}

func (s *state) put(m *mutant, r result) error {
	s.mu.Lock()
	s.Results[m.key()] = r
	s.mu.Unlock()
	return s.write()
}
