package main

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// packages that are mutated, in this order. The tests of the last one count for those before it too.
var packages = []string{"idempotency", "consumer/pull", "publisher", "consumer"}

const wholeLine = "consumer"

// tree is a module's source, with what is built from it.
type tree struct {
	root     string
	work     string // a folder for what is built
	list     *list
	binaries map[string]*binary // by package
}

// binary is the test program of a package, with the switches of all mutants in it.
type binary struct {
	pkg, path, folder string
	digest            string // tells one build from another
}

//go:embed points.go.txt
var points string

// newTree lists the mutants of a module and builds its tests with them.
func newTree(root, work string) (*tree, error) {
	t := &tree{root: root, work: work, list: newList(), binaries: map[string]*binary{}}
	overlay := map[string]string{}
	for _, pkg := range packages {
		if err := t.mutate(pkg, overlay); err != nil {
			return nil, err
		}
	}
	text, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(work, "overlay.json"), text, 0o600); err != nil {
		return nil, err
	}
	return t, nil
}

// mutate writes a package's files with the switches in them.
func (t *tree) mutate(pkg string, overlay map[string]string) error {
	var listed struct{ GoFiles, EmbedFiles []string }
	output, err := t.goCommand("list", "-json=GoFiles,EmbedFiles", "./"+pkg).Output()
	if err != nil {
		return fmt.Errorf("list the files of %s: %w", pkg, complaint(err))
	}
	if err := json.Unmarshal(output, &listed); err != nil {
		return err
	}
	put := func(name, text string) error {
		to := filepath.Join(t.work, strings.ReplaceAll(pkg+"/"+name, "/", "_"))
		overlay[filepath.Join(t.root, pkg, name)] = to
		return os.WriteFile(to, []byte(text), 0o600)
	}
	for _, name := range append(listed.GoFiles, listed.EmbedFiles...) {
		source, err := os.ReadFile(filepath.Join(t.root, pkg, name))
		if err != nil {
			return err
		}
		if strings.HasSuffix(name, ".lua") {
			err = mutateLua(pkg+"/"+name, string(source), t.list)
		} else if strings.HasSuffix(name, ".go") {
			var changed string
			changed, err = mutateGo(pkg+"/"+name, string(source), t.list)
			if err == nil {
				err = put(name, changed)
			}
		}
		if err != nil {
			return err
		}
	}
	return put("mutate_points.go", strings.Replace(points, "PACKAGE", filepath.Base(pkg), 1))
}

// build compiles the tests of a package.
func (t *tree) build(pkg string) (*binary, error) {
	b := &binary{pkg: pkg, path: filepath.Join(t.work, strings.ReplaceAll(pkg, "/", "_")+".test"), folder: filepath.Join(t.root, pkg)}
	command := t.goCommand("test", "-c", "-vet=off", "-trimpath", "-buildvcs=false", "-overlay", filepath.Join(t.work, "overlay.json"),
		"-o", b.path, "./"+pkg)
	if output, err := command.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the tests of %s: %w\n%s", pkg, err, output)
	}
	f, err := os.Open(b.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	digest := sha256.New()
	if _, err := io.Copy(digest, f); err != nil {
		return nil, err
	}
	b.digest = hex.EncodeToString(digest.Sum(nil)[:8])
	t.binaries[pkg] = b
	return b, nil
}

func (t *tree) goCommand(arguments ...string) *exec.Cmd {
	command := exec.Command("go", arguments...)
	command.Dir = t.root
	return command
}

// complaint adds what a command wrote on its way out.
func complaint(err error) error {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && len(exit.Stderr) > 0 {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
	}
	return err
}
