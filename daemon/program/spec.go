// Package program serves each client of a listener by a program of the user's, as the setting exec
// has it. The program talks to its client over its standard input and output, in the environment
// of UCSPI (tcpserver(1)); what it writes to its standard error is logged. It always ends with its
// session, and so do the processes of its process group.
package program

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/user"
	"slices"
	"strconv"
	"sync"
	"syscall"

	"tcpmux/config"
	"tcpmux/daemon/record"
	"tcpmux/daemon/sockaddr"
)

// pathVariable is the PATH of programs: what systemd gives to services.
const pathVariable = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// selfExe is the executable of this process, even when its file was replaced or removed.
const selfExe = "/proc/self/exe"

// Spec is how the programs of a listener are started: always directly, never by a shell. It does
// not change after NewSpec and is safe for concurrent use.
type Spec struct {
	program    string // as configured
	path       string // what is executed: the program, or this executable as its starter
	argv       []string
	credential *syscall.Credential // nil: the daemon's own
	env        []string            // what the programs of all clients have in common
	// Why they cannot be started; nil: nothing is known against it.
	err error
}

// NewSpec returns how the programs of a listener are started; nil when the listener runs none. If
// the program's user cannot be looked up, every start fails with that error, and so does Check.
func NewSpec(c config.Listener) *Spec {
	if len(c.Exec) == 0 {
		return nil
	}
	s := &Spec{program: c.Exec[0], path: c.Exec[0], argv: c.Exec, env: []string{pathVariable}}
	if c.ExecMemory > 0 || hasAmbientCapabilities() {
		s.path = selfExe
		s.argv = slices.Concat([]string{ExecName, strconv.FormatInt(c.ExecMemory, 10)}, c.Exec)
	}
	if c.ExecUser == "" {
		return s
	}
	if err := s.setUser(c.ExecUser); err != nil {
		s.err = fmt.Errorf("exec_user %q: %w", c.ExecUser, err)
	}
	return s
}

// setUser has the programs run as a user, in its groups.
func (s *Spec) setUser(name string) error {
	u, err := user.Lookup(name)
	if err != nil {
		return err
	}
	list, err := u.GroupIds()
	if err != nil {
		return err
	}
	ids, err := parseIDs(slices.Concat([]string{u.Uid, u.Gid}, list))
	if err != nil {
		return err
	}
	s.env = append(s.env, "HOME="+u.HomeDir, "LOGNAME="+name, "USER="+name)
	// Otherwise nothing changes, and setting the groups needs a capability.
	if int(ids[0]) != os.Geteuid() {
		s.credential = &syscall.Credential{Uid: ids[0], Gid: ids[1], Groups: ids[2:]}
	}
	return nil
}

func parseIDs(list []string) ([]uint32, error) {
	ids := make([]uint32, len(list))
	for i, id := range list {
		n, err := strconv.ParseUint(id, 10, 32)
		if err != nil {
			return nil, err
		}
		ids[i] = uint32(n)
	}
	return ids, nil
}

// environ returns the environment of the program that serves a session: that of UCSPI, and what
// tcpmux calls the session. local is the daemon's end of the connection.
func (s *Spec) environ(local sockaddr.Local, source *record.Source) []string {
	env := slices.Clip(s.env)
	if peer, _ := sockaddr.ParsePeer(source.Remote); peer.Unix { // the daemon wrote it
		env = append(env, s.unixEnviron(local, peer)...)
	} else {
		env = append(env, tcpEnviron(local, peer.Addr)...)
	}
	env = append(env, "TCPMUX_LISTENER="+source.Listener, "TCPMUX_SESSION="+source.Session)
	return appendTLS(env, source.TLS)
}

// tcpEnviron is what tcpserver(1) says of a client. A client that a proxy has named may have come
// by a unix socket: then our end has no address.
func tcpEnviron(local sockaddr.Local, remote netip.AddrPort) []string {
	env := []string{
		"PROTO=TCP",
		"TCPREMOTEIP=" + remote.Addr().String(),
		"TCPREMOTEPORT=" + strconv.Itoa(int(remote.Port())),
	}
	if local.AddrPort.IsValid() {
		env = append(env, "TCPLOCALIP="+local.Addr().String(), "TCPLOCALPORT="+strconv.Itoa(int(local.Port())))
	}
	return env
}

// unixEnviron is what unixserver(1) of ucspi-unix says of a client, without UNIXLOCALPID, which the
// program has from getpid(2).
func (s *Spec) unixEnviron(local sockaddr.Local, peer sockaddr.Peer) []string {
	uid, gid := os.Geteuid(), os.Getegid()
	if s.credential != nil {
		uid, gid = int(s.credential.Uid), int(s.credential.Gid)
	}
	return []string{
		"PROTO=UNIX",
		"UNIXLOCALPATH=" + local.Path,
		"UNIXLOCALUID=" + strconv.Itoa(uid),
		"UNIXLOCALGID=" + strconv.Itoa(gid),
		"UNIXREMOTEEUID=" + strconv.FormatUint(uint64(peer.UID), 10),
		"UNIXREMOTEEGID=" + strconv.FormatUint(uint64(peer.GID), 10),
		"UNIXREMOTEPID=" + strconv.Itoa(int(peer.PID)),
	}
}

// hasAmbientCapabilities reports whether this process has capabilities that a program started by it
// would inherit (capabilities(7)). Those that root's programs have are not ambient: root may have
// them.
var hasAmbientCapabilities = sync.OnceValue(func() bool {
	status, err := os.ReadFile("/proc/self/status")
	_, after, found := bytes.Cut(status, []byte("\nCapAmb:\t"))
	return err != nil || found && !bytes.HasPrefix(after, []byte("0000000000000000\n"))
})
