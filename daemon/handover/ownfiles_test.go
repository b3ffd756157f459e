package handover_test

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"tcpmux/config"
	"tcpmux/daemon/server"
	"tcpmux/daemon/servertest"
	"tcpmux/daemon/session"
	"tcpmux/daemon/sink"
	"tcpmux/daemon/systemd"
)

// ownFiles are the files that listeners of a daemon have for themselves, by the listener's name.
type ownFiles struct {
	t     *testing.T
	fault error

	mu    sync.Mutex
	files map[string]*ownFile
}

type ownFile struct {
	path string
	out  *servertest.FakeFile
	sink *sink.Sink
}

// of returns the file of a listener, which is made when it is first asked for.
func (o *ownFiles) of(l config.Listener) *ownFile {
	o.mu.Lock()
	defer o.mu.Unlock()
	f := o.files[l.Name]
	if f == nil {
		f = &ownFile{path: l.File, out: &servertest.FakeFile{}}
		f.out.Fail(o.fault)
		f.sink = sink.New(f.out, func(error) {})
		o.files[l.Name] = f
	}
	return f
}

func (o *ownFiles) sinkOf(l config.Listener) *sink.Sink { return o.of(l).sink }

// option has the sessions of a server use the files.
func (o *ownFiles) option(opt *server.Options) {
	main := opt.SinkOf
	opt.SinkOf = func(l config.Listener) session.Sink {
		if l.File == "" {
			return main(l)
		}
		return o.sinkOf(l)
	}
}

func (o *ownFiles) close() {
	for _, f := range o.files {
		f.sink.Close()
	}
}

// ownFileOf has the first listener record in a file of its own, as [[listener]] "own".
func ownFileOf(path string) func(*config.Config) {
	return func(c *config.Config) {
		c.Record.Format, c.Record.Events = "json", config.NoEvents
		c.Listeners[0].Name, c.Listeners[0].File = "own", path
	}
}

// TestLinesForAnOwnFileAreWrittenByTheNextDaemon once, whatever that has the listener record in: to
// the file that they are for, and so is what the clients say that began with it.
func TestLinesForAnOwnFileAreWrittenByTheNextDaemon(t *testing.T) {
	for _, c := range []struct {
		name string
		next func(*config.Config)
		path string
	}{
		{"the same file", ownFileOf("own.log"), "own.log"},
		{"another file", ownFileOf("other.log"), "other.log"},
		{"no file of its own", ownFileOf(""), "own.log"},
		{"no such listener", asJSON, "own.log"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, st := surviving(t, ownFileOf("own.log"))
			d.Open()
			conn := d.Greeted()
			d.stuck(func() { conn.Say("one\ntwo\n") })
			next := st.next(c.next)
			conn.Say("three\n")
			own := next.own.of(config.Listener{Name: "own"})
			own.out.Await(t, `"data":"three"`)
			text := own.out.String()
			for _, want := range []string{"one", "two", "three"} {
				if n := strings.Count(text, `"data":"`+want+`"`); n != 1 {
					t.Errorf("own file: got %q %d times, want it once: %s", want, n, text)
				}
			}
			if own.path != c.path {
				t.Errorf("path: got %q, want %q", own.path, c.path)
			}
			if got := next.Out.String(); strings.Contains(got, `"data":`) {
				t.Errorf("main file: got %q, want no message", got)
			}
		})
	}
}

// TestAJournalThatIsNeededNoLongerIsNotStored.
func TestAJournalThatIsNeededNoLongerIsNotStored(t *testing.T) {
	stored := func(st *store) bool {
		return slices.ContainsFunc(st.stored, func(s systemd.Socket) bool { return s.Name == systemd.JournalName+"-own" })
	}
	d, st := surviving(t, ownFileOf("own.log"))
	if !stored(st) {
		t.Error("got no journal of the listener, want one")
	}
	d.Open()
	conn := d.Greeted()
	conn.Say("one\n")
	d.own.of(d.Config.Listeners[0]).out.Await(t, `"data":"one"`)
	d.leave()
	next := st.start(ownFileOf(""))
	if !stored(st) {
		t.Error("got no journal of the listener, want one while a client is left that writes to its file")
	}
	next.Open()
	_ = conn.CloseWrite()
	conn.HearEnd()
	next.AwaitClients(0)
	next.leave()
	st.start(ownFileOf(""))
	if stored(st) {
		t.Error("got a journal of the listener, want none without clients and lines")
	}
}

// TestOfUnknownClientsNothingIsLost: with several journals nobody knows which one had their
// records. They go on in the main file.
func TestOfUnknownClientsNothingIsLost(t *testing.T) {
	d, st := surviving(t, ownFileOf("own.log"))
	// So that the main journal is further than the other one.
	ticket, err := d.Sink.Gather([]byte(strings.Repeat("x", 1000)+"\n"), nil)
	if err == nil {
		err = d.Sink.Commit(ticket)
	}
	if err != nil {
		t.Fatal(err)
	}
	d.Open()
	conn := d.Greeted()
	d.stuck(func() { conn.Say("one\ntwo\n") })
	st.stored = slices.DeleteFunc(st.stored, func(s systemd.Socket) bool { return strings.HasPrefix(s.Name, systemd.SettingsName) })
	next := st.next(ownFileOf("own.log"))
	conn.Say("three\n")
	next.AwaitRecords(`"data":"one"`, `"data":"two"`, `"data":"three"`)
	own := next.own.of(next.Config.Listeners[0]).out
	own.Await(t, `"data":"two"`)
}
