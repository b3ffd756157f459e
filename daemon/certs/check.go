package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

// soon is how long before a certificate expires that is a problem. One that lives for less than six
// times that is renewed later: then it is a sixth of its life.
const soon = 14 * 24 * time.Hour

// The sizes in bits of the smallest keys.
const (
	minRSA = 2048
	minEC  = 256
)

// subject names a certificate. Whoever wrote it cannot make it more than a short printable text.
func subject(c *x509.Certificate) string {
	text := []rune(c.Subject.String())
	if len(text) > 200 {
		text = append(text[:200], '…')
	}
	return fmt.Sprintf("%q", string(text))
}

// problem adds a problem of a file.
func (l *loaded) problem(path, format string, args ...any) {
	l.problems = append(l.problems, l.file(path, format, args...))
}

// checkLeaf returns why nobody can show the first certificate.
func (l *loaded) checkLeaf() error {
	leaf, path := l.chain[0], l.paths.certificate
	weak := weakness(leaf.PublicKey)
	switch {
	case weak != "":
		return errors.New(l.file(path, "has a certificate %s with a key that is not safe: %s: make another key and have it signed", subject(leaf), weak))
	case l.asClient && !fits(leaf, x509.ExtKeyUsageClientAuth):
		return errors.New(l.file(path, "has a certificate %s that is not for clients (extendedKeyUsage): want clientAuth, or none", subject(leaf)))
	case !l.asClient && !fits(leaf, x509.ExtKeyUsageServerAuth):
		return errors.New(l.file(path, "has a certificate %s that is not for servers (extendedKeyUsage): want serverAuth, or none", subject(leaf)))
	}
	if leaf.IsCA {
		l.problem(path, "has a certificate %s of an authority (CA:TRUE): clients may refuse it: want that of a server", subject(leaf))
	}
	return nil
}

// mismatch says that the key is not that of the certificate, and what may have happened.
func (l *loaded) mismatch(key crypto.Signer) error {
	i := slices.IndexFunc(l.chain, func(c *x509.Certificate) bool { return belongs(c, key) })
	if i > 0 {
		return errors.New(l.file(l.paths.certificate, "has the certificate of the key as its number %d (%s), want it first, and then each followed by that of its issuer",
			i+1, subject(l.chain[i])))
	}
	return errors.New(l.file(l.paths.key, "has not the key of the certificate %s in %q: put the two that belong together there; openssl pkey -pubout and openssl x509 -noout -pubkey show the same then",
		subject(l.chain[0]), l.paths.certificate))
}

// belongs reports whether key is that of a certificate.
func belongs(c *x509.Certificate, key crypto.Signer) bool {
	public, ok := c.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(key.Public())
}

// weakness returns why a key is not used; "" if it is.
func weakness(key crypto.PublicKey) string {
	switch key := key.(type) {
	case *rsa.PublicKey:
		if n := key.N.BitLen(); n < minRSA {
			return fmt.Sprintf("RSA with %d bits, want at least %d", n, minRSA)
		}
	case *ecdsa.PublicKey:
		if n := key.Curve.Params().BitSize; n < minEC {
			return fmt.Sprintf("ECDSA with %d bits, want at least %d", n, minEC)
		}
	case ed25519.PublicKey:
	default:
		return "it is neither RSA, ECDSA nor Ed25519"
	}
	return ""
}

// fits reports whether a certificate may be used for something.
func fits(c *x509.Certificate, use x509.ExtKeyUsage) bool {
	return len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) == 0 ||
		slices.Contains(c.ExtKeyUsage, use) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny)
}

// checkChain notes what clients may not like about the server's chain.
func (l *loaded) checkChain() {
	path := l.paths.certificate
	for i, c := range l.chain {
		l.checkSignature(path, c)
		if i == 0 {
			continue
		}
		if l.chain[i-1].CheckSignatureFrom(c) != nil {
			l.problem(path, "has a certificate %s that has not issued the one before it, %s: want each followed by that of its issuer, and no others",
				subject(c), subject(l.chain[i-1]))
			return
		}
		if weak := weakness(c.PublicKey); weak != "" {
			l.problem(path, "has a certificate %s with a key that is not safe: %s", subject(c), weak)
		}
	}
	// No authority that says where its own certificate is signs with one that clients know.
	if leaf := l.chain[0]; len(l.chain) == 1 && len(leaf.IssuingCertificateURL) > 0 && !selfIssued(leaf) {
		l.problem(path, "has the certificate %s alone: clients that know only the root cannot check it: want those of its issuers after it (fullchain.pem)", subject(leaf))
	}
}

// checkSignature notes a signature that can be forged. Nobody relies on that of a root.
func (l *loaded) checkSignature(path string, c *x509.Certificate) {
	switch c.SignatureAlgorithm {
	case x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.MD5WithRSA, x509.DSAWithSHA1:
		if !selfIssued(c) {
			l.problem(path, "has a certificate %s with a signature that can be forged (%v): have it signed with SHA-256", subject(c), c.SignatureAlgorithm)
		}
	}
}

func selfIssued(c *x509.Certificate) bool { return string(c.RawSubject) == string(c.RawIssuer) }

// checkAuthorities notes what is odd about those who sign clients' certificates.
func (l *loaded) checkAuthorities() {
	path := l.paths.clientCA
	for _, c := range l.cas {
		if weak := weakness(c.PublicKey); weak != "" {
			l.problem(path, "has an authority %s with a key that is not safe: %s", subject(c), weak)
		}
		if !c.IsCA && !l.asClient { // else it is the server's own
			l.problem(path, "has a certificate %s of no authority (CA:FALSE): it stands for no client but itself", subject(c))
		}
	}
}

// expiry returns when the first certificate of the chain expires.
func (l *loaded) expiry() time.Time {
	first := l.chain[0].NotAfter
	for _, c := range l.chain[1:] {
		if c.NotAfter.Before(first) {
			first = c.NotAfter
		}
	}
	return first
}

// problemsAt returns all problems at a time.
func (l *loaded) problemsAt(now time.Time) []string {
	var all []string
	note := func(path, format string, args ...any) { all = append(all, l.file(path, format, args...)) }
	for i, c := range l.chain {
		if text := validity(c, now); text != "" {
			note(l.paths.certificate, "%s", text)
			continue
		}
		if i == 0 && now.Before(c.NotBefore) {
			note(l.paths.certificate, "has a certificate %s that is valid from %s on only: check the clock (timedatectl)", subject(c), date(c.NotBefore))
		}
	}
	for _, c := range l.cas {
		if text := validity(c, now); text != "" {
			note(l.paths.clientCA, "%s", text)
		}
	}
	for _, list := range l.lists {
		if end := list.nextUpdate; !end.IsZero() && now.After(end) {
			note(l.paths.crl, "has a revocation list of %s that is out of date since %s: certificates are still checked against it: get a new one",
				subject(list.issuer), date(end))
		}
	}
	return append(all, l.problems...)
}

// validity returns that a certificate has expired, or will soon; else "".
func validity(c *x509.Certificate, now time.Time) string {
	switch end := c.NotAfter; {
	case now.After(end):
		return fmt.Sprintf("has a certificate %s that has expired, at %s: have it renewed", subject(c), date(end))
	case end.Sub(now) < min(soon, c.NotAfter.Sub(c.NotBefore)/6):
		return fmt.Sprintf("has a certificate %s that expires at %s: have it renewed", subject(c), date(end))
	}
	return ""
}
