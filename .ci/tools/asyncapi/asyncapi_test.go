// Package asyncapi holds schemas/asyncapi.yaml to AsyncAPI's own JSON Schema, which comes from npm at the version in package-lock.json.
package asyncapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

const document = "../../../schemas/asyncapi.yaml"

// specification compiles AsyncAPI 3.0's schema.
func specification(t *testing.T) *jsonschema.Schema {
	t.Helper()
	file, err := os.Open(filepath.Join(installed(t), "node_modules", "@asyncapi", "specs", "schemas", "3.0.0.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	doc, err := jsonschema.UnmarshalJSON(file)
	if err != nil {
		t.Fatal(err)
	}
	id := doc.(map[string]any)["$id"].(string)
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource(id, doc); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile(id)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func validate(t *testing.T, schema *jsonschema.Schema, text string) error {
	t.Helper()
	asJSON, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
	if err != nil {
		t.Fatal(err)
	}
	return schema.Validate(doc)
}

func TestDocumentIsAsyncAPI(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	schema := specification(t)
	if err := validate(t, schema, string(text)); err != nil {
		t.Errorf("%s: %v", document, err)
	}
	// The schema is there and strict: each of these is no AsyncAPI any more.
	for sound, broken := range map[string]string{
		"asyncapi: 3.0.0":  "asyncapi: 2.6.0",
		"action: receive":  "action: take",
		"  title:":         "  heading:",
		"    address:":     "    subject:",
		"    protocol:":    "    scheme:",
		"\noperations:":    "\nverbs:",
		"schemaFormat: ap": "schemaFormat: 7 # ap",
		"      summary: ":  "      resume: ",
	} {
		changed := strings.Replace(string(text), sound, broken, 1)
		if changed == string(text) {
			t.Errorf("%q is not in %s", sound, document)
		} else if validate(t, schema, changed) == nil {
			t.Errorf("accepted with %q in the place of %q", broken, sound)
		}
	}
}

// installed gives a folder with what package-lock.json names. It is kept for the next run, under the hash of what is in it.
func installed(t *testing.T) string {
	t.Helper()
	files := []string{"package.json", "package-lock.json", ".npmrc"}
	digest := sha256.New()
	content := map[string][]byte{}
	for _, name := range files {
		var err error
		if content[name], err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
		digest.Write(content[name])
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	cache = filepath.Join(cache, "linepay-worker")
	kept := filepath.Join(cache, "asyncapi-"+hex.EncodeToString(digest.Sum(nil)[:8]))
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
	for name, text := range content {
		if err := os.WriteFile(filepath.Join(fresh, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	npm := exec.CommandContext(t.Context(), "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	npm.Dir = fresh
	if output, err := npm.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, output)
	}
	// Whole or not at all, whoever else installs at the same time.
	if err := os.Rename(fresh, kept); err != nil && !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
	return kept
}
