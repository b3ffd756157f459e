package record

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
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

type mortalFile struct {
	handle
	fate *fate
}

func (m mortalFile) Write(b []byte) (int, error) {
	if m.fate.comes() {
		_, _ = m.handle.Write(b[:m.part(len(b))]) // the process does not live to see the result
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

// giverMark is the progress of a giver at a position of the journal, as a session's slot has it.
type giverMark struct{ at, lines atomic.Int64 }

// giver gives numbered lines, and gives those that are not written again, because the kernel still
// has them.
type giver struct {
	name  int
	taken int // lines given so far
	marks *[2]giverMark
	fate  *fate
	rnd   *rand.Rand
	long  int // the maximum length of lines
}

func (g *giver) Taken(position int64) {
	m := &g.marks[0]
	if m.at.Load() > g.marks[1].at.Load() {
		m = &g.marks[1]
	}
	m.at.Store(0)
	m.lines.Store(int64(g.taken))
	m.at.Store(position)
	g.fate.moment()
}

// settle returns to the last line that is written.
func (g *giver) settle(position int64) {
	for i := range g.marks {
		m := &g.marks[i]
		if m.at.Load() > position {
			m.at.Store(0)
		}
		if m.at.Load() > 0 {
			g.taken = max(g.taken, int(m.lines.Load()))
		}
	}
}

// giverForm is how a giver's line begins: like a record, so that part of a line is recognized.
const giverForm = `{"time":"2026-11-28T17:00:00.000000Z","giver":%d,"line":%d`

func giverLine(name, n, long int) string {
	return fmt.Sprintf(giverForm+" %s\n", name, n, strings.Repeat("x", n*7919%long))
}

const (
	givers     = 4
	giverLines = 200
)

// give gives lines until there are giverLines, several at a time.
func (g *giver) give(s *Sink) error {
	for g.taken < giverLines {
		var t Ticket
		for range 1 + g.rnd.IntN(3) { // a session with many messages gathers several times
			var lines []byte
			for range 1 + g.rnd.IntN(20) {
				if g.taken < giverLines {
					lines = append(lines, giverLine(g.name, g.taken, g.long)...)
					g.taken++
				}
			}
			var err error
			if t, err = s.Gather(lines, g); err != nil {
				return err
			}
		}
		if err := s.Commit(t); err != nil {
			return err
		}
	}
	return nil
}

// giverOptions returns the options of the file and the lengths of lines for a seed.
func giverOptions(dir string, seed uint64) (FileOptions, int) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	return FileOptions{
		Path:    filepath.Join(dir, "r.log"),
		Mode:    0o600,
		MaxSize: []int64{4 << 10, 16 << 10, 1 << 20}[rnd.IntN(3)],
		Sync:    []time.Duration{SyncNever, SyncAlways, time.Millisecond}[rnd.IntN(3)],
		Format:  JSON,
	}, []int{40, 1000, 20_000}[rnd.IntN(3)] // the last is longer than MaxSize of some files
}

// giveUntilKilled runs a process that gives lines, and returns its exit status.
func giveUntilKilled(life string) int {
	if err := liveAndGive(life); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func liveAndGive(life string) error {
	var dir string
	var seed, death uint64
	var moments int
	if _, err := fmt.Sscanf(life, "%d %d %d %s", &seed, &death, &moments, &dir); err != nil {
		return err
	}
	if moments == 0 {
		moments = -1
	}
	fate := &fate{rnd: rand.New(rand.NewPCG(death, 2)), moments: moments}
	opt, long := giverOptions(dir, seed)
	opt.disk = mortal{fate: fate}
	f, err := OpenFile(opt)
	if err != nil {
		return err
	}
	j, err := OpenJournal(giverJournal)
	if err != nil {
		return err
	}
	mem, err := unix.Mmap(giverMarks, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	marks := (*[givers][2]giverMark)(unsafe.Pointer(&mem[0]))
	position := j.Settle(opt.Path, opt.Format)
	var all []*giver
	for i := range givers {
		g := &giver{name: i, marks: &marks[i], fate: fate, rnd: rand.New(rand.NewPCG(death, uint64(i))), long: long}
		g.settle(position)
		all = append(all, g)
	}
	s := NewSink(f, func(error) {})
	s.Keep(j)
	errs := make([]error, givers)
	var giving sync.WaitGroup
	for i, g := range all {
		giving.Go(func() { errs[i] = g.give(s) })
	}
	giving.Wait()
	s.Close()
	s.Release()
	_ = f.Close() // its sync may fail, as others do
	return errors.Join(errs...)
}

// TestWhatAKillInterruptsIsWrittenOnce, whole and in order, whenever the process is killed during a
// write, a truncation, a sync or Gather, however small files are.
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
	j, err := NewJournal()
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
	for life, over := 0, false; !over; life++ {
		moments := 1 + rnd.IntN(40)
		if life == 8 {
			moments = 0
		}
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d %d %s", giverVariable, seed, rnd.Uint64(), moments, dir))
		for _, fd := range []int{j.FD(), marks} {
			dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			file := os.NewFile(uintptr(dup), "")
			defer file.Close()
			cmd.ExtraFiles = append(cmd.ExtraFiles, file)
		}
		out, err := cmd.CombinedOutput()
		over = err == nil
		if !over {
			kills++
			if cmd.ProcessState.ExitCode() != -1 {
				t.Fatalf("life %d: got %v, want it killed or to have given all:\n%s", life, err, out)
			}
		}
	}
	opt, long := giverOptions(dir, seed)
	var next [givers]int
	for line := range strings.Lines(allOf(t, opt.Path)) {
		var name, n int
		if _, err := fmt.Sscanf(line, giverForm, &name, &n); err != nil || line != giverLine(name, n, long) || n != next[name] {
			t.Fatalf("after %d kills: got %.40q of %d bytes, want line %d of that giver", kills, line, len(line), next[name])
		}
		next[name]++
	}
	for name, got := range next {
		if got != giverLines {
			t.Errorf("giver %d: got %d lines, want %d", name, got, giverLines)
		}
	}
	if kills == 0 {
		t.Error("got no kill, want some to prove something")
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

// TestWhatTheProcessBeforeHasWrittenIsOnDiskToo before a message is acknowledged.
func TestWhatTheProcessBeforeHasWrittenIsOnDiskToo(t *testing.T) {
	opt, disk := onFaulty(t)
	opt.Sync, opt.Format = SyncAlways, JSON
	if err := os.WriteFile(opt.Path, []byte(giverLine(0, 0, 10)), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := OpenFile(opt)
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

// left returns the journal of a process that was killed after it had taken lines, and before it had
// written any.
func left(t *testing.T, lines string) *Journal {
	t.Helper()
	j, err := NewJournal()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	s := NewSink(discard{}, untroubled(t))
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
		format   Format
		position int64
		want     string
	}{
		{JSON, 3, "{1\n"},
		{Text, 0, ""},
	} {
		j, path, out := left(t, "{1\n"), filepath.Join(t.TempDir(), "r.log"), &script{}
		if got := j.Settle(path, c.format); got != c.position {
			t.Errorf("format %d: got position %d, want %d", c.format, got, c.position)
		}
		s := NewSink(out, untroubled(t))
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
