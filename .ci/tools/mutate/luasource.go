package main

import (
	"fmt"
	"slices"
	"strings"
)

// luaSource finds the branches of one Lua file by reading it as the grammar of Lua 5.1 has it.
type luaSource struct {
	file     string
	source   string
	list     *list
	tokens   []luaToken // that have not been read yet
	last     int        // where the one read last ends
	function []string   // the functions around the place that is read
}

// mutateLua adds the mutants of a file to the list.
func mutateLua(file, source string, l *list) (err error) {
	tokens, err := luaTokens(source)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	s := &luaSource{file: file, source: source, list: l, tokens: tokens, function: []string{"script"}}
	defer func() {
		if p, ok := recover().(luaProblem); ok {
			err = fmt.Errorf("%s: %s", file, string(p))
		}
	}()
	s.block()
	s.expect(luaEnd)
	return nil
}

// luaProblem ends the reading.
type luaProblem string

func (s *luaSource) kind() string { return s.tokens[0].kind }

func (s *luaSource) is(kinds ...string) bool { return slices.Contains(kinds, s.kind()) }

func (s *luaSource) next() luaToken {
	t := s.tokens[0]
	s.tokens, s.last = s.tokens[1:], t.end
	return t
}

func (s *luaSource) accept(kinds ...string) bool {
	if !s.is(kinds...) {
		return false
	}
	s.next()
	return true
}

func (s *luaSource) expect(kind string) luaToken {
	if s.kind() != kind {
		panic(luaProblem(fmt.Sprintf("line %d: %s where %s is expected", s.line(s.tokens[0].begin), s.kind(), kind)))
	}
	return s.next()
}

func (s *luaSource) line(offset int) int { return 1 + strings.Count(s.source[:offset], "\n") }

// piece is what lies between two offsets.
type piece struct{ begin, end int }

func (s *luaSource) text(p piece) string { return s.source[p.begin:p.end] }

func (s *luaSource) add(at piece, change string, replaced piece, by string) {
	s.list.add(mutant{
		file: s.file, line: s.line(at.begin), function: s.function[len(s.function)-1], change: change,
		text: s.source[:replaced.begin] + by + s.source[replaced.end:],
	})
}

func (s *luaSource) block() {
	for !s.is(luaEnd, "end", "else", "elseif", "until") {
		s.statement()
		s.accept(";")
	}
}

func (s *luaSource) statement() {
	switch t := s.next(); t.kind {
	case "if":
		s.ifStatement()
	case "while":
		condition := s.expression()
		s.add(condition, never("while", s.text(condition)), condition, "false")
		s.expect("do")
		s.blockToEnd()
	case "repeat":
		s.block()
		s.expect("until")
		s.expression()
	case "do":
		s.blockToEnd()
	case "for":
		s.names()
		s.next() // = or in
		s.expressions()
		s.expect("do")
		s.blockToEnd()
	case "function":
		name := s.expect(luaName)
		for s.accept(".", ":") {
			name.end = s.expect(luaName).end
		}
		s.functionBody(s.text(piece{name.begin, name.end}))
	case "local":
		if s.accept("function") {
			name := s.expect(luaName)
			s.functionBody(s.text(piece{name.begin, name.end}))
			return
		}
		s.names()
		if s.accept("=") {
			s.expressions()
		}
	case "return":
		if !s.is(luaEnd, "end", "else", "elseif", "until", ";") {
			s.expressions()
		}
	case "break":
	default: // an assignment or a call
		s.primary(t)
		for s.accept(",") {
			s.primary(s.next())
		}
		if s.accept("=") {
			s.expressions()
		}
	}
}

func (s *luaSource) ifStatement() {
	for keyword := "if"; ; keyword = "elseif" {
		condition := s.expression()
		s.add(condition, never(keyword, s.text(condition)), condition, "false")
		s.expect("then")
		s.block()
		if s.is("else", "elseif") {
			s.add(condition, always(keyword, s.text(condition)), condition, "true")
		}
		if !s.accept("elseif") {
			break
		}
	}
	if s.accept("else") {
		s.block()
	}
	s.expect("end")
}

func (s *luaSource) blockToEnd() {
	s.block()
	s.expect("end")
}

func (s *luaSource) names() {
	s.expect(luaName)
	for s.accept(",") {
		s.expect(luaName)
	}
}

func (s *luaSource) functionBody(name string) {
	s.function = append(s.function, name)
	s.expect("(")
	for !s.accept(")") {
		s.next()
	}
	s.blockToEnd()
	s.function = s.function[:len(s.function)-1]
}

func (s *luaSource) expressions() {
	s.expression()
	for s.accept(",") {
		s.expression()
	}
}

func (s *luaSource) expression() piece {
	return s.chain("or", func() piece { return s.chain("and", s.compared) })
}

// chain reads operands joined by a word, and drops each of them in turn.
func (s *luaSource) chain(word string, operand func() piece) piece {
	operands := []piece{operand()}
	for s.accept(word) {
		operands = append(operands, operand())
	}
	last := len(operands) - 1
	whole := piece{operands[0].begin, operands[last].end}
	if last == 0 {
		return whole
	}
	for i, o := range operands {
		dropped := piece{o.begin, whole.end}
		if i < last {
			dropped.end = operands[i+1].begin
		} else {
			dropped.begin = operands[i-1].end
		}
		s.add(o, without(s.text(whole), s.text(o)), dropped, "")
	}
	return whole
}

// compared reads operands joined by any other operator.
func (s *luaSource) compared() piece {
	whole := s.unary()
	for s.accept("==", "~=", "<", ">", "<=", ">=", "..", "+", "-", "*", "/", "%", "^") {
		whole.end = s.unary().end
	}
	return whole
}

func (s *luaSource) unary() piece {
	begin := s.tokens[0].begin
	for s.accept("not", "#", "-") {
	}
	switch t := s.next(); t.kind {
	case "nil", "true", "false", luaLiteral, "...":
		return piece{begin, t.end}
	case "function":
		s.functionBody(s.function[len(s.function)-1])
		return piece{begin, s.last}
	case "{":
		s.table()
		return piece{begin, s.last}
	default:
		s.primary(t)
		return piece{begin, s.last}
	}
}

// primary reads a name or an expression in brackets, and what is looked up in it or called; its first token has been read.
func (s *luaSource) primary(first luaToken) {
	switch first.kind {
	case luaName:
	case "(":
		s.expression()
		s.expect(")")
	default:
		panic(luaProblem(fmt.Sprintf("line %d: %s where an expression is expected", s.line(first.begin), first.kind)))
	}
	for {
		switch {
		case s.accept(".", ":"):
			s.expect(luaName)
		case s.accept("["):
			s.expression()
			s.expect("]")
		case s.accept("("):
			if !s.accept(")") {
				s.expressions()
				s.expect(")")
			}
		case s.accept("{"):
			s.table()
		case s.accept(luaLiteral):
		default:
			return
		}
	}
}

// table reads a table's fields and its closing bracket.
func (s *luaSource) table() {
	for !s.accept("}") {
		if s.accept("[") {
			s.expression()
			s.expect("]")
			s.expect("=")
		} else if s.is(luaName) && s.tokens[1].kind == "=" {
			s.next()
			s.next()
		}
		s.expression()
		s.accept(",", ";")
	}
}
