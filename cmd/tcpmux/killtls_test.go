package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"tcpmux/daemon/tlsconn/tlstest"
	"tcpmux/internal/await"
)

// TestTLSOfTheDaemonEndsWithIt, where the kernel does not do it: at a restart the client may
// finish, and after a crash the next daemon records that it has ended, and nothing that it sends.
// One in clear text goes on, and so would a handshake that has not begun.
func TestTLSOfTheDaemonEndsWithIt(t *testing.T) {
	t.Parallel()
	authority := tlstest.NewAuthority(t)
	certificate, key, _ := authority.Write(authority.Server())
	dir, m := t.TempDir(), newKeeper(t)
	path, control := filepath.Join(dir, "records.log"), filepath.Join(dir, "control")
	config := write(t, "tcpmux.toml", fmt.Sprintf(`
address = "127.0.0.1:0"
control = %q
banner = ""
survive_after = "0s"
[tls]
certificate = %q
key = %q
survive = "off"
[record]
file = %q
[[listener]]
name = "clear"
address = "127.0.0.1:0"
tls.certificate = ""
`, control, certificate, key, path))
	clear := m.socket("clear")
	records := func(want ...string) (got string) {
		t.Helper()
		await.Until(t, func() bool {
			text, _ := os.ReadFile(path)
			got = string(text)
			for _, w := range want {
				if !strings.Contains(got, w) {
					return false
				}
			}
			return true
		}, func() { t.Errorf("records: got %q, want %q in them", got, want) })
		return got
	}
	secured := func() *tls.Conn {
		t.Helper()
		c := tls.Client(dial(t, m.address), &tls.Config{RootCAs: authority.Pool(), ServerName: "localhost"})
		if _, err := io.WriteString(c, "one\n"); err != nil {
			t.Fatal(err)
		}
		records("from " + c.LocalAddr().String() + ": one\n")
		return c
	}

	d := m.start(config)
	a := secured()
	waits := dial(t, m.address)
	plain := dial(t, clear)
	// What came before it is kept too by then.
	var text string
	await.Until(t, func() bool {
		text = scraped(t, control)
		return total(text, "tcpmux_surviving_clients", "") == 2
	}, func() { t.Errorf("metrics: got %s, want two clients that survive", text) })
	d.kill()
	d = m.start(config)
	if rest, _ := io.ReadAll(a); len(rest) > 0 { // it ends, though not as in TLS
		t.Errorf("after a crash: got %q, want nothing", rest)
	}
	records("close from " + a.LocalAddr().String() + ": crash, 1 records, 4 bytes")
	if _, err := io.WriteString(plain, "on\n"); err != nil {
		t.Error(err)
	}
	records("from " + plain.LocalAddr().String() + ": on\n")
	late := tls.Client(waits, &tls.Config{RootCAs: authority.Pool(), ServerName: "localhost"})
	if _, err := io.WriteString(late, "late\n"); err != nil {
		t.Errorf("a handshake with the next daemon: %v", err)
	}
	records("from " + waits.LocalAddr().String() + ": late\n")
	_ = late.Close()

	b := secured()
	_ = d.cmd.Process.Signal(syscall.SIGINT)
	if rest, err := io.ReadAll(b); len(rest) > 0 || err != nil {
		t.Errorf("at a restart: got %q and error %v, want the end", rest, err)
	}
	if _, err := io.WriteString(b, "last\n"); err != nil {
		t.Error(err)
	}
	_ = b.Close()
	if status := d.ends(); status != 0 {
		t.Errorf("status: got %d, want 0: %s", status, d.seen)
	}
	d = m.start(config)
	records("from "+b.LocalAddr().String()+": last\n", "close from "+b.LocalAddr().String()+": eof, 2 records, 9 bytes")
	d.stops(dir)
}
