package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"linepay-worker/schemas"
)

type schemasCommand struct {
	Name string `arg:"" optional:"" help:"Schema to print, such as command.refund or event.captured; or asyncapi, or typescript (default: a list of all)."`
	Dir  string `placeholder:"DIR" help:"Write all of them as files into this folder, which is made where it is missing. Files of the same names are written anew."`
	JSON bool   `name:"json" help:"List as JSON, one schema a line."`
}

// listedSchema is a line of the list.
type listedSchema struct {
	Name        string `json:"name"`        // what the verb takes
	File        string `json:"file"`        // what --dir calls it, and what the others refer to it by
	Title       string `json:"title"`       // for people
	Description string `json:"description"` // for people
}

// Help says what the schemas are and how they hang together.
func (*schemasCommand) Help() string {
	return "The schemas are JSON Schema 2020-12, asyncapi is AsyncAPI 3.0, typescript has types for TypeScript. They refer to each other by file name: write all of them with --dir for a program that validates. They are those of this version of linepay-worker."
}

// Run lists the schemas, prints one, or writes all.
func (v *schemasCommand) Run(c console) error {
	switch {
	case v.Name != "" && (v.Dir != "" || v.JSON):
		return usageError{errors.New("a schema is printed as it is: give a name alone, or --dir, or --json")}
	case v.Dir != "" && v.JSON:
		return usageError{errors.New("--json is for the list: give --dir or --json, not both")}
	case v.Name != "":
		return v.print(c)
	case v.Dir != "":
		return v.write(c)
	default:
		return v.list(c)
	}
}

// Names beside those of the JSON Schemas.
const (
	asyncAPI   = "asyncapi"
	typeScript = "typescript"

	typeScriptFile = "linepay.ts"
)

func (v *schemasCommand) print(c console) error {
	var text []byte
	var err error
	switch v.Name {
	case asyncAPI:
		text, err = fs.ReadFile(schemas.Files(), schemas.AsyncAPIFile)
	case typeScript:
		text = []byte(schemas.TypeScript())
	default:
		text, err = schemas.Schema(v.Name)
	}
	if err != nil {
		return usageError{fmt.Errorf("%w; \"linepayctl schemas\" lists all", err)}
	}
	_, err = c.out.Write(text)
	return err
}

func (v *schemasCommand) list(c console) error {
	all := []listedSchema{
		{asyncAPI, schemas.AsyncAPIFile, "AsyncAPI 3", "Every subject with its message, and which schema is on which."},
		{typeScript, typeScriptFile, "TypeScript", "Types of all commands, events and audit entries, generated from the schemas."},
	}
	for _, name := range schemas.SchemaNames() {
		text, err := schemas.Schema(name)
		if err != nil {
			return err
		}
		row := listedSchema{Name: name, File: name + ".schema.json"}
		if err := json.Unmarshal(text, &row); err != nil {
			return fmt.Errorf("%s: %w", row.File, err)
		}
		all = append(all, row)
	}
	if v.JSON {
		return documents(c.out, all)
	}
	rows := make([][]string, len(all))
	for i, row := range all {
		rows[i] = []string{row.Name, row.Description}
	}
	_, err := io.WriteString(c.out, table([]string{"NAME", "MEANS"}, rows))
	return err
}

// write puts each schema under its name only once it is whole: who validates with a folder that is written anew never reads half a file.
func (v *schemasCommand) write(c console) error {
	if err := os.MkdirAll(v.Dir, 0o755); err != nil {
		return usageError{fmt.Errorf("--dir: %w", err)}
	}
	entries, err := fs.ReadDir(schemas.Files(), ".")
	if err != nil {
		return err
	}
	contents := map[string][]byte{typeScriptFile: []byte(schemas.TypeScript())}
	for _, entry := range entries {
		if contents[entry.Name()], err = fs.ReadFile(schemas.Files(), entry.Name()); err != nil {
			return err
		}
	}
	for name, text := range contents {
		if err := writeWhole(filepath.Join(v.Dir, name), text); err != nil {
			return fmt.Errorf("--dir: %w", err)
		}
	}
	fmt.Fprintf(c.err, "%s written to %s\n", plural(len(contents), "file"), printable(v.Dir))
	return nil
}

// writeWhole writes a file that everybody may read, and moves it to its place.
func writeWhole(path string, content []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	err = errors.Join(err, file.Chmod(0o644), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		_ = os.Remove(file.Name())
	}
	return err
}
