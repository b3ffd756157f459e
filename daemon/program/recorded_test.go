package daemon

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"tcpmux/config"
)

// recorded has the daemon record what a program's client says.
func recorded(c *config.Config) { c.Listeners[0].Record = true }

// saying tells of the offset and data of messages too.
func saying(c *config.Config) { c.Record.Format = "json" }

// TestAProgramsClientIsRecorded to the byte, and the program sees the same bytes: short and long messages, some longer than may
// wait in the kernel, some longer than the limit.
func TestAProgramsClientIsRecorded(t *testing.T) {
	const most, clients = 40_000, 8
	d := newDesk(t, and(running("/bin/cat"), recorded, saying, func(c *config.Config) { c.Listeners[0].MaxMessage = most })).open()
	sent := make(map[string]string)
	var mu sync.Mutex
	var talking sync.WaitGroup
	for i := range clients {
		talking.Go(func() {
			rnd := rand.New(rand.NewPCG(7, uint64(i)))
			stream := babble(rnd, 60, most)
			c := d.client()
			go func() {
				for rest := stream; len(rest) > 0; {
					n := min(1+rnd.IntN(20_000), len(rest))
					if _, err := io.WriteString(c, rest[:n]); err != nil {
						return
					}
					rest = rest[n:]
				}
				_ = c.CloseWrite()
			}()
			if got := c.hearEnd(); got != stream {
				t.Errorf("the program gave back %d bytes, want the %d that were sent", len(got), len(stream))
			}
			mu.Lock()
			defer mu.Unlock()
			sent[c.addr()] = stream
		})
	}
	talking.Wait()
	d.awaitClients(0)
	l := newLedger()
	l.read(t, "json", d.out.String())
	for remote, stream := range sent {
		want := expected(stream, most, true)
		l.compare(t, remote, want)
		end := closing("exit 0", int64(len(want)), int64(len(stream)))
		if got := l.closed[remote]; l.streams[remote] != stream || len(got) != 1 || got[0] != end {
			t.Errorf("%s: records give back %d bytes of %d, and close with %q, want %q", remote, len(l.streams[remote]), len(stream), got, end)
		}
	}
}

// TestAProgramHearsWhatIsRecorded, and nothing before.
func TestAProgramHearsWhatIsRecorded(t *testing.T) {
	d := newDesk(t, and(running("/bin/cat"), recorded)).open()
	c := d.client()
	c.say("first\n")
	c.hear("first\n")
	resume := d.out.hang()
	defer resume()
	before := d.out.begun()
	c.say("second\n")
	eventually(t, func() bool { return d.out.begun() > before }, func() { t.Error("it is not tried to record") })
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if n, err := c.Read(make([]byte, 1)); err == nil {
		t.Errorf("heard %d bytes before they were recorded", n)
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
	resume()
	c.hear("second\n")
}

// TestAProgramOfARecordedClientStartsClean: its input is a pipe that blocks, its output the connection, which blocks too.
func TestAProgramOfARecordedClientStartsClean(t *testing.T) {
	keepDescriptors()
	d := newDesk(t, and(shell(`grep -h ^flags /proc/$$/fdinfo/0 /proc/$$/fdinfo/1; readlink /proc/$$/fd/0 /proc/$$/fd/1; ls /proc/$$/fd; :`), recorded)).open()
	got, want := d.client().hearEnd(), regexp.MustCompile(`^flags:\t00\nflags:\t02\npipe:\S+\nsocket:\S+\n0\n1\n2\n$`)
	if !want.MatchString(got) {
		t.Errorf("got %q, want %v", got, want)
	}
}

// TestAProgramThatDoesNotReadHoldsNothing: its client waits, and no other.
func TestAProgramThatDoesNotReadHoldsNothing(t *testing.T) {
	d := newDesk(t, and(shell("echo $$; exec sleep 1000"), recorded)).open()
	const clients = maxWorkspaces + 8
	for range clients {
		c := d.client()
		go func() { _, _ = io.WriteString(c, strings.Repeat("a line of the client\n", 100_000)) }()
	}
	pipe := int64(64<<10) / int64(len("a line of the client\n"))
	eventually(t, func() bool { return d.srv.Records() >= clients*pipe }, func() {
		t.Errorf("records: got %d, want what %d pipes take at least", d.srv.Records(), clients)
	})
	free := func() int { return len(d.srv.workspaces.places) }
	eventually(t, func() bool { return free() == maxWorkspaces }, func() { t.Errorf("free workspaces: got %d, want all %d", free(), maxWorkspaces) })
	d.close()
	d.awaitClients(0)
}

// TestAProgramThatReadsNoMore has its client recorded all the same, until it ends.
func TestAProgramThatReadsNoMore(t *testing.T) {
	flag := filepath.Join(t.TempDir(), "flag")
	d := newDesk(t, and(shell("exec <&-; echo ready; while [ ! -e "+flag+" ]; do sleep 0.01; done; echo bye"), recorded)).open()
	c := d.client()
	c.hear("ready\n")
	for i := range 3 {
		c.say(fmt.Sprintf("line %d\n", i))
		d.records(fmt.Sprintf(": line %d\n", i))
	}
	c.say("half")
	if err := os.WriteFile(flag, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := c.hearEnd(); got != "bye\n" {
		t.Errorf("heard %q, want bye", got)
	}
	d.records(" from "+c.addr()+" [timeout]: half\n", "close from "+c.addr()+": exit 0, 4 records, 25 bytes\n")
}

// TestAProgramGoesOnWhenItsClientHasSaidAll: it has the end of its input, and its time.
func TestAProgramGoesOnWhenItsClientHasSaidAll(t *testing.T) {
	d := newDesk(t, and(shell("cat >/dev/null; echo all; exit 3"), recorded)).open()
	c := d.client()
	c.say("one\ntwo")
	_ = c.CloseWrite()
	if got := c.hearEnd(); got != "all\n" {
		t.Errorf("heard %q, want all", got)
	}
	d.records(" [eof]: two\n", "close from "+c.addr()+": exit 3, 2 records, 7 bytes\n")
}

func TestWhatEndsARecordedClientStopsItsProgram(t *testing.T) {
	for _, c := range []struct {
		name, want string
		change     func(*config.Config)
		say        string
		end        func(*desk)
	}{
		{"idle", "idle, 0 records", func(c *config.Config) { c.Listeners[0].IdleTimeout = 50 * time.Millisecond }, "", nil},
		{"malformed", "malformed, 1 records", func(c *config.Config) { c.Listeners[0].Framing = "octet-counted" }, "\x01", nil},
		{"its time", "timeout, 1 records", func(c *config.Config) { c.Listeners[0].ExecTimeout = 100 * time.Millisecond }, "hello\n", nil},
		{"the end of the drain", "drain, 1 records", nil, "hello\n", func(d *desk) { _ = d.srv.Shutdown(over()) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			change := and(shell("sleep 1000 & wait"), recorded)
			if c.change != nil {
				change = and(change, c.change)
			}
			d := newDesk(t, change).open()
			k := d.client()
			k.say(c.say)
			if c.end != nil {
				d.records(": hello\n")
				c.end(d)
			}
			k.hearEnd()
			d.records("close from " + k.addr() + ": " + c.want)
			d.log.await(t, "program was stopped: signal 15")
		})
	}
}

// TestAProgramOfARecordedClientIsLeftToFinish when the daemon stops.
func TestAProgramOfARecordedClientIsLeftToFinish(t *testing.T) {
	d := newDesk(t, and(running("/bin/cat"), recorded)).open()
	c := d.client()
	c.say("before\n")
	c.hear("before\n")
	d.srv.drain()
	c.say("after\n")
	c.hear("after\n")
	_ = c.CloseWrite()
	c.hearEnd()
	d.awaitClients(0)
	d.records("close from " + c.addr() + ": exit 0, 2 records")
}

func TestProgramsOfRecordedClientsLeaveNothingBehind(t *testing.T) {
	d := newDesk(t, and(running("/bin/cat"), recorded)).open()
	d.leavesNothing(100, func() *client {
		c := d.client()
		c.say("hello\n")
		c.hear("hello\n")
		return c
	})
}
