package main

import (
	"reflect"
	"strings"
	"testing"
)

func TestPackages(t *testing.T) {
	tree := treeOf(t, map[string]string{
		"a/a.go":            "package a\n\nimport _ \"m/b\"\n",
		"a/other.go":        "package a\n\nimport (\n\t_ \"fmt\"\n\t_ \"m/b\"\n\t_ \"m/c\"\n)\n",
		"a/a_test.go":       "package a_test\n\nimport _ \"m/btest\"\n",
		"b/b.go":            "package b\n",
		"btest/btest.go":    "package btest\n\nimport _ \"m/b\"\n",
		"c/c.go":            "package c\n\nimport _ \"testing\"\n",
		"a/testdata/x.go":   "not Go",
		"build/x.go":        "not Go",
		".hidden/x.go":      "not Go",
		"other/go.mod":      "module other\n",
		"other/x/other.go":  "package other\n",
		"tagged/tagged.go":  "//go:build never\n\npackage tagged\n",
		"tagged/README.txt": "no Go",
	})
	want := []*pkg{
		{dir: "a", files: 2, lines: 10, testFiles: 1, testLines: 3, imports: []string{"b", "c"}},
		{dir: "b", files: 1, lines: 1},
		{dir: "btest", testFiles: 1, testLines: 3, helper: true, imports: []string{"b"}},
		{dir: "c", testFiles: 1, testLines: 3, helper: true},
		{dir: "tagged", files: 1, lines: 3},
	}
	got := packages(tree)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", values(got), values(want))
	}
}

func values(list []*pkg) (values []pkg) {
	for _, p := range list {
		values = append(values, *p)
	}
	return values
}

func TestCycles(t *testing.T) {
	for _, c := range []struct {
		name, imports string // "a:bc" means that a imports b and c
		want          [][]string
	}{
		{"a tree", "a:bc b:d c:d d:", nil},
		{"two that know each other", "a:b b:ac c:", [][]string{{"a", "b"}}},
		{"a longer cycle below another package", "a:b b:c c:d d:b e:", [][]string{{"b", "c", "d"}}},
		{"two cycles", "a:b b:a c:d d:ca", [][]string{{"a", "b"}, {"c", "d"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var list []*pkg
			for _, p := range strings.Fields(c.imports) {
				dir, imports, _ := strings.Cut(p, ":")
				list = append(list, &pkg{dir: dir, imports: strings.Split(imports, "")})
			}
			if got := cycles(list); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestABrokenFileIsCountedInPart(t *testing.T) {
	tree := treeOf(t, map[string]string{"p/p.go": "package p\n\nfunc F() {}\n\nfunc (\n"})
	list, all := undocumented(tree)
	if len(tree.broken) != 1 || len(list) != 1 || all != 1 {
		t.Errorf("got errors %v and %q of %d names, want one of each", tree.broken, texts(list), all)
	}
}
