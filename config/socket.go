package config

import (
	"fmt"
	"os/user"
	"path/filepath"
	"strings"
	"unicode"

	"tcpmux/config/document"
)

// UnixScheme is what stands before the path of a unix socket.
const UnixScheme = "unix:"

// unixForm describes a unix socket, for a message.
var unixForm = fmt.Sprintf("an absolute path of at most %d bytes behind %s, such as \"unix:/run/app.sock\"", maxSocketPath, UnixScheme)

// validSocketPath reports whether a unix socket can have the path.
func validSocketPath(path string) bool {
	return filepath.IsAbs(path) && len(path) <= maxSocketPath && !isDirectory(path) && !strings.ContainsFunc(path, unicode.IsControl)
}

// UnixPath returns the path of an address that is a unix socket; "" for one that is not.
func UnixPath(address string) string {
	path, found := strings.CutPrefix(address, UnixScheme)
	if !found {
		return ""
	}
	return path
}

// Unix reports whether an address of the listener is a unix socket.
func (l *Listener) Unix() bool {
	for _, address := range l.Address {
		if UnixPath(address) != "" {
			return true
		}
	}
	return false
}

// groupName takes the name of an existing group, or "" for that of the process that makes the
// socket.
func groupName() kind[string] {
	const allowed = `the name of a group, or "" for that of whoever makes the socket`
	read := func(v any, at place) (string, bool) {
		s, ok := v.(string)
		if !ok || s != "" && !userForm().MatchString(s) {
			return "", at.Want(v, allowed)
		}
		if s != "" && !at.reader.early {
			if _, err := user.LookupGroup(s); err != nil {
				return "", at.Want(v, "a group that exists; groupadd creates one")
			}
		}
		return s, true
	}
	return kind[string]{allowed, read, document.QuoteTOML}
}

// checkSockets reports a listener at the path of the control socket.
func (r *reader) checkSockets(c *Config) {
	at := r.At("control")
	for _, b := range r.bound {
		if b.path != "" && b.path == c.Control && !at.Failed() {
			at.Fault("is %s, which is an address of %s: want another path", document.QuoteTOML(c.Control), b.owner())
		}
	}
}
