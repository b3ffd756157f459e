package certs

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"time"

	"tcpmux/daemon/tlsconn"
)

// list is a revocation list of an authority of the set.
type list struct {
	issuer     *x509.Certificate
	nextUpdate time.Time       // zero: it does not say
	serials    map[string]bool // of certificates that are revoked, as bytes, big-endian
}

// loadLists loads the revocation lists, each of an authority of the set.
func (l *loaded) loadLists() error {
	path := l.paths.crl
	text, err := l.read(path, maxCRL)
	if err != nil {
		return err
	}
	all, fault := parseLists(text)
	if fault != "" {
		return errors.New(l.file(path, "%s", fault))
	}
	if fault := l.addLists(all); fault != "" {
		return errors.New(l.file(path, "%s", fault))
	}
	return nil
}

// addLists adds lists to the set, or returns why one cannot be used.
func (l *loaded) addLists(all []*x509.RevocationList) (fault string) {
	for _, r := range all {
		issuer, fault := l.issuerOf(r)
		if fault != "" {
			return fault
		}
		one := &list{issuer, r.NextUpdate, make(map[string]bool, len(r.RevokedCertificateEntries))}
		for _, e := range r.RevokedCertificateEntries {
			one.serials[string(e.SerialNumber.Bytes())] = true
		}
		l.lists = append(l.lists, one)
	}
	return ""
}

// parseLists returns the revocation lists of a text in PEM or DER, at least one.
func parseLists(text []byte) (all []*x509.RevocationList, fault string) {
	if !bytes.Contains(text, []byte("-----BEGIN ")) {
		r, fault := parseList(text)
		return []*x509.RevocationList{r}, fault
	}
	for block := range blocks(text) {
		if block.Type != "X509 CRL" {
			continue
		}
		r, fault := parseList(block.Bytes)
		if fault != "" {
			return nil, fault
		}
		all = append(all, r)
	}
	if len(all) == 0 {
		return nil, "has no revocation list, want DER, or PEM with -----BEGIN X509 CRL-----" + found(text)
	}
	return all, ""
}

// parseList returns a revocation list that is whole: not one of changes, nor for some of the
// certificates. Those have critical extensions (RFC 5280, section 5.2).
func parseList(der []byte) (*x509.RevocationList, string) {
	r, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, fmt.Sprintf("has a revocation list that cannot be read: %q, want DER or PEM", err)
	}
	extensions := r.Extensions
	for _, e := range r.RevokedCertificateEntries {
		if e.SerialNumber == nil {
			return nil, "has a revocation list with an entry without a serial number"
		}
		extensions = append(extensions, e.Extensions...)
	}
	for _, e := range extensions {
		if e.Critical {
			return nil, fmt.Sprintf("has a revocation list with the critical extension %v, which is not understood: want a full list of one authority, no delta", e.Id)
		}
	}
	return r, ""
}

// issuerOf returns the authority of the set that has signed a list.
func (l *loaded) issuerOf(r *x509.RevocationList) (*x509.Certificate, string) {
	why := "it is none of " + fmt.Sprintf("%q", l.paths.clientCA)
	for _, ca := range l.cas {
		if !bytes.Equal(ca.RawSubject, r.RawIssuer) {
			continue
		}
		err := r.CheckSignatureFrom(ca)
		if err == nil {
			return ca, ""
		}
		why = fmt.Sprintf("its signature is not that of the authority in %q: %q", l.paths.clientCA, err)
	}
	name := r.Issuer.String()
	if len(name) > 200 {
		name = name[:200]
	}
	return nil, fmt.Sprintf("has a revocation list of %q, an unknown issuer: %s: add its certificate to client_ca, or take the list out", name, why)
}

// verifyPeer refuses a client all of whose chains have a certificate that is revoked. It is for
// tls.Config.VerifyPeerCertificate.
func (l *loaded) verifyPeer(_ [][]byte, chains [][]*x509.Certificate) error {
	var revoked error
	for _, chain := range chains {
		err := l.checkRevoked(chain)
		if err == nil {
			return nil
		}
		revoked = err
	}
	return revoked // nil without a certificate
}

func (l *loaded) checkRevoked(chain []*x509.Certificate) error {
	for _, c := range chain {
		if l.revoked(c) {
			return fmt.Errorf("%w: %s, serial number %s, is revoked", tlsconn.ErrCertificate, subject(c), serial(c.SerialNumber))
		}
	}
	return nil
}

// revoked reports whether a list says that a certificate is.
func (l *loaded) revoked(c *x509.Certificate) bool {
	for _, list := range l.lists {
		if bytes.Equal(list.issuer.RawSubject, c.RawIssuer) && list.serials[string(c.SerialNumber.Bytes())] && c.CheckSignatureFrom(list.issuer) == nil {
			return true
		}
	}
	return false
}

// serial returns a serial number as openssl writes it.
func serial(n *big.Int) string { return fmt.Sprintf("%X", n) }
