package main

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

const mask = "****"

// masked is a body without its regKeys, wherever they stand; and without data_base64, which may hold one.
func masked(body []byte) []byte {
	var out bytes.Buffer
	lenient := []jsontext.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}
	in, to := jsontext.NewDecoder(bytes.NewReader(body), lenient...), jsontext.NewEncoder(&out, lenient...)
	for {
		token, err := in.ReadToken()
		switch {
		case errors.Is(err, io.EOF) && in.InputOffset() > 0:
			return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
		case err != nil: // no JSON: what looks like a key is masked
			return []byte(withoutKeys(string(body)))
		}
		name, secret := token.Kind() == '"' && isName(in), false
		switch {
		case name:
			secret = isSecret(token.String())
		case token.Kind() == '"':
			token = jsontext.String(withoutKeys(token.String()))
		}
		if err := to.WriteToken(token); err != nil {
			return []byte(withoutKeys(string(body)))
		}
		if secret {
			if err := errors.Join(in.SkipValue(), to.WriteToken(jsontext.String(mask))); err != nil {
				return []byte(withoutKeys(string(body)))
			}
		}
	}
}

// isName says whether the string that was just read is the name of a member.
func isName(in *jsontext.Decoder) bool {
	kind, length := in.StackIndex(in.StackDepth())
	return kind == '{' && length%2 == 1
}

func isSecret(name string) bool {
	name = strings.ToLower(strings.NewReplacer("_", "", "-", "", " ", "").Replace(name))
	return name == "regkey" || name == "database64"
}

func withoutKeys(text string) string { return brokenKey.ReplaceAllString(text, `${1}"`+mask+`"`) }

// brokenKey finds them in what is no JSON, or text within JSON.
var brokenKey = regexp.MustCompile(`(?i)((?:reg[_-]?key|data_base64)\\*["']?\s*[:=]\s*)(\\+"[^"]*"?|"(?:[^"\\]|\\.)*"?|'[^']*'?|[^\s,}]+)`)
