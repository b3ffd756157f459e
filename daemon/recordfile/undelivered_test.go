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
	"time"
)

// model is what a test knows of a record file and its backups.
type model struct {
	path    string
	backups []Backup // without those that are there in a second form too
	marks   []Mark   // of the backups; "": it cannot be read
	current Mark
}

// newModel makes the files: some compressed, some in both forms, some that cannot be read, some
// without lines.
func newModel(t *testing.T, r *rand.Rand) (m model) {
	t.Helper()
	m.path = filepath.Join(t.TempDir(), "r.log")
	put := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	at := time.Now().Add(-100 * time.Hour)
	for i := range r.IntN(12) {
		at = at.Add(time.Duration(1+r.IntN(8)) * time.Hour)
		b := Backup{Of: m.path, At: at.UTC().Truncate(time.Millisecond)}
		plain := b.Path()
		put(plain, fmt.Sprintf("line %d of %d\n", i, r.Uint64()))
		mark := markOf(t, plain)
		kind := r.IntN(8)
		if kind < 4 { // compressed, or in both forms
			text := read(t, plain)
			b.Packed = true
			var packed bytes.Buffer
			z := gzip.NewWriter(&packed)
			_, _ = z.Write([]byte(text)) // to memory
			_ = z.Close()
			put(b.Path(), packed.String())
			if b.Packed = kind != 0; b.Packed {
				_ = os.Remove(plain) // else it counts as well
			}
		}
		switch {
		case kind == 1: // damaged
			put(b.Path(), "x")
			mark = ""
		case kind == 7: // without a line
			put(b.Path(), "")
			mark = ""
		}
		m.backups, m.marks = append(m.backups, b), append(m.marks, mark)
	}
	put(m.path, fmt.Sprintf("current %d\n", r.Uint64()))
	m.current = markOf(t, m.path)
	return m
}

// left returns which backups have to be left by number, age and what is not delivered, and how many
// of them for the latter reason alone.
func (m *model) left(most int, age time.Duration, u Undelivered) (left []Backup, overdue int64) {
	since := len(m.backups) // the first that is not delivered
	switch i := slices.Index(m.marks, u.From); {
	case u == Undelivered{}:
	case u.From == m.current && !u.All:
	case u.All, u.From == "", i < 0:
		since = 0
	default:
		since = i
	}
	for i, b := range m.backups {
		due := most > 0 && len(m.backups)-i > most || age > 0 && time.Since(b.At) > age
		if due && i >= since {
			overdue++
		}
		if !due || i >= since {
			left = append(left, b)
		}
	}
	return left, overdue
}

// TestRetentionLeavesWhatIsNotDelivered, with random backups, rules and positions: exactly those
// that the rule alone leaves, and those from the position on. They are compressed all the same.
func TestRetentionLeavesWhatIsNotDelivered(t *testing.T) {
	r := rand.New(rand.NewPCG(10, 11))
	for range 100 {
		m := newModel(t, r)
		var u Undelivered
		switch r.IntN(8) {
		case 0:
		case 1:
			u.All = true
		case 2:
			u.From = m.current
		case 3:
			u.From = "AAAAAAAAAAAAAAAA"
		default:
			if len(m.marks) > 0 {
				u.From = m.marks[r.IntN(len(m.marks))]
			}
		}
		var counts Counts
		var told overdue
		rule := rule{
			path: m.path, most: r.IntN(8), age: time.Duration(r.IntN(3)) * 30 * time.Hour, compress: r.IntN(2) == 0, counts: &counts,
			undelivered: func() Undelivered { return u }, overdue: func(o overdue) { told = o },
		}
		want, overdue := m.left(rule.most, rule.age, u)
		if err := rule.apply(func() bool { return false }); err != nil {
			t.Fatal(err)
		}
		got, err := Backups(m.path)
		same := slices.EqualFunc(got, want, func(a, b Backup) bool { return a.At.Equal(b.At) })
		if err != nil || !same {
			t.Fatalf("most %d, age %v, %+v of %q: got %v, %v, want %v", rule.most, rule.age, u, m.marks, got, err, want)
		}
		for _, b := range got {
			if rule.compress && !b.Packed {
				t.Fatalf("%s is not compressed", b.Path())
			}
		}
		if n := counts.Overdue.Load(); n != overdue || n != told.files || counts.OverdueBytes.Load() != told.bytes {
			t.Fatalf("got %d overdue files, and %v told, want %d", n, told, overdue)
		}
	}
}

// TestNothingIsReadForRetentionThatRemovesNothing, and else each backup once.
func TestNothingIsReadForRetentionThatRemovesNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(12, 13))
	m := newModel(t, r)
	for len(m.backups) < 8 || slices.Contains(m.marks, "") {
		m = newModel(t, r)
	}
	asked := 0
	known := marks{}
	rule := rule{path: m.path, most: len(m.backups), marks: known, undelivered: func() Undelivered {
		asked++
		return Undelivered{From: "AAAAAAAAAAAAAAAA"}
	}}
	apply := func() {
		t.Helper()
		if err := rule.apply(func() bool { return false }); err != nil {
			t.Fatal(err)
		}
	}
	apply()
	if asked != 0 || len(known) != 0 {
		t.Errorf("asked %d times and read %d, want nothing", asked, len(known))
	}
	rule.most = 2
	apply()
	if asked != 1 || len(known) != len(m.backups) {
		t.Errorf("asked %d times and read %d, want once and all %d", asked, len(known), len(m.backups))
	}
	for _, b := range m.backups { // nobody reads them again
		if err := os.WriteFile(b.Path(), []byte("other\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rule.undelivered = func() Undelivered { return Undelivered{From: m.marks[4]} }
	apply()
	if left, _ := Backups(m.path); len(left) != len(m.backups)-4 {
		t.Errorf("got %d backups, want those from the fifth of %d on", len(left), len(m.backups))
	}
}

// TestWhatIsNotDeliveredStaysForLife writes, delivers, changes the options and restarts at random.
// Whatever is not delivered is there at any time; once all is delivered, or nothing is forwarded,
// the rule holds as ever.
func TestWhatIsNotDeliveredStaysForLife(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { aDelivery(t, rand.New(rand.NewPCG(seed, 14))) })
	}
}

// deliveredFile is a file that is being delivered.
type deliveredFile struct {
	*testing.T
	f     *File
	opt   Options
	lines []string // all that was written
	mark  []Mark   // by line: that of its file
	done  int      // lines that are delivered
	at    Undelivered
}

func aDelivery(t *testing.T, r *rand.Rand) {
	d := &deliveredFile{T: t, opt: options(t)}
	d.opt.MaxSize, d.opt.MaxBackups, d.opt.Sync, d.opt.Counts = 50, 2, SyncNever, new(Counts)
	d.opt.Undelivered = func() Undelivered { return d.at }
	d.at.All = true
	d.f = open(t, d.opt)
	defer func() { d.f.Close() }()
	for range 150 {
		switch r.IntN(6) {
		case 0:
			d.deliver(d.done + r.IntN(len(d.lines)-d.done+1))
		case 1:
			d.restart()
		case 2:
			d.opt.Compress = r.IntN(2) == 0
			if err := d.f.Reopen(d.opt); err != nil {
				t.Fatal(err)
			}
		default:
			d.write()
		}
		d.check()
	}
	d.deliver(len(d.lines))
	d.look()
	if n := len(d.f.rotations(t)); n != 2 || d.opt.Counts.Overdue.Load() != 0 {
		t.Errorf("got %d backups, %d overdue, want 2 once all is delivered", n, d.opt.Counts.Overdue.Load())
	}
	d.at = Undelivered{All: true}
	for range 20 {
		d.write()
	}
	d.check()
	d.opt.Undelivered = nil
	if err := d.f.Reopen(d.opt); err != nil {
		t.Fatal(err)
	}
	d.f.keeperRests()
	if n := len(d.f.rotations(t)); n != 2 || d.opt.Counts.Overdue.Load() != 0 {
		t.Errorf("got %d backups, %d overdue, want 2 once nothing is forwarded", n, d.opt.Counts.Overdue.Load())
	}
}

func (d *deliveredFile) write() {
	d.Helper()
	d.f.keeperRests() // d.at is not changed while it runs
	line := fmt.Sprintf("line %d of many\n", len(d.lines))
	write(d.T, d.f, line)
	d.lines, d.mark = append(d.lines, line), append(d.mark, markOf(d.T, d.opt.Path))
	d.f.keeperRests()
}

func (d *deliveredFile) deliver(lines int) {
	d.f.keeperRests()
	if d.done = lines; lines > 0 {
		d.at = Undelivered{From: d.mark[lines-1]}
	}
}

// restart goes on in another process: nothing is known but what is on disk.
func (d *deliveredFile) restart() {
	d.Helper()
	if err := d.f.Close(); err != nil {
		d.Fatal(err)
	}
	f, err := Open(d.opt)
	if err != nil {
		d.Fatal(err)
	}
	d.f = f
	d.f.keeperRests()
}

// look has retention look again as a Tick does after ten seconds.
func (d *deliveredFile) look() {
	d.f.keeperRests()
	d.f.keeper.mu.Lock()
	d.f.keeper.asked = d.f.keeper.asked.Add(-overdueFor)
	d.f.keeper.mu.Unlock()
	d.f.Tick()
	d.f.keeperRests()
}

// check checks that all is there that is not delivered.
func (d *deliveredFile) check() {
	d.Helper()
	d.f.keeperRests()
	if got, want := whole(d.T, d.opt.Path), strings.Join(d.lines[d.done:], ""); !strings.HasSuffix(got, want) {
		d.Fatalf("got %q, want all of %q, which is not delivered", got, want)
	}
}

// TestOverdueBackupsAreToldOfOnce, when the first is left and when the last has gone, and they are
// looked after as long, although nothing is written.
func TestOverdueBackupsAreToldOfOnce(t *testing.T) {
	d := &deliveredFile{T: t, opt: options(t)}
	var told []error
	d.opt.Trouble = func(what Trouble, err error) {
		if what == Overdue {
			told = append(told, err)
		}
	}
	d.opt.MaxSize, d.opt.MaxBackups, d.opt.Sync, d.opt.Counts = 20, 1, SyncNever, new(Counts)
	d.opt.Undelivered = func() Undelivered { return d.at }
	d.at.All = true
	d.f = open(t, d.opt)
	for range 4 { // a file for each
		d.write()
	}
	want := fmt.Sprintf("record file %q: rotated files beyond max_backups and max_age are not delivered yet: 1 of them, %d bytes", d.opt.Path, len(d.lines[0]))
	if len(told) != 1 || told[0] == nil || told[0].Error() != want {
		t.Fatalf("told %v, want once %q", told, want)
	}
	d.f.Tick() // too soon
	d.f.keeperRests()
	if files, size := d.opt.Counts.Overdue.Load(), d.opt.Counts.OverdueBytes.Load(); files != 2 || size != int64(2*len(d.lines[0])) || len(told) != 1 {
		t.Errorf("got %d overdue files of %d bytes, told %v, want 2 files of %d bytes", files, size, told, 2*len(d.lines[0]))
	}
	d.deliver(2)
	d.look()
	if n := d.opt.Counts.Overdue.Load(); n != 1 || len(told) != 1 {
		t.Errorf("got %d overdue, told %v, want one yet", n, told)
	}
	d.deliver(3)
	d.look()
	if n := d.opt.Counts.Overdue.Load(); n != 0 || len(told) != 2 || told[1] != nil {
		t.Errorf("got %d overdue, told %v, want none, and its end told", n, told)
	}
}

// TestAWriteWithoutRoomFailsWithARoomError: one who waits for room can be told why there is none.
func TestAWriteWithoutRoomFailsWithARoomError(t *testing.T) {
	opt := options(t)
	opt.MinFree = 1 << 60
	f := open(t, opt)
	_, err := f.Write([]byte("line\n"))
	if room, ok := errors.AsType[*RoomError](err); !ok || room.MinFree != opt.MinFree || room.Need != 5 {
		t.Errorf("got %v, want a RoomError", err)
	}
}
