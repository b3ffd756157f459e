//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The file that the syslog daemons follow, and the one that other programs send once.
const (
	followed = "/srv/followed"
	sentOnce = "/srv/once"
)

// senders are programs that send the lines of a file over one connection, each to its own listener.
var senders = []struct {
	name, framing string
	once          string // the command, if it does not follow its file
}{
	{"rsyslog-octets", "octet-counted", ""},
	{"rsyslog-lines", "line", ""},
	{"syslog-ng-octets", "octet-counted", ""},
	{"syslog-ng-lines", "line", ""},
	{"logger-octets", "octet-counted", "logger --tcp --octet-count --size 8KiB --server 127.0.0.1 --port PORT --file FILE"},
	{"logger-lines", "line", "logger --tcp --size 8KiB --server 127.0.0.1 --port PORT --file FILE"},
	{"socat", "line", "socat -u FILE:FILE TCP:127.0.0.1:PORT"},
	{"nc", "line", "nc -N 127.0.0.1 PORT <FILE"},
}

// senderPort returns the port of a sender's listener.
func senderPort(i int) string { return strconv.Itoa(12500 + i) }

const rsyslogConf = `
global(workDirectory="/srv")
module(load="imfile")
input(type="imfile" file="` + followed + `" tag="tag:")
action(type="omfwd" target="127.0.0.1" port="12500" protocol="tcp" tcp_framing="octet-counted" action.resumeRetryCount="-1")
action(type="omfwd" target="127.0.0.1" port="12501" protocol="tcp" tcp_framing="traditional" action.resumeRetryCount="-1")
`

const syslogNGConf = `@version: current
source s { file("` + followed + `" follow-freq(0.1) flags(no-parse)); };
destination octets { syslog("127.0.0.1" port(12502) transport("tcp")); };
destination lines { network("127.0.0.1" port(12503) transport("tcp")); };
log { source(s); destination(octets); destination(lines); flags(flow-control); };
`

// line returns a line of such a file. Their lengths differ.
func line(n int) string { return fmt.Sprintf("message %d %s.", n, strings.Repeat("é", n*37%1500)) }

// feeder appends lines to a file of the rig.
type feeder struct {
	file *os.File
	fed  int
}

func (f *feeder) feed(n int) error {
	var text strings.Builder
	for range n {
		f.fed++
		text.WriteString(line(f.fed) + "\n")
	}
	_, err := f.file.WriteString(text.String())
	return err
}

// loggedTo boots a machine with a listener for each sender, and starts the syslog daemons.
func loggedTo(t *testing.T) (*rig, *feeder) {
	t.Helper()
	r := installed(t)
	r.edit(toml, `format = "text"`, `format = "json"`)
	var listeners strings.Builder
	for i, s := range senders {
		fmt.Fprintf(&listeners, "\n[[listener]]\nname = %q\naddress = \"127.0.0.1:%s\"\nbanner = \"\"\nframing = %q\n", s.name, senderPort(i), s.framing)
	}
	r.write(toml, r.read(toml)+listeners.String())
	// What installing rsyslog does: systemd has a socket for the service of this name.
	r.run("ln", "-s", "/lib/systemd/system/rsyslog.service", "/etc/systemd/system/syslog.service")
	r.run("systemctl", "daemon-reload")
	r.run("systemctl", "start", "tcpmux.socket")
	r.write("/etc/rsyslog.conf", rsyslogConf)
	r.write("/etc/syslog-ng/syslog-ng.conf", syslogNGConf)
	r.write(followed, "")
	file, err := os.OpenFile(r.path(followed), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	r.run("systemctl", "start", "rsyslog", "syslog-ng")
	return r, &feeder{file: file}
}

// recorded returns how many messages of a listener are in the record file.
func (r *rig) recorded(listener string) int {
	b, _ := os.ReadFile(r.path(records)) // without a file there are none
	return strings.Count(string(b), fmt.Sprintf(`"kind":"message","listener":%q`, listener))
}

// awaitRecorded waits until n messages of a listener are recorded.
func (r *rig) awaitRecorded(listener string, n int) {
	r.t.Helper()
	r.await(fmt.Sprintf("%d messages of %s", n, listener), func() bool { return r.recorded(listener) >= n })
}

// What syslog daemons and the usual tools send is recorded: every message once, whole and in order,
// also over restarts, which the daemons do not notice.
func TestSyslogSenders(t *testing.T) {
	r, f := loggedTo(t)
	if err := f.feed(1000); err != nil {
		t.Fatal(err)
	}
	for _, s := range senders {
		if s.once == "" {
			r.awaitRecorded(s.name, 1)
		}
	}
	feeding := gather(1, func() error {
		time.Sleep(3 * time.Millisecond) // the pace
		return f.feed(5)
	})
	for range 3 {
		r.run("systemctl", "restart", "tcpmux")
	}
	if err := feeding.dismiss(); err != nil {
		t.Fatal(err)
	}
	const once = 1000
	var text strings.Builder
	for n := range once {
		text.WriteString(line(n+1) + "\n")
	}
	r.write(sentOnce, text.String())
	want := make(map[string]int)
	for i, s := range senders {
		want[s.name] = f.fed
		if s.once != "" {
			r.run("sh", "-ec", strings.NewReplacer("PORT", senderPort(i), "FILE:FILE", "FILE:"+sentOnce, "FILE", sentOnce).Replace(s.once))
			want[s.name] = once
		}
	}
	for _, s := range senders {
		r.awaitRecorded(s.name, want[s.name])
	}
	r.run("systemctl", "stop", "rsyslog", "syslog-ng", "syslog.socket")
	r.check = func() { r.checkSenders(want) }
	t.Logf("%d messages of each syslog daemon", f.fed)
}

// sent is a record of a sender.
type sent struct{ Kind, Listener, Session, Head, Data, End, Flag string }

// checkSenders fails unless the records have so many messages of each sender, once, whole and in
// order, from one session.
func (r *rig) checkSenders(want map[string]int) {
	got, session, failed := make(map[string]int), make(map[string]string), make(map[string]bool)
	for text := range strings.Lines(r.read(records)) {
		var s sent
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			r.t.Errorf("%s: got %q, want a record", records, text)
			continue
		}
		if session[s.Listener] == "" {
			session[s.Listener] = s.Session
		}
		if s.Kind == "message" {
			got[s.Listener]++
		}
		if fault := s.fault(got[s.Listener], session[s.Listener]); fault != "" && !failed[s.Listener] {
			failed[s.Listener] = true // what follows differs too
			r.t.Errorf("%s: %s: %s", records, s.Listener, fault)
		}
	}
	for name, n := range want {
		if got[name] != n {
			r.t.Errorf("%s: got %d messages of %s, want %d", records, got[name], name, n)
		}
	}
}

// fault returns what is wrong with a record, unless it is of a session and, as a message, of line
// number n.
func (s *sent) fault(n int, session string) string {
	if s.Session != session {
		return fmt.Sprintf("got another session at message %d, want one", n)
	}
	if s.Kind != "message" {
		return ""
	}
	want := line(n)
	if s.Listener == "syslog-ng-octets" {
		want += "\n" // syslog-ng counts it as part of the message
	}
	header, rest, _ := strings.Cut(s.Data, "message ")
	plain := s.Listener == "socat" || s.Listener == "nc"
	if "message "+rest != want || plain != (header == "") || s.Flag != "" {
		return fmt.Sprintf("got %q with the flag %q, want line %d", s.Data, s.Flag, n)
	}
	head, end := "", "\n"
	if strings.HasSuffix(s.Listener, "-octets") {
		head, end = strconv.Itoa(len(s.Data))+" ", ""
	}
	if s.Head != head || s.End != end {
		return fmt.Sprintf("message %d: got it between %q and %q, want %q and %q", n, s.Head, s.End, head, end)
	}
	return ""
}
