package schemas_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// releases has a folder for each version of the messages that is out there: messages of every kind as they were published, and the
// schemas as they were given to others. A file in it is never changed; a change that breaks it needs a new version beside the old one.
const releases = "testdata/released"

func versions(t *testing.T) []string {
	t.Helper()
	list, err := filepath.Glob(releases + "/v*")
	if err != nil || len(list) == 0 {
		t.Fatalf("%s: %v, %v", releases, list, err)
	}
	return list
}

// released gives the messages of all versions by <version>/<kind>.<name>.<more>.
func released(t *testing.T) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for _, version := range versions(t) {
		paths, err := filepath.Glob(version + "/*.json")
		if err != nil || len(paths) < 50 {
			t.Fatalf("%s: %d messages, %v", version, len(paths), err)
		}
		for _, path := range paths {
			body, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			all[filepath.Base(version)+"/"+strings.TrimSuffix(filepath.Base(path), ".json")] = body
		}
	}
	return all
}

// kindOf splits <version>/<kind>.<name>.<more>.
func kindOf(name string) (version, kind, what string) {
	version, rest, _ := strings.Cut(name, "/")
	parts := strings.Split(rest, ".")
	return version, parts[0], parts[1]
}

func TestEveryReleasedMessageIsStillReadAndValid(t *testing.T) {
	t.Parallel()
	for name, body := range released(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			switch _, kind, what := kindOf(name); kind {
			case "command":
				c, err := decode(linepay.Operation(what), body)
				if err != nil {
					t.Fatal(err)
				}
				again(t, c)
				holds(t, kind+"."+what, body)
			case "binary":
				headers, data := withHeaders(t, body)
				c, err := schemas.DecodeCommand(schemas.CommandSubject("default", linepay.Operation(what)), headers, data)
				if err != nil {
					t.Fatal(err)
				}
				again(t, c)
			case "event":
				readsEvent(t, what, body)
				holds(t, kind+"."+what, body)
			case "audit":
				entry, err := schemas.DecodeAudit(body)
				if err != nil {
					t.Fatal(err)
				}
				written, err := entry.Encode()
				same(t, body, written, err)
				holds(t, kind, body)
			case "deadletter":
				headers, _ := withHeaders(t, body)
				letter, err := schemas.ParseDeadLetter(headers)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(headers, letter.Headers()); diff != "" {
					t.Error(diff)
				}
			default:
				t.Errorf("nobody reads a %s", kind)
			}
		})
	}
}

// readsEvent holds that nothing in an event is lost by reading it, and that its outcome still has its id.
func readsEvent(t *testing.T, what string, body []byte) {
	t.Helper()
	event, err := schemas.DecodeEvent(body)
	if err != nil {
		t.Fatal(err)
	}
	written, err := event.Encode()
	same(t, body, written, err)
	if now := schemas.NewEvent(what, event.Time, event.Data); now.ID != event.ID {
		t.Errorf("the outcome has the id %s now, and %s when it was published: it would be booked twice", now.ID, event.ID)
	}
}

// holds holds a message against the schema of today.
func holds(t *testing.T, name string, body []byte) {
	t.Helper()
	if err := validate(t, name, body); err != nil {
		t.Errorf("schema: %v", err)
	}
}

func same(t *testing.T, was, is []byte, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	var before, after any
	if err := json.Unmarshal(was, &before); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(is, &after); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("changed by being read: %s", diff)
	}
}

// withHeaders reads a message that is stored with its headers, since they are half of it.
func withHeaders(t *testing.T, file []byte) (headers map[string][]string, body []byte) {
	t.Helper()
	var message struct {
		Headers map[string]string
		Body    []byte
	}
	if err := json.Unmarshal(file, &message); err != nil {
		t.Fatal(err)
	}
	headers = map[string][]string{}
	for name, value := range message.Headers {
		headers[name] = []string{value}
	}
	return headers, message.Body
}

func TestReleasesHaveAMessageOfEveryKindAndTheirSchemasTakeIt(t *testing.T) {
	t.Parallel()
	there := map[string]bool{}
	for name, body := range released(t) {
		version, kind, what := kindOf(name)
		there[version+" "+kind+"."+what] = true
		schema := kind + "." + what
		switch kind {
		case "binary", "deadletter":
			continue
		case "audit":
			schema = kind
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if err := frozen(t, version, schema).Validate(doc); err != nil {
			t.Errorf("%s: its own schema refuses it: %v", name, err)
		}
	}
	for _, path := range versions(t) {
		version := filepath.Base(path)
		files, err := filepath.Glob(path + "/schemas/*.schema.json")
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, file := range files {
			want = append(want, strings.TrimSuffix(filepath.Base(file), ".schema.json"))
		}
		for _, action := range schemas.AuditActions() {
			want = append(want, "audit."+action)
		}
		for _, reason := range schemas.DeadLetterReasons() {
			want = append(want, "deadletter."+reason)
		}
		for _, kind := range want {
			if kind != "defs" && kind != "audit" && !there[version+" "+kind] {
				t.Errorf("%s has no message %s", version, kind)
			}
		}
	}
}

// frozen compiles a schema as it was released.
func frozen(t fataler, version, name string) *jsonschema.Schema {
	t.Helper()
	dir := filepath.Join(releases, version, "schemas")
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	wanted := "file:///" + name + ", which was not released"
	files, err := fs.Glob(os.DirFS(dir), "*.schema.json")
	if err != nil {
		t.Fatalf("%v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatalf("%v", err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		id := doc.(map[string]any)["$id"].(string)
		if err := compiler.AddResource(id, doc); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if file == name+".schema.json" {
			wanted = id
		}
	}
	schema, err := compiler.Compile(wanted)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return schema
}

// What the schemas of a release take, their publishers may send for ever.
func TestWhatAReleasedSchemaTakesIsStillRead(t *testing.T) {
	t.Parallel()
	seeds := released(t)
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(seeds)), func(name string) bool {
		_, kind, _ := kindOf(name)
		return kind != "command"
	})
	compiled := map[string]*jsonschema.Schema{}
	for _, name := range names {
		version, kind, what := kindOf(name)
		compiled[name] = frozen(t, version, kind+"."+what)
	}
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom(names).Draw(t, "seed")
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(seeds[name]))
		if err != nil {
			t.Fatal(err)
		}
		doc = mutate(t, doc)
		if compiled[name].Validate(doc) != nil {
			return
		}
		body, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		_, _, what := kindOf(name)
		if _, err := decode(linepay.Operation(what), body); err != nil {
			t.Fatalf("%s\nwas taken, and is refused now: %v", body, err)
		}
	})
}
