package schemas_test

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

// Who writes a type by the schemas must miss nothing that the worker writes.
func TestEveryMemberThatIsPublishedIsInASchema(t *testing.T) {
	t.Parallel()
	c := contractOf(t, schemas.Files())
	known := object{} // of all events together
	for file, schema := range c.schemas {
		if strings.HasPrefix(file, "event.") {
			whole := plain(c.schemas, file, schema)
			for _, part := range append([]object{whole}, schemasIn(whole["allOf"])...) {
				if data, has := part["properties"].(object)["data"].(object); has {
					if properties, has := data["properties"].(object); has {
						maps.Copy(known, properties)
					}
				}
			}
		}
	}
	members := membersOf(t, "/data", reflect.TypeFor[schemas.EventData](), object{"properties": known})
	if members < 80 {
		t.Errorf("an event can have %d members in all, want 80 and more", members)
	}
	audit := plain(c.schemas, "audit.schema.json", c.schemas["audit.schema.json"])["properties"].(object)["data"].(object)
	membersOf(t, "/data", reflect.TypeFor[schemas.AuditData](), audit)
}

// leaves are written as texts.
var leaves = []reflect.Type{reflect.TypeFor[linepay.Amount](), reflect.TypeFor[linepay.TransactionID]()}

// membersOf counts what a value of a type can have in it, and looks each up.
func membersOf(t *testing.T, path string, of reflect.Type, schema object) (count int) {
	t.Helper()
	for of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	switch {
	case slices.Contains(leaves, of):
	case of.Kind() == reflect.Slice:
		items, _ := schema["items"].(object)
		return membersOf(t, path, of.Elem(), items)
	case of.Kind() == reflect.Struct:
		properties, _ := schema["properties"].(object)
		for i := range of.NumField() {
			name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
			place := path + "/" + name
			property, has := properties[name].(object)
			if !has {
				t.Errorf("%s is in no schema", place)
				continue
			}
			count += 1 + membersOf(t, place, of.Field(i).Type, property)
		}
	}
	return count
}
