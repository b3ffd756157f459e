package handover_test

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"testing"

	"tcpmux/config"
	"tcpmux/daemon/handover"
	"tcpmux/daemon/servertest"
	"tcpmux/daemon/session"
	"tcpmux/daemon/state"
	"tcpmux/daemon/systemd"
	"tcpmux/daemon/tlsconn"
)

// The kernel that tests run on need not have TLS. Where it matters what it does, clear text stands
// for what it decrypts, and packaging/ktls/guest tests the same with real kernels.

// withKernelTLS is surviving, with a client whose TLS the kernel does, or so the daemons believe.
// What keeps it is there by the time the client is greeted.
func withKernelTLS(t *testing.T, change func(*config.Config)) (*daemon, *store, *servertest.Client, chan tlsconn.Memory) {
	t.Helper()
	if servertest.Model() == "process" {
		t.Skip("a process that serves a client has no TLS of the kernel's")
	}
	withTLS := func(cfg *config.Config) {
		asJSON(cfg)
		cfg.Listeners = append(cfg.Listeners, secured())
		if change != nil {
			change(cfg)
		}
	}
	d, st := surviving(t, withTLS)
	memories := d.secures()
	d.Open()
	c := d.Client()
	st.kernel = func(h *handover.Handover) { h.SetKernelTLS(tlsconn.Encrypting, true) }
	return d, st, c, memories
}

// secures has sessions be kept as if the kernel did their TLS, once their other stages are done. It
// returns what keeps them, or nil.
func (d *daemon) secures() chan tlsconn.Memory {
	memories := make(chan tlsconn.Memory, 10)
	settings := d.Binding().Settings()
	settings.Stages = append(settings.Stages, stage(func(s *session.Session) {
		m := s.Keep.Secure()
		if m != nil && m.Begin(someone) {
			m.Establish()
		}
		memories <- m
	}))
	return memories
}

// secured returns a listener whose clients speak TLS.
func secured() config.Listener {
	l := config.Default().Listeners[0]
	l.Name, l.Address = "secured", []string{"127.0.0.1:0"}
	l.TLS.Certificate, l.TLS.Key = "/certificate", "/key"
	return l
}

var someone = tlsconn.Secured{
	Version: tls.VersionTLS13, Suite: tls.TLS_AES_256_GCM_SHA384, ServerName: "a.example", Subject: "CN=one",
	Client: make([]byte, 48), Server: make([]byte, 48),
}

// secrets is what records have of someone.
const secrets = `"tls":{"version":"1.3","cipher":"TLS_AES_256_GCM_SHA384","sni":"a.example","subject":"CN=one"}`

// withTLS is change, and JSON, and the listener of withKernelTLS.
func withTLS(cfg *config.Config) {
	asJSON(cfg)
	cfg.Listeners = append(cfg.Listeners, secured())
}

// take has m note that text was taken from the socket, which the daemon did by itself; noted is
// whether it lived long enough to note that it is.
func take(m tlsconn.Memory, text string, noted bool) {
	last := text[len(text)-1]
	*m.Taking(len(text), last) = last
	if noted {
		m.Taken()
	}
}

// TestTLSOfTheKernelGoesOn at the offset to which its stream was taken, and nothing of it is taken
// for another connection's.
func TestTLSOfTheKernelGoesOn(t *testing.T) {
	for _, noted := range []bool{true, false} {
		d, st, c, memories := withKernelTLS(t, nil)
		c.Hear("hello\r\n")
		c.Say("one\nhalf")
		d.AwaitRecords(`"data":"one"`)
		d.kernelHolds(len("half"))
		take(<-memories, "one\n", noted)
		d.leave()
		d = st.next(withTLS)
		c.Say(" a line\nhalf")
		d.AwaitRecords(`"offset":4,"data":"half a line"`)
		d.leave()
		d = st.next(withTLS) // the one after the next too
		_ = c.CloseWrite()
		d.AwaitRecords(`"offset":16,"data":"half"`, `"kind":"close"`, secrets, `"reason":"truncated","records":3,"bytes":20`)
		d.AwaitClients(0)
		if heard := c.HearEnd(); strings.Contains(heard, "hello") {
			t.Errorf("heard %q, want no second banner", heard)
		}
	}
}

// TestWhatIsRecordedOfTLSIsSkipped: the daemon died before it could take that.
func TestWhatIsRecordedOfTLSIsSkipped(t *testing.T) {
	d, st, c, _ := withKernelTLS(t, nil)
	c.Hear("hello\r\n")
	d.AwaitRecords(`"kind":"open"`)
	slot := d.session().Slot
	d.leave()
	c.Say("one\nhalf a line\n")
	slot.Count(state.Tally{Offset: 4, Records: 1})
	next := st.next(withTLS)
	next.AwaitRecords(`"offset":4,"data":"half a line"`)
	if got := next.Out.String(); strings.Contains(got, `"data":"one"`) {
		t.Errorf("records: got %q, want nothing twice", got)
	}
}

// TestAGreetingInTLSIsSentOnce: whether anything was sent is told by the keys, not by the bytes of
// the handshake.
func TestAGreetingInTLSIsSentOnce(t *testing.T) {
	d, st, c, _ := withKernelTLS(t, nil)
	c.Hear("hello\r\n")
	d.AwaitRecords(`"kind":"open"`)
	d.leave()
	st.kernel = func(h *handover.Handover) { h.SetKernelTLS(tlsconn.Encrypting, false) }
	st.next(withTLS)
	c.Hear("hello\r\n")
}

// TestAGreetingUnderFormerKeysIsSentOnce: keys that the client has had renewed have sent nothing.
func TestAGreetingUnderFormerKeysIsSentOnce(t *testing.T) {
	d, st, c, memories := withKernelTLS(t, nil)
	c.Hear("hello\r\n")
	d.AwaitRecords(`"kind":"open"`)
	d.leave()
	(<-memories).Rekey(make([]byte, 48), make([]byte, 48))
	st.kernel = func(h *handover.Handover) { h.SetKernelTLS(tlsconn.Encrypting, false) }
	next := st.next(withTLS)
	c.Say("one\n")
	next.AwaitRecords(`"data":"one"`)
	_ = c.CloseWrite()
	if heard := c.HearEnd(); strings.Contains(heard, "hello") {
		t.Errorf("heard %q, want no second banner", heard)
	}
}

// TestAProxysClientInTLSGoesOn: the header is none of the stream, and the next daemon knows whom it
// has named.
func TestAProxysClientInTLSGoesOn(t *testing.T) {
	behind := func(cfg *config.Config) { withTLS(cfg); behindProxy(cfg) }
	d, st, c, _ := withKernelTLS(t, behindProxy)
	c.Say(proxyLine)
	c.Hear("hello 192.0.2.1:1234\r\n")
	d.AwaitRecords(`"kind":"open"`)
	d.leave()
	c.Say("one\n")
	next := st.next(behind)
	next.AwaitRecords(`"offset":0,"data":"one"`, `"remote":"192.0.2.1:1234"`, `"proxy":"`+c.Addr()+`"`)
}

// TestTLSThatIsLostIsNeverClearText: its end is recorded, if its opening was, and nothing of what
// comes.
func TestTLSThatIsLostIsNeverClearText(t *testing.T) {
	lose := func(s tlsconn.State) func(*store) {
		return func(st *store) {
			st.kernel = func(h *handover.Handover) { h.SetKernelTLS(s, true) }
		}
	}
	for _, c := range []struct {
		name string
		lose func(*store)
		want string // in the record of its end; "": there is none
	}{
		{"the file", func(st *store) { st.lose(systemd.TLSName) }, `"reason":"crash","records":1,"bytes":4`},
		{"one key", lose(tlsconn.Partial), secrets + `,"reason":"crash","records":1,"bytes":4`},
		{"both keys", lose(tlsconn.Clear), `"reason":"crash","records":1,"bytes":4`},
		{"the file and the keys", func(st *store) { lose(tlsconn.Clear)(st); st.lose(systemd.TLSName) }, `"reason":"crash","records":1,"bytes":4`},
		{"all but the keys", func(st *store) { st.lose(systemd.TLSName, systemd.StateName, systemd.JournalName) }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, st, conn, memories := withKernelTLS(t, nil)
			conn.Hear("hello\r\n")
			conn.Say("one\n")
			d.AwaitRecords(`"data":"one"`)
			d.kernelHolds(0)
			take(<-memories, "one\n", true)
			d.leave()
			c.lose(st)
			conn.Say("secret\n")
			next := st.start(withTLS)
			if c.want != "" {
				next.AwaitRecords(`"kind":"close"`, c.want)
			}
			next.AwaitClients(0)
			conn.HearEnd()
			if got := next.Out.String(); strings.Contains(got, "secret") || c.want == "" && got != "" {
				t.Errorf("records: got %q, want %q in its end", got, c.want)
			}
		})
	}
}

// TestTLSOfAClientThatHasSaidNothingLeavesNoTrace: its opening was not recorded.
func TestTLSOfAClientThatHasSaidNothingLeavesNoTrace(t *testing.T) {
	onData := func(cfg *config.Config) { cfg.Record.Events = config.EventsOnData }
	d, st, c, _ := withKernelTLS(t, onData)
	c.Hear("hello\r\n")
	slot := d.session().Slot
	servertest.Eventually(t, func() bool { return !slot.Began().IsZero() }, func() { t.Error("it has not begun") })
	d.leave()
	st.lose(systemd.TLSName)
	next := st.next(func(cfg *config.Config) { withTLS(cfg); onData(cfg) })
	next.AwaitClients(0)
	c.HearEnd()
	if got := next.Out.String(); got != "" {
		t.Errorf("records: got %q, want none", got)
	}
}

// TestTLSOfThisProcessIsDrained at a restart: it ends with the process.
func TestTLSOfThisProcessIsDrained(t *testing.T) {
	x := servertest.NewTLS(t)
	d, st := surviving(t, nil, x.Option)
	d.Open()
	c := x.Client(d.Fixture)
	c.Hear(d.Banner)
	s := d.session()
	if s.Survives() {
		t.Error("got a session that survives, want none")
	}
	if s.Settings.Model != "process" && !s.Slot.TLS() {
		t.Error("got a slot that does not tell of TLS")
	}
	left := make(chan struct{})
	go func() { defer close(left); d.leave() }()
	c.HearEnd()
	c.Say("last\n")
	_ = c.Close()
	<-left
	d.AwaitRecords(": last\n", ": eof, 1 records, 5 bytes tls=1.3 ")
	st.next(nil).AwaitClients(0)
}

// TestTLSOfAProcessThatWasKilledIsRecordedAsEnded by the next one.
func TestTLSOfAProcessThatWasKilledIsRecordedAsEnded(t *testing.T) {
	d, st, c := halfway(t, nil)
	d.kernelHolds(len("half"))
	slot := d.session().Slot
	d.leave()
	slot.SetTLS() // as if it had decrypted what it has recorded
	next := st.next(nil)
	next.AwaitRecords("close from "+c.Addr(), ": crash, 1 records, 4 bytes\n")
	next.AwaitClients(0)
	c.HearEnd()
	if got := next.Out.String(); strings.Contains(got, "half") {
		t.Errorf("records: got %q, want nothing of what has come", got)
	}
}

// TestForsakenWithoutASlotItLeavesTheRing: nothing would tell the next process that it spoke TLS.
func TestForsakenWithoutASlotItLeavesTheRing(t *testing.T) {
	d, st := surviving(t, nil)
	d.handover.LoseState()
	settings := d.Binding().Settings()
	settings.Stages = append(settings.Stages, stage(func(s *session.Session) {
		if len(d.sessions.all()) < 2 {
			return // it is in the same message of the queue, which so stays there
		}
		if err := d.handover.EnlistAll(); err != nil {
			t.Error(err)
		}
		if m := s.Keep.Secure(); m != nil || !s.Survives() {
			t.Errorf("got %v and survives %v, want nothing kept, and forsaken later", m, s.Survives())
		}
		if s.Keep.Forsake(); s.Survives() {
			t.Error("got a session that survives, want none")
		}
	}))
	d.Open()
	d.Greeted()
	c := d.Greeted()
	_ = c.CloseWrite()
	c.HearEnd() // although the queue still holds a duplicate
	d.AwaitClients(1)
	d.leave()
	st.next(nil).AwaitClients(1)
}

// TestAHandshakeBeginsAnew with the next process, if nothing of it was read.
func TestAHandshakeBeginsAnew(t *testing.T) {
	if servertest.Model() == "process" {
		t.Skip("nothing is kept of such a client")
	}
	x := servertest.NewTLS(t)
	d, st := surviving(t, nil, x.Option)
	d.Open()
	raw := d.Client()
	d.AwaitClients(1)
	d.leave()
	next := st.next(nil)
	next.AwaitClients(1)
	c := x.Over(raw)
	c.Hear(next.Banner)
	c.Say("one\n")
	next.AwaitRecords("open from "+raw.Addr(), ": one\n")
}

// TestAHandshakeBehindAProxyBeginsAnew with the next process, whether the header was read or not:
// the client is the one that it names, and it is read once.
func TestAHandshakeBehindAProxyBeginsAnew(t *testing.T) {
	if servertest.Model() == "process" {
		t.Skip("nothing is kept of such a client")
	}
	for _, read := range []bool{true, false} {
		t.Run(fmt.Sprintf("read=%v", read), func(t *testing.T) {
			x := servertest.NewTLS(t)
			d, st := surviving(t, behindProxy, x.Option)
			d.Open()
			raw := d.Client()
			d.AwaitClients(1)
			if read {
				raw.Say(proxyLine)
				s := d.session()
				servertest.Eventually(t, func() bool {
					client, _ := s.Slot.Client()
					return client.IsValid() && s.Conn.Unread() == 0
				}, func() { t.Error("the header was not read") })
			}
			d.leave()
			next := st.next(behindProxy)
			next.AwaitClients(1)
			if !read {
				raw.Say(proxyLine)
			}
			c := x.Over(raw)
			c.Hear("hello 192.0.2.1:1234\r\n")
			c.Say("one\n")
			next.AwaitRecords(`"kind":"open"`, `"remote":"192.0.2.1:1234"`, `"proxy":"`+raw.Addr()+`"`, `"offset":0,"data":"one"`)
		})
	}
}

// TestHalfAHandshakeIsClosed, and leaves no record, as its opening left none. What the process
// before has read stands for that half.
func TestHalfAHandshakeIsClosed(t *testing.T) {
	onData := func(cfg *config.Config) { cfg.Record.Events = config.EventsOnData }
	d, st := surviving(t, onData)
	d.Open()
	c := d.Greeted()
	c.Say(strings.Repeat("\x16", 20_000)) // too long to wait in the kernel for its end
	d.kernelHolds(0)
	d.leave()
	st.options = []servertest.Option{servertest.NewTLS(t).Option}
	next := st.next(onData)
	next.AwaitClients(0)
	c.HearEnd()
	if got := d.Out.String() + next.Out.String(); got != "" {
		t.Errorf("records: got %q, want none", got)
	}
}

// TestWithoutTLSNothingIsKeptOfIt, and a reload that brings TLS brings that too.
func TestWithoutTLSNothingIsKeptOfIt(t *testing.T) {
	kept := func(d *daemon, next config.Config) bool {
		tk, err := d.handover.Takeover(program(next), d.Config, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer tk.Close()
		_, stored, err := tk.Sockets()
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, s := range stored {
			if _ = s.File.Close(); s.Name == systemd.TLSName {
				found++
			}
		}
		if found > 1 {
			t.Errorf("got %d files, want one", found)
		}
		return found > 0
	}
	d, _ := surviving(t, nil)
	for _, c := range []struct {
		name, survive string
		want          bool
	}{
		{"clear text", "", false},
		{"nobody survives", "off", false},
		{"those survive that can", "auto", true},
		{"again", "require", true},
	} {
		if c.survive != "" {
			l := secured()
			l.TLS.Survive = c.survive
			d.Config.Listeners = append(d.Config.Listeners[:1:1], l)
			d.handover.PutSettings(d.Config)
		}
		if got := kept(d, d.Config); got != c.want {
			t.Errorf("%s: kept: got %v, want %v", c.name, got, c.want)
		}
	}
	d, _ = surviving(t, nil)
	next := d.Config
	next.Listeners = slices.Clone(next.Listeners)
	next.Listeners[0].TLS = secured().TLS
	if !kept(d, next) {
		t.Error("for a program whose configuration brings TLS: got none, which would go with its trial")
	}
}

// TestWithoutRoomTLSEndsWithTheProcess, which is logged once.
func TestWithoutRoomTLSEndsWithTheProcess(t *testing.T) {
	d, _ := surviving(t, nil)
	if err := d.handover.SetTLSRoom(1); err != nil {
		t.Fatal(err)
	}
	memories := d.secures()
	d.Open()
	kept := 0
	for range 3 {
		d.Greeted()
		if <-memories != nil {
			kept++
		}
	}
	if got, lines := kept, strings.Count(d.Log.String(), "there is no room for more of them"); got != 1 || lines != 1 {
		t.Errorf("kept: got %d, and %d log lines, want one each", got, lines)
	}
}
