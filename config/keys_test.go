package config

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestRowsAreComplete(t *testing.T) {
	type where struct {
		path     string
		listener bool
	}
	seen := map[where]bool{}
	for _, k := range Keys() {
		t.Run(k.Path(), func(t *testing.T) {
			if !regexp.MustCompile(`^[a-z_]+$`).MatchString(k.Name) {
				t.Errorf("got name %q, want lower case and underscores", k.Name)
			}
			if !k.Top && !k.Listener || k.Inherited && !(k.Top && k.Listener) {
				t.Errorf("got top %v, listener %v, inherited %v, want one of the former, and both for an inherited key", k.Top, k.Listener, k.Inherited)
			}
			if !slices.Contains([]Effect{Now, NewClients, Restart}, k.Effect) {
				t.Errorf("got effect %q, want one that a reload can have", k.Effect)
			}
			if s := k.Summary(); k.Required != strings.Contains(s, "Required.") || k.Required == strings.Contains(s, "Default: ") {
				t.Errorf("got summary %q, want a default or that the key is required", s)
			}
			for _, place := range []struct{ at, listener bool }{{k.Top, false}, {k.Listener, true}} {
				if w := (where{k.Path(), place.listener}); place.at {
					if seen[w] {
						t.Errorf("got two rows for %+v, want one", w)
					}
					seen[w] = true
				}
			}
		})
	}
}

// TestDefaultsCanBeWritten holds that a file may spell out what holds without it.
func TestDefaultsCanBeWritten(t *testing.T) {
	for _, k := range Keys() {
		if !k.Top {
			continue
		}
		got := load(t, k.Path()+" = "+k.Default())
		if want := written(t, Default()); written(t, got) != want || len(got.Warnings) > 0 {
			t.Errorf("%s = %s: got warnings %q and\n%s\nwant none and\n%s", k.Path(), k.Default(), got.Warnings, written(t, got), want)
		}
	}
}

// TestInheritedKeys gives every key of the top another value than its default, as far as one file
// can.
func TestInheritedKeys(t *testing.T) {
	rules := filepath.Join(t.TempDir(), "rules")
	if err := os.WriteFile(rules, []byte("allow 192.0.2.0/24\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	good, err := Load("testdata/good.toml")
	if err != nil {
		t.Fatal(err)
	}
	main := &good.Listeners[0]
	main.Exec, main.ExecUser, main.ExecTimeout, main.ExecMemory = []string{"/bin/sh"}, "nobody", 1e9, 1<<20
	main.Address, good.Listeners = []string{"127.0.0.1:1"}, good.Listeners[:1]
	good.Limits.Rules = rules
	c := load(t, written(t, good)+"[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:2\"\n")

	top := map[string]string{}
	for _, s := range c.Settings() {
		if s.Listener == "" {
			top[s.Path()] = s.Value
			continue
		}
		switch {
		case s.Inherited && s.Value != top[s.Path()]:
			t.Errorf("%s: got %s, want that of the top, %s", s.Path(), s.Value, top[s.Path()])
		// No other model runs programs, and a listener has one framing and one service.
		case s.Inherited && s.Value == s.Default() && !slices.Contains([]string{"model", "delimiter", "start", "message_size", "silence"}, s.Name) && !ofProxy(s.Name):
			t.Errorf("%s: got the default in the whole file, want another value", s.Path())
		case !s.Inherited && !s.Required && s.Name != "address" && s.Name != "service" && s.Name != "record" && s.Value != s.Default():
			t.Errorf("%s: got %s, want the default %s", s.Path(), s.Value, s.Default())
		}
	}
}

// ofProxy reports whether a key says how clients are connected with an upstream.
func ofProxy(name string) bool {
	return name == "proxy" || name == "connect_timeout" || strings.HasPrefix(name, "proxy_") && name != "proxy_protocol"
}
