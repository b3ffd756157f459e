package main

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestPassed(t *testing.T) {
	before := profile(t, "m/a.go:1.1,2.2 1 5", "m/b.go:1.1,2.2 1 90")
	after := profile(t,
		"m/a.go:1.1,2.2 1 105", // once for each round
		"m/a.go:3.1,4.2 1 100", // the same file
		"m/b.go:1.1,2.2 1 100", // often, but not more often
		"m/c/c.go:1.1,2.2 7 99",
		"m/d.go:1.1,2.2 1 60", "m/d.go:1.1,2.2 1 60", // of two processes
	)
	want := []string{"a.go", "d.go"}
	if got := passed(before, after, 100, "m"); !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func profile(t *testing.T, lines ...string) map[string]int {
	t.Helper()
	counts, err := parseProfile(strings.NewReader("mode: atomic\n" + strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	return counts
}

func TestProfilesThatAreNone(t *testing.T) {
	for _, c := range []struct{ name, text string }{
		{"a line without numbers", "m/a.go:1.1,2.2\n"},
		{"a count that is no number", "m/a.go:1.1,2.2 1 many\n"},
	} {
		if got, err := parseProfile(strings.NewReader(c.text)); err == nil {
			t.Errorf("%s: got %v, want an error", c.name, got)
		}
	}
}

// TestMeasure holds that what runs for each message is counted, and what runs for other reasons is
// not.
func TestMeasure(t *testing.T) {
	p, err := measure(t.Context(), "../..", "tcpmux")
	if err != nil {
		t.Fatal(err)
	}
	of := func(files []string, dir string) bool {
		return slices.ContainsFunc(files, func(f string) bool { return strings.HasPrefix(f, dir+"/") })
	}
	for _, dir := range []string{"daemon/framing", "daemon/record"} {
		if !of(p.message, dir) {
			t.Errorf("got %q for a message, want files of %s", p.message, dir)
		}
	}
	for _, dir := range []string{"config", "cmd", "daemon/admission", "daemon/proxy"} {
		if of(p.message, dir) {
			t.Errorf("got %q for a message, want no file of %s", p.message, dir)
		}
	}
	if !of(p.visit, "daemon/admission") {
		t.Errorf("got %q for a visit, want files of daemon/admission", p.visit)
	}
	for _, f := range p.message {
		if !slices.Contains(p.visit, f) {
			t.Errorf("got %s for a message and not for a visit with one", f)
		}
	}
}
