package fault

import (
	"errors"
	"strings"
	"testing"
)

func TestFaultsArePrintableLines(t *testing.T) {
	for _, tc := range []struct {
		name, want string
		fault      Fault
	}{
		{"a line", "a.toml:7: key is bad", Fault{"a.toml", 7, "key is bad"}},
		{"the file as a whole", "a.toml: it is bad", Fault{"a.toml", 0, "it is bad"}},
		{"a name that drives a terminal", `"a\n\x1b.toml":1: key is bad`, Fault{"a\n\x1b.toml", 1, "key is bad"}},
		{"a name that is no text", `"\xff": it is bad`, Fault{"\xff", 0, "it is bad"}},
	} {
		if got := tc.fault.String(); got != tc.want {
			t.Errorf("%s: got %s, want %s", tc.name, got, tc.want)
		}
	}
}

func TestShown(t *testing.T) {
	for _, tc := range []struct {
		name string
		n    int
		last string // of what is shown
	}{
		{"all", Most, "f:100: bad"},
		{"one more", Most + 1, "f:101: and 1 further error"},
		{"many more", Most + 900, "f:101: and 900 further errors"},
	} {
		var l List
		for i := range tc.n {
			l = append(l, Fault{"f", i + 1, "bad"})
		}
		lines := strings.Split(l.Shown("errors").Error(), "\n")
		if last := lines[len(lines)-1]; len(lines) != min(tc.n, Most+1) || last != tc.last {
			t.Errorf("%s: got %d lines up to %q, want %d up to %q", tc.name, len(lines), last, min(tc.n, Most+1), tc.last)
		}
		if !errors.Is(l, ErrInvalid) || len(l) != tc.n {
			t.Errorf("%s: got %d faults, that are ErrInvalid: %v, want all of them, and true", tc.name, len(l), errors.Is(l, ErrInvalid))
		}
	}
}

func TestQuoteCutsBetweenCharacters(t *testing.T) {
	for _, tc := range []struct{ name, s, want string }{
		{"short", "a\"\x1b", `"a\"\x1b"`},
		{"as long as may be", strings.Repeat("x", MaxShown), `"` + strings.Repeat("x", MaxShown) + `"`},
		{"longer", strings.Repeat("x", MaxShown+1), `"` + strings.Repeat("x", MaxShown) + `"…`},
		{"a character at the end", strings.Repeat("x", MaxShown-1) + "ä", `"` + strings.Repeat("x", MaxShown-1) + `"…`},
	} {
		if got := Quote(tc.s); got != tc.want {
			t.Errorf("%s: got %s, want %s", tc.name, got, tc.want)
		}
	}
}
