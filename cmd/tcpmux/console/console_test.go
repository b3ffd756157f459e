package console

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tcpmux/daemon/control/api"
)

// everyCommand has a command line for each command that asks the daemon.
var everyCommand = [][]string{
	{"status"}, {"sessions"}, {"show", "1"}, {"tail"}, {"kill", "1"}, {"kill", "--all"}, {"drain", "x"}, {"undrain", "x"}, {"rotate"}, {"reload"},
}

// TestADaemonThatDoesNotAnswerIsOneClearLine, whatever keeps it from answering.
func TestADaemonThatDoesNotAnswerIsOneClearLine(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	silent := func(http.ResponseWriter, *http.Request) { <-hang }
	cut := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write([]byte(`{"version":`))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	for _, c := range []struct {
		name string
		path string
		want string
	}{
		{"absent", filepath.Join(socketDir(t), "control"), "not running"},
		{"refuses", refusing(t), "not running"},
		{"503", serve(t, answer(503, api.Error{Error: "the daemon is starting" + hostile})), `the daemon is starting\x1b[2J`},
		{"403", serve(t, answer(403, api.Error{Error: "want root, for changes"})), "want root"},
		{"404", serve(t, answer(404, api.Error{Error: "there is no such session"})), "no such session"},
		{"no JSON", serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>\n\x1b[2J")) }), "invalid character"},
		{"an error that is no JSON", serve(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "oh\x1b", 500) }), "500"},
		{"hangs", serve(t, silent), "does not answer"},
		{"closes in the middle", serve(t, cut), ""},
	} {
		for _, args := range everyCommand {
			t.Run(c.name+"/"+strings.Join(args, " "), func(t *testing.T) {
				o := execute(t, Console{Limit: limitOf(c.name, args[0])}, append(args, "--control", c.path)...)
				oneLine(t, o, "tcpmux: "+args[0]+": ")
				if !strings.Contains(o.stderr, c.want) {
					t.Errorf("stderr: got %q, want %q in it", o.stderr, c.want)
				}
			})
		}
	}
}

// limitOf returns a short limit where a command would wait for a long time: for an answer that does
// not come, or for the next daemon.
func limitOf(name, command string) time.Duration {
	if name == "hangs" {
		return 50 * time.Millisecond
	}
	if name == "closes in the middle" && command == "tail" {
		return time.Second
	}
	return 0
}

// oneLine checks that a command has failed with one line that is fit for a terminal.
func oneLine(t *testing.T, o outcome, prefix string) {
	t.Helper()
	if o.status != 1 || o.stdout != "" {
		t.Errorf("got status %d and %q, want 1 and nothing", o.status, o.stdout)
	}
	last := o.stderr[strings.LastIndex(strings.TrimSuffix(o.stderr, "\n"), "\n")+1:]
	if !strings.HasPrefix(last, prefix) || !strings.HasSuffix(last, "\n") || strings.ContainsFunc(last[:len(last)-1], control) {
		t.Errorf("stderr: got %q, want one line that begins with %q", last, prefix)
	}
	if lines := strings.Count(o.stderr, "\n"); lines != 1 && !strings.Contains(o.stderr, "waiting for the next one") {
		t.Errorf("stderr: got %q, want one line", o.stderr)
	}
}

func control(r rune) bool { return r < 0x20 || r >= 0x7f && r < 0xa0 || r == 0x202e || r == 0x2028 }

// refusing is a socket at which nobody listens any more.
func refusing(t *testing.T) string {
	path := filepath.Join(socketDir(t), "control")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	_ = ln.Close() // nothing was written
	return path
}

func TestUsage(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"status with an argument", []string{"status", "x"}, `unexpected argument "x"`},
		{"show nothing", []string{"show"}, "want the ID of a session"},
		{"show two", []string{"show", "1", "2"}, `unexpected argument "2"`},
		{"show without a name", []string{"show", ""}, `"" is no name`},
		{"source", []string{"sessions", "--source", "192.0.2.7/24"}, `--source is "192.0.2.7/24", want`},
		{"source of tail", []string{"tail", "--source", "example.org"}, `--source is "example.org", want a network or an address`},
		{"idle", []string{"sessions", "--idle", "90"}, `--idle is "90", want a duration with its unit`},
		{"min-bytes", []string{"sessions", "--min-bytes", "64k"}, `--min-bytes is "64k", want a size with its unit`},
		{"sort", []string{"sessions", "--sort", "-size"}, `--sort is "-size", want opened, heard, bytes, records, remote`},
		{"limit", []string{"sessions", "--limit", "-1"}, "--limit is -1, want 0 or more"},
		{"kill nobody", []string{"kill"}, "want IDs of sessions, --listener, --source, or --all"},
		{"kill in two ways", []string{"kill", "1", "--all"}, "want only one of both"},
		{"kill all of some", []string{"kill", "--all", "--listener", "x"}, "want only one of both"},
		{"kill everybody by a network", []string{"kill", "--source", "0.0.0.0/0"}, "--all selects them"},
		{"kill no name", []string{"kill", ""}, `"" is no ID`},
		{"drain nothing", []string{"drain"}, "want the name of a listener"},
		{"interval", []string{"top", "--interval", "1ms"}, `--interval is "1ms", want a duration of 100ms or more`},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := execute(t, at(&fake{}), c.args...)
			if o.status != 64 || o.stdout != "" || !strings.Contains(o.stderr, c.want) || strings.Count(o.stderr, "\n") != 1 {
				t.Errorf("got status %d, %q and %q, want 64 and %q", o.status, o.stdout, o.stderr, c.want)
			}
		})
	}
}

func TestWhatIsAskedFor(t *testing.T) {
	two := []api.Session{{ID: "1"}, {ID: "2"}}
	for _, c := range []struct {
		name   string
		args   []string
		asked  string
		stdout string
	}{
		{"all sessions", []string{"sessions"}, "sessions " + fmt.Sprintf("%+v", api.Filter{}), ""},
		{
			"some sessions",
			[]string{"sessions", "--listener", "a", "--source", "192.0.2.0/24", "--idle", "2m", "--min-bytes", "1KiB", "--sort", "-bytes", "--limit", "7"},
			fmt.Sprintf("sessions %+v", api.Filter{Listener: "a", Source: "192.0.2.0/24", Idle: 120, MinBytes: 1024, Sort: "-bytes", Limit: 7}), "",
		},
		{"kill by names", []string{"kill", "1", "2"}, fmt.Sprintf("kill %+v; kill %+v", api.Filter{ID: "1"}, api.Filter{ID: "2"}), "killed 2 sessions\n"},
		{"kill by listener and source", []string{"kill", "--listener", "a", "--source", "::1"}, fmt.Sprintf("kill %+v", api.Filter{Listener: "a", Source: "::1"}), "killed 2 sessions\n"},
		{"kill all", []string{"kill", "--all", "--json"}, "kill all", "{\n  \"killed\": 2\n}\n"},
		{"drain", []string{"drain", "a"}, "", "a refuses new clients; 3 clients may finish\n"},
		{"undrain", []string{"undrain", "a"}, "", "a lets clients in; it has 1 client\n"},
		{"rotate", []string{"rotate"}, "", "rotated /var/log/a.log\nrotated \\x1b[2J\\x0d\\x0a\\u009b31m\\u202e\\u2028\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &fake{sessions: two}
			o := execute(t, at(d), c.args...)
			if o.status != 0 || o.stderr != "" || c.stdout != "" && o.stdout != c.stdout {
				t.Errorf("got status %d, %q and %q, want 0 and %q", o.status, o.stdout, o.stderr, c.stdout)
			}
			if got := d.asked(); got != c.asked {
				t.Errorf("asked for %s, want %s", got, c.asked)
			}
		})
	}
}

func TestKillGoesOnAfterASessionThatIsGone(t *testing.T) {
	d := &fake{sessions: []api.Session{{ID: "2"}}}
	o := execute(t, at(d), "kill", "1", "2", "3")
	if o.status != 1 || o.stdout != "killed 1 session\n" || o.stderr != "tcpmux: kill: there is no session \"1\" (and 1 more)\n" {
		t.Errorf("got %+v, want one killed, and the first that is gone", o)
	}
}

func TestJSONIsWhatTheDaemonSays(t *testing.T) {
	status := api.Status{Version: hostile, Problems: []string{"a"}, Listeners: []api.Listener{{Name: "x", Counts: api.Counts{Refused: map[string]int64{"rate": 1}}}}}
	o := execute(t, at(&fake{status: status}), "status", "--json")
	var got api.Status
	if err := json.Unmarshal([]byte(o.stdout), &got); err != nil || fmt.Sprint(got) != fmt.Sprint(status) || o.status != 0 {
		t.Errorf("got status %d, %+v (%v), want %+v", o.status, got, err, status)
	}
	if strings.ContainsFunc(strings.ReplaceAll(o.stdout, "\n", ""), control) || !strings.Contains(o.stdout, "\n  \"problems\": [\n") {
		t.Errorf("got %q, want it indented and fit for a terminal", o.stdout)
	}
}

func TestNoColourWithoutATerminal(t *testing.T) {
	o := execute(t, at(&fake{status: api.Status{Problems: []string{"x"}}}), "status")
	if o.status != 0 || strings.Contains(o.stdout, "\x1b") || !strings.Contains(o.stdout, "\nPROBLEM: x\n") {
		t.Errorf("got %+v, want status 0 and the problem without colour", o)
	}
}

func TestReload(t *testing.T) {
	otherwise := func(known bool, err error) func(context.Context) (bool, error) {
		return func(context.Context) (bool, error) { return known, err }
	}
	changed := api.Reloaded{Changes: []api.Change{{Key: "idle_timeout", From: "0s", To: "10m", Effect: "all clients"}}}
	for _, c := range []struct {
		name      string
		d         *fake
		otherwise func(context.Context) (bool, error)
		args      []string
		want      outcome
	}{
		{"nothing new", &fake{}, nil, nil, outcome{0, "reloaded, nothing has changed\n", ""}},
		{"changes", &fake{reloaded: changed}, nil, nil, outcome{0, "KEY           FROM  TO   EFFECT\nidle_timeout  0s    10m  all clients\n", ""}},
		{"a fault", &fake{reloaded: api.Reloaded{Faults: []string{"f:1: x"}}}, nil, nil, outcome{1, "", "tcpmux: reload: configuration not reloaded: f:1: x\n"}},
		{"faults", &fake{reloaded: api.Reloaded{Faults: []string{"f:1: x", "f:2: y"}}}, nil, nil, outcome{1, "", "tcpmux: reload: configuration not reloaded: f:1: x (and 1 more)\n"}},
		{
			"a fault as JSON", &fake{reloaded: api.Reloaded{Faults: []string{"f"}}}, nil, []string{"--json"},
			outcome{1, "{\n  \"faults\": [\n    \"f\"\n  ],\n  \"changes\": null\n}\n", "tcpmux: reload: configuration not reloaded: f\n"},
		},
		{"by signal", &fake{err: errWrong}, otherwise(true, nil), nil, outcome{}},
		{"by signal, in vain", &fake{err: errWrong}, otherwise(true, errWrong), nil, outcome{1, "", "tcpmux: reload: it \\x1b[2J\\x0d\\x0a\\u009b31m\\u202e\\u2028 went wrong\n"}},
		{"not under systemd", &fake{err: errWrong}, otherwise(false, nil), nil, outcome{1, "", "tcpmux: reload: it \\x1b[2J\\x0d\\x0a\\u009b31m\\u202e\\u2028 went wrong\n"}},
		{"an answer needs no signal", &fake{reloaded: api.Reloaded{Faults: []string{"f"}}}, otherwise(true, nil), nil, outcome{1, "", "tcpmux: reload: configuration not reloaded: f\n"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			console := at(c.d)
			console.Otherwise = c.otherwise
			if got := execute(t, console, append([]string{"reload"}, c.args...)...); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestReloadAsksTheDaemonOfItsUnit(t *testing.T) {
	t.Setenv("MAINPID", "7")
	t.Setenv("RUNTIME_DIRECTORY", "/run/other")
	for _, c := range []struct {
		args []string
		want string
	}{{[]string{"reload"}, "/run/other/control"}, {[]string{"reload", "--control", "/x"}, "/x"}, {[]string{"status"}, "/run/tcpmux/control"}} {
		got := ""
		console := Console{Dial: func(path string) Daemon { got = path; return &fake{} }}
		if o := execute(t, console, c.args...); o.status != 0 || got != c.want {
			t.Errorf("%q: got status %d and %s, want %s", c.args, o.status, got, c.want)
		}
	}
}

func TestCompletion(t *testing.T) {
	d := &fake{
		sessions: []api.Session{{ID: "8f-1", Remote: "192.0.2.7:1" + hostile}, {ID: "9a-1", Remote: "192.0.2.8:1"}},
		status:   api.Status{Listeners: []api.Listener{{Name: "tcpmux", Addresses: []string{":1"}}, {Name: "clock"}}},
	}
	for _, c := range []struct {
		name string
		d    Daemon
		args []string
		want string
	}{
		{"sessions", d, []string{"show", ""}, "8f-1\t192.0.2.7:1\\x1b[2J\\x0d\\x0a\\u009b31m\\u202e\\u2028\n9a-1\t192.0.2.8:1\n:4\n"},
		{"a session that was begun", d, []string{"kill", "9a-1", "8"}, "8f-1\t192.0.2.7:1\\x1b[2J\\x0d\\x0a\\u009b31m\\u202e\\u2028\n:4\n"},
		{"only one session", d, []string{"show", "8f-1", ""}, ":4\n"},
		{"a session of tail", d, []string{"tail", "--session", "9"}, "9a-1\t192.0.2.8:1\n:4\n"},
		{"listeners", d, []string{"drain", ""}, "tcpmux\t:1\nclock\n:4\n"},
		{"a listener of sessions", d, []string{"sessions", "--listener", "c"}, "clock\n:4\n"},
		{"sorting", d, []string{"sessions", "--sort", ""}, "opened\n-opened\nheard\n-heard\nbytes\n-bytes\nrecords\n-records\nremote\n-remote\n:4\n"},
		{"no daemon", &fake{err: errWrong}, []string{"undrain", ""}, ":4\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := execute(t, at(c.d), append([]string{"__complete"}, c.args...)...)
			if o.status != 0 || o.stdout != c.want {
				t.Errorf("got status %d and %q, want %q", o.status, o.stdout, c.want)
			}
		})
	}
}

func TestTopWantsATerminal(t *testing.T) {
	o := execute(t, at(&fake{}), "top")
	oneLine(t, o, "tcpmux: top: ")
	if !strings.Contains(o.stderr, `"tcpmux status --json"`) {
		t.Errorf("got %q, want what a program uses instead", o.stderr)
	}
}

func TestEveryCommandHasExamplesAndItsFlags(t *testing.T) {
	for _, cmd := range (&Console{}).Commands() {
		if cmd.Example == "" || !strings.Contains(cmd.Long, "Exit status: 0 ") || cmd.Flags().Lookup("control") == nil {
			t.Errorf("%s: got no example, exit status or --control, want all", cmd.Name())
		}
		if json := cmd.Flags().Lookup("json") != nil; json == (cmd.Name() == "top") {
			t.Errorf("%s: got --json %v, want it everywhere but in top", cmd.Name(), json)
		}
		for _, line := range strings.Split(cmd.Long+"\n"+cmd.Example, "\n") {
			if len(line) > 80 {
				t.Errorf("%s: got %d columns, want at most 80: %s", cmd.Name(), len(line), line)
			}
		}
	}
}
