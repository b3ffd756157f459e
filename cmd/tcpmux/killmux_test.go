package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestKillsWithinTheNamesOfAMux kills the daemon at random moments while clients name their
// listeners, most often byte by byte: who is answered is answered once, and all that is sent behind
// the names is recorded once.
func TestKillsWithinTheNamesOfAMux(t *testing.T) {
	const clients, kills = 40, 10
	for i, model := range []string{"goroutine", "thread", "process"} {
		t.Run(model, func(t *testing.T) {
			t.Parallel()
			dir, k := t.TempDir(), newKeeper(t)
			config := settings(t, dir, k.address, "survive_after = \"0s\"\nmux = [\"target\"]\n",
				"format = \"json\"\n[[listener]]\nname = \"target\"\nbanner = \"hello\\n\"\nmodel = \""+model+"\"\n")
			d := k.start(config)
			k.hears("FDSTOREREMOVE=1", 1) // the daemon knows that there is a store
			rnd := rand.New(rand.NewPCG(uint64(i), 17))
			var naming sync.WaitGroup
			var sent, named atomic.Int64
			stop := make(chan struct{})
			for n := range clients {
				own := rand.New(rand.NewPCG(uint64(i), uint64(n)))
				naming.Go(func() {
					for ended := false; !ended; {
						select {
						case <-stop:
							ended = true
						default:
						}
						if bytes, answered := nameOnce(t, k.address, own); answered {
							named.Add(1)
							sent.Add(bytes)
						}
					}
				})
			}
			for range kills {
				time.Sleep(time.Duration(20+rnd.IntN(120)) * time.Millisecond) // any moment is right
				d.kill()
				d = k.start(config)
			}
			close(stop)
			naming.Wait()
			d.stops(dir)
			got := proven(t, filepath.Join(dir, "records.log"))
			if got.Bytes < sent.Load() || named.Load() < clients {
				t.Errorf("got %d bytes of %d clients, want at least %d", got.Bytes, named.Load(), sent.Load())
			}
		})
	}
}

// nameOnce names the listener, byte by byte or at once, and says a line behind it. It returns how
// many bytes of that have been answered for, as the banner has come and the end behind it. A
// connection that is so young that nothing keeps it breaks off with a kill.
func nameOnce(t *testing.T, address string, rnd *rand.Rand) (bytes int64, answered bool) {
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return 0, false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	line := fmt.Sprintf("line %d\n", rnd.IntN(1000))
	parts := strings.SplitAfter("Target\r\n"+line, "")
	if rnd.IntN(2) == 0 { // as most clients do
		parts = []string{strings.Join(parts, "")}
	}
	for _, part := range parts {
		if _, err := io.WriteString(conn, part); err != nil {
			return 0, false
		}
		time.Sleep(time.Duration(rnd.IntN(3000)) * time.Microsecond)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return 0, false
	}
	const greeting = "+Go\r\nhello\n"
	got, err := io.ReadAll(conn)
	if !strings.HasPrefix(greeting, string(got)) || err == nil && len(got) > 0 && string(got) != greeting {
		t.Errorf("got %q and %v, want one reply and the banner", got, err)
	}
	return int64(len(line)), err == nil && string(got) == greeting
}
