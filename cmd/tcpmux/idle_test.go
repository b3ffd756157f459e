package main

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"tcpmux/internal/await"
)

// TestAnIdleClientCostsLittle though it has spoken: its goroutine's stack is as small as one can
// be, and it holds no buffer.
func TestAnIdleClientCostsLittle(t *testing.T) {
	// bytes; measured are some 4500, and 2 KiB more when stacks grow.
	const clients, most = 4000, 5500
	dir := t.TempDir()
	d, address := daemonOf(t, settings(t, dir, "127.0.0.1:0", "", ""))
	defer d.stops(dir)
	before := residentMemory(t, d.cmd.Process.Pid)
	conns := make([]net.Conn, clients)
	for i := range conns {
		conns[i] = greeted(t, address)
	}
	for _, conn := range conns {
		if _, err := io.WriteString(conn, "hello\n"); err != nil {
			t.Fatal(err)
		}
	}
	recorded := 0
	await.Until(t, func() bool {
		file, err := os.ReadFile(filepath.Join(dir, "records.log"))
		if err != nil {
			t.Fatal(err)
		}
		recorded = bytes.Count(file, []byte(": hello\n"))
		return recorded == clients
	}, func() { t.Errorf("records: got %d, want %d", recorded, clients) })
	each := (residentMemory(t, d.cmd.Process.Pid) - before) / clients
	t.Logf("an idle client costs %d bytes", each)
	if each > most {
		t.Errorf("got %d bytes for each client, want at most %d", each, most)
	}
	for _, conn := range conns {
		_ = conn.Close()
	}
}
