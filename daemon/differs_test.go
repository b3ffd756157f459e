package daemon

import (
	"os"
	"path/filepath"
	"testing"

	"tcpmux/config"
)

// TestTheStatusShowsThatFilesDiffer from what is in force: the file and its drop-ins, until they
// are loaded or as they were.
func TestTheStatusShowsThatFilesDiffer(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "tcpmux.toml")
	if err := os.MkdirAll(config.DropInDir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	dropIn := filepath.Join(config.DropInDir(file), "more.toml")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	address := freeAddress(t)
	main := "address = \"" + address + "\"\ncontrol = \"" + filepath.Join(dir, "control") + "\"\n[record]\nfile = \"" + filepath.Join(dir, "records.log") + "\"\n"
	write(file, main)
	cfg, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, func(c *config.Config) { *c = cfg })
	load := Reload(func() (config.Config, error) { return config.Load(file) })
	r.load.Store(&load)
	c := console(t, cfg.Control)
	for _, step := range []struct {
		name   string
		change func()
		want   bool
	}{
		{"as loaded", func() {}, false},
		{"a change", func() { write(file, main+"# another\n") }, true},
		{"as before", func() { write(file, main) }, false},
		{"a drop-in", func() { write(dropIn, "# nothing\n") }, true},
		{"loaded", func() {
			if got, err := c.Reload(t.Context()); err != nil || len(got.Faults) > 0 {
				t.Errorf("reload: got %+v and error %v, want no fault", got, err)
			}
		}, false},
		{"a changed drop-in", func() { write(dropIn, "# nothinG\n") }, true},
		{"no drop-in", func() { _ = os.Remove(dropIn) }, true},
		{"no file", func() { _ = os.Remove(file) }, true},
	} {
		step.change()
		s, err := c.Status(t.Context())
		if err != nil || s.Config.Differs != step.want || len(s.Problems) > 0 {
			t.Errorf("%s: got %+v, problems %q and error %v, want differs %v and no problem", step.name, s.Config, s.Problems, err, step.want)
		}
	}
}
