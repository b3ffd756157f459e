package certs

import (
	"crypto"
	"crypto/elliptic"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// other is a new certificate and its key.
func (f *fixture) other(name string) (cert, key string) {
	k := newKey(f.t, elliptic.P256())
	return certPEM(f.ca.issue(template(name), k), f.ca.cert), keyPEM(f.t, k)
}

// name returns the name in the certificate in force.
func (s *Set) name() string { return s.Config().Certificates[0].Leaf.Subject.CommonName }

// polls calls Poll n times, of which none may do anything but the last.
func (f *fixture) polls(s *Set, n int) (bool, error) {
	f.t.Helper()
	for range n - 1 {
		if swapped, err := s.Poll(); swapped || err != nil {
			f.t.Fatalf("got %v and %v, want nothing", swapped, err)
		}
	}
	return s.Poll()
}

func TestWhatIsReplacedIsPutInForce(t *testing.T) {
	f := newFixture(t)
	s := f.open()
	if swapped, err := f.polls(s, 3); swapped || err != nil {
		t.Fatalf("unchanged: got %v and %v, want nothing", swapped, err)
	}
	before := s.Config()
	cert, key := f.other("new")
	f.write("cert.pem", cert)
	if swapped, err := s.Poll(); swapped || err != nil || s.name() != "server" {
		t.Errorf("without its key: got %v, %v and %q, want the old one without an error", swapped, err, s.name())
	}
	f.write("key.pem", key)
	if swapped, err := s.Poll(); !swapped || err != nil || s.name() != "new" {
		t.Errorf("got %v, %v and %q, want the new one", swapped, err, s.name())
	}
	if before.Certificates[0].Leaf.Subject.CommonName != "server" {
		t.Error("a configuration that was in force has changed")
	}
	if got := s.Status(time.Now()); got.Failures != 0 || got.Fault != nil {
		t.Errorf("got %+v, want no failure", got)
	}
}

// TestLinksAreFollowed, as certbot replaces them.
func TestLinksAreFollowed(t *testing.T) {
	f := newFixture(t)
	cert, key := f.other("new")
	f.write("cert2.pem", cert)
	f.write("key2.pem", key)
	link := func(name, target string) string {
		path := filepath.Join(f.dir, name)
		_ = os.Remove(path)
		if err := os.Symlink(target, path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	f.config.Certificate, f.config.Key = link("live.pem", "cert.pem"), link("livekey.pem", "key.pem")
	s := f.open()
	link("live.pem", "cert2.pem")
	link("livekey.pem", "key2.pem")
	if swapped, err := s.Poll(); !swapped || err != nil || s.name() != "new" {
		t.Errorf("got %v, %v and %q, want the new one", swapped, err, s.name())
	}
}

// TestAFaultThatLastsIsReportedOnce, and what was in force stays.
func TestAFaultThatLastsIsReportedOnce(t *testing.T) {
	f := newFixture(t)
	s := f.open()
	cert, key := f.other("new")
	f.write("cert.pem", cert)
	swapped, err := f.polls(s, settled)
	if swapped || err == nil || s.name() != "server" {
		t.Fatalf("got %v, %v and %q, want an error", swapped, err, s.name())
	}
	contain(t, err.Error(), "has not the key")
	if swapped, err := f.polls(s, 3*retried); swapped || err != nil {
		t.Errorf("got %v and %v, want nothing more", swapped, err)
	}
	got := s.Status(time.Now())
	if got.Fault == nil || got.Failures < 3 || got.Failures > 5 {
		t.Errorf("got %+v, want a fault, and a failure each %d polls", got, retried)
	}
	os.Remove(f.keyFile)
	if _, err := s.Poll(); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("got %v, want the other fault", err)
	}
	f.write("key.pem", key)
	if swapped, err := s.Poll(); !swapped || err != nil || s.name() != "new" || s.Status(time.Now()).Fault != nil {
		t.Errorf("got %v, %v and %q, want the new one without a fault", swapped, err, s.name())
	}
}

// TestAFaultThatIsUndone leaves no trace once the files are as before.
func TestAFaultThatIsUndone(t *testing.T) {
	f := newFixture(t)
	s := f.open()
	f.write("key.pem", "")
	if _, err := f.polls(s, settled); err == nil {
		t.Fatal("got no error")
	}
	f.write("key.pem", keyPEM(t, f.key))
	if _, err := s.Poll(); err != nil || s.Status(time.Now()).Fault != nil {
		t.Errorf("got %v and %+v, want no fault", err, s.Status(time.Now()))
	}
}

func TestReload(t *testing.T) {
	f := newFixture(t)
	s := f.open()
	cert, key := f.other("new")
	f.write("cert.pem", cert)
	if err := s.Reload(); err == nil || s.name() != "server" {
		t.Errorf("got %v and %q, want an error and the old one", err, s.name())
	}
	if got := s.Status(time.Now()); got.Fault == nil || got.Failures != 1 {
		t.Errorf("got %+v, want a fault", got)
	}
	f.write("key.pem", key)
	commit, err := s.Prepare()
	if err != nil || s.name() != "server" {
		t.Fatalf("got %v and %q, want the old one for now", err, s.name())
	}
	commit()
	if got := s.Status(time.Now()); s.name() != "new" || got.Fault != nil {
		t.Errorf("got %q and %+v, want the new one", s.name(), got)
	}
}

// TestACertificateOfTheFutureWaits for its time while another one is valid.
func TestACertificateOfTheFutureWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		s := f.open()
		c := template("new")
		c.NotBefore = time.Now().Add(time.Hour)
		f.write("cert.pem", certPEM(f.ca.issue(c, f.key), f.ca.cert))
		if err := s.Reload(); err == nil || !strings.Contains(err.Error(), "is valid from") || s.name() != "server" {
			t.Errorf("got %v and %q, want an error and the old one", err, s.name())
		}
		time.Sleep(time.Hour)
		for range 2 * retried {
			if _, err := s.Poll(); err != nil {
				t.Error(err)
			}
		}
		if s.name() != "new" {
			t.Errorf("got %q, want the new one", s.name())
		}
	})
}

// TestASetIsOne: a configuration that is taken while sets are swapped has a certificate with its
// key.
func TestASetIsOne(t *testing.T) {
	f := newFixture(t)
	s := f.open()
	var all sync.WaitGroup
	over := make(chan struct{})
	for range 2 {
		all.Go(func() {
			for {
				pair := s.Config().Certificates[0]
				if !belongs(pair.Leaf, pair.PrivateKey.(crypto.Signer)) {
					t.Error("got the key of another certificate")
				}
				select {
				case <-over:
					return
				default:
				}
			}
		})
	}
	for range 20 {
		cert, key := f.other("new")
		f.write("cert.pem", cert)
		_, _ = s.Poll()
		f.write("key.pem", key)
		if err := s.Reload(); err != nil {
			t.Error(err)
		}
		s.Status(time.Now())
	}
	close(over)
	all.Wait()
}

// TestEveryChangeIsSeen, also one that leaves the size as it was.
func TestEveryChangeIsSeen(t *testing.T) {
	for name, change := range map[string]func(f *fixture, path string) error{
		"replaced": func(f *fixture, path string) error { f.write("key.pem", keyPEM(f.t, f.key)); return nil },
		"written in place, with its time set back": func(_ *fixture, path string) error {
			info, err := os.Stat(path)
			return errors.Join(err, os.WriteFile(path, make([]byte, info.Size()), 0o600), os.Chtimes(path, time.Time{}, info.ModTime()))
		},
		"its mode":     func(_ *fixture, path string) error { return os.Chmod(path, 0o640) },
		"removed":      func(_ *fixture, path string) error { return os.Remove(path) },
		"made another": func(_ *fixture, path string) error { return errors.Join(os.Remove(path), os.Symlink("cert.pem", path)) },
	} {
		f := newFixture(t)
		s := f.open()
		if err := os.Chtimes(f.keyFile, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
		before := s.states()
		if !slices.Equal(before, s.states()) {
			t.Error("got other states of the same files")
		}
		if err := change(f, f.keyFile); err != nil {
			t.Fatal(err)
		}
		if slices.Equal(before, s.states()) {
			t.Errorf("%s: got the same states, want others", name)
		}
	}
}
