//go:build e2e

package e2e

import (
	"errors"
	"strings"
	"testing"
)

// journal returns what the daemon has logged, and systemd about it.
func (r *rig) journal() string {
	r.t.Helper()
	return r.run("journalctl", "-q", "-u", "tcpmux.service", "-o", "cat")
}

// reload reloads the daemon, and returns when it has finished that. systemd 262 does not wait.
func (r *rig) reload() {
	r.t.Helper()
	was := r.count("configuration reloaded")
	r.run("systemctl", "reload", "tcpmux.service")
	r.await("configuration reloaded", func() bool { return r.count("configuration reloaded") > was })
	r.awaitProperty("tcpmux.service", "ActiveState", "active")
}

func TestReloadUnderClients(t *testing.T) {
	r := serving(t)
	talking := r.chatters(200)
	coming := gather(2, func() error { // whichever banner is in force
		k, err := r.dial(port)
		if err != nil {
			return err
		}
		return errors.Join(k.greetedSomehow(), k.say(3), k.bye())
	})
	was := r.mainPID()
	r.edit(toml, `"Welcome connect!\r\n"`, `"Hello {client}, this is {listener}\r\n"`)
	r.edit(toml, `backlog = 4096`, `backlog = 77`)
	r.reload()
	for _, key := range []string{"key=banner", "key=backlog"} {
		if !strings.Contains(r.journal(), key) {
			t.Errorf("journal: got no line with %s", key)
		}
	}
	k, err := r.dial(port)
	if err != nil {
		t.Fatal(err)
	}
	hello := "Hello " + k.conn.LocalAddr().String() + ", this is tcpmux\r\n"
	if err := errors.Join(k.greeted(hello), k.say(3), k.bye()); err != nil {
		t.Error(err)
	}
	if got := r.backlog("12345"); got != "77" {
		t.Errorf("Send-Q of the port: got %s, want the backlog 77", got)
	}
	for range 5 {
		r.reload()
	}
	if err := coming.dismiss(); err != nil {
		t.Errorf("newcomers: %v", err)
	}
	if left, err := talking.dismiss(); left != 0 || err != nil {
		t.Errorf("talking clients: got %d ended and %v, want none", left, err)
	}
	if got := r.mainPID(); got != was {
		t.Errorf("daemon: got process %s, want %s still", got, was)
	}
}

func TestBrokenReload(t *testing.T) {
	r := serving(t)
	r.explain(`tcpmux\.toml:\d+: `, `Reload failed`)
	talking := r.chatters(200)
	was := r.mainPID()
	r.edit(toml, `"Welcome connect!\r\n"`, `"Hello\r\n"`)
	r.edit(toml, `backlog = 4096`, `backlog = -1`)
	r.edit(toml, `level = "info"`, `level = "loud"`)
	if out, err := r.try("systemctl", "reload", "tcpmux.service"); err == nil {
		t.Errorf("systemctl reload: got success %q, want a failure", out)
	}
	for _, fault := range []string{"backlog is -1", `level is \"loud\"`} {
		if !strings.Contains(r.journal(), fault) {
			t.Errorf("journal: got no line with %q", fault)
		}
	}
	r.wantState("tcpmux.service", "active")
	r.mustVisit() // with the old banner
	if left, err := talking.dismiss(); left != 0 || err != nil {
		t.Errorf("talking clients: got %d ended and %v, want none", left, err)
	}
	if got := r.mainPID(); got != was {
		t.Errorf("daemon: got process %s, want %s still", got, was)
	}

	r.edit(toml, `backlog = -1`, `backlog = 4096`)
	r.edit(toml, `level = "loud"`, `level = "info"`)
	r.reload()
	r.visitAt(port, "Hello\r\n")
}

// A change that a reload cannot apply is named in the journal, and the rest of the file is applied.
func TestReloadNamesWhatNeedsARestart(t *testing.T) {
	r := serving(t)
	r.mustVisit()
	r.edit(toml, shipped, `address = "127.0.0.1:2000"`)
	r.edit(toml, `"Welcome connect!\r\n"`, `"Hello\r\n"`)
	r.reload()
	if want := `effect=restart by="systemctl daemon-reload && systemctl restart tcpmux.socket"`; !strings.Contains(r.journal(), "key=address") || !strings.Contains(r.journal(), want) {
		t.Errorf("journal: got no line with key=address and %s", want)
	}
	r.visitAt(port, "Hello\r\n")
}

// However many clients visit, the journal's rate limit does not suppress what the daemon logs about
// itself. The limit here is 20 lines an hour, which journald raises to some 75 on a disk that is
// not full.
func TestVisitsDoNotDrownTheJournal(t *testing.T) {
	r := installed(t)
	r.write("/etc/systemd/system/tcpmux.service.d/e2e.conf", "[Service]\nLogRateLimitIntervalSec=1h\nLogRateLimitBurst=20\n")
	r.run("systemctl", "daemon-reload")
	r.run("systemctl", "start", "tcpmux.socket")
	for range 200 {
		r.mustVisit()
		k := r.mustCall() // as a health check does
		if err := k.bye(); err != nil {
			t.Fatal(err)
		}
	}
	r.edit(toml, `"Welcome connect!\r\n"`, `"Hello\r\n"`)
	r.reload()
	r.run("systemctl", "restart", "tcpmux.service")
	for text, want := range map[string]int{"key=banner": 1, `msg="left clients to the next process"`: 1, "msg=ready": 2} {
		if got := r.count(text); got != want {
			t.Errorf("journal: got %d lines with %s, want %d", got, text, want)
		}
	}
}

// Every model works inside the sandbox of the unit. A reload changes the model for new clients, and
// connected clients keep theirs. All are drained alike.
func TestModels(t *testing.T) {
	r := serving(t)
	r.mustVisit()
	was := `model = "goroutine"`
	var talking []*chatters
	for _, model := range []string{"thread", "process", "goroutine"} {
		r.edit(toml, was, `model = "`+model+`"`)
		was = `model = "` + model + `"`
		r.reload()
		for range 5 {
			r.mustVisit()
		}
		talking = append(talking, r.chatters(10))
	}
	if got := r.run("pgrep", "-c", "-f", "^tcpmux: session"); strings.TrimSpace(got) != "10" {
		t.Errorf("got %s session processes, want 10", got)
	}
	// The clients of each model finish, and nothing that they have sent is lost.
	r.run("systemctl", "restart", "tcpmux.service")
	r.mustVisit()
	for _, c := range talking {
		if _, err := c.dismiss(); err != nil {
			t.Error(err)
		}
	}
	r.await("the processes end", func() bool {
		out, _ := r.try("pgrep", "-c", "-f", "^tcpmux: session")
		return strings.TrimSpace(out) == "0"
	})
}
