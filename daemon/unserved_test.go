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
	"tcpmux/daemon/admission"
)

// second adds a listener beside the main one.
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

// awaitLog returns when the log has a line with all of it.
func (r *reloadable) awaitLog(parts ...string) {
	r.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		for line := range strings.Lines(r.log.String()) {
			if holdsAll(line, parts) {
				return
			}
		}
		if time.Now().After(end) {
			r.t.Fatalf("log: got no line with %q in %v: %s", parts, patience, r.log)
		}
	}
}

// heard is what is said on an address until the end of the line; a client that has to wait is let in later.
func heard(t *testing.T, address string) string {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			defer conn.Close()
			_ = conn.SetDeadline(end)
			line := make([]byte, len("second\n"))
			if _, err = io.ReadFull(conn, line); err == nil {
				return string(line)
			}
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// TestABusyPortKeepsNoOtherFromBeingServed and is served once it is free.
func TestABusyPortKeepsNoOtherFromBeingServed(t *testing.T) {
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	address := taken.Addr().String()
	r := runReloadable(t, second(address, nil))
	if got, want := greeting(t, r.dial()), r.cfg.Listeners[0].Banner.Raw; got != want {
		t.Errorf("the other port says %q, want %q", got, want)
	}
	r.awaitLog("listener is not served", "listener=second", address, "address already in use")
	_ = taken.Close()
	if got, want := heard(t, address), "second\n"; got != want {
		t.Errorf("the port that was busy says %q, want %q", got, want)
	}
}

// TestAListenerThatLacksSomethingHasItsClientsWait for a program that can be started, or rules that can be followed.
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
			r := runReloadable(t, second(address, func(l *config.Listener) { c.change(l, path) }))
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

// freeAddress is an address that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// TestWhoeverCanServeNobodyEnds with all reasons.
func TestWhoeverCanServeNobodyEnds(t *testing.T) {
	taken := bound(t, "tcp", "127.0.0.1:0")
	for _, c := range []struct {
		name    string
		change  func(*config.Config)
		invalid bool
		want    []string
	}{
		{"a busy port", func(c *config.Config) { c.Listeners[0].Address = []string{nameOf(t, taken)} }, false, []string{"address already in use"}},
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
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			err := Run(ctx, func() (config.Config, error) { return cfg, nil }, Wishes{}, io.Discard)
			if err == nil || !holdsAll(err.Error(), c.want) || errors.Is(err, config.ErrInvalid) != c.invalid {
				t.Errorf("got %v, want %q in it, an invalid configuration: %v", err, c.want, c.invalid)
			}
		})
	}
}

// nameOf is the address of a socket.
func nameOf(t *testing.T, f *os.File) string {
	t.Helper()
	ln, err := net.FileListener(f)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// TestTheStatusLineHasWhatIsNotServed in one line, however much it is.
func TestTheStatusLineHasWhatIsNotServed(t *testing.T) {
	d := &daemon{}
	for i := range 3 {
		ln := unbound(wants([]string{fmt.Sprint("no", i)})[0], fmt.Sprint("127.0.0.1:", i+1), false)
		ln.unserved = &unserved{err: errors.New("it is busy")}
		d.lns = append(d.lns, ln)
	}
	if got, want := d.faults(), `; listener "no0" (127.0.0.1:1) is not served: it is busy, and 2 more`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestRulesThatCouldNotBeReadLetNobodyIn whom a proxy speaks for: its connection may be one of the process before.
func TestRulesThatCouldNotBeReadLetNobodyIn(t *testing.T) {
	policy := config.Policy{Rules: "/not/there"}
	for _, address := range []string{"127.0.0.1", "::1"} {
		gate := admission.Gate{Rules: make(rulesFiles).of(policy), Sources: [2]*admission.Sources{new(admission.Sources), new(admission.Sources)}}
		if _, verdict := gate.Enter(netip.MustParseAddr(address), time.Now()); verdict == admission.Admitted {
			t.Errorf("%s: got it let in, want it refused", address)
		}
	}
}
