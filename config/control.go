package config

import (
	"fmt"
	"path/filepath"

	"tcpmux/config/document"
)

// Names of sockets (FileDescriptorName=) that are no listener's.
const (
	ControlSocket = "tcpmux-control"
	StatusSocket  = "tcpmux-status"
)

// maxSocketPath is the longest path that a unix socket can have, with the NUL behind it
// (unix(7), sun_path).
const maxSocketPath = 107

// socketPath takes the path of a unix socket, or "".
func socketPath() kind[string] {
	allowed := fmt.Sprintf(`the absolute path of a socket, of at most %d bytes, or "" for that of systemd alone`, maxSocketPath)
	read := func(v any, at place) (string, bool) {
		s, ok := v.(string)
		if s == "" && ok {
			return "", true
		}
		if !ok || !validSocketPath(s) {
			return "", at.Want(v, allowed+`, such as "/run/tcpmux/control"`)
		}
		return filepath.Clean(s), true
	}
	return kind[string]{allowed, read, document.QuoteTOML}
}
