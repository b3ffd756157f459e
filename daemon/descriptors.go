package daemon

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/admission"
)

const (
	// sparedDescriptors are kept for what is no client: a file that is rotated, a process that is started.
	sparedDescriptors = 16
	// shedAfter is how long there may be no descriptor for new clients before those who wait are refused.
	shedAfter = time.Second
	// shedMost is how many are refused before the next try.
	shedMost = 1000
)

// descriptorsOf is how many descriptors a client takes.
func descriptorsOf(listeners []config.Listener) int {
	most := 1
	for _, l := range listeners {
		switch {
		case len(l.Exec) > 0 && l.Record:
			most = max(most, 4) // as below, and what the program is told by
		case len(l.Exec) > 0:
			most = max(most, 3) // the connection, the program, and its standard error
		case l.Model == "process":
			most = max(most, 3) // the connection, the process, and the channel to it
		}
	}
	return most
}

// affordable is how many clients may be served at once: limits.clients, or as many as there are descriptors for. That they are
// fewer is told.
func (s *Server) affordable(cfg config.Config) int {
	want, each := cfg.Limits.Clients, descriptorsOf(cfg.Listeners)
	var limit unix.Rlimit
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil || unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return want // nobody knows: who comes when there is none left waits, and is then refused
	}
	ours := max(len(open)-s.Clients(), 0) + sparedDescriptors
	most := max((int(min(limit.Cur, 1<<30))-ours)/each, 1)
	if most < want {
		s.log.Warn("there are too few descriptors for limits.clients: the surplus waits",
			"clients", want, "served", most, "descriptors", limit.Cur, "needed", fmt.Sprintf("LimitNOFILE=%d", want*each+ours))
	}
	return min(want, most)
}

// spare is a descriptor that is given up when there is none left, so that those who wait can at least be refused. The zero value
// has none.
type spare struct {
	mu   sync.Mutex
	file *os.File
}

// keep makes sure that there is one, if there can be.
func (s *spare) keep() {
	if s.file == nil {
		s.file, _ = os.Open(os.DevNull) // the next time, then
	}
}

// exhausted says whether accept fails for want of a descriptor.
func exhausted(err error) bool { return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) }

// shed refuses those who wait, when there has been no descriptor for them for a while: they learn at least that they are not served.
func (a *acceptor) shed() {
	s := &a.server.spare
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file != nil {
		_ = s.file.Close() // nothing was written
		s.file = nil
	}
	defer s.keep()
	_ = a.raw.Control(func(lfd uintptr) { // it fails when closed, and so does the next accept
		for range shedMost {
			fd, peer, err := a.accept(int(lfd))
			if err != nil {
				return
			}
			a.server.refusals.add(admission.Exhausted, addrPort(peer))
			refuse(fd, a.ln.settings.Load().Limits.Refusal.Raw)
		}
	})
}
