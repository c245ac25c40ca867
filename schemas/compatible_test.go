package schemas_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"reflect"
	"slices"
	"strings"
)

// duty says who relies on a schema, and so what may not change.
type duty bool

const (
	// takes: others publish such messages. What was taken is taken for ever; more may be.
	takes duty = false
	// gives: others read such messages, and so do we, those of older versions. What they rely on stays; members may be added.
	gives duty = true
)

// mayGrow are lists whose new values nobody meets who does not ask for them: new operations of commands, new actions of operators.
var mayGrow = []string{"/data/operation", "/data/action", "/type"}

// object is a schema, or a part of one.
type object = map[string]any

// comparison gathers what breaks others when one schema takes the place of another.
type comparison struct {
	duty   duty
	breaks []string
}

// compatible gives what breaks others. Both schemas are plain: see plain.
func compatible(d duty, was, is object) []string {
	c := &comparison{duty: d}
	c.schema("", was, is)
	return c.breaks
}

func (c *comparison) note(path, format string, args ...any) {
	c.breaks = append(c.breaks, fmt.Sprintf("%s: ", path)+fmt.Sprintf(format, args...))
}

func (c *comparison) schema(path string, was, is object) {
	c.choices(path, "values", values(was), values(is))
	c.choices(path, "types", types(was), types(is))
	for _, keyword := range keywords(was, is) {
		switch keyword {
		case "enum", "const", "type": // choices has seen to them
		case "properties":
			c.properties(path, was, is)
		case "required":
			c.required(path, texts(was[keyword]), texts(is[keyword]))
		case "items":
			c.both(path+"/items", was[keyword], is[keyword])
		case "anyOf":
			c.anyOf(path, schemasIn(was[keyword]), schemasIn(is[keyword]))
		case "allOf":
			c.allOf(path, schemasIn(was[keyword]), schemasIn(is[keyword]))
		case "minLength", "minItems", "minimum", "exclusiveMinimum":
			c.limit(path, keyword, was[keyword], is[keyword], 1)
		case "maxLength", "maxItems", "maximum", "exclusiveMaximum":
			c.limit(path, keyword, was[keyword], is[keyword], -1)
		default:
			c.rule(path, keyword, was[keyword], is[keyword])
		}
	}
}

// choices compares what a value may be; nil is anything.
func (c *comparison) choices(path, what string, was, is []string) {
	for _, gone := range without(was, is) {
		if is != nil {
			c.note(path, "%s: %s is no longer there", what, gone)
		}
	}
	switch {
	case was == nil && is != nil:
		c.note(path, "%s: only %s from now on", what, strings.Join(is, ", "))
	case c.duty == gives && was != nil && is == nil:
		c.note(path, "%s: anything from now on", what)
	case c.duty == gives && !slices.Contains(mayGrow, path):
		for _, added := range without(is, was) {
			if was != nil {
				c.note(path, "%s: %s is new", what, added)
			}
		}
	}
}

func (c *comparison) properties(path string, was, is object) {
	before, _ := was["properties"].(object)
	after, _ := is["properties"].(object)
	for _, name := range keywords(before, after) {
		place := path + "/" + name
		switch {
		case after[name] == nil:
			c.note(place, "is gone")
		case before[name] != nil:
			c.both(place, before[name], after[name])
		case c.duty == takes && was["additionalProperties"] != false:
			c.note(place, "gets a meaning, and senders may have given it another one")
		}
	}
}

func (c *comparison) required(path string, was, is []string) {
	for _, name := range without(is, was) {
		c.note(path+"/"+name, "is required from now on")
	}
	for _, name := range without(was, is) {
		if c.duty == gives {
			c.note(path+"/"+name, "may be absent from now on")
		}
	}
}

func (c *comparison) both(path string, was, is any) {
	before, ok := was.(object)
	after, too := is.(object)
	if ok && too {
		c.schema(path, before, after)
		return
	}
	c.rule(path, "schema", was, is)
}

// anyOf holds that each old choice has a new one that does its duty, and where others read, each new one an old one.
func (c *comparison) anyOf(path string, was, is []object) {
	has := func(choice object, list []object, ordered func(a, b object) (object, object)) bool {
		return slices.ContainsFunc(list, func(other object) bool {
			before, after := ordered(choice, other)
			return len(compatible(c.duty, before, after)) == 0
		})
	}
	for i, choice := range was {
		if !has(choice, is, func(a, b object) (object, object) { return a, b }) {
			c.note(fmt.Sprintf("%s/anyOf/%d", path, i), "nothing stands in its place")
		}
	}
	for i, choice := range is {
		if was == nil || c.duty == gives && !has(choice, was, func(a, b object) (object, object) { return b, a }) {
			c.note(fmt.Sprintf("%s/anyOf/%d", path, i), "is new")
		}
	}
}

func (c *comparison) allOf(path string, was, is []object) {
	for i := range max(len(was), len(is)) {
		place := fmt.Sprintf("%s/allOf/%d", path, i)
		switch {
		case i >= len(was):
			c.note(place, "is demanded from now on")
		case i < len(is):
			c.schema(strings.TrimSuffix(place, fmt.Sprintf("/allOf/%d", i)), was[i], is[i])
		case c.duty == gives:
			c.note(place, "does not hold any more")
		}
	}
}

// limit compares two numbers; a tighter limit is one that is greater, times sign.
func (c *comparison) limit(path, keyword string, was, is any, sign int) {
	before, had := number(was)
	after, has := number(is)
	change := 0
	switch {
	case !had && has:
		change = 1
	case had && !has:
		change = -1
	case had && has:
		change = sign * after.Cmp(before)
	}
	if change > 0 || change < 0 && c.duty == gives {
		c.note(path, "%s was %v and is %v", keyword, was, is)
	}
}

// rule compares what cannot be judged by its parts.
func (c *comparison) rule(path, keyword string, was, is any) {
	if reflect.DeepEqual(was, is) || is == nil && c.duty == takes {
		return
	}
	c.note(path, "%s was %v and is %v", keyword, was, is)
}

// keywords are the names in either.
func keywords(a, b object) []string {
	all := maps.Clone(a)
	if all == nil {
		all = object{}
	}
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}

// without are the elements of list that are not in other.
func without(list, other []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(each string) bool { return slices.Contains(other, each) })
}

// values are those of enum or const, as JSON; nil where neither is there.
func values(schema object) (list []string) {
	all, _ := schema["enum"].([]any)
	if only, is := schema["const"]; is {
		all = []any{only}
	}
	for _, value := range all {
		text, _ := json.Marshal(value)
		list = append(list, string(text))
	}
	return list
}

// types are those of type; nil is any.
func types(schema object) []string {
	if one, is := schema["type"].(string); is {
		return []string{one}
	}
	return texts(schema["type"])
}

func texts(value any) (list []string) {
	all, _ := value.([]any)
	for _, each := range all {
		list = append(list, each.(string))
	}
	return list
}

func schemasIn(value any) (list []object) {
	all, _ := value.([]any)
	for _, each := range all {
		list = append(list, each.(object))
	}
	return list
}

func number(value any) (*big.Float, bool) {
	text, is := value.(json.Number)
	if !is {
		return nil, false
	}
	n, _, err := big.ParseFloat(text.String(), 10, 200, big.ToNearestEven)
	return n, err == nil
}

// annotations say nothing about what a schema takes.
var annotations = []string{"title", "description", "examples", "$schema", "$id", "$defs", "$comment"}

// plain gives a schema with what it refers to in the places of the references, and without annotations. folder has all schemas by file.
func plain(folder map[string]object, file string, schema object) object {
	out := object{}
	for keyword, value := range schema {
		switch keyword {
		case "properties":
			named := object{}
			for name, each := range value.(object) {
				named[name] = plain(folder, file, each.(object))
			}
			out[keyword] = named
		case "anyOf", "allOf":
			var list []any
			for _, each := range value.([]any) {
				list = append(list, plain(folder, file, each.(object)))
			}
			out[keyword] = list
		case "items", "not", "if", "then", "else":
			out[keyword] = plain(folder, file, value.(object))
		case "$ref":
			target, name, _ := strings.Cut(value.(string), "#/$defs/")
			if target == "" {
				target = file
			}
			maps.Copy(out, plain(folder, target, folder[target]["$defs"].(object)[name].(object)))
		default:
			if !slices.Contains(annotations, keyword) {
				out[keyword] = value
			}
		}
	}
	return out
}
