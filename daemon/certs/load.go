package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"time"

	"tcpmux/config"
)

// loaded are the files of a set, as they were read at one time. It is not changed.
type loaded struct {
	config   *tls.Config
	at       time.Time
	paths    paths
	chain    []*x509.Certificate // the server's own first
	cas      []*x509.Certificate
	lists    []*list
	problems []string // those that do not depend on the time
	asClient bool     // the daemon shows the certificate as a client
}

// paths are where the files of a set are; "" is for none.
type paths struct{ certificate, key, clientCA, crl string }

// resolve returns the files that c names.
func resolve(c config.TLS) (p paths, err error) {
	for _, f := range []struct {
		key, value string
		to         *string
	}{
		{"certificate", c.Certificate, &p.certificate}, {"key", c.Key, &p.key}, {"client_ca", c.ClientCA, &p.clientCA}, {"crl", c.CRL, &p.crl},
	} {
		path, rerr := config.SecretPath(f.value)
		if rerr != nil {
			err = errors.Join(err, &keyError{f.key, rerr})
		}
		*f.to = path
	}
	return p, err
}

// ErrNoCredential reports that a credential of systemd was not passed in: the process is not that
// of the service.
var ErrNoCredential = errors.New("no credential of systemd")

// keyError is an ErrNoCredential of a key of the configuration.
type keyError struct {
	key string
	err error
}

// Error returns the key and the cause.
func (e *keyError) Error() string { return "tls." + e.key + ": " + e.err.Error() }

// Is reports whether target is ErrNoCredential.
func (e *keyError) Is(target error) bool { return target == ErrNoCredential }

// Unwrap returns the cause.
func (e *keyError) Unwrap() error { return e.err }

// load reads and checks the files that c names. With an error it returns what could be read.
func load(c config.TLS, now time.Time) (*loaded, error) {
	p, err := resolve(c)
	l := &loaded{at: now, paths: p}
	if err != nil {
		return l, err
	}
	pair, err := l.loadPair()
	err = errors.Join(err, l.loadAuthorities())
	if err != nil {
		return l, err
	}
	minVersion := uint16(tls.VersionTLS12)
	if c.MinVersion == "1.3" {
		minVersion = tls.VersionTLS13
	}
	l.config = &tls.Config{
		Certificates:           []tls.Certificate{*pair},
		MinVersion:             minVersion,
		SessionTicketsDisabled: true,
		Renegotiation:          tls.RenegotiateNever,
	}
	if len(l.cas) > 0 {
		l.checkClients(l.config, c.ClientAuth)
	}
	return l, nil
}

// loadPair loads the server's certificate and its key.
func (l *loaded) loadPair() (*tls.Certificate, error) {
	chain, err := l.loadCertificates(l.paths.certificate)
	if err == nil {
		l.chain = chain
		l.checkChain()
		err = l.checkLeaf()
	}
	key, kerr := l.loadKey()
	if err := errors.Join(err, kerr); err != nil {
		return nil, err
	}
	if !belongs(chain[0], key) {
		return nil, l.mismatch(key)
	}
	pair := &tls.Certificate{PrivateKey: key, Leaf: chain[0]}
	for _, c := range chain {
		pair.Certificate = append(pair.Certificate, c.Raw)
	}
	return pair, nil
}

// loadAuthorities loads what client certificates are checked with.
func (l *loaded) loadAuthorities() (err error) {
	if l.paths.clientCA == "" {
		return nil
	}
	if l.cas, err = l.loadCertificates(l.paths.clientCA); err != nil {
		return err
	}
	l.checkAuthorities()
	if l.paths.crl == "" {
		return nil
	}
	return l.loadLists()
}

// checkClients has a configuration ask for client certificates and check them.
func (l *loaded) checkClients(c *tls.Config, auth string) {
	switch auth {
	case "require":
		c.ClientAuth = tls.RequireAndVerifyClientCert
	case "request":
		c.ClientAuth = tls.VerifyClientCertIfGiven
	default:
		return
	}
	c.ClientCAs = x509.NewCertPool()
	for _, ca := range l.cas {
		c.ClientCAs.AddCert(ca)
	}
	if len(l.lists) > 0 {
		c.VerifyPeerCertificate = l.verifyPeer
	}
}
