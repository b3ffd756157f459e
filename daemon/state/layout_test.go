package state

import (
	"encoding/binary"
	"testing"
	"unsafe"
)

// TestTheLayoutOfTablesStays: the next process may be of another version.
func TestTheLayoutOfTablesStays(t *testing.T) {
	header := func(mem []byte) (h [5]uint64) {
		for i := range h {
			h[i] = binary.NativeEndian.Uint64(mem[8*i:])
		}
		return h
	}
	tls := newTLS(t, 3)
	tls.Take(7)
	if got, want := header(tls.mem), [5]uint64{0x0a58544d50534c54, 1, 1024, 3, 1}; got != want {
		t.Errorf("TLS: got header %#x, want %#x", got, want)
	}
	sockets := newUnix(t, 3)
	sockets.Take(7)
	if got, want := header(sockets.mem), [5]uint64{0x0a58494e5550434d, 1, 64, 3, 1}; got != want {
		t.Errorf("unix sockets: got header %#x, want %#x", got, want)
	}
	var e tlsEntry
	got := []uintptr{
		unsafe.Offsetof(e.cookie), unsafe.Offsetof(e.established), unsafe.Offsetof(e.offset), unsafe.Offsetof(e.target),
		unsafe.Offsetof(e.last), unsafe.Offsetof(e.kind), unsafe.Offsetof(e.generation), unsafe.Offsetof(e.names),
		unsafe.Offsetof(e.landing), unsafe.Offsetof(e.secrets), unsafe.Offsetof(e.serverName), unsafe.Offsetof(e.subject),
	}
	for i, want := range []uintptr{0, 8, 16, 24, 32, 40, 48, 56, 64, 72, 280, 535} {
		if got[i] != want {
			t.Errorf("TLS entry: field %d begins at %d, want %d", i, got[i], want)
		}
	}
	var u unixEntry
	got = []uintptr{
		unsafe.Offsetof(u.cookie), unsafe.Offsetof(u.offset), unsafe.Offsetof(u.target), unsafe.Offsetof(u.ahead), unsafe.Offsetof(u.sent),
	}
	for i, want := range []uintptr{0, 8, 16, 24, 32} {
		if got[i] != want {
			t.Errorf("entry of a unix socket: field %d begins at %d, want %d", i, got[i], want)
		}
	}
}
