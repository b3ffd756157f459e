package main

import (
	"bufio"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tcpmux/internal/await"
)

// TestAnIdleClientCostsLittle though it has spoken: its goroutine's stack is as small as one can
// be, and it holds no buffer.
func TestAnIdleClientCostsLittle(t *testing.T) {
	// bytes; measured are some 4100, and 2 KiB more when stacks grow.
	const clients, most = 4000, 5000
	dir := t.TempDir()
	d, address := daemonOf(t, settings(t, dir, "127.0.0.1:0", "", ""))
	defer d.stops(dir)
	before := residentMemory(t, d.cmd.Process.Pid)
	conns := make([]net.Conn, clients)
	for i := range conns {
		conns[i] = greeted(t, address)
	}
	// One after the other, so that each has its records written by its own goroutine: that takes
	// more of the stack than waiting for another that writes.
	file, err := os.Open(filepath.Join(dir, "records.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	records, line := bufio.NewReader(file), ""
	for i, conn := range conns {
		if _, err := io.WriteString(conn, "hello\n"); err != nil {
			t.Fatal(err)
		}
		await.Until(t, func() bool {
			for {
				more, err := records.ReadString('\n')
				if line += more; err != nil {
					return false
				}
				said := strings.HasSuffix(line, ": hello\n")
				if line = ""; said {
					return true
				}
			}
		}, func() { t.Errorf("records: got %d, want %d", i, clients) })
	}
	each := (residentMemory(t, d.cmd.Process.Pid) - before) / clients
	t.Logf("an idle client costs %d bytes", each)
	if each > most {
		t.Errorf("got %d bytes for each client, want at most %d", each, most)
	}
	for _, conn := range conns {
		_ = conn.Close()
	}
}
