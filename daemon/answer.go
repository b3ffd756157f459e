package daemon

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A signal has no answer. The daemon therefore writes the result of each reload to a file, from
// which "tcpmux reload" learns whether the reload that it asked for has failed.

// answerFile is the name of that file, below $RUNTIME_DIRECTORY.
const answerFile = "reload"

// Reloads is what the daemon reports about its reloads.
type Reloads struct {
	// Start identifies the daemon process: another process has another number.
	Start int64
	// Begun and Ended count reloads. A reload that was requested after Begun was read gets a
	// higher number.
	Begun, Ended int
	// Faults are the reasons why the configuration in force is not the one in the file, one
	// line each; nil if it is.
	Faults []string
}

// ReadReloads reads what the daemon with the runtime directory dir has reported. The error is
// fs.ErrNotExist if it has reported nothing.
func ReadReloads(dir string) (r Reloads, err error) {
	text, err := os.ReadFile(filepath.Join(dir, answerFile))
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	return r, err
}

// reloadAnswer reports the results of reloads. It is not safe for concurrent use.
type reloadAnswer struct {
	Reloads
	dir string // "" reports nothing
}

// newReloadAnswer returns the answer of a process that starts, in the directory that the service
// manager has made for it.
func newReloadAnswer() *reloadAnswer {
	return &reloadAnswer{
		Reloads: Reloads{Start: time.Now().UnixNano()},
		dir:     os.Getenv("RUNTIME_DIRECTORY"),
	}
}

// begin reports that a reload begins.
func (a *reloadAnswer) begin() error {
	a.Begun++
	return a.save()
}

// end reports how the reload went. Call it after the service manager was notified of the end.
func (a *reloadAnswer) end(fault error) error {
	a.Ended = a.Begun
	return a.set(fault)
}

// set reports what is wrong with the configuration file; nil means nothing is.
func (a *reloadAnswer) set(fault error) error {
	a.Faults = nil
	if fault != nil {
		a.Faults = strings.Split(fault.Error(), "\n")
	}
	return a.save()
}

// save replaces the file in one step, so that nobody reads half of it.
func (a *reloadAnswer) save() error {
	if a.dir == "" {
		return nil
	}
	text, err := json.Marshal(a.Reloads)
	if err != nil {
		return err
	}
	path := filepath.Join(a.dir, answerFile)
	if err := os.WriteFile(path+".new", text, 0o644); err != nil {
		// A missing file tells those who wait that no answer will come.
		return errors.Join(err, os.Remove(path))
	}
	return os.Rename(path+".new", path)
}
