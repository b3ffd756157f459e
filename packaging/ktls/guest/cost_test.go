//go:build ktlsguest

package guest

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tcpmux/daemon/tlsconn/tlstest"
)

// TestAnIdleClientCostsLessByTheKernel than with crypto/tls in the daemon, in memory of the daemon
// and of the kernel. What a client of clear text costs is left out, and with it the other end
// of each connection, which is in this machine too. On a busy machine any of them may seem to cost
// more or less, such as for threads that are started: then all are measured again.
func TestAnIdleClientCostsLessByTheKernel(t *testing.T) {
	Needs(t, Loaded)
	var kernel, user cost
	for range 5 {
		clear := measure(t, "")
		kernel, user = measure(t, "auto").over(clear), measure(t, "off").over(clear)
		t.Logf("an idle client of clear text: %v; TLS by the kernel: %v more; with crypto/tls: %v more", clear, kernel, user)
		if kernel.all <= 0.9*user.all {
			return
		}
	}
	t.Errorf("TLS of an idle client by the kernel: got %.1f KiB, want less than 90 %% of the %.1f KiB with crypto/tls", kernel.all, user.all)
}

// cost is what an idle client costs: KiB of the daemon, and in all.
type cost struct{ daemon, all float64 }

func (c cost) String() string {
	return fmt.Sprintf("%.1f KiB, of which %.1f are the daemon's", c.all, c.daemon)
}

// over returns what a client costs more than another one.
func (c cost) over(other cost) cost { return cost{c.daemon - other.daemon, c.all - other.all} }

// measure measures a daemon of its own, which lets the kernel encrypt or not; survive is "" for
// clear text.
func measure(t *testing.T, survive string) (c cost) {
	t.Helper()
	const crowd = 120
	m := newManager(t)
	address, client := m.serve(survive)
	m.start()()
	// What the first clients make the daemon and the kernel allocate is no cost of one more.
	first := m.crowd(address, client, 40)
	daemon, kernel := m.memory(), kernelMemory(t)
	end := m.crowd(address, client, crowd)
	c.daemon = float64(m.memory()-daemon) / crowd
	c.all = c.daemon + float64(kernelMemory(t)-kernel)/crowd
	end()
	first()
	m.ends(syscall.SIGTERM)
	return c
}

// serve has the daemons serve clients, and returns where, and how clients are to speak TLS; nil:
// not at all.
func (m *manager) serve(survive string) (address string, client *tls.Config) {
	m.t.Helper()
	// What is garbage is collected early, so that the memory in use is that of clients.
	m.t.Setenv("GOGC", "5")
	text := "address = \"127.0.0.1:0\"\nbanner = \"hello\\n\"\n"
	if survive != "" {
		a := tlstest.NewAuthority(m.t)
		client = &tls.Config{RootCAs: a.Pool(), ServerName: "localhost"}
		certificate, key, _ := a.Write(a.Server())
		text += fmt.Sprintf("[tls]\ncertificate = %q\nkey = %q\nsurvive = %q\nhandshake_timeout = \"100s\"\n", certificate, key, survive)
	}
	text += fmt.Sprintf("[record]\nfile = %q\n[limits]\nclients = 4000\n", filepath.Join(m.t.TempDir(), "records.log"))
	if err := os.WriteFile(m.config, []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
	return m.socket("tcpmux"), client
}

// crowd connects n clients, each of which is greeted and stays until they are ended.
func (m *manager) crowd(address string, config *tls.Config, n int) (end func()) {
	m.t.Helper()
	all := make([]net.Conn, n)
	var connecting sync.WaitGroup
	for first := range atOnce {
		connecting.Go(func() {
			for i := first; i < n; i += atOnce {
				conn, err := net.Dial("tcp", address)
				if err != nil {
					m.t.Error(err)
					return
				}
				all[i] = conn // below TLS: the end of one says nothing more
				_ = conn.SetDeadline(time.Now().Add(patience))
				var client io.Reader = conn
				if config != nil {
					client = tls.Client(conn, config)
				}
				banner := make([]byte, len("hello\n"))
				if _, err := io.ReadFull(client, banner); err != nil {
					m.t.Errorf("client %d: got %v, want the banner", i, err)
				}
			}
		})
	}
	connecting.Wait()
	return func() {
		for _, conn := range all {
			if conn != nil {
				_ = conn.Close()
			}
		}
	}
}

// atOnce is how many make their handshake at the same time.
const atOnce = 8

// memory returns the KiB of the daemon.
func (m *manager) memory() int { return kib(m.t, m.proc("status"), "RssAnon") }

func (m *manager) proc(name string) string {
	m.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", m.daemon.Process.Pid, name))
	if err != nil {
		m.t.Fatal(err)
	}
	return string(text)
}

// kernelMemory returns the KiB of the kernel's own objects: sockets, their keys and what it needs
// to encrypt are among them.
func kernelMemory(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		t.Fatal(err)
	}
	return kib(t, string(text), "Slab") + kib(t, string(text), "Percpu")
}

// kib returns the number of KiB that a file of /proc has under a name.
func kib(t *testing.T, text, name string) int {
	t.Helper()
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("got no %s in %s", name, text)
	return 0
}
