package config

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"tcpmux/internal/fuzzing"
)

// FuzzLoad holds that no text makes Load panic, that WriteTOML writes what Load reads, that errors
// are printable lines, and that every value of the TOML library has a line.
func FuzzLoad(tf *testing.F) {
	f := fuzzing.Fixed(tf)
	files, _ := filepath.Glob("testdata/*/*.toml")
	for _, file := range append(files, "testdata/good.toml", shipped) {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("model='process'\n[[listener]]\nname='a'\naddress=':1'\nexec=['/bin/sh']"))
	f.Add([]byte("banner={hex='78 0d'}\nack=\"\\xd9\"\n[limits.refusal]\nhex='f'"))
	f.Add([]byte("\ufeff"))
	f.Add([]byte("listener=[{name='a',address=':1'},5]\nlog.file=''"))
	f.Add([]byte("a={\n#]\nb.c=[1,\n'''\n'''],}\r\n[[d.e]]\n[d.e.f]\n[[d.e]]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parse("f.toml", text, false)
		if err == nil {
			roundTrip(t, c)
		} else {
			checkError(t, err)
		}
		checkLines(t, string(text))
	})
}

func checkError(t *testing.T, err error) {
	var faults Faults
	if !errors.As(err, &faults) || !errors.Is(err, ErrInvalid) {
		t.Fatalf("got %T, want Faults that are ErrInvalid", err)
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != len(faults) {
		t.Errorf("got %d lines, want one for each of %d faults", len(lines), len(faults))
	}
	for i, line := range lines {
		if strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) || len(line) > 1200 {
			t.Errorf("got %q, want a short printable line", line)
		}
		if i > 0 && faults[i].Line < faults[i-1].Line {
			t.Errorf("got line %d behind line %d, want them in order", faults[i].Line, faults[i-1].Line)
		}
		if faults[i].Line == 0 && !strings.Contains(line, "gave up") {
			t.Errorf("got no line number in %q, want one", line)
		}
	}
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
