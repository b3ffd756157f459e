package client

import (
	"bytes"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"tcpmux/internal/fuzzing"
)

func TestAppendEscaped(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"plain", "Welcome connect!\tyes", "Welcome connect!\tyes"},
		{"lines", "a\nb\r\nc\r\n", "a\nb\nc\n"},
		{"bare CR", "a\rb\r\r\n", `a\x0db\x0d` + "\n"},
		{"CSI", "\x1b[2J\x1b]0;x\x07", `\x1b[2J\x1b]0;x\x07`},
		{"C1 as UTF-8", "\u009b2J", `\u009b2J`},
		{"C1 as a byte", "\x9b2J", `\x9b2J`},
		{"NUL and DEL", "\x00\x7f", `\x00\x7f`},
		{"backslash", `\x1b`, `\\x1b`},
		{"bidirectional", "a\u202eb\u2066\u061c", `a\u202eb\u2066\u061c`},
		{"separators", "\u2028\u2029\u0085", `\u2028\u2029\u0085`},
		{"tag characters", "\U000e0041", `\U000e0041`},
		{"letters of the world", "Grüße 你好 שלום 👍", "Grüße 你好 שלום 👍"},
		{"overlong and surrogate", "\xc0\xaf\xed\xa0\x80", `\xc0\xaf\xed\xa0\x80`},
		{"replacement character itself", "\ufffd", "\ufffd"},
		{"cut rune", "\xe4\xbd", `\xe4\xbd`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := string(appendEscaped(nil, []byte(c.in))); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestEscaperHoldsBackWhatMayBeCompleted(t *testing.T) {
	var e escaper
	for _, c := range []struct{ in, want string }{
		{"a\xe4", "a"}, {"\xbd", ""}, {"\xa0b\r", "你b"}, {"\nc\r", "\nc"}, {"d\xf0\x9f", `\x0dd`}, {"x", `\xf0\x9fx`}, {"\xe4", ""},
	} {
		if got := string(e.next([]byte(c.in))); got != c.want {
			t.Errorf("after %q: got %q, want %q", c.in, got, c.want)
		}
	}
	if got := string(e.flush()); got != `\xe4` {
		t.Errorf("flush: got %q, want %q", got, `\xe4`)
	}
}

func FuzzEscape(tf *testing.F) {
	f := fuzzing.Fixed(tf)
	f.Add([]byte("Welcome connect!\r\n"), uint8(3))
	f.Add([]byte("\x1b[31m\\\x9b\u202e\xe4\xbd\xa0\xf0\x9f"), uint8(1))
	f.Add([]byte("\r\r\n\r\x85\u0085\U0010ffff"), uint8(2))
	f.Fuzz(func(t *testing.T, in []byte, piece uint8) {
		whole := string(appendEscaped(nil, in))
		for _, r := range whole {
			if !unicode.IsGraphic(r) && r != '\n' && r != '\t' {
				t.Fatalf("%q: got %q, which holds %q", in, whole, r)
			}
		}
		if !utf8.ValidString(whole) {
			t.Fatalf("%q: got %q, which is no UTF-8", in, whole)
		}
		if got, want := unescape(t, whole), bytes.ReplaceAll(in, []byte("\r\n"), []byte("\n")); !bytes.Equal(got, want) {
			t.Fatalf("back from %q: got %q, want %q", whole, got, want)
		}
		if got := inPieces(in, int(piece)+1); got != whole {
			t.Fatalf("%q in pieces of %d: got %q, want %q", in, piece+1, got, whole)
		}
	})
}

func inPieces(in []byte, size int) string {
	var e escaper
	var b strings.Builder
	for len(in) > 0 {
		n := min(size, len(in))
		b.Write(e.next(in[:n]))
		in = in[n:]
	}
	b.Write(e.flush())
	return b.String()
}

// unescape is the way back, as the documentation of appendEscaped describes it.
func unescape(t *testing.T, s string) []byte {
	var out []byte
	for s != "" {
		if s[0] != '\\' {
			out = append(out, s[0])
			s = s[1:]
			continue
		}
		if s[1] == '\\' {
			out = append(out, '\\')
			s = s[2:]
			continue
		}
		n := map[byte]int{'x': 2, 'u': 4, 'U': 8}[s[1]]
		v, err := strconv.ParseUint(s[2:2+n], 16, 32)
		if err != nil || n == 0 {
			t.Fatalf("%q is no escape", s[:2+n])
		}
		if n == 2 {
			out = append(out, byte(v))
		} else {
			out = utf8.AppendRune(out, rune(v))
		}
		s = s[2+n:]
	}
	return out
}
