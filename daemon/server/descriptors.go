package server

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/admission"
	"tcpmux/daemon/pump"
	"tcpmux/daemon/sockaddr"
)

const (
	// sparedDescriptors are kept for what is not a client: a file that is rotated, a process
	// that is started.
	sparedDescriptors = 16
	// shedAfter is how long there may be no descriptor for new clients before those that wait
	// are refused.
	shedAfter = time.Second
	// shedMost is how many are refused before the next try.
	shedMost = 1000
)

// descriptorsOf returns how many descriptors a client takes.
func descriptorsOf(listeners []config.Listener) int {
	most := 1
	for _, l := range listeners {
		switch {
		case len(l.Exec) > 0 && l.Record:
			most = max(most, 4) // as below, and what the program is told by
		case len(l.Exec) > 0:
			most = max(most, 3) // the connection, the program, and its standard error
		case l.Proxies():
			most = max(most, 2) // the connection, and that with the upstream
		case l.Model == "process":
			most = max(most, 3) // the connection, the process, and the channel to it
		}
	}
	return most
}

// affordable returns how many clients may be served at once: limits.clients, or as many as there
// are descriptors for. It logs that they are fewer.
func (s *Server) affordable(cfg config.Config) int {
	want, each, limit := cfg.Limits.Clients, descriptorsOf(cfg.Listeners), descriptorLimit()
	if s.ownFDs == 0 {
		s.ownFDs = openDescriptors()
	}
	if s.ownFDs == 0 || limit == 0 {
		// unknown: clients that come when none is left wait, and are then refused.
		return want
	}
	ours := s.ownFDs + sparedDescriptors
	if slices.ContainsFunc(cfg.Listeners, func(l config.Listener) bool { return l.Proxies() }) {
		ours += pump.Descriptors
	}
	most := max((limit-ours)/each, 1)
	if most < want {
		s.env.Log.Warn("there are too few descriptors for limits.clients: the surplus waits", "clients", want,
			"served", most, "descriptors", limit, "needed", fmt.Sprintf("LimitNOFILE=%d", want*each+ours))
	}
	return min(want, most)
}

// descriptorLimit returns how many descriptors the process may have (getrlimit(2), RLIMIT_NOFILE);
// 0 if that is not known.
func descriptorLimit() int {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return int(min(limit.Cur, 1<<30))
}

// openDescriptors returns how many descriptors the process has; 0 if that is not known.
func openDescriptors() int {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(open)
}

// spare is a descriptor that is given up when none is left, so that clients that wait can at least
// be refused. The zero value has none. It is safe for concurrent use.
type spare struct {
	mu   sync.Mutex
	file *os.File
}

// keep opens the descriptor, unless it is open or cannot be.
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

// exhausted reports whether accept fails for want of a descriptor.
func exhausted(err error) bool { return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) }

// shed refuses the clients that wait, after a while without a descriptor for them: so they learn
// that they are not served.
func (a *acceptor) shed() {
	a.server.spare.lend(func() {
		// It fails when closed, and so does the next accept.
		_ = a.raw.Control(a.refuseWaiting)
	})
}

// refuseWaiting refuses the clients that wait, at most shedMost.
func (a *acceptor) refuseWaiting(lfd uintptr) {
	for range shedMost {
		fd, sa, err := a.server.accept(int(lfd))
		if err != nil {
			return
		}
		peer, _ := sockaddr.Accepted(fd, sa) // for the log
		a.server.refuse(a.binding, fd, admission.Exhausted, peer)
	}
}
