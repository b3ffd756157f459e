package handover_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/servertest"
	"tcpmux/daemon/session"
	"tcpmux/daemon/state"
	"tcpmux/daemon/systemd"
)

// unixClient is a client of a unix socket.
type unixClient struct {
	*net.UnixConn
	t *testing.T
}

func (c *unixClient) say(text string) {
	c.t.Helper()
	servertest.Say(c.t, c, text)
}

func (c *unixClient) hear(text string) {
	c.t.Helper()
	servertest.Hear(c.t, c, text)
}

func (c *unixClient) hearEnd() string {
	c.t.Helper()
	return servertest.HearEnd(c.t, c)
}

// unixListener returns a change that has the first listener listen at a unix socket, and the path.
// Each daemon has one of its own.
func unixListener(t *testing.T, more ...func(*config.Config)) (change func(*config.Config), path *string) {
	path = new(string)
	return func(cfg *config.Config) {
		asJSON(cfg)
		*path = filepath.Join(t.TempDir(), "s")
		cfg.Listeners[0].Address = []string{config.UnixScheme + *path}
		for _, change := range more {
			change(cfg)
		}
	}, path
}

// withUnix returns a daemon with a listener at a unix socket, and a client of that.
func withUnix(t *testing.T, more ...func(*config.Config)) (*daemon, *store, func(*config.Config), *unixClient) {
	t.Helper()
	change, path := unixListener(t, more...)
	d, st := surviving(t, change)
	d.Open()
	return d, st, change, dialUnix(t, *path)
}

func dialUnix(t *testing.T, path string) *unixClient {
	t.Helper()
	c, err := net.DialTimeout("unix", path, servertest.Patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(servertest.Patience))
	return &unixClient{c.(*net.UnixConn), t}
}

// TestAClientOfAUnixSocketGoesOn at the byte at which the daemon before left it, as often as
// daemons follow each other. It is greeted once, and its end is recorded once.
func TestAClientOfAUnixSocketGoesOn(t *testing.T) {
	d, st, change, c := withUnix(t)
	c.hear("hello\r\n")
	offset := 0
	for i := range 4 {
		c.say(fmt.Sprint("line ", i, "\nha"))
		d.AwaitRecords(fmt.Sprintf(`"offset":%d,"data":"line %d"`, offset, i))
		d.leave()
		c.say("lf\n") // nobody is there
		d = st.next(change)
		d.AwaitRecords(fmt.Sprintf(`"offset":%d,"data":"half"`, offset+7))
		offset += 12
	}
	_ = c.CloseWrite()
	d.AwaitRecords(fmt.Sprintf(`"reason":"eof","records":8,"bytes":%d`, offset), `"remote":"uid=`)
	if heard := c.hearEnd(); heard != "" {
		t.Errorf("heard %q, want no second banner", heard)
	}
	d.AwaitClients(0)
}

// TestAClientOfAUnixSocketThatHasGone meanwhile is recorded to its end.
func TestAClientOfAUnixSocketThatHasGone(t *testing.T) {
	d, st, change, c := withUnix(t)
	c.hear("hello\r\n")
	c.say("one\n")
	d.AwaitRecords(`"data":"one"`)
	d.leave()
	c.say("two\nthree")
	_ = c.Close()
	next := st.next(change)
	next.AwaitRecords(`"offset":4,"data":"two"`, `"offset":8,"data":"three","flag":"eof"`, `"reason":"eof","records":3,"bytes":13`)
	next.AwaitClients(0)
}

// TestABannerOnAUnixSocketIsSentOnce, whether the client has read it or not.
func TestABannerOnAUnixSocketIsSentOnce(t *testing.T) {
	for _, c := range []struct {
		name string
		read bool // the client has read it before the daemon leaves
	}{
		{"read", true},
		{"not read", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, st, change, client := withUnix(t)
			d.AwaitRecords(`"kind":"open"`)
			got := ""
			if c.read {
				client.hear("hello\r\n")
				got = "hello\r\n"
			}
			d.leave()
			next := st.next(change)
			client.say("one\n")
			next.AwaitRecords(`"data":"one"`)
			_ = client.CloseWrite()
			got += client.hearEnd()
			if n := strings.Count(got, "hello\r\n"); n != 1 {
				t.Errorf("heard %q, want one banner", got)
			}
		})
	}
}

// TestWhatIsRecordedOfAUnixSocketIsSkipped: the daemon died before it could take that.
func TestWhatIsRecordedOfAUnixSocketIsSkipped(t *testing.T) {
	d, st, change, c := withUnix(t)
	c.hear("hello\r\n")
	d.AwaitRecords(`"kind":"open"`)
	slot := d.session().Slot
	d.leave()
	c.say("one\nhalf a line\n")
	slot.Count(state.Tally{Offset: 4, Records: 1})
	next := st.next(change)
	next.AwaitRecords(`"offset":4,"data":"half a line"`)
	if got := next.Out.String(); strings.Contains(got, `"data":"one"`) {
		t.Errorf("records: got %q, want nothing twice", got)
	}
	// The one after that knows of it.
	next.leave()
	c.say("more\n")
	st.next(change).AwaitRecords(`"offset":16,"data":"more"`)
}

// TestAUnixSocketWithoutItsStateIsNotRead: where its stream is is not known.
func TestAUnixSocketWithoutItsStateIsNotRead(t *testing.T) {
	for _, c := range []struct {
		name string
		lose []string
		want string // in the record of its end; "": there is none
	}{
		{"its own", []string{systemd.UnixName}, `"reason":"crash","records":1,"bytes":4`},
		{"all", []string{systemd.UnixName, systemd.StateName, systemd.JournalName}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, st, change, client := withUnix(t)
			client.hear("hello\r\n")
			client.say("one\n")
			d.AwaitRecords(`"data":"one"`)
			d.leave()
			client.say("two\n")
			st.lose(c.lose...)
			next := st.next(change)
			if c.want != "" {
				next.AwaitRecords(c.want)
			}
			if heard, _ := io.ReadAll(client); len(heard) > 0 { // until the end, or a reset
				t.Errorf("heard %q, want the end", heard)
			}
			next.AwaitClients(0)
			if got := next.Out.String(); strings.Contains(got, `"data"`) {
				t.Errorf("records: got %q, want nothing of what comes", got)
			}
		})
	}
}

// TestOnlyTheStateOfUnixSocketsIsLeft: they go on all the same.
func TestOnlyTheStateOfUnixSocketsIsLeft(t *testing.T) {
	d, st, change, c := withUnix(t)
	c.hear("hello\r\n")
	c.say("one\n")
	d.AwaitRecords(`"data":"one"`)
	d.leave()
	st.lose(systemd.StateName, systemd.JournalName)
	c.say("two\n")
	next := st.next(change)
	next.AwaitRecords(`"offset":4,"data":"two"`)
	_ = c.CloseWrite()
	if heard := c.hearEnd(); heard != "" {
		t.Errorf("heard %q, want no second banner", heard)
	}
}

// TestNoRoomForAUnixSocket: a client that cannot be kept is drained.
func TestNoRoomForAUnixSocket(t *testing.T) {
	change, path := unixListener(t)
	d, st := surviving(t, change)
	if err := d.handover.SetUnixRoom(1); err != nil {
		t.Fatal(err)
	}
	st.take(d)
	d.Open()
	one := dialUnix(t, *path)
	one.hear("hello\r\n")
	two := dialUnix(t, *path)
	two.hear("hello\r\n")
	two.say("two\n")
	d.AwaitRecords(`"data":"two"`)
	if got := d.Server.Surviving(); got > 1 {
		t.Errorf("surviving clients: got %d, want 1", got)
	}
	var leaving sync.WaitGroup
	leaving.Go(d.leave)
	if heard := two.hearEnd(); heard != "" {
		t.Errorf("heard %q, want the end", heard)
	}
	_ = two.Close()
	leaving.Wait()
	d.AwaitRecords(`"reason":"eof","records":1,"bytes":4`)
	next := st.next(change)
	one.say("one\n")
	next.AwaitRecords(`"data":"one"`)
	next.AwaitClients(1)
}

// TestAProxysClientOfAUnixSocketGoesOn: the header is none of its stream.
func TestAProxysClientOfAUnixSocketGoesOn(t *testing.T) {
	d, st, change, c := withUnix(t, behindProxy)
	c.say(proxyLine + "one\n")
	d.AwaitRecords(`"offset":0,"data":"one"`)
	d.leave()
	c.say("two\n")
	next := st.next(change)
	next.AwaitRecords(`"offset":4,"data":"two"`, `"remote":"192.0.2.1:1234"`, `"proxy":"uid=`)
}

// TestAHeaderOnAUnixSocketIsReadByTheNextDaemon if the one before has not taken it.
func TestAHeaderOnAUnixSocketIsReadByTheNextDaemon(t *testing.T) {
	d, st, change, c := withUnix(t, behindProxy)
	c.say("PROXY ")
	d.session()
	d.leave()
	c.say(strings.TrimPrefix(proxyLine, "PROXY ") + "one\n")
	st.next(change).AwaitRecords(`"offset":0,"data":"one"`, `"remote":"192.0.2.1:1234"`)
}

// TestAMuxsClientOfAUnixSocketGoesOn, wherever in the name or behind it the daemon has ended.
func TestAMuxsClientOfAUnixSocketGoesOn(t *testing.T) {
	const greeting = "+Go\r\nhello a\r\n"
	for _, c := range []struct {
		name           string
		before, during string
		heard          string // before the daemon leaves
		want           string
	}{
		{"nothing has come", "", "a\r\nhalf", "", `"offset":0,"data":"half a line"`},
		{"within the name", "a\r", "\nhalf", "", `"offset":0,"data":"half a line"`},
		{"behind the name", "a\r\nhalf", "", greeting, `"offset":0,"data":"half a line"`},
		{"behind a message", "a\r\none\n", "half", greeting, `"offset":4,"data":"half a line"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, st, change, client := withUnix(t, muxing)
			d.AwaitClients(1)
			client.say(c.before)
			client.hear(c.heard)
			if strings.Contains(c.before, "one\n") {
				d.AwaitRecords(`"data":"one"`)
			}
			d.leave()
			client.say(c.during)
			next := st.next(change)
			client.say(" a line\n")
			client.hear(strings.TrimPrefix(greeting, c.heard))
			next.AwaitRecords(c.want, `"listener":"a"`, `"mux":"front"`)
			_ = client.CloseWrite()
			if got := client.hearEnd(); got != "" {
				t.Errorf("heard %q, want nothing more", got)
			}
		})
	}
}

// TestANameOnAUnixSocketThatIsNotTaken: the daemon was killed when it had noted that.
func TestANameOnAUnixSocketThatIsNotTaken(t *testing.T) {
	change, path := unixListener(t, muxing)
	d, st := surviving(t, change)
	d.Server.Env().Move = func(s, _ *session.Session, _ string, size int) (bool, string) {
		s.Slot.SetNamed(state.Named{Size: size, By: 1}, d.Bindings[1].Settings().Origin)
		return false, ""
	}
	d.Open()
	client := dialUnix(t, *path)
	client.say("a\r\nhalf")
	slot := d.session().Slot
	servertest.Eventually(t, func() bool { return slot.Named().Size > 0 }, func() { t.Error("the name is not noted") })
	d.leave()
	next := st.next(change)
	client.say(" a line\n")
	client.hear("+Go\r\nhello a\r\n")
	next.AwaitRecords(`"offset":0,"data":"half a line"`)
	next.leave() // and once more
	client.say("more\n")
	st.next(change).AwaitRecords(`"offset":12,"data":"more"`)
}

// TestTLSOnAUnixSocketEndsWithTheDaemon, as the kernel does none there; what has not begun is
// served by the next one.
func TestTLSOnAUnixSocketEndsWithTheDaemon(t *testing.T) {
	if servertest.Model() == "process" {
		t.Skip("clients of processes that speak TLS are not kept at all")
	}
	x := servertest.NewTLS(t)
	change, path := unixListener(t)
	d, st := surviving(t, change, x.Option)
	d.Open()
	one, two := dialUnix(t, *path), dialUnix(t, *path)
	d.AwaitClients(2)
	handshake := func(raw *unixClient) *tls.Conn {
		c := tls.Client(raw, &tls.Config{RootCAs: x.Authority.Pool(), ServerName: "localhost"})
		if _, err := io.ReadFull(c, make([]byte, len("hello\r\n"))); err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := handshake(one)
	if _, err := io.WriteString(c, "one\n"); err != nil {
		t.Fatal(err)
	}
	d.AwaitRecords(`"data":"one"`)
	if got := d.Server.Surviving(); got > 1 {
		t.Errorf("surviving clients: got %d, want at most the one without a handshake", got)
	}
	var leaving sync.WaitGroup
	leaving.Go(d.leave)
	if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 {
		t.Errorf("heard %q, %v, want the end", rest, err)
	}
	_ = c.Close()
	leaving.Wait()
	next := st.next(change)
	if _, err := io.WriteString(handshake(two), "two\n"); err != nil {
		t.Fatal(err)
	}
	next.AwaitRecords(`"offset":0,"data":"two"`)
}
