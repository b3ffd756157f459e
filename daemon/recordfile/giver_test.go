package recordfile

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/record"
	"tcpmux/daemon/sink"
)

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
func (g *giver) give(s *sink.Sink) error {
	for g.taken < giverLines {
		var t sink.Ticket
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
func giverOptions(dir string, seed uint64) (Options, int) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	return Options{
		Path:    filepath.Join(dir, "r.log"),
		Mode:    0o600,
		MaxSize: []int64{4 << 10, 16 << 10, 1 << 20}[rnd.IntN(3)],
		Sync:    []time.Duration{SyncNever, SyncAlways, time.Millisecond}[rnd.IntN(3)],
		Format:  record.JSON,
		Rotate:  []Period{NoPeriod, Hourly}[seed%2],
	}, []int{40, 1000, 20_000}[rnd.IntN(3)] // the last is longer than MaxSize of some files
}

// fastClock returns a clock on which up to 20 minutes pass whenever somebody looks.
func fastClock(seed uint64) func() time.Time {
	var mu sync.Mutex
	rnd, now := rand.New(rand.NewPCG(seed, 4)), time.Now()
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(time.Duration(rnd.Int64N(int64(20 * time.Minute))))
		return now
	}
}

// tickUntil ticks much more often than the daemon.
func tickUntil(ended chan struct{}, f *File) {
	tick := time.NewTicker(100 * time.Microsecond)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
			f.Tick()
		}
	}
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
	opt.disk, opt.clock = mortal{fate: fate}, fastClock(death)
	f, err := Open(opt)
	if err != nil {
		return err
	}
	j, err := sink.OpenJournal(giverJournal)
	if err != nil {
		return err
	}
	mem, err := unix.Mmap(giverMarks, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	marks := (*[givers][2]giverMark)(unsafe.Pointer(&mem[0]))
	position := j.Settle(Finder(opt.Path), opt.Format)
	var all []*giver
	for i := range givers {
		g := &giver{name: i, marks: &marks[i], fate: fate, rnd: rand.New(rand.NewPCG(death, uint64(i))), long: long}
		g.settle(position)
		all = append(all, g)
	}
	s := sink.New(f, func(error) {})
	s.Keep(j)
	ended := make(chan struct{})
	go tickUntil(ended, f)
	errs := make([]error, givers)
	var giving sync.WaitGroup
	for i, g := range all {
		giving.Go(func() { errs[i] = g.give(s) })
	}
	giving.Wait()
	if err := s.Flush(context.Background()); err != nil { // what an earlier process has left
		return err
	}
	s.Close()
	s.Release()
	close(ended)
	_ = f.Close() // its sync may fail, as others do
	return errors.Join(errs...)
}
