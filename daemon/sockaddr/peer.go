package sockaddr

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Peer is who has connected: a client's address, or, of a unix socket, the process at the other
// end. The zero value is nobody. It is comparable.
type Peer struct {
	// Addr is the client's address. A client of a unix socket has none.
	Addr netip.AddrPort
	// Unix reports whether it came through a unix socket.
	Unix bool
	// UID, GID and PID are those of the process when it connected (unix(7), SO_PEERCRED). PID
	// is 0 if the process is in a PID namespace that we do not see.
	UID, GID uint32
	PID      int32
	// Socket is the number of our end, as ss(8) and /proc/net/unix show it (its inode). It
	// tells the connections of a process apart, as a port does.
	Socket uint64
}

// TCP returns the peer with an address; nobody if addr is the zero value.
func TCP(addr netip.AddrPort) Peer { return Peer{Addr: addr} }

// Accepted returns the peer of the connection fd, of which accept(2) has returned sa.
func Accepted(fd int, sa syscall.Sockaddr) (Peer, error) {
	if _, local := sa.(*syscall.SockaddrUnix); local {
		return UnixPeer(fd)
	}
	return TCP(From(sa)), nil
}

// UnixPeer returns the peer of the connection fd of a unix socket, also when it has gone.
func UnixPeer(fd int) (Peer, error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return Peer{}, fmt.Errorf("read who has connected: %w", os.NewSyscallError("getsockopt", err))
	}
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return Peer{}, fmt.Errorf("read the socket's number: %w", os.NewSyscallError("fstat", err))
	}
	return Peer{Unix: true, UID: cred.Uid, GID: cred.Gid, PID: cred.Pid, Socket: stat.Ino}, nil
}

// IsValid reports whether p is anybody.
func (p Peer) IsValid() bool { return p.Unix || p.Addr.IsValid() }

// String returns the peer as it stands in records: "192.0.2.1:5", or
// "uid=1000,gid=1000,pid=4711,socket=81234". It is printable ASCII without spaces.
func (p Peer) String() string {
	if !p.Unix {
		return p.Addr.String()
	}
	return fmt.Sprintf("uid=%d,gid=%d,pid=%d,socket=%d", p.UID, p.GID, p.PID, p.Socket)
}

// ParsePeer returns the peer that String has returned s for; ok is false if there is none.
func ParsePeer(s string) (p Peer, ok bool) {
	if !strings.HasPrefix(s, uidPrefix) {
		addr, err := netip.ParseAddrPort(s)
		return TCP(addr), err == nil
	}
	fields := strings.Split(s, ",")
	if len(fields) != 4 {
		return Peer{}, false
	}
	var numbers [4]uint64
	for i, name := range [4]string{uidPrefix, "gid=", "pid=", "socket="} {
		digits, found := strings.CutPrefix(fields[i], name)
		n, err := strconv.ParseUint(digits, 10, [4]int{32, 32, 31, 64}[i])
		if !found || err != nil {
			return Peer{}, false
		}
		numbers[i] = n
	}
	p = Peer{Unix: true, UID: uint32(numbers[0]), GID: uint32(numbers[1]), PID: int32(numbers[2]), Socket: numbers[3]}
	return p, p.String() == s
}

// uids are the addresses that stand for users: nobody has one of them (RFC 6666).
var uids = netip.MustParsePrefix("100::/64")

// Source returns the address by which the peer is counted: its own, without the port, or one in
// 100::/64 (RFC 6666), which no client has, for all clients of a unix socket with its UID.
func (p *Peer) Source() netip.Addr {
	if !p.Unix {
		return p.Addr.Addr()
	}
	return standsFor(p.UID)
}

// standsFor returns the address that stands for a user.
func standsFor(uid uint32) netip.Addr {
	at := uids.Addr().As16()
	binary.BigEndian.PutUint32(at[12:], uid)
	return netip.AddrFrom16(at)
}

// Compare orders peers: addresses first, and then by UID, PID and socket.
func (p Peer) Compare(q Peer) int {
	if d := p.Addr.Compare(q.Addr); d != 0 || !p.Unix || !q.Unix {
		return d
	}
	return cmp.Or(cmp.Compare(p.UID, q.UID), cmp.Compare(p.PID, q.PID), cmp.Compare(p.Socket, q.Socket))
}
