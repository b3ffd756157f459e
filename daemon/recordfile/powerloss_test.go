package recordfile

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/sink"
)

// TestPowerLossCostsNothingThatWasCommitted: writers write through rotations and faults, and the
// power fails at any moment.
func TestPowerLossCostsNothingThatWasCommitted(t *testing.T) {
	rounds := 40
	if testing.Short() {
		rounds = 10
	}
	for seed := range rounds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			losePowerOnce(t, rand.New(rand.NewPCG(uint64(seed), 1)))
		})
	}
}

func losePowerOnce(t *testing.T, chance *rand.Rand) {
	const writers = 8
	opt, d := onFaulty(t)
	opt.MaxSize = 2000
	var faults atomic.Uint64
	// sometimes, from any goroutine.
	fault := func() bool { return faults.Add(0x9e3779b97f4a7c15)>>32%11 == 0 }
	d.writes = func(p []byte) (int, error) {
		if fault() {
			return len(p) * 2 / 3, unix.ENOSPC
		}
		return -1, nil
	}
	d.syncs = func() error {
		if fault() {
			return unix.EIO
		}
		return nil
	}
	d.syncsOf = d.syncs
	var committed [writers]atomic.Int64
	var promised [writers]int64 // before the power fails
	left, off := t.TempDir(), make(chan struct{})
	ticks, moment := 0, 20+chance.IntN(200)
	d.tick = func() {
		if ticks++; ticks != moment {
			return
		}
		for w := range writers {
			promised[w] = committed[w].Load()
		}
		if err := d.losePower(filepath.Dir(opt.Path), left, chance); err != nil {
			t.Error(err)
		}
		close(off)
	}
	s := sink.New(open(t, opt), func(error) {})
	var done sync.WaitGroup
	for w := range writers {
		done.Go(func() {
			for i := 0; ; i++ {
				if err := give(s, fmt.Appendf(nil, "2026-01-01T00:00:00.000000Z from %d: %d\n", w, i)); err != nil {
					return
				}
				committed[w].Store(int64(i + 1))
			}
		})
	}
	<-off
	s.Close()
	done.Wait()
	opt.Path, opt.disk = filepath.Join(left, filepath.Base(opt.Path)), nil
	write(t, open(t, opt), "2026-01-01T00:00:00.000000Z from 0: after\n")
	checkLedger(t, whole(t, opt.Path), promised[:])
}

// checkLedger checks that each writer's lines are in order and there once, that no promised line is
// missing, and that every line is whole.
func checkLedger(t *testing.T, all string, promised []int64) {
	t.Helper()
	next := make([]int64, len(promised))
	for line := range bytes.Lines([]byte(strings.TrimSuffix(all, "2026-01-01T00:00:00.000000Z from 0: after\n"))) {
		if 1 < len(line) && len(line) <= len("2026\n") && strings.HasPrefix("2026", strings.TrimSuffix(string(line), "\n")) {
			continue // part of the first line of a file may be any number, and is kept
		}
		var w int
		var i int64
		if _, err := fmt.Sscanf(string(line), "2026-01-01T00:00:00.000000Z from %d: %d\n", &w, &i); err != nil || w >= len(next) || next[w] != i {
			t.Fatalf("got %q (%v), want whole lines in order, writer %d is at %d", line, err, w, next[min(w, len(next)-1)])
		}
		next[w]++
	}
	for w := range next {
		if next[w] < promised[w] {
			t.Errorf("writer %d: got %d lines, want the %d that were committed", w, next[w], promised[w])
		}
	}
}
