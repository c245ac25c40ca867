package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "linepay-worker"

// allowed is the picture of who may import whom among our packages; tests are free. A new package or a new edge changes it in the same
// commit, so that it is a decision.
//
// The leaves, linepay, idempotency and pull, know nothing of the worker: what is exact or guarded there stays so whatever is built on top. The
// line in consumer reaches the publisher through an interface of its own.
var allowed = map[string][]string{
	"linepay":               {},
	"linepay/simulator":     {"linepay"},
	"idempotency":           {},
	"consumer/pull":         {},
	"schemas":               {"linepay"},
	"publisher":             {"schemas", "linepay", "consumer/pull"},
	"consumer":              {"schemas", "linepay", "idempotency", "consumer/pull"},
	"consumer/consumertest": {"linepay", "linepay/simulator", "idempotency", "schemas", "publisher", "consumer"},
	"cmd/internal/app":      {"linepay", "idempotency", "schemas", "publisher", "consumer", "consumer/pull"},                     // its metrics count what streams hold
	"cmd/linepay-worker":    {"cmd/internal/app", "idempotency"},                                                                 // what its Redis connections begin with
	"cmd/linepayctl":        {"cmd/internal/app", "schemas", "linepay", "idempotency", "consumer/pull", "publisher", "consumer"}, // it asks as the worker does, and tells what the guard has open
	"cmd/linepay-sandbox":   {"cmd/internal/app", "linepay/simulator", "schemas", "linepay", "consumer"},
	"cmd/internal/chaos":    {},                                  // tests alone, from outside
	"cmd/internal/bench":    {"schemas", "linepay", "publisher"}, // measures from outside: it knows the streams and the words on the bus

	// Examples are for people who do not have this module: they know NATS, and nothing of ours.
	"deploy/examples":             {},
	"deploy/examples/go/checkout": {},
	"deploy/examples/go/ledger":   {},
	"deploy/servers":              {}, // tests alone, of the servers' files
}

// testsAlone may be imported by tests and nothing else.
var testsAlone = []string{"consumer/consumertest"}

type listed struct {
	ImportPath string
	Doc        string
	Imports    []string
	Deps       []string
	GoFiles    []string
}

// name is the package's path within the module.
func name(importPath string) string {
	return strings.TrimPrefix(strings.TrimPrefix(importPath, module), "/")
}

func list(t *testing.T) []listed {
	t.Helper()
	root, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		t.Fatalf("go env GOMOD: %v", err)
	}
	command := exec.Command("go", "list", "-json=ImportPath,Doc,Imports,Deps,GoFiles", "./...")
	command.Dir = filepath.Dir(strings.TrimSpace(string(root)))
	var stderr bytes.Buffer
	command.Stderr = &stderr
	output, err := command.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var packages []listed
	for decoder := json.NewDecoder(bytes.NewReader(output)); ; {
		var p listed
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
	if len(packages) < 2 {
		t.Fatalf("go list found %d packages in %s, want the whole module", len(packages), command.Dir)
	}
	return packages
}

// strangers are the imports that the picture does not have, and whether it has the package at all.
func strangers(p listed, allowed map[string][]string) (edges []string, known bool) {
	permitted, known := allowed[name(p.ImportPath)]
	for _, path := range p.Imports {
		if strings.HasPrefix(path, module+"/") && !slices.Contains(permitted, name(path)) {
			edges = append(edges, name(path))
		}
	}
	return edges, known
}

func TestPackagesImportOnlyWhatThePictureAllows(t *testing.T) {
	t.Parallel()
	for _, p := range list(t) {
		edges, known := strangers(p, allowed)
		if !known {
			t.Errorf("%s is not in the import picture: say there what it may import", name(p.ImportPath))
			continue
		}
		for _, edge := range edges {
			t.Errorf("%s imports %s, which the import picture does not allow", name(p.ImportPath), edge)
		}
		for _, path := range p.Imports {
			if slices.Contains(testsAlone, name(path)) {
				t.Errorf("%s imports %s outside its tests", name(p.ImportPath), name(path))
			}
		}
	}
}

func TestPictureNoticesANewEdgeAndANewPackage(t *testing.T) {
	t.Parallel()
	edges, known := strangers(listed{ImportPath: module + "/linepay", Imports: []string{"fmt", module + "/schemas"}}, allowed)
	if !known || !slices.Equal(edges, []string{"schemas"}) {
		t.Errorf("linepay importing schemas: edges %v, known %t, want the edge", edges, known)
	}
	if _, known := strangers(listed{ImportPath: module + "/helpers"}, allowed); known {
		t.Error("a package that is not in the picture is taken for known")
	}
}

// keptOut is what the daemon must not be linked with: stand-ins for NATS, Redis and LINE Pay, and the test framework, whose flags and
// servers have no place beside a channel secret.
var keptOut = []string{
	"github.com/nats-io/nats-server/", "github.com/alicebob/miniredis/", "testing", "net/http/httptest", "net/http/pprof",
	module + "/linepay/simulator", module + "/consumer/consumertest",
}

func intruders(deps []string) (found []string) {
	for _, dep := range deps {
		for _, out := range keptOut {
			if dep == out || (strings.HasSuffix(out, "/") && strings.HasPrefix(dep, out)) {
				found = append(found, dep)
			}
		}
	}
	return found
}

func TestWorkerLinksNoStandInsAndNoTestFramework(t *testing.T) {
	t.Parallel()
	for _, p := range list(t) {
		if n := name(p.ImportPath); n != "cmd/linepay-worker" && n != "cmd/internal/app" {
			continue
		}
		for _, dep := range intruders(p.Deps) {
			t.Errorf("%s depends on %s", name(p.ImportPath), dep)
		}
	}
	if got := intruders([]string{"fmt", "testing", "github.com/nats-io/nats-server/v2/server"}); len(got) != 2 {
		t.Errorf("of testing and nats-server, %v is noticed", got)
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	t.Parallel()
	for _, p := range list(t) {
		if len(p.GoFiles) > 0 && p.Doc == "" {
			t.Errorf("%s has no package comment", name(p.ImportPath))
		}
	}
}
