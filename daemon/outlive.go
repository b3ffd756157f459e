package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/record"
	"tcpmux/daemon/ring"
	"tcpmux/daemon/state"
	"tcpmux/daemon/systemd"
)

// storeTimeout is how long the service manager may take to say whether it stores descriptors.
const storeTimeout = 10 * time.Second

// outlive goes on with the clients of the process before, and has ours outlive us where somebody keeps what they need. What can
// fail costs this and nothing else. The function that it returns is called at the end.
func (d *daemon) outlive(stored []systemd.Socket) (end func()) {
	defer closeSockets(stored) // what is used is a duplicate
	v, err := d.survival(stored)
	if err != nil {
		d.log.Warn("clients do not outlive the daemon", "err", err)
	}
	if v == nil {
		return func() {}
	}
	v.origins = d.origins
	d.srv.survival = v
	if err := d.keepJournal(v, pick(stored, systemd.JournalName)); err != nil {
		d.log.Warn("after a crash messages may be recorded twice", "err", err)
	}
	numbers := d.putOrigins(d.cfg)
	for _, ln := range d.lns {
		ln.configure(ln.settings.Load().Listener, numbers[ln.name])
	}
	began, before := time.Now(), d.srv.Clients()
	if err := v.ring.Adopt(d.srv.adopt(d.lns)); err != nil {
		d.log.Error("clients of the process before are lost", "err", err)
	}
	if v.state != nil {
		v.state.Forget()
	}
	if n := d.srv.Clients() - before; n > 0 {
		d.log.Info("goes on with the clients of the process before", "clients", n, "duration", time.Since(began).Round(time.Millisecond))
	}
	ctx, stop := context.WithCancel(context.Background())
	if v.stored || v.ring.Living() > 0 {
		go v.tend(ctx, d.cfg.SurviveAfter, d.ringTrouble())
	}
	if v.keep && v.stored && !d.kept.Load() {
		go d.tryStore()
	}
	return func() {
		stop()
		v.close()
	}
}

// survival opens what the process before has left, or makes it new; nil when there is nothing and nothing is wanted.
func (d *daemon) survival(stored []systemd.Socket) (*survival, error) {
	ends, files := pick(stored, systemd.RingName), pick(stored, systemd.StateName)
	v := &survival{keep: d.cfg.Survive}
	var err error
	switch {
	case len(ends) == 2:
		v.ring, err = openRing(ends, d.cfg.SurviveAfter)
		v.stored = systemd.Notified()
		d.kept.Store(err == nil && v.stored && !stored[0].Ours)
	case v.keep && systemd.Notified():
		v.ring, err = d.newRing()
		v.stored = true
	case d.cfg.Survive:
		d.log.Info("clients outlive an upgrade by SIGUSR2, and no end of the process", "reason", "there is no service manager to keep them")
		return d.private()
	default:
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	v.tellCapacity(d.log.Logger, d.srv.slots.most(), d.cfg.Limits.Clients)
	if v.state, err = d.openState(files); err != nil {
		d.log.Warn("the next process will know less of clients", "err", err)
	}
	return v, nil
}

// tellCapacity warns when of the clients that are served at once, which are wanted or fewer, not all can outlive us. Of those
// beyond, who wait, another warning tells.
func (v *survival) tellCapacity(log *slog.Logger, served, wanted int) {
	if n, bound := v.ring.Capacity(); v.keep && v.stored && n < served {
		log.Warn("not as many clients can outlive the daemon as there may be", "clients", wanted, "outlive", n,
			"bound", bound, "descriptors", descriptorLimit(), "needed", fmt.Sprintf("LimitNOFILE=%d", config.SurvivalFiles(wanted)))
	}
}

// putOrigins keeps cfg for the next process, and returns the numbers by which it knows sessions that begin with its listeners; nil when
// clients do not outlive us.
func (d *daemon) putOrigins(cfg config.Config) map[string]uint32 {
	v := d.srv.survival
	if v == nil || !v.keep || v.state == nil {
		return nil
	}
	numbers, err := d.origins.put(cfg, v.state.Origins())
	if err != nil {
		d.log.Warn("the next process may serve clients with other settings than they began with", "err", err)
	}
	return numbers
}

// pick are the stored descriptors of that name.
func pick(stored []systemd.Socket, name string) (files []*os.File) {
	for _, s := range stored {
		if s.Name == name {
			files = append(files, s.File)
		}
	}
	return files
}

// duplicate is a descriptor of our own of a file.
func duplicate(f *os.File) (dup int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	cerr := raw.Control(func(fd uintptr) { dup, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	return dup, errors.Join(cerr, os.NewSyscallError("fcntl", err))
}

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

// newRing makes a ring and has it stored.
func (d *daemon) newRing() (*ring.Ring, error) {
	r, err := ring.New(d.cfg.SurviveAfter)
	if err != nil {
		return nil, err
	}
	a, b := r.Ends()
	if err := systemd.Store(systemd.RingName, a, b); err != nil {
		r.Close()
		return nil, fmt.Errorf("store descriptors: %w", err)
	}
	return r, nil
}

// openState opens the file that the process before has left, or makes one and has it stored.
func (d *daemon) openState(files []*os.File) (*state.File, error) {
	if len(files) == 1 {
		fd, err := duplicate(files[0])
		if err != nil {
			return nil, err
		}
		f, err := state.Open(fd)
		if err == nil {
			return f, nil
		}
		d.log.Warn("of the clients of the process before only the kernel tells", "err", err)
	}
	if len(files) > 0 {
		if err := systemd.Unstore(systemd.StateName); err != nil {
			return nil, fmt.Errorf("store descriptors: %w", err)
		}
	}
	f, err := state.New(2*d.cfg.Limits.Clients + 1000)
	if err != nil {
		return nil, err
	}
	if err := systemd.Store(systemd.StateName, f.FD()); err != nil {
		return nil, errors.Join(fmt.Errorf("store descriptors: %w", err), f.Close())
	}
	return f, nil
}

// keepJournal has the sink write what the process before has taken and not written, and keeps what ours takes where the next process
// finds it. Of each connection the state then tells how far it is recorded.
func (d *daemon) keepJournal(v *survival, files []*os.File) error {
	if v.state == nil {
		return nil // nothing would tell which messages those are
	}
	format, err := record.ParseFormat(d.cfg.Record.Format)
	if err != nil {
		return err
	}
	j, err := d.openJournal(v.stored, files)
	if err != nil {
		v.state.Settle(0)
		return err
	}
	d.journal = j
	v.state.Settle(j.Settle(d.file.Path(), format))
	d.sink.Keep(j)
	return nil
}

// openJournal opens the journal that the process before has left, or makes one and has it stored if so is the ring.
func (d *daemon) openJournal(stored bool, files []*os.File) (*record.Journal, error) {
	if len(files) == 1 {
		fd, err := duplicate(files[0])
		if err != nil {
			return nil, err
		}
		j, err := record.OpenJournal(fd)
		if err == nil {
			return j, nil
		}
		d.log.Warn("messages may be recorded twice", "err", err)
	}
	if len(files) > 0 && stored {
		if err := systemd.Unstore(systemd.JournalName); err != nil {
			return nil, fmt.Errorf("store descriptors: %w", err)
		}
	}
	j, err := record.NewJournal()
	if err != nil || !stored {
		return j, err
	}
	if err := systemd.Store(systemd.JournalName, j.FD()); err != nil {
		return nil, errors.Join(fmt.Errorf("store descriptors: %w", err), j.Close())
	}
	return j, nil
}

// ringTrouble tells when connections find no room in the ring, and when they do again.
func (d *daemon) ringTrouble() func(error) {
	failing := false
	return func(err error) {
		switch {
		case err != nil && !failing:
			d.log.Warn("clients are there that would end with the daemon", "err", err)
		case err == nil && failing:
			d.log.Info("all clients outlive the daemon again")
		}
		failing = err != nil
	}
}

// tryStore finds out whether the service manager stores what it is given.
func (d *daemon) tryStore() {
	if err := systemd.StoreWorks(storeTimeout); err != nil {
		d.log.Warn("clients do not outlive the daemon", "err", err)
		return
	}
	d.kept.Store(true)
}

// survives says whether clients outlive us.
func (d *daemon) survives() bool {
	v := d.srv.survival
	return v != nil && v.keep && d.kept.Load()
}
