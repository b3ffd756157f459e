//go:build ktlsguest

package guest

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tcpmux/daemon/control/api"
	"tcpmux/daemon/tlsconn"
	"tcpmux/daemon/tlsconn/tlstest"
)

// served is a daemon whose listeners run programs for clients that speak TLS.
type served struct {
	*manager
	control, records, ca   string
	authority              *tlstest.Authority
	plain, recorded, brief string // addresses of listeners: record = false, true, and of a program that ends first
}

func newServed(t *testing.T) *served {
	t.Helper()
	dir := t.TempDir()
	s := &served{
		manager: newManager(t), authority: tlstest.NewAuthority(t),
		control: filepath.Join(dir, "control"), records: filepath.Join(dir, "records.log"),
	}
	s.plain, s.recorded, s.brief = s.socket("tcpmux"), s.socket("recorded"), s.socket("brief")
	var certificate, key string
	certificate, key, s.ca = s.authority.Write(s.authority.Server())
	err := os.WriteFile(s.config, fmt.Appendf(nil, `
address = "127.0.0.1:0"
control = %q
exec = ["/bin/sh", "-c", "cat; echo end"]
[tls]
certificate = %q
key = %q
handshake_timeout = "100s"
[record]
file = %q
format = "json"
[[listener]]
name = "recorded"
address = "127.0.0.1:0"
exec = ["/bin/sh", "-c", "cat; echo end"]
record = true
[[listener]]
name = "brief"
address = "127.0.0.1:0"
exec = ["/bin/sh", "-c", "head -n 1; echo end"]
`, s.control, certificate, key, s.records), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	s.start()()
	return s
}

// dial connects a client of crypto/tls, and makes the handshake.
func (s *served) dial(address string) *tls.Conn {
	s.t.Helper()
	raw, err := net.Dial("tcp", address)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = raw.Close() })
	c := tls.Client(raw, &tls.Config{RootCAs: s.authority.Pool(), ServerName: "localhost"})
	_ = c.SetDeadline(time.Now().Add(patience))
	if err := c.Handshake(); err != nil {
		s.t.Fatal(err)
	}
	return c
}

// echoText returns the lines of a client, which its name begins.
func echoText(name string, seed uint64) []byte {
	rnd := rand.New(rand.NewPCG(7, seed))
	var text bytes.Buffer
	for n := 0; text.Len() < 100_000; n++ {
		fmt.Fprintf(&text, "%s line %d %s\n", name, n, strings.Repeat("x", rnd.IntN(3000)))
	}
	return text.Bytes()
}

// TestProgramsServeClientsOfTLS: what comes and goes passes through the daemon, and the kernel
// encrypts and decrypts it if it can. Nothing is lost either way, nor is the end of either side.
func TestProgramsServeClientsOfTLS(t *testing.T) {
	s := newServed(t)
	const each = 2
	clients := make([]*tls.Conn, 2*each)
	for i := range clients {
		clients[i] = s.dial([]string{s.plain, s.recorded}[i%2])
	}
	s.kernelDoes(len(clients))
	sent := make(map[string][]byte)
	var talking sync.WaitGroup
	for i, c := range clients {
		name := fmt.Sprintf("client %d", i)
		text := echoText(name, uint64(i))
		if i%2 == 1 {
			sent[name] = text
		}
		talking.Go(func() { s.echoes(c, name, text) })
	}
	for _, address := range []string{s.plain, s.recorded} {
		name := "openssl " + address
		text := echoText(name, 99)
		if address == s.recorded {
			sent[name] = text
		}
		talking.Go(func() { s.echoesToOpenSSL(address, text) })
	}
	s.hearsTheEnd()
	talking.Wait()
	s.ends(syscall.SIGTERM)
	s.compare(sent)
}

// kernelDoes waits until the daemon says for how many clients the kernel does TLS: for all, if it
// can. None of them would outlive the daemon.
func (s *served) kernelDoes(clients int) {
	s.t.Helper()
	want := 0
	if tlsconn.Probe() == nil {
		want = clients
	}
	s.status(s.control, fmt.Sprintf("the kernel does the TLS of %d clients", want), func(got api.Status) bool {
		return got.TLS.Clients == clients && got.TLS.Kernel == want && got.TLS.Survive == 0
	})
}

// echoes has a client send its lines in random segments, then its end, and hear all that again, and
// what the program says last.
func (s *served) echoes(c *tls.Conn, name string, text []byte) {
	go func() {
		for rest := text; len(rest) > 0; {
			n := min(1+rand.N(20_000), len(rest))
			if _, err := c.Write(rest[:n]); err != nil {
				s.t.Errorf("%s: %v", name, err)
				return
			}
			rest = rest[n:]
		}
		if err := c.CloseWrite(); err != nil {
			s.t.Errorf("%s: %v", name, err)
		}
	}()
	got, err := io.ReadAll(c)
	if err != nil || string(got) != string(text)+"end\n" {
		s.t.Errorf("%s: heard %d bytes and %v, want the %d that it has sent, the program's last line, and the end", name, len(got), err, len(text))
	}
}

// hearsTheEnd has a client be told of a program's end: what it says last arrives, with close_notify
// behind it.
func (s *served) hearsTheEnd() {
	s.t.Helper()
	c := s.dial(s.brief)
	if _, err := io.WriteString(c, "one\n"); err != nil {
		s.t.Error(err)
	}
	if got, err := io.ReadAll(c); err != nil || string(got) != "one\nend\n" {
		s.t.Errorf("heard %q and %v, want the line, the program's last one, and the end", got, err)
	}
}

// echoesToOpenSSL has openssl be such a client. It ends both sides at once: when it has heard all.
func (s *served) echoesToOpenSSL(address string, text []byte) {
	cmd := exec.Command("openssl", "s_client", "-connect", address, "-servername", "localhost", "-CAfile", s.ca,
		"-verify_return_error", "-tls1_3", "-quiet", "-no_ign_eof")
	var out, complaints heard
	cmd.Stdout, cmd.Stderr = &out, &complaints
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		s.t.Error(err)
		return
	}
	if _, err := in.Write(text); err != nil {
		s.t.Errorf("openssl: %v", err)
	}
	for deadline := time.Now().Add(patience); len(out.String()) < len(text) && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	_ = in.Close() // or it has ended, which its status says
	if err := cmd.Wait(); err != nil || !strings.HasPrefix(out.String(), string(text)) {
		s.t.Errorf("openssl: heard %d bytes and %v, want the %d that it has sent\n%s", len(out.String()), err, len(text), &complaints)
	}
}

// compare compares what is recorded of clients with what they have sent.
func (s *served) compare(sent map[string][]byte) {
	s.t.Helper()
	streams, names := map[string]*bytes.Buffer{}, map[string]string{}
	readRecords(s.t, s.records, func(r *recorded) {
		switch {
		case r.Kind == "message" && streams[r.Session] == nil:
			streams[r.Session] = new(bytes.Buffer)
			names[r.Session], _, _ = strings.Cut(r.Data, " line ")
			fallthrough
		case r.Kind == "message":
			if at := int64(streams[r.Session].Len()); r.Offset != at {
				s.t.Errorf("%s: got a message at offset %d, want %d", names[r.Session], r.Offset, at)
			}
			streams[r.Session].WriteString(r.Data + r.End)
		case r.Kind == "close" && r.Reason != "exit 0" && r.Reason != "eof":
			s.t.Errorf("session %s: got the end by %s, want exit 0", r.Session, r.Reason)
		}
	})
	for session, name := range names {
		if got, want := streams[session].String(), string(sent[name]); got != want {
			s.t.Errorf("%s: got %d bytes recorded, want %d", name, len(got), len(want))
		}
		delete(sent, name)
	}
	for name := range sent {
		s.t.Errorf("%s: got nothing recorded", name)
	}
}
