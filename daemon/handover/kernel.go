package handover

import (
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/conn"
	"tcpmux/daemon/sockaddr"
	"tcpmux/daemon/state"
	"tcpmux/daemon/tlsconn"
)

// kernelState is what the kernel knows of a connection.
type kernelState struct {
	local    sockaddr.Local
	remote   sockaddr.Peer
	consumed int64     // bytes of the stream that were taken from the socket
	greeted  bool      // something was sent
	heard    time.Time // when something last arrived
	unread   int       // bytes that had arrived by then and were not taken from the socket
	over     bool      // both directions have ended, and nothing is left to read
	reset    bool      // it was broken off
	tls      tlsconn.State
	// Of a unix socket the kernel tells neither consumed nor whether something was sent that
	// the client has read: that is for the entry to tell.
	unix  bool
	ahead int              // SO_PEEK_OFF (socket(7))
	entry *state.UnixEntry // nil: there is none
}

// skip takes from the socket what it still holds of the stream before an offset: the process
// before has recorded so far, and died before it could take it.
func (k *kernelState) skip(fd int, offset int64) {
	n := offset - k.consumed
	if n <= 0 || n > int64(k.unread) { // the latter only where the state is damaged
		return
	}
	if k.discard(fd, int(n)) == nil {
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

// discard takes n bytes from the socket.
func (k *kernelState) discard(fd, n int) error {
	if k.unix {
		return conn.DiscardTracked(uintptr(fd), n, k.entry)
	}
	return conn.Discard(uintptr(fd), n)
}

// readKernelState asks the kernel about a connection (tcp(7), TCP_INFO), and has the socket
// readable by its first byte again. All clients wait for each question that it asks of each of
// them, so it asks none that an answer before has made needless.
func readKernelState(fd int) (k kernelState, err error) {
	name, err := syscall.Getsockname(fd)
	if err != nil {
		return k, os.NewSyscallError("getsockname", err)
	}
	k.local = sockaddr.LocalOf(name)
	if _, k.unix = name.(*syscall.SockaddrUnix); k.unix {
		return k, k.readUnix(fd)
	}
	if err = k.readTCPInfo(fd); err != nil {
		return k, err
	}
	if !k.greeted {
		unsent, _ := unix.IoctlGetInt(fd, unix.SIOCOUTQ) // 0 on an error
		k.greeted = unsent > 0
	}
	k.readTLS(fd)
	addr, err := peerName(fd)
	if err != nil {
		return k, err
	}
	k.remote = sockaddr.TCP(addr)
	// A session waits for as many bytes as the previous process did.
	return k, os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVLOWAT, 1))
}

// readTCPInfo reads how far the stream has come. Bytes may arrive meanwhile: it asks until none
// have. Where none wait, none had before: nobody takes any.
func (k *kernelState) readTCPInfo(fd int) error {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	for err == nil {
		if k.unread = conn.Unread(uintptr(fd)); k.unread == 0 {
			break
		}
		before := info
		info, err = unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err == nil && info.Bytes_received == before.Bytes_received && info.State == before.State {
			break
		}
	}
	if err != nil {
		return os.NewSyscallError("getsockopt", err)
	}
	k.consumed = int64(info.Bytes_received) - int64(k.unread)
	switch info.State {
	case tcpTimeWait, tcpCloseWait, tcpLastAck, tcpClosing:
		k.consumed-- // the end of the stream counts as a byte
	}
	k.reset = info.State == tcpClose
	k.over = info.State != tcpEstablished && info.State != tcpCloseWait && k.unread == 0
	k.greeted = info.Bytes_acked > 0
	k.heard = time.Now().Add(-time.Duration(info.Last_data_recv) * time.Millisecond)
	return nil
}

// readTLS reads what the kernel has of the connection's TLS. If it decrypts, then the stream is
// what it decrypts, and consumed is for others to tell.
func (k *kernelState) readTLS(fd int) {
	var sent bool
	if k.tls, sent = tlsconn.StateOf(uintptr(fd)); k.tls != tlsconn.Encrypting {
		return
	}
	k.unread, k.greeted = tlsconn.Waiting(uintptr(fd)), sent
	k.over = k.over && k.unread == 0
}

// peerName returns the peer's address, also once the connection is broken off, when
// getpeername(2) has forgotten it.
func peerName(fd int) (netip.AddrPort, error) {
	var in4 unix.RawSockaddrInet4
	if err := getPeerName(fd, unsafe.Pointer(&in4), unix.SizeofSockaddrInet4); err != nil {
		return netip.AddrPort{}, err
	}
	if in4.Family == unix.AF_INET {
		return sockaddr.From(&syscall.SockaddrInet4{Port: networkOrder(in4.Port), Addr: in4.Addr}), nil
	}
	var in6 unix.RawSockaddrInet6
	if err := getPeerName(fd, unsafe.Pointer(&in6), unix.SizeofSockaddrInet6); err != nil {
		return netip.AddrPort{}, err
	}
	return sockaddr.From(&syscall.SockaddrInet6{Port: networkOrder(in6.Port), Addr: in6.Addr, ZoneId: in6.Scope_id}), nil
}

// getPeerName reads size bytes of the peer's address, which must not be shorter.
func getPeerName(fd int, to unsafe.Pointer, size uint32) error {
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERNAME,
		uintptr(to), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return fmt.Errorf("peer's address: %w", os.NewSyscallError("getsockopt", errno))
	}
	return nil
}

// networkOrder returns the number of a port as it is stored in an address.
func networkOrder(port uint16) int {
	b := (*[2]byte)(unsafe.Pointer(&port))
	return int(b[0])<<8 | int(b[1])
}
