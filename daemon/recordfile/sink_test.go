package recordfile

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/sink"
)

func TestOneSyncServesAllWhoWait(t *testing.T) {
	opt, d := onFaulty(t)
	f := open(t, opt)
	gate, begun := make(chan struct{}), make(chan struct{}, 200)
	d.syncs = func() error { begun <- struct{}{}; <-gate; return nil }
	s := sink.New(f, untroubled(t))
	var gathered, served atomic.Int32
	var done sync.WaitGroup
	open := sync.OnceFunc(func() { close(gate) })
	defer done.Wait()
	defer open() // before waiting, however the test ends
	client := func(i int) {
		done.Go(func() {
			ticket, err := s.Gather(fmt.Appendf(nil, "%02d\n", i), nil)
			gathered.Add(1)
			if err == nil {
				err = s.Commit(ticket)
			}
			if err != nil {
				t.Error(err)
			}
			served.Add(1)
		})
	}
	client(0)
	select {
	case <-begun:
	case <-time.After(time.Minute):
		t.Fatal("nothing is synced for the first one")
	}
	for i := range 99 {
		client(i + 1)
	}
	for late := time.Now().Add(time.Minute); gathered.Load() < 100; time.Sleep(time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("%d have lines gathered while the first ones are synced, want 100", gathered.Load())
		}
	}
	if n := served.Load(); n != 0 {
		t.Errorf("%d were served before their lines were on disk", n)
	}
	open()
	done.Wait()
	if got := d.count("sync 1"); got != 2 {
		t.Errorf("got %d fdatasyncs for 100 clients, want 2: one, then one for all that had gathered", got)
	}
}

// TestADiskThatFillsWithinABatch: no line is torn, joined or lost, however the free space changes.
func TestADiskThatFillsWithinABatch(t *testing.T) {
	const writers, lines = 8, 200
	opt, d := onFaulty(t)
	opt.Sync, opt.MaxSize = SyncNever, 20_000
	room := 1000 // free bytes of the disk
	d.writes = func(p []byte) (int, error) {
		if room -= len(p); room >= 0 {
			return -1, nil
		}
		n := len(p) + room
		room = 777 // an administrator frees space
		return n, unix.ENOSPC
	}
	f := open(t, opt)
	torn := 0
	s := sink.New(watched{f, func(err error) {
		if b := read(t, opt.Path); err != nil && len(b) > 0 && !strings.HasSuffix(b, "\n") {
			torn++
		}
	}}, func(error) {})
	var done sync.WaitGroup
	for w := range writers {
		done.Go(func() {
			for i := range lines {
				if err := give(s, fmt.Appendf(nil, "%d: %d\n", w, i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done.Wait()
	if torn > 0 {
		t.Errorf("the file ended within a line %d times, want it to end clean when the disk is full", torn)
	}
	var next [writers]int
	for line := range bytes.Lines([]byte(whole(t, opt.Path))) {
		var w, i int
		if _, err := fmt.Sscanf(string(line), "%d: %d\n", &w, &i); err != nil || w >= writers || next[w] != i {
			t.Fatalf("got %q (%v), want each writer's lines in order and once", line, err)
		}
		next[w]++
	}
	for w, n := range next {
		if n != lines {
			t.Errorf("writer %d: got %d of %d lines", w, n, lines)
		}
	}
}

// watched notes the result of each write.
type watched struct {
	*File
	came func(error)
}

func (w watched) Write(p []byte) (int, error) {
	n, err := w.File.Write(p)
	w.came(err)
	return n, err
}
