package recordfile

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/sink"
	"tcpmux/internal/await"
)

// pair returns both ends of what standard output may be: where lines are written, and read.
var pairs = map[string]func(t *testing.T) (out, in *os.File){
	"a pipe": func(t *testing.T) (out, in *os.File) {
		in, out, err := os.Pipe()
		return files(t, err, out, in)
	},
	"a pipe that blocks": func(t *testing.T) (out, in *os.File) {
		var fds [2]int
		err := unix.Pipe2(fds[:], unix.O_CLOEXEC)
		return files(t, err, os.NewFile(uintptr(fds[1]), ""), os.NewFile(uintptr(fds[0]), ""))
	},
	"a socket": func(t *testing.T) (out, in *os.File) {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		return files(t, err, os.NewFile(uintptr(fds[1]), ""), os.NewFile(uintptr(fds[0]), ""))
	},
}

func files(t *testing.T, err error, out, in *os.File) (*os.File, *os.File) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close(); in.Close() })
	return out, in
}

// onStdout opens a file that is standard output. The patience is short, or without a limit.
func onStdout(t *testing.T, out *os.File, patience time.Duration) *File {
	t.Helper()
	raw, err := out.SyscallConn() // File.Fd would make it block
	if err != nil {
		t.Fatal(err)
	}
	var f *File
	if cerr := raw.Control(func(fd uintptr) { f, err = Open(Options{Path: Stdout, fd: int(fd)}) }); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	t.Cleanup(func() { f.Close() })
	f.stdout.patience = patience
	return f
}

// blocking makes the file write as it does where it cannot open the pipe anew.
func (f *File) blocking(t *testing.T, out *os.File) {
	t.Helper()
	if err := unix.Dup3(int(out.Fd()), f.stdout.fd, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	f.stdout.blocks = true
}

const forever = time.Hour

// TestStandardOutputGetsWhatIsWritten, whatever it is, also more than fits into it at once.
func TestStandardOutputGetsWhatIsWritten(t *testing.T) {
	for what, pair := range pairs {
		t.Run(what, func(t *testing.T) {
			out, in := pair(t)
			f := onStdout(t, out, forever)
			if strings.Contains(what, "blocks") {
				f.blocking(t, out)
			}
			lines := strings.Repeat("a line\n", 100_000) + strings.Repeat("x", 1<<20) + "\n"
			got := make(chan string)
			go func() {
				b := make([]byte, len(lines))
				n, _ := io.ReadFull(in, b)
				got <- string(b[:n])
			}()
			write(t, f, lines)
			if got := <-got; got != lines {
				t.Errorf("got %d bytes, want the %d that were written", len(got), len(lines))
			}
		})
	}
}

// TestStandardOutputIsNotChanged: other processes have it too.
func TestStandardOutputIsNotChanged(t *testing.T) {
	var fds [2]int
	err := unix.Pipe2(fds[:], unix.O_CLOEXEC)
	out, _ := files(t, err, os.NewFile(uintptr(fds[1]), ""), os.NewFile(uintptr(fds[0]), ""))
	f := onStdout(t, out, forever)
	write(t, f, "a\n")
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if flags, err := unix.FcntlInt(out.Fd(), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK != 0 {
		t.Errorf("got flags %#o, %v, want it blocking as before", flags, err)
	}
	if _, err := f.Write([]byte("b\n")); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Close: got %v, want %v", err, os.ErrClosed)
	}
}

// TestAReaderThatTakesNothing makes writes fail after a while. When it goes on, it gets each line
// once and whole, though a write had ended within one.
func TestAReaderThatTakesNothing(t *testing.T) {
	for what, pair := range pairs {
		t.Run(what, func(t *testing.T) {
			out, in := pair(t)
			f := onStdout(t, out, time.Millisecond)
			if strings.Contains(what, "blocks") {
				f.blocking(t, out)
			}
			line := strings.Repeat("x", 9_999) + "\n"
			lines := []byte(strings.Repeat(line, 100))
			n, err := f.Write(lines)
			if err == nil || !strings.HasPrefix(err.Error(), "write standard output: its reader") || n%len(line) != 0 {
				t.Fatalf("got %d, %v, want whole lines and that the reader is slow", n, err)
			}
			if m, err := f.Write(lines[n:]); m != 0 || err == nil {
				t.Fatalf("again: got %d, %v, want nothing written", m, err)
			}
			f.stdout.patience = forever
			written := make(chan error)
			go func() {
				_, err := f.Write(lines[n:])
				written <- err
			}()
			got := make([]byte, len(lines))
			if n, err := io.ReadFull(in, got); err != nil || !bytes.Equal(got, lines) {
				t.Errorf("got %d bytes, %v, want the %d that were written, unchanged", n, err, len(lines))
			}
			if err := <-written; err != nil {
				t.Error(err)
			}
		})
	}
}

// TestALineThatIsNeverCompleted, because other lines follow, is ended.
func TestALineThatIsNeverCompleted(t *testing.T) {
	out, in := pairs["a pipe"](t)
	f := onStdout(t, out, forever)
	f.stdout.begun = []byte("half")
	write(t, f, "other\n")
	text, err := bufio.NewReader(in).ReadString('r')
	if want := "\nother"; text != want || err != nil {
		t.Errorf("got %q, %v, want %q", text, err, want)
	}
}

// TestASinkOnStandardOutput waits for a reader, and makes progress in the eyes of the watchdog.
func TestASinkOnStandardOutput(t *testing.T) {
	out, in := pairs["a pipe"](t)
	f := onStdout(t, out, time.Millisecond)
	failed := make(chan error, 2)
	s := sink.New(f, func(err error) { failed <- err })
	lines := bytes.Repeat([]byte("a line\n"), 50_000)
	given := make(chan error)
	go func() { given <- give(s, lines) }()
	if err := <-failed; err == nil {
		t.Fatal("got no failure, want one while nobody reads")
	}
	for range 3 {
		if err := s.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	got := make([]byte, len(lines))
	if n, err := io.ReadFull(in, got); err != nil || !bytes.Equal(got, lines) {
		t.Errorf("got %d bytes, %v, want all", n, err)
	}
	if err := <-given; err != nil {
		t.Error(err)
	}
	if err := <-failed; err != nil {
		t.Errorf("got %v, want an end of the failure", err)
	}
}

// TestStandardOutputWithoutAReader is an error that a write may be tried again after.
func TestStandardOutputWithoutAReader(t *testing.T) {
	for what, pair := range pairs {
		out, in := pair(t)
		early := onStdout(t, out, forever)
		if err := in.Close(); err != nil {
			t.Fatal(err)
		}
		for _, f := range []*File{early, onStdout(t, out, forever)} {
			if n, err := f.Write([]byte("a\n")); n != 0 || !errors.Is(err, unix.EPIPE) {
				t.Errorf("%s: got %d, %v, want %v", what, n, err, unix.EPIPE)
			}
		}
	}
}

// TestStandardOutputThatIsNone is refused.
func TestStandardOutputThatIsNone(t *testing.T) {
	for what, c := range map[string]struct {
		path  string
		flags int
		want  string
	}{
		"as the runtime has a closed one": {"/dev/null", os.O_RDWR, "is closed"},
		"not for writing":                 {"/dev/null", os.O_RDONLY, "is not open for writing"},
		"/dev/null on purpose":            {"/dev/null", os.O_WRONLY, ""},
	} {
		file, err := os.OpenFile(c.path, c.flags, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		f, err := Open(Options{Path: Stdout, fd: int(file.Fd())})
		switch {
		case err == nil && c.want == "":
			f.Close()
		case err == nil || c.want == "" || !strings.Contains(err.Error(), c.want):
			t.Errorf("%s: got %v, want %q", what, err, c.want)
		}
	}
	if _, err := Open(Options{Path: Stdout, fd: 9999}); !errors.Is(err, unix.EBADF) {
		t.Errorf("closed: got %v, want %v", err, unix.EBADF)
	}
}

// TestAFullDevice is an error as a full disk is.
func TestAFullDevice(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	f := onStdout(t, full, forever)
	if n, err := f.Write([]byte("a\n")); n != 0 || !errors.Is(err, unix.ENOSPC) {
		t.Errorf("got %d, %v, want %v", n, err, unix.ENOSPC)
	}
}

// TestFromAFileToStandardOutputAndBack leaves no lock, and syncs the file again.
func TestFromAFileToStandardOutputAndBack(t *testing.T) {
	out, in := pairs["a pipe"](t)
	opt, d := onFaulty(t)
	opt.Sync = time.Millisecond
	f := open(t, opt)
	write(t, f, "first\n")
	next := opt
	next.Path, next.fd = Stdout, int(out.Fd())
	for range 2 { // the second time nothing changes
		if err := f.Reopen(next); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := d.survives(opt.Path), "first\n"; got != want {
		t.Errorf("got %q on disk, want %q", got, want)
	}
	write(t, f, "second\n")
	f.Tick()
	if err := f.Follow(); err != nil {
		t.Error(err)
	}
	if got := f.Path(); got != Stdout {
		t.Errorf("got the path %q, want %q", got, Stdout)
	}
	f.syncDue() // the timer of the file may come late
	other := open(t, opt)
	if err := other.Close(); err != nil { // it had the lock
		t.Error(err)
	}
	if err := f.Reopen(opt); err != nil {
		t.Fatal(err)
	}
	write(t, f, "third\n")
	await.Until(t, func() bool { return d.survives(opt.Path) == "first\nthird\n" },
		func() { t.Errorf("got %q on disk, want the third line synced", d.survives(opt.Path)) })
	if text, err := bufio.NewReader(in).ReadString('\n'); text != "second\n" || err != nil {
		t.Errorf("got %q, %v on standard output, want the second line", text, err)
	}
	if got, want := read(t, opt.Path), "first\nthird\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if left, _ := filepath.Glob(filepath.Dir(opt.Path) + "/-*"); len(left) > 0 {
		t.Errorf("got %q, want no file for standard output", left)
	}
}

// TestNothingIsFoundOnStandardOutput, so that lines which a killed process was writing are written
// again.
func TestNothingIsFoundOnStandardOutput(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile(Stdout, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(Stdout)
	if err != nil {
		t.Fatal(err)
	}
	id := identify(info)
	if got := Finder(Stdout)(id.device, id.inode); got != "" {
		t.Errorf("got %q, want nothing", got)
	}
}

// TestTroubleEndsWithItsFile: nothing is wrong with a file any more that was left for standard
// output.
func TestTroubleEndsWithItsFile(t *testing.T) {
	out, _ := pairs["a pipe"](t)
	opt := options(t)
	var over []Trouble
	opt.Trouble = func(what Trouble, err error) {
		if err == nil {
			over = append(over, what)
		}
	}
	f := open(t, opt)
	f.keeperRests()
	f.rotation.failing, f.keeper.failing, f.syncer.told = true, true, true
	f.keeper.overdue = overdue{files: 1}
	opt.Path, opt.fd = Stdout, int(out.Fd())
	if err := f.Reopen(opt); err != nil {
		t.Fatal(err)
	}
	if want := []Trouble{Rotation, Retention, Overdue, Syncing}; !slices.Equal(over, want) {
		t.Errorf("got an end of %v, want of %v", over, want)
	}
}
