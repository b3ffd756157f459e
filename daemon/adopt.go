package daemon

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/record"
	"tcpmux/daemon/ring"
)

// How many processes in a row may end while they are busy with the same bytes of a client: by a panic over them, or in any way. Kills
// from outside are no fault of the client's, and find a session busy that has a long message.
const (
	maxPanics  = 3
	maxCrashes = 12
)

// adopt goes on with a connection of the process before; nil when there is nothing to go on with. It is ring.Adopt's take.
func (s *Server) adopt(lns []*listener) func(fd int, cookie uint64) *ring.Entry {
	return func(fd int, cookie uint64) *ring.Entry {
		c, err := s.resume(lns, fd, cookie)
		if err != nil {
			s.log.Error("connection cannot be served on", "err", err)
		}
		if c == nil {
			return nil
		}
		s.start(c)
		return &c.entry
	}
}

// resume makes a session of a connection of the process before. The descriptor is the session's from now on; it is closed when
// there is none.
func (s *Server) resume(lns []*listener, fd int, cookie uint64) (*session, error) {
	slot := s.survival.state.Find(cookie)
	known, err := s.knowledge(fd)
	if err != nil || slot.Closed() || slot == nil && known.over {
		_ = unix.Shutdown(fd, unix.SHUT_RDWR) // its end was recorded, or it is no connection
		slot.Free()
		return nil, errors.Join(err, unix.Close(fd))
	}
	ln, settings, events := s.origin(slot, lns, known)
	name := bootID() + "-" + strconv.FormatUint(cookie, 16)
	c := beginSession(s, ln, record.Source{Listener: ln.name, Session: name, Remote: known.remote.String()})
	c.slot, c.peer, c.settings, c.events = slot, known.remote, settings, events
	client, size := slot.Client()
	if size > 0 && known.consumed >= int64(size) { // the proxy's header, which is none of the client's bytes
		known.consumed -= int64(size)
		if client.IsValid() {
			c.source.Remote, c.source.Proxy, known.remote = client.String(), c.source.Remote, client
		}
	} else if c.settings.proxied() && known.consumed == 0 {
		if c.model, err = newHerald(c, fd); err != nil {
			return nil, err
		}
		s.seat(c)
		return c, nil
	}
	known.skip(fd, slot.Tally().Offset)
	c.restore(known)
	if times, panics := slot.Crashed(); times >= maxCrashes || panics >= maxPanics {
		c.suspect()
	}
	if err := c.setModel(fd); err != nil {
		return nil, err
	}
	s.readmit(c, known.remote.Addr())
	return c, nil
}

// restore has a session begin where that of the process before was.
func (c *session) restore(k known) {
	tally, written := c.slot.Tally(), c.slot.Written()
	c.offset, c.records = k.consumed, tally.Records
	if k.reset && tally.Offset == k.consumed-1 {
		c.offset = tally.Offset // what was counted last is the end of the stream, not a byte
	}
	if at := c.slot.Opened(); !at.IsZero() { // from here on by the monotonic clock, as all that is timed
		c.opened = time.Now().Add(-max(time.Since(at), 0))
	}
	c.past = &past{
		resumed: true,
		greeted: k.greeted,
		opened:  !c.slot.Opened().IsZero() || c.slot == nil,
		heard:   k.heard,
		unread:  k.unread,
		written: written.Offset,
		cut:     written.Offset,
		counted: tally.Offset,
		framing: tally.Framing,
	}
	if written.Offset > tally.Offset {
		c.records, c.past.counted = written.Records, written.Offset
	}
	if moved, base := c.slot.Shelf(c.offset); moved != nil {
		c.offset, c.past.moved = base, moved
	}
	if tally.Framing != 0 { // else no message is under way, whatever an older version has left there
		c.past.pieces = tally.Pieces
	}
}

// suspect has a session that process after process has died over be closed, as having come to what is recorded.
func (c *session) suspect() {
	c.past.suspect = true
	c.offset = max(c.offset, c.past.written)
}

// known is what the kernel knows of a connection.
type known struct {
	local, remote netip.AddrPort
	consumed      int64     // bytes of the stream that were taken from the socket
	greeted       bool      // something was sent
	heard         time.Time // when something last arrived
	unread        int       // bytes that had arrived by then and were not taken from the socket
	over          bool      // both directions have ended, and there is nothing to read
	reset         bool      // it was broken off
}

// skip takes from the socket what of the stream before an offset is in it still: the process before has recorded so far, and died
// before it could take it.
func (k *known) skip(fd int, offset int64) {
	n := offset - k.consumed
	if n <= 0 || n > int64(k.unread) { // the latter only where the state is damaged
		return
	}
	if discard(uintptr(fd), int(n)) == nil {
		k.consumed, k.unread = offset, k.unread-int(n)
	}
}

// States of a connection (include/net/tcp_states.h).
const (
	tcpEstablished = 1
	tcpTimeWait    = 6
	tcpClose       = 7
	tcpCloseWait   = 8
	tcpLastAck     = 9
	tcpClosing     = 11
)

// knowledge asks the kernel about a connection (tcp(7), TCP_INFO). Bytes may arrive meanwhile: it asks until nothing has.
func knowledge(fd int) (k known, err error) {
	var info, again *unix.TCPInfo
	for {
		if info, err = unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO); err != nil {
			return k, os.NewSyscallError("getsockopt", err)
		}
		k.unread = unread(uintptr(fd))
		if again, err = unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO); err != nil {
			return k, os.NewSyscallError("getsockopt", err)
		}
		if info.Bytes_received == again.Bytes_received && info.State == again.State {
			break
		}
	}
	k.consumed = int64(info.Bytes_received) - int64(k.unread)
	switch info.State {
	case tcpTimeWait, tcpCloseWait, tcpLastAck, tcpClosing:
		k.consumed-- // the end of the stream counts as a byte
	}
	k.reset = info.State == tcpClose
	k.over = info.State != tcpEstablished && info.State != tcpCloseWait && k.unread == 0
	unsent, _ := unix.IoctlGetInt(fd, unix.SIOCOUTQ) // on an error none
	k.greeted = info.Bytes_acked > 0 || unsent > 0
	k.heard = time.Now().Add(-time.Duration(info.Last_data_recv) * time.Millisecond)
	if k.remote, err = peerName(fd); err != nil {
		return k, err
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		return k, os.NewSyscallError("getsockname", err)
	}
	k.local = addrPort(name)
	// A thread would wait for as many bytes as the process before did.
	return k, os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVLOWAT, 1))
}

// peerName is the peer's address, also once the connection is broken off, when getpeername(2) has forgotten it.
func peerName(fd int) (netip.AddrPort, error) {
	var in4 unix.RawSockaddrInet4
	if err := getPeerName(fd, unsafe.Pointer(&in4), unix.SizeofSockaddrInet4); err != nil {
		return netip.AddrPort{}, err
	}
	if in4.Family == unix.AF_INET {
		return addrPort(&syscall.SockaddrInet4{Port: networkOrder(in4.Port), Addr: in4.Addr}), nil
	}
	var in6 unix.RawSockaddrInet6
	if err := getPeerName(fd, unsafe.Pointer(&in6), unix.SizeofSockaddrInet6); err != nil {
		return netip.AddrPort{}, err
	}
	return addrPort(&syscall.SockaddrInet6{Port: networkOrder(in6.Port), Addr: in6.Addr, ZoneId: in6.Scope_id}), nil
}

// getPeerName reads as much of the peer's address, which must not be shorter.
func getPeerName(fd int, to unsafe.Pointer, size uint32) error {
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERNAME, uintptr(to), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return fmt.Errorf("peer's address: %w", os.NewSyscallError("getsockopt", errno))
	}
	return nil
}

// networkOrder is a port as it lies in an address.
func networkOrder(port uint16) int {
	b := (*[2]byte)(unsafe.Pointer(&port))
	return int(b[0])<<8 | int(b[1])
}

// listenerOf is the listener that a connection came through: that of its address, else that of its port, else, as it is there no
// longer, the first.
func listenerOf(lns []*listener, local netip.AddrPort) *listener {
	best, score := lns[0], 0
	for _, ln := range lns {
		now := 0
		switch {
		case ln.addr.Port() != local.Port():
		case ln.addr.Addr() == local.Addr():
			now = 3
		case ln.addr.Addr().IsUnspecified() && ln.addr.Addr().Is4() == local.Addr().Is4():
			now = 2
		default:
			now = 1
		}
		if now > score {
			best, score = ln, now
		}
	}
	return best
}
