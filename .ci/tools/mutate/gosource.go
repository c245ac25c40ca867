package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
)

// goSource finds the branches of one Go file and puts a switch into each.
type goSource struct {
	fset     *token.FileSet
	file     string
	source   string
	list     *list
	edits    insertions
	function string
	tail     map[ast.Stmt]bool // statements that a function with results ends with
	problems []string
}

// mutateGo adds the mutants of a file to the list and gives the file's text with the switches in it.
func mutateGo(file, source string, l *list) (string, error) {
	s := &goSource{fset: token.NewFileSet(), file: file, source: source, list: l, tail: map[ast.Stmt]bool{}}
	parsed, err := parser.ParseFile(s.fset, file, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return "", err
	}
	s.findTails(parsed)
	for _, decl := range parsed.Decls {
		s.function = declared(decl)
		s.walk(decl)
	}
	if err := s.embedded(parsed); err != nil {
		return "", err
	}
	if len(s.problems) > 0 {
		return "", fmt.Errorf("%s: %s", file, strings.Join(s.problems, "; "))
	}
	return s.edits.into(source), nil
}

// declared names a function or method; for a function literal outside of one, the variable.
func declared(decl ast.Decl) string {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			return d.Name.Name
		}
		receiver := d.Recv.List[0].Type
		if star, ok := receiver.(*ast.StarExpr); ok {
			receiver = star.X
		}
		if generic, ok := receiver.(*ast.IndexExpr); ok {
			receiver = generic.X
		}
		if name, ok := receiver.(*ast.Ident); ok {
			return name.Name + "." + d.Name.Name
		}
		return d.Name.Name
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			if values, ok := spec.(*ast.ValueSpec); ok {
				return values.Names[0].Name
			}
		}
	}
	return "file"
}

func (s *goSource) walk(root ast.Node) {
	var parents []ast.Node
	ast.Inspect(root, func(n ast.Node) bool {
		if n == nil {
			parents = parents[:len(parents)-1]
			return true
		}
		switch n := n.(type) {
		case *ast.IfStmt:
			s.ifStmt(n)
		case *ast.BinaryExpr:
			if len(parents) == 0 || !sameChain(parents[len(parents)-1], n.Op) {
				s.operands(n)
			}
		case *ast.SwitchStmt:
			s.switchStmt(n)
		case *ast.TypeSwitchStmt:
			s.typeSwitch(n)
		case *ast.SelectStmt:
			s.selectStmt(n)
		}
		parents = append(parents, n)
		return true
	})
}

func sameChain(parent ast.Node, op token.Token) bool {
	b, ok := parent.(*ast.BinaryExpr)
	return ok && b.Op == op
}

func (s *goSource) offset(p token.Pos) int { return s.fset.Position(p).Offset }

func (s *goSource) text(n ast.Node) string { return s.source[s.offset(n.Pos()):s.offset(n.End())] }

func (s *goSource) add(at token.Pos, change string) int {
	return s.list.add(mutant{file: s.file, line: s.fset.Position(at).Line, function: s.function, change: change}).id
}

func (s *goSource) wrap(n ast.Node, before, after string) {
	s.edits.around(s.offset(n.Pos()), s.offset(n.End()), before, after)
}

func (s *goSource) problem(n ast.Node, what string) {
	s.problems = append(s.problems, fmt.Sprintf("line %d: %s", s.fset.Position(n.Pos()).Line, what))
}

// ifStmt: the branch is deleted; where there is another one, that is deleted too.
func (s *goSource) ifStmt(n *ast.IfStmt) {
	id := s.add(n.Cond.Pos(), never("if", s.text(n.Cond)))
	if n.Else == nil {
		s.wrap(n.Cond, fmt.Sprintf("mutantIf(%d, ", id), ")")
		return
	}
	s.wrap(n.Cond, fmt.Sprintf("mutantIfElse(%d, %d, ", id, s.add(n.Cond.Pos(), always("if", s.text(n.Cond)))), ")")
}

// operands: each of a chain of && or || is dropped, and not computed either.
func (s *goSource) operands(n *ast.BinaryExpr) {
	dropped := map[token.Token]string{
		token.LAND: "(mutantIs(%[1]d) || mutantAnd(%[1]d, ", token.LOR: "(!mutantIs(%[1]d) && mutantOr(%[1]d, ",
	}[n.Op]
	if dropped == "" {
		return
	}
	var chain []ast.Expr
	var flatten func(e ast.Expr)
	flatten = func(e ast.Expr) {
		if b, ok := e.(*ast.BinaryExpr); ok && b.Op == n.Op {
			flatten(b.X)
			flatten(b.Y)
			return
		}
		chain = append(chain, e)
	}
	flatten(n)
	for _, operand := range chain {
		s.wrap(operand, fmt.Sprintf(dropped, s.add(operand.Pos(), without(s.text(n), s.text(operand)))), "))")
	}
}

// switchStmt: each value of each case is taken out. A switch on a value becomes one on comparisons with it.
func (s *goSource) switchStmt(n *ast.SwitchStmt) {
	before, after, cases := "", "", 0
	for _, clause := range clauses(n.Body) {
		cases += len(clause.List)
	}
	if n.Tag != nil && cases > 0 {
		before, after = "mutantTag == (", ")"
		switch {
		case n.Init == nil:
			s.wrap(n.Tag, "mutantTag := ", ";")
		case plain(n.Tag):
			before = s.text(n.Tag) + " == ("
			s.wrap(n.Tag, "/*", "*/")
		default:
			s.problem(n, "a switch with both a statement and a computed value cannot be changed: compute the value in the statement")
		}
	}
	for _, clause := range clauses(n.Body) {
		for _, value := range clause.List {
			id := s.add(value.Pos(), gone("case "+s.text(value)))
			s.wrap(value, fmt.Sprintf("mutantIf(%d, %s", id, before), after+")")
		}
		s.otherwise(n, clause)
	}
}

func clauses(body *ast.BlockStmt) (all []*ast.CaseClause) {
	for _, stmt := range body.List {
		all = append(all, stmt.(*ast.CaseClause))
	}
	return all
}

func plain(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return true
	case *ast.SelectorExpr:
		return plain(e.X)
	}
	return false
}

// typeSwitch: each type of each case is taken out, by showing the switch a nil instead of such a value.
func (s *goSource) typeSwitch(n *ast.TypeSwitchStmt) {
	var value ast.Expr
	switch assign := n.Assign.(type) {
	case *ast.AssignStmt:
		value = assign.Rhs[0].(*ast.TypeAssertExpr).X
	case *ast.ExprStmt:
		value = assign.X.(*ast.TypeAssertExpr).X
	}
	var cases []string
	for _, clause := range clauses(n.Body) {
		for _, of := range clause.List {
			if s.text(of) == "nil" {
				s.problem(of, "a case nil of a type switch cannot be taken out: compare with nil before the switch")
				continue
			}
			id := s.add(of.Pos(), gone("case "+s.text(of)))
			cases = append(cases, fmt.Sprintf(", mutantOf[%s](%d)", s.text(of), id))
		}
		s.otherwise(n, clause)
	}
	if len(cases) > 0 {
		s.wrap(value, "mutantType(", strings.Join(cases, "")+")")
	}
}

// otherwise: the body of a default is passed over. Where the function could not end then, reaching it is a panic.
func (s *goSource) otherwise(of ast.Stmt, clause *ast.CaseClause) {
	if clause.List == nil && len(clause.Body) > 0 {
		s.pass(of, clause.Pos(), clause.Colon, clause.Body)
	}
}

func (s *goSource) pass(of ast.Stmt, at, colon token.Pos, body []ast.Stmt) {
	if s.tail[of] {
		s.edits.at(s.offset(colon)+1, fmt.Sprintf("mutantPanic(%d);", s.add(at, "default panics")))
		return
	}
	id := s.add(at, gone("default"))
	s.edits.around(s.offset(colon)+1, s.offset(body[len(body)-1].End()), fmt.Sprintf("if mutantOff(%d) {", id), "}")
}

// selectStmt: each case is taken out, by waiting on a channel on which nothing ever happens.
func (s *goSource) selectStmt(n *ast.SelectStmt) {
	for _, stmt := range n.Body.List {
		clause := stmt.(*ast.CommClause)
		var channel ast.Expr
		name := "mutantFrom"
		switch comm := clause.Comm.(type) {
		case nil:
			if len(clause.Body) > 0 {
				s.pass(n, clause.Pos(), clause.Colon, clause.Body)
			}
			continue
		case *ast.SendStmt:
			channel, name = comm.Chan, "mutantTo"
		case *ast.ExprStmt:
			channel = comm.X.(*ast.UnaryExpr).X
		case *ast.AssignStmt:
			channel = comm.Rhs[0].(*ast.UnaryExpr).X
		}
		id := s.add(clause.Pos(), gone("case "+s.text(clause.Comm)))
		s.wrap(channel, fmt.Sprintf("%s(%d, ", name, id), ")")
		s.edits.at(s.offset(clause.Colon)+1, fmt.Sprintf("mutantHit(%d);", id))
	}
}

// findTails notes the statements that functions with results end with: they must stay what the compiler calls terminating.
func (s *goSource) findTails(file *ast.File) {
	ast.Inspect(file, func(n ast.Node) bool {
		switch f := n.(type) {
		case *ast.FuncDecl:
			if f.Body != nil && f.Type.Results != nil {
				s.tailOf(f.Body.List)
			}
		case *ast.FuncLit:
			if f.Type.Results != nil {
				s.tailOf(f.Body.List)
			}
		}
		return true
	})
}

func (s *goSource) tailOf(stmts []ast.Stmt) {
	if len(stmts) == 0 {
		return
	}
	last := stmts[len(stmts)-1]
	s.tail[last] = true
	switch last := last.(type) {
	case *ast.BlockStmt:
		s.tailOf(last.List)
	case *ast.LabeledStmt:
		s.tailOf([]ast.Stmt{last.Stmt})
	case *ast.IfStmt:
		s.tailOf(last.Body.List)
		if last.Else != nil {
			s.tailOf([]ast.Stmt{last.Else})
		}
	case *ast.SwitchStmt:
		s.tailsOf(last.Body)
	case *ast.TypeSwitchStmt:
		s.tailsOf(last.Body)
	case *ast.SelectStmt:
		s.tailsOf(last.Body)
	}
}

func (s *goSource) tailsOf(body *ast.BlockStmt) {
	for _, stmt := range body.List {
		switch clause := stmt.(type) {
		case *ast.CaseClause:
			s.tailOf(clause.Body)
		case *ast.CommClause:
			s.tailOf(clause.Body)
		}
	}
}

// embedded has every embedded Lua file read when the program starts, so that one build serves all its mutants.
func (s *goSource) embedded(file *ast.File) error {
	for _, decl := range file.Decls {
		d, ok := decl.(*ast.GenDecl)
		if !ok || d.Tok != token.VAR || d.Doc == nil {
			continue
		}
		at := slices.IndexFunc(d.Doc.List, func(c *ast.Comment) bool { return strings.HasPrefix(c.Text, "//go:embed ") })
		if at < 0 || !strings.HasSuffix(d.Doc.List[at].Text, ".lua") {
			continue
		}
		if len(d.Specs) != 1 || s.text(d.Specs[0].(*ast.ValueSpec).Type) != "string" {
			return fmt.Errorf("%s: an embedded Lua file is to be one variable of type string", s.file)
		}
		name := d.Specs[0].(*ast.ValueSpec).Names[0].Name
		_, embedded, _ := strings.Cut(d.Doc.List[at].Text, " ")
		folder := s.file[:strings.LastIndexByte(s.file, '/')+1]
		s.edits.at(s.offset(d.End()), fmt.Sprintf("; var %s = mutantText(%q, %sEmbedded)", name, folder+strings.TrimSpace(embedded), name))
		s.edits.at(s.offset(d.Specs[0].(*ast.ValueSpec).Names[0].End()), "Embedded")
	}
	return nil
}
