package daemon

import (
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tcpmux/config"
)

// remembering is a change by which partial messages may take so much memory; that of a session's process is not counted.
func remembering(memory int64) func(*config.Config) {
	return func(cfg *config.Config) {
		cfg.Limits.Memory = memory
		cfg.Listeners[0].MaxMessage = 16 << 20
		if os.Getenv(modelVariable) == "process" {
			cfg.Listeners[0].Model = "goroutine"
		}
	}
}

// inUse is how much of the memory for partial messages is.
func (d *desk) inUse() int64 {
	d.srv.partials.mu.Lock()
	defer d.srv.partials.mu.Unlock()
	return d.srv.partials.used
}

// said is what the records say that a client has sent, its pieces put together, and how many there are.
func (d *desk) said(c *client) (text string, pieces int) {
	for _, m := range regexp.MustCompile(` from `+c.addr()+`(?: \[\w+\])?: (\w*)\n`).FindAllStringSubmatch(d.out.String(), -1) {
		text, pieces = text+m[1], pieces+1
	}
	return text, pieces
}

// TestPartialMessagesStayWithinTheirMemory: what has no room is recorded in pieces, and all of it.
func TestPartialMessagesStayWithinTheirMemory(t *testing.T) {
	const memory, clients, length = 1 << 20, 8, 600 << 10
	d := newDesk(t, remembering(memory)).open()
	most := d.watchMemory()
	var all [clients]*client
	for i := range all {
		all[i] = d.greeted()
	}
	var saying sync.WaitGroup
	for i, c := range all {
		saying.Go(func() { c.say(strings.Repeat(string(rune('a'+i)), length) + "\n") })
	}
	saying.Wait()
	for i, c := range all {
		want := strings.Repeat(string(rune('a'+i)), length)
		got, pieces := "", 0
		eventually(t, func() bool { got, pieces = d.said(c); return len(got) >= length }, func() {
			t.Errorf("client %d: got %d bytes in %d records, want %d", i, len(got), pieces, length)
		})
		if got != want {
			t.Errorf("client %d: got other bytes than it sent", i)
		}
	}
	if most := most(); most == 0 || most > memory*9/8 { // an allocation is rounded up
		t.Errorf("memory in use: got %d at the most, want some and not much above %d", most, memory)
	}
	for _, c := range all {
		_ = c.Close()
	}
	d.awaitClients(0)
	eventually(t, func() bool { return d.inUse() == 0 }, func() { t.Errorf("memory in use: got %d, want none", d.inUse()) })
	for i, holders := range d.srv.partials.holders {
		if len(holders) > 0 {
			t.Errorf("holders of %d bits: got %d, want none", i, len(holders))
		}
	}
}

// watchMemory begins to look at how much memory is in use, and returns what ends that and tells how much it was at the most.
func (d *desk) watchMemory() (most func() int64) {
	var seen atomic.Int64
	stop, watching := make(chan struct{}), sync.WaitGroup{}
	watching.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				seen.Store(max(seen.Load(), d.inUse()))
			}
		}
	})
	return func() int64 {
		close(stop)
		watching.Wait()
		return seen.Load()
	}
}

// TestASinkThatStandsStillCostsNoMoreMemory: nobody can give up what it holds meanwhile.
func TestASinkThatStandsStillCostsNoMoreMemory(t *testing.T) {
	const memory, clients, length = 1 << 20, 40, 60 << 10
	d := newDesk(t, func(cfg *config.Config) {
		remembering(memory)(cfg)
		cfg.Record.Events = false
	}).open()
	resume := d.out.hang()
	defer resume()
	most := d.watchMemory()
	var all [clients]*client
	for i := range all {
		all[i] = d.greeted()
		all[i].say(strings.Repeat("x", length))
	}
	eventually(t, func() bool { return d.inUse() > memory/2 }, func() { t.Errorf("memory in use: got %d, want more than half of it", d.inUse()) })
	resume()
	for i, c := range all {
		c.say("\n")
		got := ""
		eventually(t, func() bool { got, _ = d.said(c); return len(got) == length }, func() { t.Errorf("client %d: got %d bytes, want %d", i, len(got), length) })
	}
	if most := most(); most > memory*9/8 {
		t.Errorf("memory in use: got %d at the most, want not much above %d", most, memory)
	}
}

// TestWhoHoldsMostGivesItUp, not only who asks for more.
func TestWhoHoldsMostGivesItUp(t *testing.T) {
	const memory = 1 << 20
	d := newDesk(t, remembering(memory)).open()
	hog, other := d.greeted(), d.greeted()
	hog.say(strings.Repeat("h", 500<<10))
	eventually(t, func() bool { return d.inUse() >= 500<<10 }, func() { t.Errorf("memory in use: got %d, want that of the hog", d.inUse()) })
	for range 4 { // one of them, wherever it is cut, asks for too much
		other.say(strings.Repeat("x", 300<<10))
	}
	eventually(t, func() bool { _, n := d.said(hog); return n > 0 }, func() { t.Error("the hog: got no record, want a piece of what it holds") })
	if !strings.Contains(d.out.String(), hog.addr()+" [cut]: hhh") {
		t.Error("the hog: got a record that is not flagged as cut")
	}
	other.say("\n")
	eventually(t, func() bool { return d.inUse() < moveSize }, func() {
		t.Errorf("memory in use: got %d, want no more than what is left of the hog's", d.inUse())
	})
	hog.say("\n")
	eventually(t, func() bool { text, _ := d.said(hog); return len(text) == 500<<10 }, func() { t.Error("the hog: got less than it sent") })
	eventually(t, func() bool { text, _ := d.said(other); return len(text) == 1200<<10 }, func() { t.Error("the other: got less than it sent") })
}

// TestMessagesThatWaitInTheKernelNeedNoMemory however little there is.
func TestMessagesThatWaitInTheKernelNeedNoMemory(t *testing.T) {
	d := newDesk(t, remembering(0)).open()
	c := d.greeted()
	half := strings.Repeat("x", moveSize/2)
	c.say(half)
	d.seesHalf(len(half))
	c.say(half + "\n")
	d.records(": " + half + half + "\n")
}
