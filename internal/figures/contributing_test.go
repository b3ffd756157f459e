package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The tables of CONTRIBUTING.md describe this tree.

func contributing(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Where things live\n")
	section, _, _ = strings.Cut(section, "\n## ")
	return section
}

func module(t *testing.T) []*pkg {
	t.Helper()
	tree, err := load("../..")
	if err != nil {
		t.Fatal(err)
	}
	return packages(tree)
}

// described returns the packages in the table, from top to bottom.
func described(t *testing.T) (dirs []string) {
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| .+\\. \\|$").FindAllStringSubmatch(contributing(t), -1) {
		dirs = append(dirs, m[1])
	}
	return dirs
}

func TestEveryPackageHasASentence(t *testing.T) {
	dirs := described(t)
	var all []string
	for _, p := range module(t) {
		all = append(all, p.dir)
		if !slices.Contains(dirs, p.dir) {
			t.Errorf("CONTRIBUTING.md: got no sentence about %s, want one", p.dir)
		}
	}
	for _, dir := range dirs {
		if !slices.Contains(all, dir) {
			t.Errorf("CONTRIBUTING.md: got a sentence about %s, which does not exist", dir)
		}
	}
}

func TestImportsRunDownward(t *testing.T) {
	dirs := described(t)
	for _, p := range module(t) {
		for _, imported := range p.imports {
			if slices.Index(dirs, p.dir) >= slices.Index(dirs, imported) {
				t.Errorf("%s imports %s, want it further down in the table of CONTRIBUTING.md", p.dir, imported)
			}
		}
	}
}

// TestArrowsAreThoseOfTheDaemon compares the arrows with the imports of all packages of the daemon
// but those that help tests.
func TestArrowsAreThoseOfTheDaemon(t *testing.T) {
	got := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^    (\S+) → .*$`).FindAllStringSubmatch(contributing(t), -1) {
		got[m[1]] = strings.TrimSpace(m[0])
	}
	for _, p := range module(t) {
		if p.helper || p.dir != "daemon" && !strings.HasPrefix(p.dir, "daemon/") {
			continue
		}
		name, imports := strings.TrimPrefix(p.dir, "daemon/"), []string{}
		for _, dir := range p.imports {
			if dir != "config" {
				imports = append(imports, strings.TrimPrefix(dir, "daemon/"))
			}
		}
		want := ""
		if len(imports) > 0 {
			want = name + " → " + strings.Join(imports, ", ")
		}
		if got[name] != want {
			t.Errorf("CONTRIBUTING.md: got the arrow %q, want %q", got[name], want)
		}
		delete(got, name)
	}
	for _, line := range got {
		t.Errorf("CONTRIBUTING.md: got the arrow %q, which has no package", line)
	}
}
