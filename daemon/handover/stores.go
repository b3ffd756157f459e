package handover

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/ring"
	"tcpmux/daemon/state"
	"tcpmux/daemon/systemd"
)

// ClientsWait reports whether the stored descriptors hold connections of the previous process.
func ClientsWait(stored []systemd.Socket) bool {
	for _, f := range pick(stored, systemd.RingName) {
		raw, err := f.SyscallConn()
		if err != nil {
			continue
		}
		n := 0 // also on an error
		_ = raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.SIOCINQ) })
		if n > 0 {
			return true
		}
	}
	return false
}

// pick returns the stored descriptors of a name.
func pick(stored []systemd.Socket, name string) (files []*os.File) {
	for _, s := range stored {
		if s.Name == name {
			files = append(files, s.File)
		}
	}
	return files
}

// duplicate returns a descriptor of our own for a file.
func duplicate(f *os.File) (dup int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	cerr := raw.Control(func(fd uintptr) { dup, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	return dup, errors.Join(cerr, os.NewSyscallError("fcntl", err))
}

func duplicateFile(f *os.File, name string) (*os.File, error) {
	fd, err := duplicate(f)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// store has the service manager store descriptors.
func store(name string, fds ...int) error {
	if err := systemd.Store(name, fds...); err != nil {
		return fmt.Errorf("store descriptors: %w", err)
	}
	return nil
}

// unstore has the service manager forget what it stores under a name.
func unstore(name string) error {
	if err := systemd.Unstore(name); err != nil {
		return fmt.Errorf("store descriptors: %w", err)
	}
	return nil
}

// openRing opens the ring that the previous process has left.
func openRing(ends []*os.File, age time.Duration) (*ring.Ring, error) {
	a, err := duplicate(ends[0])
	if err != nil {
		return nil, err
	}
	b, err := duplicate(ends[1])
	if err != nil {
		return nil, errors.Join(err, unix.Close(a))
	}
	return ring.Open(a, b, age)
}

// newStoredRing makes a ring and has it stored.
func newStoredRing(age time.Duration) (*ring.Ring, error) {
	r, err := ring.New(age)
	if err != nil {
		return nil, err
	}
	a, b := r.Ends()
	if err := store(systemd.RingName, a, b); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// openPrivate makes what clients need to outlive an upgrade, where no service manager stores
// anything.
func (h *Handover) openPrivate() error {
	r, err := ring.New(h.opt.Config.SurviveAfter)
	if err != nil {
		return err
	}
	f, err := h.newState()
	if err != nil {
		r.Close()
		return err
	}
	h.ring, h.state = r, f
	return nil
}

// newState makes a file with room for the clients.
func (h *Handover) newState() (*state.File, error) {
	return state.New(roomFor(h.opt.Config.Limits.Clients))
}

// roomFor returns room for clients, and for those that have ended and are not forgotten yet.
func roomFor(clients int) int { return 2*clients + 1000 }

// openState opens the file that the previous process has left, or makes one and has it stored.
func (h *Handover) openState() (f *state.File, err error) {
	opened, err := h.openStored(systemd.StateName, "of the clients of the process before only the kernel tells", func(fd int) (err error) {
		f, err = state.Open(fd)
		return err
	})
	if opened || err != nil {
		return f, err
	}
	if f, err = h.newState(); err != nil {
		return nil, err
	}
	if err := store(systemd.StateName, f.FD()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// openStored has open take over the file that the previous process has left under a name, if it has
// left one. It reports whether open could. If not, and that is logged as loss, nothing is stored
// under the name any more.
func (h *Handover) openStored(name, loss string, open func(fd int) error) (opened bool, err error) {
	files := pick(h.opt.Stored, name)
	if len(files) == 1 {
		fd, err := duplicate(files[0])
		if err != nil {
			return false, err
		}
		if err = open(fd); err == nil {
			return true, nil
		}
		h.opt.Log.Warn(loss, "err", err)
	}
	if len(files) > 0 && h.stored {
		return false, unstore(name)
	}
	return false, nil
}
