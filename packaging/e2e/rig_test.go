//go:build e2e

// Package e2e tests what the package promises on a real systemd. Each test boots its own machine in
// namespaces (boot.sh), installs the package there, and connects from within the machine's network.
// At the end of a test the journal may contain no error that the test has not explained, and the
// record file must be complete. Run the tests by "make e2e", which builds what they need.
package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// The packages that "make e2e" builds: of this tree, and of the last version, which has the version
// 0.0.1.
const (
	newDeb = "../../build/e2e/new.deb"
	oldDeb = "../../build/e2e/old.deb"
)

// logs is where a failed test leaves the journal of its rig.
const logs = "../../build/e2e/journal"

// patience is how long a test waits for what must come. It is long because a machine may be slow,
// and only a failing test waits that long.
const patience = 60 * time.Second

const (
	port    = "127.0.0.1:12345"
	records = "/var/log/tcpmux/records.log"
	toml    = "/etc/tcpmux.toml"
)

// rig is a machine with its own systemd, and the clients that it has had. It lives as long as its
// test.
type rig struct {
	t         *testing.T
	name      string
	leader    int // its PID 1, as the host numbers it
	net       *dialer
	explained []*regexp.Regexp // errors in the journal that the test is about

	throng *throng // if not nil, records are in JSON and all clients belong to it
	check  func()  // if not nil, it checks the records, whatever they are

	killed bool // a line that was recorded and still is in its socket is recorded again

	mu      sync.Mutex
	talkers []*talker
}

// boot starts a machine without the package, in parallel to other tests. env is for boot.sh.
func boot(t *testing.T, env ...string) *rig {
	t.Helper()
	t.Parallel()
	r := &rig{t: t, name: fmt.Sprintf("%s-%d", strings.ToLower(t.Name()), os.Getpid())}
	cmd := exec.Command("./boot.sh", "up", r.name)
	cmd.Env = append(append(os.Environ(), "RIG_TETHER="+strconv.Itoa(os.Getpid())), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("boot: %v\n%s", err, out)
	}
	t.Cleanup(r.end)
	r.findLeader()
	var err error
	if r.net, err = newDialer(r.leader); err != nil {
		t.Fatal(err)
	}
	return r
}

// installed boots a machine and installs the package; nothing is started.
func installed(t *testing.T) *rig {
	t.Helper()
	r := boot(t)
	r.install(newDeb)
	return r
}

// serving boots a machine whose port is open, and that has had no client yet.
func serving(t *testing.T) *rig {
	t.Helper()
	r := installed(t)
	r.run("systemctl", "start", "tcpmux.socket")
	return r
}

func (r *rig) findLeader() {
	r.t.Helper()
	out, err := exec.Command("./boot.sh", "leader", r.name).Output()
	if err != nil {
		r.t.Fatalf("leader of %s: %v", r.name, err)
	}
	if r.leader, err = strconv.Atoi(strings.TrimSpace(string(out))); err != nil {
		r.t.Fatal(err)
	}
}

// end checks the machine, keeps the journal of a failed test, and ends the machine.
func (r *rig) end() {
	if !r.t.Failed() {
		r.judge()
	}
	if r.t.Failed() {
		journal, _ := r.try("journalctl", "--no-pager", "-o", "short-precise")
		path := filepath.Join(logs, r.t.Name())
		if err := os.WriteFile(path, []byte(journal), 0o644); err == nil {
			r.t.Logf("journal: build/e2e/journal/%s", r.t.Name())
		}
	}
	if r.net != nil {
		r.net.close()
	}
	if out, err := exec.Command("./boot.sh", "down", r.name).CombinedOutput(); err != nil {
		r.t.Errorf("down: %v\n%s", err, out)
	}
}

// judge stops the daemon, so that it writes all that it has, and checks the record file and the
// journal.
func (r *rig) judge() {
	if _, err := r.try("systemctl", "cat", "tcpmux.service"); err == nil {
		r.run("systemctl", "stop", "tcpmux.socket", "tcpmux.service")
	}
	switch {
	case r.check != nil:
		r.check()
	case r.throng != nil:
		r.throng.check()
	default:
		r.checkRecords()
	}
	r.checkJournal()
}

// checkJournal fails for each error in the journal that the test has not explained.
func (r *rig) checkJournal() {
	out := r.run("journalctl", "--no-pager", "-q", "-p", "err", "-o", "cat")
lines:
	for line := range strings.Lines(out) {
		for _, e := range r.explained {
			if e.MatchString(line) {
				continue lines
			}
		}
		r.t.Errorf("journal: got %q, want no such error", line)
	}
}

// explain names errors that the test causes.
func (r *rig) explain(patterns ...string) {
	for _, p := range patterns {
		r.explained = append(r.explained, regexp.MustCompile(p))
	}
}

// try runs a command in the machine, and returns its output and errors.
func (r *rig) try(args ...string) (string, error) {
	if len(args) > 1 && args[0] == "systemctl" && slices.Contains([]string{"stop", "restart", "reload"}, args[1]) {
		r.passStartPost()
	}
	cmd := exec.Command("./boot.sh", append([]string{"enter", strconv.Itoa(r.leader)}, args...)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// run is try for commands that must succeed.
func (r *rig) run(args ...string) string {
	r.t.Helper()
	out, err := r.try(args...)
	if err != nil {
		r.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// show returns a property of a unit.
func (r *rig) show(unit, property string) string {
	r.t.Helper()
	return strings.TrimSpace(r.run("systemctl", "show", "--value", "-p", property, unit))
}

// mainPID returns the daemon's process, as the rig numbers it; "0" if there is none.
func (r *rig) mainPID() string {
	r.t.Helper()
	return r.show("tcpmux.service", "MainPID")
}

// await waits until cond holds; what names it in errors. It looks during half of the time at most,
// as a look may be a command in the machine.
func (r *rig) await(what string, cond func() bool) {
	r.t.Helper()
	for end := time.Now().Add(patience); ; {
		began := time.Now()
		if cond() {
			return
		}
		if time.Now().After(end) {
			r.t.Fatalf("%s: not in %v", what, patience)
		}
		time.Sleep(max(20*time.Millisecond, time.Since(began)))
	}
}

// awaitProperty waits until a property of a unit has a value.
func (r *rig) awaitProperty(unit, property, want string) {
	r.t.Helper()
	r.await(unit+": "+property+"="+want, func() bool { return r.show(unit, property) == want })
}

// passStartPost waits until systemd has run ExecStartPost= of the service, if it runs that now. To
// stop it then is a failure of the service, and a reload is taken for done with the start.
func (r *rig) passStartPost() {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		state, _ := r.try("systemctl", "show", "--value", "-p", "SubState", "tcpmux.service")
		if strings.TrimSpace(state) != "start-post" {
			return
		}
	}
}

// awaitStarted waits until the service is active. Clients are served before that, while systemd
// runs ExecStartPost=. A reload that comes then is taken for done with the start, and a directory
// that is moved away is made anew.
func (r *rig) awaitStarted() {
	r.t.Helper()
	r.awaitProperty("tcpmux.service", "ActiveState", "active")
}

// path returns where the host finds a file of the rig. There may be no absolute symbolic link on
// the way.
func (r *rig) path(file string) string { return fmt.Sprintf("/proc/%d/root%s", r.leader, file) }

func (r *rig) read(file string) string {
	r.t.Helper()
	b, err := os.ReadFile(r.path(file))
	if err != nil {
		r.t.Fatal(err)
	}
	return string(b)
}

// write creates a file and its directory.
func (r *rig) write(file, text string) {
	r.t.Helper()
	if err := os.MkdirAll(filepath.Dir(r.path(file)), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(r.path(file), []byte(text), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

// edit replaces text in a file, which must contain it.
func (r *rig) edit(file, old, text string) {
	r.t.Helper()
	was := r.read(file)
	if !strings.Contains(was, old) {
		r.t.Fatalf("edit %q: no %q in it", file, old)
	}
	r.write(file, strings.Replace(was, old, text, 1))
}

// reboot reboots the machine, on the same disk and network, and returns when it is up again.
func (r *rig) reboot() {
	r.t.Helper()
	was := r.leader
	_, _ = r.try("systemctl", "reboot") // its machine may end before it answers
	r.await("reboot", func() bool {
		out, err := exec.Command("./boot.sh", "leader", r.name).Output()
		now, _ := strconv.Atoi(strings.TrimSpace(string(out)))
		return err == nil && now != was
	})
	r.findLeader()
	r.await("boot", func() bool {
		state, _ := r.try("systemctl", "is-system-running", "--wait")
		return strings.HasPrefix(state, "running") || strings.HasPrefix(state, "degraded")
	})
}

// install installs a package of the host with dpkg, whatever version is installed. A configuration
// that was changed stays, which is the default answer.
func (r *rig) install(deb string) {
	r.t.Helper()
	b, err := os.ReadFile(deb)
	if err != nil {
		r.t.Fatalf("%v (make e2e makes it)", err)
	}
	r.write("/opt/tcpmux.deb", string(b))
	r.run("dpkg", "--force-confold", "--install", "/opt/tcpmux.deb")
}
