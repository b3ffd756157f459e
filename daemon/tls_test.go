package daemon

import (
	"crypto/tls"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/certs"
	"tcpmux/daemon/servertest"
	"tcpmux/daemon/tlsconn"
	"tcpmux/daemon/tlsconn/tlstest"
)

// tlsFixture is the certificate of a listener's clients.
type tlsFixture struct {
	*tlstest.Authority
	t                *testing.T
	certificate, key string
}

func newTLSFixture(t *testing.T) *tlsFixture {
	t.Helper()
	f := &tlsFixture{Authority: tlstest.NewAuthority(t), t: t}
	f.certificate, f.key, _ = f.Write(f.Server())
	return f
}

// config has a listener speak TLS.
func (f *tlsFixture) config(l *config.Listener) {
	l.TLS = config.TLS{
		Certificate: f.certificate, Key: f.key, MinVersion: "1.2", ClientAuth: "none",
		HandshakeTimeout: time.Minute, Survive: "auto",
	}
}

// renew writes another certificate, and its key only if it is to fit.
func (f *tlsFixture) renew(fitting bool) {
	f.t.Helper()
	certificate, key, _ := f.Write(f.Server())
	if fitting {
		replace(f.t, f.key, readFile(key))
	}
	replace(f.t, f.certificate, readFile(certificate))
}

// shown returns the serial number of the certificate that a server shows.
func (f *tlsFixture) shown(address string) string {
	f.t.Helper()
	conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: f.Pool()})
	if err != nil {
		f.t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

// TestCertificatesAreReloaded, as one set: a client that connects gets the old ones or the new
// ones, and a fault keeps the old ones in force, with all else that the reload would bring.
func TestCertificatesAreReloaded(t *testing.T) {
	f := newTLSFixture(t)
	r := run(t, func(cfg *config.Config) { f.config(&cfg.Listeners[0]) })
	address := r.address()
	old := f.shown(address)
	f.renew(false)
	r.reload(func(*config.Config) error { return nil })
	r.awaitLog("configuration not reloaded", "has not the key of the certificate", f.key)
	if got := f.shown(address); got != old {
		t.Errorf("after a fault: got serial number %s, want the old %s", got, old)
	}
	f.renew(true)
	r.reload(func(*config.Config) error { return nil })
	renewed := f.shown(address)
	if renewed == old {
		t.Error("got the old certificate after a reload, want the new one")
	}
	other := newTLSFixture(t)
	r.reload(func(cfg *config.Config) error { other.config(&cfg.Listeners[0]); return nil })
	other.shown(address)
}

func TestNobodyStartsOnFaultyCertificates(t *testing.T) {
	f := newTLSFixture(t)
	f.renew(false)
	cfg := servertest.Config(func(cfg *config.Config) {
		f.config(&cfg.Listeners[0])
		cfg.Record.File = filepath.Join(t.TempDir(), "records.log")
	})
	err := Run(t.Context(), loaded(cfg), Requests{}, io.Discard)
	if !errors.Is(err, config.ErrInvalid) || !strings.Contains(err.Error(), "has not the key of the certificate") {
		t.Errorf("got %v, want the fault of the key", err)
	}
}

// TestFaultyCertificatesKeepNoOtherListenerFromBeingServed, and theirs is served once they are
// mended.
func TestFaultyCertificatesKeepNoOtherListenerFromBeingServed(t *testing.T) {
	f := newTLSFixture(t)
	key := readFile(f.key)
	replace(t, f.key, "")
	address := freeAddress(t)
	r := run(t, second(address, f.config))
	greeting(t, r.dial())
	r.awaitLog("listener is not served", "listener=second", "has no key in PEM")
	replace(t, f.key, key)
	r.awaitLog("listening", "listener=second", "address="+address)
	f.shown(address)
}

// sets are those of listeners, and the log.
func (f *tlsFixture) sets(ls ...config.Listener) (*tlsSets, *servertest.FakeFile) {
	f.t.Helper()
	log := &servertest.FakeFile{}
	sets := newTLSSets(servertest.DebugLog(log))
	sets.probe, sets.kernel = func() error { return nil }, nil
	for _, l := range ls {
		if err := sets.ready(l); err != nil {
			f.t.Fatal(err)
		}
	}
	return sets, log
}

func (f *tlsFixture) listener(name string) config.Listener {
	l := config.Listener{Name: name}
	f.config(&l)
	return l
}

// polled polls n times, at the times when that does something.
func (t *tlsSets) polled(n int, ls ...config.Listener) {
	now := time.Now()
	for i := range n {
		t.poll(now.Add(time.Duration(i)*certs.WatchInterval), ls, true)
	}
	t.nextPoll = time.Time{}
}

// TestCertificatesAreFollowed without a reload, and what lasts is told once: in the log when it
// begins, and in the status until it ends.
func TestCertificatesAreFollowed(t *testing.T) {
	f := newTLSFixture(t)
	a, b := f.listener("a"), f.listener("b")
	sets, log := f.sets(a, b)
	if len(sets.all) != 1 {
		t.Fatalf("got %d sets, want one for both listeners", len(sets.all))
	}
	now := time.Now()
	f.renew(false)
	sets.polled(20, a, b)
	const told = `level=ERROR msg="certificates not taken over, those before hold" listener=a,b err=`
	if n := strings.Count(log.String(), told); n != 1 {
		t.Errorf("log: got it %d times, want once %s: %s", n, told, log)
	}
	const problem = "certificates are not those of their files (listener a,b): "
	if got := sets.problems([]config.Listener{a, b}, now); len(got) != 1 || !strings.HasPrefix(got[0], problem) {
		t.Errorf("got problems %q, want one with %q", got, problem)
	}
	if got := sets.status([]config.Listener{a, b}, now); !strings.Contains(got, "; "+problem) {
		t.Errorf("status line: got %q, want %q", got, problem)
	}
	if got := sets.api(a, now, true); got.Fault == "" || got.Failures == 0 || got.Expires.IsZero() || got.Ends != "" {
		t.Errorf("got %+v, want a fault", got)
	}
	f.renew(true)
	sets.polled(1, a, b)
	if got := sets.problems([]config.Listener{a, b}, now); len(got) > 0 {
		t.Errorf("got problems %q, want none", got)
	}
	if want := `level=INFO msg="certificates taken over" listener=a,b expires=`; !strings.Contains(log.String(), want) {
		t.Errorf("log: got %s, want %s", log, want)
	}
}

// TestProblemsAreLoggedWhenTheyBeginAndEnd.
func TestProblemsAreLoggedWhenTheyBeginAndEnd(t *testing.T) {
	f := newTLSFixture(t)
	l := f.listener("a")
	sets, log := f.sets(l)
	for _, mode := range []os.FileMode{0o644, 0o600} {
		if err := os.Chmod(f.key, mode); err != nil {
			t.Fatal(err)
		}
		sets.polled(3, l)
	}
	for _, want := range []string{`level=WARN msg="certificates have a problem" listener=a err=`, `level=INFO msg="certificates have a problem no more" listener=a err=`} {
		if n := strings.Count(log.String(), want); n != 1 {
			t.Errorf("log: got it %d times, want once %s: %s", n, want, log)
		}
	}
}

// TestWhoMustSurviveNeedsTheKernel: nobody is let in who would end with the daemon, and that is
// mended by loading the module.
func TestWhoMustSurviveNeedsTheKernel(t *testing.T) {
	f := newTLSFixture(t)
	must, may := f.listener("must"), f.listener("may")
	must.TLS.Survive = "require"
	missing := errors.New(`the kernel has no TLS: as root, "modprobe tls"`)
	sets, log := f.sets(may)
	sets.probe = func() error { return missing }
	sets.kernel = missing
	if err := sets.ready(must); !errors.Is(err, config.ErrInvalid) || !strings.Contains(err.Error(), "modprobe tls") {
		t.Errorf("got %v, want an error that names the module", err)
	}
	if _, err := sets.prepare([]config.Listener{must}); !errors.Is(err, config.ErrInvalid) {
		t.Errorf("a reload: got %v, want an error", err)
	}
	sets.announce([]config.Listener{may}, true)
	sets.announce([]config.Listener{may}, true)
	if n := strings.Count(log.String(), `level=WARN msg="TLS clients end with the daemon" listener=may survive=auto`); n != 1 {
		t.Errorf("log: got it %d times, want once: %s", n, log)
	}
	if got := sets.status([]config.Listener{may}, time.Now()); !strings.Contains(got, "; TLS clients of may end with the daemon: the kernel has no TLS") {
		t.Errorf("status line: got %q", got)
	}
	missing = nil
	sets.polled(1, may)
	if err := sets.ready(must); err != nil || sets.status([]config.Listener{may}, time.Now()) != "" {
		t.Errorf("with the module: got %v and %q, want all well", err, sets.status([]config.Listener{may}, time.Now()))
	}
}

func TestWhyTLSClientsEnd(t *testing.T) {
	sets := &tlsSets{}
	for _, c := range []struct{ survive, model, exec, want string }{
		{"auto", "goroutine", "", ""},
		{"auto", "thread", "", ""},
		{"auto", "process", "", "processes serve them"},
		{"auto", "goroutine", "/bin/cat", "programs serve them"},
		{"off", "goroutine", "", "tls.survive"},
	} {
		l := config.Listener{Model: c.model, TLS: config.TLS{Survive: c.survive}}
		if c.exec != "" {
			l.Exec = []string{c.exec}
		}
		if got := sets.ends(l); c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%+v: got %q, want %q", c, got, c.want)
		}
	}
	l := config.Listener{Model: "goroutine", Address: []string{"unix:/run/x.sock"}, TLS: config.TLS{Survive: "auto"}}
	if got := sets.ends(l); !strings.Contains(got, "unix socket") {
		t.Errorf("unix socket: got %q, want that the kernel has no TLS for it", got)
	}
	for survive, want := range map[string]tlsconn.Kernel{"auto": tlsconn.Auto, "require": tlsconn.Require, "off": tlsconn.Never} {
		if got := kernelOf(survive); got != want {
			t.Errorf("%s: got %v, want %v", survive, got, want)
		}
	}
}

// TestSubjectsOfTheConfigurationAndOfRules hold together, and the rules as they are now.
func TestSubjectsOfTheConfigurationAndOfRules(t *testing.T) {
	f := newTLSFixture(t)
	sets, _ := f.sets()
	admit := func(l config.Listener, subject string) bool { return sets.options(l).Admit(subject) }
	l := f.listener("a")
	if sets.options(l).Admit != nil {
		t.Error("without patterns: got a decision, want none")
	}
	l.TLS.AllowSubjects = []string{"CN=a"}
	if !admit(l, "CN=a") || admit(l, "CN=b") {
		t.Error("the configuration: got another decision")
	}
	l.Limits.Rules = "rules"
	if admit(l, "CN=a") {
		t.Error("rules that were never read: got a client let in")
	}
	file := &rulesFile{rules: config.Rules{AllowSubjects: []string{"CN=b"}, DenySubjects: []string{"CN=a"}}}
	decide := sets.options(l).Admit
	sets.setRules(rulesFiles{"rules": file})
	if decide("CN=a") || !decide("CN=b") || decide("CN=c") {
		t.Error("rules and the configuration: got another decision")
	}
}

// TestSetsThatNobodyUsesAreForgotten.
func TestSetsThatNobodyUsesAreForgotten(t *testing.T) {
	f, g := newTLSFixture(t), newTLSFixture(t)
	a, b := f.listener("a"), g.listener("b")
	sets, _ := f.sets(a, b)
	clear := config.Listener{Name: "c"}
	sets.keep([]config.Listener{clear}, []config.Listener{b})
	if sets.of(b.TLS).Load() == nil || len(sets.all) != 1 {
		t.Errorf("got %d sets, want that of b", len(sets.all))
	}
	if sets.options(clear) != nil {
		t.Error("clear text: got options, want none")
	}
	if len(sets.options(a).Config().Certificates) != 1 {
		t.Error("a client that is left of a former listener: got no certificate, want one")
	}
	_ = os.Remove(f.key)
	sets.keep()
	if c := sets.options(a).Config(); c.GetCertificate == nil {
		t.Error("without its files: got a configuration, want one that refuses")
	}
}
