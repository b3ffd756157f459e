package stream

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tcpmux/cmd/tcpmux-forward/natstest"
)

// secretFile writes a file that its owner alone can read.
func secretFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestUserAndPasswordAreRotated(t *testing.T) {
	s := natstest.Start(t, natstest.Newest, natstest.Options{Config: `authorization { user: u1, password: "old$ecret" }`})
	opt := options(s)
	_, err := Connect(context.Background(), opt)
	wantKind(t, err, Refused, "credentials, nkey, token, or user and password under [forward]")

	opt.Forward.User, opt.Forward.Password = secretFile(t, "user", "u1\n"), secretFile(t, "password", "wrong$ecret\n")
	_, err = Connect(context.Background(), opt)
	wantKind(t, err, Refused, "Authorization Violation")
	wantNoSecret(t, err)
	if err := os.WriteFile(opt.Forward.Password, []byte("old$ecret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := connected(t, opt)
	if got := c.Info(); len(got.Warnings) > 0 || got.Server != s.URL {
		t.Errorf("got %+v, want no warnings and server %s", got, s.URL)
	}
	lastOf(t, c)
	publish(t, c, batchOf(0, 3, nil, fileA))

	s.Configure(natstest.Options{Config: `authorization { user: u1, password: "new$ecret" }`})
	s.Restart()
	<-c.Closed()
	_, err = c.Publish(context.Background(), batchOf(3, 3, nil, fileA))
	wantKind(t, err, Outage)
	_, err = Connect(context.Background(), opt)
	wantKind(t, err, Refused)
	if err := os.WriteFile(opt.Forward.Password, []byte("new$ecret"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(opt.Forward.Password, 0o644); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(connected(t, opt).Info().Warnings, "\n")
	if !strings.Contains(got, "everybody can read") || strings.Contains(got, "ecret\"") {
		t.Errorf("got warnings %q, want that everybody can read the file", got)
	}
}

// wantNoSecret fails if an error has what tests have as a secret.
func wantNoSecret(t *testing.T, err error) {
	t.Helper()
	if strings.Contains(err.Error(), "$ecret") || strings.Contains(err.Error(), seed) {
		t.Errorf("got error %q, want no secret in it", err)
	}
}

// An nkey for tests.
const (
	seed   = "SUAK5JUIJA3ZGYOYXTMT47BMRNIWQGCXN6HQGH6G6L66LMXBWXBCQRQ35E"
	public = "UCFXBE53F2NFTR3XJX5PJZBSNC2YGOOFEPS2JUB4V7MX3AIHGUDVGPN2"
)

func TestTokenAndNKey(t *testing.T) {
	t.Setenv("CREDENTIALS_DIRECTORY", filepath.Dir(secretFile(t, "nats-token", "to$ecret")))
	s := natstest.Start(t, natstest.Newest, natstest.Options{Config: `authorization { token: "to$ecret" }`})
	opt := options(s)
	opt.Forward.Token = "credential:nats-token"
	connected(t, opt)
	opt.Forward.Token = "credential:none"
	_, err := Connect(context.Background(), opt)
	wantKind(t, err, Refused, "token under [forward]", "no such file")

	s = natstest.Start(t, natstest.Newest, natstest.Options{Config: fmt.Sprintf("authorization { users: [ { nkey: %s } ] }", public)})
	opt = options(s)
	opt.Forward.NKey = secretFile(t, "nkey", seed+"\n")
	connected(t, opt)
	opt.Forward.NKey = secretFile(t, "nkey", "x"+seed)
	_, err = Connect(context.Background(), opt)
	wantKind(t, err, Refused, "nkey under [forward]", "nsc generate nkey")
	wantNoSecret(t, err)
}

func TestFilesThatAreNoSecrets(t *testing.T) {
	s := natstest.Start(t, natstest.Newest, natstest.Options{})
	for _, c := range []struct {
		name  string
		set   func(o *Options)
		words string
	}{
		{"creds", func(o *Options) { o.Forward.Credentials = secretFile(t, "x", seed) }, "no file as"},
		{"empty token", func(o *Options) { o.Forward.Token = secretFile(t, "x", "\n") }, "must have one line"},
		{"token of two lines", func(o *Options) { o.Forward.Token = secretFile(t, "x", seed+"\nx") }, "must have one line"},
		{"ca", func(o *Options) { o.Forward.CA = secretFile(t, "x", seed) }, "no certificate in PEM"},
		{"certificate", func(o *Options) {
			o.Forward.Certificate, o.Forward.Key = secretFile(t, "x", seed), secretFile(t, "y", seed)
		}, "certificate and key under"},
		{"missing", func(o *Options) { o.Forward.User = "/nonexistent/x" }, "must be able to read it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			opt := options(s)
			c.set(&opt)
			_, err := Connect(context.Background(), opt)
			wantKind(t, err, Refused, c.words)
			wantNoSecret(t, err)
		})
	}
}

// TestPermissionsAreMissing: what the server reports comes at any time, and not as an answer.
func TestPermissionsAreMissing(t *testing.T) {
	const users = `authorization { users: [
		{ user: u1, password: p1, permissions: { publish: { deny: "tcpmux.*.*.message" } } }
		{ user: u2, password: p2, permissions: { publish: { deny: "$JS.API.STREAM.INFO.*" } } }
		{ user: u3, password: p3, permissions: { subscribe: { deny: "_INBOX.>" } } }
	] }`
	for _, v := range natstest.Versions() {
		t.Run(v, func(t *testing.T) {
			t.Parallel()
			s := natstest.Start(t, v, natstest.Options{Config: users})
			as := func(number int) Options {
				opt := options(s)
				opt.Forward.User = secretFile(t, "user", fmt.Sprintf("u%d", number))
				opt.Forward.Password = secretFile(t, "password", fmt.Sprintf("p%d", number))
				return opt
			}
			c := connected(t, as(1))
			lastOf(t, c)
			_, err := c.Publish(context.Background(), batchOf(0, 3, nil, fileA))
			wantKind(t, err, Refused, "permissions to publish", "tcpmux.box.")
			for _, u := range []int{2, 3} {
				_, err := Connect(context.Background(), as(u))
				wantKind(t, err, Refused, "permissions to publish")
			}
		})
	}
}

// TestCredentialsExpire has a server that trusts an operator. Its accounts and the users in
// testdata are of no other use; one of the users has expired.
func TestCredentialsExpire(t *testing.T) {
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	s := natstest.Start(t, natstest.Newest, natstest.Options{Config: read("operator.conf")})
	opt := options(s)
	opt.Forward.Credentials = secretFile(t, "creds", read("expired.creds"))
	_, err := Connect(context.Background(), opt)
	wantKind(t, err, Refused, "credentials, nkey, token, or user and password under [forward]")
	if err := os.WriteFile(opt.Forward.Credentials, []byte(read("valid.creds")), 0o600); err != nil {
		t.Fatal(err)
	}
	c := connected(t, opt)
	lastOf(t, c)
	publish(t, c, batchOf(0, 3, nil, fileA))
}
