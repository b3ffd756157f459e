// Package certs keeps the certificates, keys, authorities and revocation lists of TLS listeners. It
// loads the files of a listener as one set, and swaps a set whole: one with a fault leaves that
// before it in force.
//
// A fault is what no client could be served with, such as a key of another certificate. What can be
// used and is most likely wrong, such as a certificate that has expired, is a problem: Status lists
// it. Both name the file, and say what is allowed and what to do.
package certs

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"tcpmux/config"
)

// Set is what a listener needs of files for TLS. Its methods may be called from any goroutine.
type Set struct {
	of      config.TLS
	current atomic.Pointer[loaded]

	mu       sync.Mutex // held while files are read
	watch    watch
	fault    error // why the files are not what is in force; nil: they are, as far as is known
	failures int64
}

// Open loads the files that c names; c.On() is true. Its error reports all faults that were found,
// on one line.
func Open(c config.TLS) (*Set, error) {
	s := &Set{of: c}
	s.watch.seen = s.states()
	l, err := load(c, time.Now())
	if err != nil {
		return nil, inOneLine(err)
	}
	s.current.Store(l)
	return s, nil
}

// Check reports all faults that Open would, and all problems that Status would list at a time: also
// those of some files if others have a fault.
func Check(c config.TLS, now time.Time) (faults []error, problems []string) {
	l, err := load(c, now)
	return flat(err), l.problemsAt(now)
}

// lines are errors of several files, which Error writes on one line.
type lines struct{ error }

// Error returns all of them.
func (e lines) Error() string { return strings.ReplaceAll(e.error.Error(), "\n", "; ") }

// Unwrap returns what errors.Is looks through.
func (e lines) Unwrap() error { return e.error }

// inOneLine has the text of err on one line, as the log and the status want it.
func inOneLine(err error) error {
	if err == nil {
		return nil
	}
	return lines{err}
}

// flat returns the errors that were joined to one.
func flat(err error) (all []error) {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	for _, one := range joined.Unwrap() {
		all = append(all, flat(one)...)
	}
	return all
}

// Files returns the paths of the files that c names, without those of systemd that it does not pass
// in here.
func Files(c config.TLS) (paths []string) {
	for _, value := range []string{c.Certificate, c.Key, c.ClientCA, c.CRL} {
		if path, err := config.SecretPath(value); err == nil && path != "" {
			paths = append(paths, path)
		}
	}
	return paths
}

// Config returns the configuration in force, for a handshake. It must not be changed. It asks for
// client certificates and checks them, also against the revocation lists: then an error of the
// handshake is a *tls.CertificateVerificationError or wraps tlsconn.ErrCertificate.
func (s *Set) Config() *tls.Config { return s.current.Load().config }

// Reload loads all files anew. If one has a fault, what was in force stays in force.
func (s *Set) Reload() error {
	commit, err := s.Prepare()
	if err == nil {
		commit()
	}
	return err
}

// Prepare loads all files anew, and returns what puts them in force. An error is noted in Status.
func (s *Set) Prepare() (commit func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next, err := s.loadLocked()
	if err != nil {
		s.noteLocked(err)
		return nil, err
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.useLocked(next)
	}, nil
}

// noteLocked keeps in mind why the files cannot be used. It reports whether that is new.
func (s *Set) noteLocked(err error) (isNew bool) {
	isNew = s.fault == nil || s.fault.Error() != err.Error()
	s.fault = err
	s.failures++
	return isNew
}

// loadLocked loads the files, and keeps in mind which state of them it has seen.
func (s *Set) loadLocked() (*loaded, error) {
	s.watch.seen = s.states() // first: a change while they are read is seen later
	next, err := load(s.of, time.Now())
	err = inOneLine(err)
	if err == nil {
		err = s.current.Load().worse(next)
	}
	return next, err
}

func (s *Set) useLocked(next *loaded) {
	s.current.Store(next)
	s.fault, s.watch.failed = nil, 0
}

// worse reports that next does not serve yet, and l does.
func (l *loaded) worse(next *loaded) error {
	cert, old := next.chain[0], l.chain[0]
	if now := next.at; now.Before(cert.NotBefore) && now.Before(old.NotAfter) {
		return errors.New(next.file(next.paths.certificate, "is valid from %s on, and that in force until %s: check the clock (timedatectl); it is tried again",
			date(cert.NotBefore), date(old.NotAfter)))
	}
	return nil
}

// Status is what there is to say of a set.
type Status struct {
	// Expiry is when the first certificate of the chain in force expires.
	Expiry time.Time
	// Loaded is when what is in force was loaded.
	Loaded time.Time
	// Fault is why the files are not what is in force; nil: they are, as far as is known.
	Fault error
	// Failures is how often they could not be loaded.
	Failures int64
	// Problems are lines about what is in force.
	Problems []string
}

// Status returns what there is to say of the set at a time.
func (s *Set) Status(now time.Time) Status {
	s.mu.Lock()
	fault, failures := s.fault, s.failures
	s.mu.Unlock()
	l := s.current.Load()
	return Status{Expiry: l.expiry(), Loaded: l.at, Fault: fault, Failures: failures, Problems: l.problemsAt(now)}
}

// date returns a time for people.
func date(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// file returns a line about a file.
func (l *loaded) file(path, format string, args ...any) string {
	return fmt.Sprintf("file %q ", path) + fmt.Sprintf(format, args...)
}
