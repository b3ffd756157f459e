package builtin

import (
	"io"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/conn/conntest"
	"tcpmux/daemon/logging"
	"tcpmux/daemon/session"
)

// fixture is a session with a built-in service, over a connection in memory, in a bubble of
// testing/synctest: its times are exact.
type fixture struct {
	*session.Session
	t       *testing.T
	client  *conntest.Conn
	bounds  atomic.Pointer[session.Bounds]
	service session.Service
	reason  atomic.Value // a session.Reason, once it has ended
	ended   chan struct{}
}

// bubble runs a test with a fixture, whose listener has a service and change made to it; nil
// changes nothing.
func bubble(t *testing.T, service string, change func(*config.Listener, *session.Config), test func(f *fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := start(t, service, change)
		synctest.Wait()
		test(f)
		f.Enter(session.Over)
		<-f.ended
	})
}

// start has a session begin.
func start(t testing.TB, service string, change func(*config.Listener, *session.Config)) *fixture {
	f := &fixture{client: conntest.New(), ended: make(chan struct{})}
	f.t, _ = t.(*testing.T)
	l := config.Default().Listeners[0]
	l.Service, l.Banner, l.Record = service, config.Bytes{}, false
	c := session.Config{
		Env: &session.Env{
			Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Lines: logging.SessionLines(), Visits: &logging.Visits{},
			BannerTimeout: 10 * time.Second,
		},
		Bounds: &f.bounds, Conn: f.client, Opened: time.Now(), Past: &session.Past{},
	}
	if change != nil {
		change(&l, &c)
	}
	f.bounds.Store(session.BoundsOf(l))
	given := c.Settings
	c.Settings = session.NewSettings(l, 0)
	if given != nil {
		c.Settings.Sink = given.Sink
	}
	c.Settings.Service = func(s *session.Session) (session.Service, error) {
		made, err := New(s)
		f.service = reasoned{made, f}
		return f.service, err
	}
	f.Session = session.New(c)
	go func() {
		defer close(f.ended)
		f.Run()
	}()
	return f
}

// reasoned notes why a service ends.
type reasoned struct {
	session.Service
	f *fixture
}

func (r reasoned) Serve() (session.Reason, error) {
	why, err := r.Service.Serve()
	r.f.reason.Store(why)
	return why, err
}

// why returns why the session has ended; "" if it has not.
func (f *fixture) why() session.Reason {
	why, _ := f.reason.Load().(session.Reason)
	return why
}

// carrier returns the service, which is one.
func (f *fixture) carrier() *carrier { return f.service.(reasoned).Service.(*carrier) }

// send has the client send a text, which the session sees alone.
func (f *fixture) send(text string) {
	f.client.Send(text)
	synctest.Wait()
}

// holds checks what the client has got so far.
func (f *fixture) holds(want string, end bool) {
	f.t.Helper()
	synctest.Wait()
	if got := f.client.Received(); got != want || f.client.WriteClosed() != end {
		f.t.Errorf("got %.80q, end %v, want %.80q, %v", got, f.client.WriteClosed(), want, end)
	}
}

// ends checks why the session has ended by now.
func (f *fixture) ends(want session.Reason) {
	f.t.Helper()
	synctest.Wait()
	if got := f.why(); got != want {
		f.t.Errorf("got %q, want %q", got, want)
	}
	if want != "" && !f.client.Closed() {
		f.t.Error("the connection is open")
	}
}
