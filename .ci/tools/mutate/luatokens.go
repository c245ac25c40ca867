package main

import (
	"fmt"
	"strings"
)

// luaToken is a word of a Lua source: a keyword or sign as it is written, or one of the kinds below.
type luaToken struct {
	kind       string
	begin, end int
}

const (
	luaName    = "<name>"
	luaLiteral = "<literal>" // a number or string
	luaEnd     = "<end>"
)

var luaKeywords = strings.Fields(
	"and break do else elseif end false for function if in local nil not or repeat return then true until while")

// The longest first.
var luaSigns = strings.Fields("... == ~= <= >= .. + - * / % ^ # < > = ( ) { } [ ] ; : , .")

// luaTokens splits a source into tokens, comments left out.
func luaTokens(source string) ([]luaToken, error) {
	var tokens []luaToken
	for at := 0; ; {
		at = luaSkip(source, at)
		if at == len(source) {
			return append(tokens, luaToken{luaEnd, at, at}), nil
		}
		t := luaToken{begin: at}
		switch rest := source[at:]; {
		case letter(rest[0]):
			for at < len(source) && (letter(source[at]) || digit(source[at])) {
				at++
			}
			t.kind = luaName
			for _, word := range luaKeywords {
				if word == source[t.begin:at] {
					t.kind = word
				}
			}
		case digit(rest[0]):
			for at < len(source) && (letter(source[at]) || digit(source[at]) || source[at] == '.') {
				at++
			}
			t.kind = luaLiteral
		case rest[0] == '\'' || rest[0] == '"':
			n := luaQuoted(rest)
			if n < 0 {
				return nil, fmt.Errorf("offset %d: a string without end", at)
			}
			t.kind, at = luaLiteral, at+n
		case strings.HasPrefix(rest, "[["):
			n := strings.Index(rest, "]]")
			if n < 0 {
				return nil, fmt.Errorf("offset %d: a string without end", at)
			}
			t.kind, at = luaLiteral, at+n+2
		default:
			for _, sign := range luaSigns {
				if strings.HasPrefix(rest, sign) {
					t.kind, at = sign, at+len(sign)
					break
				}
			}
			if t.kind == "" {
				return nil, fmt.Errorf("offset %d: %q is no Lua", at, rest[:1])
			}
		}
		t.end = at
		tokens = append(tokens, t)
	}
}

// luaSkip gives the offset behind white space and comments.
func luaSkip(source string, at int) int {
	for at < len(source) {
		switch rest := source[at:]; {
		case strings.ContainsRune(" \t\r\n", rune(rest[0])):
			at++
		case strings.HasPrefix(rest, "--[["):
			n := strings.Index(rest, "]]")
			if n < 0 {
				return len(source)
			}
			at += n + 2
		case strings.HasPrefix(rest, "--"):
			n := strings.IndexByte(rest, '\n')
			if n < 0 {
				return len(source)
			}
			at += n
		default:
			return at
		}
	}
	return at
}

// luaQuoted is the length of the quoted string that a text begins with, -1 if it does not end.
func luaQuoted(text string) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case text[0]:
			return i + 1
		}
	}
	return -1
}

func letter(c byte) bool { return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

func digit(c byte) bool { return c >= '0' && c <= '9' }
