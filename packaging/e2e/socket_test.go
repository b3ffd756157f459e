//go:build e2e

package e2e

import (
	"errors"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// mustRefuse fails if somebody listens on a port.
func (r *rig) mustRefuse(addr string) {
	r.t.Helper()
	conn, err := r.net.dial(addr)
	if err == nil {
		_ = conn.Close() // that it was accepted is enough
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		r.t.Errorf("connect to %s: got error %v, want refused", addr, err)
	}
}

// wantState fails unless a unit is in a state.
func (r *rig) wantState(unit, want string) {
	r.t.Helper()
	if got := r.show(unit, "ActiveState"); got != want {
		r.t.Errorf("%s: got %s, want %s", unit, got, want)
	}
}

func TestFirstClientStartsTheService(t *testing.T) {
	r := installed(t)
	if got := r.show("tcpmux.socket", "UnitFileState"); got != "enabled" {
		t.Errorf("tcpmux.socket: got %s, want enabled", got)
	}
	r.wantState("tcpmux.socket", "inactive")
	r.wantState("tcpmux.service", "inactive")
	r.mustRefuse(port)

	r.run("systemctl", "start", "tcpmux.socket")
	r.wantState("tcpmux.socket", "active")
	r.wantState("tcpmux.service", "inactive")

	k := r.mustCall()
	r.awaitStarted()
	if err := k.say(3); err != nil {
		t.Fatal(err)
	}
	r.await("STATUS= in systemctl status", func() bool {
		out, _ := r.try("systemctl", "status", "tcpmux.service")
		return strings.Contains(out, `Status: "1 client, 3 records"`)
	})
	if err := k.bye(); err != nil {
		t.Error(err)
	}
	r.awaitProperty("tcpmux.service", "StatusText", "0 clients, 3 records")
}

func TestRecordsAreForGroupAdm(t *testing.T) {
	r := serving(t)
	r.mustVisit()
	for file, want := range map[string]string{
		"/var/log/tcpmux": "tcpmux:adm 750",
		records:           "tcpmux:adm 640",
	} {
		if got := strings.TrimSpace(r.run("stat", "-c", "%U:%G %a", file)); got != want {
			t.Errorf("%s: got %s, want %s", file, got, want)
		}
	}
	r.run("setpriv", "--reuid=nobody", "--regid=nogroup", "--groups=adm", "cat", records)
	if out, err := r.try("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "cat", records); err == nil {
		t.Errorf("%s: nobody could read it: %q", records, out)
	}
}

func TestColdSocketTakes500AtOnce(t *testing.T) {
	r := serving(t)
	var all []*talker
	for range 500 {
		k, err := r.dial(port)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, k)
	}
	var wg sync.WaitGroup
	for _, k := range all {
		wg.Go(func() {
			if err := errors.Join(k.greeted(banner), k.say(3), k.bye()); err != nil {
				t.Errorf("%s: %v", k.name, err)
			}
		})
	}
	wg.Wait()
}

func TestServiceStartedByHand(t *testing.T) {
	r := installed(t)
	r.run("systemctl", "start", "tcpmux.service")
	r.wantState("tcpmux.socket", "active")
	r.mustVisit()
}

func TestStopAndDisable(t *testing.T) {
	r := serving(t)
	r.mustVisit()
	r.run("systemctl", "stop", "tcpmux.socket", "tcpmux.service")
	r.wantState("tcpmux.socket", "inactive")
	r.wantState("tcpmux.service", "inactive")
	r.mustRefuse(port)

	r.run("systemctl", "disable", "tcpmux.socket")
	r.reboot()
	r.wantState("tcpmux.socket", "inactive")
	r.mustRefuse(port)

	r.run("systemctl", "enable", "tcpmux.service") // this stands for its port too
	r.reboot()
	r.wantState("tcpmux.socket", "active")
	r.wantState("tcpmux.service", "inactive")
	r.mustVisit()
}
