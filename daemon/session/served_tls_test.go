package session_test

import (
	"context"
	"crypto/tls"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/conn"
	"tcpmux/daemon/server"
	"tcpmux/daemon/servertest"
	"tcpmux/daemon/session"
	"tcpmux/daemon/tlsconn"
	"tcpmux/daemon/tlsconn/tlstest"
)

// secure is a server in a test whose clients speak TLS, and the authority that they trust.
type secure struct {
	*servertest.Fixture
	authority *tlstest.Authority
}

// secured returns one that records in json. change may change the configuration, and the options.
func secured(t *testing.T, change func(*config.Config, *tlsconn.Options, *tls.Config)) *secure {
	t.Helper()
	f := unopened(t, change)
	f.Open()
	return f
}

// unopened is secured, and accepts nobody before Open.
func unopened(t *testing.T, change func(*config.Config, *tlsconn.Options, *tls.Config)) *secure {
	t.Helper()
	a := tlstest.NewAuthority(t)
	spoken := &tls.Config{Certificates: []tls.Certificate{a.Server()}, ClientCAs: a.Pool()}
	options := &tlsconn.Options{Config: func() *tls.Config { return spoken }, Timeout: servertest.Patience}
	f := servertest.New(t, func(c *config.Config) {
		c.Record.Format = "json"
		if change != nil {
			change(c, options, spoken)
		}
	}, func(o *server.Options) { o.TLS = func(config.Listener) *tlsconn.Options { return options } })
	f.Server.Env().Handshakes.Resize(256)
	return &secure{f, a}
}

// dial returns a client of TLS whose handshake is done.
func (f *secure) dial(c *tls.Config) *tls.Conn {
	f.T.Helper()
	c.RootCAs, c.ServerName = f.authority.Pool(), "localhost"
	client := tls.Client(f.Client().TCPConn, c)
	if err := client.Handshake(); err != nil {
		f.T.Fatal(err)
	}
	return client
}

// greeted is dial, and takes the banner.
func (f *secure) greeted(c *tls.Config) *tls.Conn {
	f.T.Helper()
	client := f.dial(c)
	hear(f.T, client, f.Banner)
	return client
}

func hear(t *testing.T, c io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("heard %q and %v, want %q", got[:n], err, want)
	}
}

func say(t *testing.T, c io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatalf("say %.40q: %v", text, err)
	}
}

// tlsRecord is a record of a client of TLS.
type tlsRecord struct {
	Kind, Data, Flag, Reason, Subject string
	Offset                            int64
	TLS                               *struct{ Version, Cipher, SNI, Subject string }
}

// closed waits for n records that tell of an end, and returns all records.
func (f *secure) closed(n int) (all []tlsRecord) {
	f.T.Helper()
	servertest.Eventually(f.T, func() bool {
		all = nil
		ends := 0
		for line := range strings.Lines(f.Out.String()) {
			var e tlsRecord
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				f.T.Fatalf("%v: %s", err, line)
			}
			if all = append(all, e); e.Reason != "" {
				ends++
			}
		}
		return ends == n
	}, func() { f.T.Errorf("got %s, want %d ends; log: %s", f.Out, n, f.Log) })
	return all
}

// TestAClientOfTLSIsServedAsOthersAre: greeted, recorded, acknowledged; and its records tell of it.
func TestAClientOfTLSIsServedAsOthersAre(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			f := secured(t, func(c *config.Config, _ *tlsconn.Options, s *tls.Config) {
				c.Listeners[0].Ack = config.Text("{offset}\n")
				s.ClientAuth = tls.RequireAndVerifyClientCert
			})
			c := f.greeted(&tls.Config{MaxVersion: version, Certificates: []tls.Certificate{
				f.authority.Issue(pkix.Name{CommonName: "dev-7\n\x1b[2J\"", Organization: []string{"Ünits"}}, nil),
			}})
			say(t, c, "one\ntwo\n")
			hear(t, c, "0\n4\n")
			say(t, c, strings.Repeat("x", 100_000)+"\nhalf")
			hear(t, c, "8\n")
			if err := c.CloseWrite(); err != nil {
				t.Error(err)
			}
			if rest, err := io.ReadAll(c); err != nil {
				t.Errorf("at the end: got %q and %v", rest, err)
			}
			all := f.closed(1)
			first, last := all[0], all[len(all)-1]
			want := tlsconn.VersionName(version)
			if first.TLS == nil || first.TLS.Version != want || first.TLS.SNI != "localhost" || !strings.HasPrefix(first.TLS.Cipher, "TLS_") {
				t.Errorf("the first record: got %+v of %+v, want version %s of localhost", first.TLS, first, want)
			}
			if !strings.Contains(first.TLS.Subject, "CN=dev-7\n\x1b[2J") || strings.ContainsAny(f.Out.String(), "\x1b\x07") {
				t.Errorf("the subject: got %q, want the client's, and no control bytes in the file", first.TLS.Subject)
			}
			if last.Reason != "eof" || all[1].Data != "one" || all[1].Subject != first.TLS.Subject {
				t.Errorf("got %+v, want messages with the subject, and the end", all)
			}
		})
	}
}

// TestWhoDoesNotFitIsToldApartByTheReason of its record.
func TestWhoDoesNotFitIsToldApartByTheReason(t *testing.T) {
	t.Run("plain text where TLS is spoken", func(t *testing.T) {
		f := secured(t, nil)
		c := f.Client()
		c.Say("hello\n")
		_, _ = io.ReadAll(c) // an alert
		if all := f.closed(1); all[len(all)-1].Reason != string(session.ByPlainText) {
			t.Errorf("got %+v, want reason %s", all, session.ByPlainText)
		}
	})
	t.Run("TLS where plain text is spoken", func(t *testing.T) {
		f := servertest.New(t, func(c *config.Config) {
			c.Record.Format, c.Listeners[0].Banner = "json", config.Text("")
		}).Open()
		client := tls.Client(f.Client().TCPConn, &tls.Config{InsecureSkipVerify: true})
		if err := client.Handshake(); err == nil {
			t.Error("the handshake is done")
		}
		s := &secure{Fixture: f}
		if all := s.closed(1); all[len(all)-1].Reason != string(session.ByTLS) {
			t.Errorf("got %+v, want reason %s", all, session.ByTLS)
		}
	})
	t.Run("no certificate where one is required", func(t *testing.T) {
		f := secured(t, func(_ *config.Config, _ *tlsconn.Options, s *tls.Config) {
			s.ClientAuth = tls.RequireAndVerifyClientCert
		})
		c := tls.Client(f.Client().TCPConn, &tls.Config{RootCAs: f.authority.Pool(), ServerName: "localhost"})
		_ = c.Handshake() // TLS 1.3 tells at the first read
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("the client was served")
		}
		if all := f.closed(1); all[len(all)-1].Reason != string(session.ByCertificate) {
			t.Errorf("got %+v, want reason %s", all, session.ByCertificate)
		}
	})
	t.Run("nothing at all", func(t *testing.T) {
		f := secured(t, nil)
		_ = f.Client().CloseWrite()
		if all := f.closed(1); all[len(all)-1].Reason != string(session.ByEOF) {
			t.Errorf("got %+v, want reason %s", all, session.ByEOF)
		}
	})
	t.Run("no handshake in time", func(t *testing.T) {
		f := secured(t, func(_ *config.Config, o *tlsconn.Options, _ *tls.Config) { o.Timeout = time.Millisecond })
		f.Client().HearEnd()
		if all := f.closed(1); all[len(all)-1].Reason != string(session.ByHandshake) {
			t.Errorf("got %+v, want reason %s", all, session.ByHandshake)
		}
	})
	t.Run("no close_notify", func(t *testing.T) {
		f := secured(t, nil)
		c := f.greeted(&tls.Config{})
		say(t, c, "one\nhalf")
		_ = c.NetConn().Close()
		all := f.closed(1)
		if end := all[len(all)-1]; end.Reason != string(session.ByTruncation) || all[len(all)-2].Data != "half" {
			t.Errorf("got %+v, want all that came, and reason %s", all, session.ByTruncation)
		}
	})
}

// TestHalfHandshakesStarveNobody: the oldest are given up when there are too many.
func TestHalfHandshakesStarveNobody(t *testing.T) {
	f := secured(t, nil)
	const budget = 64 // of 256 clients
	var half []*servertest.Client
	for range 2 * budget {
		c := f.Client()
		c.Say("\x16\x03\x01\x02\x00\x01")
		half = append(half, c)
	}
	c := f.greeted(&tls.Config{})
	say(t, c, "one\n")
	servertest.Eventually(t, func() bool { return strings.Contains(f.Out.String(), `"one"`) }, func() { t.Error(f.Out) })
	half[0].HearEnd()
	all := f.closed(budget)
	if all[0].Reason == "" && all[1].Reason == "" && len(all) < budget {
		t.Errorf("got %+v", all)
	}
	for _, e := range all {
		if e.Reason != "" && e.Reason != string(session.ByHandshake) {
			t.Errorf("got reason %s, want %s", e.Reason, session.ByHandshake)
		}
	}
}

// TestARefusalIsNoTextInTheMiddleOfTLS: the client could not read it.
func TestARefusalIsNoTextInTheMiddleOfTLS(t *testing.T) {
	f := secured(t, func(c *config.Config, _ *tlsconn.Options, _ *tls.Config) {
		c.Listeners[0].Limits.ClientsPerSource, c.Listeners[0].Limits.Refusal = 1, config.Text("go away\n")
	})
	f.greeted(&tls.Config{})
	if got := f.Client().HearEnd(); got != "" {
		t.Errorf("heard %q, want nothing", got)
	}
}

// TestAClientOfTLSIsDrained: the end of a daemon that keeps nobody is told in TLS, and all that had
// come is recorded.
func TestAClientOfTLSIsDrained(t *testing.T) {
	f := secured(t, nil)
	c := f.greeted(&tls.Config{})
	say(t, c, "one\n")
	servertest.Eventually(t, func() bool { return strings.Contains(f.Out.String(), `"one"`) }, func() { t.Error(f.Out) })
	ended := f.Shutdown(context.Background())
	if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 {
		t.Errorf("got %q and %v, want close_notify", rest, err)
	}
	say(t, c, "two\n")
	if err := c.CloseWrite(); err != nil {
		t.Error(err)
	}
	_ = c.NetConn().(*net.TCPConn).CloseWrite()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if all := f.closed(1); all[len(all)-2].Data != "two" {
		t.Errorf("got %+v, want all that came", all)
	}
}

// TestManyClientsOfTLSLoseNothing, whatever their model and the size of their writes.
func TestManyClientsOfTLSLoseNothing(t *testing.T) {
	f := secured(t, nil)
	const clients, lines = 20, 200
	failed := make(chan error, clients)
	for range clients {
		c := f.greeted(&tls.Config{})
		go func() {
			text := strings.Repeat(strings.Repeat("x", 999)+"\n", lines)
			_, err := io.WriteString(c, text)
			failed <- errors.Join(err, c.Close())
		}()
	}
	for range clients {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
	messages := 0
	for _, e := range f.closed(clients) {
		if e.Data != "" {
			messages++
		}
	}
	if messages != clients*lines {
		t.Errorf("got %d messages, want %d", messages, clients*lines)
	}
}

// TestAllThatHasArrivedInTLSIsRecorded of a client whose time is over, however much of it is still
// encrypted.
func TestAllThatHasArrivedInTLSIsRecorded(t *testing.T) {
	if servertest.Model() == "process" {
		t.Skip("the process has what has arrived")
	}
	const lines, least = 120, 100 // far more than is decrypted at a time
	f := unopened(t, func(c *config.Config, _ *tlsconn.Options, _ *tls.Config) { c.Listeners[0].Banner = config.Text("") })
	fd := make(chan uintptr, 1)
	settings := f.Binding().Settings()
	settings.Stages = append(settings.Stages, bigBuffer(fd))
	f.Open()
	c := f.dial(&tls.Config{})
	resume := f.Out.Hang()
	defer resume()
	say(t, c, "one\n")
	servertest.Eventually(t, func() bool { return f.Out.Begun() > 0 }, func() { t.Error(f.Out) })
	say(t, c, strings.Repeat(strings.Repeat("x", 999)+"\n", lines))
	socket := <-fd
	servertest.Eventually(t, func() bool { return conn.Unread(socket) > least*1100 }, func() { t.Errorf("%d bytes have arrived", conn.Unread(socket)) })
	ended := f.Shutdown(servertest.Done())
	resume()
	<-ended // it says that the client did not finish
	all := f.closed(1)
	if n := len(all) - 3; n < least || all[len(all)-1].Reason != string(session.ByDrain) {
		t.Errorf("got %d messages and %+v, want at least %d and reason %s", n, all[len(all)-1], least, session.ByDrain)
	}
}

// bigBuffer is a stage that has the kernel take much for the session, whose socket it tells.
type bigBuffer chan<- uintptr

// Run implements session.Stage.
func (b bigBuffer) Run(s *session.Session) (session.Reason, error) {
	s.Conn.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<20)
		b <- fd
	})
	return "", nil
}
