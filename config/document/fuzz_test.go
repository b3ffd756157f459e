package document

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"tcpmux/internal/fuzzing"
)

// FuzzParse holds that no text makes Parse panic, and that every value of the TOML library has a
// line.
func FuzzParse(tf *testing.F) {
	f := fuzzing.Fixed(tf)
	files, _ := filepath.Glob("../testdata/*/*.toml")
	for _, file := range append(files, "../testdata/good.toml", "../../packaging/tcpmux.toml") {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("a={\n#]\nb.c=[1,\n'''\n'''],}\r\n[[d.e]]\n[d.e.f]\n[[d.e]]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		new(Set).Parse("f.toml", text) // the text may be anything
		checkLines(t, string(text))
	})
}

// checkLines holds that each value of the library has a line, with its key on it.
func checkLines(t *testing.T, text string) {
	lines, deep := scanLines(text)
	if deep > 0 {
		return
	}
	values, err := decodeTOML(text)
	if err != nil || strings.HasPrefix(text, "\ufeff") || strings.HasPrefix(text, "\xff\xfe") || strings.HasPrefix(text, "\xfe\xff") {
		return
	}
	raw := strings.Split(text, "\n")
	walk("", values, func(path string) {
		line := lines[path]
		if line < 1 || line > len(raw) {
			t.Fatalf("%s: got line %d of %d in %q", path, line, len(raw), text)
		}
		key := lastKey.FindStringSubmatch(path)
		if key != nil && !strings.Contains(text, `\`) && !strings.Contains(raw[line-1], key[1]) {
			t.Fatalf("%s: got line %d, want one with the key in %q", path, line, text)
		}
	})
}

var lastKey = regexp.MustCompile(`"([a-z]+)"$`)
