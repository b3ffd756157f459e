package upstream

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/sockaddr"
)

// errLoop reports that the upstream is the daemon itself.
var errLoop = errors.New("it leads back to this listener")

// ways are the connections that lead from one listener of the daemon to another, each with the
// listeners that its client has come through. Without them proxies that lead to each other by names
// would go on until no place is left, and nobody would give one back. What an earlier process has
// connected is not among them. Safe for concurrent use.
type ways struct {
	all sync.Map // of hop: []string
	// connecting is held by who connects until the connection is noted, and by who looks for
	// it: its client may be served at once.
	connecting sync.RWMutex
}

// hop is a connection, by its two ends.
type hop struct{ from, to netip.AddrPort }

var own ways

// stays reports whether the connection does not leave this machine.
func (h hop) stays() bool {
	return h.from.Addr() == h.to.Addr() && h.to.IsValid() || h.from.Addr().IsLoopback()
}

// of returns the listeners that a client has come through.
func (w *ways) of(h hop) []string {
	if !h.stays() {
		return nil
	}
	w.connecting.Lock()
	defer w.connecting.Unlock()
	way, _ := w.all.Load(h)
	names, _ := way.([]string)
	return names
}

// connect connects a socket, and notes the connection.
func (w *ways) connect(fd int, to unix.Sockaddr, a *attempt) error {
	if a.path != "" {
		return unix.Connect(fd, to)
	}
	w.connecting.RLock()
	defer w.connecting.RUnlock()
	err := unix.Connect(fd, to)
	if sa, nerr := syscall.Getsockname(fd); nerr == nil {
		if a.hop = (hop{sockaddr.From(sa), a.addr}); a.hop.stays() {
			w.all.Store(a.hop, a.way)
		}
	}
	return err
}

// forget undoes what connect has noted.
func (w *ways) forget(h hop) { w.all.Delete(h) }

// Close closes the connection.
func (c Conn) Close() {
	own.forget(c.hop) // before another can have the port
	c.Conn.Close()
}

// way returns the listeners that a client has come through, with the one that it is at. An error
// means that it was there before.
func (e *Ends) way() ([]string, error) {
	way := own.of(hop{e.Peer, e.Server})
	if slices.Contains(way, e.Listener) {
		return nil, fmt.Errorf("%w, by way of %s", errLoop, strings.Join(way, ", "))
	}
	return append(slices.Clip(way), e.Listener), nil
}

// meant returns the address that a connection to ip goes to: one that is unspecified means this
// machine.
func meant(ip netip.Addr) netip.Addr {
	switch ip = ip.Unmap(); {
	case !ip.IsUnspecified():
		return ip
	case ip.Is4():
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.IPv6Loopback()
}
