package handover_test

import (
	"slices"
	"strings"
	"testing"

	"tcpmux/config"
	"tcpmux/daemon/server"
	"tcpmux/daemon/servertest"
	"tcpmux/daemon/session"
	"tcpmux/daemon/state"
	"tcpmux/daemon/systemd"
	"tcpmux/daemon/tlsconn"
)

// muxing has the first listener be a mux of "a" and "b", which have no address and the model of
// this run.
func muxing(c *config.Config) {
	asJSON(c)
	front := c.Listeners[0]
	for _, name := range []string{"a", "b"} {
		l := front
		l.Name, l.Address, l.Banner = name, nil, config.Text("hello "+name+"\r\n")
		c.Listeners = append(c.Listeners, l)
	}
	front.Name, front.Service, front.Record, front.Mux = "front", config.ServiceMux, false, []string{"b", "a"}
	c.Listeners[0] = front
	c.SettleMuxes()
}

// without has a listener be configured no longer, as after a change of the file.
func without(name string) func(*config.Config) {
	return func(c *config.Config) {
		muxing(c)
		c.Listeners = slices.DeleteFunc(c.Listeners, func(l config.Listener) bool { return l.Name == name })
		c.SettleMuxes()
	}
}

// TestAMuxsClientOutlivesTheProcess, wherever in the name or behind it that has ended.
func TestAMuxsClientOutlivesTheProcess(t *testing.T) {
	const greeting = "+Go\r\nhello a\r\n"
	noted := func(d *daemon, s *session.Session, size int) {
		s.Slot.SetNamed(state.Named{Size: size, By: 1}, d.Bindings[1].Settings().Origin)
	}
	for _, c := range []struct {
		name   string
		move   func(d *daemon, s *session.Session, size int) // in place of what gives the client to its listener
		before func(*daemon, *servertest.Client)
		during string // what the client says while nobody runs
		after  func(*servertest.Client)
		next   func(*config.Config)
		want   string
	}{
		{name: "nothing has come",
			before: func(*daemon, *servertest.Client) {},
			after:  func(c *servertest.Client) { c.Say("a\r\nhalf a line\n"); c.Hear(greeting) },
			want:   `"offset":0,"data":"half a line"`},
		{name: "within the name",
			before: func(d *daemon, c *servertest.Client) { c.Say("A\r"); d.kernelHolds(2) },
			after:  func(c *servertest.Client) { c.Say("\nhalf a line\n"); c.Hear(greeting) },
			want:   `"offset":0,"data":"half a line"`},
		{name: "the name comes while nobody runs",
			before: func(*daemon, *servertest.Client) {}, during: "a\r\nhalf",
			after: func(c *servertest.Client) { c.Say(" a line\n"); c.Hear(greeting) },
			want:  `"offset":0,"data":"half a line"`},
		{name: "the name is noted in half",
			move: func(d *daemon, s *session.Session, size int) {
				s.Slot.SetNamed(state.Named{Size: size, By: 1}, s.Slot.Origin())
			},
			before: func(d *daemon, c *servertest.Client) { c.Say("a\r\nhalf"); d.kernelHolds(7) },
			after:  func(c *servertest.Client) { c.Say(" a line\n"); c.Hear(greeting) },
			want:   `"offset":0,"data":"half a line"`},
		{name: "the name is noted and not taken",
			move:   noted,
			before: func(d *daemon, c *servertest.Client) { c.Say("a\r\nhalf"); d.kernelHolds(7) },
			after:  func(c *servertest.Client) { c.Say(" a line\n"); c.Hear(greeting) },
			want:   `"offset":0,"data":"half a line"`},
		{name: "the name is taken, and the banner not sent",
			move: func(d *daemon, s *session.Session, size int) {
				noted(d, s, size)
				_ = s.Conn.Discard(size)
			},
			before: func(d *daemon, c *servertest.Client) { c.Say("a\r\nhalf"); d.kernelHolds(4) },
			after:  func(c *servertest.Client) { c.Say(" a line\n"); c.Hear(greeting) },
			want:   `"offset":0,"data":"half a line"`},
		{name: "the banner is sent",
			before: func(d *daemon, c *servertest.Client) {
				c.Say("a\nhalf")
				c.Hear(greeting)
				d.AwaitRecords(`"kind":"open"`)
			},
			after: func(c *servertest.Client) { c.Say(" a line\n") },
			want:  `"offset":0,"data":"half a line"`},
		{name: "and a message",
			before: func(d *daemon, c *servertest.Client) {
				c.Say("a\r\nhello\nhalf")
				c.Hear(greeting)
				d.AwaitRecords(`"data":"hello"`)
			},
			after: func(c *servertest.Client) { c.Say(" a line\n") },
			want:  `"offset":6,"data":"half a line"`},
		{name: "the mux is configured no longer, or the listener",
			before: func(d *daemon, c *servertest.Client) {
				c.Say("a\r\nhello\nhalf")
				c.Hear(greeting)
				d.AwaitRecords(`"data":"hello"`)
			},
			next:  without("a"),
			after: func(c *servertest.Client) { c.Say(" a line\n") },
			want:  `"offset":6,"data":"half a line"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, st := surviving(t, muxing)
			if c.move != nil {
				moved := false
				d.Server.Env().Move = func(s, _ *session.Session, _ string, size int) (bool, string) {
					if !moved {
						c.move(d, s, size)
					}
					moved = true
					return false, ""
				}
			}
			d.Open()
			client := d.Client()
			d.AwaitClients(1)
			c.before(d, client)
			d.leave()
			client.Say(c.during)
			if c.next == nil {
				c.next = muxing
			}
			next := st.next(c.next)
			c.after(client)
			next.AwaitRecords(c.want, `"listener":"a"`, `"mux":"front"`)
			_ = client.CloseWrite()
			if got := client.HearEnd(); got != "" {
				t.Errorf("heard %q, want nothing more", got)
			}
			all := d.Out.String() + next.AwaitRecords(`"kind":"close"`, `"reason":"eof"`)
			if strings.Contains(all, `"listener":"front"`) || strings.Count(all, `"kind":"open"`) != 1 || strings.Count(all, `"mux":"front"`) != strings.Count(all, "\n") {
				t.Errorf("records: got %q", all)
			}
			next.AwaitPlaces(0)
		})
	}
}

// TestWhoseListenerIsUnknownIsClosed: what stands behind the name is nobody's, and no name.
func TestWhoseListenerIsUnknownIsClosed(t *testing.T) {
	d, st := surviving(t, muxing)
	d.Open()
	client := d.Client()
	client.Say("a\r\none\n")
	client.Hear("+Go\r\nhello a\r\n")
	d.AwaitRecords(`"data":"one"`)
	d.leave()
	client.Say("b\r\ntwo\n")
	st.stored = slices.DeleteFunc(st.stored, func(s systemd.Socket) bool { return strings.HasPrefix(s.Name, systemd.SettingsName) })
	next := st.next(func(c *config.Config) { muxing(c); c.Listeners[0].Backlog = 7 })
	if got := client.HearEnd(); got != "" {
		t.Errorf("heard %q", got)
	}
	next.AwaitPlaces(0)
	if got := next.Out.String(); strings.Contains(got, "two") {
		t.Errorf("records: got %q, want none of a message", got)
	}
}

// TestWithoutASlotNoNameIsTakenForData of a client that has gone over to a listener.
func TestWithoutASlotNoNameIsTakenForData(t *testing.T) {
	d, st := surviving(t, muxing)
	d.Open()
	client := d.Client()
	client.Say("a\r\none\n")
	client.Hear("+Go\r\nhello a\r\n")
	d.AwaitRecords(`"data":"one"`)
	d.leave()
	client.Say("b\r\ntwo\n")
	st.lose(systemd.StateName)
	next := st.next(muxing)
	if got := client.HearEnd(); got != "" {
		t.Errorf("heard %q", got)
	}
	next.AwaitPlaces(0)
}

// TestTLSBehindTheNameOutlivesTheProcess before its handshake: the reply is sent once.
func TestTLSBehindTheNameOutlivesTheProcess(t *testing.T) {
	if servertest.Model() == "process" {
		t.Skip("clients of a process that speak TLS end with the daemon")
	}
	x := servertest.NewTLS(t)
	option := tlsAtA(x)
	st := &store{t: t, journaled: true, options: []servertest.Option{option}}
	d := st.start(muxing)
	d.Open()
	raw := d.Client()
	raw.Say("a\r\n")
	raw.Hear("+Go\r\n")
	d.leave()
	next := st.next(muxing)
	c := x.Over(raw)
	c.Hear("hello a\r\n")
	c.Say("one\n")
	next.AwaitRecords(`"listener":"a"`, `"mux":"front"`, `"tls":{`, `"data":"one"`)
}

// tlsAtA has the clients of "a" speak TLS.
func tlsAtA(x *servertest.TLS) servertest.Option {
	return func(o *server.Options) {
		x.Option(o)
		all := o.TLS
		o.TLS = func(l config.Listener) *tlsconn.Options {
			if l.Name != "a" {
				return nil
			}
			return all(l)
		}
	}
}

// TestWhoWaitsForAProgramHasItFromTheNextProcess: a daemon that leaves starts no more of them.
func TestWhoWaitsForAProgramHasItFromTheNextProcess(t *testing.T) {
	program := func(c *config.Config) {
		muxing(c)
		l := &c.Listeners[1]
		l.Model, l.Banner, l.Service, l.Record = "goroutine", config.Bytes{}, config.ServiceExec, false
		l.Exec = []string{"/bin/sh", "-c", "read x; echo heard $x"}
	}
	d, st := surviving(t, program)
	d.Open()
	client := d.Client()
	d.AwaitClients(1)
	d.Server.WaitForStragglers(servertest.Done())
	client.Say("a\r\nhello\n")
	d.kernelHolds(len("a\r\nhello\n"))
	d.leave()
	next := st.next(program)
	client.Hear("+Go\r\nheard hello\n")
	if got := client.HearEnd(); got != "" {
		t.Errorf("heard %q", got)
	}
	next.AwaitRecords(`"listener":"a"`, `"mux":"front"`, `"reason":"exit 0"`)
	if got := d.Out.String(); got != "" {
		t.Errorf("records of the one before: got %q, want none", got)
	}
}
