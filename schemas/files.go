package schemas

import (
	"embed"
	"fmt"
	"io/fs"
	"strings"
)

//go:embed *.schema.json asyncapi.yaml
var files embed.FS

const (
	schemaSuffix = ".schema.json"

	// AsyncAPIFile is the name of the AsyncAPI 3 document in Files.
	AsyncAPIFile = "asyncapi.yaml"
)

// Files holds the JSON Schemas (draft 2020-12): command.<operation>.schema.json for every operation, event.<event>.schema.json for every
// event, audit.schema.json, and defs.schema.json, which the others refer to. They say what DecodeCommand says, as far as JSON Schema can.
// AsyncAPIFile, beside them, says which of them is on which subject.
func Files() fs.FS { return files }

// Schema gives one of them by its name without the ending, such as "command.refund", "event.captured" or "audit".
func Schema(name string) ([]byte, error) {
	b, err := files.ReadFile(name + schemaSuffix)
	if err != nil {
		return nil, fmt.Errorf("there is no schema %q: want command.<operation>, event.<event>, audit or defs", clip(name, 60))
	}
	return b, nil
}

// SchemaNames lists the names that Schema takes, in alphabetical order.
func SchemaNames() []string {
	entries, err := files.ReadDir(".")
	if err != nil {
		panic(err) // the root of what the compiler has embedded
	}
	var names []string
	for _, entry := range entries {
		if name, is := strings.CutSuffix(entry.Name(), schemaSuffix); is {
			names = append(names, name)
		}
	}
	return names
}
