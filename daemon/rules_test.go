package daemon

import (
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/admission"
	"tcpmux/daemon/servertest"
)

// replace makes text what a file says, in one step.
func replace(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// TestRulesAreFollowedWithoutAReload; what cannot be followed changes nothing, and is told once.
func TestRulesAreFollowedWithoutAReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rules")
	replace(t, path, "allow 127.0.0.0/8")
	r := run(t, func(cfg *config.Config) {
		cfg.Listeners[0].Banner, cfg.Listeners[0].Limits.Refusal = config.Text("hello\n"), config.Text("no\n")
		cfg.Listeners[0].Limits.Rules = path
	})
	awaitGreeting := func(want string) {
		t.Helper()
		got := ""
		servertest.Eventually(t, func() bool { got = greeting(t, r.dial()); return got == want }, func() { t.Errorf("got %q, want %q", got, want) })
	}
	awaitLog := func(want string) {
		t.Helper()
		servertest.Eventually(t, func() bool { return strings.Contains(r.log.String(), want) }, func() { t.Errorf("log: got %s, want %q", r.log, want) })
	}
	awaitGreeting("hello\n")
	replace(t, path, "deny 127.0.0.0/8\n")
	awaitGreeting("no\n")
	awaitLog(`msg="rules taken over" file=` + path + " allow=0 deny=1")

	replace(t, path, "deny all\n")
	awaitLog(`level=ERROR msg="rules not taken over, those before hold" file=` + path + ` err="` + path + `:1: deny \"all\", want a network`)
	awaitGreeting("no\n")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	awaitLog("no such file")
	awaitGreeting("no\n")

	replace(t, path, "# everybody\n")
	awaitGreeting("hello\n")
	r.reload(func(cfg *config.Config) error { cfg.Listeners[0].Limits.Rules = ""; return nil })
	replace(t, path, "deny 127.0.0.1\n")
	awaitGreeting("hello\n")
	if n := strings.Count(r.log.String(), "rules not taken over"); n != 2 {
		t.Errorf("log: got %d faults, want 2: %s", n, r.log)
	}
}

func TestRulesAndConfigurationHoldTogether(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rules")
	replace(t, path, "allow 127.0.0.0/8 # all but one of them\ndeny 127.0.0.3")
	f := servertest.New(t, func(cfg *config.Config) {
		cfg.Listeners[0].Limits.Rules = path
		cfg.Listeners[0].Limits.Deny = []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}
	})
	files, err := openRules(f.Config.Listeners)
	if err != nil {
		t.Fatal(err)
	}
	f.Binding().SetRules(files.of(f.Config.Listeners[0].Limits.Policy))
	f.Open()
	f.From("127.0.0.1").Hear(f.Banner)
	f.From("127.0.0.2").Refused("")
	f.From("127.0.0.3").Refused("")
}

func TestNobodyStartsOnFaultyRules(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rules")
	replace(t, path, "deny all")
	cfg := servertest.Config(func(cfg *config.Config) {
		cfg.Listeners[0].Limits.Rules, cfg.Record.File = path, filepath.Join(t.TempDir(), "records.log")
	})
	err := Run(t.Context(), loaded(cfg), Requests{}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), path+`:1: deny "all"`) {
		t.Errorf("got %v, want the fault of the rules", err)
	}
}

func TestRulesThatAreMissingAreToldOnce(t *testing.T) {
	f := &rulesFile{path: filepath.Join(t.TempDir(), "rules")}
	for i, missing := range []bool{true, false, false} {
		if _, err := f.refresh(); (err != nil) != missing {
			t.Errorf("look %d: got %v, want an error: %v", i+1, err, missing)
		}
	}
	replace(t, f.path, "deny 10.0.0.0/8")
	for i, want := range []bool{true, false} {
		if other, err := f.refresh(); other != want || err != nil {
			t.Errorf("look %d at the file: got %v and %v, want %v", i+1, other, err, want)
		}
	}
}

// TestRulesAreKeptForThoseWhoUseThem: a listener that a reload has left out serves on, one that has
// other rules needs the old no more.
func TestRulesAreKeptForThoseWhoUseThem(t *testing.T) {
	files := rulesFiles{"new": {path: "new"}}
	old := rulesFiles{"used": {path: "used"}, "unused": {path: "unused"}}
	files.keep(old, []config.Policy{{Rules: "used"}, {Rules: "new"}, {}})
	if len(files) != 2 || files["new"] == nil || files["used"] == nil {
		t.Errorf("got %v, want new and used", files)
	}
}

// TestRulesThatCouldNotBeReadLetNobodyIn, not even a client that a proxy speaks for: the connection
// may be one of the previous process.
func TestRulesThatCouldNotBeReadLetNobodyIn(t *testing.T) {
	policy := config.Policy{Rules: "/not/there"}
	for _, address := range []string{"127.0.0.1", "::1"} {
		gate := admission.Gate{
			Rules:   make(rulesFiles).of(policy),
			Sources: [2]*admission.Sources{new(admission.Sources), new(admission.Sources)},
		}
		if _, verdict := gate.Enter(netip.MustParseAddr(address), time.Now()); verdict == admission.Admitted {
			t.Errorf("%s: got it let in, want it refused", address)
		}
	}
}
