package schemas

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"linepay-worker/linepay"
)

// TypeScript writes the JSON Schemas as a TypeScript module: an interface for each command, event and audit entry, and unions and maps of
// them. It says less than the schemas do: patterns, limits and conditions are left to a validator. Where a schema takes a number or a
// string, the type takes the string alone, since JavaScript would round the number.
func TypeScript() string {
	w := typeScript{nodes: map[string]*node{}, used: map[string]bool{}}
	for _, name := range SchemaNames() {
		w.nodes[name] = w.read(name)
	}
	var messages strings.Builder
	for _, name := range SchemaNames() {
		if name != defs {
			messages.WriteString("\n" + w.message(w.nodes[name]))
		}
	}
	return typeScriptHead + w.definitions() + messages.String() + groups()
}

const (
	defs           = "defs"
	typeScriptHead = `// Messages of linepay-worker, as its JSON Schemas have them.
// Generated: "linepayctl schemas typescript" prints this file.
//
// Ids and amounts are strings. Calculate with a decimal library, never with numbers. Later versions may add members to events, and events.
`
)

// node is a JSON Schema, as far as types show it.
type node struct {
	Ref               string              `json:"$ref"`
	Title             string              `json:"title"`
	Description       string              `json:"description"`
	Type              typeNames           `json:"type"`
	Enum              []any               `json:"enum"`
	Const             any                 `json:"const"`
	Properties        properties          `json:"properties"`
	Required          []string            `json:"required"`
	DependentRequired map[string][]string `json:"dependentRequired"`
	Items             *node               `json:"items"`
	AnyOf             []*node             `json:"anyOf"`
	AllOf             []*node             `json:"allOf"`
	Defs              map[string]*node    `json:"$defs"`
}

// typeNames is a name or a list of names.
type typeNames []string

// UnmarshalJSON reads both forms.
func (n *typeNames) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] == '[' {
		return json.Unmarshal(text, (*[]string)(n))
	}
	*n = typeNames{""}
	return json.Unmarshal(text, &(*n)[0])
}

// property is a member with its name; properties keep the order of the file, in which people read them.
type property struct {
	name   string
	schema *node
}

type properties []property

// UnmarshalJSONFrom reads an object in its order.
func (m *properties) UnmarshalJSONFrom(in *jsontext.Decoder) error {
	if _, err := in.ReadToken(); err != nil {
		return err
	}
	for in.PeekKind() != '}' {
		name, err := in.ReadToken()
		if err != nil {
			return err
		}
		next := property{name.String(), &node{}}
		if err := jsonv2.UnmarshalDecode(in, next.schema); err != nil {
			return err
		}
		*m = append(*m, next)
	}
	_, err := in.ReadToken()
	return err
}

func (m properties) get(name string) *node {
	for _, each := range m {
		if each.name == name {
			return each.schema
		}
	}
	return nil
}

// typeScript writes types, and notes which shared definitions they use.
type typeScript struct {
	nodes map[string]*node
	used  map[string]bool
}

// read panics on a schema that cannot be read: the compiler has embedded it, and every test would meet it.
func (w *typeScript) read(name string) *node {
	text, err := Schema(name)
	if err != nil {
		panic(err)
	}
	n := &node{}
	if err := jsonv2.Unmarshal(text, n); err != nil {
		panic(fmt.Errorf("%s: %w", name, err))
	}
	return n
}

// definition finds what a reference is to.
func (w *typeScript) definition(reference string) (name string, n *node) {
	_, name, _ = strings.Cut(reference, "#/$defs/")
	n = w.nodes[defs].Defs[name]
	if n == nil {
		panic(fmt.Sprintf("schemas: there is no %s", reference))
	}
	return name, n
}

// whole merges a schema with those that it is to meet as well: an envelope, and within it the data that all have.
func (w *typeScript) whole(n *node) *node {
	for _, base := range n.AllOf {
		if base.Ref != "" {
			_, base = w.definition(base.Ref)
		}
		n = w.merge(base, n)
	}
	return n
}

// merge lets own say more about what base has.
func (w *typeScript) merge(base, own *node) *node {
	all := *own
	all.AllOf = nil
	all.Required = append(slices.Clone(base.Required), own.Required...)
	all.Properties = nil
	for _, each := range base.Properties {
		if more := own.Properties.get(each.name); more != nil {
			each.schema = w.refined(each.schema, more)
		}
		all.Properties = append(all.Properties, each)
	}
	for _, each := range own.Properties {
		if base.Properties.get(each.name) == nil {
			all.Properties = append(all.Properties, each)
		}
	}
	return &all
}

func (w *typeScript) refined(base, own *node) *node {
	if base.Ref != "" {
		_, base = w.definition(base.Ref)
	}
	if len(base.Properties) > 0 {
		return w.merge(base, own)
	}
	return own
}

// message writes the interface of a command, an event or an audit entry.
func (w *typeScript) message(n *node) string {
	return comment(n.Description, "") + "export interface " + pascal(n.Title) + " " + w.object(w.whole(n), "") + "\n"
}

// definitions writes the shared definitions that are in use. It comes after the messages, which say which.
func (w *typeScript) definitions() string {
	var text strings.Builder
	for written := 0; ; { // a definition may use another one
		names := slices.Sorted(maps.Keys(w.used))
		if len(names) == written {
			return text.String()
		}
		written = len(names)
		text.Reset()
		for _, name := range names {
			n := w.nodes[defs].Defs[name]
			fmt.Fprintf(&text, "\n%sexport type %s = %s;\n", comment(n.Description, ""), pascal(name), w.expression(n, ""))
		}
	}
}

// expression writes a type. indent is that of the line it begins on.
func (w *typeScript) expression(n *node, indent string) string {
	var choices []string
	switch {
	case n.Ref != "":
		name, _ := w.definition(n.Ref)
		w.used[name] = true
		return pascal(name)
	case n.Const != nil:
		return literal(n.Const)
	case n.Enum != nil:
		for _, value := range n.Enum {
			choices = append(choices, literal(value))
		}
	case len(n.AnyOf) > 0 && len(n.Properties) == 0:
		for _, choice := range n.AnyOf {
			choices = append(choices, w.expression(choice, indent))
		}
	case len(n.Type) > 0:
		for _, name := range n.Type {
			choices = append(choices, w.named(n, name, indent))
		}
	default:
		return "unknown"
	}
	if slices.Contains(choices, "string") { // and not rounded
		choices = slices.DeleteFunc(choices, func(choice string) bool { return choice == "number" })
	}
	return strings.Join(choices, " | ")
}

// named writes one of a schema's types.
func (w *typeScript) named(n *node, name, indent string) string {
	switch name {
	case "integer", "number":
		return "number"
	case "array":
		return "Array<" + w.expression(n.Items, indent) + ">"
	case "object":
		return w.object(n, indent)
	default: // string, boolean, null
		return name
	}
}

// object writes properties. Those that need each other are there together or not at all.
func (w *typeScript) object(n *node, indent string) string {
	together := slices.Sorted(maps.Keys(n.DependentRequired))
	var text, with, without strings.Builder
	text.WriteString("{\n")
	for _, each := range n.Properties {
		line := comment(w.description(each.schema), indent+"  ") + indent + "  " + quotedName(each.name)
		value := ": " + w.expression(each.schema, indent+"  ") + ";\n"
		switch {
		case slices.Contains(together, each.name):
			with.WriteString(line + value)
			fmt.Fprintf(&without, "%s?: never; ", quotedName(each.name))
		case slices.Contains(n.Required, each.name):
			text.WriteString(line + value)
		default:
			text.WriteString(line + "?" + value)
		}
	}
	text.WriteString(indent + "}")
	if len(together) > 0 {
		fmt.Fprintf(&text, " & ({\n%s%s} | { %s})", with.String(), indent, without.String())
	}
	return text.String()
}

// description is a property's own, or that of what it refers to.
func (w *typeScript) description(n *node) string {
	if n.Description == "" && n.Ref != "" {
		_, n = w.definition(n.Ref)
	}
	return n.Description
}

// groups writes what holds of all commands and all events.
func groups() string {
	var operations []string
	for _, op := range linepay.Operations() {
		operations = append(operations, string(op))
	}
	return group("Commands", "The command of each operation, on linepay.commands.<channel>.<operation>.", "command.", operations) +
		group("Events", "The event of each name, on linepay.events.<channel>.<name>.<order>.", "event.", EventNames()) + `
export type Operation = keyof Commands;

/** Any command; type says which. */
export type Command = Commands[Operation];

export type EventName = keyof Events;

/** Any event; type says which. */
export type LinePayEvent = Events[EventName];
`
}

func group(name, meaning, prefix string, of []string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "\n%sexport interface %s {\n", comment(meaning, ""), name)
	for _, each := range of {
		fmt.Fprintf(&text, "  %s: %s;\n", quotedName(each), pascal(prefix+each))
	}
	return text.String() + "}\n"
}

// comment writes a description for editors to show.
func comment(text, indent string) string {
	if text == "" {
		return ""
	}
	return indent + "/** " + strings.ReplaceAll(text, "*/", "*\\/") + " */\n"
}

// quotedName quotes a name where TypeScript demands it.
func quotedName(name string) string {
	if strings.ContainsAny(name, "-. ") {
		return literal(name)
	}
	return name
}

func literal(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // it was read from JSON
	}
	return string(text)
}

// pascal makes a type's name: CommandPreapprovedPay of "command.preapproved-pay".
func pascal(name string) string {
	var text strings.Builder
	for word := range strings.FieldsFuncSeq(name, func(r rune) bool { return strings.ContainsRune(" .-", r) }) {
		text.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return text.String()
}
