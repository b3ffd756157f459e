package main

import (
	"errors"
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	tree := treeOf(t, map[string]string{
		"a/a.go":      "package a\n\nimport _ \"m/b\"\n\nfunc F() {}\n",
		"a/a_test.go": "package a\n\nfunc f() { time.Sleep(1) }\n",
		"b/b.go":      "package b\n" + strings.Repeat("\n", 2500),
	})
	var b strings.Builder
	r := report{&b}
	r.packages(tree)
	r.shape(tree)
	r.passages(passage{message: []string{"a/a.go", "a/b.go", "b/b.go"}}, nil)
	got := b.String()
	for _, want := range []string{
		"\n          5     1        3     1  a → b\n",
		"\n  !    2501     1        0     0  b\n",
		"\n       2506 lines of code, 3 of tests: 0.00 lines of tests for each of code\n",
		"\nGroups of packages in an import cycle: 0\n",
		"\nFiles longer than 350 lines: 1\n     2501  b/b.go\n",
		"\nUndocumented exported names (of 1): 1\n           a/a.go:5  F\n",
		"\nCalls of time.Sleep in tests (and 0 in simulated time): 1\n           a/a_test.go:3\n",
		": 3 in 2 packages\n    a  a.go b.go\n    b  b.go\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got\n%s\nwant %q in it", got, want)
		}
	}
}

func TestReportOfAFailedMeasurement(t *testing.T) {
	var b strings.Builder
	report{&b}.passages(passage{}, errors.New("build the daemon: exit status 1"))
	if got, want := b.String(), "not measured, as it failed to build the daemon: exit status 1\n"; !strings.Contains(got, want) {
		t.Errorf("got %q, want %q in it", got, want)
	}
}
