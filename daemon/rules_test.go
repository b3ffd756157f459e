package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tcpmux/config"
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
	r := runReloadable(t, func(cfg *config.Config) {
		cfg.Listeners[0].Banner, cfg.Listeners[0].Limits.Refusal = config.Text("hello\n"), config.Text("no\n")
		cfg.Listeners[0].Limits.Rules = path
	})
	awaitGreeting := func(want string) {
		t.Helper()
		got := ""
		eventually(t, func() bool { got = greeting(t, r.dial()); return got == want }, func() { t.Errorf("got %q, want %q", got, want) })
	}
	awaitLog := func(want string) {
		t.Helper()
		eventually(t, func() bool { return strings.Contains(r.log.String(), want) }, func() { t.Errorf("log: got %s, want %q", r.log, want) })
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
	d := newDesk(t, func(cfg *config.Config) {
		cfg.Listeners[0].Limits.Rules = path
		cfg.Listeners[0].Limits.Deny = parsePrefixes("127.0.0.2/32")
	}).open()
	d.from("127.0.0.1").hear(d.banner)
	d.from("127.0.0.2").refused("")
	d.from("127.0.0.3").refused("")
}

func TestNobodyStartsOnFaultyRules(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rules")
	replace(t, path, "deny all")
	cfg := defaults(func(cfg *config.Config) { cfg.Listeners[0].Limits.Rules = path })
	if err := Run(t.Context(), func() (config.Config, error) { return cfg, nil }, Wishes{}, &page{}); err == nil || !strings.Contains(err.Error(), path+`:1: deny "all"`) {
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

// TestRulesAreKeptForThoseWhoUseThem: a listener that a reload has left out serves on, one that has other rules needs the old no more.
func TestRulesAreKeptForThoseWhoUseThem(t *testing.T) {
	ln := newListener(config.Listener{Name: "left out", Limits: config.ListenerLimits{Policy: config.Policy{Rules: "used"}}}, nil, false)
	files := rulesFiles{"new": {path: "new"}}
	files.keep(rulesFiles{"used": {path: "used"}, "unused": {path: "unused"}}, []*listener{ln})
	if len(files) != 2 || files["new"] == nil || files["used"] == nil {
		t.Errorf("got %v, want new and used", files)
	}
}
