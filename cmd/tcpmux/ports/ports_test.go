package ports

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// systemd is a fake: socket units with their state and what they listen on, and what was asked of
// it.
type systemd struct {
	units   string
	service string
	asked   []string
	fails   bool
}

func (s *systemd) systemctl(args ...string) (string, error) {
	switch {
	case slices.Contains(args, "Listen"):
		return s.units, nil
	case args[0] == "show":
		return s.service + "\n", nil
	}
	s.asked = append(s.asked, strings.Join(args, " "))
	if s.fails {
		return "", errors.New("refused")
	}
	return "", nil
}

// show is what "systemctl show" says of a unit.
func show(name, state string, listen ...string) string {
	text := fmt.Sprintf("Id=%s\nActiveState=%s\n", name, state)
	for _, a := range listen {
		text += "Listen=" + a + " (Stream)\n"
	}
	return text
}

func TestRound(t *testing.T) {
	busy := errors.New("busy")
	main := show("tcpmux.socket", "active", "127.0.0.1:1")
	for _, c := range []struct {
		name    string
		units   []string
		service string
		probes  map[string]error // of an address; those that are not here are taken
		asked   []string
		faults  []string
	}{
		{"all are open", []string{main, show("tcpmux-a.socket", "active", "127.0.0.1:2", "[::1]:2")}, "running", nil, nil, nil},
		{"a busy one", []string{main, show("tcpmux-a.socket", "failed", "127.0.0.1:2")}, "running", nil, nil, []string{"127.0.0.1:2: busy\n"}},
		{"it is free, and the daemon at work", []string{main, show("tcpmux-a.socket", "failed", "127.0.0.1:2")}, "running",
			map[string]error{"127.0.0.1:2": nil}, []string{"try-restart tcpmux.service"}, []string{"127.0.0.1:2: the port is free and being opened\n"}},
		{"it is free, and there is no daemon", []string{main, show("tcpmux-a.socket", "failed", "127.0.0.1:2")}, "dead",
			map[string]error{"127.0.0.1:2": nil}, []string{"start tcpmux-a.socket"}, []string{"127.0.0.1:2: the port is free and being opened\n"}},
		{"one that systemd has forgotten to open", []string{show("tcpmux.socket", "active", "127.0.0.1:1", "[fe80::1%lo]:1")}, "running",
			map[string]error{"[fe80::1%lo]:1": nil}, []string{"restart tcpmux.socket"}, []string{"[fe80::1%lo]:1: the port is free and being opened\n"}},
		{"one of a service that is about to end", []string{main, show("tcpmux-a.socket", "failed", "127.0.0.1:2")}, "stop-sigterm",
			map[string]error{"127.0.0.1:2": nil}, nil, []string{"tcpmux.service is about to change its state: no port is opened meanwhile\n"}},
		{"the same while no daemon runs", []string{main, show("tcpmux-a.socket", "active", "127.0.0.1:2")}, "auto-restart-queued",
			map[string]error{"127.0.0.1:2": nil}, []string{"--job-mode=ignore-dependencies restart tcpmux-a.socket"}, []string{"127.0.0.1:2: the port is free and being opened\n"}},
		{"one that is not wanted", []string{show("tcpmux.socket", "inactive", "127.0.0.1:1")}, "dead", map[string]error{"127.0.0.1:1": nil}, nil, nil},
		{"a unix socket that systemd has forgotten to make", []string{show("tcpmux.socket", "active", "/run/x")}, "running",
			map[string]error{"unix:/run/x": nil}, []string{"restart tcpmux.socket"}, []string{"unix:/run/x: the socket is missing and being opened\n"}},
		{"the control socket", []string{main, show("tcpmux-control.socket", "active", "/run/x")}, "running", map[string]error{"unix:/run/x": nil}, nil, nil},
		{"a socket of another kind", []string{main, "Id=tcpmux-x.socket\nActiveState=failed\nListen=/run/x (FIFO)\nListen=@x (Stream)\nListen=127.0.0.1:2 (Datagram)\n"}, "running", nil, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &systemd{units: strings.Join(c.units, "\n"), service: c.service}
			o := &opener{systemctl: s.systemctl, tries: make(map[string]*try), probe: func(a string) error {
				if err, ok := c.probes[a]; ok {
					return err
				}
				return busy
			}}
			faults, err := o.round(time.Now())
			if err != nil || !slices.Equal(faults, c.faults) || !slices.Equal(s.asked, c.asked) {
				t.Errorf("got %q, %q, %v, want %q, %q", faults, s.asked, err, c.faults, c.asked)
			}
		})
	}
}

// TestAPortThatStaysClosedIsTriedEverMoreRarely although it is free: each try restarts the daemon.
func TestAPortThatStaysClosedIsTriedEverMoreRarely(t *testing.T) {
	s := &systemd{units: show("tcpmux.socket", "active", "127.0.0.1:1"), service: "running"}
	o := &opener{systemctl: s.systemctl, tries: make(map[string]*try), probe: func(string) error { return nil }}
	now := time.Now()
	for range 24 * 3600 {
		now = now.Add(time.Second)
		if faults, err := o.round(now); err != nil || len(faults) != 1 {
			t.Fatalf("got %q, %v, want the port's fault", faults, err)
		}
	}
	if n := len(s.asked); n > 40 {
		t.Errorf("got %d restarts in a day, want 40 at most", n)
	}
}

// TestASocketThatARestartHasStoppedIsStartedAgain when systemd has refused to: it is inactive then,
// as one that nobody wants.
func TestASocketThatARestartHasStoppedIsStartedAgain(t *testing.T) {
	s := &systemd{units: show("tcpmux.socket", "active", "127.0.0.1:1"), service: "running", fails: true}
	o := &opener{systemctl: s.systemctl, tries: make(map[string]*try), probe: func(string) error { return nil }}
	for range 3 {
		faults, err := o.round(time.Now())
		if err != nil || len(faults) != 1 {
			t.Fatalf("got %q, %v, want one fault", faults, err)
		}
		s.units = show("tcpmux.socket", "inactive", "127.0.0.1:1")
	}
	s.fails = false
	for range 2 {
		if _, err := o.round(time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"restart tcpmux.socket", "start tcpmux.socket", "start tcpmux.socket", "start tcpmux.socket"}
	if !slices.Equal(s.asked, want) {
		t.Errorf("got %q, want %q", s.asked, want)
	}
}

func TestProbe(t *testing.T) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	taken := ln.Addr().(*net.TCPAddr).AddrPort()
	if err := probePort(taken); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("a port in use: got %v, want %v", err, unix.EADDRINUSE)
	}
	if err := probePort(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), taken.Port())); err != nil {
		t.Errorf("the same at another address: got %v, want it free", err)
	}
	if err := probePort(netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), taken.Port())); err != nil {
		t.Errorf("an address that no interface has: got %v, want it free", err)
	}
	_ = ln.Close()
	if err := probePort(taken); err != nil {
		t.Errorf("a port that was in use: got %v, want it free", err)
	}
}

func TestProbePath(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	used, err := net.ListenUnix("unix", &net.UnixAddr{Name: path("used")})
	if err != nil {
		t.Fatal(err)
	}
	defer used.Close()
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path("left")})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	_ = left.Close()
	if err := os.WriteFile(path("file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"none": "", "none/none": "", "left": "", "used": "another program listens there", "file": "no socket: remove it",
	} {
		if err := probe("unix:" + path(name)); err != nil && want == "" || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
}
