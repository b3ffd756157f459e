package config

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"tcpmux/config/document"
	"tcpmux/config/fault"
	"tcpmux/config/notation"
	"tcpmux/internal/fuzzing"
)

func TestRules(t *testing.T) {
	good, faults := parseRules("r", "# a comment\r\n\n allow 192.0.2.0/24 2001:db8::/32 # and another\r\ndeny\t192.0.2.7\nallow ::ffff:10.0.0.0/104\nallow 192.0.2.0/24")
	want := Rules{Allow: parsed(t, "192.0.2.0/24", "2001:db8::/32", "10.0.0.0/8", "192.0.2.0/24"), Deny: parsed(t, "192.0.2.7")}
	if len(faults) > 0 || !reflect.DeepEqual(good, want) {
		t.Errorf("got %+v and %v, want %+v", good, faults, want)
	}
	subjects, faults := parseRules("r", "allow subject CN=a  b,O=*\r\n\tdeny\tsubject  CN=#1 \nallow subject subject\nallow 192.0.2.7 # allow subject CN=c\nallow subject CN=a  b,O=*")
	want = Rules{Allow: parsed(t, "192.0.2.7"), AllowSubjects: []string{"CN=a  b,O=*", "subject", "CN=a  b,O=*"}, DenySubjects: []string{"CN=#1"}}
	if len(faults) > 0 || !reflect.DeepEqual(subjects, want) {
		t.Errorf("got %+v and %v, want %+v", subjects, faults, want)
	}
	for _, tc := range []struct{ name, text, want string }{
		{"no pattern", "deny subject ", `r:1: deny subject "", want a pattern of 1 to 1024 printable bytes`},
		{"a pattern that nobody sees", "\nallow subject CN=\u202ea", `r:2: allow subject "CN=\u202ea", want a pattern of`},
		{"a pattern that is no text", "allow subject CN=\xff", `r:1: allow subject "CN=\xff", want a pattern of`},
		{"what may be a comment", "deny subject CN=a # b", `r:1: deny subject "CN=a # b", want no " #" in a pattern: a comment has a line of its own`},
		{"a tab in front of it", "deny subject CN=a\t# b", `r:1: deny subject "CN=a\t# b", want a pattern of`},
		{"a subject on both sides", "deny subject CN=a\nallow subject CN=a", `r:2: allow subject "CN=a", which is both allowed and denied: want one of them`},
		{"no word of ours", "permit 10.0.0.0/8", `r:1: "permit 10.0.0.0/8" is not a rule, want "allow" or "deny", followed by networks or addresses, or by subject and a pattern`},
		{"nobody", "\nallow # 10.0.0.0/8", `r:2: "allow" is not a rule, want`},
		{"no network", "deny 10.0.0.0/8 example.org 10.0.0.1/8", `r:1: deny "example.org", want a network or an address, such as`},
		{"bits to spare", "deny 10.0.0.1/8", `r:1: deny "10.0.0.1/8", want no bits after those of the network: "10.0.0.0/8"`},
		{"both", "deny 10.0.0.0/8\nallow 10.0.0.0/8", `r:2: allow "10.0.0.0/8", which is both allowed and denied: want one of them`},
		{"what drives a terminal", "\x1b[2J", `r:1: "\x1b[2J" is not a rule`},
		{"many", strings.Repeat("x\n", 1000), "r:101: and 900 further errors"},
	} {
		_, faults := parseRules("r", tc.text)
		if got := faults.Error(); !strings.Contains(got, tc.want) || len(faults) > fault.Most+1 {
			t.Errorf("%s: got %s, want %s", tc.name, got, tc.want)
		}
	}
}

func parsed(t *testing.T, texts ...string) []netip.Prefix {
	t.Helper()
	var list []netip.Prefix
	for _, text := range texts {
		p, want := notation.ParseNetwork(text)
		if want != "" {
			t.Fatalf("%q: want %s", text, want)
		}
		list = append(list, p)
	}
	return list
}

// TestErrorsOfRulesAreReported holds that they follow those of the configuration itself.
func TestErrorsOfRulesAreReported(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rules")
	if err := os.WriteFile(path, []byte("\ndeny all\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := parse("t.toml", []byte("\n\nbacklog = -1\nlimits.rules = "+document.QuoteTOML(path)+"\n"), false)
	want := "t.toml:3: backlog is -1, want a whole number from 1 to 1000000\n" + path + `:2: deny "all", want a network`
	if !errors.Is(err, ErrInvalid) || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	if err := os.WriteFile(path, []byte("deny 10.0.0.0/8\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := load(t, "limits.rules = "+document.QuoteTOML(path)+"\n[[listener]]\nname = 'a'\naddress = ':1'")
	for _, l := range c.Listeners {
		if l.Limits.Rules != path {
			t.Errorf("listener %q: got rules %q, want %q", l.Name, l.Limits.Rules, path)
		}
	}
	roundTrip(t, c)
}

func FuzzRules(tf *testing.F) {
	f := fuzzing.Fixed(tf)
	f.Add("allow 192.0.2.0/24 2001:db8::/32 # comment\ndeny 192.0.2.7")
	f.Add("allow subject CN=a b,O=*\ndeny subject CN=#1 # no comment\nallow subject\xff")
	f.Fuzz(func(t *testing.T, text string) {
		r, faults := parseRules("r", text)
		for _, p := range append(r.Allow, r.Deny...) {
			if p != p.Masked() || p.Addr().Is4In6() {
				t.Errorf("got %v, want it masked and IPv4 unwrapped", p)
			}
		}
		for _, p := range append(r.AllowSubjects, r.DenySubjects...) {
			if p == "" || strings.TrimSpace(p) != p || fault.Printable(p) != p || !strings.Contains(text, "subject") || !strings.Contains(text, p) {
				t.Errorf("got pattern %q, want what the line has", p)
			}
		}
		for _, f := range faults {
			if s := f.String(); fault.Printable(s) != s {
				t.Errorf("got %q, want a line that can be printed", s)
			}
		}
	})
}
