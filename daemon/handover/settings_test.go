package handover

import (
	"os"
	"reflect"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/state"
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

// TestAKnownTextIsNotParsed, and stands for the same listeners as one that is: a start with many
// listeners would take seconds, in which all clients wait.
func TestAKnownTextIsNotParsed(t *testing.T) {
	cfg, err := config.Load("../../config/testdata/good.toml")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Listeners[len(cfg.Listeners)-1].Source = "drop-in.toml"
	first := openSettings(t, nil)
	numbers, err := first.put(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	parsed, knowing := openSettings(t, first.stored(t)), openSettings(t, first.stored(t))
	if _, err := knowing.know(cfg); err != nil {
		t.Fatal(err)
	}
	if got, want := knowing.listeners(), parsed.listeners(); !reflect.DeepEqual(got, want) || len(want.begun) != len(numbers) {
		t.Errorf("got  %+v\nwant %+v, the listeners of %v", got, want, numbers)
	}
	if once := parsed.listeners(); parsed.listeners() != once {
		t.Error("the texts are read again for each listener, want them read once")
	}
	knowing.known.cfg.Listeners[0].Framing = "known"
	knowing.read = nil
	if l, _, _ := knowing.began(numbers[cfg.Listeners[0].Name]); l.Framing != "known" {
		t.Errorf("got framing %q of a text that is known, want that of its configuration", l.Framing)
	}
}

// TestNoNumberStandsForTwo: a client would go on with the settings of another listener. A number
// that a connection still has is nobody else's, and a configuration that comes back has its own.
func TestNoNumberStandsForTwo(t *testing.T) {
	const main = config.MainListener
	cfg := config.Default()
	natural, err := openSettings(t, nil).put(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := openSettings(t, nil)
	s.saved.Texts = []state.Text{{Path: "old", Text: "old", Origins: map[string]uint32{"other": natural[main], "another": natural[main] + 1}}}
	used := map[uint32]bool{natural[main]: true}
	put := func(cfg config.Config) uint32 {
		t.Helper()
		numbers, err := s.put(cfg, used)
		if err != nil {
			t.Fatal(err)
		}
		return numbers[main]
	}
	first := put(cfg)
	if first == natural[main] || first == natural[main]+1 {
		t.Fatalf("got %d, which is taken", first)
	}
	used[first] = true
	later := cfg
	later.Listeners = slices.Clone(cfg.Listeners)
	later.Listeners[0].Framing = "nul"
	put(later)
	s.saved.Texts = s.saved.Texts[1:] // nobody has the oldest any more
	if again := put(cfg); again != first {
		t.Errorf("the same configuration again: got %d, want %d", again, first)
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
