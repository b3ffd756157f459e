package main

import (
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
)

// report prints figures. An error of its writer is not reported, as with fmt.Println.
type report struct{ out io.Writer }

func (r report) line(format string, args ...any) {
	_, _ = fmt.Fprintf(r.out, format+"\n", args...)
}

// packages prints a table of all packages and the figures about them as a whole. A "!" marks those
// that exceed a limit.
func (r report) packages(t *tree) {
	for _, err := range t.broken {
		r.line("Only partly counted: %v", err)
	}
	list := packages(t)
	r.line("Packages (about %d lines and %d files at most, without tests):", maxPackageLines, maxPackageFiles)
	r.line("    %7s %5s  %7s %5s", "lines", "files", "tests", "files")
	var code, tests int
	for _, p := range list {
		code, tests = code+p.lines, tests+p.testLines
		mark := " "
		if p.lines > maxPackageLines || p.files > maxPackageFiles {
			mark = "!"
		}
		r.line("  %s %7d %5d  %7d %5d  %s%s", mark, p.lines, p.files, p.testLines, p.testFiles, p.dir, arrow(p.imports))
	}
	r.line("    %7d lines of code, %d of tests: %.2f lines of tests for each of code", code, tests, ratio(tests, code))
	groups := cycles(list)
	r.line("")
	r.line("Groups of packages in an import cycle: %d", len(groups))
	for _, g := range groups {
		r.line("    %s", strings.Join(g, ", "))
	}
}

func arrow(imports []string) string {
	if len(imports) == 0 {
		return ""
	}
	return " → " + strings.Join(imports, ", ")
}

func ratio(a, b int) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

// shape prints all that exceeds a limit, tests included.
func (r report) shape(t *tree) {
	r.findings(fmt.Sprintf("Functions longer than %d lines", maxFunctionLines), longFunctions(t))
	r.findings(fmt.Sprintf("Files longer than %d lines", maxFileLines), longFiles(t))
	r.findings(fmt.Sprintf("Structs with more than %d fields", maxStructFields), wideStructs(t))
	r.findings(fmt.Sprintf("Files with comment lines that end after column %d", maxCommentColumns), wideComments(t))
	missing, all := undocumented(t)
	r.findings(fmt.Sprintf("Undocumented exported names (of %d)", all), missing)
	real, simulated := sleeps(t)
	r.findings(fmt.Sprintf("Calls of time.Sleep in tests (and %d in simulated time)", simulated), real)
}

func (r report) findings(title string, list []finding) {
	r.line("")
	r.line("%s: %d", title, len(list))
	for _, f := range list {
		size := ""
		if f.size > 0 {
			size = strconv.Itoa(f.size)
		}
		r.line("%s", strings.TrimRight(fmt.Sprintf("    %5s  %s  %s", size, f.at, f.name), " "))
	}
}

// passages prints what measure has found.
func (r report) passages(p passage, err error) {
	r.line("")
	if err != nil {
		r.line("Files that one message passes: not measured, as it failed to %v", err)
		return
	}
	r.passage("Files that one message of a connected client passes, from the read to write(2)", p.message)
	r.line("")
	r.passage("Files that one visit with one message passes, from the accept to the close", p.visit)
}

func (r report) passage(title string, files []string) {
	dirs := []string{}
	names := map[string][]string{}
	for _, f := range files {
		dir, name := path.Split(f)
		if names[dir] == nil {
			dirs = append(dirs, dir)
		}
		names[dir] = append(names[dir], name)
	}
	r.line("%s: %d in %d packages", title, len(files), len(dirs))
	for _, dir := range dirs {
		r.line("    %s  %s", strings.TrimSuffix(dir, "/"), strings.Join(names[dir], " "))
	}
}
