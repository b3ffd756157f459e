package daemon

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/listen"
	"tcpmux/daemon/server"
	"tcpmux/daemon/servertest"
)

func TestReloadChangesWhatItCan(t *testing.T) {
	r := run(t)
	old := r.dial()
	greeting(t, old)
	r.reload(func(c *config.Config) error {
		c.Listeners[0].Banner, c.Listeners[0].IdleTimeout, c.Listeners[0].Backlog = config.Text("two\n"), 300*time.Millisecond, 3
		c.Record.File = filepath.Join(r.dir, "other.log")
		c.Limits.Clients = 1
		return nil
	})
	// The old client is idle by the new timeout, and with it the only place is free for a new
	// one.
	old.SetReadDeadline(time.Now().Add(servertest.Patience))
	if _, err := old.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the old client: got %v, want it closed as idle", err)
	}
	young := r.dial()
	if got, want := greeting(t, young), "two\n"; got != want {
		t.Errorf("got greeting %q, want %q", got, want)
	}
	young.Close()
	other := func() string { return readFile(filepath.Join(r.dir, "other.log")) }
	servertest.Eventually(t, func() bool { return strings.Count(other(), " close from ") == 2 },
		func() { t.Errorf("got %q in the new file, want the closing of both", other()) })
	for _, want := range []string{`key=banner from="\"Welcome connect!\\r\\n\"" to="\"two\\n\"" effect="new clients"`,
		`key=backlog from=4096 to=3 effect=now`, `key=record.file`, `key=limits.clients from=10000 to=1`} {
		if !strings.Contains(r.log.String(), want) {
			t.Errorf("the log lacks %s:\n%s", want, r.log)
		}
	}
}

// TestAReloadBringsOtherLimits, for clients that connect from then on.
func TestAReloadBringsOtherLimits(t *testing.T) {
	r := run(t, func(cfg *config.Config) { cfg.Listeners[0].Banner = config.Text("hello\n") })
	greeting(t, r.dial()) // a client that has come when none was counted does not count
	for _, c := range []struct {
		name   string
		change func(*config.Config)
		want   []string // what one client after another hears
	}{
		{"of all listeners", func(cfg *config.Config) {
			cfg.Limits.ClientsPerSource, cfg.Listeners[0].Limits.Refusal = 1, config.Text("full\n")
		}, []string{"hello\n", "full\n"}},
		{"of a listener", func(cfg *config.Config) {
			cfg.Limits.ClientsPerSource, cfg.Listeners[0].Limits.ClientsPerSource = 0, 1
		}, []string{"hello\n", "full\n"}},
		{"by address", func(cfg *config.Config) {
			cfg.Listeners[0].Limits.ClientsPerSource = 0
			cfg.Listeners[0].Limits.Deny = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		}, []string{"full\n"}},
		{"none", func(cfg *config.Config) { cfg.Listeners[0].Limits = config.ListenerLimits{} }, []string{"hello\n"}},
	} {
		r.reload(func(cfg *config.Config) error { c.change(cfg); return nil })
		for _, want := range c.want {
			if got := greeting(t, r.dial()); got != want {
				t.Errorf("limits %s: heard %q, want %q", c.name, got, want)
			}
		}
	}
}

// TestAReloadChangesEvents, for clients that connect from then on.
func TestAReloadChangesEvents(t *testing.T) {
	r := run(t)
	r.dial()
	r.reload(func(cfg *config.Config) error { cfg.Record.Events = config.NoEvents; return nil })
	conn := r.dial()
	fmt.Fprint(conn, "hello\n")
	_ = conn.CloseWrite()
	address := conn.LocalAddr().String()
	r.awaitLog("session closed", "remote="+address)
	if got := readFile(r.cfg.Record.File); strings.Count(got, address) != 1 || !strings.Contains(got, address+": hello\n") {
		t.Errorf("records: got %q, want the message of %s and no events", got, address)
	}
}

// TestWhatNeedsARestartSaysWhichOne: a socket of systemd's is not made anew by a restart of the
// daemon.
func TestWhatNeedsARestartSaysWhichOne(t *testing.T) {
	withSocket := func(inherited bool) *ports {
		return &ports{all: []*port{{Binding: &server.Binding{Listener: &listen.Listener{Inherited: inherited}}}}}
	}
	ours, passed := withSocket(false), withSocket(true)
	for _, c := range []struct {
		name, path string
		ports      *ports
		want       string
	}{
		{"an address of systemd's", "address", passed, "systemctl daemon-reload && systemctl restart tcpmux.socket"},
		{"a listener of systemd's", "name", passed, "systemctl daemon-reload && systemctl restart tcpmux.socket"},
		{"survive under systemd", "survive", passed, "systemctl restart tcpmux.service"},
		{"an address of our own", "address", ours, "a new start"},
		{"survive without systemd", "survive", ours, "a new start"},
	} {
		if got := restartBy(c.path, c.ports.inherited()); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestReloadWithAFaultChangesNothing(t *testing.T) {
	for _, c := range []struct {
		name, want string
		change     func(*running, *config.Config) error
	}{
		{"in the file", `level=ERROR msg="configuration not reloaded" err="two faults"`, func(_ *running, c *config.Config) error {
			c.Listeners[0].Banner = config.Text("two\n")
			return errors.New("one fault\ntwo faults")
		}},
		{"with the record file", `is a directory`, func(r *running, c *config.Config) error {
			c.Listeners[0].Banner, c.Record.File = config.Text("two\n"), r.dir
			return nil
		}},
		{"with the log file", `msg="configuration not reloaded" err="log: open record file`, func(r *running, c *config.Config) error {
			c.Listeners[0].Banner, c.Log.File, c.Record.File = config.Text("two\n"), r.dir, filepath.Join(r.dir, "other.log")
			return nil
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := run(t)
			before := r.cfg
			r.reload(func(next *config.Config) error { return c.change(r, next) })
			r.cfg = before
			conn := r.dial()
			if got, want := greeting(t, conn), "Welcome connect!\r\n"; got != want {
				t.Errorf("got greeting %q, want the old %q", got, want)
			}
			var b []byte
			servertest.Eventually(t, func() bool { // it is greeted first
				b, _ = os.ReadFile(filepath.Join(r.dir, "records.log"))
				return strings.Contains(string(b), " open from "+conn.LocalAddr().String())
			}, func() { t.Errorf("got %q in the old file, want the client", b) })
			if !strings.Contains(r.log.String(), c.want) {
				t.Errorf("the log lacks %s:\n%s", c.want, r.log)
			}
		})
	}
}

// TestReloadLowersMinFreeForThoseWhoWait holds that a min_free which is too much can be corrected
// while clients wait for it, and that a reload which does not is refused, and changes nothing.
func TestReloadLowersMinFreeForThoseWhoWait(t *testing.T) {
	const tooMuch = 1 << 60
	r := run(t, func(c *config.Config) { c.Record.MinFree, c.DrainTimeout = tooMuch, time.Second })
	conn := r.dial()
	fmt.Fprint(conn, "waiting\n")
	servertest.Eventually(t, func() bool { return strings.Contains(r.log.String(), "records cannot be written, clients wait") },
		func() { t.Fatalf("nobody waits for room:\n%s", r.log) })
	r.reload(func(c *config.Config) error { c.Record.MinFree = tooMuch - 1; return nil })
	if want := "records cannot be written: make room"; !strings.Contains(r.log.String(), want) {
		t.Errorf("the log lacks %q:\n%s", want, r.log)
	}
	r.reload(func(c *config.Config) error { c.Record.MinFree = 0; return nil })
	if want := `key=record.min_free from="\"1048576TiB\"" to="\"0B\"" effect=now`; !strings.Contains(r.log.String(), want) {
		t.Errorf("the log lacks %s:\n%s", want, r.log)
	}
	var b []byte
	servertest.Eventually(t, func() bool {
		b, _ = os.ReadFile(filepath.Join(r.dir, "records.log"))
		return strings.Contains(string(b), "from "+conn.LocalAddr().String()+": waiting\n")
	}, func() { t.Errorf("got %q recorded, want what waited", b) })
}

func TestReloadNamesWhatNeedsARestart(t *testing.T) {
	r := run(t)
	before := r.cfg
	r.reload(func(c *config.Config) error {
		c.Listeners[0].Address = []string{"127.0.0.1:1"}
		more := c.Listeners[0]
		more.Name, more.Address = "more", []string{"127.0.0.1:2"}
		c.Listeners = append(c.Listeners, more)
		return nil
	})
	r.cfg = before
	greeting(t, r.dial())
	for _, want := range []string{`level=WARN msg="setting changed" key=address`, `level=WARN msg="setting changed" key="listener \"more\": name"`} {
		if !strings.Contains(r.log.String(), want) {
			t.Errorf("the log lacks %s:\n%s", want, r.log)
		}
	}
}

// TestListenersWithoutClientsTakeNoSlot holds that one slot serves any of several listeners.
func TestListenersWithoutClientsTakeNoSlot(t *testing.T) {
	r := run(t, func(c *config.Config) {
		c.Limits.Clients = 1
		for i := range 5 {
			l := c.Listeners[0]
			l.Name, l.Address = fmt.Sprint("more", i), []string{fmt.Sprintf("127.0.0.%d:0", i+2)}
			c.Listeners = append(c.Listeners, l)
		}
	})
	for range 3 {
		for _, address := range r.addresses() {
			c, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			greeting(t, c)
			c.Close()
		}
	}
}

// TestReloadKeepsTellingWhatWaitsForARestart holds that changes are told against what is in force,
// not against the last file.
func TestReloadKeepsTellingWhatWaitsForARestart(t *testing.T) {
	r := run(t)
	before := r.cfg
	for range 2 {
		r.reload(func(c *config.Config) error { c.Listeners[0].Address = []string{"127.0.0.1:1"}; return nil })
	}
	if got := strings.Count(r.log.String(), `msg="setting changed" key=address`); got != 2 {
		t.Errorf("told %d times that the address waits for a restart, want 2:\n%s", got, r.log)
	}
	r.cfg = before
	r.reload(func(*config.Config) error { return nil })
	if got := strings.Count(r.log.String(), `msg="setting changed" key=address`); got != 2 {
		t.Errorf("told of a change back to what is in force:\n%s", r.log)
	}
}

// TestReloadUnderLoad holds that no reload loses, doubles or disturbs a message, and that each file
// has one format.
func TestReloadUnderLoad(t *testing.T) {
	const clients, messages, reloads = 40, 200, 12
	r := run(t)
	var talking sync.WaitGroup
	for i := range clients {
		c := r.dial()
		greeting(t, c)
		talking.Go(func() {
			for m := range messages {
				if _, err := fmt.Fprintf(c, "client %d message %d\n", i, m); err != nil {
					t.Errorf("client %d: %v", i, err)
					return
				}
			}
			c.CloseWrite()
			if _, err := c.Read(make([]byte, 1)); err == nil {
				t.Errorf("client %d: got data, want the end", i)
			}
		})
	}
	for i := range reloads {
		r.reload(func(c *config.Config) error {
			c.Record.Format = []string{"json", "text"}[i%2]
			c.Record.MaxSize = int64(i+1) << 16
			return nil
		})
	}
	talking.Wait()

	found := make(map[string]int)
	names, _ := filepath.Glob(filepath.Join(r.dir, "records*.log"))
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(b) {
			if (line[0] == '{') != (b[0] == '{') {
				t.Fatalf("%s has records of both formats", name)
			}
			found[message(t, line)]++
		}
	}
	delete(found, "")
	for key, n := range found {
		if n != 1 {
			t.Errorf("%q: found %d times", key, n)
		}
	}
	if len(found) != clients*messages {
		t.Errorf("found %d messages, want %d", len(found), clients*messages)
	}
}

// message returns what a record says, "" for an event.
func message(t *testing.T, line []byte) string {
	t.Helper()
	if line[0] == '{' {
		var rec struct{ Data string }
		if err := json.Unmarshal(line, &rec); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		return rec.Data
	}
	head, data, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), ": ")
	if _, isMessage := strings.CutPrefix(head[len("2006-01-02T15:04:05.000000Z"):], " from "); !isMessage {
		return ""
	}
	return data
}

// TestReopenLetsGoOfFilesThatWereMoved holds what logrotate relies on: once it is done, nothing
// goes into the old files.
func TestReopenLetsGoOfFilesThatWereMoved(t *testing.T) {
	var logPath string
	r := run(t, func(cfg *config.Config) {
		logPath = filepath.Join(filepath.Dir(cfg.Record.File), "tcpmux.log")
		cfg.Log.File = logPath
	})
	path := r.cfg.Record.File
	servertest.Eventually(t, func() bool { return strings.Contains(readFile(logPath), "msg=ready ") }, func() { t.Error("not ready") })
	c := servertest.Dial(t, r.cfg.Listeners[0].Address[0], nil)
	c.Say("before\n")
	servertest.Eventually(t, func() bool { return strings.Contains(readFile(path), ": before\n") }, func() { t.Error("not recorded") })
	for _, p := range []string{path, logPath} {
		if err := os.Rename(p, p+".1"); err != nil {
			t.Fatal(err)
		}
	}
	r.reopens <- struct{}{}
	servertest.Eventually(t, func() bool { return strings.Contains(readFile(logPath), "files reopened") }, func() { t.Errorf("log: got %q", readFile(logPath)) })
	old := readFile(path + ".1")
	c.Say("after\n")
	servertest.Eventually(t, func() bool { return strings.Contains(readFile(path), ": after\n") }, func() { t.Error("not recorded in the new file") })
	if got := readFile(path + ".1"); got != old || !strings.Contains(got, ": before\n") {
		t.Errorf("got %q in the old file, want %q still", got, old)
	}
}
