package listen

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/sockaddr"
	"tcpmux/daemon/systemd"
)

// listeners are configured listeners: the name of each, and its addresses.
func listeners(all ...[]string) (cfg []config.Listener) {
	for _, l := range all {
		c := config.Default().Listeners[0]
		c.Name, c.Address = l[0], l[1:]
		cfg = append(cfg, c)
	}
	return cfg
}

// listen opens sockets and has them listen as the daemon does. It returns those that listen, which
// are closed with the test, and what is wrong with the others.
func listen(t *testing.T, cfg []config.Listener, sockets []systemd.Socket) (lns []*Listener, err error) {
	t.Helper()
	all, errs := Open(cfg, sockets, config.HasIPv6())
	for _, ln := range all {
		if ln.File == nil {
			if err := ln.Bind(); err != nil {
				errs = append(errs, fmt.Errorf("%v: %w", ln, err))
				continue
			}
		}
		t.Cleanup(func() { _ = ln.Close() })
		if err := cmp.Or(ln.Prepare(2*time.Minute), ln.Listen(cfg[0].Backlog)); err != nil {
			errs = append(errs, fmt.Errorf("%v: %w", ln, err))
			continue
		}
		lns = append(lns, ln)
	}
	return lns, errors.Join(errs...)
}

// listenAt has one socket listen on address.
func listenAt(t *testing.T, address string) *Listener {
	t.Helper()
	lns, err := listen(t, listeners([]string{"tcpmux", address}), nil)
	if err != nil {
		t.Fatal(err)
	}
	return lns[0]
}

// bound is a listening socket as systemd passes it in.
func bound(t *testing.T, network, address string) *os.File {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return fileOf(t, ln.(filer))
}

type filer interface{ File() (*os.File, error) }

// fileOf is the descriptor of something of package net.
func fileOf(t *testing.T, of filer) *os.File {
	t.Helper()
	f, err := of.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// portOf is the port that a socket is bound to.
func portOf(t *testing.T, socket *os.File) string {
	t.Helper()
	ln, err := net.FileListener(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	return port
}

func needIPv6(t *testing.T) {
	t.Helper()
	ln, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		const how = "sysctl net.ipv6.conf.lo.disable_ipv6=0"
		if os.Getenv("CI") != "" {
			t.Fatalf("%v: %s", err, how)
		}
		t.Skipf("%v: %s", err, how)
	}
	_ = ln.Close()
}

func holdsAll(s string, texts []string) bool {
	return !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(s, text) })
}

// backlogOf is the backlog in force: the kernel shows it where a connection has sacked (tcp(7),
// TCP_INFO).
func backlogOf(t *testing.T, ln *Listener) (got int) {
	t.Helper()
	err := ln.Control(func(fd int) error {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err == nil {
			got = int(info.Sacked)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestBacklog(t *testing.T) {
	for _, kind := range []string{"bound", "inherited"} {
		t.Run(kind, func(t *testing.T) {
			var sockets []systemd.Socket
			if kind == "inherited" {
				sockets = []systemd.Socket{{Name: "tcpmux", File: bound(t, "tcp", "127.0.0.1:0")}}
			}
			lns, err := listen(t, listeners([]string{"tcpmux", "127.0.0.1:0"}), sockets)
			if err != nil {
				t.Fatal(err)
			}
			if got := lns[0].Inherited; got != (kind == "inherited") {
				t.Errorf("Inherited: got %v", got)
			}
			for _, want := range []int{1, 100, 7} {
				if err := lns[0].Listen(want); err != nil {
					t.Fatal(err)
				}
				if got := backlogOf(t, lns[0]); got != want {
					t.Errorf("backlog: got %d, want %d", got, want)
				}
			}
		})
	}
}

// accept connects to the listener and returns the descriptor of its end of the connection.
func accept(t *testing.T, ln *Listener, address string) (fd int, client net.Conn) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	err = ln.Control(func(listener int) (err error) {
		fd, _, err = unix.Accept(listener)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd, conn
}

func TestConnectionsInheritTheOptions(t *testing.T) {
	ln := listenAt(t, "127.0.0.1:0")
	for _, c := range []struct {
		lost                           time.Duration
		idle, interval, probes, millis int
	}{
		{2 * time.Minute, 60, 15, 4, 120_000},
		{10 * time.Second, 5, 1, 5, 10_000},
		{2 * time.Hour, 3600, 900, 4, 7_200_000},
	} {
		t.Run(c.lost.String(), func(t *testing.T) {
			if err := ln.Prepare(c.lost); err != nil {
				t.Fatal(err)
			}
			fd, _ := accept(t, ln, ln.Addr.String())
			for _, o := range []struct {
				name         string
				level, which int
				want         int
			}{
				{"keepalive", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
				{"keepalive idle", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, c.idle},
				{"keepalive interval", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, c.interval},
				{"keepalive probes", unix.IPPROTO_TCP, unix.TCP_KEEPCNT, c.probes},
				{"user timeout", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, c.millis},
				{"no delay", unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
				{"urgent bytes in the stream", unix.SOL_SOCKET, unix.SO_OOBINLINE, 1},
			} {
				if got, err := unix.GetsockoptInt(fd, o.level, o.which); err != nil || got != o.want {
					t.Errorf("%s: got %d and %v, want %d", o.name, got, err, o.want)
				}
			}
		})
	}
}

func TestAddresses(t *testing.T) {
	for _, c := range []struct{ name, address, dial string }{
		{"IPv4", "127.0.0.1:0", "127.0.0.1"},
		{"any IPv4", "0.0.0.0:0", "127.0.0.1"},
		{"IPv6", "[::1]:0", "::1"},
		{"any IPv6", "[::]:0", "::1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if strings.Contains(c.address, "[") {
				needIPv6(t)
			}
			ln := listenAt(t, c.address)
			if got, want := ln.Addr.Addr().String(), strings.Trim(strings.TrimSuffix(c.address, ":0"), "[]"); got != want {
				t.Errorf("Addr: got %v, want %v", got, want)
			}
			address := net.JoinHostPort(c.dial, fmt.Sprint(ln.Addr.Port()))
			fd, client := accept(t, ln, address)
			name, err := syscall.Getpeername(fd)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := sockaddr.From(name).String(), client.LocalAddr().String(); got != want {
				t.Errorf("client: got %v, want %v", got, want)
			}
		})
	}
}

// TestAllOfIPv4AndIPv6ShareAPort: "0.0.0.0:P" and "[::]:P" are two sockets.
func TestAllOfIPv4AndIPv6ShareAPort(t *testing.T) {
	needIPv6(t)
	for try := 0; ; try++ {
		free, err := net.Listen("tcp4", "0.0.0.0:0")
		if err != nil {
			t.Fatal(err)
		}
		port := free.Addr().(*net.TCPAddr).Port
		_ = free.Close()
		cfg := listeners([]string{"tcpmux", fmt.Sprintf("0.0.0.0:%d", port), fmt.Sprintf("[::]:%d", port)})
		lns, err := listen(t, cfg, nil)
		if err != nil && try < 5 { // another program may have taken the port meanwhile
			for _, ln := range lns {
				_ = ln.Close()
			}
			continue
		}
		if err != nil || len(lns) != 2 || lns[0].Addr.Port() != lns[1].Addr.Port() {
			t.Errorf("got %v and %v, want two listeners on port %d", lns, err, port)
		}
		return
	}
}

func TestErrorsOfBind(t *testing.T) {
	taken := "127.0.0.1:" + portOf(t, bound(t, "tcp", "127.0.0.1:0"))
	for _, c := range []struct {
		name, address string
		cause         error
		want          string
	}{
		{"in use", taken, unix.EADDRINUSE, "another program listens there"},
		{"of another machine", "192.0.2.1:0", unix.EADDRNOTAVAIL, "no interface has this address"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := listeners([]string{"first", "127.0.0.1:0"}, []string{"telnet", c.address})
			lns, err := listen(t, cfg, nil)
			want := []string{c.want, `listener "telnet"`, c.address}
			if !errors.Is(err, c.cause) || errors.Is(err, config.ErrInvalid) || !holdsAll(err.Error(), want) {
				t.Errorf("got %v, want %v with %q", err, c.cause, want)
			}
			if len(lns) != 1 || lns[0].Name != "first" {
				t.Errorf("got %v, want the first", lns)
			}
		})
	}
}

func TestAListenerWithoutASocketCanBeClosed(t *testing.T) {
	lns, _ := Open(listeners([]string{"tcpmux", "127.0.0.1:12345"}), nil, true)
	if err := lns[0].Close(); err != nil {
		t.Errorf("got %v, want nil", err)
	}
	if got, want := lns[0].String(), `listener "tcpmux" (127.0.0.1:12345)`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
