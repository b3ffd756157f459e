package record

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestLongNamesAreBounded(t *testing.T) {
	long := strings.Repeat("ü", MaxSubject)
	for _, c := range []struct{ name, in string }{
		{"none", ""},
		{"as long as can be", strings.Repeat("x", MaxSubject)},
		{"runes", long},
		{"runes that are cut elsewhere", "x" + long},
		{"wide runes", strings.Repeat("\U0001f600", MaxSubject)},
		{"wide runes that are cut elsewhere", "xx" + strings.Repeat("\U0001f600", MaxSubject)},
		{"no runes", strings.Repeat("\x80", MaxSubject+1)},
	} {
		got := TLS{Version: "1.3", Cipher: "c", Subject: c.in}.Bounded()
		if len(got.Subject) > MaxSubject || utf8.ValidString(c.in) && !utf8.ValidString(got.Subject) {
			t.Errorf("%s: got %d bytes, %q, want at most %d, and UTF-8 if it was", c.name, len(got.Subject), got.Subject, MaxSubject)
		}
		if same := got.Subject == c.in; same != (len(c.in) <= MaxSubject) || got.Bounded() != got {
			t.Errorf("%s: got %q, want it as it was only if it is short, and not changed again", c.name, got.Subject)
		}
	}
	one, other := TLS{ServerName: strings.Repeat("x", 1000) + "a"}.Bounded(), TLS{ServerName: strings.Repeat("x", 1000) + "b"}.Bounded()
	if len(one.ServerName) != MaxServerName || one == other {
		t.Errorf("got %q and %q, want different ones of %d bytes", one.ServerName, other.ServerName, MaxServerName)
	}
}
