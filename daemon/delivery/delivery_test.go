package delivery

import (
	"encoding/base64"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tcpmux/daemon/recordfile"
	"tcpmux/internal/fuzzing"
)

// randomMark returns a mark that a file could have.
func randomMark(r *rand.Rand) recordfile.Mark {
	var b [12]byte
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return recordfile.Mark(base64.RawURLEncoding.EncodeToString(b[:]))
}

func randomPosition(r *rand.Rand) Position {
	offsets := []int64{0, 1, r.Int64N(1 << 40), math.MaxInt64}
	return Position{Key(fmt.Sprintf("%08x", r.Uint32())), randomMark(r), offsets[r.IntN(len(offsets))]}
}

// randomCursor returns a cursor with n positions.
func randomCursor(r *rand.Rand, n int) (c Cursor) {
	for len(c) < n {
		c = c.With(randomPosition(r))
	}
	return c
}

// TestCursorsAreReadAsTheyWereWritten, whole ones and those of one position, up to the largest,
// which fits into the headers of a message.
func TestCursorsAreReadAsTheyWereWritten(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 2000 {
		n := r.IntN(10)
		if i%100 == 0 {
			n = MaxPositions
		}
		want := randomCursor(r, n)
		text := string(want.AppendTo([]byte("x")))[1:]
		got, partial, err := ParseCursor(text)
		if err != nil || partial || !slices.Equal(got, want) {
			t.Fatalf("%q: got %v, %v, %v, want %v", text, got, partial, err, want)
		}
		if len(text) > 60<<10 {
			t.Fatalf("got %d bytes for %d positions, want at most 60 KiB", len(text), n)
		}
		p := randomPosition(r)
		text = string(p.AppendTo(nil))
		got, partial, err = ParseCursor(text)
		if err != nil || !partial || !slices.Equal(got, Cursor{p}) {
			t.Fatalf("%q: got %v, %v, %v, want %v alone", text, got, partial, err, p)
		}
	}
}

// TestCursorHasEachKeyOnce, however often it is set.
func TestCursorHasEachKeyOnce(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var c Cursor
	want := map[Key]Position{}
	for range 1000 {
		p := randomPosition(r)
		p.Key = Key(fmt.Sprintf("%08x", r.IntN(20)))
		c, want[p.Key] = c.With(p), p
	}
	if len(c) != len(want) {
		t.Errorf("got %d positions, want %d", len(c), len(want))
	}
	for key, p := range want {
		if got, ok := c.Find(key); !ok || got != p {
			t.Errorf("%s: got %v, %v, want %v", key, got, ok, p)
		}
	}
	if got, ok := c.Find("ffffffff"); ok {
		t.Errorf("got %v for a key that is not there", got)
	}
}

// TestCursorsThatNobodyWrites are refused, with the text and what is wrong with it.
func TestCursorsThatNobodyWrites(t *testing.T) {
	const mark = "AAAAAAAAAAAAAAAA"
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "want it to begin with 1 or +"},
		{"another version", "2 00000000:" + mark + ":0", "want it to begin with 1 or +"},
		{"part of none", "+", "it has 0 positions"},
		{"part of two", "+ 00000000:" + mark + ":0 00000001:" + mark + ":0", "it has 2 positions"},
		{"too many", "1" + strings.Repeat(" 00000000:"+mark+":0", MaxPositions+1), "it has 1101 positions"},
		{"two spaces", "1  00000000:" + mark + ":0", "want an offset"},
		{"a space at the end", "1 00000000:" + mark + ":0 ", "want an offset"},
		{"no offset", "1 00000000:" + mark, "want an offset"},
		{"negative offset", "1 00000000:" + mark + ":-1", "want an offset"},
		{"offset with a sign", "1 00000000:" + mark + ":+1", "want an offset"},
		{"offset with a zero", "1 00000000:" + mark + ":01", "want an offset"},
		{"too large offset", "1 00000000:" + mark + ":9223372036854775808", "want an offset"},
		{"four parts", "1 00000000:" + mark + ":0:0", "want an offset"},
		{"short key", "1 0000000:" + mark + ":0", "want a key of 8 hexadecimal digits"},
		{"key of large letters", "1 0000000A:" + mark + ":0", "want a key of 8 hexadecimal digits"},
		{"no mark", "1 00000000::0", "want the mark"},
		{"short mark", "1 00000000:AAAA:0", "want the mark"},
		{"line end in a mark", "1 00000000:" + mark + "\n:0", "want the mark"},
		{"line end before a mark", "1 00000000:\r\n" + mark + ":0", "want the mark"},
		{"a key twice", "1 00000000:" + mark + ":0 00000000:" + mark + ":1", "key 00000000 is there twice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, _, err := ParseCursor(c.text)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%.60q: got %v, %v, want an error with %q", c.text, got, err, c.want)
			}
		})
	}
}

// FuzzParseCursor holds that a text is refused by a printable line, or is the one text of its
// cursor.
func FuzzParseCursor(tf *testing.F) {
	f := fuzzing.Fixed(tf)
	r := rand.New(rand.NewPCG(5, 6))
	for n := range 4 {
		f.Add(string(randomCursor(r, n).AppendTo(nil)))
		f.Add(string(randomPosition(r).AppendTo(nil)))
	}
	f.Add("1 00000000:AAAAAAAAAAAAAAA\n:0")
	f.Add("+ 00000000:AAAAAAAAAAAAAAAB:9223372036854775808")
	f.Fuzz(func(t *testing.T, text string) {
		c, partial, err := ParseCursor(text)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r\x00") {
				t.Errorf("%q: got the error %q, want one line", text, err)
			}
			return
		}
		again := c.AppendTo(nil)
		if partial {
			again = c[0].AppendTo(nil)
		}
		if string(again) != text {
			t.Errorf("got %q for %q, want the same", again, text)
		}
	})
}

// TestKeyOf: a key is that of the absolute path, however it is written, and has no other.
func TestKeyOf(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	want := KeyOf(filepath.Join(dir, "r.log"))
	for _, path := range []string{"r.log", "./r.log", "a/../r.log", dir + "//r.log"} {
		if got := KeyOf(path); got != want {
			t.Errorf("%q: got %s, want %s", path, got, want)
		}
	}
	for _, path := range []string{"r.logs", "sub/r.log", "R.log", "/r.log"} {
		if got := KeyOf(path); got == want || !isHex(string(got), 8) {
			t.Errorf("%q: got %s, want 8 hexadecimal digits other than %s", path, got, want)
		}
	}
}
