package handover

import (
	"errors"
	"os"
	"slices"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/conn"
	"tcpmux/daemon/sockaddr"
	"tcpmux/daemon/state"
	"tcpmux/daemon/systemd"
)

// A connection of a unix socket goes on as one of TCP does. What the kernel does not tell of it has
// an entry in a file of its own. Without one it is not known where its stream is: then only its end
// is recorded.

// unixStore keeps what is to be known of connections of unix sockets.
type unixStore struct {
	file atomic.Pointer[state.Unix] // nil: no such connection is kept
	full atomic.Bool                // that it has no room is logged
}

// readUnix is readKernelState for a unix socket, whose address is known.
func (k *kernelState) readUnix(fd int) (err error) {
	if k.remote, err = sockaddr.UnixPeer(fd); err != nil {
		return err
	}
	if k.ahead, err = conn.PeekOffset(uintptr(fd)); err != nil {
		return err
	}
	fds := [1]unix.PollFd{{Fd: int32(fd)}}
	if _, err := unix.Ppoll(fds[:], &unix.Timespec{}, nil); err != nil {
		return os.NewSyscallError("poll", err)
	}
	ended := fds[0].Revents&unix.POLLHUP != 0
	k.unread = conn.Unread(uintptr(fd)) // after that: nothing comes any more
	k.over = ended && k.unread == 0
	unread, _ := unix.IoctlGetInt(fd, unix.SIOCOUTQ) // by the client; 0 on an error
	k.greeted = unread > 0
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVLOWAT, 1))
}

// recall adds to k what the previous process has kept of the unix socket fd.
func (h *Handover) recall(fd int, k *kernelState, cookie uint64) error {
	k.entry = h.unix.file.Load().Find(cookie)
	if !k.entry.Sound() {
		k.entry.Free()
		k.entry = nil
		return nil
	}
	k.consumed = k.entry.Settle(k.ahead)
	k.greeted = k.greeted || k.entry.Sent()
	// The session may peek in its own way.
	return conn.SetPeekOffset(uintptr(fd), -1)
}

// openUnix opens what the previous process has left of connections of unix sockets.
func (h *Handover) openUnix() error {
	var left *state.Unix
	_, err := h.openStored(systemd.UnixName, "clients of unix sockets are lost", func(fd int) (err error) {
		left, err = state.OpenUnix(fd)
		return err
	})
	h.unix.file.Store(left)
	return err
}

// makeUnix makes room for what is to be known of clients of unix sockets, if listeners of cfg may
// have such.
func (h *Handover) makeUnix(cfg config.Config) {
	if h.unix.file.Load() != nil || !hasUnix(cfg) {
		return
	}
	if err := h.storeUnix(cfg.Limits.Clients); err != nil {
		h.opt.Log.Warn("clients of unix sockets do not outlive the daemon", "err", err)
	}
}

// storeUnix makes the file, and has it stored if the ring is.
func (h *Handover) storeUnix(clients int) error {
	f, err := state.NewUnix(roomFor(clients))
	if err != nil {
		return err
	}
	if err := h.storeAnew(systemd.UnixName, f.FD()); err != nil {
		return errors.Join(err, f.Close())
	}
	h.unix.file.Store(f)
	return nil
}

// takeUnix returns an entry for a connection; nil if there is no room, which is logged once.
func (h *Handover) takeUnix(cookie uint64) *state.UnixEntry {
	f := h.unix.file.Load()
	e := f.Take(cookie)
	if e == nil && f != nil && !h.unix.full.Swap(true) {
		h.opt.Log.Warn("clients of unix sockets do not outlive the daemon",
			"reason", "there is no room for more of them: limits.clients was lower when the first one was kept, and a stop and a start make room")
	}
	return e
}

// hasUnix reports whether cfg has listeners at unix sockets.
func hasUnix(cfg config.Config) bool {
	return slices.ContainsFunc(cfg.Listeners, func(l config.Listener) bool { return l.Unix() })
}
