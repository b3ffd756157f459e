package recordfile

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
	"gopkg.in/natefinch/lumberjack.v2"

	"tcpmux/daemon/sink"
)

// giverVariable makes the test's executable a process that gives lines and is killed. It has the
// directory of the record file, a seed for what the process does, a seed for when it ends, and
// after how many moments it may end at the earliest; 0 means never.
const giverVariable = "TCPMUX_TEST_GIVER"

// The descriptors that such a process inherits: its journal, and the marks of its givers.
const (
	giverJournal = 3
	giverMarks   = 4
)

// fate kills the process at one of the moments that are offered to it.
type fate struct {
	mu      sync.Mutex
	rnd     *rand.Rand
	moments int // until then; below 0: never
}

// comes reports whether the moment is the last one.
func (f *fate) comes() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.moments--
	return f.moments == 0
}

// moment kills the process if it is the last one.
func (f *fate) moment() {
	if f.comes() {
		kill()
	}
}

func (f *fate) upTo(n int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rnd.IntN(n)
}

func kill() {
	_ = unix.Kill(os.Getpid(), unix.SIGKILL)
	select {} // the signal is on its way
}

// mortal is a disk that kills the process during operations. Part of a write may be done then, and
// a sync may fail.
type mortal struct {
	kernel
	fate *fate
}

func (m mortal) hold(file *os.File) (handle, error) {
	h, err := m.kernel.hold(file)
	return mortalFile{h, m.fate}, err
}

func (m mortal) rename(from, to string) error {
	m.fate.moment()
	defer m.fate.moment()
	return m.kernel.rename(from, to)
}

func (m mortal) move(from, to string) error {
	m.fate.moment()
	defer m.fate.moment()
	return m.kernel.move(from, to)
}

func (m mortal) rotate(l *lumberjack.Logger) error {
	m.fate.moment()
	defer m.fate.moment()
	return m.kernel.rotate(l)
}

type mortalFile struct {
	handle
	fate *fate
}

func (m mortalFile) Write(b []byte) (int, error) {
	if m.fate.comes() {
		// The process does not live to see the result.
		_, _ = m.handle.Write(b[:m.part(len(b))])
		kill()
	}
	defer m.fate.moment()
	if m.fate.upTo(10) == 0 { // as on a full disk
		n, _ := m.handle.Write(b[:m.part(len(b))])
		return n, unix.ENOSPC
	}
	return m.handle.Write(b)
}

// part returns how many of n bytes are written: none, or enough to recognize part of a record.
func (m mortalFile) part(n int) int {
	if part := m.fate.upTo(n + 1); part >= len("2026-") {
		return part
	}
	return 0
}

func (m mortalFile) Truncate(size int64) error {
	m.fate.moment()
	defer m.fate.moment()
	return m.handle.Truncate(size)
}

func (m mortalFile) datasync() error {
	m.fate.moment()
	if m.fate.upTo(10) == 0 { // what was written since the last sync is truncated
		return unix.EIO
	}
	return m.handle.datasync()
}

// TestWhatAKillInterruptsIsWrittenOnce, whole and in order, whenever the process is killed during a
// write, a truncation, a sync, a rotation or Gather, however small files are. Half of the files are
// rotated by time too.
func TestWhatAKillInterruptsIsWrittenOnce(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			killAndComplete(t, seed)
		})
	}
}

func killAndComplete(t *testing.T, seed uint64) {
	dir, rnd := t.TempDir(), rand.New(rand.NewPCG(seed, 3))
	j, err := sink.NewJournal()
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	marks, err := unix.MemfdCreate("marks", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(marks)
	if err := unix.Ftruncate(marks, 4096); err != nil {
		t.Fatal(err)
	}
	kills := 0
	for life := 0; ; life++ {
		moments := 1 + rnd.IntN(40)
		if life == 8 {
			moments = 0
		}
		if lives(t, fmt.Sprintf("%d %d %d %s", seed, rnd.Uint64(), moments, dir), j.FD(), marks) {
			break
		}
		kills++
	}
	checkGiven(t, dir, seed, kills)
	if kills == 0 {
		t.Error("got no kill, want some to prove something")
	}
}

// lives runs a process that gives lines. It reports whether that has given all; otherwise it was
// killed.
func lives(t *testing.T, life string, inherited ...int) bool {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), giverVariable+"="+life)
	for _, fd := range inherited {
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		file := os.NewFile(uintptr(dup), "")
		defer file.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, file)
	}
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState.ExitCode() != -1 {
		t.Fatalf("life %q: got %v, want it killed or to have given all:\n%s", life, err, out)
	}
	return err == nil
}

// checkGiven checks that all lines of all givers are in the files once, whole and in order.
func checkGiven(t *testing.T, dir string, seed uint64, kills int) {
	t.Helper()
	opt, long := giverOptions(dir, seed)
	var next [givers]int
	for line := range strings.Lines(allOf(t, opt.Path)) {
		var name, n int
		if _, err := fmt.Sscanf(line, giverForm, &name, &n); err != nil || line != giverLine(name, n, long) || n != next[name] {
			t.Fatalf("after %d kills: got %.40q of %d bytes, want line %d of that giver", kills, line, len(line), next[name])
		}
		next[name]++
	}
	checkRotated(t, opt)
	for name, got := range next {
		if got != giverLines {
			t.Errorf("giver %d: got %d lines, want %d", name, got, giverLines)
		}
	}
}

// checkRotated checks that no rotated file is empty.
func checkRotated(t *testing.T, opt Options) {
	t.Helper()
	backups, err := Backups(opt.Path)
	if err != nil {
		t.Fatal(err)
	}
	if opt.Rotate != NoPeriod && len(backups) == 0 {
		t.Error("got no rotation, want some to prove something")
	}
	for _, b := range backups {
		if info, err := os.Stat(b.Path()); err != nil || info.Size() == 0 {
			t.Errorf("got %q empty, or %v, want no empty file", b.Path(), err)
		}
	}
}

// allOf returns the content of the backups of a file and of the file itself.
func allOf(t *testing.T, path string) string {
	t.Helper()
	backups, err := Backups(path)
	if err != nil {
		t.Fatal(err)
	}
	paths := []string{}
	for _, b := range backups {
		paths = append(paths, b.Path())
	}
	var all bytes.Buffer
	for _, p := range append(paths, path) {
		text, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}
