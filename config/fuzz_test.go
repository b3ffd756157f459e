package config

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"tcpmux/internal/fuzzing"
)

// FuzzLoad holds that no text makes Load panic, that WriteTOML writes what Load reads, and that
// errors are printable lines.
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
	f.Add([]byte("record.format='json'\nforward={servers=['wss://[::1]:1'],subject='a.{kind}.{host}',user='credential:u',password='/p'}"))
	f.Add([]byte("tls.certificate='/a'\ntls.key='a'\nlistener=[{name='a',address=':1',tls={certificate=''}}]\ntls.client_auth='request'\ntls.client_ca='b'"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parse("f.toml", text, false)
		if err == nil {
			roundTrip(t, c)
		} else {
			checkError(t, err)
		}
	})
}

// FuzzDropIns holds the same of a drop-in with a main file, and that the errors of the main file come
// first.
func FuzzDropIns(tf *testing.F) {
	f := fuzzing.Fixed(tf)
	files, _ := filepath.Glob("testdata/dropins/*.toml.d/*.toml")
	for _, file := range files {
		main, err := os.ReadFile(strings.TrimSuffix(filepath.Dir(file), ".d"))
		text, terr := os.ReadFile(file)
		if err := errors.Join(err, terr); err != nil {
			f.Fatal(err)
		}
		f.Add(main, text)
	}
	f.Add([]byte("address=[]\nbanner='x'"), []byte("listener=[{name='a',address=':1'}]"))
	f.Fuzz(func(t *testing.T, main, text []byte) {
		c, err := parse("f.toml", main, false, dropIn{path: "d.toml", text: text})
		if err == nil {
			roundTrip(t, c)
			return
		}
		checkError(t, err)
		if own := slices.IndexFunc(err.(Faults), func(f Fault) bool { return f.File == "d.toml" }); own >= 0 &&
			slices.ContainsFunc(err.(Faults)[own:], func(f Fault) bool { return f.File == "f.toml" }) {
			t.Errorf("got %v, want the errors of f.toml first", err)
		}
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
		if i > 0 && faults[i].File == faults[i-1].File && faults[i].Line < faults[i-1].Line {
			t.Errorf("got line %d behind line %d, want them in order", faults[i].Line, faults[i-1].Line)
		}
		if faults[i].Line == 0 && !strings.Contains(line, "gave up") {
			t.Errorf("got no line number in %q, want one", line)
		}
	}
}
