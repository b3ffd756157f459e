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
	"tcpmux/daemon/tlsconn"
)

// kernelState is what the kernel knows of a connection.
type kernelState struct {
	local, remote netip.AddrPort
	consumed      int64     // bytes of the stream that were taken from the socket
	greeted       bool      // something was sent
	heard         time.Time // when something last arrived
	unread        int       // bytes that had arrived by then and were not taken from the socket
	over          bool      // both directions have ended, and nothing is left to read
	reset         bool      // it was broken off
	tls           tlsconn.State
}

// skip takes from the socket what it still holds of the stream before an offset: the process
// before has recorded so far, and died before it could take it.
func (k *kernelState) skip(fd int, offset int64) {
	n := offset - k.consumed
	if n <= 0 || n > int64(k.unread) { // the latter only where the state is damaged
		return
	}
	if conn.Discard(uintptr(fd), int(n)) == nil {
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

// readKernelState asks the kernel about a connection (tcp(7), TCP_INFO), and has the socket
// readable by its first byte again.
func readKernelState(fd int) (k kernelState, err error) {
	if err = k.readTCPInfo(fd); err != nil {
		return k, err
	}
	unsent, _ := unix.IoctlGetInt(fd, unix.SIOCOUTQ) // 0 on an error
	k.greeted = k.greeted || unsent > 0
	k.readTLS(fd)
	if k.remote, err = peerName(fd); err != nil {
		return k, err
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		return k, os.NewSyscallError("getsockname", err)
	}
	k.local = sockaddr.From(name)
	// A session waits for as many bytes as the previous process did.
	return k, os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVLOWAT, 1))
}

// readTCPInfo reads how far the stream has come. Bytes may arrive meanwhile: it asks until none
// have.
func (k *kernelState) readTCPInfo(fd int) error {
	var info, again *unix.TCPInfo
	var err error
	for {
		if info, err = unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO); err != nil {
			return os.NewSyscallError("getsockopt", err)
		}
		k.unread = conn.Unread(uintptr(fd))
		if again, err = unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO); err != nil {
			return os.NewSyscallError("getsockopt", err)
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
