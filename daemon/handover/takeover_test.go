package handover_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tcpmux/config"
	"tcpmux/daemon/handover"
	"tcpmux/daemon/systemd"
)

// TestAnUpgradeIsGivenWhatItGoesOnWith: listeners, and all that clients are kept in.
func TestAnUpgradeIsGivenWhatItGoesOnWith(t *testing.T) {
	d, _ := surviving(t, nil)
	tk, err := d.handover.Takeover(program(d.Config), d.Config, d.Bindings)
	if err != nil {
		t.Fatal(err)
	}
	defer tk.Close()
	for range 2 { // it may be tried again
		sockets, stored, err := tk.Sockets()
		if err != nil {
			t.Fatal(err)
		}
		check := func(what string, got []systemd.Socket, want ...string) {
			var names []string
			for _, s := range got {
				defer s.File.Close()
				if names = append(names, s.Name); !s.Ours {
					t.Errorf("%s: got %q as the service manager's, want it as ours", what, s.Name)
				}
			}
			slices.Sort(names)
			if !slices.Equal(names, want) {
				t.Errorf("%s: got %q, want %q", what, names, want)
			}
		}
		check("listeners", sockets, config.MainListener)
		check("stored", stored, systemd.JournalName, systemd.RingName, systemd.RingName, systemd.SettingsName+"1", systemd.StateName)
	}
	d.Open()
}

// TestATakeoverThatCannotBeChangesNothing, and its error says why.
func TestATakeoverThatCannotBeChangesNothing(t *testing.T) {
	d, _, c := halfway(t, nil)
	for _, tc := range []struct {
		name   string
		kept   *handover.Handover
		change func(*config.Config) // of the next configuration
		err    error                // from the check
		want   string
	}{
		{"it does not start", d.handover, nil, errors.New("exec format error"), "exec format error"},
		{"nothing is kept", nil, nil, nil, "started with survive = false"},
		{"it would keep nothing", d.handover, func(c *config.Config) { c.Survive = false }, nil, "the configuration has survive = false"},
		{"another address", d.handover, func(c *config.Config) { c.Listeners[0].Address = []string{"127.0.0.1:1"} }, nil, "other addresses"},
		{"another name", d.handover, func(c *config.Config) { c.Listeners[0].Name = "other" }, nil, "other addresses"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			next := d.Config
			next.Listeners = slices.Clone(next.Listeners)
			if tc.change != nil {
				tc.change(&next)
			}
			p := handover.Program{Check: func() (config.Config, error) { return next, tc.err }}
			if _, err := tc.kept.Takeover(p, d.Config, d.Bindings); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q in it", err, tc.want)
			}
		})
	}
	c.Say(" a line\n")
	d.AwaitRecords(": half a line\n")
}

// TestAProgramThatIsNotThereIsNotTried, nor any when it is time to stop.
func TestAProgramThatIsNotThereIsNotTried(t *testing.T) {
	d, _ := surviving(t, nil)
	d.Open()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	stop := errors.New("stop")
	stopped, cancel := context.WithCancelCause(t.Context())
	cancel(stop)
	for _, c := range []struct {
		name, path string
		ctx        context.Context
		want       error
	}{
		{"it is not there", filepath.Join(t.TempDir(), "none"), t.Context(), os.ErrNotExist},
		{"it is time to stop", self, stopped, stop},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := program(d.Config)
			p.Path = c.path
			tk, err := d.handover.Takeover(p, d.Config, d.Bindings)
			if err != nil {
				t.Fatal(err)
			}
			defer tk.Close()
			if err := tk.Execute(c.ctx); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// TestARehearsalFailsWithWhatTheProgramSays.
func TestARehearsalFailsWithWhatTheProgramSays(t *testing.T) {
	if err := handover.Rehearse("/bin/sh", "-c", "echo fine"); err != nil {
		t.Errorf("got %v, want nil", err)
	}
	err := handover.Rehearse("/bin/sh", "-c", "echo no >&2; exit 3")
	if err == nil || !strings.Contains(err.Error(), "exit status 3: no") {
		t.Errorf("got %v, want the status and what it said", err)
	}
}

func TestATrialWithoutAProgramIsAUsageError(t *testing.T) {
	if got := handover.BecomeTrial([]string{handover.TrialName, "1"}); got != 64 {
		t.Errorf("got status %d, want 64", got)
	}
}

// TestNothingIsKeptByANilHandover, whose methods may be called all the same.
func TestNothingIsKeptByANilHandover(t *testing.T) {
	var h *handover.Handover
	h.Adopt(nil)
	h.SetAge(0)
	h.ReportCapacity(1)
	if n := h.PutSettings(config.Default()); n != nil || h.Survives() || h.Status() != "" || h.Close() != nil {
		t.Errorf("got numbers %v, survives %v, status %q, want nothing", n, h.Survives(), h.Status())
	}
}
