package framing

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tcpmux/internal/fuzzing"
)

func init() { fuzzing.FixRapid() }

// cut is a message for comparisons.
type cut struct {
	head, data, end string
	flag            Flag
	more            bool
}

func (c cut) String() string {
	return fmt.Sprintf("%q %q %q[%s, %v]", c.head, c.data, c.end, c.flag, c.more)
}

// maxHead returns how many bytes may be kept in addition to a message: its framing.
func maxHead(s Spec) int {
	switch s.Kind {
	case Delimited:
		if s.Delimiters.Start() != "" {
			return maxNoise + 2*MaxDelimiter
		}
		return 2 * MaxDelimiter
	case LengthPrefixed:
		return s.LengthOffset + s.LengthSize
	case OctetCounted:
		return maxBetween + maxDigits + 1
	}
	return 1 // CR, which may belong to the end
}

// frame feeds stream in segments of the given sizes (then in one), as a session does, and returns
// all messages.
func frame(t rapid.TB, s Spec, stream []byte, sizes []byte, why Flag) (out []cut) {
	t.Helper()
	var (
		f    = s.New()
		held []byte
		took int
	)
	take := func(m Message) {
		out, held, took = append(out, seen(t, m, held)), held[m.Len():], took+m.Len()
	}
	for rest := stream; len(rest) > 0; {
		var n int
		n, sizes = segment(rest, sizes)
		held, rest = append(held, rest[:n]...), rest[n:]
		for m := f.Next(held); m.Len() > 0; m = f.Next(held) {
			take(m)
		}
		if len(held) > s.Max+maxHead(s) {
			t.Fatalf("max %d: %d bytes are held back, want at most %d", s.Max, len(held), s.Max+maxHead(s))
		}
	}
	for m := f.Rest(held, why); m.Len() > 0; m = f.Rest(held, why) {
		take(m)
	}
	if took != len(stream) {
		t.Fatalf("took %d bytes, want all %d", took, len(stream))
	}
	return out
}

// segment returns the length of the next segment of rest, and the sizes of the segments after it.
func segment(rest, sizes []byte) (int, []byte) {
	if len(sizes) == 0 {
		return len(rest), nil
	}
	return min(len(rest), int(sizes[0])+1), sizes[1:]
}

// seen converts a message for comparisons. Its parts must be at the start of held, in order.
func seen(t rapid.TB, m Message, held []byte) cut {
	t.Helper()
	if !bytes.HasPrefix(held, m.Raw) {
		t.Fatalf("got %q, want the first bytes of %q", m.Raw, held)
	}
	c := cut{string(m.Raw[:m.HeadLen]), string(m.Data()), string(m.Raw[m.Len()-int(m.EndLen):]), m.Flag, m.Flag == Piece}
	if c.more {
		c.flag = Cut
	}
	return c
}

func TestMessages(t *testing.T) {
	line := func(data, end string) cut { return cut{data: data, end: end} }
	prefixed := func(size int, little bool) Spec {
		return Spec{Kind: LengthPrefixed, Max: 4, LengthSize: size, LittleEndian: little}
	}
	by := func(start string, all ...string) Spec {
		s := delimitedBy(start, all...)
		s.Max = 4
		return s
	}
	lines, nuls, octets := Spec{Kind: Line, Max: 4}, Spec{Kind: NUL, Max: 4}, Spec{Kind: OctetCounted, Max: 4}
	for _, c := range []struct {
		name   string
		spec   Spec
		stream string
		want   []cut
	}{
		{"nothing", lines, "", nil},
		{"LF", lines, "a\n", []cut{line("a", "\n")}},
		{"CRLF", lines, "a\r\n", []cut{line("a", "\r\n")}},
		{"only one CR belongs to the terminator", lines, "a\r\r\n", []cut{line("a\r", "\r\n")}},
		{"a CR alone ends nothing", lines, "a\rb\n", []cut{line("a\rb", "\n")}},
		{"empty lines are messages", lines, "\n\r\n\n", []cut{line("", "\n"), line("", "\r\n"), line("", "\n")}},
		{"several in one segment", lines, "a\nb\nc\n", []cut{line("a", "\n"), line("b", "\n"), line("c", "\n")}},
		{"NUL and bad UTF-8", lines, "\x00\xff\n", []cut{line("\x00\xff", "\n")}},
		{"no terminator", lines, "ab", []cut{{data: "ab", flag: EOF}}},
		{"CR at the end is data", lines, "ab\r", []cut{{data: "ab\r", flag: EOF}}},
		{"as long as allowed", lines, "abcd\n", []cut{line("abcd", "\n")}},
		{"as long as allowed, CRLF", lines, "abcd\r\n", []cut{line("abcd", "\r\n")}},
		{"as long as allowed, no terminator", lines, "abcd", []cut{{data: "abcd", flag: EOF}}},
		{"one too long", lines, "abcde\n", []cut{{"", "abcd", "", Cut, true}, {"", "e", "\n", Cut, false}}},
		{"one too long, CR", lines, "abcd\r\r\n", []cut{{"", "abcd", "", Cut, true}, {"", "\r", "\r\n", Cut, false}}},
		{"one too long, no terminator", lines, "abcde", []cut{{"", "abcd", "", Cut, true}, {data: "e", flag: EOF}}},
		{"CR too long, no terminator", lines, "abcd\r", []cut{{"", "abcd", "", Cut, true}, {data: "\r", flag: EOF}}},
		{"twice as long", lines, "abcdefgh\nx\n", []cut{{"", "abcd", "", Cut, true}, {"", "efgh", "\n", Cut, false}, line("x", "\n")}},

		{"NUL", nuls, "a\n\r\x00\x00", []cut{line("a\n\r", "\x00"), line("", "\x00")}},
		{"a CR before a NUL is data", nuls, "a\r\x00", []cut{line("a\r", "\x00")}},
		{"NUL, as long as allowed", nuls, "abcd\x00", []cut{line("abcd", "\x00")}},
		{"NUL, too long", nuls, "abcd\r\x00", []cut{{"", "abcd", "", Cut, true}, {"", "\r", "\x00", Cut, false}}},
		{"NUL, not ended", nuls, "a\x00b", []cut{line("a", "\x00"), {data: "b", flag: EOF}}},

		{"octets", octets, "2 ab1 \n", []cut{{head: "2 ", data: "ab"}, {head: "1 ", data: "\n"}}},
		{"octets and lines", octets, "3 <a><b>\r\n<c\n1 x", []cut{{head: "3 ", data: "<a>"}, line("<b>", "\r\n"), line("<c", "\n"), {head: "1 ", data: "x"}}},
		{"octets, as long as allowed", octets, "4 abcd", []cut{{head: "4 ", data: "abcd"}}},
		{"octets, too long", octets, "9 abcdefghi1 x", []cut{{"9 ", "abcd", "", Cut, true}, {"", "efgh", "", Cut, true}, {"", "i", "", Cut, false}, {head: "1 ", data: "x"}}},
		{"octets, too long and not whole", octets, "9 abcdefgh", []cut{{"9 ", "abcd", "", Cut, true}, {data: "efgh", flag: EOF}}},
		{"octets, a rest like a message", octets, "9 abcd1 x", []cut{{"9 ", "abcd", "", Cut, true}, {data: "1 x", flag: EOF}}},
		{"octets, a line's rest like a message", octets, "<abc1 x", []cut{{"", "<abc", "", Cut, true}, {data: "1 x", flag: EOF}}},
		{"octets, a long line", octets, "<1>2 3\n1 x", []cut{{"", "<1>2", "", Cut, true}, {"", " 3", "\n", Cut, false}, {head: "1 ", data: "x"}}},
		{"octets, half a message", octets, "3 ab", []cut{{head: "3 ", data: "ab", flag: EOF}}},
		{"octets, no message", octets, "3 ", []cut{{head: "3 ", flag: EOF}}},
		{"octets, half a length", octets, "31", []cut{{data: "31", flag: EOF}}},
		{"octets, as many digits as allowed", octets, "999999999 x", []cut{{head: "999999999 ", data: "x", flag: EOF}}},
		{"octets, LF behind each", octets, "4 <1>a\n4 <1>b\n", []cut{{head: "4 ", data: "<1>a"}, {head: "\n4 ", data: "<1>b"}, {head: "\n", flag: Between}}},
		{"octets, CRLF behind each", octets, "1 a\r\n1 b\r\n", []cut{{head: "1 ", data: "a"}, {head: "\r\n1 ", data: "b"}, {head: "\r\n", flag: Between}}},
		{"octets, NUL behind each", octets, "1 a\x001 b\x00", []cut{{head: "1 ", data: "a"}, {head: "\x001 ", data: "b"}, {head: "\x00", flag: Between}}},
		{"octets, spaces before each", octets, " 1 a  1 b ", []cut{{head: " 1 ", data: "a"}, {head: "  1 ", data: "b"}, {head: " ", flag: Between}}},
		{"octets, LF in what is counted and behind it", octets, "2 a\n\n2 b\n", []cut{{head: "2 ", data: "a\n"}, {head: "\n2 ", data: "b\n"}}},
		{"octets, a line between", octets, "1 a\nb c\n1 d", []cut{{head: "1 ", data: "a"}, {head: "\n", data: "b c", end: "\n"}, {head: "1 ", data: "d"}}},
		{"octets, a line at once behind", octets, "1 ab\n1 c", []cut{{head: "1 ", data: "a"}, line("b", "\n"), {head: "1 ", data: "c"}}},
		{"octets, lines that NUL ends", octets, "<a\x00b\x00c", []cut{line("<a", "\x00"), line("b", "\x00"), {data: "c", flag: EOF}}},
		{"octets, CR before NUL", octets, "<a\r\x00", []cut{line("<a\r", "\x00")}},
		{"octets, blank lines", octets, "<a\n\n\r\n<b\n", []cut{line("<a", "\n"), {head: "\n\r\n", data: "<b", end: "\n"}}},
		{"octets, a line that goes on", octets, "<a\n b\n\tc\n", []cut{line("<a", "\n"), line(" b", "\n"), line("\tc", "\n")}},
		{"octets, a space before a line's <", octets, "<a\n <b\n", []cut{line("<a", "\n"), {head: " ", data: "<b", end: "\n"}}},
		{"octets, a line that begins as a count", octets, "12 monkeys\nx", []cut{{"12 ", "monk", "", Cut, true}, {"", "eys\n", "", Cut, true}, {data: "x", flag: EOF}}},
		{"octets, UTF-8", octets, "\xc3\xa9\n", []cut{line("\xc3\xa9", "\n")}},
		{"octets, a leading zero", octets, "01 x\n", []cut{line("01 x", "\n")}},
		{"octets, a length of nothing", octets, "0 \n", []cut{line("0 ", "\n")}},
		{"octets, no space", octets, "1\tx\n", []cut{line("1\tx", "\n")}},
		{"octets, digits alone", octets, "12\n", []cut{line("12", "\n")}},
		{"octets, a line and CR too long, no terminator", octets, "<abc\r", []cut{{"", "<abc", "", Cut, true}, {data: "\r", flag: EOF}}},
		{"octets, too many digits", octets, "1234567890", []cut{{"", "1234", "", Cut, true}, {"", "5678", "", Cut, true}, {data: "90", flag: EOF}}},
		{"octets, half a count behind LF", octets, "\n12", []cut{{head: "\n", data: "12", flag: EOF}}},
		{"octets, much between", octets, strings.Repeat("\n", 40) + "1 x", []cut{{head: strings.Repeat("\n", 31), end: "\n"}, {head: strings.Repeat("\n", 8) + "1 ", data: "x"}}},
		{"octets, much between and spaces", octets, "\n" + strings.Repeat(" ", 33) + "x\n", []cut{
			line("", "\n"), {head: strings.Repeat(" ", 31), end: " "}, line(" x", "\n")}},
		{"octets, no text", octets, "1 x\x16\x03\x01", []cut{{head: "1 ", data: "x"}, {data: "\x16\x03\x01", flag: Malformed}}},
		{"octets, no text behind LF", octets, "\n\x7f", []cut{{head: "\n", data: "\x7f", flag: Malformed}}},
		{"octets, all after a fault is lost", octets, "\x011 y<z>\n", []cut{{data: "\x011 y<z>\n", flag: Malformed}}},

		{"one byte", prefixed(1, false), "\x02ab\x00\x01c", []cut{{head: "\x02", data: "ab"}, {head: "\x00"}, {head: "\x01", data: "c"}}},
		{"two bytes", prefixed(2, false), "\x00\x02ab", []cut{{head: "\x00\x02", data: "ab"}}},
		{"two bytes, little", prefixed(2, true), "\x02\x00ab", []cut{{head: "\x02\x00", data: "ab"}}},
		{"four bytes", prefixed(4, false), "\x00\x00\x00\x02ab", []cut{{head: "\x00\x00\x00\x02", data: "ab"}}},
		{"four bytes, little", prefixed(4, true), "\x02\x00\x00\x00ab", []cut{{head: "\x02\x00\x00\x00", data: "ab"}}},
		{"half a length", prefixed(4, false), "\x00\x00\x00", []cut{{data: "\x00\x00\x00", flag: EOF}}},
		{"a length alone", prefixed(2, false), "\x00\x03", []cut{{head: "\x00\x03", flag: EOF}}},
		{"the longest length", prefixed(4, false), "\xff\xff\xff\xffabcde", []cut{{"\xff\xff\xff\xff", "abcd", "", Cut, true}, {data: "e", flag: EOF}}},
		{"too long", prefixed(1, false), "\x05abcde\x01x", []cut{{"\x05", "abcd", "", Cut, true}, {"", "e", "", Cut, false}, {head: "\x01", data: "x"}}},
		{"three bytes", prefixed(3, false), "\x00\x00\x02ab\x00\x00\x00", []cut{{head: "\x00\x00\x02", data: "ab"}, {head: "\x00\x00\x00"}}},
		{"three bytes, little", prefixed(3, true), "\x02\x00\x00ab", []cut{{head: "\x02\x00\x00", data: "ab"}}},
		{"a length in a header", Spec{Kind: LengthPrefixed, Max: 4, LengthSize: 1, LengthOffset: 2, LengthAdjust: 1}, "xx\x02abcyy\x00d", []cut{{head: "xx\x02", data: "abc"}, {head: "yy\x00", data: "d"}}},
		{"a length that counts itself", Spec{Kind: LengthPrefixed, Max: 4, LengthSize: 2, LengthAdjust: -2}, "\x00\x04ab\x00\x02", []cut{{head: "\x00\x04", data: "ab"}, {head: "\x00\x02"}}},
		{"a length that is too small", Spec{Kind: LengthPrefixed, Max: 4, LengthSize: 1, LengthAdjust: -2}, "\x03a\x01\x03b", []cut{{head: "\x03", data: "a"}, {data: "\x01\x03b", flag: Malformed}}},
		{"half a header", Spec{Kind: LengthPrefixed, Max: 4, LengthSize: 1, LengthOffset: 2}, "xx", []cut{{data: "xx", flag: EOF}}},

		{"CR", by("", "\r"), "a\rb\n\r", []cut{line("a", "\r"), line("b\n", "\r")}},
		{"a long delimiter", by("", "END"), "aENENDb", []cut{line("aEN", "END"), {data: "b", flag: EOF}}},
		{"half a delimiter behind the longest message", by("", "END"), "abcdENxEND", []cut{{"", "abcd", "", Cut, true}, {data: "ENx", end: "END", flag: Cut}}},
		{"the longest message", by("", "END"), "abcdEND", []cut{line("abcd", "END")}},
		{"half a delimiter at the end", by("", "END"), "abEN", []cut{{data: "abEN", flag: EOF}}},
		{"LF or CRLF", by("", "\r\n", "\n"), "a\r\nb\n\r\n", []cut{line("a", "\r\n"), line("b", "\n"), line("", "\r\n")}},
		{"whatever comes", by("", "\r\n", "\n", "\r"), "a\r\nb\nc\rd\r\n", []cut{line("a", "\r"), {head: "\n", data: "b", end: "\n"}, line("c", "\r"), line("d", "\r"), {head: "\n", flag: Between}}},
		{"LF in front of CR", by("", "\r\n", "\n", "\r"), "a\n\rb\r\r\n", []cut{line("a", "\n"), line("", "\r"), line("b", "\r"), line("", "\r"), {head: "\n", flag: Between}}},
		{"no LF behind CR", by("", "\r\n", "\r"), "a\rb\nc\r", []cut{line("a", "\r"), line("b\nc", "\r")}},
		{"a rest that is longer than a message", by("", "1", "1234567"), "a1234567b1", []cut{line("a", "1"), {head: "234567", data: "b", end: "1"}}},
		{"a rest in steps", by("", "1", "12", "1234"), "a12341", []cut{line("a", "1"), {head: "234", end: "1"}}},
		{"a rest that does not come", by("", "1", "1234"), "a123b1", []cut{line("a", "1"), line("23b", "1")}},
		{"a rest that is overtaken", by("", "1", "12134"), "a12134", []cut{line("a", "1"), line("2", "1"), {data: "34", flag: EOF}}},
		{"the longest of those that end there", by("", ";", "#;", "##;"), "a##;b#;c;", []cut{line("a", "##;"), line("b", "#;"), line("c", ";")}},
		{"one that never is the first", by("", "ab", "xaby"), "xaby", []cut{line("x", "ab"), {data: "y", flag: EOF}}},

		{"STX and ETX", by("\x02", "\x03"), "\x02a\x03\x02b\x03", []cut{{head: "\x02", data: "a", end: "\x03"}, {head: "\x02", data: "b", end: "\x03"}}},
		{"noise", by("(", ")"), "x)(a)\r\n(b)\r\n", []cut{{head: "x)(", data: "a", end: ")"}, {head: "\r\n(", data: "b", end: ")"}, {head: "\r\n", flag: Between}}},
		{"a start inside data", by("(", ")"), "(a(b)(c)", []cut{{head: "(", data: "a(b", end: ")"}, {head: "(", data: "c", end: ")"}}},
		{"a start inside a long message", by("(", ")"), "(abcd(e)f", []cut{{"(", "abcd", "", Cut, true}, {data: "(e", end: ")", flag: Cut}, {head: "f", flag: Between}}},
		{"a start alone", by("(", ")"), "x(", []cut{{head: "x(", flag: EOF}}},
		{"half a start", by("ab", ")"), "xa", []cut{{head: "xa", flag: Between}}},
		{"a start that begins anew", by("aab", ")"), "aaab1)", []cut{{head: "aaab", data: "1", end: ")"}}},
		{"a start at the end of so much noise", by("<<", ">"), strings.Repeat(".", 63) + "<<a>", []cut{{head: strings.Repeat(".", 63) + "<<", data: "a", end: ">"}}},
		{"as much noise as a record takes", by("<<", ">"), strings.Repeat("<.", 32) + "<<a>", []cut{
			{head: strings.Repeat("<.", 32), flag: Between}, {head: "<<", data: "a", end: ">"}}},
		{"much noise", by("<<", ">"), strings.Repeat("<.", 70) + "<<a>", []cut{
			{head: strings.Repeat("<.", 32), flag: Between}, {head: strings.Repeat("<.", 32), flag: Between},
			{head: strings.Repeat("<.", 6) + "<<", data: "a", end: ">"}}},

		{"fixed", Spec{Kind: Fixed, Max: 4, MessageSize: 2}, "abcde", []cut{{data: "ab"}, {data: "cd"}, {data: "e", flag: EOF}}},
		{"fixed, in pieces", Spec{Kind: Fixed, Max: 4, MessageSize: 5}, "abcdefghijk", []cut{{"", "abcd", "", Cut, true}, {data: "e", flag: Cut}, {"", "fghi", "", Cut, true}, {data: "j", flag: Cut}, {data: "k", flag: EOF}}},

		{"twice as long and not whole", prefixed(1, false), "\x09abcdefgh", []cut{{"\x09", "abcd", "", Cut, true}, {data: "efgh", flag: EOF}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, sizes := range [][]byte{nil, bytes.Repeat([]byte{0}, len(c.stream)), bytes.Repeat([]byte{1}, len(c.stream))} {
				if got := joined(frame(t, c.spec, []byte(c.stream), sizes, EOF)); !slices.Equal(got, c.want) {
					t.Errorf("segments %v: got %v, want %v", sizes, got, c.want)
				}
			}
		})
	}
}

// joined joins the malformed pieces at the end: where they are cut depends on when they came.
func joined(all []cut) []cut {
	for i, c := range all {
		if c.flag == Malformed {
			for _, next := range all[i+1:] {
				c.data, c.more = c.data+next.data, next.more
				if next.flag != Malformed || next.head+next.end != "" {
					return all
				}
			}
			return append(all[:i:i], c)
		}
	}
	return all
}

func TestMalformedBytesComeInPieces(t *testing.T) {
	got := frame(t, Spec{Kind: OctetCounted, Max: 4}, []byte("\x01bcdefghij"), []byte{5}, EOF)
	want := []cut{{data: "\x01bcd", flag: Malformed}, {data: "ef", flag: Malformed}, {data: "ghij", flag: Malformed}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestChunk(t *testing.T) {
	got := frame(t, Spec{Kind: Chunk, Max: 4}, []byte("a\nbcdefgh\x00"), []byte{1, 3, 0}, EOF)
	want := []cut{{data: "a\n"}, {data: "bcde"}, {data: "f"}, {data: "gh\x00"}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	got = frame(t, Spec{Kind: Chunk, Max: 4}, []byte("abcdefghi"), []byte{5}, EOF)
	want = []cut{{"", "abcd", "", Cut, true}, {data: "ef", flag: Cut}, {data: "ghi"}}
	if !slices.Equal(got, want) {
		t.Errorf("a long one: got %v, want %v", got, want)
	}
}

func TestKindsHaveTheNamesOfTheConfiguration(t *testing.T) {
	for k := Line; k.Known(); k++ {
		if got, err := ParseKind(k.String()); got != k || err != nil {
			t.Errorf("%v: got %v, %v", k, got, err)
		}
	}
	if _, err := ParseKind("lines"); err == nil || !strings.Contains(err.Error(), `"lines"`) {
		t.Errorf("got %v, want an error that names it", err)
	}
}

// TestNoMessageHasBegunBetweenTwo: Next says so until the first byte of the next message has come.
func TestNoMessageHasBegunBetweenTwo(t *testing.T) {
	for name, of := range map[string]struct {
		spec Spec
		want map[string]Flag
	}{
		"octet-counted": {Spec{Kind: OctetCounted}, map[string]Flag{
			"": Whole, "\n": Between, "\r\n\x00  ": Between, "\n1": Whole, " x": Whole, "<": Whole, "1 ": Whole}},
		"a start":              {delimitedBy("<<", ">"), map[string]Flag{"": Whole, "x": Between, "x<": Between, "x<<": Whole}},
		"a delimiter goes on":  {delimitedBy("", "\r\n", "\r"), map[string]Flag{"\r": Whole, "\r\n": Between, "\r\nx": Whole, "\rx": Whole}},
		"it goes on in steps":  {delimitedBy("", "1", "12", "1234"), map[string]Flag{"12": Between, "123": Whole, "1234": Between}},
		"it goes on, one byte": {delimitedBy("", "1", "12", "123"), map[string]Flag{"12": Between, "123": Between, "124": Whole}},
	} {
		of.spec.Max = 4
		for stream, want := range of.want {
			f, rest := of.spec.New(), []byte(stream)
			m := f.Next(rest)
			for ; m.Len() > 0; m = f.Next(rest) {
				rest = rest[m.Len():]
			}
			if m.Flag != want {
				t.Errorf("%s: behind %q: got flag %q, want %q", name, stream, m.Flag, want)
			}
		}
	}
}

// TestLongMessageIsLookedAtOnce: the cost of a message that comes byte by byte is linear.
func TestLongMessageIsLookedAtOnce(t *testing.T) {
	d := delimited{max: 1 << 20, end: '\n'}
	b := bytes.Repeat([]byte("x"), 1<<16)
	for n := range b {
		if m := d.Next(b[:n]); m.Len() != 0 || d.seen != n {
			t.Fatalf("%d bytes: took %d, has looked at %d", n, m.Len(), d.seen)
		}
	}
}

// specs are all framings, with a whole message of n bytes in each.
var specs = []struct {
	name string
	spec Spec
	wrap func(data []byte) []byte
}{
	{"line", Spec{Kind: Line}, func(b []byte) []byte { return append(b, '\n') }},
	{"nul", Spec{Kind: NUL}, func(b []byte) []byte { return append(b, 0) }},
	{"chunk", Spec{Kind: Chunk}, func(b []byte) []byte { return b }},
	{"octet-counted", Spec{Kind: OctetCounted}, func(b []byte) []byte { return append(fmt.Appendf(nil, "%d ", len(b)), b...) }},
	{"octet-counted line", Spec{Kind: OctetCounted}, func(b []byte) []byte { return append(append([]byte("<13>"), b...), '\n') }},
	{"length-prefixed 1", Spec{Kind: LengthPrefixed, LengthSize: 1}, func(b []byte) []byte { return append([]byte{byte(len(b))}, b...) }},
	{"length-prefixed 2", Spec{Kind: LengthPrefixed, LengthSize: 2}, func(b []byte) []byte {
		return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
	}},
	{"length-prefixed 3", Spec{Kind: LengthPrefixed, LengthSize: 3}, func(b []byte) []byte {
		return append(binary.BigEndian.AppendUint32(nil, uint32(len(b)))[1:], b...)
	}},
	{"length-prefixed 2 in a header", Spec{Kind: LengthPrefixed, LengthSize: 2, LengthOffset: 3, LengthAdjust: -4}, func(b []byte) []byte {
		return append(binary.BigEndian.AppendUint16([]byte("\nxx"), uint16(len(b)+4)), b...)
	}},
	{"delimited 1", delimitedBy("", "\r"), func(b []byte) []byte { return append(b, '\r') }},
	{"delimited 2", delimitedBy("", "\r\n"), func(b []byte) []byte { return append(b, "\r\n"...) }},
	{"delimited as lines", delimitedBy("", "\r\n", "\n"), func(b []byte) []byte { return append(b, "\r\n"...) }},
	{"delimited several", delimitedBy("", "\r\n", "\n", "\r"), func(b []byte) []byte { return append(b, '\n') }},
	{"delimited several, CRLF", delimitedBy("", "\r\n", "\n", "\r"), func(b []byte) []byte { return append(b, "\r\n"...) }},
	{"delimited overlapping", delimitedBy("", "aaa1", "aa", "1 a1 <", "\xff\xff\xff"), func(b []byte) []byte { return append(b, "aaa1"...) }},
	{"delimited with a start", delimitedBy("\x02", "\r"), func(b []byte) []byte { return append(append([]byte("\x02"), b...), '\r') }},
	{"delimited several with a start", delimitedBy("\x02", "\r\n", "\n", "\r"), func(b []byte) []byte {
		return append(append([]byte("\x02"), b...), "\r\n"...)
	}},
	{"delimited with a long start", delimitedBy("aa1", "1a", "\r"), func(b []byte) []byte {
		return append(append([]byte("a1aaa1"), b...), "1a"...)
	}},
	{"fixed", Spec{Kind: Fixed, MessageSize: 7}, func(b []byte) []byte { return b }},
	{"silence", Spec{Kind: Silence}, func(b []byte) []byte { return b }},
	{"length-prefixed 4 little", Spec{Kind: LengthPrefixed, LengthSize: 4, LittleEndian: true}, func(b []byte) []byte {
		return append(binary.LittleEndian.AppendUint32(nil, uint32(len(b))), b...)
	}},
}

// delimitedBy returns a Spec of delimiters.
func delimitedBy(start string, all ...string) Spec {
	d, err := NewDelimiters(start, all...)
	if err != nil {
		panic(err)
	}
	return Spec{Kind: Delimited, Delimiters: d}
}

func TestNextAllocatesNothing(t *testing.T) {
	for _, s := range specs {
		t.Run(s.name, func(t *testing.T) {
			stream := slices.Concat(s.wrap([]byte("short")), s.wrap(bytes.Repeat([]byte("long"), 60)), s.wrap([]byte("half"))[:3], []byte("!?"))
			s.spec.Max = 64
			f := s.spec.New()
			if n := testing.AllocsPerRun(100, func() { drain(f, stream) }); n != 0 {
				t.Errorf("got %v allocations, want 0", n)
			}
		})
	}
}

// TestMemoryAfterAMessage is what the end of a message tells.
func TestMemoryAfterAMessage(t *testing.T) {
	for _, s := range specs {
		s.spec.Max = 300
		f := s.spec.New()
		for _, data := range []string{"one", "a1 <", "\r", "aa"} {
			stream := s.wrap([]byte(data))
			for m := f.Next(stream); m.Len() > 0; m = f.Next(stream) {
				stream = stream[m.Len():]
				if got, want := s.spec.MemoryAfter(m.Raw[m.Len()-int(m.EndLen):]), f.Memory(); m.Flag == Whole && got != want {
					t.Errorf("%s: behind %q: got %#x, want %#x", s.name, m.Raw, got, want)
				}
			}
		}
	}
}

// TestAFramerThatIsShownLessThanBefore takes that for all bytes: a session shows fewer bytes when a
// limit was lowered.
func TestAFramerThatIsShownLessThanBefore(t *testing.T) {
	for name, spec := range map[string]Spec{
		"line": {}, "nul": {Kind: NUL}, "octet-counted": {Kind: OctetCounted},
		"delimited": delimitedBy("", "\r\n", "\n", "\r"), "delimited by several bytes": delimitedBy("", "\x1c\r"),
	} {
		spec.Max = 100
		f := spec.New()
		long := []byte("<a line without its end")
		if m := f.Next(long); m.Len() != 0 {
			t.Fatalf("%s: got %q, want nothing yet", name, m.Data())
		}
		if m := f.Next(long[:5]); m.Len() != 0 {
			t.Errorf("%s: got %q of five bytes, want nothing yet", name, m.Data())
		}
		if m := f.Rest(long[:5], Timeout); string(m.Data()) != "<a li" || m.Flag != Timeout {
			t.Errorf("%s: rest: got %q %v, want the five bytes, flagged", name, m.Data(), m.Flag)
		}
	}
}
