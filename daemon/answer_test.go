package daemon

import (
	"errors"
	"path/filepath"
	"testing"

	"tcpmux/config"
)

// TestAnAnswerTellsOfEachReload how it went, to a process that has signalled before it began.
func TestAnAnswerTellsOfEachReload(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("RUNTIME_DIRECTORY", dir)
	r := run(t)
	greeting(t, r.dial())
	before, err := ReadReloads(dir)
	if err != nil || before.Begun != 0 || before.Ended != 0 || before.Faults != nil {
		t.Fatalf("before: got %+v, %v, want that nothing was reloaded", before, err)
	}
	r.reload(func(c *config.Config) error {
		c.Record.File = filepath.Join(dir, "no", "such", "records.log")
		return nil
	})
	r.reloads <- func() (config.Config, error) { return r.cfg, errors.New("a fault\nand another") }
	r.reloads <- func() (config.Config, error) { // the answers of those before are there
		after, err := ReadReloads(dir)
		if err != nil || after.Start != before.Start || after.Begun != 4 || after.Ended != 3 || len(after.Faults) != 2 {
			t.Errorf("after two with faults: got %+v, %v, want two faults of the third, and the fourth begun", after, err)
		}
		return r.cfg, nil
	}
	r.reloads <- func() (config.Config, error) {
		if now, err := ReadReloads(dir); err != nil || now.Ended != 4 || len(now.Faults) == 0 {
			t.Errorf("the fourth asks for what cannot be had: got %+v, %v, want its fault", now, err)
		}
		return r.cfg, errors.New("over")
	}
}
