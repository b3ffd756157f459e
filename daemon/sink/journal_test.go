package sink

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/record"
)

// left returns the journal of a process that was killed after it had taken lines, and before it had
// written any.
func left(t *testing.T, lines string) *Journal {
	t.Helper()
	j, err := NewJournal()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	s := New(discard{}, untroubled(t))
	s.Keep(j)
	if _, err := s.Gather([]byte(lines), nil); err != nil {
		t.Fatal(err)
	}
	return j
}

// TestRecordsOfAnotherFormatAreForgotten: they would make the file unreadable. Their sessions still
// have the messages.
func TestRecordsOfAnotherFormatAreForgotten(t *testing.T) {
	for _, c := range []struct {
		format   record.Format
		position int64
		want     string
	}{
		{record.JSON, 3, "{1\n"},
		{record.Text, 0, ""},
	} {
		j, out := left(t, "{1\n"), &script{}
		nowhere := func(int64, int64) string { return "" }
		if got := j.Settle(nowhere, c.format); got != c.position {
			t.Errorf("format %d: got position %d, want %d", c.format, got, c.position)
		}
		s := New(out, untroubled(t))
		s.Keep(j)
		s.Release()
		if got := out.buf.String(); got != c.want {
			t.Errorf("format %d: got %q written, want %q", c.format, got, c.want)
		}
		if got := j.end(); got != 3 {
			t.Errorf("format %d: positions go on from %d, want 3", c.format, got)
		}
	}
}

// TestADamagedJournalIsRefused, so that nothing is written that no client sent.
func TestADamagedJournalIsRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(h *journalHeader)
		want   bool // whether it can be opened
	}{
		{"none", func(*journalHeader) {}, true},
		{"another file", func(h *journalHeader) { h.magic++ }, false},
		{"another version", func(h *journalHeader) { h.version++ }, false},
		{"a half that is too long", func(h *journalHeader) { h.halves[1].size.Store(halfSize + 1) }, false},
		{"a half that is too short", func(h *journalHeader) { h.halves[0].size.Store(-1) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := left(t, "{1\n")
			c.damage(j.header())
			fd, err := unix.FcntlInt(uintptr(j.FD()), unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			next, err := OpenJournal(fd)
			if err == nil {
				_ = next.Close() // it is a mapping
			}
			if (err == nil) != c.want || err != nil && !errors.Is(err, errJournal) {
				t.Errorf("got %v, want it to open: %v", err, c.want)
			}
		})
	}
}
