package session_test

import (
	"net/netip"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/conn"
	"tcpmux/daemon/servertest"
)

func TestMain(m *testing.M) { servertest.Main(m) }

func TestEveryModelKeepsThePromises(t *testing.T) { servertest.EveryModel(t, "") }

// sockets are the server's ends of connections that are open.
type sockets struct {
	mu  sync.Mutex
	fds []int
}

// watched returns a fixture that is not open yet, and the sockets of all that it will accept.
func watched(t *testing.T, change func(*config.Config)) (*servertest.Fixture, *sockets) {
	t.Helper()
	s := &sockets{}
	return servertest.New(t, change, servertest.Accept(s.accept)), s
}

func (s *sockets) accept(fd int) (int, syscall.Sockaddr, error) {
	nfd, sa, err := syscall.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	if err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.fds = append(s.fds, nfd)
	}
	return nfd, sa, err
}

// each calls f with each socket.
func (s *sockets) each(f func(fd int)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, fd := range s.fds {
		f(fd)
	}
}

// unread returns how many bytes of all clients are in the sockets.
func (s *sockets) unread() (n int) {
	s.each(func(fd int) { n += conn.Unread(uintptr(fd)) })
	return n
}

// awaitUnread waits until n bytes of all clients are in the sockets.
func (s *sockets) awaitUnread(t *testing.T, n int) {
	t.Helper()
	servertest.Eventually(t, func() bool { return s.unread() == n }, func() {
		t.Errorf("bytes in the sockets: got %d, want %d", s.unread(), n)
	})
}

// lowWater returns what the one socket waits for.
func (s *sockets) lowWater() (n int) {
	s.each(func(fd int) { n, _ = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVLOWAT) })
	return n
}

// awaitLowWater waits until the one session waits for n bytes.
func (s *sockets) awaitLowWater(t *testing.T, n int) {
	t.Helper()
	servertest.Eventually(t, func() bool { return s.lowWater() == n }, func() {
		t.Errorf("SO_RCVLOWAT: got %d, want %d", s.lowWater(), n)
	})
}

// awaitWrite waits until the file has seen another write than the first n.
func awaitWrite(t *testing.T, f *servertest.Fixture, n int) {
	t.Helper()
	servertest.Eventually(t, func() bool { return f.Out.Begun() > n }, func() { t.Error("got no write") })
}

// prefix returns a list of one prefix.
func prefix(text string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(text)} }
