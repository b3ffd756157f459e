package handover

import (
	"math"
	"time"

	"tcpmux/daemon/conn"
	"tcpmux/daemon/state"
	"tcpmux/daemon/tlsconn"
)

// MaxCrashes and MaxPanics are how many processes may end over a client.
const (
	MaxCrashes = maxCrashes
	MaxPanics  = maxPanics
)

// OpenUnjournaled is Open, but the sink keeps no journal, and whatever a session was marked with
// counts as written.
func OpenUnjournaled(opt Options) *Handover {
	h := newHandover(opt)
	if kept, err := h.open(); err != nil || !kept {
		panic("nothing is kept")
	}
	opt.Server.SetKeeper(h)
	h.state.Settle(math.MaxInt32)
	return h
}

// SetSilence has h believe that clients were silent for d longer than they were.
func (h *Handover) SetSilence(d time.Duration) {
	h.kernel = func(fd int) (kernelState, error) {
		k, err := readKernelState(fd)
		k.heard = k.heard.Add(-d)
		return k, err
	}
}

// SetKernelTLS has h take clear text for what the kernel decrypts, of connections for which it has
// the keys that state says.
func (h *Handover) SetKernelTLS(state tlsconn.State, sent bool) {
	read := h.kernel
	h.kernel = func(fd int) (kernelState, error) {
		k, err := read(fd)
		k.tls, k.greeted, k.consumed = state, sent, k.consumed+1000 // of records
		return k, err
	}
	h.tls.skip = func(fd uintptr, n int, m tlsconn.Memory) error {
		*m.Taking(n, 1) = 1
		err := conn.Discard(fd, n)
		m.Taken()
		return err
	}
}

// SetTLSRoom has h have room for so many TLS connections.
func (h *Handover) SetTLSRoom(n int) (err error) {
	f, err := state.NewTLS(n)
	h.tls.file.Store(f)
	return err
}

// LoseState has h keep only what the kernel knows of connections to come.
func (h *Handover) LoseState() { h.state = nil }

// SetUnixRoom has h have room for so many clients of unix sockets.
func (h *Handover) SetUnixRoom(n int) (err error) {
	f, err := state.NewUnix(n)
	h.unix.file.Store(f)
	return err
}
