package daemon

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/handover"
	"tcpmux/daemon/servertest"
	"tcpmux/daemon/systemd"
)

// TestAReloadChangesWhoSurvives holds that a new survive_after is in force at once, also for
// clients that are connected already.
func TestAReloadChangesWhoSurvives(t *testing.T) {
	m := newManager(t)
	r := run(t, func(cfg *config.Config) { cfg.SurviveAfter = time.Hour })
	greeting(t, r.dial())
	if m.keepsClients() {
		t.Fatal("survive_after = 1h: the client is kept, want it kept in an hour")
	}
	r.reload(func(cfg *config.Config) error { cfg.SurviveAfter = 0; return nil })
	servertest.Eventually(t, m.keepsClients, func() { t.Error("survive_after = 0s: the client is not kept, want it kept at once") })
}

// manager is a service manager that stores descriptors.
type manager struct {
	t    *testing.T
	conn *net.UnixConn

	mu     sync.Mutex
	stored []systemd.Socket
}

// newManager is the service manager of the daemons in a test.
func newManager(t *testing.T) *manager {
	t.Helper()
	name := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	m := &manager{t: t, conn: conn}
	t.Setenv("NOTIFY_SOCKET", name)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		m.receive()
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-ended
		closeSockets(m.stored)
	})
	return m
}

// receive stores what it is given until the connection is closed. It closes what is not to be
// stored: that answers sd_notify_barrier(3).
func (m *manager) receive() {
	text, oob := make([]byte, 4096), make([]byte, 4096)
	for {
		n, oobn, _, _, err := m.conn.ReadMsgUnix(text, oob)
		if err != nil {
			return
		}
		_, name, store := strings.Cut(string(text[:n]), "FDSTORE=1\nFDNAME=")
		name, _, _ = strings.Cut(name, "\n")
		msgs, _ := unix.ParseSocketControlMessage(oob[:oobn]) // none on an error
		for _, msg := range msgs {
			fds, _ := unix.ParseUnixRights(&msg) // none for another kind of message
			for _, fd := range fds {
				m.keep(store, systemd.Socket{Name: name, File: os.NewFile(uintptr(fd), name)})
			}
		}
	}
}

func (m *manager) keep(store bool, s systemd.Socket) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if store {
		m.stored = append(m.stored, s)
	} else {
		_ = s.File.Close()
	}
}

// keepsClients reports whether connections of clients are among what is stored.
func (m *manager) keepsClients() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return handover.ClientsWait(m.stored)
}
