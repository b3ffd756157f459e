//go:build ktlsguest

package guest

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/conn"
	"tcpmux/daemon/tlsconn"
	"tcpmux/daemon/tlsconn/tlstest"
)

// patience bounds what must come. These machines are slow.
const patience = 2 * time.Minute

// memory is a tlsconn.Memory.
type memory struct {
	tlsconn.Secured
	established   bool
	taken, taking int
	last          byte
	landing       byte
	rekeyed       int
}

func (m *memory) Begin(s tlsconn.Secured) bool { m.Secured = s; return true }
func (m *memory) Establish()                   { m.established = true }
func (m *memory) Taking(n int, last byte) *byte {
	m.taking, m.last, m.landing = n, last, ^last
	return &m.landing
}
func (m *memory) Taken() { m.taken += m.taking }
func (m *memory) Rekey(client, server []byte) {
	m.rekeyed++
	if len(client) > 0 {
		m.Client = client
	}
	if len(server) > 0 {
		m.Server = server
	}
}

// peer is a server's end whose handshake is done, and what keeps it.
type peer struct {
	*tlsconn.Conn
	t         *testing.T
	authority *tlstest.Authority
	fd        int
	memory    memory
	info      tlsconn.Info
}

// serve makes the handshake as the server with the client of a new pair, which client starts.
func serve(t *testing.T, kernel tlsconn.Kernel, client func(a *tlstest.Authority, c *net.TCPConn)) *peer {
	t.Helper()
	raw, fd := tlstest.Pair(t)
	below, err := conn.NewPoll(fd)
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, Conn: tlsconn.New(below), authority: tlstest.NewAuthority(t), fd: fd}
	t.Cleanup(p.Close)
	client(p.authority, raw)
	config := &tls.Config{Certificates: []tls.Certificate{p.authority.Server()}}
	options := tlsconn.Options{Config: func() *tls.Config { return config }, Kernel: kernel, Timeout: patience}
	never := func(bool) (time.Time, error) { return time.Time{}, nil }
	if p.info, err = p.Handshake(&options, never, func() tlsconn.Memory { return &p.memory }); err != nil {
		t.Fatal(err)
	}
	return p
}

// inGo has crypto/tls be the client, and returns it once serve is called.
func inGo(t *testing.T, to **tls.Conn, version uint16, suites ...uint16) func(*tlstest.Authority, *net.TCPConn) {
	return func(a *tlstest.Authority, c *net.TCPConn) {
		client := tls.Client(c, &tls.Config{RootCAs: a.Pool(), ServerName: "localhost", MaxVersion: version, CipherSuites: suites})
		_ = client.SetDeadline(time.Now().Add(patience))
		*to = client
		go func() {
			if err := client.Handshake(); err != nil {
				t.Errorf("the client's handshake: %v", err)
			}
		}()
	}
}

// read reads until n bytes were taken, or the end, with peeks and discards of random sizes.
func (p *peer) read(n int) (got []byte, err error) {
	for len(got) < n {
		buf := make([]byte, 1+rand.N(min(60000, n-len(got))))
		var seen int
		p.SetReadDeadline(time.Now().Add(patience))
		if werr := p.Wait(func() bool {
			seen, err = p.Peek(buf)
			return err != unix.EAGAIN
		}); werr != nil {
			return got, werr
		}
		if seen <= 0 || err != nil {
			return got, errors.Join(err, io.EOF)
		}
		if rand.N(4) == 0 && p.Unread() < min(seen, 60000) {
			p.t.Errorf("unread: got %d, want at least %d", p.Unread(), seen)
		}
		if rand.N(2) == 0 {
			seen = 1 + rand.N(seen)
		}
		if rand.N(2) == 0 {
			if err := p.Discard(seen); err != nil {
				return got, err
			}
		} else if took, err := p.Take(buf[:seen]); err != nil || took != seen {
			p.t.Errorf("take: got %d and %v, want %d", took, err, seen)
		}
		got = append(got, buf[:seen]...)
		if p.memory.established && p.memory.taken != len(got) {
			p.t.Errorf("noted: got %d bytes taken, want %d", p.memory.taken, len(got))
		}
		if p.memory.established && (p.memory.landing != got[len(got)-1] || p.memory.last != p.memory.landing) {
			p.t.Errorf("landed: got %q, want %q", p.memory.landing, got[len(got)-1])
		}
	}
	return got, nil
}

// exchange sends a lot both ways, and ends the stream.
func (p *peer) exchange(client *tls.Conn) {
	p.t.Helper()
	text := bytes.Repeat([]byte("0123456789abcdef\n"), 30_000)
	go func() {
		for at := 0; at < len(text); {
			n := min(1+rand.N(50_000), len(text)-at)
			if _, err := client.Write(text[at : at+n]); err != nil {
				p.t.Error(err)
				return
			}
			at += n
		}
		if err := client.CloseWrite(); err != nil {
			p.t.Error(err)
		}
	}()
	back := make(chan []byte, 1)
	go func() {
		all, err := io.ReadAll(client)
		if err != nil {
			p.t.Errorf("the client: %v", err)
		}
		back <- all
	}()
	got, err := p.read(len(text))
	if err != nil || !bytes.Equal(got, text) {
		p.t.Fatalf("got %d bytes and %v, want the %d that were sent", len(got), err, len(text))
	}
	if rest, err := p.read(1); len(rest) > 0 || err != io.EOF && !errors.Is(err, io.EOF) || errors.Is(err, tlsconn.ErrTruncated) {
		p.t.Errorf("at the end: got %q and %v, want the end of the stream", rest, err)
	}
	n, err := p.TryWrite(text)
	if err == nil && n < len(text) {
		p.SetWriteDeadline(time.Now().Add(patience))
		err = p.Write(text[n:])
	}
	if err != nil {
		p.t.Error(err)
	}
	p.CloseWrite()
	if got := <-back; !bytes.Equal(got, text) {
		p.t.Errorf("the client got %d bytes, want %d", len(got), len(text))
	}
}

// TestTheKernelEncryptsAndDecrypts, where it can; else crypto/tls does, and that is said.
func TestTheKernelEncryptsAndDecrypts(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			var client *tls.Conn
			p := serve(t, tlsconn.Auto, inGo(t, &client, version))
			want := version == tls.VersionTLS13 && tlsconn.Probe() == nil
			if p.info.Kernel != want || p.info.Kept != want || p.memory.established != want || (p.info.Reason == "") != want {
				t.Errorf("got %+v, established %v, want the kernel to do it: %v", p.info, p.memory.established, want)
			}
			state, sent := tlsconn.StateOf(uintptr(p.fd))
			if (state == tlsconn.Encrypting) != want || sent {
				t.Errorf("the kernel has state %v, sent %v, want its keys: %v, and nothing sent", state, sent, want)
			}
			p.exchange(client)
			if _, sent := tlsconn.StateOf(uintptr(p.fd)); sent != want {
				t.Errorf("sent: got %v, want %v", sent, want)
			}
		})
	}
}

// TestTheNextProcessGoesOn with a socket that it is given, and with what is kept of it.
func TestTheNextProcessGoesOn(t *testing.T) {
	Needs(t, Loaded)
	var client *tls.Conn
	p := serve(t, tlsconn.Require, inGo(t, &client, tls.VersionTLS13))
	if _, err := io.WriteString(client, "one\ntwo\n"); err != nil {
		t.Fatal(err)
	}
	if got, err := p.read(4); err != nil || string(got[:4]) != "one\n" {
		t.Fatalf("got %q and %v", got, err)
	}
	fd, err := unix.FcntlInt(uintptr(p.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	p.Close() // as when the process dies: nothing is told
	below, err := conn.NewPoll(fd)
	if err != nil {
		t.Fatal(err)
	}
	left := tlsconn.Left{Secured: p.memory.Secured, Memory: &p.memory}
	rest := 8 - p.memory.taken
	for deadline := time.Now().Add(patience); tlsconn.Waiting(uintptr(fd)) < rest && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if got := tlsconn.Waiting(uintptr(fd)); got != rest {
		t.Errorf("waiting: got %d, want %d", got, rest)
	}
	if err := tlsconn.Skip(uintptr(fd), 1, &p.memory); err != nil || p.memory.taken != 9-rest {
		t.Errorf("skip: got %v, %d taken, want %d", err, p.memory.taken, 9-rest)
	}
	next := &peer{t: t, Conn: tlsconn.Resume(below, left), fd: fd}
	defer next.Close()
	if got, err := next.read(rest - 1); err != nil || string(got) != "one\ntwo\n"[9-rest:] {
		t.Errorf("got %q and %v, want the rest of what was sent", got, err)
	}
	next.memory = memory{}
	next.exchange(client)
}

// TestAHalfMessageHidesNoEnd: once it is taken, what follows shows, and again to who comes later.
func TestAHalfMessageHidesNoEnd(t *testing.T) {
	var client *tls.Conn
	p := serve(t, tlsconn.Auto, inGo(t, &client, tls.VersionTLS13))
	if _, err := io.WriteString(client, "half"); err != nil {
		t.Fatal(err)
	}
	if err := client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := p.read(4); err != nil || string(got) != "half" {
		t.Errorf("got %q and %v, want half", got, err)
	}
	for range 3 {
		if got, err := p.read(1); len(got) > 0 || !errors.Is(err, io.EOF) || errors.Is(err, tlsconn.ErrTruncated) {
			t.Errorf("got %q and %v, want the end", got, err)
		}
	}
}

// TestAHangUpTakesNoWordBack: what the client has not read yet is not lost because we have not read
// what it has sent.
func TestAHangUpTakesNoWordBack(t *testing.T) {
	var client *tls.Conn
	p := serve(t, tlsconn.Auto, inGo(t, &client, tls.VersionTLS13))
	if _, err := client.Write(bytes.Repeat([]byte("x"), 100_000)); err != nil {
		t.Fatal(err)
	}
	if got, err := p.read(1); err != nil || string(got) != "x" {
		t.Fatalf("got %q and %v", got, err)
	}
	if n, err := p.TryWrite([]byte("bye\n")); n != 4 || err != nil {
		t.Fatalf("got %d and %v", n, err)
	}
	p.HangUp()
	p.Close()
	if got, err := io.ReadAll(client); err != nil || string(got) != "bye\n" {
		t.Errorf("the client got %q and %v, want bye and the end", got, err)
	}
}

// TestAnEndWithoutCloseNotifyIsTold: what was sent last may be missing.
func TestAnEndWithoutCloseNotifyIsTold(t *testing.T) {
	var client *tls.Conn
	p := serve(t, tlsconn.Auto, inGo(t, &client, tls.VersionTLS13))
	if _, err := io.WriteString(client, "half"); err != nil {
		t.Fatal(err)
	}
	_ = client.NetConn().(*net.TCPConn).CloseWrite()
	if got, err := p.read(4); err != nil || string(got) != "half" {
		t.Errorf("got %q and %v, want half", got, err)
	}
	if got, err := p.read(1); len(got) > 0 || !errors.Is(err, tlsconn.ErrTruncated) {
		t.Errorf("got %q and %v, want %v", got, err, tlsconn.ErrTruncated)
	}
}

// TestAClientMayRenewItsKeys: the kernel does since Linux 6.14; before, the error says so.
func TestAClientMayRenewItsKeys(t *testing.T) {
	var in io.WriteCloser
	var out heard
	p := serve(t, tlsconn.Auto, func(_ *tlstest.Authority, c *net.TCPConn) {
		in = openssl(t, c, &out)
	})
	say := func(text string) {
		if _, err := io.WriteString(in, text); err != nil {
			t.Fatal(err)
		}
	}
	say("one\n")
	if got, err := p.read(4); err != nil || string(got) != "one\n" {
		t.Fatalf("got %q and %v; the client: %s", got, err, &out)
	}
	say("K\n") // both directions
	out.await(t, "KEYUPDATE")
	say("two\n")
	got, err := p.read(4)
	switch {
	case !p.info.Kernel && (err != nil || string(got) != "two\n"):
		t.Errorf("in user space: got %q and %v, want two", got, err)
	case p.info.Kernel && err == nil && string(got) == "two\n" && p.memory.rekeyed == 2:
		t.Log("this kernel takes new keys")
	case p.info.Kernel && (err == nil || !strings.Contains(err.Error(), "6.14")):
		t.Errorf("got %q and %v, want it to go on, or an error that names the kernel that can", got, err)
	}
}

// heard is what a program has said.
type heard struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (h *heard) Write(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.Write(b)
}

// String returns all of it.
func (h *heard) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.String()
}

// await waits until the program has said something.
func (h *heard) await(t *testing.T, what string) {
	t.Helper()
	for deadline := time.Now().Add(patience); !strings.Contains(h.String(), what); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the client said %q, want %q", h.String(), what)
		}
	}
}

// openssl has its s_client talk over a connection, and returns what it reads.
func openssl(t *testing.T, c *net.TCPConn, out io.Writer) io.WriteCloser {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("openssl", "s_client", "-connect", ln.Addr().String(), "-tls1_3")
	cmd.Stdout, cmd.Stderr = out, out
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	via, err := ln.Accept()
	_ = ln.Close()
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(c, via) }()
	go func() { _, _ = io.Copy(via, c) }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		_ = via.Close()
	})
	return in
}

// TestWhoClosesAtOnceIsNoFailure, as a health check does, where the kernel is required.
func TestWhoClosesAtOnceIsNoFailure(t *testing.T) {
	if err := tlsconn.Probe(); err != nil {
		t.Skip(err)
	}
	raw, fd := tlstest.Pair(t)
	below, err := conn.NewPoll(fd)
	if err != nil {
		t.Fatal(err)
	}
	c := tlsconn.New(below)
	defer c.Close()
	_ = raw.Close()
	if err := below.Wait(func() bool { _, ended := below.Readable(); return ended }); err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{tlstest.NewAuthority(t).Server()}}
	options := tlsconn.Options{Config: func() *tls.Config { return config }, Kernel: tlsconn.Require, Timeout: patience}
	never := func(bool) (time.Time, error) { return time.Time{}, nil }
	if _, err := c.Handshake(&options, never, func() tlsconn.Memory { return nil }); err != io.EOF {
		t.Errorf("got %v, want %v", err, io.EOF)
	}
}
