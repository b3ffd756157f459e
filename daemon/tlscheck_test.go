package daemon

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tcpmux/config"
)

// TestCheckTLS names the file of the configuration, the listener, and the file at fault; listeners
// with the same files are told of once.
func TestCheckTLS(t *testing.T) {
	t.Setenv("CREDENTIALS_DIRECTORY", t.TempDir()) // so that nobody else is asked about
	f := newTLSFixture(t)
	cfg := config.Config{Path: "/etc/tcpmux.toml", Listeners: []config.Listener{f.listener("a"), f.listener("b"), {Name: "clear"}}}
	faults, warnings := CheckTLS(cfg)
	if len(faults)+len(warnings) > 0 {
		t.Fatalf("got %v and %q, want nothing", faults, warnings)
	}
	f.renew(false)
	if err := os.Chmod(f.key, 0o644); err != nil {
		t.Fatal(err)
	}
	cfg.Listeners[1].Source = "/etc/tcpmux.d/b.toml"
	faults, warnings = CheckTLS(cfg)
	if len(faults) != 1 || !strings.HasPrefix(faults.Error(), `/etc/tcpmux.toml: listener "a": tls: file "`+f.key+`" has not the key`) {
		t.Errorf("got %v, want one fault of the key", faults)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "can be read by everybody") {
		t.Errorf("got warnings %q, want one", warnings)
	}
}

// TestRulesThatRefuseEveryClientAreToldOf: those that want a certificate, of a listener that asks
// for none.
func TestRulesThatRefuseEveryClientAreToldOf(t *testing.T) {
	t.Setenv("CREDENTIALS_DIRECTORY", t.TempDir()) // so that nobody else is asked about
	f := newTLSFixture(t)
	for _, c := range []struct {
		rules, auth string
		want        bool
	}{
		{"allow subject CN=scanner-*\n", "none", true},
		{"allow subject CN=scanner-*\n", "require", false},
		{"deny subject CN=scanner-*\nallow 192.0.2.0/24\n", "none", false},
		{"allow subject CN=scanner-*\nallow subject *\n", "none", false},
		{"no rule\n", "none", false}, // an error of its own, elsewhere
	} {
		path := filepath.Join(t.TempDir(), "rules")
		replace(t, path, c.rules)
		first, l := f.listener("a"), f.listener("b")
		l.TLS.ClientAuth, l.TLS.ClientCA, l.Limits.Rules = c.auth, f.certificate, path
		first.TLS = l.TLS // whose files are the same
		clear := config.Listener{Name: "clear"}
		clear.Limits.Rules, clear.TLS.ClientAuth = path, "none"
		_, warnings := CheckTLS(config.Config{Listeners: []config.Listener{first, l, clear}})
		var got []string
		for _, w := range warnings {
			if strings.Contains(w, "every client is refused") {
				got = append(got, w)
			}
		}
		want := `listener "b": every client is refused: limits.rules "` + path + `" has "allow subject"`
		if (len(got) == 1) != c.want || c.want && !strings.HasPrefix(got[0], want) {
			t.Errorf("%q with client_auth %q: got %q, want a warning: %v", c.rules, c.auth, got, c.want)
		}
	}
}

// TestCredentialsAreNotChecked where systemd does not pass them in.
func TestCredentialsAreNotChecked(t *testing.T) {
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	l := config.Listener{Name: "a", TLS: config.TLS{Certificate: "cert", Key: "credential:key"}}
	faults, warnings := CheckTLS(config.Config{Listeners: []config.Listener{l}})
	if len(faults) > 0 || len(warnings) != 2 || !strings.HasPrefix(warnings[1], `listener "a": tls: not checked: tls.key: $CREDENTIALS_DIRECTORY is not set`) {
		t.Errorf("got %v and %q, want two warnings", faults, warnings)
	}
}

// TestWhoCanReadAFile, by its mode and those of the directories above it.
func TestWhoCanReadAFile(t *testing.T) {
	info := func(mode fs.FileMode, uid, gid uint32) fs.FileInfo {
		return fakeInfo{mode, &syscall.Stat_t{Uid: uid, Gid: gid}}
	}
	r := reader{uid: 5, gids: []uint32{6, 7}}
	for _, c := range []struct {
		name string
		info fs.FileInfo
		want bool
	}{
		{"its own", info(0o400, 5, 1), true},
		{"its own, and only others may", info(0o044, 5, 6), false},
		{"of its group", info(0o640, 0, 7), true},
		{"of its group, which may not", info(0o604, 0, 7), false},
		{"of others", info(0o644, 0, 0), true},
		{"root's alone", info(0o600, 0, 0), false},
	} {
		if got := r.may(c.info, 4); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
	dir := filepath.Join(t.TempDir(), "private")
	file := filepath.Join(dir, "key.pem")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	stranger := reader{uid: uint32(os.Getuid()) + 1}
	if got := stranger.obstacle(file); !strings.HasPrefix(dir, got) || got == "" {
		t.Errorf("got obstacle %q, want %q or one above it", got, dir)
	}
	if got := stranger.obstacle(filepath.Join(dir, "no")); got != "" {
		t.Errorf("a file that is not there: got obstacle %q, want none", got)
	}
}

type fakeInfo struct {
	mode fs.FileMode
	st   *syscall.Stat_t
}

func (f fakeInfo) Name() string       { return "" }
func (f fakeInfo) Size() int64        { return 0 }
func (f fakeInfo) Mode() fs.FileMode  { return f.mode }
func (f fakeInfo) ModTime() time.Time { return time.Time{} }
func (f fakeInfo) IsDir() bool        { return false }
func (f fakeInfo) Sys() any           { return f.st }

// TestCheckTLSOfProxies: what is shown to upstreams, and what they are checked with.
func TestCheckTLSOfProxies(t *testing.T) {
	t.Setenv("CREDENTIALS_DIRECTORY", t.TempDir()) // so that nobody else is asked about
	f := newTLSFixture(t)
	l := config.Listener{Name: "db", Service: config.ServiceProxy}
	l.Proxy = config.Proxy{To: []string{"db.example:5432"}, TLS: true, CA: f.certificate, Certificate: f.certificate, Key: f.key}
	cfg := config.Config{Path: "/etc/tcpmux.toml", Listeners: []config.Listener{l}}
	if faults, warnings := CheckTLS(cfg); len(faults)+len(warnings) > 0 {
		t.Fatalf("got %v and %q, want nothing", faults, warnings)
	}
	f.renew(false)
	faults, _ := CheckTLS(cfg)
	if len(faults) != 1 || !strings.HasPrefix(faults.Error(), `/etc/tcpmux.toml: listener "db": proxy: file "`+f.key+`" has not the key`) {
		t.Errorf("got %v, want one fault of the key", faults)
	}
	cfg.Listeners[0].Proxy.TLS = false
	if faults, warnings := CheckTLS(cfg); len(faults)+len(warnings) > 0 {
		t.Errorf("in clear text: got %v and %q, want nothing", faults, warnings)
	}
}
