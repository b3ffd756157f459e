package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// tree is the Go source of a module, for all platforms and build tags at once.
type tree struct {
	module string // such as "tcpmux"
	fset   *token.FileSet
	files  []*source // in the order of their paths
	broken []error   // syntax errors; of such a file only a part is known
}

// source is one file.
type source struct {
	path  string // relative to the module, with slashes
	pkg   string // the directory of path
	test  bool   // only tests use it: a _test.go file, or a file of a package that helps tests
	lines int
	text  []string // the lines without their ends
	ast   *ast.File
}

// load reads the module in the directory root. Modules below it, testdata, build and directories
// with a leading dot are not part of it.
func load(root string) (*tree, error) {
	t := &tree{fset: token.NewFileSet()}
	goMod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(goMod)) {
		if name, ok := strings.CutPrefix(line, "module "); ok {
			t.module = strings.TrimSpace(name)
		}
	}
	err = filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			return skipped(root, file)
		case filepath.Ext(file) == ".go":
			return t.add(root, file)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	t.markTestHelpers()
	return t, nil
}

// skipped returns fs.SkipDir for a directory that is not part of the module in root.
func skipped(root, dir string) error {
	if dir == root {
		return nil
	}
	name := filepath.Base(dir)
	if name == "build" || name == "testdata" || strings.HasPrefix(name, ".") {
		return fs.SkipDir
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

func (t *tree) add(root, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	relative, err := filepath.Rel(root, file)
	if err != nil {
		return err
	}
	relative = filepath.ToSlash(relative)
	parsed, err := parser.ParseFile(t.fset, relative, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.broken = append(t.broken, err)
	}
	t.files = append(t.files, &source{
		path:  relative,
		pkg:   path.Dir(relative),
		test:  strings.HasSuffix(relative, "_test.go"),
		lines: bytes.Count(text, []byte("\n")),
		text:  strings.Split(string(text), "\n"),
		ast:   parsed,
	})
	return nil
}

// markTestHelpers marks the packages that only tests use: those that are named so, such as
// conntest, and those that import testing.
func (t *tree) markTestHelpers() {
	helpers := map[string]bool{}
	for _, f := range t.files {
		if !f.test && (strings.HasSuffix(f.pkg, "test") || slices.Contains(f.imports(), "testing")) {
			helpers[f.pkg] = true
		}
	}
	for _, f := range t.files {
		f.test = f.test || helpers[f.pkg]
	}
}

// inTestFile reports whether go build leaves the file out.
func (f *source) inTestFile() bool { return strings.HasSuffix(f.path, "_test.go") }

func (f *source) imports() (paths []string) {
	for _, spec := range f.ast.Imports {
		// The parser has checked it.
		if p, err := strconv.Unquote(spec.Path.Value); err == nil {
			paths = append(paths, p)
		}
	}
	return paths
}

// at returns the place of a node, such as "config/key.go:12".
func (t *tree) at(node ast.Node) string {
	p := t.fset.Position(node.Pos())
	return fmt.Sprintf("%s:%d", p.Filename, p.Line)
}

// span returns how many lines a node covers.
func (t *tree) span(node ast.Node) int {
	return t.fset.Position(node.End()).Line - t.fset.Position(node.Pos()).Line + 1
}
