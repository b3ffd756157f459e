package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"tcpmux/config"
)

// ForClient returns how the daemon speaks TLS as the client of an upstream: it reads the files that
// c names. Its error reports all faults that were found, on one line. ServerName is not set.
func ForClient(c config.Proxy) (*tls.Config, error) {
	set, _, err := loadForClient(c, time.Now())
	if err != nil {
		return nil, inOneLine(err)
	}
	return set, nil
}

// CheckForClient reports all faults that ForClient would, and what is most likely a mistake.
func CheckForClient(c config.Proxy, now time.Time) (faults []error, problems []string) {
	_, l, err := loadForClient(c, now)
	return flat(err), l.problemsAt(now)
}

func loadForClient(c config.Proxy, now time.Time) (*tls.Config, *loaded, error) {
	l := &loaded{at: now, asClient: true}
	var err error
	for _, f := range []struct {
		key, value string
		to         *string
	}{
		{"proxy_certificate", c.Certificate, &l.paths.certificate}, {"proxy_key", c.Key, &l.paths.key}, {"proxy_ca", c.CA, &l.paths.clientCA},
	} {
		path, rerr := config.SecretPath(f.value)
		if rerr != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w: %w", f.key, ErrNoCredential, rerr))
		}
		*f.to = path
	}
	if err != nil {
		return nil, l, err
	}
	set := &tls.Config{MinVersion: tls.VersionTLS12}
	if l.paths.certificate != "" {
		pair, perr := l.loadPair()
		if err = perr; err == nil {
			set.Certificates = []tls.Certificate{*pair}
		}
	}
	if err = errors.Join(err, l.loadAuthorities()); err != nil {
		return nil, l, err
	}
	if len(l.cas) > 0 {
		set.RootCAs = x509.NewCertPool()
		for _, ca := range l.cas {
			set.RootCAs.AddCert(ca)
		}
	}
	return set, l, nil
}
