package admission

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
)

func TestSubjects(t *testing.T) {
	const subject = "CN=scanner-7,O=Example"
	for _, c := range []struct {
		name        string
		allow, deny []string
		subject     string
		want        bool
	}{
		{"nobody is named", nil, nil, subject, true},
		{"allowed", []string{"CN=x", "CN=scanner-*"}, nil, subject, true},
		{"not allowed", []string{"CN=x", "scanner-*"}, nil, subject, false},
		{"denied", nil, []string{"*O=Example"}, subject, false},
		{"not denied", nil, []string{"*O=Other"}, subject, true},
		{"allowed and denied", []string{"*"}, []string{"*-7,*"}, subject, false},
		{"case counts", []string{"cn=scanner-7,o=example"}, nil, subject, false},
		{"the whole subject counts", []string{"CN=scanner-7"}, nil, subject, false},
		{"a comma in a name is no end of it", []string{"CN=scanner-*,O=Example"}, nil, `CN=scanner-7\,O=Example`, false},
		{"nor in the middle", []string{"CN=*,OU=a,*"}, nil, `CN=x\,OU=a,O=Example`, false},
		{"one behind it counts", []string{"CN=*,OU=a,*"}, nil, `CN=x\,OU=a,OU=a,O=Example`, true},
		{"a backslash in a name escapes nothing", []string{"CN=*,O=Example"}, nil, `CN=x\\,O=Example`, true},
		{"an escaped comma that is meant", []string{`CN=*\,O=Example`}, nil, `CN=x\,O=Example`, true},
		{"no certificate", []string{"CN=*"}, nil, "", false},
		{"no certificate, anything allowed", []string{"*"}, nil, "", true},
		{"no certificate, some denied", nil, []string{"CN=*"}, "", true},
	} {
		if got := (Subjects{c.allow, c.deny}).Admit(c.subject); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

// TestPatternsMatchAsExpressionsDo compares them with those of package regexp.
func TestPatternsMatchAsExpressionsDo(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	word := func(letters string, most int) string {
		b := make([]byte, random.IntN(most))
		for i := range b {
			b[i] = letters[random.IntN(len(letters))]
		}
		return string(b)
	}
	for range 50_000 {
		pattern, text := word("ab*", 8), word("ab", 10)
		parts := strings.Split(pattern, "*")
		want := regexp.MustCompile(`\A` + strings.Join(parts, `.*`) + `\z`).MatchString(text)
		if got := matches(pattern, text); got != want {
			t.Fatalf("%q of %q: got %v, want %v", pattern, text, got, want)
		}
	}
}
