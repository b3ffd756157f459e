package daemon

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A signal has no answer. How a reload went is therefore left in a file, by which "tcpmux reload" fails when nothing was reloaded.

// reloadFile is the file, below $RUNTIME_DIRECTORY.
const reloadFile = "reload"

// Reloads are what a daemon has reloaded so far.
type Reloads struct {
	// Start names the daemon: another one has another.
	Start int64
	// Begun and Ended count reloads. One that a signal asks for after Begun was read has a higher number.
	Begun, Ended int
	// Faults are why the configuration that holds is not what the file says, a line each; nil: it is.
	Faults []string
}

// ReadReloads reads what the daemon whose runtime directory is dir has left. The error is fs.ErrNotExist where it leaves nothing.
func ReadReloads(dir string) (r Reloads, err error) {
	text, err := os.ReadFile(filepath.Join(dir, reloadFile))
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	return r, err
}

// reloaded tells how reloads went. One goroutine uses it.
type reloaded struct {
	Reloads
	dir string // "": nobody is told
}

// newReloaded is that of a daemon that starts, for the directory that its service manager has made for it.
func newReloaded() *reloaded {
	return &reloaded{Reloads: Reloads{Start: time.Now().UnixNano()}, dir: os.Getenv("RUNTIME_DIRECTORY")}
}

// begin tells that a reload begins.
func (r *reloaded) begin() error {
	r.Begun++
	return r.save()
}

// end tells how it went. It is called once the service manager knows that it is over.
func (r *reloaded) end(fault error) error {
	r.Ended = r.Begun
	return r.state(fault)
}

// state tells how things are.
func (r *reloaded) state(fault error) error {
	r.Faults = nil
	if fault != nil {
		r.Faults = strings.Split(fault.Error(), "\n")
	}
	return r.save()
}

// save replaces the file: nobody reads half of it.
func (r *reloaded) save() error {
	if r.dir == "" {
		return nil
	}
	text, err := json.Marshal(r.Reloads)
	if err != nil {
		return err
	}
	path := filepath.Join(r.dir, reloadFile)
	if err := os.WriteFile(path+".new", text, 0o644); err != nil {
		return errors.Join(err, os.Remove(path)) // whoever waits is to learn that there is no answer
	}
	return os.Rename(path+".new", path)
}
