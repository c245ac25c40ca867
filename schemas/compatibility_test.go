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

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"linepay-worker/schemas"
)

// contract is all that other teams were given: the JSON Schemas by file, and the AsyncAPI document.
type contract struct {
	schemas  map[string]object
	asyncAPI object
}

func contractOf(t *testing.T, files fs.FS) contract {
	t.Helper()
	c := contract{schemas: map[string]object{}}
	names, err := fs.Glob(files, "*.schema.json")
	if err != nil || len(names) == 0 {
		t.Fatalf("schemas: %v, %v", names, err)
	}
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			t.Fatal(err)
		}
		c.schemas[name] = parsed(t, text)
	}
	text, err := fs.ReadFile(files, schemas.AsyncAPIFile)
	if err == nil {
		text, err = yaml.YAMLToJSON(text)
	}
	if err != nil {
		t.Fatal(err)
	}
	c.asyncAPI = parsed(t, text)
	return c
}

// parsed keeps numbers as they are written.
func parsed(t *testing.T, text []byte) object {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var doc object
	if err := decoder.Decode(&doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// breaks gives what breaks those who rely on the contract as it was.
func breaks(t *testing.T, was, is contract) (list []string) {
	t.Helper()
	for _, file := range slices.Sorted(maps.Keys(was.schemas)) {
		if file == "defs.schema.json" { // which the others refer to
			continue
		}
		if is.schemas[file] == nil {
			list = append(list, file+" is gone")
			continue
		}
		d := gives
		if strings.HasPrefix(file, "command.") {
			d = takes
		}
		for _, each := range compatible(d, plain(was.schemas, file, was.schemas[file]), plain(is.schemas, file, is.schemas[file])) {
			list = append(list, file+" "+each)
		}
	}
	now := subjectsOf(t, is.asyncAPI)
	for address, before := range subjectsOf(t, was.asyncAPI) {
		if after, there := now[address]; !there {
			list = append(list, address+" is gone")
		} else if diff := cmp.Diff(before, after); diff != "" {
			list = append(list, address+" has another message: "+diff)
		}
	}
	headers := func(c contract) object {
		return plain(nil, "", at(t, c.asyncAPI, "components", "schemas", "deadLetterHeaders").(object))
	}
	for _, each := range compatible(gives, headers(was), headers(is)) {
		list = append(list, "dead letter "+each)
	}
	slices.Sort(list)
	return list
}

func TestNoReleasedContractIsBroken(t *testing.T) {
	t.Parallel()
	now := contractOf(t, schemas.Files())
	for _, version := range versions(t) {
		was := contractOf(t, os.DirFS(filepath.Join(version, "schemas")))
		for _, each := range breaks(t, was, now) {
			t.Errorf("%s: %s\nOthers rely on it: keep it, or give what changes a version of its own", filepath.Base(version), each)
		}
	}
}

// changes of the contract of today, and what is said of each; nothing is said of what breaks nobody.
var changes = []struct {
	name, file, path string
	value            any // nil takes the member away
	want             string
}{
	{
		"a member is removed from a command",
		"command.void.schema.json", "properties/data/properties/orderId", nil,
		"command.void.schema.json /data/orderId: is gone",
	},
	{
		"a member is removed from all events",
		"defs.schema.json", "$defs/eventData/properties/returnCode", nil,
		"event.captured.schema.json /data/returnCode: is gone",
	},
	{
		"a member is removed from an attribute",
		"defs.schema.json", "$defs/commandRef/properties/source", nil,
		"event.failed.schema.json /data/command/source: is gone",
	},
	{
		"a type is narrowed",
		"command.preapproved-check.schema.json", "properties/data/properties/creditCardAuth/type", "null",
		`/data/creditCardAuth: types: boolean is no longer there`,
	},
	{
		"a list of types is narrowed",
		"defs.schema.json", "$defs/commandEnvelope/properties/subject/type", "string",
		`command.check.schema.json /subject: types: null is no longer there`,
	},
	{
		"a choice is removed",
		"defs.schema.json", "$defs/transactionId/anyOf",
		[]any{object{"type": "string"}},
		"command.refund.schema.json /data/transactionId/anyOf/0: nothing stands in its place",
	},
	{
		"an event's type is widened",
		"event.preapproval.schema.json", "properties/data/properties/usable/type",
		[]any{"boolean", "null"},
		"/data/usable: types: null is new",
	},
	{
		"a new member is required of a command",
		"command.void.schema.json", "properties/data/required",
		[]any{"transactionId", "orderId", "reason"},
		"command.void.schema.json /data/reason: is required from now on",
	},
	{
		"an old member is required of a command",
		"command.check.schema.json", "properties/data/required",
		[]any{"transactionId", "orderId"},
		"command.check.schema.json /data/orderId: is required from now on",
	},
	{
		"a required member of an event may be absent",
		"event.captured.schema.json", "properties/data/required",
		[]any{"orderId", "transactionId", "amount"},
		"event.captured.schema.json /data/currency: may be absent from now on",
	},
	{
		"a value is removed from what is read",
		"defs.schema.json", "$defs/currency/enum",
		[]any{"TWD", "THB", "USD"},
		`command.confirm.schema.json /data/currency: values: "JPY" is no longer there`,
	},
	{
		"a value is removed from an event",
		"event.parked.schema.json", "properties/data/properties/moneyMoved/enum",
		[]any{"unknown"},
		`/data/moneyMoved: values: "no" is no longer there`,
	},
	{
		"a value is added that readers do not know",
		"defs.schema.json", "$defs/eventData/properties/settledBy/enum",
		[]any{"response", "lookup", "operator", "bank"},
		`event.voided.schema.json /data/settledBy: values: "bank" is new`,
	},
	{
		"a type is renamed",
		"event.voided.schema.json", "properties/type/const", "linepay.event.released.v1",
		`/type: values: "linepay.event.voided.v1" is no longer there`,
	},
	{
		"a text gets shorter",
		"defs.schema.json", "$defs/orderId/maxLength", json.Number("50"),
		"command.request.schema.json /data/orderId: maxLength was 100 and is 50",
	},
	{
		"a list gets a limit",
		"event.details.schema.json", "properties/data/properties/payments/maxItems", json.Number("10"),
		"/data/payments: maxItems was <nil> and is 10",
	},
	{
		"a pattern changes",
		"defs.schema.json", "$defs/regKey/pattern", "^[0-9]+$",
		"command.preapproved-expire.schema.json /data/regKey: pattern was",
	},
	{
		"an object is closed",
		"event.failed.schema.json", "properties/data/additionalProperties", false,
		"event.failed.schema.json /data: additionalProperties was <nil> and is false",
	},
	{
		"two members are tied together",
		"command.check.schema.json", "properties/data/dependentRequired",
		object{"orderId": []any{"transactionId"}},
		"/data: dependentRequired was <nil>",
	},
	{
		"an attribute that was free gets a meaning",
		"defs.schema.json", "$defs/commandEnvelope/properties/priority",
		object{"type": "integer"},
		"command.void.schema.json /priority: gets a meaning",
	},
	{
		"a rule is added",
		"command.void.schema.json", "allOf",
		[]any{object{"$ref": "defs.schema.json#/$defs/commandEnvelope"}, object{"required": []any{"time"}}},
		"/allOf/1: is demanded from now on",
	},
	{
		"a schema is removed",
		"event.voided.schema.json", "", nil,
		"event.voided.schema.json is gone",
	},
	{
		"a subject changes",
		schemas.AsyncAPIFile, "channels/commandVoid/address", "linepay.commands.void.{channel}",
		"linepay.commands.{channel}.void is gone",
	},
	{
		"a subject gets another message",
		schemas.AsyncAPIFile, "channels/eventVoided/messages/eventVoided/$ref", "#/components/messages/eventFailed",
		"linepay.events.{channel}.voided.{order} has another message",
	},
	{
		"a dead letter loses a header",
		schemas.AsyncAPIFile, "components/schemas/deadLetterHeaders/properties/Dead-Letter-Code", nil,
		"dead letter /Dead-Letter-Code: is gone",
	},

	{
		"a member may be given",
		"command.void.schema.json", "properties/data/properties/note",
		object{"type": "string"},
		"",
	},
	{
		"a member is added to events",
		"defs.schema.json", "$defs/eventData/properties/region",
		object{"type": "string"},
		"",
	},
	{
		"a member need no longer be given",
		"command.confirm.schema.json", "properties/data/required",
		[]any{"transactionId", "orderId", "amount"},
		"",
	},
	{
		"a value may be sent",
		"defs.schema.json", "$defs/currency/enum",
		[]any{"TWD", "THB", "USD", "JPY", "KRW"},
		"",
	},
	{
		"a text may be longer",
		"defs.schema.json", "$defs/refundId/maxLength", json.Number("256"),
		"",
	},
	{
		"a choice is added to a command",
		"defs.schema.json", "$defs/transactionId/anyOf/2",
		object{"type": "object"},
		"",
	},
	{
		"an operation is added",
		"defs.schema.json", "$defs/eventData/properties/operation/enum/10", "extend",
		"",
	},
	{
		"a description is written anew",
		"event.voided.schema.json", "properties/data/description", "What became of it.",
		"",
	},
	{
		"an event is added",
		"event.extended.schema.json", "",
		object{"type": "object"},
		"",
	},
}

func TestEachKindOfBreakIsNoticedAndNothingElse(t *testing.T) {
	t.Parallel()
	for _, change := range changes {
		t.Run(change.name, func(t *testing.T) {
			t.Parallel()
			now := contractOf(t, schemas.Files())
			is := contractOf(t, schemas.Files())
			doc := is.asyncAPI
			if change.file != schemas.AsyncAPIFile {
				doc = is.schemas[change.file]
			}
			switch value, whole := change.value.(object); {
			case change.path != "":
				put(t, doc, strings.Split(change.path, "/"), change.value)
			case whole:
				is.schemas[change.file] = value
			default:
				delete(is.schemas, change.file)
			}
			got := breaks(t, now, is)
			switch {
			case change.want == "" && len(got) > 0:
				t.Errorf("said to break: %s", strings.Join(got, "\n"))
			case change.want != "" && !slices.ContainsFunc(got, func(each string) bool { return strings.Contains(each, change.want) }):
				t.Errorf("got %q, want %q among them", got, change.want)
			}
		})
	}
}

// put sets or takes away a member, or sets an element that may be the next one of its list.
func put(t *testing.T, doc object, path []string, value any) {
	t.Helper()
	last := len(path) - 1
	parent, _ := at(t, doc, path[:last]...).(object)
	switch list, isList := at(t, doc, path[:last]...).([]any); {
	case isList:
		put(t, doc, path[:last], append(slices.Clone(list), value))
	case value == nil:
		at(t, doc, path...)
		delete(parent, path[last])
	default:
		parent[path[last]] = value
	}
}
