package session_test

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/servertest"
	"tcpmux/daemon/session"
)

// remembering returns a change by which partial messages may take that much memory. That of a
// session's process is not counted, so sessions have none here.
func remembering(memory int64) func(*config.Config) {
	return func(cfg *config.Config) {
		cfg.Limits.Memory = memory
		cfg.Listeners[0].MaxMessage = 16 << 20
		if servertest.Model() == "process" {
			cfg.Listeners[0].Model = "goroutine"
		}
	}
}

// TestPartialMessagesStayWithinTheirMemory: what has no room is recorded in pieces, and all of it.
func TestPartialMessagesStayWithinTheirMemory(t *testing.T) {
	const memory, clients, length = 1 << 20, 8, 600 << 10
	f := servertest.New(t, remembering(memory)).Open()
	most := watchMemory(f)
	var all [clients]*servertest.Client
	for i := range all {
		all[i] = f.Greeted()
	}
	var saying sync.WaitGroup
	for i, c := range all {
		saying.Go(func() { c.Say(strings.Repeat(string(rune('a'+i)), length) + "\n") })
	}
	saying.Wait()
	for i, c := range all {
		want := strings.Repeat(string(rune('a'+i)), length)
		got, pieces := "", 0
		servertest.Eventually(t, func() bool { got, pieces = recordedOf(f, c); return len(got) >= length }, func() {
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
	f.AwaitClients(0)
	servertest.Eventually(t, func() bool { return used(f) == 0 }, func() { t.Errorf("memory in use: got %d, want none", used(f)) })
	if n := f.Server.Env().Spill.Holders(); n > 0 {
		t.Errorf("holders: got %d, want none", n)
	}
}

// TestASinkThatStandsStillCostsNoMoreMemory, although nobody can give up what it holds meanwhile.
func TestASinkThatStandsStillCostsNoMoreMemory(t *testing.T) {
	const memory, clients, length = 1 << 20, 40, 60 << 10
	f := servertest.New(t, func(cfg *config.Config) {
		remembering(memory)(cfg)
		cfg.Record.Events = config.NoEvents
	}).Open()
	resume := f.Out.Hang()
	defer resume()
	most := watchMemory(f)
	var all [clients]*servertest.Client
	for i := range all {
		all[i] = f.Greeted()
		all[i].Say(strings.Repeat("x", length))
	}
	servertest.Eventually(t, func() bool { return used(f) > memory/2 }, func() { t.Errorf("memory in use: got %d, want more than half of it", used(f)) })
	resume()
	for i, c := range all {
		c.Say("\n")
		got := ""
		servertest.Eventually(t, func() bool { got, _ = recordedOf(f, c); return len(got) == length }, func() { t.Errorf("client %d: got %d bytes, want %d", i, len(got), length) })
	}
	if most := most(); most > memory*9/8 {
		t.Errorf("memory in use: got %d at the most, want not much above %d", most, memory)
	}
}

// TestWhoHoldsMostGivesItUp, not only who asks for more.
func TestWhoHoldsMostGivesItUp(t *testing.T) {
	const memory = 1 << 20
	f := servertest.New(t, remembering(memory)).Open()
	hog, other := f.Greeted(), f.Greeted()
	hog.Say(strings.Repeat("h", 500<<10))
	servertest.Eventually(t, func() bool { return used(f) >= 500<<10 }, func() { t.Errorf("memory in use: got %d, want that of the hog", used(f)) })
	for range 4 { // one of them, wherever it is cut, asks for too much
		other.Say(strings.Repeat("x", 300<<10))
	}
	servertest.Eventually(t, func() bool { _, n := recordedOf(f, hog); return n > 0 }, func() { t.Error("the hog: got no record, want a piece of what it holds") })
	if !strings.Contains(f.Out.String(), hog.Addr()+" [cut]: hhh") {
		t.Error("the hog: got a record that is not flagged as cut")
	}
	other.Say("\n")
	servertest.Eventually(t, func() bool { return used(f) < session.MoveSize }, func() {
		t.Errorf("memory in use: got %d, want no more than what is left of the hog's", used(f))
	})
	hog.Say("\n")
	servertest.Eventually(t, func() bool { text, _ := recordedOf(f, hog); return len(text) == 500<<10 }, func() { t.Error("the hog: got less than it sent") })
	servertest.Eventually(t, func() bool { text, _ := recordedOf(f, other); return len(text) == 1200<<10 }, func() { t.Error("the other: got less than it sent") })
}

// TestMessagesThatWaitInTheKernelNeedNoMemory: there may be none.
func TestMessagesThatWaitInTheKernelNeedNoMemory(t *testing.T) {
	f, sockets := watched(t, remembering(0))
	c := f.Open().Greeted()
	half := strings.Repeat("x", session.MoveSize/2)
	c.Say(half)
	sockets.awaitLowWater(t, len(half)+1)
	c.Say(half + "\n")
	f.AwaitRecords(": " + half + half + "\n")
}

// used returns how much memory partial messages take.
func used(f *servertest.Fixture) int64 { return f.Server.Env().Spill.Used() }

// recordedOf returns what the records say that a client has sent, its pieces put together, and how
// many there are. It is called again and again, so it has to be quick with megabytes.
func recordedOf(f *servertest.Fixture, c *servertest.Client) (text string, pieces int) {
	var all strings.Builder
	for line := range strings.Lines(f.Out.String()) {
		head, said, isMessage := strings.Cut(line, ": ")
		_, by, _ := strings.Cut(head, " from ")
		who, _, _ := strings.Cut(by, " [")
		if isMessage && who == c.Addr() && strings.HasSuffix(said, "\n") && !strings.Contains(head, " close ") {
			all.WriteString(strings.TrimSuffix(said, "\n"))
			pieces++
		}
	}
	return all.String(), pieces
}

// watchMemory watches how much memory is used until most is called, which returns the largest
// amount.
func watchMemory(f *servertest.Fixture) (most func() int64) {
	var seen atomic.Int64
	stop, watching := make(chan struct{}), sync.WaitGroup{}
	watching.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				seen.Store(max(seen.Load(), used(f)))
			}
		}
	})
	return func() int64 {
		close(stop)
		watching.Wait()
		return seen.Load()
	}
}
