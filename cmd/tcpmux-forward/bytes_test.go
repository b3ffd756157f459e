package main

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"tcpmux/cmd/internal/clitest"
	"tcpmux/cmd/tcpmux-forward/natstest"
	"tcpmux/internal/await"
)

// TestClientsBytesComeBackFromTheStream has a real daemon record what clients send, delivers that,
// and compares what contrib/forward/consumer reads from the stream with what each client has sent.
func TestClientsBytesComeBackFromTheStream(t *testing.T) {
	daemon, err := clitest.Build(t.TempDir(), "../tcpmux")
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := clitest.Build(t.TempDir(), "../../contrib/forward/consumer")
	if err != nil {
		t.Fatal(err)
	}
	s := natstest.Start(t, natstest.Newest, natstest.Options{})
	address, dir := clitest.Refused(t), t.TempDir()
	config := filepath.Join(dir, "tcpmux.toml")
	put(t, config, fmt.Appendf(nil, "address = %q\nbanner = \"\"\nmax_message = \"200B\"\n[record]\nfile = %q\nformat = \"json\"\nmax_size = \"8KiB\"\ncompress = true\n"+
		"[forward]\nservers = [%q]\ncreate = true\nhost = \"web1\"\nstate = %q\n",
		address, filepath.Join(dir, "records.log"), s.URL, filepath.Join(dir, "state")))
	run := clitest.Program(t, daemon, "run", "--config", config)
	log := &tail{}
	run.Stderr = log
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	sent := make(map[string][]byte)
	var mu sync.Mutex
	var clients sync.WaitGroup
	for i := range 10 {
		conn := dialDaemon(t, address)
		clients.Go(func() {
			defer conn.Close()
			text := randomText(rand.New(rand.NewPCG(uint64(i), 1)), 20_000)
			for n := range text {
				if n%50 == 0 {
					text[n] = '\n'
				}
			}
			_, err := conn.Write(text)
			if err == nil {
				err = conn.CloseWrite()
			}
			if err == nil {
				_, err = io.Copy(io.Discard, conn) // the daemon closes when it has recorded all
			}
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			sent[conn.LocalAddr().String()] = text
		})
	}
	clients.Wait()
	if err := run.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := run.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	if status, _, errs := clitest.Outcome(t, program(t, "--config", config, "--once")); status != 0 {
		t.Fatalf("--once: got status %d, want 0: %s", status, errs)
	}
	for remote, want := range sent {
		status, got, errs := clitest.Outcome(t, clitest.Program(t, consumer, "--server", s.URL, "--remote", remote))
		if status != 0 || !bytes.Equal([]byte(got), want) {
			t.Errorf("%s: got status %d, %d bytes and %q, want 0 and the %d bytes that were sent", remote, status, len(got), errs, len(want))
		}
	}
}

// dialDaemon connects to a daemon that may still be starting.
func dialDaemon(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	var conn net.Conn
	var err error
	await.Until(t, func() bool {
		conn, err = net.Dial("tcp", address)
		return err == nil
	}, func() { t.Error(err) })
	return conn.(*net.TCPConn)
}
