//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// throng is clients that send numbered lines in random segments, all the time, and stay connected
// whatever happens to the daemon.
type throng struct {
	r       *rig
	members []*member
	own     string // the record file of the second listener, of which every other member is; "": there is none
	over    chan struct{}
	talking sync.WaitGroup
}

// member is one of them.
type member struct {
	conn *net.TCPConn
	name string
	file string       // that it is recorded in
	said bytes.Buffer // all that it has sent
	rnd  *rand.Rand
	rest []byte // of the line under way
	line int
	err  error
}

// jsonRecords boots a machine that records JSON. Further pairs of old and new text change the
// configuration.
func jsonRecords(t *testing.T, pairs ...string) *rig {
	t.Helper()
	r := installed(t)
	r.asJSON(pairs...)
	r.run("systemctl", "start", "tcpmux.socket")
	return r
}

func (r *rig) asJSON(pairs ...string) {
	r.t.Helper()
	r.edit(toml, `format = "text"`, `format = "json"`)
	for i := 0; i < len(pairs); i += 2 {
		r.edit(toml, pairs[i], pairs[i+1])
	}
	r.throng = &throng{r: r, over: make(chan struct{})}
}

// join connects n more clients, waits for their banners, and returns them. They send nothing before
// talk.
func (c *throng) join(n int) []*member {
	c.r.t.Helper()
	for range n {
		m := &member{name: fmt.Sprintf("m%d", len(c.members)), file: records, rnd: rand.New(rand.NewPCG(uint64(len(c.members)), 1))}
		address := port
		if c.own != "" && len(c.members)%2 == 1 {
			address, m.file = secondPort, c.own
		}
		var err error
		if m.conn, err = c.r.net.dial(address); err != nil {
			c.r.t.Fatal(err)
		}
		if err := m.conn.SetDeadline(time.Now().Add(5 * patience)); err != nil {
			c.r.t.Fatal(err)
		}
		got := make([]byte, len(banner))
		if _, err := io.ReadFull(m.conn, got); err != nil || string(got) != banner {
			c.r.t.Fatalf("%s: banner: got %q, %v", m.name, got, err)
		}
		c.members = append(c.members, m)
	}
	return c.members[len(c.members)-n:]
}

// talk has all members send until hush, each about once in every.
func (c *throng) talk(every time.Duration) {
	for _, m := range c.members {
		c.talking.Go(func() {
			for {
				select {
				case <-c.over:
					return
				case <-time.After(time.Duration(m.rnd.Int64N(int64(2 * every)))):
				}
				if m.err = m.segment(); m.err != nil {
					return
				}
			}
		})
	}
}

// segment sends some of the member's next bytes.
func (m *member) segment() error {
	for len(m.rest) == 0 || m.rnd.IntN(4) == 0 {
		m.line++
		m.rest = fmt.Appendf(m.rest, "%s %d %s\n", m.name, m.line, strings.Repeat("x", m.rnd.IntN(60)))
	}
	n := 1 + m.rnd.IntN(len(m.rest))
	return m.say(m.take(n))
}

func (m *member) take(n int) string {
	text := string(m.rest[:n])
	m.rest = m.rest[n:]
	return text
}

// say sends text.
func (m *member) say(text string) error {
	if _, err := io.WriteString(m.conn, text); err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	m.said.WriteString(text)
	return nil
}

// hush ends talk and all connections. It fails for members that have received anything but the end
// of the stream that they have ended themselves.
func (c *throng) hush() {
	c.r.t.Helper()
	close(c.over)
	c.talking.Wait()
	failed := 0
	for _, m := range c.members {
		if err := m.bye(); err != nil && failed < 5 {
			failed++
			c.r.t.Error(err)
		}
	}
}

// bye sends the rest and leaves.
func (m *member) bye() error {
	if m.err != nil {
		return m.err
	}
	defer m.conn.Close()
	if err := m.say(m.take(len(m.rest))); err != nil {
		return err
	}
	if err := m.conn.CloseWrite(); err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	if rest, err := io.ReadAll(m.conn); err != nil || len(rest) > 0 {
		return fmt.Errorf("%s: got %q, %v, want the end of the stream", m.name, rest, err)
	}
	return nil
}

// object is one record.
type object struct {
	Kind, Session, Remote, Reason, Flag string
	Offset, Records, Bytes              int64
	Data, End                           string
}

// heard is what the records say about one client.
type heard struct {
	stream                  strings.Builder
	messages, opens, closes int
	session                 string
	last                    object
}

// check compares the records with what was sent: each byte once and in its place, one opening and
// one end of each session.
func (c *throng) check() {
	heards := map[string]map[string]*heard{records: c.read(records)}
	if c.own != "" {
		heards[c.own] = c.read(c.own)
	}
	faults := 0
	for _, m := range c.members {
		addr := m.conn.LocalAddr().String()
		h := heards[m.file][addr]
		files := 0
		for _, in := range heards {
			if in[addr] != nil {
				files++
			}
		}
		var fault string
		switch {
		case files > 1:
			fault = fmt.Sprintf("got records in %d files, want them in %s only", files, m.file)
		case h == nil:
			fault = "got nothing"
		case h.stream.String() != m.said.String():
			fault = fmt.Sprintf("got %d bytes that differ from the %d said, at %d", h.stream.Len(), m.said.Len(), differ(h.stream.String(), m.said.String()))
		case h.opens != 1 || h.closes != 1:
			fault = fmt.Sprintf("got %d openings and %d ends, want one each", h.opens, h.closes)
		case h.last.Records != int64(h.messages) || h.last.Bytes != int64(m.said.Len()):
			fault = fmt.Sprintf("got %d records and %d bytes at its end, want %d and %d", h.last.Records, h.last.Bytes, h.messages, m.said.Len())
		default:
			continue
		}
		if faults++; faults <= 5 {
			c.r.t.Errorf("%s (%v): %s", m.name, m.conn.LocalAddr(), fault)
		}
	}
}

func differ(a, b string) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// read reads a record file. Each offset must follow from the previous one.
func (c *throng) read(file string) map[string]*heard {
	heards := make(map[string]*heard)
	text := c.r.read(file)
	faults := 0
	for line := range strings.Lines(text) {
		var o object
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			c.r.t.Errorf("%s: got %q, want a record", file, line)
			continue
		}
		h := heards[o.Remote]
		if h == nil {
			h = &heard{session: o.Session}
			heards[o.Remote] = h
		}
		fault := h.add(o)
		if fault != "" && faults < 5 {
			faults++
			c.r.t.Errorf("%s: %s: %s", file, o.Remote, fault)
		}
	}
	return heards
}

// add adds a record, and returns what is wrong with it.
func (h *heard) add(o object) (fault string) {
	if o.Session != h.session {
		fault = fmt.Sprintf("got session %s, want %s", o.Session, h.session)
	}
	switch o.Kind {
	case "open":
		h.opens++
	case "close":
		h.closes++
		h.last = o
	case "message":
		if o.Offset != int64(h.stream.Len()) {
			fault = fmt.Sprintf("got offset %d, want %d", o.Offset, h.stream.Len())
		}
		h.messages++
		h.stream.WriteString(o.Data + o.End)
	}
	return fault
}

// kill kills the daemon, if it runs.
func (r *rig) kill() {
	r.t.Helper()
	was := r.mainPID()
	if was == "0" {
		return
	}
	_, _ = r.try("kill", "-KILL", was) // it may have been killed in the same moment
}

// settled waits until clients have lived long enough to outlive a crash. Their age is the
// condition, and nothing tells it.
func (c *throng) settled() {
	c.r.t.Helper()
	time.Sleep(2 * time.Second) // twice survive_after
}

// outlive has clients of a model talk while the daemon is ended in some way. They stay connected,
// and no byte is lost, duplicated or out of place.
func outlive(t *testing.T, model string, clients int, end func(r *rig)) {
	r := jsonRecords(t, `model = "goroutine"`, `model = "`+model+`"`)
	r.outlived(clients, end)
}

// outlived is the rest of outlive, on a machine that records JSON.
func (r *rig) outlived(clients int, end func(r *rig)) {
	r.throng.join(clients)
	r.throng.settled()
	// All together they must not overload the machine.
	r.throng.talk(time.Duration(max(clients, 1000)) * 300 * time.Microsecond)
	end(r)
	r.awaitProperty("tcpmux.service", "SubState", "running")
	r.throng.hush()
}

func TestClientsOutliveRestarts(t *testing.T) {
	outlive(t, "goroutine", 5000, func(r *rig) {
		for range 10 {
			r.run("systemctl", "restart", "tcpmux.service")
		}
	})
}

// A restart may come while systemd still considers the service to be starting. It then runs no
// ExecStop=, and only the signal tells the daemon that another process follows.
func TestClientsOutliveARestartDuringAStart(t *testing.T) {
	outlive(t, "goroutine", 100, func(r *rig) {
		r.write("/etc/systemd/system/tcpmux.service.d/e2e.conf", "[Service]\nExecStartPost=/bin/sleep 3\n")
		r.run("systemctl", "daemon-reload")
		for range 3 {
			r.run("systemctl", "restart", "--no-block", "tcpmux.service")
			r.awaitProperty("tcpmux.service", "SubState", "start-post")
			was := r.mainPID()
			r.run("systemctl", "restart", "--no-block", "tcpmux.service")
			r.awaitOther(was)
		}
	})
}

// killTimes returns how often clients outlive a kill: the value of E2E_KILLS, or enough for each
// commit.
func killTimes(t *testing.T) int {
	t.Helper()
	text := os.Getenv("E2E_KILLS")
	if text == "" {
		return 20
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("E2E_KILLS: %v", err)
	}
	return n
}

func TestClientsOutliveKills(t *testing.T) {
	outlive(t, "goroutine", 5000, func(r *rig) {
		r.explain(`Failed to start tcpmux`) // killed before it was ready
		rnd := rand.New(rand.NewPCG(1, 1))
		for range killTimes(t) {
			// Any moment of it.
			time.Sleep(time.Duration(rnd.IntN(700)) * time.Millisecond)
			r.kill()
		}
	})
}

// TestClientsOutliveSignalsWhileItStarts: before the daemon's first instruction, signals end the
// process that systemd has made for it. systemd then starts another one, even after SIGHUP, which
// it considers a clean end of a service that was ready.
func TestClientsOutliveSignalsWhileItStarts(t *testing.T) {
	outlive(t, "goroutine", 200, func(r *rig) {
		r.explain(`Failed to start tcpmux`) // it was ended before it was ready
		r.run("bash", "-c", `for s in HUP USR1 USR2; do for ms in 005 010 015 020 030 040; do
			systemctl restart --no-block tcpmux.service
			sleep 0.$ms
			systemctl kill --signal=$s --kill-who=main tcpmux.service || true
			sleep 0.2
		done; done`)
	})
}

func TestClientsOutliveAnUpgradeAndADowngrade(t *testing.T) {
	r := boot(t)
	r.install(oldDeb) // with its configuration, which both versions know
	r.asJSON()
	r.run("systemctl", "start", "tcpmux.socket")
	r.outlived(5000, func(r *rig) {
		r.install(newDeb)
		r.install(oldDeb)
		r.install(newDeb)
	})
}

func TestClientsOfThreadsOutliveTheDaemon(t *testing.T)   { outlive(t, "thread", 200, mixed) }
func TestClientsOfProcessesOutliveTheDaemon(t *testing.T) { outlive(t, "process", 30, mixed) }

// TestClientsOfTwoRecordFilesOutliveTheDaemon, each in its own file.
func TestClientsOfTwoRecordFilesOutliveTheDaemon(t *testing.T) {
	r := installed(t)
	r.asJSON()
	r.write(toml, r.read(toml)+second(secondPort, "file = \"second.log\"\n"))
	r.resocket()
	r.throng.own = "/var/log/tcpmux/second.log"
	r.outlived(400, func(r *rig) {
		mixed(r)
		r.awaitProperty("tcpmux.service", "SubState", "running")
		usr2(r)
	})
}

// mixed restarts and kills the daemon in turn.
func mixed(r *rig) {
	r.explain(`Failed to start tcpmux`) // killed before it was ready
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 5 {
		r.run("systemctl", "restart", "tcpmux.service")
		time.Sleep(time.Duration(rnd.IntN(500)) * time.Millisecond) // any moment
		r.kill()
		time.Sleep(time.Duration(rnd.IntN(500)) * time.Millisecond) // any moment
	}
}

// slowly has systemd pause between a crash and the next start.
func (r *rig) slowly() {
	r.write("/etc/systemd/system/tcpmux.service.d/e2e.conf", "[Service]\nRestartSec=2s\n")
	r.run("systemctl", "daemon-reload")
}

// When the daemon dies, the beginning of a long message is no longer in the socket.
func TestALongMessageOutlivesAKill(t *testing.T)          { outliveInAMessage(t, "goroutine") }
func TestALongMessageOfAThreadOutlivesAKill(t *testing.T) { outliveInAMessage(t, "thread") }
func TestALongMessageOfAProcessOutlivesAKill(t *testing.T) {
	outliveInAMessage(t, "process")
}

func outliveInAMessage(t *testing.T, model string) {
	r := jsonRecords(t, `model = "goroutine"`, `model = "`+model+`"`)
	m := r.throng.join(1)[0]
	r.throng.settled()
	for range 3 {
		if err := m.say(strings.Repeat("x", 20_000)); err != nil {
			t.Fatal(err)
		}
		// The daemon's work: it takes the beginning out of the socket, of which the records
		// show nothing. If it is slower, the test shows less.
		time.Sleep(200 * time.Millisecond)
		was := r.mainPID()
		r.kill()
		r.awaitOther(was)
	}
	if err := m.say("end\nnext\n"); err != nil {
		t.Fatal(err)
	}
	if err := m.bye(); err != nil {
		t.Fatal(err)
	}
	if h := r.throng.read(records)[m.conn.LocalAddr().String()]; h == nil || h.messages != 2 {
		t.Errorf("got %+v, want two messages", h)
	}
}

// What clients send and do while no daemon runs is recorded by the next daemon.
func TestWhatIsSaidWhileNoDaemonRuns(t *testing.T) {
	r := jsonRecords(t)
	r.slowly()
	all := r.throng.join(4)
	half, resets, leaves, stays := all[0], all[1], all[2], all[3]
	for _, m := range all {
		if err := m.say("one\nhal"); err != nil {
			t.Fatal(err)
		}
	}
	r.throng.settled()
	was := r.mainPID()
	r.kill()
	r.await("the daemon's end", func() bool { return r.mainPID() == "0" })
	for _, m := range all[:3] {
		if err := m.say("f a line\nlast words"); err != nil {
			t.Error(err)
		}
	}
	_ = resets.conn.SetLinger(0)
	_, _ = resets.conn.Close(), leaves.conn.Close()
	r.awaitOther(was)
	if err := half.say(" of a client\n"); err != nil {
		t.Error(err)
	}
	for _, m := range []*member{half, stays} {
		if err := m.bye(); err != nil {
			t.Error(err)
		}
	}
	r.await("four ends", func() bool { return strings.Count(r.read(records), `"kind":"close"`) == 4 })
	heards := r.throng.read(records)
	for m, want := range map[*member]string{half: "eof", resets: "reset", leaves: "eof", stays: "eof"} {
		if got := heards[m.conn.LocalAddr().String()]; got == nil || got.last.Reason != want {
			t.Errorf("%s: got %+v, want its end by %s", m.name, got, want)
		}
	}
}

// Clients wait until a daemon can start.
func TestClientsWaitForADaemonThatStarts(t *testing.T) {
	r := jsonRecords(t)
	r.explain(`Failed to start tcpmux`)
	r.throng.join(100)
	r.throng.settled()
	r.throng.talk(100 * time.Millisecond)
	r.run("sh", "-c", "mv /usr/bin/tcpmux /usr/bin/good && printf '#!/bin/sh\\nexit 1\\n' >/usr/bin/tcpmux && chmod +x /usr/bin/tcpmux")
	_, _ = r.try("systemctl", "restart", "tcpmux.service")
	r.await("three starts that fail", func() bool { return r.show("tcpmux.service", "NRestarts") >= "3" })
	r.run("mv", "/usr/bin/good", "/usr/bin/tcpmux")
	r.awaitProperty("tcpmux.service", "SubState", "running")
	r.throng.hush()
}

// While the file has a fault, clients are served with the previous configuration, and the status
// line shows the fault.
func TestClientsAreServedThroughABrokenConfiguration(t *testing.T) {
	r := jsonRecords(t)
	r.explain(`tcpmux\.toml`)
	r.throng.join(20)
	r.throng.settled()
	r.throng.talk(100 * time.Millisecond)
	r.edit(toml, `backlog = 4096`, `backlog = -1`)
	for range 2 {
		r.run("systemctl", "restart", "tcpmux.service")
		r.awaitStatus("configuration not loaded: ", "backlog is -1")
		r.throng.join(1)
	}
	r.edit(toml, `backlog = -1`, `backlog = 4096`)
	r.run("systemctl", "reload", "tcpmux.service")
	r.await("no fault in STATUS=", func() bool { return !strings.Contains(r.show("tcpmux.service", "StatusText"), "not loaded") })
	r.throng.hush()
}

// If systemd stores nothing, or not all that is needed, clients are drained, and the journal says
// why.
func TestWithoutAStoreClientsAreDrained(t *testing.T) { drainedWithStore(t, "0") }

// The next daemon then finds nothing but the ring. What the kernel knows is enough to go on with
// clients, but not to count their records from the first one.
func TestWithAFullStoreClientsAreDrained(t *testing.T) {
	r := drainedWithStore(t, "2")
	k := r.mustCall()
	for range 2 {
		r.run("systemctl", "restart", "tcpmux.service")
	}
	if err := errors.Join(k.say(3), k.bye()); err != nil {
		t.Error(err)
	}
}

func drainedWithStore(t *testing.T, size string) *rig {
	r := installed(t)
	r.write("/etc/systemd/system/tcpmux.service.d/e2e.conf", "[Service]\nFileDescriptorStoreMax="+size+"\n")
	r.run("systemctl", "daemon-reload")
	r.run("systemctl", "start", "tcpmux.socket")
	r.drainedAtRestart()
	if out := r.run("journalctl", "-q", "-u", "tcpmux.service", "-o", "cat"); !strings.Contains(out, "FileDescriptorStoreMax=") {
		t.Error("journal: got no word of FileDescriptorStoreMax=")
	}
	return r
}

func TestWithSurviveFalseClientsAreDrained(t *testing.T) {
	r := installed(t)
	r.edit(toml, "survive = true", "survive = false")
	r.run("systemctl", "start", "tcpmux.socket")
	r.drainedAtRestart()
}

// drainedAtRestart fails unless a client is told of the end at a restart, and all that it sends is
// recorded.
func (r *rig) drainedAtRestart() {
	r.t.Helper()
	k := r.mustCall()
	if err := k.say(3); err != nil {
		r.t.Fatal(err)
	}
	var restarting sync.WaitGroup
	restarting.Go(func() { _, _ = r.try("systemctl", "restart", "tcpmux.service") })
	if rest, err := io.ReadAll(k.conn); err != nil || len(rest) > 0 {
		r.t.Errorf("got %q, %v, want the end", rest, err)
	}
	if err := k.say(1); err != nil { // it may finish
		r.t.Error(err)
	}
	_ = k.conn.Close()
	restarting.Wait()
	r.mustVisit()
}

// A stop ends all clients: they are told, what they send is recorded, and the next daemon knows
// nothing about them.
func TestAStopEndsClients(t *testing.T) {
	r := serving(t)
	k := r.mustCall()
	if err := k.say(3); err != nil {
		t.Fatal(err)
	}
	(&throng{r: r}).settled() // it would outlive a crash
	var stopping sync.WaitGroup
	stopping.Go(func() { _, _ = r.try("systemctl", "stop", "tcpmux.service") })
	if rest, err := io.ReadAll(k.conn); err != nil || len(rest) > 0 {
		t.Errorf("got %q, %v, want the end", rest, err)
	}
	if err := k.say(1); err != nil {
		t.Error(err)
	}
	_ = k.conn.Close()
	stopping.Wait()
	r.mustVisit()
}

// SIGUSR2 is meant for use without systemd. Under systemd it works too: no client is lost, and the
// main process stays the same.
func TestClientsOutliveSIGUSR2(t *testing.T)            { outlive(t, "goroutine", 1000, usr2) }
func TestClientsOfProcessesOutliveSIGUSR2(t *testing.T) { outlive(t, "process", 30, usr2) }

// usr2 upgrades the daemon in place several times, and then has systemd restart it.
func usr2(r *rig) {
	was := r.mainPID()
	for range 3 {
		ready := r.count("msg=ready")
		r.run("kill", "-USR2", was)
		r.await("the trial, and the program in place", func() bool { return r.count("msg=ready") == ready+2 })
		r.awaitProperty("tcpmux.service", "SubState", "running")
		if n, is := r.count("not upgraded"), r.mainPID(); n > 0 || is != was {
			r.t.Errorf("got %d upgrades that failed, and process %s, want none and %s", n, is, was)
		}
	}
	r.run("systemctl", "restart", "tcpmux.service")
}
