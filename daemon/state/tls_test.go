package state

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"tcpmux/internal/fuzzing"
)

func newTLS(t testing.TB, entries int) *TLS {
	t.Helper()
	f, err := NewTLS(entries)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// copyOf returns a file with the bytes that f has now, as a process that was killed would leave
// them.
func copyOf(t testing.TB, f *TLS) (fd int) {
	t.Helper()
	fd, err := createMemory("copy")
	if err == nil {
		err = cmp.Or(unix.Ftruncate(fd, int64(len(f.mem))), writeAll(fd, f.mem), sealSize(fd))
	}
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// nextTLS opens a copy of the file as the next process opens the file, had the first been killed
// now.
func nextTLS(t testing.TB, f *TLS) *TLS {
	t.Helper()
	g, err := OpenTLS(copyOf(t, f))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// someone is what is kept of a connection.
var someone = Secured{
	Version: 0x0304, Suite: 0x1302, ServerName: "\xff a.example", Subject: "CN=\"\n\x00, O=é",
	Client: bytes.Repeat([]byte{1}, 48), Server: bytes.Repeat([]byte{2}, 32),
}

func TestTheNextProcessKnowsATLSConnection(t *testing.T) {
	f := newTLS(t, 10)
	f.Take(6)
	e := f.Take(7)
	if !e.Begin(someone) {
		t.Fatal("not begun")
	}
	if _, ok := nextTLS(t, f).Find(7).Secured(); ok {
		t.Error("before the kernel has the keys: got a connection to go on with")
	}
	e.Establish()
	g := nextTLS(t, f)
	found := g.Find(7)
	if got, ok := found.Secured(); !ok || !reflect.DeepEqual(got, someone) {
		t.Errorf("got %+v, %v, want %+v", got, ok, someone)
	}
	if g.Find(7) != nil || g.Find(8) != nil {
		t.Error("found a second time, or one that nobody has left")
	}
	if _, ok := g.Find(6).Secured(); ok {
		t.Error("one that has not begun: got a connection to go on with")
	}
}

func TestLongNamesAreShortened(t *testing.T) {
	f := newTLS(t, 1)
	for _, c := range []struct {
		name, text string
		want       int // of its bytes
	}{
		{"as long as there is room", strings.Repeat("a", 255), 255},
		{"longer", strings.Repeat("a", 256), 220},
		{"in a character", "a" + strings.Repeat("é", 200), 219},
		{"no characters at all", strings.Repeat("\x80", 300), 217},
		{"very long", strings.Repeat("a", 1<<17), 220},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := f.Take(7)
			defer e.Free()
			s := someone
			s.ServerName, s.Subject = c.text, c.text+strings.Repeat("b", 1000)
			e.Begin(s)
			e.Establish()
			want := func(text string, bytes int) string {
				if bytes == len(text) {
					return text
				}
				sum := sha256.Sum256([]byte(text))
				return text[:bytes] + "…" + hex.EncodeToString(sum[:16])
			}
			got, ok := e.Secured()
			if want := want(c.text, c.want); !ok || got.ServerName != want {
				t.Errorf("server name: got %q, want %q", got.ServerName, want)
			}
			if n := len(got.Subject); n < 480 || n > 489 || got.Subject != want(s.Subject, n-35) {
				t.Errorf("subject: got %q of %d bytes, want about 490 of %q", got.Subject, n, s.Subject)
			}
		})
	}
}

func TestSecretsThatCannotBeKept(t *testing.T) {
	e := newTLS(t, 1).Take(7)
	for _, n := range []int{0, 49} {
		s := someone
		s.Client = make([]byte, n)
		if e.Begin(s) {
			t.Errorf("%d bytes: got it kept", n)
		}
	}
	var none *TLSEntry
	if none.Begin(someone) || none.Consumed() != 0 {
		t.Error("without an entry: got it kept")
	}
	none.Establish()
	none.Rekey(nil, nil)
	*none.Taking(1, 1) = 1
	none.Taken()
	none.Free()
	var file *TLS
	if file.Forget(); file.Take(1) != nil || file.Find(1) != nil || file.Close() != nil {
		t.Error("without a file: got an entry")
	}
}

func TestTLSEntriesAreUsedAgain(t *testing.T) {
	f := newTLS(t, 2)
	a, b := f.Take(1), f.Take(2)
	if a == nil || b == nil || f.Take(3) != nil {
		t.Fatalf("got %v, %v, want two entries and no third", a, b)
	}
	a.Begin(someone)
	a.Establish()
	a.Free()
	if c := f.Take(3); c == nil {
		t.Error("got none, want that which was freed")
	} else if _, ok := c.Secured(); ok {
		t.Error("got that of another connection")
	}
	g := nextTLS(t, f)
	g.Find(2)
	g.Forget() // that of 3
	if g.Take(4) == nil || g.Take(5) != nil {
		t.Error("want one entry free, that of a connection which nobody asked for")
	}
}

func TestANewTLSEntryCostsNoMemoryBeforeItIsUsed(t *testing.T) {
	f := newTLS(t, 1<<18)
	f.Take(1).Begin(someone)
	var st unix.Stat_t
	if err := unix.Fstat(f.FD(), &st); err != nil {
		t.Fatal(err)
	}
	if got := st.Blocks * 512; got > 2*pageSize {
		t.Errorf("got %d bytes, want a page for the header and one for the entry", got)
	}
}

// TestAKillAtAnyWriteOfATLSEntry: the next process knows exactly what the kernel has let go of,
// goes on with whole secrets or not at all, and finds none where a connection has ended.
func TestAKillAtAnyWriteOfATLSEntry(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	f := newTLS(t, 3)
	f.Take(1)
	e := f.Take(7)
	var taken int64 // by the kernel's reckoning
	var may []Secured
	begun := false
	looks := 0
	looking := false // the next process writes too
	look := func() {
		if looking || t.Failed() {
			return
		}
		looking = true
		defer func() { looking = false }()
		looks++
		g := nextTLS(t, f)
		defer func() { _ = g.Close() }()
		found := g.Find(7)
		s, ok := found.Secured()
		if ok != (len(may) > 0) && begun {
			t.Errorf("goes on: got %v, want %v", ok, len(may) > 0)
		}
		known := !ok
		for _, want := range may {
			known = known || reflect.DeepEqual(s, want)
		}
		if !known {
			t.Errorf("got %+v, want one of %+v", s, may)
		}
		if got := found.Consumed(); ok && got != taken {
			t.Errorf("consumed: got %d, want %d", got, taken)
		}
	}
	store = func(to *atomic.Uint64, v uint64) {
		look()
		to.Store(v)
		look()
	}
	defer func() { store = (*atomic.Uint64).Store }()

	now := someone
	e.Begin(now)
	may = []Secured{now}
	e.Establish()
	begun = true
	for i := range 300 {
		switch {
		case i%7 == 3:
			next := now
			if random.IntN(3) > 0 {
				next.Client = []byte(fmt.Sprintf("client secret %32d", i))
			}
			if random.IntN(3) > 0 {
				next.Server = []byte(fmt.Sprintf("server secret %18d", i))
			}
			may = []Secured{now, next}
			e.Rekey(changed(now.Client, next.Client), changed(now.Server, next.Server))
			may, now = []Secured{next}, next
			look()
		default:
			n, last := 1+random.IntN(1<<16), byte(random.IntN(2)*255+random.IntN(2))
			to := e.Taking(n, last)
			look()
			if random.IntN(4) == 0 {
				continue // the kernel would not let go of them
			}
			*to = last
			taken += int64(n)
			look()
			e.Taken()
			look()
		}
	}
	if looks < 2000 {
		t.Errorf("got %d looks, want one around each write", looks)
	}
	begun, may = false, []Secured{now}
	e.Free()
	if at := bytes.Trim(f.mem[pageSize+tlsEntrySize:], "\x00"); len(at) > 0 {
		t.Errorf("a free entry: got %q in it", at)
	}
}

// changed returns the secret that is new, or none.
func changed(was, is []byte) []byte {
	if bytes.Equal(was, is) {
		return nil
	}
	return is
}

// TestAFreeTLSEntryHasNoSecrets, whenever the process is killed.
func TestAFreeTLSEntryHasNoSecrets(t *testing.T) {
	f := newTLS(t, 2)
	f.Take(6)
	e := f.Take(7)
	look := func() {
		if e.at.cookie.Load() == 0 && bytes.ContainsAny(f.mem[pageSize+tlsEntrySize:], "\x01\x02") {
			t.Error("got secrets in a free entry")
		}
	}
	store = func(to *atomic.Uint64, v uint64) { look(); to.Store(v); look() }
	defer func() { store = (*atomic.Uint64).Store }()
	e.Begin(someone)
	e.Establish()
	e.Rekey(bytes.Repeat([]byte{1}, 40), nil)
	e.Free()
	f.Take(8)
}

// TestTheSecretsBeforeAreErased.
func TestTheSecretsBeforeAreErased(t *testing.T) {
	f := newTLS(t, 1)
	e := f.Take(7)
	e.Begin(someone)
	e.Establish()
	e.Rekey(bytes.Repeat([]byte{8}, 48), bytes.Repeat([]byte{9}, 48))
	for _, secret := range [][]byte{someone.Client, someone.Server} {
		if bytes.Contains(f.mem, secret[:16]) {
			t.Errorf("got %v still in the file", secret)
		}
	}
	if e.Rekey(make([]byte, 49), nil); e.at.generation.Load() != 1 {
		t.Error("got a secret that is too long")
	}
}

// TestProcessAfterProcessIsKilled while it takes bytes: none of them is taken for another.
func TestProcessAfterProcessIsKilled(t *testing.T) {
	f := newTLS(t, 2)
	e := f.Take(7)
	e.Begin(someone)
	e.Establish()
	var taken int64
	for i := range 60 {
		to := e.Taking(10, byte(i%3))
		if i%2 == 0 {
			*to = byte(i % 3)
			taken += 10
		}
		f = nextTLS(t, f)
		defer f.Close()
		if i%5 == 0 { // this one too, before it did anything
			f.Find(7)
			f = nextTLS(t, f)
			defer f.Close()
		}
		if e = f.Find(7); e.Consumed() != taken {
			t.Fatalf("after %d kills: got %d bytes, want %d", i+1, e.Consumed(), taken)
		}
	}
}

func TestADamagedTLSFileIsRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(f *TLS)
		want   bool // whether the file can be opened
	}{
		{"none", func(*TLS) {}, true},
		{"another file", func(f *TLS) { f.header().magic = magic }, false},
		{"entries of another size", func(f *TLS) { f.header().entrySize *= 2 }, false},
		{"more entries than there are", func(f *TLS) { f.header().entries += 1 << 20 }, false},
		{"far more", func(f *TLS) { f.header().entries = 1 << 54 }, false},
		{"more used than there are", func(f *TLS) { f.header().used = 4 }, false},
		{"a newer version", func(f *TLS) { f.header().version++ }, true},
		{"no version", func(f *TLS) { f.header().version = 0 }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newTLS(t, 3)
			c.damage(f)
			g, err := OpenTLS(copyOf(t, f))
			if err == nil {
				if got := g.header().version; got != tableVersion {
					t.Errorf("version: got %d, want %d, as that uses the file now", got, tableVersion)
				}
				_ = g.Close()
			}
			if (err == nil) != c.want || err != nil && !errors.Is(err, errDamaged) {
				t.Errorf("got %v, want it to open: %v", err, c.want)
			}
		})
	}
}

// TestADamagedTLSEntryIsNoneToGoOnWith.
func TestADamagedTLSEntryIsNoneToGoOnWith(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(e *tlsEntry)
	}{
		{"established by somebody else", func(e *tlsEntry) { e.established.Store(2) }},
		{"a server name that is too long", func(e *tlsEntry) { e.names.Store(256) }},
		{"a subject that is too long", func(e *tlsEntry) { e.names.Store(490 << 16) }},
		{"a negative length", func(e *tlsEntry) { e.names.Store(^uint64(0)) }},
		{"a negative offset", func(e *tlsEntry) { e.offset.Store(1 << 63) }},
		{"no such suite", func(e *tlsEntry) { e.kind.Store(1 << 32) }},
		{"no secret", func(e *tlsEntry) { e.generation.Store(1) }},
		{"a secret that is too long", func(e *tlsEntry) { e.secrets[0].clientLen = 49 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newTLS(t, 1)
			e := f.Take(7)
			e.Begin(someone)
			e.Establish()
			c.damage(e.at)
			g := nextTLS(t, f)
			defer g.Close()
			if s, ok := g.Find(7).Secured(); ok {
				t.Errorf("got %+v, want nothing", s)
			}
		})
	}
}

// FuzzTLSFile: whatever is in a file, nothing that is done with it crashes, and nothing is read
// from it that is longer than there is room for.
func FuzzTLSFile(tf *testing.F) {
	f := fuzzing.Fixed(tf)
	valid := newTLS(f, 3)
	e := valid.Take(7)
	e.Begin(someone)
	e.Establish()
	e.Taking(5, 1)
	valid.Take(8)
	entries := valid.mem[pageSize:]
	f.Add(valid.mem[:48], entries, int64(7))
	f.Add(valid.mem[:48], bytes.Repeat([]byte{0xff}, len(entries)), int64(-1))
	f.Add(bytes.Repeat([]byte{3}, 48), entries, int64(8))
	f.Fuzz(func(t *testing.T, header, entries []byte, cookie int64) {
		damaged := newTLS(t, 3)
		copy(damaged.mem[:pageSize], header)
		copy(damaged.mem[pageSize:], entries)
		g, err := OpenTLS(copyOf(t, damaged))
		if err != nil {
			if !errors.Is(err, errDamaged) {
				t.Error(err)
			}
			return
		}
		defer g.Close()
		use(t, g.Find(uint64(cookie)))
		g.Forget()
		for i := range 4 {
			use(t, g.Take(uint64(i+1)))
		}
	})
}

// use does with an entry, which is that of a damaged file or nil, all that can be done.
func use(t *testing.T, e *TLSEntry) {
	if s, ok := e.Secured(); ok && (len(s.ServerName) > maxServerName || len(s.Subject) > maxSubject || !fits(s.Client) || !fits(s.Server)) {
		t.Errorf("got %+v, longer than there is room for", s)
	}
	before := e.Consumed()
	*e.Taking(3, 9) = 9
	e.Taken()
	if got := e.Consumed() - before; e != nil && before >= 0 && before < 1<<62 && got != 3 {
		t.Errorf("got %d bytes taken, want 3", got)
	}
	e.Rekey([]byte("next"), nil)
	e.Free()
}
