package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tcpmux/config"
)

// authority signs certificates.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  crypto.Signer
	next int64
}

func newKey(t testing.TB, c elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// template returns a certificate that is to be signed.
func template(name string) *x509.Certificate {
	return &x509.Certificate{
		Subject:   pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(365 * 24 * time.Hour),
		DNSNames: []string{"localhost"},
	}
}

// newAuthority returns one with a certificate that it has signed itself, or that by signs.
func newAuthority(t testing.TB, name string, by *authority) *authority {
	t.Helper()
	a := &authority{t: t, key: newKey(t, elliptic.P256()), next: 1}
	c := template(name)
	c.NotAfter = c.NotAfter.Add(time.Hour) // those that it signs expire first, whenever that is
	c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
	if by == nil {
		c.SerialNumber = big.NewInt(1)
		a.cert = sign(t, c, c, a.key.Public(), a.key)
		return a
	}
	a.cert = by.issue(c, a.key)
	return a
}

func sign(t testing.TB, c, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, parent, public, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// issue signs c for a key.
func (a *authority) issue(c *x509.Certificate, key crypto.Signer) *x509.Certificate {
	a.t.Helper()
	a.next++
	c.SerialNumber = big.NewInt(a.next)
	return sign(a.t, c, a.cert, key.Public(), a.key)
}

// revoke returns a revocation list, in DER, that is valid until then.
func (a *authority) revoke(until time.Time, more []pkix.Extension, certs ...*x509.Certificate) []byte {
	a.t.Helper()
	r := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: until.Add(-24 * time.Hour), NextUpdate: until, ExtraExtensions: more}
	for _, c := range certs {
		r.RevokedCertificateEntries = append(r.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: time.Now()})
	}
	der, err := x509.CreateRevocationList(rand.Reader, r, a.cert, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return der
}

func encode(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func certPEM(certs ...*x509.Certificate) (text string) {
	for _, c := range certs {
		text += encode("CERTIFICATE", c.Raw)
	}
	return text
}

func keyPEM(t testing.TB, key crypto.Signer) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return encode("PRIVATE KEY", der)
}

// fixture is a directory with the files of a listener that serves with client certificates.
type fixture struct {
	t                 testing.TB
	dir               string
	ca, clients       *authority
	cert              *x509.Certificate
	key               *ecdsa.PrivateKey
	client            *x509.Certificate
	clientKey         *ecdsa.PrivateKey
	config            config.TLS
	certFile, keyFile string
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{t: t, dir: t.TempDir(), ca: newAuthority(t, "root", nil), clients: newAuthority(t, "clients", nil)}
	f.key, f.clientKey = newKey(t, elliptic.P256()), newKey(t, elliptic.P256())
	f.cert, f.client = f.ca.issue(template("server"), f.key), f.clients.issue(clientTemplate("device"), f.clientKey)
	f.certFile, f.keyFile = f.write("cert.pem", certPEM(f.cert, f.ca.cert)), f.write("key.pem", keyPEM(t, f.key))
	f.config = config.TLS{Certificate: f.certFile, Key: f.keyFile, MinVersion: "1.2"}
	return f
}

func clientTemplate(name string) *x509.Certificate {
	c := template(name)
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return c
}

// mutual has clients show certificates.
func (f *fixture) mutual(auth string) {
	f.config.ClientCA, f.config.ClientAuth = f.write("clients.pem", certPEM(f.clients.cert)), auth
}

// crl has them checked against revocation lists.
func (f *fixture) crl(text string) { f.config.CRL = f.write("crl.pem", text) }

// write replaces a file in one step, and returns its path.
func (f *fixture) write(name, text string) string {
	f.t.Helper()
	path := filepath.Join(f.dir, name)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		f.t.Fatal(err)
	}
	return path
}

func (f *fixture) open() *Set {
	f.t.Helper()
	s, err := Open(f.config)
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

// fails holds that the set cannot be opened, and that the error has all of want.
func (f *fixture) fails(want ...string) {
	f.t.Helper()
	_, err := Open(f.config)
	if err == nil {
		f.t.Fatalf("got no error, want %q", want)
	}
	contain(f.t, err.Error(), want...)
}

// problem holds that the set has one problem, with all of want.
func (f *fixture) problem(want ...string) {
	f.t.Helper()
	problems := f.open().Status(time.Now()).Problems
	if len(problems) != 1 {
		f.t.Fatalf("got problems %q, want one with %q", problems, want)
	}
	contain(f.t, problems[0], want...)
}

func contain(t testing.TB, got string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("got %q, want it to have %q", got, w)
		}
	}
}
