package tlsconn_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/tlsconn/tlstest"
)

// raw makes the handshake with a client that sends what no library does.
func (p *peer) raw() *tlstest.Raw {
	p.t.Helper()
	done := make(chan error, 1)
	go func() {
		_, err := p.Handshake(&p.options, never, nobody)
		done <- err
	}()
	_ = p.client.SetDeadline(time.Now().Add(patience))
	r := tlstest.NewRaw(p.t, p.client, &tls.Config{RootCAs: p.authority.Pool(), ServerName: "localhost"})
	if err := <-done; err != nil {
		p.t.Fatal(err)
	}
	return r
}

// piece is what fill writes, again and again.
var piece = bytes.Repeat([]byte("x"), 10_000)

// fill writes until the socket has no room, for a client that reads nothing. It returns how much;
// the write that follows begins with a piece, which it takes for the last one.
func (p *peer) fill() (n int) {
	p.t.Helper()
	if err := p.client.SetReadBuffer(4 << 10); err != nil {
		p.t.Fatal(err)
	}
	// Or the kernel would make more room as it goes.
	p.Control(func(fd uintptr) {
		if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, 64<<10); err != nil {
			p.t.Error(err)
		}
	})
	const still = 100 // looks, so that what is on its way has arrived
	for looks := 0; looks < still; {
		if _, err := p.TryWrite(piece); err != nil {
			p.t.Fatal(err)
		}
		n += len(piece)
		for looks = 0; p.Waits() > 0 && looks < still; looks++ {
			_, _ = p.TryWrite(nil)
			time.Sleep(time.Millisecond)
		}
	}
	return n
}

// TestKeysAreRenewedWhileThereIsNoRoom: the answers to a client's KeyUpdates wait in their turn, so
// that what is written meanwhile by another goroutine arrives whole.
func TestKeysAreRenewedWhileThereIsNoRoom(t *testing.T) {
	p := newPeer(t)
	r := p.raw()
	filled := p.fill()
	text := bytes.Repeat([]byte("0123456789abcdef\n"), 50_000)
	wrote := make(chan error, 1)
	go func() {
		p.SetWriteDeadline(time.Now().Add(patience))
		wrote <- p.Write(append(bytes.Clone(piece), text...))
	}()
	const updates = 10 // more in a row crypto/tls does not bear, which is the client here
	for i := range updates {
		if err := errors.Join(r.Send(tlstest.Handshake, tlstest.KeyUpdateRequested), r.SendNext(tlstest.Data, "x")); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			time.Sleep(10 * time.Millisecond) // without it, the writer is most likely not yet at it
		}
		if got, err := p.read(1); len(got) != 1 || err != nil {
			t.Fatalf("got %q and %v", got, err)
		}
	}
	if err := p.client.SetReadBuffer(4 << 20); err != nil { // fill has made it small
		t.Fatal(err)
	}
	got := make([]byte, filled+len(text))
	if n, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got[filled:], text) {
		t.Errorf("the client heard %d bytes and %v, want the %d that were written", n, err, len(got))
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
}

// TestAnswersToKeyUpdatesAreBounded, for a client that asks for them and reads nothing: what waits
// for it in memory must not grow with what it sends. It is told apart.
func TestAnswersToKeyUpdatesAreBounded(t *testing.T) {
	p := newPeer(t)
	r := p.raw()
	p.fill()
	const updates = 5000
	go func() {
		for range updates {
			if r.Send(tlstest.Handshake, tlstest.KeyUpdateRequested) != nil || r.SendNext(tlstest.Data, "x") != nil {
				return
			}
		}
	}()
	if got, err := p.read(updates); len(got) < 100 || err == nil || !strings.Contains(err.Error(), "asks for new keys") {
		t.Errorf("got %d bytes and %v, want many bytes, and then an error", len(got), err)
	}
	if n := p.Waits(); n > 50_000 {
		t.Errorf("%d bytes wait for a client that reads nothing, want few", n)
	}
}

// TestRecordsWithoutProgressEnd: a client may send few in a row that bring nothing.
func TestRecordsWithoutProgressEnd(t *testing.T) {
	for _, c := range []struct {
		name   string
		record func(r *tlstest.Raw) []byte
	}{
		{"empty data", func(r *tlstest.Raw) []byte { return r.Record(tlstest.Data, "") }},
		{"KeyUpdate", func(r *tlstest.Raw) []byte {
			b := r.Record(tlstest.Handshake, tlstest.KeyUpdate)
			r.Renew()
			return b
		}},
		{"warnings", func(r *tlstest.Raw) []byte { return r.Record(tlstest.Alert, "\x01\x5a") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPeer(t)
			r := p.raw()
			var flood []byte
			for range 1000 {
				flood = append(flood, c.record(r)...)
			}
			go func() { _, _ = p.client.Write(flood) }()
			got, err := p.read(1)
			if len(got) > 0 || err == nil || errors.Is(err, unix.EAGAIN) {
				t.Errorf("got %q and %v, want an error", got, err)
			}
		})
	}
}

// TestAFewRecordsWithoutProgressAreBorne, as some libraries send an empty one before each other.
func TestAFewRecordsWithoutProgressAreBorne(t *testing.T) {
	p := newPeer(t)
	r := p.raw()
	for range 100 {
		err := errors.Join(r.Send(tlstest.Data, ""), r.Send(tlstest.Data, ""), r.Send(tlstest.Handshake, tlstest.KeyUpdate))
		r.Renew()
		if err = errors.Join(err, r.Send(tlstest.Data, "x")); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := p.read(100); string(got) != strings.Repeat("x", 100) || err != nil {
		t.Errorf("got %q and %v", got, err)
	}
}

// TestRecordsThatNoClientMaySend end the connection, and are no data.
func TestRecordsThatNoClientMaySend(t *testing.T) {
	for name, send := range map[string]func(r *tlstest.Raw) []byte{
		"too long":                func(r *tlstest.Raw) []byte { return r.Record(tlstest.Data, strings.Repeat("x", 16385)) },
		"of an unknown type":      func(r *tlstest.Raw) []byte { return r.Record(99, "x") },
		"a hello again":           func(r *tlstest.Raw) []byte { return r.Record(tlstest.Handshake, "\x01\x00\x00\x00") },
		"a KeyUpdate that is odd": func(r *tlstest.Raw) []byte { return r.Record(tlstest.Handshake, "\x18\x00\x00\x01\x02") },
		"an empty handshake":      func(r *tlstest.Raw) []byte { return r.Record(tlstest.Handshake, "") },
		"with a wrong key":        func(r *tlstest.Raw) []byte { r.Renew(); return r.Record(tlstest.Data, "x") },
		"in clear text":           func(*tlstest.Raw) []byte { return []byte("\x17\x03\x03\x00\x05hello") },
		"no TLS":                  func(*tlstest.Raw) []byte { return []byte("hello world\n") },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t)
			r := p.raw()
			if _, err := p.client.Write(send(r)); err != nil {
				t.Fatal(err)
			}
			if got, err := p.read(1); len(got) > 0 || err == nil || errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && errors.Unwrap(err) == io.EOF {
				t.Errorf("got %q and %v, want an error", got, err)
			}
		})
	}
}
