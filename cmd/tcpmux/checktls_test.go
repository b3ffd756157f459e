package main

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"os"
	"testing"
	"time"

	"tcpmux/cmd/internal/clitest"
	"tcpmux/daemon/tlsconn/tlstest"
)

// TestCheckReadsCertificates: a fault of one is a fault of the configuration, and names the file.
func TestCheckReadsCertificates(t *testing.T) {
	t.Setenv("CREDENTIALS_DIRECTORY", t.TempDir()) // so that it is not asked who else may read files
	authority := tlstest.NewAuthority(t)
	good, key, _ := authority.Write(authority.Server())
	_, other, _ := authority.Write(authority.Server())
	old, oldKey, _ := authority.Write(authority.Issue(pkix.Name{CommonName: "old"}, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }))
	short, shortKey, _ := authority.Write(authority.Issue(pkix.Name{CommonName: "short"}, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-90*24*time.Hour), time.Now().Add(13*24*time.Hour)
	}))
	if err := os.Chmod(other, 0o640); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, certificate, key string
		status                 int
		stderr                 string // a part; "" is empty
	}{
		{"good", good, key, 0, ""},
		{"mismatch", good, other, 78, `: listener "tcpmux": tls: file "` + other + `" has not the key of the certificate`},
		{"expired", old, oldKey, 0, `warning: listener "tcpmux": tls: file "` + old + `" has a certificate "CN=old" that has expired`},
		{"expires soon", short, shortKey, 0, `warning: listener "tcpmux": tls: file "` + short + `" has a certificate "CN=short" that expires at`},
		{"no file", good, "/not/there.pem", 78, `file "/not/there.pem" cannot be read: no such file or directory`},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := write(t, "tls.toml", fmt.Sprintf("[tls]\ncertificate = %q\nkey = %q\n[record]\nfile = \"-\"\n", c.certificate, c.key))
			for _, args := range [][]string{{"check", "--quiet", path}, {"check", path}} {
				status, _, stderr := clitest.Outcome(t, tcpmux(t, args...))
				if status != c.status {
					t.Errorf("%q: got status %d, want %d", args, status, c.status)
				}
				clitest.Contains(t, "stderr", stderr, c.stderr)
			}
			_, stdout, _ := clitest.Outcome(t, tcpmux(t, "check", "--json", path))
			want := `"warnings": [`
			if c.status != 0 {
				want = `"listeners": [],`
			}
			clitest.Contains(t, "stdout", stdout, want)
		})
	}
}
