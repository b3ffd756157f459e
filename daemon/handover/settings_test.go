package handover

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/systemd"
)

// openSettings opens a store with what was stored; it is closed with the test.
func openSettings(t *testing.T, stored []systemd.Socket) *SettingsStore {
	t.Helper()
	s, err := OpenSettings(stored)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// stored returns what a service manager has of a store.
func (s *SettingsStore) stored(t *testing.T) []systemd.Socket {
	t.Helper()
	file, err := duplicateFile(s.file, s.file.Name())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return []systemd.Socket{{Name: file.Name(), File: file}}
}

// TestSettingsAreKeptWhileASessionHasThem and no longer; the last are those in force.
func TestSettingsAreKeptWhileASessionHasThem(t *testing.T) {
	s := openSettings(t, nil)
	put := func(framing string, used map[uint32]bool) uint32 {
		cfg := config.Default()
		cfg.Listeners[0].Framing = framing
		numbers, err := s.put(cfg, used)
		if err != nil {
			t.Fatal(err)
		}
		return numbers[config.MainListener]
	}
	line := put("line", nil)
	nul := put("nul", map[uint32]bool{line: true})
	chunk := put("chunk", map[uint32]bool{line: true})
	next := openSettings(t, s.stored(t))
	for _, c := range []struct {
		number  uint32
		framing string // "": it is not known
	}{{line, "line"}, {nul, ""}, {chunk, "chunk"}, {0, ""}} {
		if l, _, known := next.began(c.number); l.Framing != c.framing || known != (c.framing != "") {
			t.Errorf("%d: got framing %q, known %v, want %q", c.number, l.Framing, known, c.framing)
		}
	}
	last, err := next.Last()
	if err != nil || last.Listeners[0].Framing != "chunk" {
		t.Errorf("last: got %v, %v, want framing chunk", last, err)
	}
	if again := put("line", map[uint32]bool{line: true}); again != line {
		t.Errorf("the same configuration again: got %d, want %d", again, line)
	}
}

// TestSettingsThatCannotBeReadAreNone and cost nothing else.
func TestSettingsThatCannotBeReadAreNone(t *testing.T) {
	fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), systemd.SettingsName+"1")
	defer file.Close()
	if _, err := file.WriteString("{"); err != nil {
		t.Fatal(err)
	}
	s, err := OpenSettings([]systemd.Socket{{Name: file.Name(), File: file}})
	if err == nil {
		t.Error("got no error for a damaged file, want one")
	}
	defer s.Close()
	if _, err := s.Last(); err == nil {
		t.Error("got a configuration, want none")
	}
	if _, err := s.put(config.Default(), nil); err != nil {
		t.Errorf("put: got %v, want nil", err)
	}
}
