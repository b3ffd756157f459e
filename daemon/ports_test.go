package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/listen"
	"tcpmux/daemon/server"
	"tcpmux/daemon/servertest"
	"tcpmux/daemon/sockaddr"
	"tcpmux/daemon/systemd"
)

// second adds a listener next to the main one.
func second(address string, change func(*config.Listener)) func(*config.Config) {
	return func(c *config.Config) {
		l := c.Listeners[0]
		l.Name, l.Address, l.Banner = "second", []string{address}, config.Text("second\n")
		if change != nil {
			change(&l)
		}
		c.Listeners = append(c.Listeners, l)
	}
}

// heard returns the first bytes of the second listener's banner at an address, once a client is
// served there.
func heard(t *testing.T, address string) string {
	t.Helper()
	text := make([]byte, len("second\n"))
	var err error
	servertest.Eventually(t, func() bool {
		var conn net.Conn
		if conn, err = net.Dial("tcp", address); err != nil {
			return false
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(servertest.Patience))
		_, err = io.ReadFull(conn, text)
		return err == nil
	}, func() { t.Error(err) })
	return string(text)
}

// TestABusyPortKeepsNoOtherFromBeingServed and is served once it is free.
func TestABusyPortKeepsNoOtherFromBeingServed(t *testing.T) {
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	address := taken.Addr().String()
	r := run(t, second(address, nil))
	if got, want := greeting(t, r.dial()), r.cfg.Listeners[0].Banner.Raw; got != want {
		t.Errorf("the other port says %q, want %q", got, want)
	}
	r.awaitLog("listener is not served", "listener=second", address, "address already in use")
	_ = taken.Close()
	if got, want := heard(t, address), "second\n"; got != want {
		t.Errorf("the port that was busy says %q, want %q", got, want)
	}
}

// TestAListenerThatLacksSomethingHasItsClientsWait for a program that can be started, or rules that
// can be followed.
func TestAListenerThatLacksSomethingHasItsClientsWait(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(l *config.Listener, path string)
		text   string
		want   []string
	}{
		{"a program", func(l *config.Listener, path string) { l.Exec, l.Banner = []string{path}, config.Text("") }, "#!/bin/sh\necho second\n", []string{"exec ", "no such file or directory"}},
		{"rules", func(l *config.Listener, path string) { l.Limits.Rules = path }, "allow 127.0.0.1\n", []string{"rules", "no such file or directory"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			address, path := freeAddress(t), filepath.Join(t.TempDir(), "lacks")
			r := run(t, second(address, func(l *config.Listener) { c.change(l, path) }))
			if got, want := greeting(t, r.dial()), r.cfg.Listeners[0].Banner.Raw; got != want {
				t.Errorf("the other port says %q, want %q", got, want)
			}
			r.awaitLog(append(c.want, "listener is not served", "listener=second")...)
			waiting, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatalf("connect: got %v, want a place in the backlog", err)
			}
			defer waiting.Close()
			if err := os.WriteFile(path+".new", []byte(c.text), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(path+".new", path); err != nil {
				t.Fatal(err)
			}
			if got, want := greeting(t, waiting), "second\n"; got != want {
				t.Errorf("who has waited hears %q, want %q", got, want)
			}
		})
	}
}

// TestWhoeverCanServeNobodyEnds with all reasons.
func TestWhoeverCanServeNobodyEnds(t *testing.T) {
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, c := range []struct {
		name    string
		change  func(*config.Config)
		invalid bool
		want    []string
	}{
		{"a busy port", func(c *config.Config) { c.Listeners[0].Address = []string{taken.Addr().String()} }, false, []string{"address already in use"}},
		{"no program, twice", func(c *config.Config) {
			c.Listeners[0].Exec = []string{"/not/there"}
			second(freeAddress(t), func(l *config.Listener) { l.Exec = []string{"/nor/this"} })(c)
		}, true, []string{`listener "tcpmux"`, `"/not/there"`, `listener "second"`, `"/nor/this"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := config.Default()
			cfg.Listeners[0].Address = []string{freeAddress(t)}
			cfg.Record.File = filepath.Join(t.TempDir(), "records.log")
			c.change(&cfg)
			ctx, cancel := context.WithTimeout(t.Context(), servertest.Patience)
			defer cancel()
			err := Run(ctx, loaded(cfg), Requests{}, io.Discard)
			if err == nil || !servertest.HoldsAll(err.Error(), c.want) || errors.Is(err, config.ErrInvalid) != c.invalid {
				t.Errorf("got %v, want %q in it, an invalid configuration: %v", err, c.want, c.invalid)
			}
		})
	}
}

// TestTheStatusLineHasWhatIsNotServed in one line, however much it is.
func TestTheStatusLineHasWhatIsNotServed(t *testing.T) {
	ps := &ports{}
	for i := range 3 {
		ln := &listen.Listener{Name: fmt.Sprint("no", i), Addr: sockaddr.ParseLocal(fmt.Sprint("127.0.0.1:", i+1))}
		ps.all = append(ps.all, &port{
			Binding:  &server.Binding{Listener: ln},
			unserved: &unserved{err: errors.New("it is busy")},
		})
	}
	if got, want := ps.status(), `; listener "no0" (127.0.0.1:1) is not served: it is busy, and 2 more`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestWhoComesByIPv4IsOfIPv4, in records and for rules, also through a socket for both protocols,
// as systemd makes them.
func TestWhoComesByIPv4IsOfIPv4(t *testing.T) {
	ln, err := net.Listen("tcp", ":0") // for both if there is IPv6
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	file, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	if ln.Addr().(*net.TCPAddr).IP.To4() != nil {
		servertest.Lacks(t, "a socket for IPv6 and IPv4", "enable IPv6")
	}
	cfg := servertest.Config(func(c *config.Config) {
		c.Record.File = filepath.Join(t.TempDir(), "records.log")
		c.Listeners[0].Limits.Deny = []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}
	})
	d, err := start(inheritance{sockets: []systemd.Socket{{Name: config.MainListener, File: file}}}, loaded(cfg), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := d.run(ctx, Requests{})
		ended <- err
	}()
	defer func() {
		stop()
		if err := servertest.Result(t, ended); err != nil {
			t.Error(err)
		}
	}()

	_, port, _ := net.SplitHostPort(ln.Addr().String())
	c := servertest.Dial(t, "127.0.0.1:"+port, nil)
	c.Hear(cfg.Listeners[0].Banner.Raw)
	c.Say("hello\n")
	_ = c.CloseWrite()
	c.HearEnd()
	got, want := readFile(cfg.Record.File), " from "+c.Addr()+": hello\n"
	if !strings.Contains(got, want) || strings.Contains(got, "::ffff:") {
		t.Errorf("records: got %q, want %q and no other address", got, want)
	}
	from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.2")}}
	servertest.Dial(t, "127.0.0.1:"+port, from).Refused("")
}
