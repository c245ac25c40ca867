package schemas

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// maxDepth bounds how deep objects and arrays may nest. A request needs eight levels.
const maxDepth = 32

// value is a JSON value as it was written: numbers stay literals, so that no digit is lost.
type value struct {
	kind     jsontext.Kind // 'n', 't', 'f', '"', '0', '{' or '['
	text     string        // a string's content, or a number's literal
	members  []member      // of an object, in order, names without duplicates
	elements []value       // of an array
}

type member struct {
	name string
	value
}

// parse reads exactly one JSON value of RFC 8259 in valid UTF-8, without duplicate member names and not nested too deeply.
func parse(body []byte) (value, error) {
	dec := jsontext.NewDecoder(bytes.NewBuffer(body))
	v, err := parseValue(dec)
	if err != nil {
		return value{}, err
	}
	switch _, err := dec.ReadToken(); {
	case err == nil:
		return value{}, errors.New("more than one JSON value")
	case !errors.Is(err, io.EOF):
		return value{}, err
	}
	return v, nil
}

func parseValue(dec *jsontext.Decoder) (value, error) {
	tok, err := dec.ReadToken()
	if err != nil {
		return value{}, err
	}
	v := value{kind: tok.Kind()}
	switch v.kind {
	case '"', '0':
		v.text = tok.String()
	case '{', '[':
		if dec.StackDepth() > maxDepth {
			return value{}, fmt.Errorf("objects and arrays nest deeper than %d levels", maxDepth)
		}
		err = parseNested(dec, &v)
	}
	return v, err
}

// parseNested reads the members or elements of v up to and including its closing bracket.
func parseNested(dec *jsontext.Decoder, v *value) error {
	end := jsontext.Kind('}')
	if v.kind == '[' {
		end = ']'
	}
	for dec.PeekKind() != end {
		var name string
		if v.kind == '{' {
			tok, err := dec.ReadToken()
			if err != nil {
				return err
			}
			name = tok.String()
		}
		nested, err := parseValue(dec)
		if err != nil {
			return err
		}
		if v.kind == '{' {
			v.members = append(v.members, member{name, nested})
		} else {
			v.elements = append(v.elements, nested)
		}
	}
	_, err := dec.ReadToken()
	return err
}

// member gives a member by its exact name, or nil.
func (v *value) member(name string) *value {
	for i := range v.members {
		if v.members[i].name == name {
			return &v.members[i].value
		}
	}
	return nil
}
