package recordfile

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// markOf returns the mark of a file that has one.
func markOf(t *testing.T, path string) Mark {
	t.Helper()
	m, err := MarkOf(path)
	if err != nil || !m.Valid() {
		t.Fatalf("%s: got %q, %v, want a mark", path, m, err)
	}
	return m
}

// TestMarkStaysWithItsFile over rotation, compression, another name and whatever is appended; and
// each file has its own.
func TestMarkStaysWithItsFile(t *testing.T) {
	for _, compress := range []bool{false, true} {
		t.Run(fmt.Sprintf("compress %v", compress), func(t *testing.T) {
			opt := options(t)
			opt.Compress, opt.Sync = compress, SyncNever
			f := open(t, opt)
			var want []Mark
			for i := range 5 {
				write(t, f, fmt.Sprintf("line %d\n", i))
				m := markOf(t, opt.Path)
				write(t, f, "the same line\n")
				if got := markOf(t, opt.Path); got != m {
					t.Fatalf("got %s behind another line, want %s", got, m)
				}
				if slices.Contains(want, m) {
					t.Fatalf("got %s for two files, want another", m)
				}
				want = append(want, m)
				if _, err := f.Rotate(); err != nil {
					t.Fatal(err)
				}
			}
			if m, err := MarkOf(opt.Path); m != "" || err != nil {
				t.Errorf("empty: got %q, %v, want none", m, err)
			}
			f.keeperRests()
			var got []Mark
			for _, b := range f.rotations(t) {
				if b.Packed != compress {
					t.Errorf("%s: got packed %v, want %v", b.Path(), b.Packed, compress)
				}
				got = append(got, markOf(t, b.Path()))
				other := filepath.Join(t.TempDir(), "other"+filepath.Ext(b.Path()))
				if err := os.Rename(b.Path(), other); err != nil {
					t.Fatal(err)
				}
				if m := markOf(t, other); m != got[len(got)-1] {
					t.Errorf("%s: got %s, want %s", other, m, got[len(got)-1])
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// TestMarkOfAFileThatGrows: as soon as there is one, it is that of the whole file.
func TestMarkOfAFileThatGrows(t *testing.T) {
	for _, length := range []int{0, 1, 100, markedSize - 2, markedSize - 1, markedSize, markedSize + 1, 3 * markedSize} {
		text := strings.Repeat("x", length) + "\nand more\n" + strings.Repeat("y", markedSize) + "\n"
		want, err := ReadMark(strings.NewReader(text))
		if err != nil || !want.Valid() {
			t.Fatalf("got %q, %v, want a mark", want, err)
		}
		for n := range len(text) {
			got, err := ReadMark(strings.NewReader(text[:n]))
			wanted := want
			if n < min(length+1, markedSize) {
				wanted = ""
			}
			if got != wanted || err != nil {
				t.Fatalf("first line of %d bytes, %d there: got %q, %v, want %q", length, n, got, err, wanted)
			}
		}
	}
}

// TestMarksDiffer where the first lines differ within what counts of them, and only there.
func TestMarksDiffer(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 3))
	first := bytes.Repeat([]byte("x"), 2*markedSize)
	first[len(first)-1] = '\n'
	want, _ := ReadMark(bytes.NewReader(first)) // it is in memory
	for range 500 {
		at := r.IntN(len(first) - 1)
		other := slices.Clone(first)
		other[at] = 'y'
		got, err := ReadMark(bytes.NewReader(other))
		if err != nil || (got == want) != (at >= markedSize) {
			t.Fatalf("other byte at %d: got %q, %v, want it to differ from %q only below %d", at, got, err, want, markedSize)
		}
	}
	short, _ := ReadMark(strings.NewReader("x\n"))
	if more, _ := ReadMark(strings.NewReader("x\nmore\n")); more != short {
		t.Errorf("got %q with a second line, want %q", more, short)
	}
	if crlf, _ := ReadMark(strings.NewReader("x\r\n")); crlf == short {
		t.Errorf("got %q with another line end, want another", crlf)
	}
}

// TestFilesWithoutAMark.
func TestFilesWithoutAMark(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write(bytes.Repeat([]byte("line\n"), 100)) // to memory
	_ = z.Close()
	dir := t.TempDir()
	backup := Backup{Of: filepath.Join(dir, "r.log"), At: thisMoment().wall, Packed: true}.Path()
	for _, c := range []struct {
		name, path, text string
		fails            bool
	}{
		{"no line yet", "r.log", "lin", false},
		{"empty", "r.log", "", false},
		{"empty, compressed", backup, "", false},
		{"not compressed, but for the name", backup, strings.Repeat("line\n", 200), true},
		{"compressed, cut in the head", backup, packed.String()[:5], true},
		{"compressed, cut", backup, packed.String()[:12], true},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := c.path
			if !filepath.IsAbs(path) {
				path = filepath.Join(dir, path)
			}
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if m, err := MarkOf(path); m != "" || (err != nil) != c.fails {
				t.Errorf("got %q, %v, want none, and an error: %v", m, err, c.fails)
			}
		})
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(backup, link); err != nil {
		t.Fatal(err)
	}
	if m, err := MarkOf(link); m != "" || !errors.Is(err, unix.ELOOP) {
		t.Errorf("link: got %q, %v, want %v", m, err, unix.ELOOP)
	}
}

func TestValidMarks(t *testing.T) {
	for mark, want := range map[Mark]bool{
		"AAAAAAAAAAAAAAAA": true, "abcXYZ019-_AAAAA": true,
		"": false, "AAAAAAAAAAAAAAA": false, "AAAAAAAAAAAAAAAAA": false, "AAAAAAAAAAAAAAA=": false, "AAAAAAAAAAAA+AAA": false,
		"AAAAAAAAAAAAAAAA\n": false, "AAAAAAAA\rAAAAAAAA": false, "AAAAAAAAAAAAAAA ": false,
	} {
		if got := mark.Valid(); got != want {
			t.Errorf("%q: got %v, want %v", mark, got, want)
		}
	}
}
