package main

import (
	"maps"
	"slices"
	"strings"
)

// pkg is a package with the size of its code and of its tests.
type pkg struct {
	dir                  string
	files, lines         int // of code
	testFiles, testLines int
	helper               bool     // only tests use it
	imports              []string // directories of this module that its code imports, sorted
}

// packages returns all packages of the module in the order of their directories.
func packages(t *tree) []*pkg {
	byDir := map[string]*pkg{}
	for _, f := range t.files {
		p := byDir[f.pkg]
		if p == nil {
			p = &pkg{dir: f.pkg}
			byDir[f.pkg] = p
		}
		if f.test {
			p.testFiles++
			p.testLines += f.lines
		} else {
			p.files++
			p.lines += f.lines
		}
		if f.inTestFile() {
			continue
		}
		p.helper = f.test
		for _, path := range f.imports() {
			if dir, ok := strings.CutPrefix(path, t.module+"/"); ok && !slices.Contains(p.imports, dir) {
				p.imports = append(p.imports, dir)
			}
		}
		slices.Sort(p.imports)
	}
	return slices.SortedFunc(maps.Values(byDir), func(a, b *pkg) int { return strings.Compare(a.dir, b.dir) })
}

// cycles returns the groups of packages that import each other, directly or through others. The
// compiler accepts no such group, but a tree in the middle of a change may have one.
func cycles(list []*pkg) (groups [][]string) {
	reach := map[string]map[string]bool{}
	for _, p := range list {
		reach[p.dir] = reachable(list, p.dir)
	}
	done := map[string]bool{}
	for _, p := range list {
		if done[p.dir] || !reach[p.dir][p.dir] {
			continue
		}
		group := []string{}
		for _, q := range list {
			if reach[p.dir][q.dir] && reach[q.dir][p.dir] {
				group = append(group, q.dir)
				done[q.dir] = true
			}
		}
		groups = append(groups, group)
	}
	return groups
}

// reachable returns all packages that the package in a directory imports, directly or through
// others. The package itself is among them only if it is in a cycle.
func reachable(list []*pkg, dir string) map[string]bool {
	seen := map[string]bool{}
	var visit func(dir string)
	visit = func(dir string) {
		i := slices.IndexFunc(list, func(p *pkg) bool { return p.dir == dir })
		if i < 0 {
			return
		}
		for _, next := range list[i].imports {
			if !seen[next] {
				seen[next] = true
				visit(next)
			}
		}
	}
	visit(dir)
	return seen
}
