package framing

import (
	"bytes"
	"flag"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tcpmux/internal/fuzzing"
)

func TestDelimitersThatAreRefused(t *testing.T) {
	long := strings.Repeat("x", MaxDelimiter)
	if d, err := NewDelimiters(long, long, "\r"); err != nil || d.Start() != long || !slices.Equal(d.All(), []string{long, "\r"}) {
		t.Errorf("the longest: got %v, %v", d, err)
	}
	for _, c := range []struct {
		name, start string
		all         []string
		want        string
	}{
		{"none", "", nil, "0 delimiters, want 1 to 8"},
		{"too many", "", strings.Split("abcdefghi", ""), "9 delimiters, want 1 to 8"},
		{"an empty one", "", []string{"a", ""}, `delimiter "" has 0 bytes, want 1 to 16`},
		{"a long one", "", []string{long + "y"}, `delimiter "` + long + `y" has 17 bytes, want 1 to 16`},
		{"one twice", "", []string{"a", "b", "a"}, `delimiter "a" is there twice`},
		{"a long start", long + "y", []string{"a"}, `start "` + long + `y" has 17 bytes, want at most 16`},
	} {
		if _, err := NewDelimiters(c.start, c.all...); err == nil || err.Error() != c.want {
			t.Errorf("%s: got %v, want %s", c.name, err, c.want)
		}
	}
}

// TestEverySplitOfEveryDelimiter: wherever the network cuts a stream, its messages are the same.
// They end in the same places if another framer goes on behind any byte.
func TestEverySplitOfEveryDelimiter(t *testing.T) {
	for _, s := range specs {
		if s.spec.Kind != Delimited {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			spec := s.spec
			for _, one := range spec.Delimiters.All() {
				start := spec.Delimiters.Start()
				stream := []byte(start + "one" + one + start + one + "x" + start + "three" + one + one[:1])
				for at := range stream {
					if spec.Delimiters.extended && start == "" {
						break // see TestADelimiterIsFoundThoughItsBeginningWasTaken
					}
					spec.Max = 100
					got := ends(t, spec, stream, []byte{byte(at)}, func() bool { return true })
					if want := ends(t, spec, stream, nil, func() bool { return false }); !slices.Equal(got, want) {
						t.Errorf("%q, %d bytes taken before: got ends %v, want %v", stream, at+1, got, want)
					}
				}
				for _, spec.Max = range []int{1, 2, 3, 100} {
					for first := range stream {
						for second := range len(stream) - first {
							check(t, spec, stream, []byte{byte(first), byte(second)}, EOF)
						}
					}
				}
			}
		})
	}
}

// randomDelimiters draws delimiters of few letters, so that they overlap.
func randomDelimiters(t *rapid.T) Spec {
	some := rapid.StringOfN(rapid.SampledFrom([]rune("ab1")), 1, 4, -1)
	start := ""
	if rapid.Bool().Draw(t, "start") {
		start = some.Draw(t, "what")
	}
	most := rapid.SampledFrom([]int{2, 3, MaxDelimiters}).Draw(t, "most")
	all := rapid.SliceOfNDistinct(some, 1, most, rapid.ID[string]).Draw(t, "delimiters")
	s := delimitedBy(start, all...)
	s.Max = rapid.SampledFrom([]int{1, 2, 3, 5, 20}).Draw(t, "max")
	return s
}

// often has rapid.Check draw more often in this test: few of its values are of interest.
func often(t *testing.T) {
	const checks = "rapid.checks"
	before := flag.Lookup(checks).Value.String()
	if err := flag.Set(checks, "2000"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = flag.Set(checks, before) }) // it was valid before
}

// randomDelimited draws a stream for such delimiters: of these, of what they begin with and end
// with, of single letters, and of noise.
func randomDelimited(t *rapid.T, spec Spec) (stream, sizes []byte) {
	parts := append(spec.Delimiters.All(), "a", "b", "1", ".")
	if start := spec.Delimiters.Start(); start != "" {
		parts = append(parts, start, start)
	}
	longest := 20
	if rapid.Bool().Draw(t, "noise") { // with few delimiters
		parts, longest = append(parts, strings.Repeat(".", 61), strings.Repeat(".", 64), strings.Repeat(".", 20)), 8
	}
	for range rapid.IntRange(0, longest).Draw(t, "parts") {
		part := rapid.SampledFrom(parts).Draw(t, "part")
		from := rapid.IntRange(0, 2*len(part)).Draw(t, "from")
		if from >= len(part) { // most often all of it
			from = 0
		}
		to := min(from+rapid.IntRange(1, 2*len(part)).Draw(t, "length"), len(part))
		stream = append(stream, part[from:to]...)
	}
	return stream, rapid.SliceOf(rapid.Map(rapid.IntRange(0, 10), func(n int) byte { return byte(n) })).Draw(t, "sizes")
}

// TestRandomDelimiters: any delimiters give the messages of the model, in any segments, and with
// pieces cut off at any time.
func TestRandomDelimiters(t *testing.T) {
	often(t)
	rapid.Check(t, func(t *rapid.T) {
		spec := randomDelimiters(t)
		stream, sizes := randomDelimited(t, spec)
		check(t, spec, stream, sizes, rapid.SampledFrom([]Flag{EOF, Timeout}).Draw(t, "why"))
		got := whole(joined(frameInPieces(t, spec, stream, sizes, func() bool { return rapid.Bool().Draw(t, "piece") })))
		if want := whole(model(spec, stream, sizes, EOF)); !slices.Equal(got, want) {
			t.Errorf("%+v, segments %v of %q: got %v, want %v", spec.Delimiters.All(), sizes, stream, got, want)
		}
	})
}

// TestDelimitersOfLongMessages are found wherever they are in the strides of the search.
func TestDelimitersOfLongMessages(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	for _, spec := range []Spec{
		delimitedBy("", "\r\n", "\n", "\r"), delimitedBy("", "0123456789abcdef", "def0", "x9"), delimitedBy("", "0123456789abcdef", "ef"),
	} {
		spec.Max = 2000
		for range 300 {
			var stream []byte
			for range 1 + rnd.IntN(3) {
				stream = append(stream, bytes.Repeat([]byte("."), rnd.IntN(3*stride))...)
				all := spec.Delimiters.All()
				stream = append(stream, all[rnd.IntN(len(all))]...)
				stream = append(stream, all[rnd.IntN(len(all))]...)
			}
			check(t, spec, stream, []byte{byte(rnd.IntN(256)), byte(rnd.IntN(256))}, EOF)
		}
	}
}

// ends returns where in the stream messages end: all of it is given to framers. When leave says so,
// all that there is is cut off, and the same framer or another one goes on behind that.
func ends(t rapid.TB, s Spec, stream, sizes []byte, leave func() bool) (ends []int) {
	t.Helper()
	f, held, at := s.New(), []byte(nil), 0
	take := func(m Message) {
		if at, held = at+m.Len(), held[m.Len():]; m.Flag != Whole && m.Flag != Cut {
			return
		}
		ends = append(ends, at)
		end := m.Raw[m.Len()-int(m.EndLen):]
		if !slices.ContainsFunc(s.Delimiters.All(), func(one string) bool { return strings.HasSuffix(one, string(end)) }) {
			t.Errorf("%q, %q of %q: got the end %q, want a delimiter or its last bytes", s.Delimiters.All(), m.Raw, stream, end)
		}
	}
	for rest := stream; len(rest) > 0; {
		var n int
		n, sizes = segment(rest, sizes)
		held, rest = append(held, rest[:n]...), rest[n:]
		for m := f.Next(held); m.Len() > 0; m = f.Next(held) {
			take(m)
		}
		if !leave() {
			continue
		}
		for m := f.Part(held); m.Len() > 0; m = f.Part(held) {
			take(m)
		}
		if len(held) > 0 {
			t.Fatalf("got %q left, want nothing", held)
		}
		if leave() { // otherwise the same framer goes on
			continue
		}
		next := s.New()
		next.Recall(f.Memory())
		if next.Memory() != f.Memory() {
			t.Fatalf("memory: got %#x, want %#x", next.Memory(), f.Memory())
		}
		f = next
	}
	return ends
}

// TestADelimiterIsFoundThoughItsBeginningWasTaken by a framer before: its messages end where they
// would have.
func TestADelimiterIsFoundThoughItsBeginningWasTaken(t *testing.T) {
	often(t)
	rapid.Check(t, func(t *rapid.T) {
		spec := randomDelimiters(t)
		stream, sizes := randomDelimited(t, spec)
		// Where the rest of a longer one is taken, it may be for a message.
		if spec.Delimiters.extended && spec.Delimiters.Start() == "" {
			return
		}
		got := ends(t, spec, stream, sizes, func() bool { return rapid.Bool().Draw(t, "leave") })
		want := ends(t, spec, stream, nil, func() bool { return false })
		if !slices.Equal(got, want) {
			t.Errorf("%q %q, segments %v of %q: got %v, want %v", spec.Delimiters.Start(), spec.Delimiters.All(), sizes, stream, got, want)
		}
	})
}

// TestTheRestOfADelimiterIsKnownToTheNext framer.
func TestTheRestOfADelimiterIsKnownToTheNext(t *testing.T) {
	spec := delimitedBy("", "\r\n", "\n", "\r")
	spec.Max = 10
	f := spec.New()
	if m := f.Next([]byte("a\r")); string(m.Data()) != "a" {
		t.Fatalf("got %q, want a message", m.Raw)
	}
	if got, want := spec.MemoryAfter([]byte("\r")), f.Memory(); got != want || want == 0 {
		t.Errorf("memory: got %#x, want %#x", got, want)
	}
	next := spec.New()
	next.Recall(f.Memory())
	if m := next.Next([]byte("\n")); m.Len() != 0 || m.Flag != Between {
		t.Errorf("got %q %q, want LF to wait", m.Raw, m.Flag)
	}
	if m := next.Next([]byte("\nb\n")); string(m.Data()) != "b" || m.HeadLen != 1 {
		t.Errorf("got %q, want LF in the head of it", m.Raw)
	}
}

// FuzzRecall: a memory that no framer has left, as one of another version or a broken one, does no
// more harm than to the messages.
func FuzzRecall(tf *testing.F) {
	f := fuzzing.Fixed(tf)
	for _, m := range []int64{0, 1, -1, 1 << 8, 2<<8 | 1<<1 | 1, 1<<1 | 1, 15 << 1, 9 << 8, 1<<63 - 1} {
		f.Add([]byte("a\r\nb\x02c\x03\rlast"), m, byte(1))
	}
	f.Fuzz(func(t *testing.T, stream []byte, memory int64, choice byte) {
		for _, s := range append(slices.Clone(fuzzDelimiters), Spec{Kind: Fixed, MessageSize: 3}, Spec{Kind: Silence},
			Spec{Kind: LengthPrefixed, LengthSize: 3, LengthOffset: 1, LengthAdjust: -4}, Spec{Kind: OctetCounted}, Spec{}) {
			s.Max = 1 + int(choice)
			framer, rest := s.New(), stream
			framer.Recall(memory)
			for m := framer.Next(rest); m.Len() > 0; m = framer.Next(rest) {
				rest = rest[m.Len():]
			}
			if choice&1 != 0 {
				for m := framer.Part(rest); m.Len() > 0; m = framer.Part(rest) {
					rest = rest[m.Len():]
				}
			}
			for m := framer.Rest(rest, EOF); m.Len() > 0; m = framer.Rest(rest, EOF) {
				rest = rest[m.Len():]
			}
			if len(rest) > 0 {
				t.Errorf("%v: got %q left, want nothing", s.Kind, rest)
			}
		}
	})
}
