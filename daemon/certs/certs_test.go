package certs

import (
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestASetWithoutFaultHasNoProblems(t *testing.T) {
	f := newFixture(t)
	f.mutual("require")
	f.crl(encode("X509 CRL", f.clients.revoke(time.Now().Add(time.Hour), nil)))
	status := f.open().Status(time.Now())
	if len(status.Problems) > 0 || status.Fault != nil || status.Failures != 0 {
		t.Errorf("got %+v, want no problem", status)
	}
	if !status.Expiry.Equal(f.cert.NotAfter) {
		t.Errorf("got expiry %v, want %v", status.Expiry, f.cert.NotAfter)
	}
}

// TestFaults: nobody is served with such files, and the error says what to do.
func TestFaults(t *testing.T) {
	for name, c := range map[string]struct {
		change func(f *fixture)
		want   []string
	}{
		"no certificate": {func(f *fixture) { os.Remove(f.certFile) }, []string{`cert.pem" cannot be read: no such file`}},
		"neither file": {func(f *fixture) { os.Remove(f.certFile); os.Remove(f.keyFile) },
			[]string{`cert.pem" cannot be read`, `key.pem" cannot be read`}},
		"no PEM":       {func(f *fixture) { f.write("cert.pem", "hello") }, []string{`cert.pem" has no certificate in PEM, want -----BEGIN`}},
		"empty":        {func(f *fixture) { f.write("cert.pem", "\n") }, []string{"it is empty"}},
		"DER":          {func(f *fixture) { f.write("cert.pem", string(f.cert.Raw)) }, []string{`"CN=server" in DER`, "openssl x509 -inform DER"}},
		"a broken one": {func(f *fixture) { f.write("cert.pem", encode("CERTIFICATE", f.cert.Raw[:99])) }, []string{"number 1, that cannot be read"}},
		"the key as certificate": {func(f *fixture) { f.write("cert.pem", keyPEM(f.t, f.key)) },
			[]string{"has no certificate", `it has "PRIVATE KEY"`}},
		"the certificate as key": {func(f *fixture) { f.write("key.pem", certPEM(f.cert)) }, []string{"has no key in PEM", `it has "CERTIFICATE"`}},
		"two keys":               {func(f *fixture) { f.write("key.pem", keyPEM(f.t, f.key)+keyPEM(f.t, f.key)) }, []string{"more than one key"}},
		"an encrypted key": {func(f *fixture) { f.write("key.pem", encode("ENCRYPTED PRIVATE KEY", []byte("x"))) },
			[]string{"passphrase", "openssl pkey -in"}},
		"an encrypted key of old": {func(f *fixture) {
			f.write("key.pem", "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n")
		}, []string{"passphrase"}},
		"a key of OpenSSH": {func(f *fixture) { f.write("key.pem", encode("OPENSSH PRIVATE KEY", []byte("x"))) },
			[]string{`has "OPENSSH PRIVATE KEY"`, "openssl genpkey"}},
		"a broken key": {func(f *fixture) { f.write("key.pem", encode("PRIVATE KEY", []byte("x"))) }, []string{"key that cannot be read"}},
		"the key of another": {func(f *fixture) { f.write("key.pem", keyPEM(f.t, f.clientKey)) },
			[]string{`key.pem" has not the key of the certificate "CN=server" in`, "cert.pem"}},
		"the wrong order": {func(f *fixture) { f.write("cert.pem", certPEM(f.ca.cert, f.cert)) },
			[]string{`the certificate of the key as its number 2 ("CN=server"), want it first`}},
		"a client's certificate": {func(f *fixture) { f.write("cert.pem", certPEM(f.ca.issue(clientTemplate("x"), f.key))) },
			[]string{"not for servers (extendedKeyUsage)"}},
		"a weak key of ECDSA": {func(f *fixture) {
			key := newKey(f.t, elliptic.P224())
			f.write("key.pem", keyPEM(f.t, key))
			f.write("cert.pem", certPEM(f.ca.issue(template("x"), key)))
		}, []string{"not safe: ECDSA with 224 bits, want at least 256"}},
		"a weak key of RSA": {func(f *fixture) {
			key, err := rsa.GenerateKey(rand.Reader, 1024)
			if err != nil {
				f.t.Fatal(err)
			}
			f.write("key.pem", keyPEM(f.t, key))
			f.write("cert.pem", certPEM(f.ca.issue(template("x"), key)))
		}, []string{"not safe: RSA with 1024 bits, want at least 2048"}},
		"a directory": {func(f *fixture) { f.config.Certificate = f.dir }, []string{"is no regular file"}},
		"a pipe": {func(f *fixture) {
			f.config.Key = filepath.Join(f.dir, "pipe")
			if err := syscall.Mkfifo(f.config.Key, 0o600); err != nil {
				f.t.Fatal(err)
			}
		}, []string{"is no regular file"}},
		"no credentials": {func(f *fixture) {
			f.config.Key = "credential:key"
		}, []string{"tls.key: $CREDENTIALS_DIRECTORY is not set", "LoadCredential=key:PATH"}},
		"no authorities": {func(f *fixture) { f.mutual("require"); f.write("clients.pem", "") }, []string{`clients.pem" has no certificate`}},
		"a list of nothing": {func(f *fixture) { f.mutual("require"); f.crl(certPEM(f.cert)) },
			[]string{`crl.pem" has no revocation list`, `it has "CERTIFICATE"`}},
		"a broken list": {func(f *fixture) { f.mutual("require"); f.crl("hello") }, []string{"revocation list that cannot be read"}},
		"a list of another": {func(f *fixture) { f.mutual("require"); f.crl(string(f.ca.revoke(time.Now().Add(time.Hour), nil))) },
			[]string{`crl.pem" has a revocation list of "CN=root", an unknown issuer`, `clients.pem`, "add its certificate to client_ca"}},
		"a forged list": {func(f *fixture) {
			f.mutual("require")
			f.crl(string(newAuthority(f.t, "clients", nil).revoke(time.Now().Add(time.Hour), nil)))
		}, []string{`"CN=clients"`, "signature"}},
		"a list of changes": {func(f *fixture) {
			f.mutual("require")
			delta := pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 27}, Critical: true, Value: []byte{2, 1, 1}}
			f.crl(string(f.clients.revoke(time.Now().Add(time.Hour), []pkix.Extension{delta})))
		}, []string{"critical extension 2.5.29.27", "want a full list"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			t.Setenv("CREDENTIALS_DIRECTORY", "")
			c.change(f)
			f.fails(c.want...)
		})
	}
}

// TestFaultsOfSeveralFilesAreOneLine, as the log and the status want it, and a list for check.
func TestFaultsOfSeveralFilesAreOneLine(t *testing.T) {
	f := newFixture(t)
	s := f.open()
	for _, path := range []string{f.certFile, f.keyFile} {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	_, opened := Open(f.config)
	for name, err := range map[string]error{"opened": opened, "reloaded": s.Reload(), "status": s.Status(time.Now()).Fault} {
		if err == nil || strings.Contains(err.Error(), "\n") || strings.Count(err.Error(), "cannot be read") != 2 || !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: got %v, want one line with both files", name, err)
		}
	}
	if faults, _ := Check(f.config, time.Now()); len(faults) != 2 {
		t.Errorf("check: got %v, want two faults", faults)
	}
}

// TestProblems: clients are served with such files, and an administrator is told.
func TestProblems(t *testing.T) {
	day := 24 * time.Hour
	reissue := func(change func(c *x509.Certificate)) func(f *fixture) {
		return func(f *fixture) {
			c := template("server")
			change(c)
			f.write("cert.pem", certPEM(f.ca.issue(c, f.key), f.ca.cert))
		}
	}
	for name, c := range map[string]struct {
		change func(f *fixture)
		want   []string
	}{
		"expired":       {reissue(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), []string{`cert.pem" has a certificate "CN=server" that has expired`}},
		"expires soon":  {reissue(func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Now().Add(-90*day), time.Now().Add(13*day) }), []string{"expires at"}},
		"not yet valid": {reissue(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(day) }), []string{"valid from", "check the clock"}},
		"an authority":  {reissue(func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }), []string{"of an authority (CA:TRUE)"}},
		"alone": {func(f *fixture) {
			c := template("server")
			c.IssuingCertificateURL = []string{"http://ca.example/ca.der"}
			f.write("cert.pem", certPEM(f.ca.issue(c, f.key)))
		}, []string{"alone", "fullchain.pem"}},
		"a stranger in the chain": {func(f *fixture) { f.write("cert.pem", certPEM(f.cert, f.clients.cert)) },
			[]string{`"CN=clients" that has not issued the one before it, "CN=server"`}},
		"everybody reads the key": {func(f *fixture) { os.Chmod(f.keyFile, 0o644) }, []string{`key.pem" has a key and can be read by everybody: chown ` + userName() + `, chmod 0400`}},
		"no authority":            {func(f *fixture) { f.mutual("require"); f.write("clients.pem", certPEM(f.client)) }, []string{"of no authority (CA:FALSE)"}},
		"an old list": {func(f *fixture) {
			f.mutual("require")
			f.crl(encode("X509 CRL", f.clients.revoke(time.Now().Add(-time.Hour), nil)))
		}, []string{`crl.pem" has a revocation list of "CN=clients" that is out of date`, "still checked"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			c.change(f)
			f.problem(c.want...)
		})
	}
}

// TestShortLivesAreNoProblem: a certificate for a day always expires within 14.
func TestShortLivesAreNoProblem(t *testing.T) {
	f := newFixture(t)
	c := template("server")
	c.NotBefore, c.NotAfter = time.Now().Add(-16*time.Hour), time.Now().Add(8*time.Hour)
	f.write("cert.pem", certPEM(f.ca.issue(c, f.key), f.ca.cert))
	s := f.open()
	if got := s.Status(time.Now()).Problems; len(got) > 0 {
		t.Errorf("got %q, want no problem", got)
	}
	if got := s.Status(time.Now().Add(5 * time.Hour)).Problems; len(got) != 1 {
		t.Errorf("three hours before the end: got %q, want one problem", got)
	}
}

// TestASignatureThatCanBeForgedIsAProblem. Go signs with SHA-1 no more.
func TestASignatureThatCanBeForgedIsAProblem(t *testing.T) {
	f := newFixture(t)
	l := &loaded{}
	forged := *f.cert
	forged.SignatureAlgorithm = x509.SHA1WithRSA
	l.checkSignature("x", &forged)
	root := *f.ca.cert
	root.SignatureAlgorithm = x509.SHA1WithRSA
	l.checkSignature("x", &root)
	if len(l.problems) != 1 {
		t.Fatalf("got %q, want one problem", l.problems)
	}
	contain(t, l.problems[0], `"CN=server"`, "can be forged (SHA1-RSA)")
}

// TestWhoMayNotReadAFileIsTold, and how to let them.
func TestWhoMayNotReadAFileIsTold(t *testing.T) {
	err := new(loaded).unreadable("/etc/key.pem", &os.PathError{Op: "open", Path: "/etc/key.pem", Err: syscall.EACCES})
	contain(t, err.Error(), `file "/etc/key.pem" cannot be read: permission denied`, "user "+userName(), "group "+groupName(), "chown "+userName(), "LoadCredential=NAME:/etc/key.pem")
}

// TestCredentialsOfSystemd are found by their names.
func TestCredentialsOfSystemd(t *testing.T) {
	f := newFixture(t)
	t.Setenv("CREDENTIALS_DIRECTORY", f.dir)
	f.config.Certificate, f.config.Key = "cert.pem", "credential:key.pem"
	f.open()
}

// TestCheckReportsAllThatCanBeSeen, although one file has a fault.
func TestCheckReportsAllThatCanBeSeen(t *testing.T) {
	f := newFixture(t)
	f.mutual("require")
	c := template("server")
	c.NotAfter = time.Now().Add(-time.Minute)
	f.write("cert.pem", certPEM(f.ca.issue(c, f.key), f.ca.cert))
	os.Remove(f.keyFile)
	f.write("clients.pem", "")
	faults, problems := Check(f.config, time.Now())
	if len(faults) != 2 || len(problems) != 1 {
		t.Fatalf("got faults %q and problems %q, want two and one", faults, problems)
	}
	contain(t, faults[0].Error(), "key.pem")
	contain(t, faults[1].Error(), "clients.pem")
	contain(t, problems[0], "has expired")
}
