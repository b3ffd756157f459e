package text

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// hostile is what must not reach a terminal: an escape sequence, a line end, C1, a bidirectional
// control, a line separator, and what is not UTF-8.
const hostile = "a\x1b[2J\r\nb\u009b31m\u202e\u2028\x00\x7f\xff\U000e0041"

func TestEscapes(t *testing.T) {
	for _, c := range []struct{ name, in, ascii, prose string }{
		{"plain", `a "b" \c`, `a "b" \c`, `a "b" \c`},
		{"letters", "Gerät 你", `Ger\u00e4t \u4f60`, "Gerät 你"},
		{"hostile", hostile, `a\x1b[2J\x0d\x0ab\u009b31m\u202e\u2028\x00\x7f\xff\U000e0041`, `a\x1b[2J\x0d\x0ab\u009b31m\u202e\u2028\x00\x7f\xff\U000e0041`},
	} {
		if got := ASCII(c.in); got != c.ascii {
			t.Errorf("%s in ASCII: got %q, want %q", c.name, got, c.ascii)
		}
		if got := Prose(c.in); got != c.prose {
			t.Errorf("%s in prose: got %q, want %q", c.name, got, c.prose)
		}
	}
}

func TestJSONIsASCIIAndMeansTheSame(t *testing.T) {
	in := strings.ToValidUTF8(hostile, "") + "<&>👍"
	for _, indented := range []bool{false, true} {
		b, err := JSON(map[string]string{"x": in}, indented)
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range b {
			if c != '\n' && (c < 0x20 || c >= 0x7f) {
				t.Errorf("got %q at %d of %q, want printable ASCII", c, i, b)
			}
		}
		var out map[string]string
		if err := json.Unmarshal(b, &out); err != nil || out["x"] != in {
			t.Errorf("got %q (%v), want %q", out["x"], err, in)
		}
	}
}

func TestUnits(t *testing.T) {
	for _, c := range []struct{ name, got, want string }{
		{"no byte", Size(0), "0 B"}, {"bytes", Size(1023), "1023 B"}, {"KiB", Size(1536), "1.5 KiB"}, {"nearly a MiB", Size(1<<20 - 1), "1.0 MiB"},
		{"MiB", Size(23 << 20), "23 MiB"}, {"most", Size(1<<63 - 1), "8 EiB"},
		{"count", Count(99999), "99999"}, {"large count", Count(1234567), "1.2M"}, {"count of thousands", Count(100000), "100k"},
		{"no rate", Rate(0), "0"}, {"small rate", Rate(0.01), "<0.1"}, {"rate", Rate(0.25), "0.2"}, {"large rate", Rate(123456), "123k"},
		{"no time", Span(0), "0s"}, {"a clock put back", Span(-time.Hour), "0s"}, {"milliseconds", Span(350 * time.Millisecond), "350ms"},
		{"seconds", Span(59 * time.Second), "59s"}, {"minutes", Span(187 * time.Second), "3m07s"}, {"hours", Span(184 * time.Minute), "3h04m"}, {"days", Span(53 * time.Hour), "2d05h"},
		{"never", Ago(time.Time{}, noon), "never"}, {"another year", Clock(noon.AddDate(-1, 0, 0), noon), "2025-11-28"}, {"no clock", Clock(time.Time{}, noon), "-"},
		{"one", Number(1, "record"), "1 record"}, {"several", Number(0, "record"), "0 records"},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, c.got, c.want)
		}
	}
}
