package stream

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tcpmux/cmd/tcpmux-forward/natstest"
)

// authority signs certificates.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	// file is that of its own certificate.
	file string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.file, _, a.cert, a.key = a.sign("ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// sign returns the files of a certificate and its key.
func (a *authority) sign(name string, c *x509.Certificate) (certFile, keyFile string, cert *x509.Certificate, key *ecdsa.PrivateKey) {
	a.t.Helper()
	must := func(err error) {
		if err != nil {
			a.t.Fatal(err)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	c.SerialNumber, c.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: name}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, by := a.cert, a.key
	if parent == nil {
		parent, by = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, by)
	must(err)
	cert, err = x509.ParseCertificate(der)
	must(err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(err)
	certFile, keyFile = filepath.Join(a.dir, name+".pem"), filepath.Join(a.dir, name+".key")
	must(os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644))
	must(os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	return certFile, keyFile, cert, key
}

func TestTLS(t *testing.T) {
	a, foreign := newAuthority(t), newAuthority(t)
	cert, key, _, _ := a.sign("server", &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	client := &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	good, goodKey, _, _ := a.sign("client", client)
	bad, badKey, _, _ := foreign.sign("client", client)
	serve := func(more string) *natstest.Server {
		return natstest.Start(t, natstest.Newest, natstest.Options{Config: fmt.Sprintf(
			"tls { cert_file: %q, key_file: %q, ca_file: %q, %s }", cert, key, a.file, more)})
	}
	open, closed, plain := serve("timeout: 30"), serve("verify: true, timeout: 30"), natstest.Start(t, natstest.Newest, natstest.Options{})
	for _, c := range []struct {
		name                 string
		s                    *natstest.Server
		host                 string
		ca, certificate, key string
		words                string // of the error; "" is none
	}{
		{"ca", open, "127.0.0.1", a.file, "", "", ""},
		{"wrong ca", open, "127.0.0.1", foreign.file, "", "", "ca under [forward]"},
		{"ca of the system", open, "127.0.0.1", "", "", "", "ca under [forward]"},
		{"another name", open, "localhost", a.file, "", "", "ca under [forward]"},
		{"client certificate", closed, "127.0.0.1", a.file, good, goodKey, ""},
		{"no client certificate", closed, "127.0.0.1", a.file, "", "", "certificate and key under [forward]"},
		{"wrong client certificate", closed, "127.0.0.1", a.file, bad, badKey, "certificate and key under [forward]"},
		{"server without", plain, "127.0.0.1", a.file, "", "", "the server has no TLS"},
	} {
		t.Run(c.name, func(t *testing.T) {
			opt := options(c.s)
			opt.Forward.Servers = []string{strings.NewReplacer("nats:", "tls:", "127.0.0.1", c.host).Replace(c.s.URL)}
			opt.Forward.CA, opt.Forward.Certificate, opt.Forward.Key = c.ca, c.certificate, c.key
			conn, err := Connect(context.Background(), opt)
			if err == nil {
				conn.Close()
			}
			if c.words == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			wantKind(t, err, Refused, c.words)
		})
	}
}
