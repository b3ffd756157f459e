// Package servertest runs a server inside a test: with listeners on free ports, clients of its own,
// and a record file that fails or hangs on demand. It promises that nothing of a server is left
// when its test has ended. External test packages use it:
//
//	func TestMain(m *testing.M) { servertest.Main(m) }
//
//	func TestEveryModel(t *testing.T) { servertest.EveryModel(t, "Program") }
//
//	func TestClientsAreRecorded(t *testing.T) {
//		f := servertest.New(t, nil).Open()
//		c := f.Greeted()
//		c.Say("hello\n")
//		f.AwaitRecords(c.Addr() + ": hello\n")
//	}
package servertest

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/admission"
	"tcpmux/daemon/listen"
	"tcpmux/daemon/record"
	"tcpmux/daemon/recordfile"
	"tcpmux/daemon/server"
	"tcpmux/daemon/session"
	"tcpmux/daemon/sink"
)

// Fixture is a server in a test, and everything around it that Run would put there.
type Fixture struct {
	T      *testing.T
	Config config.Config
	Server *server.Server
	Sink   *sink.Sink
	// Bindings has one binding for each address of each listener. Their sockets listen already.
	Bindings []*server.Binding
	// Log is what the server logs, at all levels.
	Log *FakeFile
	// Logger writes to Log.
	Logger *slog.Logger
	// Out is what the server records; nil after NewWithFile.
	Out *FakeFile
	// Path is the record file's; "" after New.
	Path string
	// Banner is what the first listener greets with.
	Banner string

	served chan error
}

// Option changes the options that a fixture's server is made with.
type Option func(*server.Options)

// Accept has the server call accept instead of accept4(2).
func Accept(accept func(fd int) (int, syscall.Sockaddr, error)) Option {
	return func(o *server.Options) { o.Accept = accept }
}

// StopGrace has the server wait for d, not for seconds, between telling a program to end and
// killing it.
func StopGrace(d time.Duration) Option {
	return func(o *server.Options) { o.StopGrace = d }
}

// Config returns the configuration that an empty file stands for, on a free port of 127.0.0.1, with
// the banner "hello\r\n" and the model of this run. change may change it further; nil does not.
func Config(change func(*config.Config)) config.Config {
	cfg := config.Default()
	cfg.Listeners[0].Address = []string{"127.0.0.1:0"}
	cfg.Listeners[0].Banner = config.Text("hello\r\n")
	if model := Model(); model != "" {
		cfg.Listeners[0].Model = model
	}
	if change != nil {
		change(&cfg)
	}
	return cfg
}

// DebugLog returns a log that leaves nothing out.
func DebugLog(to io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(to, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// New returns a fixture whose server has Config(change) and records in Out. Nobody accepts before
// Open.
func New(t *testing.T, change func(*config.Config), options ...Option) *Fixture {
	t.Helper()
	f := newFixture(t, change)
	f.Out = &FakeFile{}
	f.Sink = sink.New(f.Out, func(error) {})
	f.start(options)
	return f
}

// NewWithFile is New, but the server records in a file, as the daemon does: the configured one,
// below a temporary directory unless its path is absolute.
func NewWithFile(t *testing.T, change func(*config.Config), options ...Option) *Fixture {
	t.Helper()
	f := newFixture(t, change)
	r := &f.Config.Record
	if !filepath.IsAbs(r.File) {
		r.File = filepath.Join(t.TempDir(), r.File)
	}
	file, err := recordfile.Open(recordfile.Options{
		Path: r.File, Mode: os.FileMode(r.Mode), MaxSize: r.MaxSize, MaxBackups: r.MaxBackups, MaxAge: r.MaxAge,
		Compress: r.Compress, Sync: r.Sync, MinFree: r.MinFree, Format: f.format(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	f.Path = file.Path()
	f.Sink = sink.New(file, func(error) {})
	f.start(options)
	return f
}

func newFixture(t *testing.T, change func(*config.Config)) *Fixture {
	t.Helper()
	cfg, log := Config(change), &FakeFile{}
	return &Fixture{
		T: t, Config: cfg, Log: log, Logger: DebugLog(log),
		Banner: cfg.Listeners[0].Banner.Raw,
		served: make(chan error, 1),
	}
}

func (f *Fixture) format() record.Format {
	f.T.Helper()
	format, err := record.ParseFormat(f.Config.Record.Format)
	if err != nil {
		f.T.Fatal(err)
	}
	return format
}

// start makes the server and its listeners.
func (f *Fixture) start(options []Option) {
	f.T.Helper()
	format := f.format()
	opt := server.Options{
		SinkOf:  func(config.Listener) session.Sink { return f.Sink },
		Encoder: func() session.Encoder { return record.NewEncoder(format) },
		Events:  f.Config.Record.Events,
		Clients: f.Config.Limits.Clients,
		Log:     f.Logger,
	}
	for _, o := range options {
		o(&opt)
	}
	f.Server = server.New(opt)
	f.Bindings = f.bind()
	f.Server.SetLimits(f.Config, f.Bindings)
}

// bind has all listeners listen, also those whose programs cannot be started.
func (f *Fixture) bind() (bindings []*server.Binding) {
	f.T.Helper()
	lns, _ := listen.Open(f.Config.Listeners, nil, true)
	for _, ln := range lns {
		c := f.configOf(ln.Name)
		if err := cmp.Or(ln.Bind(), ln.Prepare(c.LostTimeout), ln.Listen(c.Backlog)); err != nil {
			f.T.Fatal(err)
		}
		b := f.Server.Bind(ln, c)
		b.SetRules(admission.NewRules(c.Limits.Allow, c.Limits.Deny))
		bindings = append(bindings, b)
	}
	for _, c := range f.Config.Listeners {
		if len(c.Address) > 0 {
			continue
		}
		b := f.Server.Bind(listen.Muxed(c.Name), c) // only a mux reaches it
		b.SetRules(admission.NewRules(c.Limits.Allow, c.Limits.Deny))
		f.Server.Reach(b)
		bindings = append(bindings, b)
	}
	return bindings
}

func (f *Fixture) configOf(name string) config.Listener {
	for _, c := range f.Config.Listeners {
		if c.Name == name {
			return c
		}
	}
	f.T.Fatalf("no listener %q", name)
	return config.Listener{}
}

// Binding returns the first listener's first binding.
func (f *Fixture) Binding() *server.Binding { return f.Bindings[0] }

// Addr returns the address that Binding listens on.
func (f *Fixture) Addr() netip.AddrPort { return f.Binding().Listener.Addr.AddrPort }

// Open lets clients in at Binding until the test has ended. Ended returns when that has.
func (f *Fixture) Open() *Fixture {
	go func() { f.served <- f.Server.Serve(f.Binding()) }()
	f.T.Cleanup(f.Close)
	return f
}

// OpenToo lets clients in at Bindings[i] until the test has ended, after Open.
func (f *Fixture) OpenToo(i int) *server.Binding {
	go func() { _ = f.Server.Serve(f.Bindings[i]) }() // it ends with the server
	return f.Bindings[i]
}

// Close ends all sessions at once. A sink that does not let them end is closed.
func (f *Fixture) Close() {
	late := time.AfterFunc(Patience, f.Sink.Close)
	defer late.Stop()
	_ = f.Server.Shutdown(Done()) // clients that have stayed are no fault
}

// Finish shuts the server down, for which no client may need more than Patience.
func (f *Fixture) Finish() {
	f.T.Helper()
	ctx, cancel := context.WithTimeout(f.T.Context(), Patience)
	defer cancel()
	if err := f.Server.Shutdown(ctx); err != nil {
		f.T.Error(err)
	}
}

// Shutdown begins a Shutdown with ctx, whose result Result awaits, and returns once Serve accepts
// no more.
func (f *Fixture) Shutdown(ctx context.Context) (ended chan error) {
	f.T.Helper()
	ended = make(chan error, 1)
	go func() { ended <- f.Server.Shutdown(ctx) }()
	Eventually(f.T, f.Server.Draining, func() { f.T.Error("the server does not drain") })
	return ended
}

// Ended waits for the error of the Serve that Open began.
func (f *Fixture) Ended() error {
	f.T.Helper()
	return Result(f.T, f.served)
}

// AwaitClients waits until n clients are served.
func (f *Fixture) AwaitClients(n int) {
	f.T.Helper()
	Eventually(f.T, func() bool { return f.Server.Clients() == n }, func() {
		f.T.Errorf("clients: got %d, want %d", f.Server.Clients(), n)
	})
}

// AwaitRecords waits until the records hold every text, and returns them.
func (f *Fixture) AwaitRecords(texts ...string) string {
	f.T.Helper()
	if f.Out != nil {
		return f.Out.Await(f.T, texts...)
	}
	var got string
	Eventually(f.T, func() bool {
		b, err := os.ReadFile(f.Path)
		got = string(b)
		return err == nil && HoldsAll(got, texts)
	}, func() { f.T.Errorf("records: got %q, want %q in them", got, texts) })
	return got
}

// Client connects to Binding. The connection is closed with the test.
func (f *Fixture) Client() *Client {
	f.T.Helper()
	return Dial(f.T, f.Addr().String(), nil)
}

// Greeted is Client, and takes the banner.
func (f *Fixture) Greeted() *Client {
	f.T.Helper()
	c := f.Client()
	c.Hear(f.Banner)
	return c
}

// From is Client, from an address of this machine.
func (f *Fixture) From(address string) *Client {
	f.T.Helper()
	return Dial(f.T, f.Addr().String(), &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}})
}

// Deaf is Client, with the smallest receive buffer: what is sent to it soon waits.
func (f *Fixture) Deaf() *Client {
	f.T.Helper()
	return Dial(f.T, f.Addr().String(), &net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		cerr := raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 2048)
		})
		return cmp.Or(cerr, err)
	}})
}
