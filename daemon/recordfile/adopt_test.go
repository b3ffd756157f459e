package recordfile

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/record"
)

func TestLastLineThatIsNotWhole(t *testing.T) {
	const whole = "2026-11-22T13:05:41.118203Z from 192.0.2.7:40312: one\n"
	const object = `{"time":"2026-11-22T13:05:41.118203Z","kind":"open"}` + "\n"
	long := strings.Repeat("x", 200<<10)
	for _, c := range []struct {
		name, before, want string
		format             record.Format
	}{
		{"a piece of a record", whole + "2026-11-22T13:05:41.118", whole, record.Text},
		{"a record without its end", whole + whole[:len(whole)-1], whole, record.Text},
		{"a long piece", whole + whole[:len(whole)-1] + long, whole, record.Text},
		{"nothing but a piece", "2026-11", "", record.Text},
		{"a piece of an object", object + object[:12], object, record.JSON},
		{"zeros of a loss of power", whole + "2026-11-22T13:05\x00\x00\x00\x00", whole, record.Text},
		{"nothing but a piece and zeros", "2026-11\x00\x00\x00\x00", "", record.Text},
		{"nothing but the first bytes of a piece, and zeros", "20\x00\x00\x00\x00", "", record.Text},
		{"nothing but a short number", "20", "20\n", record.Text},
		{"nothing but zeros", "\x00\x00\x00\x00\x00\x00\x00\x00", "", record.Text},
		{"zeros behind a record", whole + strings.Repeat("\x00", 100), whole, record.Text},
		{"another's line behind ours", whole + "time=2026", whole + "time=2026\n", record.Text},
		{"a barcode", "4006381333931", "4006381333931\n", record.Text},
		{"a barcode behind others", "4006381333931\n2026", "4006381333931\n2026\n", record.Text},
	} {
		t.Run(c.name, func(t *testing.T) {
			opt := options(t)
			opt.Format = c.format
			if err := os.WriteFile(opt.Path, []byte(c.before), 0o600); err != nil {
				t.Fatal(err)
			}
			var told error
			opt.Trouble = func(what Trouble, err error) {
				if what == TornLine {
					told = err
				}
			}
			write(t, open(t, opt), "next\n")
			if got, want := read(t, opt.Path), c.want+"next\n"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			if told == nil {
				t.Error("nobody was told")
			}
		})
	}
}

// unreadable is a file whose bytes at one offset cannot be read.
type unreadable struct {
	io.ReaderAt
	at int64
}

func (u unreadable) ReadAt(b []byte, off int64) (int, error) {
	if off == u.at {
		return 0, unix.EIO
	}
	return u.ReaderAt.ReadAt(b, off)
}

func TestLastLineThatCannotBeReadIsLeftAlone(t *testing.T) {
	const last = "2026-11"
	before := strings.Repeat("2026-11-22T13:05:41.118203Z from 192.0.2.7:40312: one\n", 2000) + last
	f := open(t, options(t))
	write(t, f, before)
	for name, at := range map[string]int{"the beginning of the file": 0, "the last line": len(before) - len(last)} {
		err := f.mend(unreadable{strings.NewReader(before), int64(at)})
		if got := read(t, f.Path()); !errors.Is(err, unix.EIO) || got != before {
			t.Errorf("%s: got error %v and %d bytes, want %v and %d", name, err, len(got), unix.EIO, len(before))
		}
	}
}

// TestATornLineIsCutOnceItCanBe: nothing is appended to a piece that could not be cut off at once.
func TestATornLineIsCutOnceItCanBe(t *testing.T) {
	opt, d := onFaulty(t)
	f := open(t, opt)
	full := failing(1, unix.ENOSPC)
	d.writes = func(p []byte) (int, error) {
		if err := full(); err != nil {
			return 7, err
		}
		return -1, nil
	}
	d.cuts = failing(2, unix.EIO)
	if n, err := f.Write([]byte("one\ntwo\n")); n != 4 || !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("got %d, %v, want 4, %v", n, err, unix.ENOSPC)
	}
	if n, err := f.Write([]byte("two\n")); n != 0 || !errors.Is(err, unix.EIO) {
		t.Errorf("got %d, %v while the piece cannot be cut off, want 0, %v", n, err, unix.EIO)
	}
	write(t, f, "two\n")
	if got, want := read(t, opt.Path), "one\ntwo\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestWhatTheProcessBeforeHasWrittenIsOnDiskToo before a message is acknowledged.
func TestWhatTheProcessBeforeHasWrittenIsOnDiskToo(t *testing.T) {
	opt, disk := onFaulty(t)
	opt.Sync, opt.Format = SyncAlways, record.JSON
	if err := os.WriteFile(opt.Path, []byte(giverLine(0, 0, 10)), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for range 2 {
		if n, err := f.Write(nil); n != 0 || err != nil {
			t.Fatalf("got %d, %v, want 0, nil", n, err)
		}
	}
	if got := disk.count("sync 1"); got != 1 {
		t.Errorf("got %d syncs of the file in %q, want one", got, disk.did())
	}
}
