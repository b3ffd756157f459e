package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/ring"
	"tcpmux/daemon/state"
	"tcpmux/daemon/systemd"
)

// Upgrade makes sure that another program could take our place, and returns the configuration that it would have.
type Upgrade func() (config.Config, error)

// Bequest is the error by which Run ends for the sake of another program, which is to take our place now, as the same process
// (execve(2)), or that of a process of its own. Until then, or until Resume, clients are connected, and nobody serves them.
type Bequest struct {
	// Files are what the program goes on with (systemd.Bequeath, systemd.Inbox.Environ).
	Files []systemd.Socket
	// Next is the configuration that it will have.
	Next config.Config

	own config.Config // that was in force
}

// Error says what whoever has called Run is to do.
func (b *Bequest) Error() string { return "another program is to take over" }

// Resume is Run for a daemon whose place the other program could not take after all, and says why: it goes on as it was, with the
// configuration that was in force. What keeps it from that may pass, a full disk say, and clients have only us to wait for: it tries
// until ctx is done.
func (b *Bequest) Resume(ctx context.Context, why error, wishes Wishes, stderr io.Writer) error {
	told := ""
	for {
		d := &daemon{load: func() (config.Config, error) { return b.own, nil }}
		begun := false
		d.begun = func() {
			begun = true
			closeSockets(b.Files)
			d.log.Error("not upgraded", "err", why)
		}
		err := b.resume(ctx, d, wishes, stderr)
		if begun || ctx.Err() != nil {
			return err
		}
		if err.Error() != told {
			told = err.Error()
			fmt.Fprintf(stderr, "tcpmux: not upgraded: %v\ntcpmux: clients wait: %v\n", why, err)
		}
		select {
		case <-time.After(resumeRetry):
		case <-ctx.Done():
		}
	}
}

// resumeRetry is the pause before a daemon that cannot go on tries again.
const resumeRetry = time.Second

// resume has d serve on, with duplicates of what is left.
func (b *Bequest) resume(ctx context.Context, d *daemon, wishes Wishes, stderr io.Writer) error {
	var sockets, stored []systemd.Socket
	for _, s := range b.Files {
		file, err := duplicateFile(s.File, s.Name)
		if err != nil {
			return err
		}
		defer file.Close() // it was before, if all went well
		s.File, s.Ours = file, true
		if s.Stored() {
			stored = append(stored, s)
		} else {
			sockets = append(sockets, s)
		}
	}
	return d.run(ctx, sockets, stored, wishes, stderr)
}

func closeSockets(all []systemd.Socket) {
	for _, s := range all {
		_ = s.File.Close() // nothing was written
	}
}

// upgrade returns what another program needs to take our place; nil when it cannot: then all is as it was. The service manager takes
// it for a reload: it would have a service that says STOPPING=1 end.
func (d *daemon) upgrade(try Upgrade) *Bequest {
	d.log.Info("upgrading")
	d.notify("RELOADING=1", systemd.MonotonicUsec())
	b, err := d.bequest(try)
	if err == nil {
		return b
	}
	d.log.Error("not upgraded", "err", err)
	d.notify("READY=1", d.status())
	return nil
}

// bequest makes one for the program that try tells of, unless that would not go on as we do.
func (d *daemon) bequest(try Upgrade) (*Bequest, error) {
	cfg, err := try()
	v := d.srv.survival
	switch {
	case err != nil:
		return nil, err
	case v == nil || !v.keep:
		return nil, errors.New("clients do not outlive the daemon: it was started with survive = false")
	case !cfg.Survive:
		return nil, errors.New("the configuration has survive = false, with which clients would end: that takes a restart")
	case !sameListeners(d.cfg, cfg):
		return nil, errors.New("the configuration has other addresses, which takes a restart")
	}
	b := &Bequest{Next: cfg, own: d.cfg}
	if err := d.duplicateAll(b); err != nil {
		closeSockets(b.Files)
		return nil, err
	}
	return b, nil
}

// sameListeners says whether both configurations have the same listeners at the same addresses.
func sameListeners(a, b config.Config) bool {
	return slices.EqualFunc(a.Listeners, b.Listeners, func(a, b config.Listener) bool {
		return a.Name == b.Name && slices.Equal(a.Address, b.Address)
	})
}

// duplicateAll gives b duplicates of all that the next program needs to go on with the clients.
func (d *daemon) duplicateAll(b *Bequest) error {
	for _, ln := range d.lns {
		if ln.file == nil {
			continue
		}
		file, err := duplicateFile(ln.file, ln.name)
		if err != nil {
			return fmt.Errorf("%v: %w", ln, err)
		}
		b.Files = append(b.Files, systemd.Socket{Name: ln.name, File: file})
	}
	v := d.srv.survival
	in, out := v.ring.Ends()
	type descriptor struct {
		name string
		fd   int
	}
	held := []descriptor{{systemd.RingName, in}, {systemd.RingName, out}}
	if v.state != nil {
		held = append(held, descriptor{systemd.StateName, v.state.FD()})
	}
	if d.journal != nil {
		held = append(held, descriptor{systemd.JournalName, d.journal.FD()})
	}
	if d.origins.file != nil {
		file, err := duplicateFile(d.origins.file, d.origins.file.Name())
		if err != nil {
			return err
		}
		b.Files = append(b.Files, systemd.Socket{Name: file.Name(), File: file})
	}
	for _, h := range held {
		fd, err := unix.FcntlInt(uintptr(h.fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return os.NewSyscallError("fcntl", err)
		}
		b.Files = append(b.Files, systemd.Socket{Name: h.name, File: os.NewFile(uintptr(fd), h.name)})
	}
	return nil
}

// leaveAll leaves the clients to the next program, which knows nothing of our children: they have ended by then.
func (d *daemon) leaveAll() {
	for _, ln := range d.lns {
		ln.inherited = true // who waits in its backlog waits for the next program
	}
	d.end(true)
	d.srv.dismissing.Wait()
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
