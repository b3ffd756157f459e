package daemon

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// Under systemd it is not for the daemon to open a port. If a socket is missing, it creates a file,
// which starts tcpmux-ports.service. That reports in another file why the port cannot be opened.
const missingFile = "missing" // below $RUNTIME_DIRECTORY

// requestMissing has tcpmux-ports.service started if a listener has no socket. The file of the
// process before may be there still (RuntimeDirectoryPreserve=).
func (ps *ports) requestMissing() {
	dir := os.Getenv("RUNTIME_DIRECTORY")
	if dir == "" {
		return
	}
	path := filepath.Join(dir, missingFile)
	if !slices.ContainsFunc(ps.all, func(p *port) bool { return p.Listener.File == nil && !p.Listener.IsMuxed() }) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			ps.log.Warn("file that asks for missing ports cannot be removed", "err", err)
		}
		return
	}
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		ps.log.Warn("ports that are missing are not opened by themselves", "err", err)
	}
}
