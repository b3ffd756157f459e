package main

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestKillsOfAnEcho: the daemon is killed at any moment. All that a client has sent comes back,
// some of it perhaps twice; each message is recorded once, where the listener records.
func TestKillsOfAnEcho(t *testing.T) {
	for _, record := range []bool{false, true} {
		t.Run(fmt.Sprintf("record %v", record), func(t *testing.T) {
			t.Parallel()
			const kills = 8
			dir := t.TempDir()
			file := filepath.Join(dir, "records.log")
			m := newKeeper(t)
			address := m.socket("echo")
			config := write(t, "tcpmux.toml", fmt.Sprintf(`
address = "127.0.0.1:0"
survive_after = "0s"
[record]
file = %q
[[listener]]
name = "echo"
address = "127.0.0.1:0"
service = "echo"
record = %v
`, file, record))
			d := m.start(config)
			m.hears("FDSTOREREMOVE=1", 1) // the daemon knows that there is a store
			conn := dial(t, address)
			_ = conn.SetDeadline(time.Now().Add(patience))
			_, _ = io.WriteString(conn, "begin  \n")
			hear(t, conn, "begin  \n")
			_ = d.cmd.Process.Signal(syscall.SIGINT) // from the next one on each client is kept
			if status := d.ends(); status != 0 {
				t.Fatalf("status: got %d, want 0: %s", status, d.seen)
			}
			d = m.start(config)
			stop := make(chan struct{})
			sent, got := make(chan []byte, 1), make(chan []byte, 1)
			go func() { sent <- sayNumbers(conn, stop) }()
			go func() {
				all, _ := io.ReadAll(conn)
				got <- all
			}()
			rnd := rand.New(rand.NewPCG(1, 2))
			for range kills {
				time.Sleep(time.Duration(rnd.IntN(100)) * time.Millisecond) // any moment is right
				d.kill()
				d = m.start(config)
			}
			close(stop)
			want := <-sent
			if all := <-got; !echoed(all, want, kills) {
				t.Errorf("got %d bytes back that are not the %d that were sent, and some twice", len(all), len(want))
			}
			d.stops(dir)
			text := string(contents(t, file))
			if n := strings.Count(text, ": "); !record && n > 0 {
				t.Errorf("got %d records, want none", n)
			}
			for line := range bytes.Lines(want) {
				if n := strings.Count(text, ": "+string(line)); record && n != 1 {
					t.Fatalf("got %q recorded %d times, want once", line, n)
				}
			}
		})
	}
}

// sayNumbers sends lines of which no two are the same until it is to stop, and returns what it has
// sent.
func sayNumbers(conn *net.TCPConn, stop chan struct{}) (sent []byte) {
	for n := 0; ; n++ {
		select {
		case <-stop:
			_ = conn.CloseWrite()
			return sent
		case <-time.After(200 * time.Microsecond):
		}
		line := fmt.Appendf(nil, "%07d\n", n)
		k, err := conn.Write(line)
		sent = append(sent, line[:k]...)
		if err != nil {
			return sent
		}
	}
}

// echoed reports whether got is want, where at most so many times some of it comes again.
func echoed(got, want []byte, again int) bool {
	at := 0
	for len(got) > 0 {
		n := 0
		for n < len(got) && at+n < len(want) && got[n] == want[at+n] {
			n++
		}
		got, at = got[n:], at+n
		if len(got) == 0 {
			break
		}
		// It goes back by some bytes: what follows is unlike what is anywhere else.
		next := got[:min(len(got), 24)]
		back := bytes.LastIndex(want[:min(at+len(next)-1, len(want))], next)
		if again--; back < 0 || again < 0 {
			return false
		}
		at = back
	}
	return at == len(want)
}
