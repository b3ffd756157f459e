package daemon

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/admission"
	"tcpmux/daemon/certs"
	"tcpmux/daemon/listen"
	"tcpmux/daemon/tlsconn"
)

// tlsSets are the certificates of TLS listeners: listeners with the same settings share a set. What
// is wrong with a set keeps its listener from being served at the start, and is no more than told
// later: what was in force stays. Only the goroutine of Run opens and changes sets; sessions use
// them.
type tlsSets struct {
	log      *slog.Logger
	probe    func() error // why the kernel cannot encrypt and decrypt
	kernel   error        // what it returned last
	nextPoll time.Time

	announced map[string]bool // listeners of which is logged how their clients speak TLS

	mu  sync.Mutex
	all map[tlsFiles]*tlsSet

	subjects atomic.Pointer[map[string]admission.Subjects] // by the file of rules they are from
}

// tlsFiles are the settings of a set. The zero value is that of clear text.
type tlsFiles struct{ certificate, key, clientCA, clientAuth, crl, minVersion string }

func filesOf(t config.TLS) tlsFiles {
	if !t.On() {
		return tlsFiles{}
	}
	return tlsFiles{t.Certificate, t.Key, t.ClientCA, t.ClientAuth, t.CRL, t.MinVersion}
}

// tlsSet is a set, once it could be opened.
type tlsSet struct {
	atomic.Pointer[certs.Set] // nil: it is not open
	told                      []string
}

// newTLSSets returns no sets yet.
func newTLSSets(log *slog.Logger) *tlsSets {
	t := &tlsSets{log: log, probe: tlsconn.Probe, announced: make(map[string]bool), all: make(map[tlsFiles]*tlsSet)}
	t.kernel = t.probe()
	t.setRules(nil)
	return t
}

// of returns the set of a listener, whose clients speak TLS.
func (t *tlsSets) of(c config.TLS) *tlsSet {
	t.mu.Lock()
	defer t.mu.Unlock()
	files := filesOf(c)
	s := t.all[files]
	if s == nil {
		s = &tlsSet{}
		t.all[files] = s
	}
	return s
}

// options returns how a listener's clients speak TLS; nil is for clear text. It is for
// server.Options.
func (t *tlsSets) options(l config.Listener) *tlsconn.Options {
	if !l.TLS.On() {
		return nil
	}
	set := t.of(l.TLS)
	return &tlsconn.Options{
		Config:  func() *tls.Config { return set.config(l.TLS) },
		Kernel:  kernelOf(l.TLS.Survive),
		Timeout: l.TLS.HandshakeTimeout,
		Admit:   t.admitOf(l),
	}
}

// kernelOf returns whether the kernel is to encrypt and decrypt for clients that are to survive.
func kernelOf(survive string) tlsconn.Kernel {
	switch survive {
	case "require":
		return tlsconn.Require
	case "off":
		return tlsconn.Never
	}
	return tlsconn.Auto
}

// config returns the configuration in force. That of a former listener, of which a client is left
// that was about to make its handshake, is opened when it is needed.
func (s *tlsSet) config(c config.TLS) *tls.Config {
	set := s.Load()
	if set == nil {
		opened, err := certs.Open(c)
		if err != nil {
			return &tls.Config{
				MinVersion:     tls.VersionTLS12,
				GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, err },
			}
		}
		s.CompareAndSwap(nil, opened)
		set = s.Load()
	}
	return set.Config()
}

// admitOf returns what decides on the subjects of a listener's clients; nil lets everybody in.
func (t *tlsSets) admitOf(l config.Listener) func(subject string) bool {
	own := admission.Subjects{Allow: l.TLS.AllowSubjects, Deny: l.TLS.DenySubjects}
	path := l.Limits.Rules
	switch {
	case path != "":
		return func(subject string) bool {
			file, known := (*t.subjects.Load())[path]
			return known && admission.Subjects{
				Allow: slices.Concat(own.Allow, file.Allow), Deny: slices.Concat(own.Deny, file.Deny),
			}.Admit(subject)
		}
	case len(own.Allow)+len(own.Deny) > 0:
		return own.Admit
	}
	return nil
}

// setRules puts the subjects in files of rules in force. A file that was never read lets nobody in.
func (t *tlsSets) setRules(files rulesFiles) {
	subjects := make(map[string]admission.Subjects, len(files))
	for path, f := range files {
		subjects[path] = admission.Subjects{Allow: f.rules.AllowSubjects, Deny: f.rules.DenySubjects}
	}
	t.subjects.Store(&subjects)
}

// ready opens the set of a listener unless it is open, and returns why clients cannot be served.
func (t *tlsSets) ready(l config.Listener) error {
	if !l.TLS.On() {
		return nil
	}
	if err := t.survives(l); err != nil {
		return err
	}
	s := t.of(l.TLS)
	if s.Load() != nil {
		return nil
	}
	set, err := certs.Open(l.TLS)
	if err != nil {
		return listen.Misfit{Err: fmt.Errorf("tls: %w", err)}
	}
	s.Store(set)
	return nil
}

// survives returns why clients that are required to outlive the daemon do not.
func (t *tlsSets) survives(l config.Listener) error {
	if reason := t.ends(l); reason != "" && kernelOf(l.TLS.Survive) == tlsconn.Require {
		return listen.Misfit{Err: fmt.Errorf(`tls.survive is "require", and its clients would end with the daemon: %s; want that, or survive = "auto"`, reason)}
	}
	return nil
}

// ends returns why a listener's TLS clients end with the daemon; "" if those with TLS 1.3 do not.
func (t *tlsSets) ends(l config.Listener) string {
	switch {
	case kernelOf(l.TLS.Survive) == tlsconn.Never:
		return `tls.survive is "off"`
	case len(l.Exec) > 0:
		return "programs serve them (exec)"
	case l.Model == "process":
		return `processes serve them (model = "process")`
	case l.Unix():
		return "the kernel has TLS for TCP alone, and not for its unix socket"
	case t.kernel != nil:
		return t.kernel.Error()
	}
	return ""
}

// prepare loads the files of all listeners anew, and returns what puts them in force. After an
// error nothing has changed.
func (t *tlsSets) prepare(cfg []config.Listener) (commit func(), err error) {
	t.kernel = t.probe()
	var commits []func()
	seen := map[tlsFiles]bool{{}: true}
	for _, l := range cfg {
		if l.TLS.On() {
			err = cmp.Or(err, t.survives(l))
		}
		files := filesOf(l.TLS)
		if seen[files] {
			continue
		}
		seen[files] = true
		put, perr := t.prepareOne(l)
		if perr != nil {
			err = cmp.Or(err, error(listen.Misfit{Err: fmt.Errorf("listener %q: tls: %w", l.Name, perr)}))
			continue
		}
		commits = append(commits, put)
	}
	if err != nil {
		return nil, err
	}
	return func() {
		for _, put := range commits {
			put()
		}
		t.nextPoll = time.Time{} // their problems are told soon
	}, nil
}

// prepareOne is prepare for the files of one listener.
func (t *tlsSets) prepareOne(l config.Listener) (commit func(), err error) {
	s := t.of(l.TLS)
	if set := s.Load(); set != nil {
		return set.Prepare()
	}
	set, err := certs.Open(l.TLS)
	if err != nil {
		return nil, err
	}
	return func() { s.Store(set) }, nil
}

// keep forgets the sets that no listener uses any more.
func (t *tlsSets) keep(inUse ...[]config.Listener) {
	t.mu.Lock()
	defer t.mu.Unlock()
	used := map[tlsFiles]bool{}
	for _, l := range slices.Concat(inUse...) {
		used[filesOf(l.TLS)] = true
	}
	for files := range t.all {
		if !used[files] {
			delete(t.all, files)
		}
	}
}
