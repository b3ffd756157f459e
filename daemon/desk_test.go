package daemon

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/record"
	"tcpmux/daemon/systemd"
)

// patience is how long anything is waited for that must come; only a failing test waits that long.
const patience = 30 * time.Second

// desk is a daemon inside the test: what Run puts together, within reach.
type desk struct {
	t      *testing.T
	srv    *Server
	sink   *record.Sink
	lns    []*listener
	ln     *listener // the first
	log    *page
	out    *page // what a desk of newDesk has recorded
	path   string
	banner string
	served chan error
	accept acceptFunc // nil: accept4
}

// defaults are those of an empty file on a free port, with change made to them.
func defaults(change func(*config.Config)) config.Config {
	cfg := config.Default()
	cfg.Listeners[0].Address = []string{"127.0.0.1:0"}
	cfg.Listeners[0].Banner = config.Text("hello\r\n")
	if model := os.Getenv(modelVariable); model != "" {
		cfg.Listeners[0].Model = model
	}
	if change != nil {
		change(&cfg)
	}
	return cfg
}

// debugLog is a log that leaves nothing out: where events are recorded, a session's line is for debugging.
func debugLog(to io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(to, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// newDesk is a desk that records on a page.
func newDesk(t *testing.T, change func(*config.Config)) *desk {
	t.Helper()
	cfg, log, out := defaults(change), &page{}, &page{}
	d := deskAt(t, cfg, record.NewSink(out, func(error) {}), log)
	d.out = out
	return d
}

// deskWithFile is a desk that records in a file, as Run has it.
func deskWithFile(t *testing.T, change func(*config.Config)) *desk {
	t.Helper()
	cfg, log := defaults(change), &page{}
	if !filepath.IsAbs(cfg.Record.File) {
		cfg.Record.File = filepath.Join(t.TempDir(), cfg.Record.File)
	}
	logger := debugLog(log)
	opt, err := recordOptions(cfg, &troubles{log: logger})
	if err != nil {
		t.Fatal(err)
	}
	file, sink, err := openSink(opt, logger)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	d := deskAt(t, cfg, sink, log)
	d.path = file.Path()
	return d
}

// listen returns the listeners that can be served, and what keeps the others from it.
func listen(cfg []config.Listener, sockets []systemd.Socket, log *slog.Logger) (served []*listener, err error) {
	d := &daemon{cfg: config.Config{Listeners: cfg}, log: &logger{Logger: log}}
	d.openListeners(sockets)
	errs := d.left
	for _, ln := range d.lns {
		if ln.unserved == nil {
			served = append(served, ln)
		} else {
			errs = append(errs, fmt.Errorf("%v: %w", ln, ln.unserved.err))
		}
	}
	closeUnserved(d.lns)
	return served, errors.Join(errs...)
}

// listenAnyhow binds all listeners, also those whose programs cannot be started.
func listenAnyhow(t *testing.T, cfg config.Config) []*listener {
	t.Helper()
	lns, _ := listenersOf(cfg.Listeners, nil, true)
	for _, ln := range lns {
		if err := cmp.Or(ln.bind(), ln.prepare(), ln.setBacklog()); err != nil {
			t.Fatal(err)
		}
	}
	return lns
}

func closeAll(lns []*listener) {
	for _, ln := range lns {
		_ = ln.file.Close() // nothing was written
	}
}

func deskAt(t *testing.T, cfg config.Config, sink *record.Sink, log *page) *desk {
	t.Helper()
	format, err := record.ParseFormat(cfg.Record.Format)
	if err != nil {
		t.Fatal(err)
	}
	logger := debugLog(log)
	lns := listenAnyhow(t, cfg)
	srv := newServer(sink, encoderOf(format), cfg.Record.Events, cfg.Limits.Clients, logger)
	rules, err := openRules(cfg.Listeners)
	if err != nil {
		t.Fatal(err)
	}
	srv.configure(cfg, lns, rules)
	return &desk{t: t, srv: srv, sink: sink, lns: lns, ln: lns[0], log: log, served: make(chan error, 1), banner: cfg.Listeners[0].Banner.Raw}
}

// open lets clients in until the test is over.
func (d *desk) open() *desk {
	go func() { d.served <- d.serve() }()
	d.t.Cleanup(d.close)
	return d
}

// serve is Serve, with accept in place of the system call where the test has set it.
func (d *desk) serve() error {
	if d.accept == nil {
		return d.srv.Serve(d.ln)
	}
	a, err := newAcceptor(d.srv, d.ln)
	if err != nil {
		return err
	}
	a.accept = d.accept
	if !d.srv.begin(a) {
		return ErrServerClosed
	}
	err = a.run()
	_ = d.ln.file.Close()
	d.srv.end(a)
	return err
}

// close ends all sessions at once.
func (d *desk) close() {
	late := time.AfterFunc(patience, d.sink.Close)
	defer late.Stop()
	_ = d.srv.Shutdown(over())
}

// over is a context that is done.
func over() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// client connects; the connection is closed with the test.
func (d *desk) client() *client {
	d.t.Helper()
	return dial(d.t, d.ln.addr.String(), nil)
}

// greeted connects and takes the banner.
func (d *desk) greeted() *client {
	d.t.Helper()
	c := d.client()
	c.hear(d.banner)
	return c
}

// records waits until the page or file holds every text, and returns it.
func (d *desk) records(texts ...string) string {
	d.t.Helper()
	if d.out != nil {
		return d.out.await(d.t, texts...)
	}
	var got string
	eventually(d.t, func() bool {
		b, err := os.ReadFile(d.path)
		got = string(b)
		return err == nil && holdsAll(got, texts)
	}, func() { d.t.Errorf("records: got %q, want %q in them", got, texts) })
	return got
}

// client is somebody who connects.
type client struct {
	*net.TCPConn
	t *testing.T
}

func dial(t *testing.T, address string, dialer *net.Dialer) *client {
	t.Helper()
	if dialer == nil {
		dialer = &net.Dialer{}
	}
	dialer.Timeout = patience
	conn, err := dialer.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return &client{conn.(*net.TCPConn), t}
}

// addr is the client as records name it.
func (c *client) addr() string { return c.LocalAddr().String() }

func (c *client) say(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatalf("say %.40q: %v", text, err)
	}
}

// hear takes exactly text.
func (c *client) hear(text string) {
	c.t.Helper()
	got := make([]byte, len(text))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != text {
		c.t.Fatalf("heard %.80q and %v, want %.80q", got[:n], err, text)
	}
}

// hearEnd takes what the server still says until it closes.
func (c *client) hearEnd() string {
	c.t.Helper()
	rest, err := io.ReadAll(c)
	if err != nil {
		c.t.Errorf("heard %.80q and %v, want the end of the stream", rest, err)
	}
	return string(rest)
}

// page is a writer that can be read meanwhile, and that fails or hangs when it is told to.
type page struct {
	mu     sync.Mutex
	buf    bytes.Buffer
	fault  error         // what Write returns; half of the first line is on the page all the same
	gate   chan struct{} // when not nil, Write waits until it is closed
	writes int           // begun
}

func (p *page) Write(b []byte) (int, error) {
	p.mu.Lock()
	p.writes++
	gate := p.gate
	p.mu.Unlock()
	if gate != nil {
		<-gate
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fault != nil {
		return 0, p.fault
	}
	return p.buf.Write(b)
}

// fail makes writes return err from now on; nil lets them work again.
func (p *page) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = err
}

// hang makes writes wait until the returned function is called.
func (p *page) hang() (resume func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	gate := make(chan struct{})
	p.gate = gate
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.gate = nil
		close(gate)
	})
}

// begun is how many writes have been asked for.
func (p *page) begun() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.writes
}

func (p *page) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.buf.String()
}

// await waits until every text is on the page.
func (p *page) await(t *testing.T, texts ...string) string {
	t.Helper()
	eventually(t, func() bool { return holdsAll(p.String(), texts) }, func() {
		t.Errorf("got %q, want %q in it", p.String(), texts)
	})
	return p.String()
}

// line is the first line of the page that holds every text; "" when there is none.
func (p *page) line(texts ...string) string {
	for l := range strings.Lines(p.String()) {
		if holdsAll(l, texts) {
			return strings.TrimSuffix(l, "\n")
		}
	}
	return ""
}

func holdsAll(s string, texts []string) bool {
	return !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(s, text) })
}

// eventually waits until true holds; when it does not come, tell says so and the test ends.
func eventually(t *testing.T, holds func() bool, tell func()) {
	t.Helper()
	for looks := 0; !holds(); looks++ {
		if looks == patientLooks {
			tell()
			t.FailNow()
		}
		time.Sleep(time.Millisecond)
	}
}

// patientLooks is how often something that must come is looked for, a millisecond apart. A machine that is too busy for the test is too
// busy to look, so no time is counted: a test that fails does so soon on one that is not.
const patientLooks = 10_000

// finish shuts the server down, for which no client may need more than patience.
func (d *desk) finish() {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	if err := d.srv.Shutdown(ctx); err != nil {
		d.t.Error(err)
	}
}

// awaitClients waits until n are served.
func (d *desk) awaitClients(n int) {
	d.t.Helper()
	eventually(d.t, func() bool { return d.srv.Clients() == n }, func() {
		d.t.Errorf("clients: got %d, want %d", d.srv.Clients(), n)
	})
}

// ends waits for Serve's error.
func (d *desk) ends() error {
	d.t.Helper()
	select {
	case err := <-d.served:
		return err
	case <-time.After(patience):
		d.t.Fatal("Serve goes on, want its end")
		return nil
	}
}

// errDisk is a sink's trouble.
var errDisk = errors.New("no space left on device")

// lacks ends a test for want of what this machine does not have: in CI by a failure, as nothing may pass there in silence.
func lacks(t *testing.T, what, how string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("%s: %s", what, how)
	}
	t.Skipf("%s: %s", what, how)
}
