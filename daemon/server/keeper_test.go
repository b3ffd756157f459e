package server_test

import (
	"context"
	"sync"
	"syscall"
	"tcpmux/daemon/conn"
	"tcpmux/daemon/tlsconn"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/record"
	"tcpmux/daemon/server"
	"tcpmux/daemon/servertest"
	"tcpmux/daemon/session"
	"tcpmux/daemon/sockaddr"
	"tcpmux/daemon/state"
)

// keeper keeps duplicates of the connections of a fixture, for the fixture that succeeds it.
type keeper struct {
	t    *testing.T
	full bool // there is no room for any; set before the first
	mu   sync.Mutex
	kept []*kept
}

// kept is one connection.
type kept struct {
	keeper   *keeper
	fd       int // a duplicate
	cookie   uint64
	opened   time.Time
	enlisted bool
	retired  bool
}

// keeping returns a fixture, which is not open yet, whose clients survive.
func keeping(t *testing.T, change func(*config.Config), options ...servertest.Option) (*servertest.Fixture, *keeper) {
	t.Helper()
	f, k := servertest.New(t, change, options...), &keeper{t: t}
	f.Server.SetKeeper(k)
	t.Cleanup(func() {
		for _, c := range k.kept {
			_ = unix.Close(c.fd) // nothing was written
		}
	})
	return f, k
}

func (k *keeper) Keep(fd int, cookie uint64, opened time.Time, _ uint32) (*state.Slot, session.Keep) {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		k.t.Error(err)
		return nil, nil
	}
	c := &kept{keeper: k, fd: dup, cookie: cookie, opened: opened}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.kept = append(k.kept, c)
	return nil, c
}

func (k *keeper) EnlistAll() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.kept {
		c.enlisted = !k.full
	}
	return nil
}

func (k *keeper) Seal() error { return k.EnlistAll() }

func (c *kept) Survives() bool {
	c.keeper.mu.Lock()
	defer c.keeper.mu.Unlock()
	return c.enlisted && !c.retired
}

func (c *kept) Retire() (shared bool) {
	c.keeper.mu.Lock()
	defer c.keeper.mu.Unlock()
	c.retired = true
	return true
}

// successor returns an open fixture that goes on with the clients.
func (k *keeper) successor(change func(*config.Config)) *servertest.Fixture {
	k.t.Helper()
	f := servertest.New(k.t, change)
	for _, c := range k.kept {
		if c.Survives() {
			if err := f.Server.Resume(c.resumed(k.t, f.Binding())); err != nil {
				k.t.Fatal(err)
			}
		}
	}
	return f.Open()
}

// resumed is the connection as it is found by the next process.
func (c *kept) resumed(t *testing.T, b *server.Binding) server.Resumed {
	t.Helper()
	fd, err := unix.FcntlInt(uintptr(c.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVLOWAT, 1); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getpeername(fd)
	if err != nil {
		t.Fatal(err)
	}
	peer := sockaddr.TCP(sockaddr.From(name))
	return server.Resumed{
		Binding: b, Settings: b.Settings(), Events: config.AllEvents, FD: fd, Client: peer,
		Config: session.Config{
			Source: record.Source{Listener: b.Listener.Name, Session: server.SessionName(c.cookie), Remote: peer.String()},
			Unix:   peer.Unix,
			Opened: c.opened,
			Keep:   c,
			Past:   &session.Past{Resume: &session.Resume{Greeted: true, Opened: true}, Staged: true},
		},
	}
}

// leave has a fixture leave its clients.
func leave(t *testing.T, f *servertest.Fixture) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), servertest.Patience)
	defer cancel()
	f.Server.WaitForStragglers(ctx)
	if err := f.Server.Leave(ctx); err != nil {
		t.Errorf("leave: got %v, want nil", err)
	}
}

func (c *kept) Secure() tlsconn.Memory { return nil }

func (c *kept) Track() conn.Memory { return nil }

func (c *kept) Forsake() {}

// Join implements session.Keep.
func (c *kept) Join(conn.Conn) session.Joint { return nil }
