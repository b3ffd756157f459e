package handover_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/handover"
	"tcpmux/daemon/server"
	"tcpmux/daemon/servertest"
	"tcpmux/daemon/session"
	"tcpmux/daemon/systemd"
)

func TestMain(m *testing.M) { servertest.Main(m) }

// TestEveryModelHandsOver runs the tests of this package once more for each other model.
func TestEveryModelHandsOver(t *testing.T) { servertest.EveryModel(t, "Program") }

// daemon is a server whose clients outlive it.
type daemon struct {
	*servertest.Fixture
	handover *handover.Handover
	sessions sessions
	own      *ownFiles
}

// store is what a service manager stores of a daemon, for the next one.
type store struct {
	t         *testing.T
	stored    []systemd.Socket
	journaled bool          // there is a journal
	fault     error         // of the next daemon's disk
	silence   time.Duration // is added to what the next daemon takes for the silence of clients
	options   []servertest.Option
	kernel    func(*handover.Handover) // changes what the next daemon hears from the kernel; nil: nothing
}

// surviving returns a daemon that does not let clients in yet, and what is stored of it.
func surviving(t *testing.T, change func(*config.Config), options ...servertest.Option) (*daemon, *store) {
	t.Helper()
	s := &store{t: t, journaled: true, options: options}
	return s.start(change), s
}

// unjournaled is surviving without a journal: all that sessions are marked with counts as
// written.
func unjournaled(t *testing.T, change func(*config.Config)) (*daemon, *store) {
	t.Helper()
	s := &store{t: t}
	return s.start(change), s
}

// next returns the next daemon, which goes on with the clients of the one before and lets others
// in.
func (s *store) next(change func(*config.Config)) *daemon {
	s.t.Helper()
	d := s.start(change)
	d.Open()
	return d
}

// start returns the next daemon as it is before it lets clients in.
func (s *store) start(change func(*config.Config)) *daemon {
	s.t.Helper()
	own := &ownFiles{t: s.t, fault: s.fault, files: make(map[string]*ownFile)}
	d := &daemon{Fixture: servertest.New(s.t, change, append(slices.Clone(s.options), own.option)...), own: own}
	d.Out.Fail(s.fault)
	settings, err := handover.OpenSettings(s.stored)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(settings.Close)
	open := handover.OpenUnjournaled
	if s.journaled {
		open = handover.Open
	}
	d.handover = open(handover.Options{
		Stored: s.stored, Settings: settings, Config: d.Config, Server: d.Server, Sink: d.Sink, OwnSink: own.sinkOf, Log: d.Logger,
	})
	s.t.Cleanup(func() {
		d.Sink.Close()
		own.close()
		// The memory of others too, where a test has them closed by now.
		_ = d.handover.Close()
	})
	d.handover.SetSilence(s.silence)
	if s.kernel != nil {
		s.kernel(d.handover)
	}
	d.configure()
	d.handover.Adopt(d.Bindings)
	s.take(d)
	return d
}

// configure makes the settings of a daemon's clients known to the next one.
func (d *daemon) configure() {
	d.T.Helper()
	numbers := d.handover.PutSettings(d.Config)
	for _, b := range d.Bindings {
		i := slices.IndexFunc(d.Config.Listeners, func(l config.Listener) bool { return l.Name == b.Listener.Name })
		d.Server.Configure(b, d.Config.Listeners[i], numbers[b.Listener.Name])
		d.sessions.watch(b)
	}
}

// take stores what a daemon keeps.
func (s *store) take(d *daemon) {
	s.t.Helper()
	tk, err := d.handover.Takeover(program(d.Config), d.Config, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	defer tk.Close()
	if _, s.stored, err = tk.Sockets(); err != nil {
		s.t.Fatal(err)
	}
	for _, d := range s.stored {
		s.t.Cleanup(func() { _ = d.File.Close() })
	}
}

// program returns a program that takes a configuration.
func program(cfg config.Config) handover.Program {
	return handover.Program{Check: func() (config.Config, error) { return cfg, nil }}
}

// lose has stored descriptors be lost on the way.
func (s *store) lose(names ...string) {
	s.stored = slices.DeleteFunc(s.stored, func(d systemd.Socket) bool { return slices.Contains(names, d.Name) })
}

// leave has a daemon leave its clients.
func (d *daemon) leave() {
	d.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), servertest.Patience)
	defer cancel()
	d.Server.WaitForStragglers(ctx)
	if err := d.Server.Leave(ctx); err != nil {
		d.T.Errorf("leave: got %v, want nil", err)
	}
}

// stuck has a daemon, whose records cannot be written, leave its clients once it has taken
// records from them.
func (d *daemon) stuck(say func()) {
	d.T.Helper()
	out, to := d.Out, d.Sink
	if l := d.Config.Listeners[0]; l.File != "" {
		out, to = d.own.of(l).out, d.own.sinkOf(l)
	}
	out.Fail(servertest.ErrDisk)
	writes := out.Begun()
	say()
	servertest.Eventually(d.T, func() bool { return out.Begun() > writes }, func() { d.T.Error("got no write, want one") })
	ctx, cancel := context.WithTimeout(context.Background(), servertest.Patience)
	defer cancel()
	left := make(chan error, 1)
	go func() {
		d.Server.WaitForStragglers(ctx)
		left <- d.Server.Leave(ctx)
	}()
	servertest.Eventually(d.T, d.Server.Draining, func() { d.T.Error("the daemon does not leave") })
	to.Close()
	if err := <-left; err != nil {
		d.T.Fatal(err)
	}
}

// halfway returns a daemon with a client that has sent a line, which is recorded, and half of the
// next.
func halfway(t *testing.T, change func(*config.Config)) (*daemon, *store, *servertest.Client) {
	t.Helper()
	d, s := surviving(t, change)
	return d, s, d.sendHalf()
}

// sendHalf lets clients in, and returns one that has sent a line, which is recorded, and half of
// the next.
func (d *daemon) sendHalf() *servertest.Client {
	d.T.Helper()
	d.Open()
	c := d.Greeted()
	c.Say("one\nhalf")
	d.AwaitRecords("one")
	return c
}

// session returns the session of the daemon's only client.
func (d *daemon) session() *session.Session {
	d.T.Helper()
	d.AwaitClients(1)
	servertest.Eventually(d.T, func() bool { return len(d.sessions.all()) > 0 }, func() { d.T.Error("got no session, want one") })
	all := d.sessions.all()
	return all[len(all)-1]
}

// kernelHolds waits until the socket of the daemon's only client has n bytes that were not taken
// from it.
func (d *daemon) kernelHolds(n int) {
	d.T.Helper()
	got := -1
	servertest.Eventually(d.T, func() bool {
		got = d.session().Conn.Unread()
		return got == n
	}, func() { d.T.Errorf("bytes in the socket: got %d, want %d", got, n) })
}

// sessions are those of a daemon, the one that began last is the last. They are known once they
// can be served.
type sessions struct {
	mu    sync.Mutex
	known []*session.Session
}

func (ss *sessions) all() []*session.Session {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return slices.Clone(ss.known)
}

func (ss *sessions) add(s *session.Session) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if !slices.Contains(ss.known, s) {
		ss.known = append(ss.known, s)
	}
}

// watch adds the sessions of a binding from now on. It is called before the first.
func (ss *sessions) watch(b *server.Binding) {
	settings := b.Settings()
	serve := settings.Service
	settings.Service = func(s *session.Session) (session.Service, error) {
		ss.add(s)
		return serve(s)
	}
	settings.Stages = append([]session.Stage{stage(ss.add)}, settings.Stages...)
}

// stage is a stage that calls a function.
type stage func(*session.Session)

// Run implements session.Stage.
func (f stage) Run(s *session.Session) (session.Reason, error) {
	f(s)
	return "", nil
}

// asJSON sets the format of records that have every field.
func asJSON(c *config.Config) { c.Record.Format = "json" }

// idling has the first listener's clients end after a silence.
func idling(timeout time.Duration) func(*config.Config) {
	return func(cfg *config.Config) { cfg.Listeners[0].IdleTimeout = timeout }
}

// bounding changes the bounds of the first listener's clients.
func bounding(change func(*config.Policy)) func(*config.Config) {
	return func(cfg *config.Config) { change(&cfg.Listeners[0].Limits.Policy) }
}

// sessionIn returns the name of the session that all records are of.
func sessionIn(t *testing.T, records string) (name string) {
	t.Helper()
	for line := range strings.Lines(records) {
		_, rest, _ := strings.Cut(line, `"session":"`)
		now, _, _ := strings.Cut(rest, `"`)
		if name != "" && now != name {
			t.Errorf("session: got %q and %q, want one", name, now)
		}
		name = now
	}
	return name
}
