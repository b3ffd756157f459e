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
	want, each, limit := cfg.Limits.Clients, descriptorsOf(cfg.Listeners), descriptorLimit()
	if s.ownFDs == 0 {
		s.ownFDs = openDescriptors()
	}
	if s.ownFDs == 0 || limit == 0 {
		return want // nobody knows: who comes when there is none left waits, and is then refused
	}
	ours := s.ownFDs + sparedDescriptors
	most := max((limit-ours)/each, 1)
	if most < want {
		s.log.Warn("there are too few descriptors for limits.clients: the surplus waits",
			"clients", want, "served", most, "descriptors", limit, "needed", fmt.Sprintf("LimitNOFILE=%d", want*each+ours))
	}
	return min(want, most)
}

// descriptorLimit is how many descriptors the process may have (getrlimit(2), RLIMIT_NOFILE); 0 when that is not known.
func descriptorLimit() int {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return int(min(limit.Cur, 1<<30))
}

// openDescriptors is how many descriptors the process has; 0 when that is not known.
func openDescriptors() int {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(open)
}

// spare is a descriptor that is given up when there is none left, so that those who wait can at least be refused. The zero value
// has none. Safe for concurrent use.
type spare struct {
	mu   sync.Mutex
	file *os.File
}

// keep makes sure that there is one, if there can be.
func (s *spare) keep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keepLocked()
}

func (s *spare) keepLocked() {
	if s.file == nil {
		s.file, _ = os.Open(os.DevNull) // the next time, then
	}
}

// lend calls f while the descriptor is given up.
func (s *spare) lend(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file != nil {
		_ = s.file.Close() // nothing was written
		s.file = nil
	}
	defer s.keepLocked()
	f()
}

// exhausted says whether accept fails for want of a descriptor.
func exhausted(err error) bool { return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) }

// shed refuses those who wait, when there has been no descriptor for them for a while: they learn at least that they are not served.
func (a *acceptor) shed() {
	a.server.spare.lend(func() {
		_ = a.raw.Control(a.refuseWaiting) // it fails when closed, and so does the next accept
	})
}

// refuseWaiting refuses those who wait, shedMost at most.
func (a *acceptor) refuseWaiting(lfd uintptr) {
	for range shedMost {
		fd, peer, err := a.accept(int(lfd))
		if err != nil {
			return
		}
		a.server.refusals.add(admission.Exhausted, addrPort(peer))
		refuse(fd, a.ln.settings.Load().Limits.Refusal.Raw)
	}
}
