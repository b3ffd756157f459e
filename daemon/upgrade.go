package daemon

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/ring"
	"tcpmux/daemon/state"
	"tcpmux/daemon/systemd"
)

// Upgrade makes sure that another program could take our place, and returns the configuration that it would have.
type Upgrade func() (config.Config, error)

// Bequest is the error by which Run ends for the sake of another program: it is to take our place now, as the same process
// (execve(2)), with these descriptors (systemd.Bequeath). Until then clients are connected, and nobody serves them.
type Bequest struct{ Files []systemd.Socket }

// Error implements error.
func (b *Bequest) Error() string { return "another program is to take over" }

// upgrade says whether we end for the sake of another program. One that cannot take our place leaves everything as it is.
func (d *daemon) upgrade(try Upgrade) bool {
	d.log.Info("upgrading")
	cfg, err := try()
	v := d.srv.survival
	switch {
	case err != nil:
	case v == nil || !v.keep:
		err = errors.New("clients do not outlive the daemon: it was started with survive = false")
	case !sameListeners(d.cfg, cfg):
		err = errors.New("the configuration has other addresses, which takes a restart")
	default:
		return true
	}
	d.log.Error("not upgraded", "err", err)
	return false
}

// sameListeners says whether both configurations have the same listeners at the same addresses.
func sameListeners(a, b config.Config) bool {
	return slices.EqualFunc(a.Listeners, b.Listeners, func(a, b config.Listener) bool {
		return a.Name == b.Name && slices.Equal(a.Address, b.Address)
	})
}

// bequeath leaves the clients, and duplicates of all that the next program needs to go on with them.
func (d *daemon) bequeath() error {
	b := &Bequest{}
	for _, ln := range d.lns {
		file, err := duplicateFile(ln.file, ln.name)
		if err != nil {
			return fmt.Errorf("%v: %w", ln, err)
		}
		b.Files = append(b.Files, systemd.Socket{Name: ln.name, File: file})
		ln.inherited = true // who waits in its backlog waits for the next program
	}
	v := d.srv.survival
	in, out := v.ring.Ends()
	held := []struct {
		name string
		fd   int
	}{{systemd.RingName, in}, {systemd.RingName, out}}
	if v.state != nil {
		held = append(held, struct {
			name string
			fd   int
		}{systemd.StateName, v.state.FD()})
	}
	for _, h := range held {
		fd, err := unix.FcntlInt(uintptr(h.fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return os.NewSyscallError("fcntl", err)
		}
		b.Files = append(b.Files, systemd.Socket{Name: h.name, File: os.NewFile(uintptr(fd), h.name)})
	}
	d.end(true)
	d.srv.dismissing.Wait() // the next program knows nothing of our children
	return b
}

func duplicateFile(f *os.File, name string) (*os.File, error) {
	fd, err := duplicate(f)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// private makes what clients need to outlive an upgrade, for a daemon whose service manager stores nothing.
func (d *daemon) private() (*survival, error) {
	r, err := ring.New(d.cfg.SurviveAfter)
	if err != nil {
		return nil, err
	}
	f, err := state.New(2*d.cfg.Limits.Clients + 1000)
	if err != nil {
		r.Close()
		return nil, err
	}
	return &survival{ring: r, state: f, keep: true}, nil
}
