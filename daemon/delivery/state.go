package delivery

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// fileName is the state file in its directory.
const fileName = "delivered.json"

// version is that of the state file.
const version = 1

// State is how far a forwarder has come.
type State struct {
	// Version is set by Save.
	Version int `json:"version"`
	// Stream is the stream that records were delivered to last.
	Stream Stream `json:"stream"`
	// Filter matches the subjects that records were delivered under last.
	Filter string `json:"filter"`
	// Sequence is that of the last message that the stream has acknowledged; 0 if there is
	// none.
	Sequence uint64 `json:"sequence"`
	// Delivered is up to where records are acknowledged.
	Delivered Cursor `json:"delivered"`
	// Kept is what Delivered was some time ago. The daemon leaves the files from there on, so
	// that what a server loses when its machine fails can be delivered again.
	Kept Cursor `json:"kept"`
	// Next is what Kept becomes when it is old enough, also if many short runs come between.
	Next Moment `json:"next,omitzero"`
	// Skip reports that Delivered is where to go on, whatever the stream says: an administrator
	// has let go of what is before.
	Skip bool `json:"skip,omitempty"`
	// Forgotten are the record files of which that holds also where Delivered has no position.
	Forgotten []Key `json:"forgotten,omitempty"`
	// Accept reports that a stream that Stream does not describe may be delivered to: an
	// administrator has said so.
	Accept bool `json:"accept,omitempty"`
	// Paths are those of the record files, by their keys.
	Paths map[Key]string `json:"paths"`
}

// Moment is up to where records were acknowledged at a time.
type Moment struct {
	At        time.Time `json:"at"`
	Delivered Cursor    `json:"delivered"`
	// Saved is when the state was saved, by the same clock as At. That may have been set since.
	Saved time.Time `json:"saved,omitzero"`
}

// Stream tells a stream from others.
type Stream struct {
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
}

// Path returns the path of the state file in dir.
func Path(dir string) string { return filepath.Join(dir, fileName) }

// Load reads the state file in dir. The error wraps fs.ErrNotExist if there is none.
func Load(dir string) (State, error) {
	text, err := read(Path(dir))
	if err != nil {
		return State{}, err
	}
	var s State
	if err := json.Unmarshal(text, &s); err != nil {
		return State{}, fmt.Errorf("state file %q: %w", Path(dir), err)
	}
	if s.Version != version {
		return State{}, fmt.Errorf("state file %q: version %d, want %d", Path(dir), s.Version, version)
	}
	for _, c := range []Cursor{s.Delivered, s.Kept, s.Next.Delivered} {
		if _, _, err := ParseCursor(string(c.AppendTo(nil))); err != nil {
			return State{}, fmt.Errorf("state file %q: %w", Path(dir), err)
		}
	}
	return s, nil
}

// maxState is longer than any state file.
const maxState = 16 << 20

// read reads a file that another user, who may be hostile, has written: it neither waits nor
// follows a link, and takes no more memory than a state needs.
func read(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close() // nothing was written
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("state file %q: is no regular file", path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxState+1))
	if err == nil && len(text) > maxState {
		err = fmt.Errorf("state file %q: has more than %d bytes", path, maxState)
	}
	return text, err
}

// Save replaces the state file in dir, which anybody may read. It is on disk when Save returns.
func Save(dir string, s State) (err error) {
	s.Version = version
	text, err := json.MarshalIndent(s, "", "\t")
	if err != nil {
		return err
	}
	temp := Path(dir) + ".tmp"
	if err := write(temp, append(text, '\n')); err != nil {
		return err
	}
	if err := os.Rename(temp, Path(dir)); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// write writes a new file. One that a killed writer has left goes first: it may be another user's,
// and root must not write through what the owner of the directory has put there.
func write(path string, text []byte) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	err = f.Chmod(0o644) // whatever the umask: the daemon is another user
	if err == nil {
		_, err = f.Write(text)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
