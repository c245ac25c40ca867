package schemas_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// compiled holds every embedded schema by its name, such as "command.refund".
var compiled = sync.OnceValues(func() (map[string]*jsonschema.Schema, error) {
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	ids := map[string]string{}
	names, err := fs.Glob(schemas.Files(), "*.schema.json")
	if err != nil {
		return nil, err
	}
	for _, file := range names {
		name := strings.TrimSuffix(file, ".schema.json")
		text, err := schemas.Schema(name)
		if err != nil {
			return nil, err
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		id := doc.(map[string]any)["$id"].(string)
		if !strings.HasSuffix(id, "/"+file) {
			return nil, fmt.Errorf("%s has the $id %s", file, id)
		}
		ids[name] = id
		if err := compiler.AddResource(id, doc); err != nil {
			return nil, err
		}
	}
	all := map[string]*jsonschema.Schema{}
	for name, id := range ids {
		if all[name], err = compiler.Compile(id); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return all, nil
})

type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

func schemaOf(t fataler, name string) *jsonschema.Schema {
	t.Helper()
	all, err := compiled()
	if err != nil {
		t.Fatalf("schemas do not compile: %v", err)
	}
	if all[name] == nil {
		t.Fatalf("there is no schema %s", name)
	}
	return all[name]
}

func validate(t fataler, name string, body []byte) error {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return err
	}
	return schemaOf(t, name).Validate(doc)
}

// corpus gives testdata/<kind>/<operation>.<rule>.json.
func corpus(t testing.TB, kind string) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", kind, "*.json"))
	if err != nil || len(paths) < 50 {
		t.Fatalf("testdata/%s: %d files, %v", kind, len(paths), err)
	}
	all := map[string][]byte{}
	for _, path := range paths {
		body, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(path), ".json")] = body
	}
	return all
}

func operationOf(name string) linepay.Operation {
	operation, _, _ := strings.Cut(name, ".")
	return linepay.Operation(operation)
}

func decode(op linepay.Operation, body []byte) (*schemas.Command, error) {
	return schemas.DecodeCommand(schemas.CommandSubject("default", op), nil, body)
}

func TestEveryOperationAndEventHasASchemaAndThereIsNoOther(t *testing.T) {
	t.Parallel()
	want := []string{"audit", "defs"}
	for _, op := range linepay.Operations() {
		want = append(want, "command."+string(op))
	}
	for _, event := range schemas.EventNames() {
		want = append(want, "event."+event)
	}
	all, err := compiled()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for name := range all {
		got = append(got, name)
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want, schemas.SchemaNames()); diff != "" {
		t.Errorf("SchemaNames: %s", diff)
	}
	if _, err := schemas.Schema("command.pay"); err == nil || !strings.Contains(err.Error(), `no schema "command.pay"`) {
		t.Errorf("Schema of an unknown name: %v", err)
	}
}

func TestValidCorpusIsAcceptedByTheRulesAndBySchemas(t *testing.T) {
	t.Parallel()
	for name, body := range corpus(t, "valid") {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := decode(operationOf(name), body)
			if err != nil {
				t.Fatalf("rules: %v", err)
			}
			if c.Data.Operation() != operationOf(name) {
				t.Errorf("the data is of operation %q", c.Data.Operation())
			}
			if err := validate(t, "command."+string(operationOf(name)), body); err != nil {
				t.Errorf("schema: %v", err)
			}
			again(t, c)
		})
	}
}

// goOnly marks the files that JSON Schema cannot refuse: duplicate members and the spelling of numbers are gone once a document is
// parsed, two arrays cannot be counted together, and year 1 is Go's "no time".
const goOnly = ".go-only."

func TestInvalidCorpusIsRefusedByTheRulesAndBySchemasForTheStatedReason(t *testing.T) {
	t.Parallel()
	for name, body := range corpus(t, "invalid") {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var want struct{ Want string }
			if err := json.Unmarshal(body, &want); err != nil {
				t.Fatal(err)
			}
			c, err := decode(operationOf(name), body)
			var unreadable *schemas.UnreadableError
			var invalid *schemas.InvalidError
			switch {
			case err == nil:
				t.Fatal("rules: accepted")
			case want.Want == "unreadable":
				if !errors.As(err, &unreadable) || c != nil {
					t.Errorf("rules: %v, command %v; want it unreadable", err, c)
				}
			case !errors.As(err, &invalid):
				t.Fatalf("rules: %v, want an InvalidError", err)
			case c == nil || c.Data == nil || c.ID == "" || c.Data.Operation() != operationOf(name):
				t.Errorf("rules: an invalid command must come with its envelope and data, got %+v", c)
			case !slices.ContainsFunc(invalid.Errors, func(f schemas.FieldError) bool { return f.Path == want.Want && f.Message != "" }):
				t.Errorf("rules: %v, want an error at %s", err, want.Want)
			}
			accepted := validate(t, "command."+string(operationOf(name)), body) == nil
			if accepted != strings.Contains(name, goOnly) {
				t.Errorf("schema: accepted is %v", accepted)
			}
		})
	}
}

func TestExamplesInSchemasAreValid(t *testing.T) {
	t.Parallel()
	all, err := compiled()
	if err != nil {
		t.Fatal(err)
	}
	for name := range all {
		text, err := schemas.Schema(name)
		if err != nil {
			t.Fatal(err)
		}
		var doc struct {
			Title, Description string
			Examples           []json.RawMessage
		}
		if err := json.Unmarshal(text, &doc); err != nil {
			t.Fatal(err)
		}
		if doc.Title == "" || doc.Description == "" || len(doc.Examples) == 0 && name != "defs" {
			t.Errorf("%s: want a title, a description and examples", name)
		}
		for _, example := range doc.Examples {
			if err := validate(t, name, example); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			operation, command := strings.CutPrefix(name, "command.")
			switch {
			case command:
				_, err = decode(linepay.Operation(operation), example)
			case name == "audit":
				_, err = schemas.DecodeAudit(example)
			default:
				_, err = schemas.DecodeEvent(example)
			}
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// replacements are values that rules may or may not take in some place. Numbers stand in the plain form: JSON Schema does not see
// spelling. They are new ones each time: what takes the place of something may be changed, too.
func replacements() []any {
	return []any{
		nil, true, false, "", "x", "1", "0", "-1", "0.5", "10.25", "10.125", "1e3", "TWD", "USD", "twd", "NONE", "SERVER", "PREAPPROVED", "a\nb", "..",
		"2026-01-31T12:00:00Z", "9223372036854775808", strings.Repeat("y", 101), strings.Repeat("z", 501), json.Number("0"), json.Number("1"),
		json.Number("-1"), json.Number("31"), json.Number("10.5"), json.Number("0.125"), json.Number("9223372036854775807"),
		json.Number("9223372036854775808"),
		[]any{},
		[]any{"1"},
		[]any{nil},
		[]any{map[string]any{}},
		map[string]any{},
		map[string]any{"x": nil},
	}
}

func TestRulesAndSchemasAgreeOnMutatedCommands(t *testing.T) {
	t.Parallel()
	seeds := corpus(t, "valid")
	names := make([]string, 0, len(seeds))
	for name := range seeds {
		names = append(names, name)
	}
	slices.Sort(names)
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom(names).Draw(t, "seed")
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(seeds[name]))
		if err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(1, 3).Draw(t, "mutations") {
			doc = mutate(t, doc)
		}
		body, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		op := operationOf(name)
		c, byRules := decode(op, body)
		bySchema := validate(t, "command."+string(op), body)
		if (byRules == nil) != (bySchema == nil) {
			t.Fatalf("%s\nrules: %v\nschema: %v", body, byRules, bySchema)
		}
		if byRules == nil {
			again(t, c)
		}
	})
}

// mutate changes one place of a document, deep places as often as shallow ones.
func mutate(t *rapid.T, doc any) any {
	object, ok := doc.(map[string]any)
	if !ok {
		if list, ok := doc.([]any); ok && len(list) > 0 && rapid.Bool().Draw(t, "into the array") {
			i := rapid.IntRange(0, len(list)-1).Draw(t, "element")
			list[i] = mutate(t, list[i])
			return list
		}
		return rapid.SampledFrom(replacements()).Draw(t, "replacement")
	}
	names := make([]string, 0, len(object))
	for name := range object {
		names = append(names, name)
	}
	slices.Sort(names)
	name := "unknown"
	if len(names) > 0 {
		name = rapid.SampledFrom(names).Draw(t, "member")
	}
	switch rapid.IntRange(0, 9).Draw(t, "change") {
	case 0:
		delete(object, name)
	case 1:
		object[rapid.SampledFrom([]string{"unknown", strings.ToUpper(name), name + " "}).Draw(t, "new")] = object[name]
	case 2, 3:
		object[name] = rapid.SampledFrom(replacements()).Draw(t, "replacement")
	default:
		object[name] = mutate(t, object[name])
	}
	return object
}

// again holds that a command survives encoding.
func again(t fataler, c *schemas.Command) {
	t.Helper()
	body, err := c.Encode()
	if err != nil {
		t.Fatalf("encode: %v", err)
	}
	back, err := schemas.DecodeCommand(schemas.CommandSubject(c.Channel, c.Operation), nil, body)
	if err != nil {
		t.Fatalf("decode again: %v\n%s", err, body)
	}
	if diff := cmp.Diff(c, back); diff != "" {
		t.Fatalf("changed by encoding: %s", diff)
	}
}
