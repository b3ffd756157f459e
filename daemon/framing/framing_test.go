package framing

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
)

// cut is one message as a test sees it.
type cut struct {
	data string
	flag Flag
}

func (c cut) String() string { return fmt.Sprintf("%q[%s]", c.data, c.flag) }

// frame feeds stream in segments of the given sizes (then in one), as a session does, and returns all messages.
func frame(t *testing.T, limit int, stream []byte, sizes []byte, why Flag) []cut {
	t.Helper()
	var (
		l    = Line{Max: limit}
		held []byte
		out  []cut
		took int
	)
	for rest := stream; len(rest) > 0; {
		n := len(rest)
		if len(sizes) > 0 {
			n, sizes = min(n, int(sizes[0])+1), sizes[1:]
		}
		held, rest = append(held, rest[:n]...), rest[n:]
		for {
			m := l.Next(held)
			if m.Len() == 0 {
				break
			}
			out, held, took = append(out, seen(t, m, held)), held[m.Len():], took+m.Len()
		}
		if len(held) > limit+1 {
			t.Fatalf("max %d: %d bytes are held back, want at most %d", limit, len(held), limit+1)
		}
	}
	for len(held) > 0 {
		m := l.Rest(held, why)
		out, held, took = append(out, seen(t, m, held)), held[m.Len():], took+m.Len()
	}
	if took != len(stream) {
		t.Fatalf("took %d bytes, want all %d", took, len(stream))
	}
	return out
}

// seen is a message as a test sees it. Its parts must stand at the start of held, in order.
func seen(t *testing.T, m Message, held []byte) cut {
	t.Helper()
	if whole := slices.Concat(m.Head, m.Data, m.End); !bytes.HasPrefix(held, whole) {
		t.Fatalf("got %q, want the first bytes of %q", whole, held)
	}
	return cut{string(m.Data), m.Flag}
}

func TestLine(t *testing.T) {
	for _, c := range []struct {
		name, stream string
		want         []cut
	}{
		{"nothing", "", nil},
		{"LF", "a\n", []cut{{"a", Whole}}},
		{"CRLF", "a\r\n", []cut{{"a", Whole}}},
		{"only one CR belongs to the terminator", "a\r\r\n", []cut{{"a\r", Whole}}},
		{"a CR alone ends nothing", "a\rb\n", []cut{{"a\rb", Whole}}},
		{"empty lines are messages", "\n\r\n\n", []cut{{"", Whole}, {"", Whole}, {"", Whole}}},
		{"several in one segment", "a\nb\nc\n", []cut{{"a", Whole}, {"b", Whole}, {"c", Whole}}},
		{"NUL and bad UTF-8", "\x00\xff\n", []cut{{"\x00\xff", Whole}}},
		{"no terminator", "ab", []cut{{"ab", EOF}}},
		{"CR at the end is data", "ab\r", []cut{{"ab\r", EOF}}},
		{"as long as allowed", "abcd\n", []cut{{"abcd", Whole}}},
		{"as long as allowed, CRLF", "abcd\r\n", []cut{{"abcd", Whole}}},
		{"as long as allowed, no terminator", "abcd", []cut{{"abcd", EOF}}},
		{"one too long", "abcde\n", []cut{{"abcd", Cut}, {"e", Cut}}},
		{"one too long, CR", "abcd\r\r\n", []cut{{"abcd", Cut}, {"\r", Cut}}},
		{"one too long, no terminator", "abcde", []cut{{"abcd", Cut}, {"e", EOF}}},
		{"CR too long, no terminator", "abcd\r", []cut{{"abcd", Cut}, {"\r", EOF}}},
		{"twice as long", "abcdefgh\nx\n", []cut{{"abcd", Cut}, {"efgh", Cut}, {"x", Whole}}},
		{"long, then short", "abcdefghi\r\nx\n", []cut{{"abcd", Cut}, {"efgh", Cut}, {"i", Cut}, {"x", Whole}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, sizes := range [][]byte{nil, bytes.Repeat([]byte{0}, len(c.stream)), bytes.Repeat([]byte{1}, len(c.stream))} {
				if got := frame(t, 4, []byte(c.stream), sizes, EOF); !slices.Equal(got, c.want) {
					t.Errorf("segments %v: got %v, want %v", sizes, got, c.want)
				}
			}
		})
	}
}

// model cuts the whole stream at once, by the words of the manual rather than by Line's steps.
func model(limit int, stream []byte, why Flag) (out []cut) {
	for len(stream) > 0 {
		line, rest, ended := bytes.Cut(stream, []byte("\n"))
		flag := why
		if ended {
			line, flag = bytes.TrimSuffix(line, []byte("\r")), Whole
		}
		long := len(line) > limit
		for len(line) > limit {
			out, line = append(out, cut{string(line[:limit]), Cut}), line[limit:]
		}
		if long && ended {
			flag = Cut
		}
		out, stream = append(out, cut{string(line), flag}), rest
	}
	return out
}

// FuzzLine holds that any segmentation gives the same messages, those of the model, and that no byte is lost.
func FuzzLine(f *testing.F) {
	f.Add([]byte("hello\r\nworld\n"), []byte{0, 3, 1}, byte(4))
	f.Add([]byte("abcd\r"), []byte{3}, byte(4))
	f.Add([]byte("abcd\r\r\n\r\n"), []byte{4, 0, 0, 0}, byte(3))
	f.Add([]byte("\x00\xff\n\n"), []byte{}, byte(1))
	f.Fuzz(func(t *testing.T, stream, sizes []byte, limit byte) {
		n := int(limit) + 1
		want := model(n, stream, Timeout)
		if got := frame(t, n, stream, sizes, Timeout); !slices.Equal(got, want) {
			t.Errorf("max %d, segments %v of %q: got %v, want %v", n, sizes, stream, got, want)
		}
	})
}

func BenchmarkLine(b *testing.B) {
	stream := bytes.Repeat(append(bytes.Repeat([]byte("x"), 255), '\n'), 256)
	l := Line{Max: 64 << 10}
	b.SetBytes(int64(len(stream)))
	b.ReportAllocs()
	for b.Loop() {
		for rest := stream; len(rest) > 0; {
			rest = rest[l.Next(rest).Len():]
		}
	}
}

// TestLongMessageIsLookedAtOnce holds that a message which comes byte by byte costs its length, not its square.
func TestLongMessageIsLookedAtOnce(t *testing.T) {
	l := Line{Max: 1 << 20}
	b := bytes.Repeat([]byte("x"), 1<<16)
	for n := range b {
		if m := l.Next(b[:n]); m.Len() != 0 || l.seen != n {
			t.Fatalf("%d bytes: took %d, has looked at %d", n, m.Len(), l.seen)
		}
	}
}

func TestNextAllocatesNothing(t *testing.T) {
	stream := []byte("short\r\n" + string(bytes.Repeat([]byte("long"), 100)) + "\n\nhalf")
	if n := testing.AllocsPerRun(100, func() {
		l := Line{Max: 64}
		rest := stream
		for {
			m := l.Next(rest)
			if m.Len() == 0 {
				break
			}
			rest = rest[m.Len():]
		}
		l.Rest(rest, EOF)
	}); n != 0 {
		t.Errorf("got %v allocations, want 0", n)
	}
}
