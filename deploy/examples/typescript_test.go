package examples_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

const typescript = "typescript"

// compile gives the folder of the compiled examples. The tree stays as it is: all happens in copies.
func compile(t *testing.T) (dist string) {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%s is not in PATH: run `make test`, which installs it, or install the packages nodejs and npm", program)
		}
	}
	dir := t.TempDir()
	for _, name := range []string{"package.json", "tsconfig.json", "checkout.ts", "ledger.ts", "linepay.ts"} {
		copyFile(t, filepath.Join(typescript, name), filepath.Join(dir, name))
	}
	modules := filepath.Join(dir, "node_modules")
	if err := os.Symlink(filepath.Join(installed(t), "node_modules"), modules); err != nil {
		t.Fatal(err)
	}
	inFolder(t, dir, "node", filepath.Join(modules, "typescript", "bin", "tsc"), "--project", ".")
	return filepath.Join(dir, "dist")
}

// installed gives a folder with what package-lock.json names. It is kept for the next run, under the hash of what is in it.
func installed(t *testing.T) string {
	t.Helper()
	files := []string{"package.json", "package-lock.json", ".npmrc"}
	digest := sha256.New()
	for _, name := range files {
		content, err := os.ReadFile(filepath.Join(typescript, name))
		if err != nil {
			t.Fatal(err)
		}
		digest.Write(content)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	cache = filepath.Join(cache, "linepay-worker")
	kept := filepath.Join(cache, "examples-"+hex.EncodeToString(digest.Sum(nil)[:8]))
	if _, err := os.Stat(kept); err == nil {
		return kept
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	fresh, err := os.MkdirTemp(cache, "installing-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(fresh)
	for _, name := range files {
		copyFile(t, filepath.Join(typescript, name), filepath.Join(fresh, name))
	}
	inFolder(t, fresh, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	// Whole or not at all, whoever else installs at the same time.
	if err := os.Rename(fresh, kept); err != nil && !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
	return kept
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, content, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func inFolder(t *testing.T, dir string, command ...string) {
	t.Helper()
	program := exec.CommandContext(t.Context(), command[0], command[1:]...)
	program.Dir = dir
	if output, err := program.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, output)
	}
}
