package server_test

import (
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"tcpmux/config"
	"tcpmux/daemon/control/api"
	"tcpmux/daemon/server"
	"tcpmux/daemon/servertest"
	"tcpmux/daemon/tlsconn"
)

// muxing has the first listener be a mux of the others: "a" and "b", which have no address. They
// have the model of this run.
func muxing(change func(*config.Config)) func(*config.Config) {
	return func(c *config.Config) {
		front := &c.Listeners[0]
		for _, name := range []string{"a", "b"} {
			l := *front
			l.Name, l.Address, l.Banner = name, nil, config.Text("hello "+name+"\r\n")
			c.Listeners = append(c.Listeners, l)
		}
		front = &c.Listeners[0]
		front.Name, front.Service, front.Record, front.Mux = "front", config.ServiceMux, false, []string{"a", "b"}
		c.Record.Format = "json"
		if change != nil {
			change(c)
		}
		c.SettleMuxes()
	}
}

// named connects a client that names a listener and takes its greeting.
func named(f *servertest.Fixture, name string) *servertest.Client {
	f.T.Helper()
	c := f.Client()
	c.Say(name + "\r\n")
	c.Hear("+Go\r\nhello " + strings.ToLower(name) + "\r\n")
	return c
}

// TestAMuxGivesItsClientsAway: the client is that of the listener it has named, in all that is said
// of it, and what it sent right behind the name is too.
func TestAMuxGivesItsClientsAway(t *testing.T) {
	f := servertest.New(t, muxing(nil)).Open()
	c := f.Client()
	c.Say("B\r\none\nha")
	c.Hear("+Go\r\nhello b\r\n")
	f.AwaitRecords(`"kind":"open","listener":"b"`, `,"mux":"front"}`, `"data":"one"`)
	sessions := f.Server.Sessions(api.Filter{Listener: "b"})
	if sessions.Total != 1 || sessions.Sessions[0].Mux != "front" || sessions.Sessions[0].Remote != c.Addr() {
		t.Errorf("got %+v, want one of b", sessions)
	}
	counts := f.Server.Counts()
	if n := counts["front"].Clients.Load(); n != 0 {
		t.Errorf("front has %d clients, want 0", n)
	}
	if front, b := counts["front"].Visits.Load(), counts["b"].Visits.Load(); front != 1 || b != 1 {
		t.Errorf("visits: got %d and %d, want 1 and 1", front, b)
	}
	c.Say("lf\n")
	_ = c.CloseWrite()
	got := f.AwaitRecords(`"data":"half"`, `"kind":"close","listener":"b"`, `"reason":"eof","records":2,"bytes":9`)
	if strings.Contains(got, `"listener":"front"`) || strings.Contains(got, "B\\r") {
		t.Errorf("records: got %q, want nothing of the mux in them", got)
	}
	f.AwaitClients(0)
	f.AwaitPlaces(0)
	if moved := counts["front"].Closed.Snapshot()["moved"]; moved != 1 {
		t.Errorf("front has ended %d sessions by a move, want 1", moved)
	}
}

// TestPlacesOfAMux: a client takes a place of the listener that it has named, and none of the mux.
func TestPlacesOfAMux(t *testing.T) {
	f := servertest.New(t, muxing(func(c *config.Config) {
		c.Listeners[0].Limits.Clients, c.Listeners[1].Limits.Clients = 1, 2
	})).Open()
	first, second := named(f, "a"), named(f, "a") // the mux has one place
	third := f.Client()
	third.Say("a\r\n")
	third.Refused("-too many clients\r\n")
	f.AwaitPlaces(2)
	refused := f.Server.Counts()["a"].Refused.Snapshot()
	if refused["clients"] != 1 {
		t.Errorf("refused: got %v, want one for the clients", refused)
	}
	_ = first.Close()
	f.AwaitClients(1)
	f.AwaitPlaces(1)
	_ = named(f, "A").Close()
	unknown := f.Client()
	unknown.Say("c\r\n")
	unknown.Refused("-unknown service \"c\"\r\n")
	_ = second.Close()
	f.AwaitClients(0)
	f.AwaitPlaces(0)
}

// TestAdmissionOfAMuxsListener: its own rules, and sources count once.
func TestAdmissionOfAMuxsListener(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*config.Config)
		before string // what another client has named, and stays
		want   string // the refusal; "": none
		reason string
	}{
		{"rules", func(c *config.Config) { c.Listeners[1].Limits.Deny = prefix("127.0.0.1/32") }, "", "not allowed", "denied"},
		{"rules of another", func(c *config.Config) { c.Listeners[2].Limits.Deny = prefix("127.0.0.1/32") }, "", "", ""},
		{"clients of a source", func(c *config.Config) { c.Listeners[1].Limits.ClientsPerSource = 1 }, "a", "too many clients", "source"},
		{"clients of a source at the mux", func(c *config.Config) { c.Listeners[0].Limits.ClientsPerSource = 1 }, "a", "", ""},
		{"clients of a source at another", func(c *config.Config) { c.Listeners[1].Limits.ClientsPerSource = 1 }, "b", "", ""},
		{"clients of a source in all", func(c *config.Config) { c.Limits.ClientsPerSource = 2 }, "b", "", ""},
		{"rate in all", func(c *config.Config) { c.Limits.RatePerSource = config.Rate{Count: 2, Per: 3600e9} }, "b", "", ""},
		{"rate", func(c *config.Config) { c.Listeners[1].Limits.RatePerSource = config.Rate{Count: 1, Per: 3600e9} }, "a", "too many clients", "rate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := servertest.New(t, muxing(c.change)).Open()
			var before *servertest.Client
			if c.before != "" {
				before = named(f, c.before)
			}
			if c.want == "" {
				_ = named(f, "a").Close()
			} else {
				conn := f.Client()
				conn.Say("a\r\nmore\n")
				conn.Refused("-" + c.want + "\r\n")
				if got := f.Server.Counts()["a"].Refused.Snapshot(); got[c.reason] != 1 {
					t.Errorf("refused: got %v, want one %q", got, c.reason)
				}
			}
			if before != nil {
				_ = before.Close()
			}
			f.AwaitClients(0)
			f.AwaitPlaces(0)
			if strings.HasPrefix(c.name, "clients") { // nothing is left of it
				_ = named(f, "a").Close()
			}
		})
	}
}

// TestADrainedListenerOfAMux refuses.
func TestADrainedListenerOfAMux(t *testing.T) {
	f := servertest.New(t, muxing(nil)).Open()
	if _, found := f.Server.Drain("a", true); !found {
		t.Fatal("there is no a")
	}
	c := f.Client()
	c.Say("a\r\n")
	c.Refused("-draining\r\n")
	_ = named(f, "b").Close()
	f.AwaitPlaces(0)
}

// TestAListenerThatAMuxFindsNoMore is unknown.
func TestAListenerThatAMuxFindsNoMore(t *testing.T) {
	f := servertest.New(t, muxing(nil)).Open()
	stays := named(f, "a")
	f.Server.Unreach("a")
	c := f.Client()
	c.Say("a\r\n")
	c.Refused("-unknown service \"a\"\r\n")
	stays.Say("one\n")
	f.AwaitRecords(`"data":"one"`)
}

// TestAMuxsClientIsKilled: by the names of both, as long as it is theirs.
func TestAMuxsClientIsKilled(t *testing.T) {
	f := servertest.New(t, muxing(nil)).Open()
	waits, served := f.Client(), named(f, "a")
	waits.Say("a")
	f.AwaitClients(2)
	if n := f.Server.Kill(api.Filter{Listener: "front"}); n != 1 {
		t.Errorf("killed %d, want 1", n)
	}
	if got := waits.HearEnd(); got != "" {
		t.Errorf("heard %q", got)
	}
	if n := f.Server.Kill(api.Filter{Listener: "a"}); n != 1 {
		t.Errorf("killed %d, want 1", n)
	}
	served.HearEnd()
	f.AwaitRecords(`"listener":"front"`, `"listener":"a"`, `"reason":"killed"`)
	f.AwaitPlaces(0)
}

// TestAClientThatBreaksOffWithinTheName is recorded as one that has.
func TestAClientThatBreaksOffWithinTheName(t *testing.T) {
	f := servertest.New(t, muxing(nil)).Open()
	c := f.Client()
	c.Say("a")
	f.AwaitClients(1)
	c.Reset()
	f.AwaitRecords(`"kind":"close","listener":"front"`, `"reason":"reset"`)
}

// TestAMuxLeavesNothing, whatever its clients do.
func TestAMuxLeavesNothing(t *testing.T) {
	f := servertest.New(t, muxing(func(c *config.Config) { c.Listeners[1].Limits.Clients = 3 })).Open()
	names := []string{"a\r\n", "b\r\nx\n", "c\r\n", "HELP\r\n", "a", "", strings.Repeat("x", 300)}
	var n atomic.Int64
	f.LeavesNothing(3*len(names), func() *servertest.Client {
		c := f.Client()
		c.Say(names[int(n.Add(1))%len(names)])
		return c
	})
}

// TestAMuxBehindAProxy: the header comes first, and the listener's rules are for its client.
func TestAMuxBehindAProxy(t *testing.T) {
	f := servertest.New(t, muxing(func(c *config.Config) {
		c.Listeners[0].ProxyProtocol = prefix("127.0.0.1/32")
		c.Listeners[1].ProxyProtocol = prefix("127.0.0.1/32")
		c.Listeners[2].Limits.Deny = prefix("192.0.2.0/24")
	})).Open()
	const header = "PROXY TCP4 192.0.2.1 192.0.2.2 1234 443\r\n"
	c := f.Client()
	c.Say(header + "a\r\none\n")
	c.Hear("+Go\r\nhello a\r\n")
	f.AwaitRecords(`"remote":"192.0.2.1:1234","proxy":"`+c.Addr()+`","mux":"front"`, `"data":"one"`)
	refused := f.Client()
	refused.Say(header + "b\r\n")
	refused.Refused("-not allowed\r\n")
}

// TestAMuxSpeaksTLS: then its listeners do, also those for clear text.
func TestAMuxSpeaksTLS(t *testing.T) {
	tls := servertest.NewTLS(t)
	f := servertest.New(t, muxing(nil), tlsAt(tls, "front")).Open()
	c := tls.Client(f)
	c.Say("a\r\none\n")
	c.Hear("+Go\r\nhello a\r\n")
	f.AwaitRecords(`"listener":"a"`, `"tls":{`, `"data":"one"`)
	other := tls.Client(f)
	other.Say("c\r\nmore\n")
	if got := other.HearEnd(); got != "-unknown service \"c\"\r\n" {
		t.Errorf("heard %q", got)
	}
}

// TestTLSBehindTheName: the reply comes in clear text, and then the handshake.
func TestTLSBehindTheName(t *testing.T) {
	tls := servertest.NewTLS(t)
	f := servertest.New(t, muxing(nil), tlsAt(tls, "a")).Open()
	raw := f.Client()
	raw.Say("a\r\n")
	raw.Hear("+Go\r\n")
	c := tls.Over(raw)
	c.Hear("hello a\r\n")
	c.Say("one\n")
	f.AwaitRecords(`"listener":"a"`, `"tls":{`, `"mux":"front"`, `"data":"one"`)
	_ = named(f, "b").Close()
}

// tlsAt has the clients of one listener speak TLS.
func tlsAt(x *servertest.TLS, name string) servertest.Option {
	return func(o *server.Options) {
		x.Option(o)
		all := o.TLS
		o.TLS = func(l config.Listener) *tlsconn.Options {
			if l.Name != name {
				return nil
			}
			return all(l)
		}
	}
}

// TestAMuxsProgram has the connection as its standard input and output, from behind the name on.
func TestAMuxsProgram(t *testing.T) {
	for _, record := range []bool{false, true} {
		t.Run(fmt.Sprint("recorded ", record), func(t *testing.T) {
			f := servertest.New(t, muxing(func(c *config.Config) {
				l := &c.Listeners[1]
				l.Model, l.Banner, l.Service, l.Record = "goroutine", config.Bytes{}, config.ServiceExec, record
				l.Exec = []string{"/bin/sh", "-c", `read x; echo "$PROTO $x"; cat`}
			})).Open()
			c := f.Client()
			c.Say("a\r\nhello\n")
			c.Hear("+Go\r\nTCP hello\n")
			c.Say("more\n")
			c.Hear("more\n")
			_ = c.CloseWrite()
			if got := c.HearEnd(); got != "" {
				t.Errorf("heard %q", got)
			}
			f.AwaitRecords(`"kind":"close","listener":"a"`, `"mux":"front","reason":"exit 0"`)
		})
	}
}

func prefix(text string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(text)} }
