package schemas_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// asyncAPI is asyncapi.yaml, read as JSON would be.
func asyncAPI(t *testing.T) map[string]any {
	t.Helper()
	text, err := fs.ReadFile(schemas.Files(), schemas.AsyncAPIFile)
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := yaml.YAMLToJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(asJSON, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// at follows member names.
func at(t *testing.T, value any, path ...string) any {
	t.Helper()
	for i, name := range path {
		object, ok := value.(map[string]any)
		if !ok || object[name] == nil {
			t.Fatalf("asyncapi.yaml: there is nothing at %s", strings.Join(path[:i+1], "/"))
		}
		value = object[name]
	}
	return value
}

// resolved follows a reference within the document, if value is one.
func resolved(t *testing.T, doc map[string]any, value any) any {
	t.Helper()
	for {
		object, _ := value.(map[string]any)
		pointer, ok := object["$ref"].(string)
		if !ok {
			return value
		}
		path, within := strings.CutPrefix(pointer, "#/")
		if !within {
			t.Fatalf("%s is not in the document", pointer)
		}
		value = at(t, doc, strings.Split(path, "/")...)
	}
}

// spoken is what is said about a subject: by whom, and what a message there is.
type spoken struct{ Action, Name, Schema string }

// subjectsOf gives what the document says, by address, and holds that each channel has one message and one operation.
func subjectsOf(t *testing.T, doc map[string]any) map[string]spoken {
	t.Helper()
	byChannel := map[string][]string{}
	for _, operation := range at(t, doc, "operations").(map[string]any) {
		channel := at(t, operation, "channel", "$ref").(string)
		byChannel[channel] = append(byChannel[channel], at(t, operation, "action").(string))
	}
	all := map[string]spoken{}
	for name, channel := range at(t, doc, "channels").(map[string]any) {
		messages := at(t, channel, "messages").(map[string]any)
		actions := byChannel["#/channels/"+name]
		if len(messages) != 1 || len(actions) != 1 {
			t.Fatalf("channel %s has %d messages and %d operations, want one of each", name, len(messages), len(actions))
		}
		for _, reference := range messages {
			message := resolved(t, doc, reference)
			row := spoken{Action: actions[0], Name: at(t, message, "name").(string)}
			if message.(map[string]any)["payload"] != nil {
				row.Schema = at(t, message, "payload", "schema", "$ref").(string)
			}
			all[at(t, channel, "address").(string)] = row
		}
	}
	return all
}

func TestAsyncAPINamesEverySubjectWithItsMessageAndNoOther(t *testing.T) {
	t.Parallel()
	// Go's own subjects, with the document's parameters in the place of example values.
	parameters := strings.NewReplacer("CHANNEL", "{channel}", "ORDER", "{order}", "OPERATION", "{operation}", "ACTION", "{action}")
	want := map[string]spoken{
		parameters.Replace(schemas.DeadLetterSubject("CHANNEL", "OPERATION")): {"send", "deadLetter", ""},
		parameters.Replace(schemas.AuditSubject("CHANNEL", "ACTION")):         {"send", "linepay.audit.<action>.v1", "audit.schema.json"},
	}
	for _, op := range linepay.Operations() {
		want[parameters.Replace(schemas.CommandSubject("CHANNEL", op))] = spoken{
			"receive", schemas.CommandType(op), "command." + string(op) + ".schema.json",
		}
	}
	for _, event := range schemas.EventNames() {
		want[parameters.Replace(schemas.EventSubject("CHANNEL", event, "ORDER"))] = spoken{
			"send", schemas.EventType(event), "event." + event + ".schema.json",
		}
	}
	got := subjectsOf(t, asyncAPI(t))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for address, row := range got {
		if row.Schema == "" {
			continue
		}
		name := strings.TrimSuffix(row.Schema, ".schema.json")
		text, err := schemas.Schema(name)
		if err != nil {
			t.Errorf("%s: %v", address, err)
		} else if name != "audit" && !bytes.Contains(text, fmt.Appendf(nil, `"const": %q`, row.Name)) {
			t.Errorf("%s: %s is not of type %s", address, row.Schema, row.Name)
		}
	}
}

func TestEveryReferenceAndParameterInAsyncAPILeadsSomewhere(t *testing.T) {
	t.Parallel()
	doc := asyncAPI(t)
	used := map[string]bool{}
	var walk func(value any)
	walk = func(value any) {
		switch value := value.(type) {
		case []any:
			for _, each := range value {
				walk(each)
			}
		case map[string]any:
			pointer, _ := value["$ref"].(string)
			used[pointer] = true
			switch path, within := strings.CutPrefix(pointer, "#/"); {
			case within:
				at(t, doc, strings.Split(path, "/")...)
			case pointer != "":
				if _, err := fs.Stat(schemas.Files(), pointer); err != nil {
					t.Errorf("%s is not beside the document: %v", pointer, err)
				}
			}
			for _, each := range value {
				walk(each)
			}
		}
	}
	walk(doc)
	for kind, list := range at(t, doc, "components").(map[string]any) {
		for name := range list.(map[string]any) {
			if !used["#/components/"+kind+"/"+name] {
				t.Errorf("nothing refers to %s %s", kind, name)
			}
		}
	}
	for name, channel := range at(t, doc, "channels").(map[string]any) {
		address := at(t, channel, "address").(string)
		for parameter := range at(t, channel, "parameters").(map[string]any) {
			if !strings.Contains(address, "{"+parameter+"}") {
				t.Errorf("%s: %s has no {%s}", name, address, parameter)
			}
		}
		if strings.Count(address, "{") != len(at(t, channel, "parameters").(map[string]any)) {
			t.Errorf("%s: a parameter of %s is not described", name, address)
		}
	}
}

func TestAsyncAPIKnowsTheHeadersOfDeadLettersAndTheActionsOfOperators(t *testing.T) {
	t.Parallel()
	doc := asyncAPI(t)
	described := at(t, doc, "components", "schemas", "deadLetterHeaders")
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource("headers.json", described); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("headers.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, reason := range schemas.DeadLetterReasons() {
		letter := schemas.DeadLetter{
			Reason: reason, Detail: "text", Code: "1199", Subject: "linepay.commands.default.refund",
			Sequence: 7, Deliveries: 2, At: time.Unix(1, 5),
		}
		headers := map[string]any{}
		for name, values := range letter.Headers() {
			headers[name] = values[0]
			at(t, described, "properties", name)
		}
		if err := schema.Validate(headers); err != nil {
			t.Errorf("%s: %v", reason, err)
		}
		for name := range headers {
			without := map[string]any{}
			for other, value := range headers {
				if other != name {
					without[other] = value
				}
			}
			if accepted := schema.Validate(without) == nil; accepted != (name == schemas.HeaderDeadLetterCode) {
				t.Errorf("without %s: accepted is %v", name, accepted)
			}
		}
	}
	reasons := at(t, described, "properties", schemas.HeaderDeadLetterReason, "enum").([]any)
	if len(reasons) != len(schemas.DeadLetterReasons()) {
		t.Errorf("reasons are %v, want %v", reasons, schemas.DeadLetterReasons())
	}
	var actions []string
	for _, action := range at(t, doc, "channels", "audit", "parameters", "action", "enum").([]any) {
		actions = append(actions, action.(string))
	}
	slices.Sort(actions)
	want := slices.Sorted(slices.Values(schemas.AuditActions()))
	if diff := cmp.Diff(want, actions); diff != "" {
		t.Error(diff)
	}
}
