package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/systemd"
)

// A fault that concerns one listener keeps no other from being served, and none of the clients of the process before. It is logged,
// shown in the status line, and tried again until the listener can be served. New clients wait in its backlog meanwhile: what is
// wrong is for the administrator to mend, and no reason to turn anybody away.

// Pauses between two tries of a listener that cannot be served.
const (
	minRetry = time.Second
	maxRetry = 16 * time.Second
)

// unserved is why a listener is not served, and when it is tried again. It belongs to the goroutine of Run.
type unserved struct {
	err   error
	pause time.Duration
	next  time.Time
}

// errNotPassed reports that systemd has passed in sockets, and none for the listener.
var errNotPassed = errors.New("systemd passed in no socket for it: another program may have the address (ss -ltnp), " +
	"or the configuration was edited since: " + remakeSockets + "; " +
	"a socket unit of your own needs FileDescriptorName= with the listener's name")

// Under systemd it is not for us to open a port. We leave a file when one is missing, by which tcpmux-ports.service is started, and
// that leaves another, in which is why it cannot be opened.
const (
	missingFile = "missing"                  // below $RUNTIME_DIRECTORY
	portFaults  = "/run/tcpmux-ports/faults" // lines of "ADDRESS: CAUSE"
)

// notPassed is why systemd has passed in no socket for an address, as far as it is known.
func notPassed(address string) error {
	text, err := os.ReadFile(portFaults)
	if err != nil {
		return errNotPassed
	}
	for line := range strings.Lines(string(text)) {
		if cause, found := strings.CutPrefix(line, address+": "); found {
			return errors.New(strings.TrimSpace(cause))
		}
	}
	return errNotPassed
}

// tellMissing has tcpmux-ports.service started if systemd has passed in no socket for a listener.
func (d *daemon) tellMissing() {
	dir := os.Getenv("RUNTIME_DIRECTORY")
	if dir == "" || !slices.ContainsFunc(d.lns, func(ln *listener) bool { return ln.file == nil }) {
		return
	}
	if err := os.WriteFile(filepath.Join(dir, missingFile), nil, 0o644); err != nil {
		d.log.Warn("ports that are missing are not opened by themselves", "err", err)
	}
}

// fit makes the listener ready to be served, as far as it is not: with a socket that listens, the rules that it names and a program
// that can be started.
func (d *daemon) fit(ln *listener) error {
	if ln.file == nil {
		if err := ln.bind(); err != nil {
			return err
		}
	}
	if err := cmp.Or(ln.prepare(), ln.setBacklog()); err != nil {
		return err
	}
	c := ln.settings.Load().Listener
	err := d.rules.add(c.Limits.Rules)
	if err == nil {
		err = checkProgram(c)
	}
	if err != nil {
		return misfit{err}
	}
	return nil
}

// misfit is an error of the configuration: a restart alone does not mend it.
type misfit struct{ error }

// Is makes a misfit a config.ErrInvalid.
func (m misfit) Is(target error) bool { return target == config.ErrInvalid }

// Unwrap returns the cause.
func (m misfit) Unwrap() error { return m.error }

// tryFirst finds out whether a listener can be served.
func (d *daemon) tryFirst(ln *listener) {
	err := d.fit(ln)
	if err == nil {
		d.tellListening(ln)
		return
	}
	ln.unserved = &unserved{err: err, pause: minRetry, next: time.Now().Add(minRetry)}
}

// tellAllUnserved logs what is not served at the start.
func (d *daemon) tellAllUnserved() {
	for _, ln := range d.lns {
		if ln.unserved != nil {
			d.tellUnserved(ln)
		}
	}
	for _, err := range d.left {
		d.log.Error("socket is not served", "err", err)
	}
}

func (d *daemon) tellUnserved(ln *listener) {
	d.log.Error("listener is not served", "listener", ln.name, "address", ln.addr.String(), "err", ln.unserved.err)
}

func (d *daemon) tellListening(ln *listener) {
	d.log.Info("listening", "listener", ln.name, "address", ln.addr.String(), "backlog", ln.settings.Load().Backlog, "inherited", ln.inherited)
}

// retry tries listeners that are not served again, those whose time has come.
func (d *daemon) retry(now time.Time) {
	for _, ln := range d.lns {
		u := ln.unserved
		if u == nil || now.Before(u.next) {
			continue
		}
		err := d.fit(ln)
		if err == nil {
			ln.unserved = nil
			ln.door.rules.Store(d.rules.of(ln.settings.Load().Limits.Policy))
			d.tellListening(ln)
			d.start(ln)
			continue
		}
		other := err.Error() != u.err.Error()
		u.err, u.pause = err, min(2*u.pause, maxRetry)
		u.next = time.Now().Add(u.pause)
		if other {
			d.tellUnserved(ln)
		}
	}
}

// retryNow has all that are not served be tried at once: what kept them from it may have changed.
func (d *daemon) retryNow() {
	for _, ln := range d.lns {
		if ln.unserved != nil {
			ln.unserved.pause, ln.unserved.next = minRetry, time.Time{}
		}
	}
}

// idle returns an error when there is nobody to serve and nobody can come, as no listener is served, and no client is left of the
// process before; or when it was for such clients alone that we started.
func (d *daemon) idle() error {
	if d.fault != nil && d.srv.Clients() == 0 {
		return d.fault
	}
	var errs []error
	for _, ln := range d.lns {
		if ln.unserved == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("%v: %w", ln, ln.unserved.err))
	}
	if d.srv.Clients() > 0 {
		return nil
	}
	return errors.Join(append(errs, d.left...)...)
}

// faults are what of the configuration is not in force, for the status line, each behind a semicolon; "" when all is.
func (d *daemon) faults() (line string) {
	if d.fault != nil {
		first, _, _ := strings.Cut(d.fault.Error(), "\n")
		line = "; configuration not loaded: " + first
	}
	n := 0
	for _, ln := range d.lns {
		if ln.unserved == nil {
			continue
		}
		if n++; n == 1 {
			line += fmt.Sprintf("; %v is not served: %v", ln, ln.unserved.err)
		}
	}
	if n > 1 {
		line += fmt.Sprintf(", and %d more", n-1)
	}
	if len(d.left) > 0 {
		line += fmt.Sprintf("; %v", d.left[0])
	}
	return line
}

// clientsWait reports whether the stored descriptors hold connections of the process before.
func clientsWait(stored []systemd.Socket) bool {
	for _, f := range pick(stored, systemd.RingName) {
		raw, err := f.SyscallConn()
		if err != nil {
			continue
		}
		n := 0
		_ = raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.SIOCINQ) }) // on an error there are none
		if n > 0 {
			return true
		}
	}
	return false
}
