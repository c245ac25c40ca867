package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// verdict is how a run of tests ended.
type verdict struct {
	passed bool
	failed string // the test that failed first, if one did
	ended  string // what ended the tests otherwise: a timeout or a crash
	last   []string
}

// tests runs some of a package's tests and stops at the first failure. Whatever they started ends with them.
func (b *binary) tests(names []string, limit time.Duration, environment ...string) (verdict, error) {
	scratch, err := os.MkdirTemp(filepath.Dir(b.path), "run")
	if err != nil {
		return verdict{}, err
	}
	defer os.RemoveAll(scratch)
	command := exec.Command(b.path, "-test.v", "-test.failfast", "-test.count=1", "-test.parallel=8", "-test.timeout="+limit.String(),
		"-test.run=^("+strings.Join(names, "|")+")$")
	command.Dir = b.folder
	command.Env = append(append(os.Environ(), "TMPDIR="+scratch), environment...)
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	output, err := command.StdoutPipe()
	if err != nil {
		return verdict{}, err
	}
	command.Stderr = command.Stdout
	if err := command.Start(); err != nil {
		return verdict{}, fmt.Errorf("start the tests of %s: %w", b.pkg, err)
	}
	everything := func() { _ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	hung := time.AfterFunc(limit+5*time.Second, everything) // the tests' own timeout should come first
	defer hung.Stop()
	v := verdict{}
	lines := bufio.NewScanner(output)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		if v.read(lines.Text()) {
			break
		}
	}
	if v.failed != "" || v.ended != "" {
		everything()
	}
	err = command.Wait()
	everything() // what outlived the tests
	v.passed = err == nil && v.failed == "" && v.ended == ""
	if !v.passed && v.failed == "" && v.ended == "" {
		v.ended = "the tests ended: " + fmt.Sprint(err)
	}
	return v, nil
}

// read takes a line of output and says whether it decides.
func (v *verdict) read(line string) (decided bool) {
	if v.last = append(v.last, line); len(v.last) > 60 {
		v.last = v.last[1:]
	}
	trimmed := strings.TrimSpace(line)
	if name, ok := strings.CutPrefix(trimmed, "--- FAIL: "); ok {
		name, _, _ = strings.Cut(name, " ")
		v.failed, _, _ = strings.Cut(name, "/")
		return true
	}
	if strings.HasPrefix(line, "panic: test timed out") {
		v.ended = "timeout"
		return true
	}
	return false
}

// list gives the names of a package's tests.
func (b *binary) names() (names []string, err error) {
	command := exec.Command(b.path, "-test.list=^(Test|Fuzz|Example)")
	command.Dir = b.folder
	output, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("list the tests of %s: %w", b.pkg, complaint(err))
	}
	return strings.Fields(string(output)), nil
}
