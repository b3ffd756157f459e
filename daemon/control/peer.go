package control

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"

	"golang.org/x/sys/unix"
)

// Peer is a process at the other end of the control socket.
type Peer struct {
	UID, GID uint32
	PID      int32 // 0: in another PID namespace
}

// overflowUID is every user that has no number in the daemon's user namespace
// (user_namespaces(7)), so that nobody with this number is known to be the daemon's own.
const overflowUID = 65534

// mayChange reports whether a peer may change anything: root, or the user of the daemon.
func (p Peer) mayChange(own int) bool {
	return p.UID == 0 || p.UID != overflowUID && int64(p.UID) == int64(own)
}

// class is what the one who asks may do.
type class int

const (
	public  class = iota // on a status address
	reader               // on the control socket
	changer              // root and the daemon's own user
	classes
)

// connection is what is known of the connection of a request.
type connection struct {
	conn  *limitedConn
	class class
	peer  Peer
}

type connKey struct{}

// connectionOf returns the connection of a request.
func connectionOf(r *http.Request) *connection { return r.Context().Value(connKey{}).(*connection) }

// identify finds out who has connected to the control socket. One that is unknown may read: the
// permissions of the socket have let it in.
func (s *Server) identify(ctx context.Context, c net.Conn) context.Context {
	conn := &connection{conn: c.(*limitedConn), class: reader, peer: Peer{UID: overflowUID, GID: overflowUID}}
	p, err := s.opt.Peer(conn.conn.Conn)
	if err != nil {
		s.opt.Log.Debug("peer of the control socket is unknown", "err", err)
		return context.WithValue(ctx, connKey{}, conn)
	}
	if conn.peer = p; p.mayChange(os.Getuid()) {
		conn.class = changer
	}
	return context.WithValue(ctx, connKey{}, conn)
}

// welcome reports whether a connection is one of those who may change the daemon, and who are never
// shut out.
func (s *Server) welcome(c net.Conn) bool {
	p, err := s.opt.Peer(c)
	return err == nil && p.mayChange(os.Getuid())
}

// peerOf asks the kernel who has connected.
func peerOf(c net.Conn) (Peer, error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return Peer{}, fmt.Errorf("want a unix socket, it is %T", c)
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return Peer{}, err
	}
	var cred *unix.Ucred
	cerr := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if cerr != nil {
		return Peer{}, cerr
	}
	if err != nil {
		return Peer{}, os.NewSyscallError("getsockopt", err)
	}
	return Peer{UID: cred.Uid, GID: cred.Gid, PID: cred.Pid}, nil
}
