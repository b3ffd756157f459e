package stream

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tcpmux/config"
)

// TestSubject: a client or an administrator who chooses a name makes neither a token nor a
// wildcard.
func TestSubject(t *testing.T) {
	hostile := rapid.OneOf(rapid.String(), rapid.StringOf(rapid.SampledFrom([]rune(".*>% \t\r\n\x00ab2E"))),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }))
	templates := []string{"tcpmux.{host}.{listener}.{kind}", "{kind}.{listener}.{host}", "a.{host}"}
	rapid.Check(t, func(t *rapid.T) {
		f := config.Forward{Subject: rapid.SampledFrom(templates).Draw(t, "template")}
		name := func(label string) [3]string {
			return [3]string{hostile.Draw(t, label+" host"), hostile.Draw(t, label+" listener"),
				rapid.SampledFrom([]string{"open", "message", "close"}).Draw(t, label+" kind")}
		}
		a, b := name("a"), name("b")
		got, other := Subject(f, a[0], a[1], a[2]), Subject(f, b[0], b[1], b[2])
		if strings.Count(got, ".") != strings.Count(f.Subject, ".") {
			t.Errorf("got subject %q, want as many tokens as %q has", got, f.Subject)
		}
		if i := strings.IndexFunc(got, func(r rune) bool { return !strings.ContainsRune(tokenRunes+".%", r) }); i >= 0 {
			t.Errorf("got subject %q, want no byte as the one at %d", got, i)
		}
		if !covers(strings.Split(Filter(f, a[0]), "."), strings.Split(got, ".")) {
			t.Errorf("got filter %q, which does not have %q", Filter(f, a[0]), got)
		}
		if a[0] != b[0] && covers(strings.Split(Filter(f, b[0]), "."), strings.Split(got, ".")) {
			t.Errorf("got filter %q of host %q, which has %q of host %q", Filter(f, b[0]), b[0], got, a[0])
		}
		if f.Subject != "a.{host}" && a != b && got == other {
			t.Errorf("got subject %q for %q and for %q", got, a, b)
		}
	})
}

const tokenRunes = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"

func TestCovers(t *testing.T) {
	for _, c := range []struct {
		pattern, filter string
		want            bool
	}{
		{"tcpmux.*.*.*", "tcpmux.box.*.open", true},
		{"tcpmux.>", "tcpmux.box.*.open", true},
		{">", "tcpmux.box.*.open", true},
		{"tcpmux.box.*.*", "tcpmux.box.*.open", true},
		{"tcpmux.box.main.*", "tcpmux.box.*.open", false},
		{"tcpmux.other.*.*", "tcpmux.box.*.open", false},
		{"tcpmux.*.*", "tcpmux.box.*.open", false},
		{"tcpmux.*.*.*.*", "tcpmux.box.*.open", false},
		{"tcpmux.box.*.open.>", "tcpmux.box.*.open", false},
	} {
		if got := coveredByOne(c.filter, []string{"x", c.pattern}); got != c.want {
			t.Errorf("%s covers %s: got %v, want %v", c.pattern, c.filter, got, c.want)
		}
	}
}
