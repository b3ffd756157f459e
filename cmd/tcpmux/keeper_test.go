package main

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// keeper is a service manager that keeps the listening sockets, and what daemon after daemon has
// stored for the next (sd_notify(3), FDSTORE=1), as systemd does with FileDescriptorStoreMax=.
type keeper struct {
	*manager
	address string
	sockets []storedFile

	mu     sync.Mutex
	stored []storedFile
}

type storedFile struct {
	name string
	file *os.File
}

func newKeeper(t *testing.T) *keeper {
	t.Helper()
	k := &keeper{manager: &manager{t: t, name: filepath.Join(t.TempDir(), "notify")}}
	k.address = k.socket("tcpmux")
	go k.listen(k.bind())
	t.Cleanup(func() { k.keep("", nil) })
	return k
}

// socket keeps the listening socket of another listener, whose address it returns.
func (k *keeper) socket(listener string) (address string) {
	file, address := socket(k.t)
	k.sockets = append(k.sockets, storedFile{listener, file})
	return address
}

// listen takes what daemons say, and what comes with it.
func (k *keeper) listen(conn *net.UnixConn) {
	const mostFDs = 253 // in one message (unix(7), SCM_RIGHTS)
	buf, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(4*mostFDs))
	for {
		n, oobn, _, _, err := conn.ReadMsgUnix(buf, oob)
		if err != nil {
			return
		}
		files := received(oob[:oobn])
		lines := strings.Split(string(buf[:n]), "\n")
		name, named := after(lines, "FDNAME=")
		if named {
			if slices.Contains(lines, "FDSTOREREMOVE=1") {
				k.keep(name, nil)
			} else {
				k.keep(name, files)
				files = nil
			}
		}
		for _, f := range files {
			_ = f.Close() // that is the answer to BARRIER=1
		}
		k.hear(lines)
	}
}

// after returns what follows the prefix in the line that has it.
func after(lines []string, prefix string) (rest string, found bool) {
	i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, prefix) })
	if i < 0 {
		return "", false
	}
	return lines[i][len(prefix):], true
}

// received is the descriptors in a control message.
func received(oob []byte) (files []*os.File) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for _, m := range msgs {
		fds, _ := unix.ParseUnixRights(&m) // else it has none
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "stored"))
		}
	}
	return files
}

// keep adds files under a name; without files it lets go of what it has under the name, "" being
// every name.
func (k *keeper) keep(name string, files []*os.File) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, f := range files {
		k.stored = append(k.stored, storedFile{name, f})
	}
	if files != nil {
		return
	}
	k.stored = slices.DeleteFunc(k.stored, func(s storedFile) bool {
		gone := name == "" || s.name == name
		if gone {
			_ = s.file.Close() // nothing was written
		}
		return gone
	})
}

// start starts the next daemon, and returns when it is ready.
func (k *keeper) start(config string) *dialogue {
	k.t.Helper()
	d := k.begin(config)
	d.hear("msg=ready ")
	return d
}

// begin starts a daemon with what is kept, of which nothing goes meanwhile: the one before may have
// said something before it was killed.
func (k *keeper) begin(config string) *dialogue {
	k.t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	var names []string
	var files []*os.File
	for _, s := range slices.Concat(k.sockets, k.stored) {
		names, files = append(names, s.name), append(files, s.file)
	}
	cmd := activated(k.t, config, strings.Join(names, ":"), files...)
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+k.name)
	return converse(k.t, cmd, cmd.StderrPipe)
}
