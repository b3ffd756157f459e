package framing

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// frameInPieces is frame that sometimes cuts off what Next left as a piece.
func frameInPieces(t rapid.TB, s Spec, stream, sizes []byte, now func() bool) (out []cut) {
	t.Helper()
	f, held := s.New(), []byte(nil)
	for rest := stream; len(rest) > 0; {
		var n int
		n, sizes = segment(rest, sizes)
		held, rest = append(held, rest[:n]...), rest[n:]
		for m := f.Next(held); m.Len() > 0; m = f.Next(held) {
			out, held = append(out, seen(t, m, held)), held[m.Len():]
		}
		if len(held) <= maxHead(s)+s.Tail() || !now() {
			continue
		}
		last := len(held) - s.Tail()
		for m := f.Part(held[:last]); m.Len() > 0; m = f.Part(held[:last]) {
			out, held, last = append(out, seen(t, m, held)), held[m.Len():], last-m.Len()
		}
		if len(held) != s.Tail() {
			t.Fatalf("got %q left, want the last %d bytes", held, s.Tail())
		}
		if now() { // another framer goes on
			next := s.New()
			next.Recall(f.Memory())
			f = next
		}
	}
	for m := f.Rest(held, EOF); m.Len() > 0; m = f.Rest(held, EOF) {
		out, held = append(out, seen(t, m, held)), held[m.Len():]
	}
	for i := range len(out) - 1 {
		if out[i].more && out[i+1].flag == Whole {
			t.Fatalf("behind the piece %v: got %v, want a flag", out[i], out[i+1])
		}
	}
	return out
}

// whole joins the pieces of each message.
func whole(all []cut) (out []cut) {
	under := false
	for _, c := range all {
		if c.flag == Cut {
			c.flag = Whole
		}
		if last := len(out) - 1; under {
			c.head, c.data = out[last].head+c.head, out[last].data+c.data
			out = out[:last]
		}
		under = c.more
		out = append(out, c)
	}
	return out
}

// TestPiecesAreTheMessage: pieces together are the message, whenever they are cut off.
func TestPiecesAreTheMessage(t *testing.T) {
	for _, s := range specs {
		t.Run(s.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				spec := s.spec
				spec.Max = rapid.SampledFrom([]int{1, 2, 40, 200}).Draw(t, "max")
				var stream []byte
				for range rapid.IntRange(1, 4).Draw(t, "messages") {
					size := rapid.SampledFrom([]int{0, 3, 60, 150}).Draw(t, "size")
					data := rapid.SliceOfN(rapid.SampledFrom([]byte("a1 <\n\r\x00\x02\xff")), size, size).Draw(t, "data")
					stream = append(stream, s.wrap(data)...)
				}
				stream = stream[:rapid.IntRange(0, len(stream)).Draw(t, "broken off at")]
				sizes := rapid.SliceOfN(rapid.Map(rapid.IntRange(0, 60), func(n int) byte { return byte(n) }), 3, 20).Draw(t, "sizes")
				got := whole(joined(frameInPieces(t, spec, stream, sizes, func() bool { return rapid.Bool().Draw(t, "piece") })))
				want := whole(joined(frame(t, spec, stream, sizes, EOF)))
				if !slices.Equal(got, want) {
					t.Errorf("%+v, segments %v of %q: got %v, want %v", spec, sizes, stream, got, want)
				}
			})
		})
	}
}
