package recordfile

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/sink"
)

// options returns options for a file in a new directory.
func options(t *testing.T) Options {
	dir := filepath.Join(t.TempDir(), "sub")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return Options{Path: filepath.Join(dir, "records.log"), Mode: 0o640, MaxSize: 1 << 20}
}

func open(t *testing.T, opt Options) *File {
	t.Helper()
	f, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func write(t *testing.T, f *File, lines string) {
	t.Helper()
	if n, err := f.Write([]byte(lines)); n != len(lines) || err != nil {
		t.Fatalf("got %d, %v, want %d bytes written", n, err, len(lines))
	}
}

// give writes lines as a session does.
func give(s *sink.Sink, lines []byte) error {
	ticket, err := s.Gather(lines, nil)
	if err != nil {
		return err
	}
	return s.Commit(ticket)
}

func untroubled(t *testing.T) func(error) {
	return func(err error) { t.Errorf("told of trouble: %v", err) }
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// whole returns everything that was written, oldest backup first.
func whole(t *testing.T, path string) string {
	t.Helper()
	backups, _ := filepath.Glob(strings.TrimSuffix(path, ".log") + "-*")
	slices.Sort(backups)
	var all strings.Builder
	for _, name := range backups {
		b := []byte(read(t, name))
		if strings.HasSuffix(name, ".gz") {
			z, err := gzip.NewReader(bytes.NewReader(b))
			if err != nil {
				t.Fatal(err)
			}
			if b, err = io.ReadAll(z); err != nil {
				t.Fatal(err)
			}
		}
		all.Write(b)
	}
	return all.String() + read(t, path)
}

// failing returns a function that fails the first n times.
func failing(n int, err error) func() error {
	return func() error {
		if n--; n >= 0 {
			return err
		}
		return nil
	}
}

// lacks skips a test that needs something this machine lacks. In CI it fails the test, because
// nothing may be skipped there.
func lacks(t *testing.T, what, how string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("%s: %s", what, how)
	}
	t.Skipf("%s: %s", what, how)
}

// inAProcessOfItsOwn runs the rest of a test in a process of its own, where it may change the state
// of the whole process.
func inAProcessOfItsOwn(t *testing.T, test func()) {
	t.Helper()
	const inside = "RECORD_TEST_INSIDE"
	if os.Getenv(inside) != "" {
		test()
		return
	}
	c := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$")
	c.Env = append(os.Environ(), inside+"=1")
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// limitFiles limits the size of files that this process writes: the kernel writes as much as fits,
// and then fails.
func limitFiles(t *testing.T, most uint64) {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	limit.Cur = most
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
}
