package control

import "tcpmux/daemon/unixsocket"

const (
	// socketGroup is the group that may read logs.
	socketGroup   = "adm"
	socketMode    = 0o660
	socketBacklog = 128
)

// Listen makes a control socket at path, which nobody but the owner and group adm can connect to at
// any moment; where the daemon may not give it that group, nobody but the owner. A socket that is
// there is replaced if nobody listens on it. Anything else is an error, and stays.
func Listen(path string) (*unixsocket.Socket, error) {
	return unixsocket.Listen(unixsocket.Options{
		Path: path, Mode: socketMode, Group: socketGroup, Lenient: true, Backlog: socketBacklog,
	})
}
