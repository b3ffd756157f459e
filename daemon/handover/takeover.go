package handover

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/server"
	"tcpmux/daemon/systemd"
)

// Program is one that is to take the place of ours.
type Program struct {
	// Path is its file. It is started with our arguments.
	Path string
	// Check makes sure that the program starts and takes the configuration (Rehearse), and
	// returns that.
	Check func() (config.Config, error)
}

// Takeover holds all that another program needs to go on with our listeners and clients. We need
// the same if that program cannot. Between the end of our server and the start of the next one,
// clients stay connected and are not served.
type Takeover struct {
	program Program
	files   []systemd.Socket
	clients int           // that wait for the program
	next    config.Config // that the program will have
}

// Takeover prepares for a program that goes on as we do: with clients that survive, and with the
// listeners of current, the configuration in force, at their addresses. The bindings are those of
// all listeners; those without a socket are left out. An error says why the program cannot take
// our place. Then nothing has changed.
func (h *Handover) Takeover(p Program, current config.Config, bindings []*server.Binding) (*Takeover, error) {
	next, err := p.Check()
	switch {
	case err != nil:
		return nil, err
	case h == nil || !h.opt.Config.Survive:
		return nil, errors.New("clients do not outlive the daemon: it was started with survive = false")
	case !next.Survive:
		return nil, errors.New("the configuration has survive = false, with which clients would end: that takes a restart")
	case !sameListeners(current, next):
		return nil, errors.New("the configuration has other addresses, which takes a restart")
	}
	h.makeTLS(next) // what a trial makes itself is gone with it
	h.makeUnix(next)
	h.makePairs(next)
	t := &Takeover{program: p, next: next, clients: h.opt.Server.Clients()}
	if err := errors.Join(t.addListeners(bindings), t.addStores(h)); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// sameListeners reports whether both configurations have the same listeners at the same
// addresses.
func sameListeners(a, b config.Config) bool {
	return slices.EqualFunc(a.Listeners, b.Listeners, func(a, b config.Listener) bool {
		return a.Name == b.Name && slices.Equal(a.Address, b.Address)
	})
}

// addListeners adds duplicates of the listeners' sockets.
func (t *Takeover) addListeners(bindings []*server.Binding) error {
	for _, b := range bindings {
		if b.Listener.File == nil {
			continue
		}
		if err := t.add(b.Listener.File, b.Listener.PassedName()); err != nil {
			return fmt.Errorf("%v: %w", b.Listener, err)
		}
	}
	return nil
}

// addStores adds duplicates of all in which clients are kept.
func (t *Takeover) addStores(h *Handover) error {
	if file := h.opt.Settings.file; file != nil {
		if err := t.add(file, file.Name()); err != nil {
			return err
		}
	}
	in, out := h.ring.Ends()
	type descriptor struct {
		name string
		fd   int
	}
	kept := []descriptor{{systemd.RingName, in}, {systemd.RingName, out}}
	if h.state != nil {
		kept = append(kept, descriptor{systemd.StateName, h.state.FD()})
	}
	if f := h.tls.file.Load(); f != nil {
		kept = append(kept, descriptor{systemd.TLSName, f.FD()})
	}
	if f := h.unix.file.Load(); f != nil {
		kept = append(kept, descriptor{systemd.UnixName, f.FD()})
	}
	if f := h.pairs.file.Load(); f != nil {
		kept = append(kept, descriptor{systemd.PairsName, f.FD()})
	}
	for listener, k := range h.journals {
		if k.journal != nil {
			kept = append(kept, descriptor{journalName(listener), k.journal.FD()})
		}
	}
	for _, d := range kept {
		fd, err := unix.FcntlInt(uintptr(d.fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return os.NewSyscallError("fcntl", err)
		}
		t.files = append(t.files, systemd.Socket{Name: d.name, File: os.NewFile(uintptr(fd), d.name)})
	}
	return nil
}

// Add adds duplicates of sockets that are no listener's.
func (t *Takeover) Add(sockets []systemd.Socket) error {
	for _, s := range sockets {
		if err := t.add(s.File, s.Name); err != nil {
			return err
		}
	}
	return nil
}

// add adds a duplicate of a file.
func (t *Takeover) add(f *os.File, name string) error {
	file, err := duplicateFile(f, name)
	if err != nil {
		return err
	}
	t.files = append(t.files, systemd.Socket{Name: name, File: file})
	return nil
}

// Sockets returns duplicates of everything, as systemd.Sockets would return it to the program:
// the sockets of listeners apart from what clients are kept in. With them we go on when Execute
// has failed. They are the caller's. It may be called again.
func (t *Takeover) Sockets() (sockets, stored []systemd.Socket, err error) {
	for _, s := range t.files {
		file, err := duplicateFile(s.File, s.Name)
		if err != nil {
			closeAll(append(sockets, stored...))
			return nil, nil, err
		}
		s.File, s.Ours = file, true
		if s.Stored() {
			stored = append(stored, s)
		} else {
			sockets = append(sockets, s)
		}
	}
	return sockets, stored, nil
}

// Close lets go of everything: we go on, or somebody else does.
func (t *Takeover) Close() {
	closeAll(t.files)
	t.files = nil
}

// closeAll closes descriptors.
func closeAll(all []systemd.Socket) {
	for _, s := range all {
		_ = s.File.Close() // nothing was written
	}
}
