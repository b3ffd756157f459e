package main

import (
	"cmp"
	"go/ast"
	"go/token"
	"slices"
	"strings"
	"unicode/utf8"
)

// The limits. What exceeds one is listed.
const (
	maxPackageLines   = 2500 // about
	maxPackageFiles   = 25
	maxFunctionLines  = 55
	maxFileLines      = 350
	maxStructFields   = 12
	maxCommentColumns = 100
)

// tabWidth is how many columns a tab of the indentation takes.
const tabWidth = 4

// finding is one place that exceeds a limit.
type finding struct {
	size int // 0 where there is nothing to measure
	at   string
	name string
}

// longest sorts findings by size, and equal ones by place.
func longest(list []finding) []finding {
	slices.SortStableFunc(list, func(a, b finding) int { return cmp.Compare(b.size, a.size) })
	return list
}

func longFiles(t *tree) (list []finding) {
	for _, f := range t.files {
		if f.lines > maxFileLines {
			list = append(list, finding{size: f.lines, at: f.path})
		}
	}
	return longest(list)
}

// longFunctions counts the lines from func to the closing brace, with those of the literals inside.
func longFunctions(t *tree) (list []finding) {
	for _, f := range t.files {
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			// Without the comment, which Pos of a declaration does not include.
			if n := t.span(fn); n > maxFunctionLines {
				list = append(list, finding{n, t.at(fn), functionName(fn)})
			}
		}
	}
	return longest(list)
}

// functionName returns "name" or "Type.name".
func functionName(fn *ast.FuncDecl) string {
	if receiver := receiverName(fn); receiver != "" {
		return receiver + "." + fn.Name.Name
	}
	return fn.Name.Name
}

// receiverName returns the type of a method without pointer and parameters, and "" for a function.
func receiverName(fn *ast.FuncDecl) string {
	if fn.Recv == nil || len(fn.Recv.List) == 0 {
		return ""
	}
	expr := fn.Recv.List[0].Type
	for {
		switch e := expr.(type) {
		case *ast.StarExpr:
			expr = e.X
		case *ast.IndexExpr:
			expr = e.X
		case *ast.IndexListExpr:
			expr = e.X
		case *ast.Ident:
			return e.Name
		default:
			return ""
		}
	}
}

// wideStructs counts the fields of each struct type; an embedded one is one field.
func wideStructs(t *tree) (list []finding) {
	for _, f := range t.files {
		names := map[*ast.StructType]string{}
		ast.Inspect(f.ast, func(node ast.Node) bool {
			switch n := node.(type) {
			case *ast.TypeSpec:
				if s, ok := n.Type.(*ast.StructType); ok {
					names[s] = n.Name.Name
				}
			case *ast.StructType:
				if size := n.Fields.NumFields(); size > maxStructFields {
					list = append(list, finding{size, t.at(n), cmp.Or(names[n], "(no name)")})
				}
			}
			return true
		})
	}
	return longest(list)
}

// wideComments counts in each file the comment lines that end right of the limit, also those behind
// code. Directives and lines of a single word, such as an address, cannot be wrapped and do not
// count.
func wideComments(t *tree) (list []finding) {
	for _, f := range t.files {
		wide := 0
		for _, group := range f.ast.Comments {
			for n := t.fset.Position(group.Pos()).Line; n <= t.fset.Position(group.End()).Line; n++ {
				if isWide(f.text[n-1]) {
					wide++
				}
			}
		}
		if wide > 0 {
			list = append(list, finding{size: wide, at: f.path})
		}
	}
	return longest(list)
}

// isWide reports whether a line with a comment ends right of the limit and could be shorter.
func isWide(line string) bool {
	unindented := strings.TrimLeft(line, "\t")
	width := (len(line)-len(unindented))*tabWidth + utf8.RuneCountInString(unindented)
	words := strings.Fields(strings.TrimPrefix(unindented, "//"))
	return width > maxCommentColumns && len(words) > 1 && !strings.HasPrefix(line, "//go:")
}

// sleeps returns the calls of time.Sleep in tests. Those in a function that uses testing/synctest
// take simulated time, and are only counted.
func sleeps(t *tree) (real []finding, simulated int) {
	for _, f := range t.files {
		if !f.test {
			continue
		}
		for _, d := range f.ast.Decls {
			calls := selectors(d, "time", "Sleep")
			if len(selectors(d, "synctest", "")) > 0 {
				simulated += len(calls)
				continue
			}
			for _, c := range calls {
				real = append(real, finding{at: t.at(c)})
			}
		}
	}
	return real, simulated
}

// selectors returns where a declaration uses a name of a package, "" for any name. The package must
// have its usual name.
func selectors(d ast.Decl, pkg, name string) (list []ast.Node) {
	ast.Inspect(d, func(node ast.Node) bool {
		s, ok := node.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if from, ok := s.X.(*ast.Ident); ok && from.Name == pkg && (name == "" || s.Sel.Name == name) {
			list = append(list, s)
		}
		return true
	})
	return list
}

// undocumented returns the exported names without a comment, and how many exported names exist. It
// looks at constants, variables, types, functions, and the methods of exported types; not at
// commands, which nobody imports. The comment of a group documents its constants and variables.
func undocumented(t *tree) (list []finding, all int) {
	for _, f := range t.files {
		if f.inTestFile() || f.ast.Name.Name == "main" {
			continue
		}
		for _, d := range f.ast.Decls {
			for _, e := range exported(d) {
				all++
				if !e.documented {
					list = append(list, finding{0, t.at(e.node), e.name})
				}
			}
		}
	}
	return list, all
}

// export is an exported name.
type export struct {
	name       string
	node       ast.Node
	documented bool
}

func exported(d ast.Decl) (list []export) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		receiver := receiverName(d)
		if d.Name.IsExported() && (receiver == "" || token.IsExported(receiver)) {
			list = append(list, export{functionName(d), d, d.Doc != nil})
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			list = append(list, exportedBy(d, spec)...)
		}
	}
	return list
}

func exportedBy(d *ast.GenDecl, spec ast.Spec) (list []export) {
	switch s := spec.(type) {
	case *ast.TypeSpec:
		if s.Name.IsExported() {
			// The comment of a declaration without parentheses belongs to its only
			// type.
			documented := s.Doc != nil || d.Doc != nil && !d.Lparen.IsValid()
			list = append(list, export{s.Name.Name, s, documented})
		}
	case *ast.ValueSpec:
		for _, name := range s.Names {
			if name.IsExported() {
				list = append(list, export{name.Name, name, s.Doc != nil || s.Comment != nil || d.Doc != nil})
			}
		}
	}
	return list
}
