// Package deploy holds what is in the folder deploy to the programs that read it in earnest: Docker's own parser, Compose's and Helm's own
// loaders, Kubernetes' own types; and to linepay-worker itself, built from what an image is built from.
package deploy

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

const root = "../../.."

// What the build is told in the place of git.
const (
	version = "v9.8.7-test"
	commit  = "0123456789abcdef0123456789abcdef01234567"
	date    = "2026-01-31T12:00:00Z"
)

// programs is the folder with the three programs, built once from the build context, as in the Dockerfile.
var programs string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "linepay-worker-context-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if err := buildContext(dir); err != nil {
		fmt.Fprintf(os.Stderr, "the programs cannot be built from the build context: %v\n", err)
		return 1
	}
	programs = filepath.Join(dir, "bin")
	return m.Run()
}

// buildContext puts into dir what .dockerignore lets pass of the repository's files, and builds there.
func buildContext(dir string) error {
	file, err := os.Open(root + "/.dockerignore")
	if err != nil {
		return err
	}
	defer file.Close()
	patterns, err := ignorefile.ReadAll(file)
	if err != nil {
		return err
	}
	ignored, err := patternmatcher.New(patterns)
	if err != nil {
		return err
	}
	list, err := exec.Command("git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		return fmt.Errorf("git ls-files: %w", err)
	}
	for name := range strings.SplitSeq(strings.Trim(string(list), "\x00"), "\x00") {
		if skip, err := ignored.MatchesOrParentMatches(name); err != nil {
			return err
		} else if skip {
			continue
		}
		if err := copyFile(filepath.Join(root, name), filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	build := exec.Command(filepath.Join(dir, ".ci", "build"))
	build.Dir = dir
	build.Env = append(os.Environ(), "GOOS=", "GOARCH=", "GOFLAGS=", "VERSION="+version, "COMMIT="+commit, "DATE="+date)
	if output, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, output)
	}
	return nil
}

func copyFile(from, to string) error {
	info, err := os.Stat(from)
	if os.IsNotExist(err) { // removed, and git does not know yet
		return nil
	}
	if err != nil || info.IsDir() {
		return err
	}
	content, err := os.ReadFile(from)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(to), 0o755)
	}
	if err == nil {
		err = os.WriteFile(to, content, info.Mode().Perm())
	}
	return err
}

// program runs one of ours with these variables alone, and gives its exit code and all that it says.
func program(t *testing.T, env []string, name string, args ...string) (code int, said string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), filepath.Join(programs, name), args...)
	command.Env = append([]string{"PATH=" + os.Getenv("PATH")}, env...)
	output, err := command.CombinedOutput()
	if command.ProcessState == nil {
		t.Fatalf("%s: %v", name, err)
	}
	return command.ProcessState.ExitCode(), string(output)
}

func TestProgramsKnowTheirVersion(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"linepay-worker", "linepayctl", "linepay-sandbox"} {
		want := fmt.Sprintf("%s %s (%s, %s, go", name, version, commit[:12], date)
		if code, said := program(t, nil, name, "version"); code != 0 || !strings.HasPrefix(said, want) {
			t.Errorf("exit code %d, %q, want %q", code, said, want)
		}
	}
}

// mostBytes keeps the image, and what is in reach of whoever breaks into it, small.
const mostBytes = 25 << 20

func TestWorkerIsSmallAndStatic(t *testing.T) {
	t.Parallel()
	path := filepath.Join(programs, "linepay-worker")
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > mostBytes {
		t.Errorf("linepay-worker has %d bytes, want at most %d", info.Size(), mostBytes)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// The section of an ELF file that names the loader of shared libraries.
	if bytes.Contains(content, []byte("/ld-linux")) || bytes.Contains(content, []byte("/ld-musl")) {
		t.Error("linepay-worker needs shared libraries, and an image from scratch has none")
	}
}
