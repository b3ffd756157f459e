package daemon

import (
	"context"
	"fmt"
	"io"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/handover"
	"tcpmux/daemon/systemd"
)

// prepareTakeover prepares for a program to take this one's place, or returns nil if it cannot, and
// logs why; then nothing has changed. The service manager takes it for a reload: it would end a
// service that says STOPPING=1.
func (d *daemon) prepareTakeover(p handover.Program) *handover.Takeover {
	if handover.OnTrial() { // a signal to all processes of the name: it is for the daemon alone
		d.log.Warn("not upgraded", "err", "this process is not the daemon: it is a trial of an upgrade that is under way")
		return nil
	}
	d.log.Info("upgrading")
	d.manager.notify("RELOADING=1", systemd.MonotonicUsec())
	t, err := d.handover.Takeover(p, d.cfg, d.ports.bindings())
	if err != nil {
		d.log.Error("not upgraded", "err", err)
		d.manager.notify("READY=1", d.status())
		return nil
	}
	// Without them the program serves clients all the same.
	if err := t.Add(d.controls.leave()); err != nil {
		d.log.Warn("control sockets are not handed over", "err", err)
	}
	return t
}

// resumeInterval is the pause between two attempts of resume.
const resumeInterval = time.Second

// resume returns a daemon that goes on with the clients of a takeover which has failed for the
// reason why. cfg was in force before. What keeps the daemon from going on may pass, such as a full
// disk, and clients can wait for nobody else: resume tries until ctx is done.
func resume(ctx context.Context, t *handover.Takeover, cfg config.Config, why error, stderr io.Writer) (*daemon, error) {
	reported := ""
	for {
		d, err := restart(t, cfg, stderr)
		if err == nil {
			t.Close()
			d.log.Error("not upgraded", "err", why)
			return d, nil
		}
		if ctx.Err() != nil {
			return nil, err
		}
		if err.Error() != reported {
			reported = err.Error()
			fmt.Fprintf(stderr, "tcpmux: not upgraded: %v\ntcpmux: clients wait: %v\n", why, err)
		}
		select {
		case <-time.After(resumeInterval):
		case <-ctx.Done():
		}
	}
}

// restart starts a daemon with the sockets and the clients of a takeover.
func restart(t *handover.Takeover, cfg config.Config, stderr io.Writer) (*daemon, error) {
	sockets, stored, err := t.Sockets()
	if err != nil {
		return nil, err
	}
	load := func() (config.Config, error) { return cfg, nil }
	return start(inheritance{sockets: sockets, stored: stored}, load, stderr)
}
