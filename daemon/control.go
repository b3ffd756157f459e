package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/control"
	"tcpmux/daemon/listen"
	"tcpmux/daemon/systemd"
	"tcpmux/daemon/unixsocket"
)

// The control socket and the status page are for those who look after the daemon, not for clients:
// whatever is wrong with them is logged and shown in the status line, tried again, and keeps nobody
// from being served.

const (
	// controlLost is how long the TCP of a browser may give no sign of life.
	controlLost = time.Minute
	// controlBacklog is that of a socket of the status page.
	controlBacklog = 64
	// controlGrace is how long requests under way may hold up the end of the daemon.
	controlGrace = time.Second
)

// controls are the control sockets and those of the status page. They belong to the goroutine of
// Run.
type controls struct {
	all     []*controlSocket
	log     *slog.Logger
	srv     *control.Server // nil until start
	over    chan struct{}   // closed: the daemon answers no more
	left    bool            // the sockets live on in the next program
	serving sync.WaitGroup
}

// controlSocket is one of them, open or not.
type controlSocket struct {
	path     string             // of a control socket
	status   *listen.Listener   // nil: it is a control socket
	file     *os.File           // nil: it is not open
	made     *unixsocket.Socket // nil: the daemon has not made it
	unserved *unserved          // nil: it is served
}

// splitControl returns the sockets that were passed in for the control socket and the status page,
// and those of listeners.
func splitControl(sockets []systemd.Socket) (ctl, status, others []systemd.Socket) {
	for _, s := range sockets {
		switch s.Name {
		case config.ControlSocket:
			ctl = append(ctl, s)
		case config.StatusSocket:
			status = append(status, s)
		default:
			others = append(others, s)
		}
	}
	return ctl, status, others
}

// openControls opens the control sockets and those of the status page: those that were passed in,
// and what cfg has in addition.
func openControls(cfg config.Config, ctl, status []systemd.Socket, log *slog.Logger) *controls {
	cs := &controls{log: log, over: make(chan struct{})}
	for _, s := range ctl {
		cs.add(passedControl(s, cfg.Control))
	}
	has := func(c *controlSocket) bool { return c.path == cfg.Control }
	if cfg.Control != "" && !slices.ContainsFunc(cs.all, has) {
		cs.add(&controlSocket{path: cfg.Control})
	}
	if len(status) == 0 && len(cfg.Status.Address) == 0 {
		return cs
	}
	c := config.Listener{Name: config.StatusSocket, Address: cfg.Status.Address}
	lns, left := listen.Open([]config.Listener{c}, status, config.HasIPv6())
	for _, ln := range lns {
		cs.add(&controlSocket{status: ln})
	}
	for _, err := range left {
		log.Warn("status page is not served", "err", err)
	}
	listen.WarnDisagreement(c, lns, log)
	return cs
}

// passedControl returns a control socket that was passed in. made is the path of one that the
// program before this one has made.
func passedControl(s systemd.Socket, made string) *controlSocket {
	c := &controlSocket{path: unixsocket.PathOf(s.File)}
	var err error
	if c.file, err = duplicate(s.File); err != nil {
		return c // it is opened as one of its path, which says why it cannot be
	}
	if s.Ours {
		c.made, _ = unixsocket.Adopt(c.file, made)
	}
	return c
}

// duplicate returns another descriptor of a file, which stays in its mode.
func duplicate(f *os.File) (*os.File, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	dup := -1
	if cerr := raw.Control(func(fd uintptr) { dup, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) }); cerr != nil {
		return nil, cerr
	}
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(dup), f.Name()), nil
}

func (cs *controls) add(c *controlSocket) {
	c.unserved = &unserved{pause: minRetry}
	cs.all = append(cs.all, c)
}

// start serves what can be served.
func (cs *controls) start(d control.Daemon) {
	cs.srv = control.New(control.Options{Daemon: d, Log: cs.log})
	cs.retry(time.Now())
}

// retry tries the sockets that are due for another attempt.
func (cs *controls) retry(now time.Time) {
	if cs == nil || cs.srv == nil {
		return
	}
	for _, c := range cs.all {
		u := c.unserved
		if u == nil || now.Before(u.next) {
			continue
		}
		err := cs.serve(c)
		if err == nil {
			c.unserved = nil
			cs.log.Info("control requests are answered", "address", c.where())
			continue
		}
		if u.err == nil || u.err.Error() != err.Error() {
			cs.log.Warn("control requests are not answered", "address", c.where(), "err", err)
		}
		u.err, u.pause = err, min(2*u.pause, maxRetry)
		u.next = now.Add(u.pause)
	}
}

// serve opens a socket, unless it is open, and serves it.
func (cs *controls) serve(c *controlSocket) error {
	if err := c.open(); err != nil {
		return err
	}
	ln, err := net.FileListener(c.file) // has a duplicate
	if err != nil {
		return err
	}
	_, isUnix := ln.(*net.UnixListener)
	serve := cs.srv.Serve
	if c.status != nil {
		serve = cs.srv.ServeStatus
	}
	if isUnix == (c.status != nil) {
		_ = ln.Close() // nothing was written
		return fmt.Errorf("it is of another kind (%s): set ListenStream= as in the shipped unit", ln.Addr().Network())
	}
	cs.serving.Go(func() {
		if err := serve(ln); err != nil {
			cs.log.Error("control requests are not answered any more", "address", c.where(), "err", err)
		}
	})
	return nil
}

// open makes a socket listen.
func (c *controlSocket) open() (err error) {
	switch {
	case c.status != nil:
		if c.status.File == nil {
			if err := c.status.Bind(); err != nil {
				return err
			}
		}
		c.file = c.status.File
		return errors.Join(c.status.Prepare(controlLost), c.status.Listen(controlBacklog))
	case c.file == nil:
		if c.made, err = control.Listen(c.path); err == nil {
			c.file = c.made.File
		}
	}
	return err
}

// where returns the address of the socket, for the log, which quotes it.
func (c *controlSocket) where() string {
	if c.status != nil {
		return c.status.Addr.String()
	}
	return c.path
}

// String names the socket. It is safe to print.
func (c *controlSocket) String() string {
	if c.status != nil {
		return c.status.Addr.String()
	}
	return fmt.Sprintf("%q", c.path)
}

// problems returns what is not served.
func (cs *controls) problems() (list []string) {
	if cs == nil {
		return nil
	}
	for _, c := range cs.all {
		if u := c.unserved; u != nil && u.err != nil {
			what := "control socket"
			if c.status != nil {
				what = "status page"
			}
			list = append(list, fmt.Sprintf("%s %v is not served: %v", what, c, u.err))
		}
	}
	return list
}

// leave returns the sockets for the next program, with which they live on; but none whose file has
// gone, or is another's: nobody comes there any more, and the next program would take the file for
// its own.
func (cs *controls) leave() (all []systemd.Socket) {
	if cs == nil {
		return nil
	}
	cs.left = true
	for _, c := range cs.all {
		name := config.ControlSocket
		if c.status != nil {
			name = config.StatusSocket
		}
		if gone := c.made != nil && !c.made.InPlace(); c.file != nil && !gone {
			all = append(all, systemd.Socket{Name: name, File: c.file})
		}
	}
	return all
}

// close ends what is served, and removes the sockets that the daemon has made unless the next
// program has them. A nil *controls has none.
func (cs *controls) close() {
	if cs == nil {
		return
	}
	close(cs.over)
	if cs.srv != nil {
		ctx, cancel := context.WithTimeout(context.Background(), controlGrace)
		defer cancel()
		_ = cs.srv.Shutdown(ctx) // it closes what is left
		cs.serving.Wait()
	}
	for _, c := range cs.all {
		if !cs.left {
			if err := c.made.Remove(); err != nil {
				cs.log.Warn("control socket not removed", "err", err)
			}
		}
		if c.file != nil {
			_ = c.file.Close() // nothing was written
		}
	}
}
