package delivery

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// saverOf makes the test's executable a process that saves states in this directory until it is
// killed.
const saverOf = "TCPMUX_TEST_SAVER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(saverOf); dir != "" {
		os.Exit(saveUntilKilled(dir))
	}
	os.Exit(m.Run())
}

// stateOf returns the state with a number, by which everything in it can be known again. It is
// larger than what one write(2) to a pipe, or a page, would hold.
func stateOf(n uint64) State {
	r := rand.New(rand.NewPCG(n, 7))
	s := State{
		Version: version, Stream: Stream{Name: "TCPMUX", Created: time.Unix(int64(n), 5).UTC()}, Sequence: n,
		Delivered: randomCursor(r, 200), Kept: randomCursor(r, 100), Next: Moment{At: time.Unix(int64(n), 7).UTC(), Delivered: randomCursor(r, 50)}, Skip: n%2 == 0, Accept: n%3 == 0,
	}
	s.Paths = map[Key]string{}
	for i, p := range s.Delivered {
		s.Paths[p.Key] = fmt.Sprintf("/var/log/tcpmux/%d-\"\\\xff.log", i)
		s.Paths[p.Key] = strings.ToValidUTF8(s.Paths[p.Key], "?")
	}
	return s
}

// saveUntilKilled saves states, and says after each that it is saved.
func saveUntilKilled(dir string) (status int) {
	s, err := Load(dir)
	for n := s.Sequence + 1; err == nil || errors.Is(err, fs.ErrNotExist); n++ {
		if err = Save(dir, stateOf(n)); err == nil {
			fmt.Println(n)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// TestStateIsWholeWheneverItsWriterIsKilled, and none that was saved is undone. One who reads
// meanwhile sees whole ones too.
func TestStateIsWholeWheneverItsWriterIsKilled(t *testing.T) {
	dir, r := t.TempDir(), rand.New(rand.NewPCG(8, 9))
	last := uint64(0)
	whole := func() {
		t.Helper()
		s, err := Load(dir)
		if err != nil || s.Sequence < last || !reflect.DeepEqual(s, stateOf(s.Sequence)) {
			t.Fatalf("got sequence %d, %v, want the state %d or a later one, whole", s.Sequence, err, last)
		}
	}
	for range 12 {
		c := exec.Command("/proc/self/exe")
		c.Env, c.Stderr = append(os.Environ(), saverOf+"="+dir), os.Stderr
		out, err := c.StdoutPipe()
		if err == nil {
			err = c.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for range 1 + r.IntN(10) {
			if !lines.Scan() {
				t.Fatal("the process has ended, want it to save until it is killed")
			}
			if last, err = strconv.ParseUint(lines.Text(), 10, 64); err != nil {
				t.Fatal(err)
			}
			whole()
		}
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() {
			last, _ = strconv.ParseUint(lines.Text(), 10, 64)
		}
		_ = c.Wait() // it was killed
		whole()
	}
}

// TestStateThatIsDamaged is refused, and never taken for another one.
func TestStateThatIsDamaged(t *testing.T) {
	dir, want := t.TempDir(), stateOf(6)
	if err := Save(dir, want); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(Path(dir))
	if err != nil {
		t.Fatal(err)
	}
	load := func(text []byte) (State, error) {
		t.Helper()
		if err := os.WriteFile(Path(dir), text, 0o600); err != nil {
			t.Fatal(err)
		}
		return Load(dir)
	}
	whole := len(text) - 1 // without its line end
	for n := 0; n < whole; n += 1 + n%293 {
		if s, err := load(text[:n]); err == nil || !strings.Contains(err.Error(), strconv.Quote(Path(dir))) {
			t.Fatalf("the first %d bytes: got %v, %v, want an error that names the file", n, s, err)
		}
		if s, err := load(append(text[:n:n], make([]byte, len(text)-n)...)); err == nil {
			t.Fatalf("zeros from byte %d: got %v, want an error", n, s)
		}
	}
	for name, text := range map[string]string{
		"of another version": strings.Replace(string(text), `"version": 1`, `"version": 2`, 1),
		"of no version":      "{}",
		"null":               "null",
		"a bad mark":         strings.Replace(string(text), string(want.Kept[0].Mark), "x", 1),
		"a bad key":          strings.Replace(string(text), `"key": "`+string(want.Delivered[3].Key), `"key": "x`, 1),
		"a negative offset":  strings.Replace(string(text), `"offset": `, `"offset": -`, 1),
		"a key twice":        strings.ReplaceAll(string(text), string(want.Kept[0].Key), string(want.Kept[1].Key)),
		"twice":              string(text) + string(text),
	} {
		if s, err := load([]byte(text)); err == nil {
			t.Errorf("%s: got %v, want an error", name, s)
		}
	}
	if got, err := load(text); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v, want what was saved", got, err)
	}
}

// TestStateOfADamagedFileIsReplaced, whatever an interrupted Save has left.
func TestStateOfADamagedFileIsReplaced(t *testing.T) {
	dir, want := t.TempDir(), stateOf(3)
	for _, path := range []string{Path(dir), Path(dir) + ".tmp"} {
		if err := os.WriteFile(path, []byte(strings.Repeat("{", 1<<20)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := Save(dir, want); err != nil {
		t.Fatal(err)
	}
	got, err := Load(dir)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v, want what was saved", got, err)
	}
}

func TestStateThatIsNotThere(t *testing.T) {
	for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), "none")} {
		if s, err := Load(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v, %v, want %v", s, err, fs.ErrNotExist)
		}
	}
	if err := Save(filepath.Join(t.TempDir(), "none"), State{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("save: got %v, want %v", err, fs.ErrNotExist)
	}
}

// TestAnybodyMayReadTheState, whatever the umask: the daemon runs as another user than the
// forwarder.
func TestAnybodyMayReadTheState(t *testing.T) {
	defer unix.Umask(unix.Umask(0o077))
	dir := t.TempDir()
	for range 2 {
		if err := Save(dir, State{}); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(Path(dir)); err != nil || info.Mode() != 0o644 {
			t.Errorf("got mode %v, %v, want %v", info.Mode(), err, fs.FileMode(0o644))
		}
	}
}

// TestNothingIsWrittenThroughALink that the owner of the directory has put where root writes, as
// with tcpmux-forward --forget.
func TestNothingIsWrittenThroughALink(t *testing.T) {
	dir, other := t.TempDir(), filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(other, Path(dir)+".tmp"); err != nil {
		t.Fatal(err)
	}
	if err := Save(dir, stateOf(1)); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(other); string(text) != "mine" {
		t.Errorf("got %d bytes (%v), want the file as it was", len(text), err)
	}
	if _, err := Load(dir); err != nil {
		t.Error(err)
	}
}

// TestAStateFileOfAHostileUser neither holds up who reads it nor takes all memory.
func TestAStateFileOfAHostileUser(t *testing.T) {
	for name, put := range map[string]func(path string) error{
		"a FIFO": func(path string) error { return unix.Mkfifo(path, 0o644) },
		"a link": func(path string) error { return os.Symlink("/dev/zero", path) },
		"a hole": func(path string) error {
			return errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 1<<40))
		},
		"a directory": func(path string) error { return os.Mkdir(path, 0o755) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := put(Path(dir)); err != nil {
				t.Fatal(err)
			}
			if _, err := Load(dir); err == nil || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("got %v, want what is wrong", err)
			}
		})
	}
}
