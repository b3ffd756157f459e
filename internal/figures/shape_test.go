package main

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// treeOf loads a module of the given files, which belong to the module m.
func treeOf(t *testing.T, files map[string]string) *tree {
	t.Helper()
	dir := t.TempDir()
	files["go.mod"] = "module m\n\ngo 1.26\n"
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tree, err := load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// texts returns findings as "size place name".
func texts(list []finding) (texts []string) {
	for _, f := range list {
		texts = append(texts, strings.TrimSpace(fmt.Sprintf("%d %s %s", f.size, f.at, f.name)))
	}
	return texts
}

func TestFindings(t *testing.T) {
	lines := func(n int) string { return strings.Repeat("\tprintln()\n", n) }
	words := func(columns int) string { return "// x " + strings.Repeat("y", columns-5) }
	fields := func(n int) string { return strings.Repeat("\tint\n", n-2) + "\ta, b int\n" }
	for _, c := range []struct {
		name, text string
		find       func(*tree) []finding
		want       []string
	}{
		{"a function of 55 lines", "package p\n\nfunc f() {\n" + lines(53) + "}\n", longFunctions, nil},
		{"a function of 56 lines", "package p\n\n// f is long.\nfunc f() {\n" + lines(54) + "}\n", longFunctions, []string{"56 p/p.go:4 f"}},
		{"a method", "package p\n\nfunc (x *y[T]) f() {\n" + lines(60) + "}\n", longFunctions, []string{"62 p/p.go:3 y.f"}},
		{"a file of 350 lines", "package p\n" + strings.Repeat("\n", 349), longFiles, nil},
		{"a file of 351 lines", "package p\n" + strings.Repeat("\n", 350), longFiles, []string{"351 p/p.go"}},
		{"a struct of 12 fields", "package p\n\ntype s struct {\n" + fields(12) + "}\n", wideStructs, nil},
		{"a struct of 13 fields", "package p\n\ntype s struct {\n" + fields(13) + "}\n", wideStructs, []string{"13 p/p.go:3 s"}},
		{"a struct without a name", "package p\n\nvar x struct {\n" + fields(13) + "}\n", wideStructs, []string{"13 p/p.go:3 (no name)"}},
		{"a comment of 100 columns", "package p\n\n" + words(100) + "\n", wideComments, nil},
		{"two comments of 101 columns", "package p\n\n" + words(101) + "\n" + words(101) + "\n", wideComments, []string{"2 p/p.go"}},
		{"an indented comment of 101 columns", "package p\n\nvar (\n\t" + words(97) + "\n)\n", wideComments, []string{"1 p/p.go"}},
		{"a long address", "package p\n\n// https://" + strings.Repeat("x", 100) + "\n", wideComments, nil},
		{"a long line of code", "package p\n\nvar x = `" + strings.Repeat("x ", 100) + "`\n", wideComments, nil},
		{"code with a comment", "package p\n\nvar x = 1 + " + strings.Repeat("1", 80) + " // too far to the right\n", wideComments, []string{"1 p/p.go"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := texts(c.find(treeOf(t, map[string]string{"p/p.go": c.text})))
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestUndocumentedNames(t *testing.T) {
	tree := treeOf(t, map[string]string{
		"p/p.go": `package p

// A is documented.
const A = 1

// All of them.
const (
	B = 2
	C = 3
)

const (
	D = 4 // is documented
	E = 5
)

type F struct{}

// G is documented.
type G struct{}

type (
	// H is documented.
	H int
	I int
)

func (*F) J() {}

func (*F) k() {}

type l int

func (l) M() {}

var N, o int
`,
		"p/p_test.go":   "package p\n\nfunc Test() {}\n",
		"cmd/x/main.go": "package main\n\nvar P int\n",
	})
	list, all := undocumented(tree)
	want := []string{"0 p/p.go:14 E", "0 p/p.go:17 F", "0 p/p.go:25 I", "0 p/p.go:28 F.J", "0 p/p.go:36 N"}
	if got := texts(list); !reflect.DeepEqual(got, want) || all != 11 {
		t.Errorf("got %q of %d, want %q of 11", got, all, want)
	}
}

func TestSleeps(t *testing.T) {
	tree := treeOf(t, map[string]string{
		"p/p.go":      "package p\n\nimport \"time\"\n\nfunc f() { time.Sleep(1) }\n",
		"p/p_test.go": "package p\n\nimport \"time\"\n\nfunc f() {\n\ttime.Sleep(1)\n\tg(time.Sleep)\n}\n\nfunc g() { synctest.Wait(); time.Sleep(1) }\n",
	})
	real, simulated := sleeps(tree)
	want := []string{"0 p/p_test.go:6", "0 p/p_test.go:7"}
	if got := texts(real); !reflect.DeepEqual(got, want) || simulated != 1 {
		t.Errorf("got %q and %d in simulated time, want %q and 1", got, simulated, want)
	}
}
