package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"testing"

	"tcpmux/cmd/internal/clitest"
)

// script runs one of contrib/tls, and returns what it prints.
func script(t *testing.T, name string, env []string, args ...string) (status int, stderr string) {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Fatalf("%v: apt-get install openssl", err)
	}
	cmd := exec.Command("../../contrib/tls/"+name, args...)
	cmd.Env = append(os.Environ(), env...)
	status, _, stderr = clitest.Outcome(t, cmd)
	return status, stderr
}

// deviceCA runs device-ca, which must succeed.
func deviceCA(t *testing.T, args ...string) {
	t.Helper()
	if status, stderr := script(t, "device-ca", nil, args...); status != 0 {
		t.Fatalf("device-ca %q: got status %d and %q, want 0", args, status, stderr)
	}
}

// TestAuthorityOfOnesOwn: check and the daemon take what device-ca makes, subjects are written as
// its help says, and a device whose certificates were revoked is refused, also with one that it had
// before the newest.
func TestAuthorityOfOnesOwn(t *testing.T) {
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca")
	deviceCA(t, ca, "init", "Example devices")
	deviceCA(t, ca, "server", "tcpmux.example.com", "127.0.0.1")
	for _, name := range []string{"scanner-1", "scanner-2"} {
		deviceCA(t, ca, "issue", name, "Example")
	}
	issued := func(name string) string { return filepath.Join(ca, "issued", name) }
	before, err := tls.LoadX509KeyPair(issued("scanner-2.pem"), issued("scanner-2.key"))
	if err != nil {
		t.Fatal(err)
	}
	deviceCA(t, ca, "issue", "scanner-2", "Example")
	deviceCA(t, ca, "revoke", "scanner-2")

	path := settings(t, dir, "127.0.0.1:0", "", fmt.Sprintf(`[tls]
certificate = %q
key = %q
client_ca = %q
crl = %q
client_auth = "require"
allow_subjects = ["CN=scanner-*,O=Example"]
`, issued("tcpmux.example.com.pem"), issued("tcpmux.example.com.key"), filepath.Join(ca, "ca.pem"), filepath.Join(ca, "crl.pem")))
	check := tcpmux(t, "check", "--quiet", path)
	check.Env = append(os.Environ(), "CREDENTIALS_DIRECTORY="+dir) // so that nobody else is asked about
	if status, _, stderr := clitest.Outcome(t, check); status != 0 || stderr != "" {
		t.Errorf("check: got status %d and %q, want 0 and no warning", status, stderr)
	}

	_, address := daemonOf(t, path)
	pairs := map[string]tls.Certificate{"revoked, not the newest": before}
	for _, name := range []string{"scanner-1", "scanner-2"} {
		if pairs[name], err = tls.LoadX509KeyPair(issued(name+".pem"), issued(name+".key")); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(filepath.Join(ca, "ca.pem"))
	authority := x509.NewCertPool()
	if err != nil || !authority.AppendCertsFromPEM(text) {
		t.Fatalf("ca.pem: got %q and error %v, want certificates", text, err)
	}
	for name, pair := range pairs {
		c := tls.Client(dial(t, address), &tls.Config{RootCAs: authority, ServerName: "127.0.0.1", Certificates: []tls.Certificate{pair}})
		_, err := c.Read(make([]byte, 1)) // the banner, or an alert
		if served := err == nil; served != (name == "scanner-1") {
			t.Errorf("%s: got error %v, want scanner-1 alone to be greeted", name, err)
		}
	}
	recordedIn(t, filepath.Join(dir, "records.log"), `subject="CN=scanner-1,O=Example"`)
}

// TestInstallCertificate copies a pair for the daemon, and refuses one that is none before it
// touches the one before. RENEWED_LINEAGE is how certbot names it.
func TestInstallCertificate(t *testing.T) {
	self, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ca, lineage, to := filepath.Join(dir, "ca"), filepath.Join(dir, "live"), filepath.Join(dir, "tls")
	deviceCA(t, ca, "init", "Example")
	deviceCA(t, ca, "server", "a.example.com")
	deviceCA(t, ca, "server", "b.example.com")
	issued := func(name string) string { return filepath.Join(ca, "issued", name) }
	if err := os.Mkdir(lineage, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"fullchain.pem": issued("a.example.com.pem"), "privkey.pem": issued("a.example.com.key")} {
		if err := os.Symlink(target, filepath.Join(lineage, name)); err != nil {
			t.Fatal(err)
		}
	}
	env := []string{"TCPMUX_TLS=" + to, "TCPMUX_USER=" + self.Username, "TCPMUX_RELOAD=echo reloaded >&2", "RENEWED_LINEAGE=" + lineage}
	if status, stderr := script(t, "install-certificate", env); status != 0 || stderr != "reloaded\n" {
		t.Fatalf("got status %d and %q, want 0 and a reload", status, stderr)
	}
	status, stderr := script(t, "install-certificate", env, issued("b.example.com.pem"), issued("a.example.com.key"))
	if status != 1 {
		t.Errorf("of two pairs: got status %d, want 1", status)
	}
	clitest.Contains(t, "stderr", stderr, "is not the key of")
	for name, want := range map[string]os.FileMode{"server.pem": 0o644, "server.key": 0o400} {
		info, err := os.Lstat(filepath.Join(to, name))
		if err != nil || info.Mode() != want {
			t.Errorf("%s: got %v and error %v, want a file of mode %v", name, info, err, want)
		}
	}
	if _, err := tls.LoadX509KeyPair(filepath.Join(to, "server.pem"), filepath.Join(to, "server.key")); err != nil {
		t.Errorf("got error %v, want the pair of before", err)
	}
	if files, _ := os.ReadDir(to); len(files) != 2 {
		t.Errorf("got %v, want two files", files)
	}
}
