package record

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"tcpmux/internal/fuzzing"
)

// agrees checks that a HeadParser accepts what a Parser accepts, and understands the same.
func agrees(t *testing.T, line []byte) {
	t.Helper()
	var heads HeadParser
	h, err := heads.Parse(line)
	want, perr := NewParser(JSON).Parse(line)
	if perr != nil {
		return
	}
	if err != nil {
		t.Fatalf("%q: got %v, want a head", line, err)
	}
	got := Record{Time: h.Time, Kind: h.Kind, Source: Source{Listener: string(h.Listener), Session: string(h.Session), Remote: string(h.Remote)}}
	if got.Time != want.Time || got.Kind != want.Kind || got.Listener != want.Listener ||
		got.Session != want.Session || got.Remote != want.Remote || h.Offset != want.Offset {
		t.Errorf("%q: got %+v, want %+v", line, h, want)
	}
}

// TestHeads parses what Parser is tested with. Of what is damaged, only what stands in the content
// may pass.
func TestHeads(t *testing.T) {
	content := []string{"subject of escapes", "too long", "empty subject", "something else", "between", "keys in another order", "escape", "hexadecimal", "UTF-8",
		"base64", "empty head", "offset with a zero", "another key in"}
	for _, l := range jsonLines {
		agrees(t, []byte(l.line))
		_, err := new(HeadParser).Parse([]byte(l.line))
		lenient := false
		for _, c := range content {
			lenient = lenient || strings.Contains(l.name, c)
		}
		if l.want != "" && !lenient && l.name != "no escape for what needs one" && err == nil {
			t.Errorf("%s: %q passes", l.name, l.line)
		}
	}
}

// TestDamagedRecordsHaveNoHead cuts a record anywhere, and has each of its bytes become a control
// character.
func TestDamagedRecordsHaveNoHead(t *testing.T) {
	for _, source := range []*Source{alice, hostile(alice, []byte("a.example"), []byte(`CN="x\\,O=ü`), 1)} {
		e := NewEncoder(JSON)
		e.Begin(source, noon)
		for _, line := range [][]byte{e.Message(nil, message("2 ", `a "longer" one, ü`, "\r\n", "cut")), e.Open(nil), e.Close(nil, "eof", 3, 9)} {
			damage(t, line[:len(line)-1])
		}
	}
}

func damage(t *testing.T, whole []byte) {
	t.Helper()
	agrees(t, whole)
	var heads HeadParser
	for n := range whole {
		if _, err := heads.Parse(whole[:n]); err == nil {
			t.Errorf("%q passes", whole[:n])
		}
		if _, err := heads.Parse(whole[n+1:]); err == nil {
			t.Errorf("%q passes", whole[n+1:])
		}
		for _, c := range "\x00\x01\x1f\x7f\n" {
			bad := []byte(string(whole))
			bad[n] = byte(c)
			if _, err := heads.Parse(bad); err == nil {
				t.Errorf("%q passes", bad)
			}
		}
	}
}

// FuzzHead compares HeadParser with Parser, for records and for what they become when a few of
// their bytes change.
func FuzzHead(tf *testing.F) {
	f := fuzzing.Fixed(tf)
	for _, l := range jsonLines {
		f.Add([]byte(l.line), int64(0))
		f.Add([]byte(l.line), int64(1))
	}
	f.Fuzz(func(t *testing.T, data []byte, seed int64) {
		agrees(t, data)
		e := NewEncoder(JSON)
		e.Begin(hostile(alice, data[len(data)/2:], data, seed), noon)
		m := message(string(data[:len(data)/3]), string(data), string(data[len(data)/2:]), "")
		m.Offset = seed & math.MaxInt64
		for _, line := range [][]byte{e.Message(nil, m), e.Open(nil), e.Close(nil, "exit 3", 3, m.Offset)} {
			line = line[:len(line)-1]
			agrees(t, line)
			r := rand.New(rand.NewPCG(uint64(seed), 0))
			line[r.IntN(len(line))] = "{}\",:\\aZ09\x00\x7f\x80\xff"[r.IntN(14)]
			agrees(t, line)
		}
	})
}

func TestHeadsAllocateNothing(t *testing.T) {
	var heads HeadParser
	for _, line := range []string{messageLine + `,"data":"x"}`, subjectLine + `,"offset":7,"data":"x"}`, openLine + someTLS + `}`} {
		line := []byte(line)
		if n := testing.AllocsPerRun(100, func() { _, _ = heads.Parse(line) }); n != 0 {
			t.Errorf("%s: got %v allocations, want 0", line, n)
		}
	}
}

func BenchmarkHead(b *testing.B) {
	line := []byte(messageLine + `,"data":"` + strings.Repeat("x", 60) + `"}`)
	b.SetBytes(int64(len(line)))
	var heads HeadParser
	for b.Loop() {
		if _, err := heads.Parse(line); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	line := []byte(messageLine + `,"data":"` + strings.Repeat("x", 60) + `"}`)
	b.SetBytes(int64(len(line)))
	p := NewParser(JSON)
	for b.Loop() {
		if _, err := p.Parse(line); err != nil {
			b.Fatal(err)
		}
	}
}
