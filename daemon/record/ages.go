package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	// longestPause is how much of the time between two looks at the backups counts as their age where nobody can tell whether it
	// passed or the clock jumped: while the daemon did not run, or the machine was suspended.
	longestPause = 24 * time.Hour
	// clockSlip is by how much a clock may be wrong before it is told.
	clockSlip = time.Minute
	// agesSaved is after how long the ages are saved although nothing has changed.
	agesSaved = time.Hour
)

// began is when the process did, for moments.
var began = time.Now()

// moment is what the clock says, and how long the process has lived by a clock that nobody sets.
type moment struct {
	wall  time.Time
	lived time.Duration
}

func thisMoment() moment { return moment{time.Now().Round(0).UTC(), time.Since(began)} }

// ages tell how old the backups of a file are, by the time in which the daemon ran and not more than longestPause, or half of the
// limit, for each time in which it did not. So no jump of the clock, forward or back, makes a backup old at once. They are kept in a file
// beside the record file; without it, as on the first start, a backup is as old as its name says.
type ages struct {
	path  string
	disk  disk
	at    moment               // of the last look; zero: there was none
	alive bool                 // and it was by this process
	since map[string]time.Time // of each backup, by its name uncompressed; it moves with the clock when that jumps
	saved time.Duration        // when they were saved, as lived
	told  bool                 // that backups are named by times to come
}

// agesFile is how ages are saved.
type agesFile struct {
	At    time.Time            `json:"at"`
	Since map[string]time.Time `json:"since"`
}

// look takes over the backups that there are, and returns by how much the clock has jumped since the last look. limit is what the
// ages are compared with. An error is that they could not be read or saved: they are right until the process ends.
func (a *ages) look(backups []Backup, limit time.Duration, now moment) (jump time.Duration, err error) {
	if !a.alive {
		err = a.load()
	}
	jump = a.jumped(now, min(longestPause, limit/2))
	since, changed := make(map[string]time.Time, len(backups)), jump != 0 || len(backups) != len(a.since)
	for _, b := range backups {
		at, known := a.since[b.key()]
		if known {
			at = at.Add(jump)
		} else {
			at, changed = b.At, true
		}
		if at.After(now.wall) {
			at = now.wall
		}
		since[b.key()] = at
	}
	changed = changed || !a.alive || now.lived-a.saved >= agesSaved
	a.since, a.at, a.alive = since, now, true
	if changed {
		a.saved = now.lived
		err = errors.Join(err, a.save())
	}
	return jump, err
}

// jumped is by how much the clock has gone on, beyond the time that has passed since the last look. Of what nobody has measured, pause
// may have passed.
func (a *ages) jumped(now moment, pause time.Duration) time.Duration {
	if a.at.wall.IsZero() {
		return 0
	}
	var lived time.Duration
	if a.alive {
		lived = max(0, now.lived-a.at.lived)
	}
	wall := now.wall.Sub(a.at.wall)
	return wall - min(max(wall, lived), lived+pause)
}

// of is how old a backup was at the last look.
func (a *ages) of(b Backup) time.Duration { return a.at.wall.Sub(a.since[b.key()]) }

// load reads what another process has saved.
func (a *ages) load() error {
	text, err := os.ReadFile(a.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var saved agesFile
	if err == nil {
		err = json.Unmarshal(text, &saved)
	}
	if err != nil {
		return fmt.Errorf("read ages of rotated files from %q: %w", a.path, cause(err))
	}
	a.at, a.since = moment{wall: saved.At}, saved.Since
	return nil
}

// save has the ages on disk, whole.
func (a *ages) save() error {
	text, err := json.Marshal(agesFile{a.at.wall, a.since})
	if err != nil {
		return err
	}
	if err := a.write(append(text, '\n')); err != nil {
		return fmt.Errorf("save ages of rotated files in %q: %w", a.path, cause(err))
	}
	return nil
}

func (a *ages) write(text []byte) error {
	temp := a.path + tempSuffix
	file, err := a.disk.open(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	out, err := a.disk.hold(file)
	if err != nil {
		return errors.Join(err, file.Close(), os.Remove(temp))
	}
	_, err = out.Write(text)
	if err == nil {
		err = out.datasync()
	}
	if err = errors.Join(err, out.Close()); err == nil {
		err = a.disk.rename(temp, a.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return nil
}

// forget is for a file whose backups have no limit of age.
func (a *ages) forget() {
	if !a.at.wall.IsZero() || !a.alive {
		_ = os.Remove(a.path) // as a rule there is none
	}
	a.at, a.since, a.alive = moment{}, nil, true
}

// ahead is the error that the newest backup is named by a time to come, once; nil when it is not, or that was told.
func (a *ages) ahead(backups []Backup, now moment) error {
	n, told := len(backups), a.told
	a.told = n > 0 && backups[n-1].At.After(now.wall.Add(clockSlip))
	if !a.told || told {
		return nil
	}
	return fmt.Errorf("a rotated file is named by a time to come, %s: the order of the names stays that of rotation, and new ones follow it until it is moved away",
		backups[n-1].At.Format(time.RFC3339))
}

// jumpedBy is the error that the clock has jumped; nil when it has not, by much.
func jumpedBy(jump time.Duration) error {
	switch {
	case jump > clockSlip:
		return fmt.Errorf("the clock has gone %s further than time is known to have passed: rotated files are taken to be no older for it", jump.Round(time.Second))
	case jump < -clockSlip:
		return fmt.Errorf("the clock has been set back by %s: rotated files are taken to be no younger for it", (-jump).Round(time.Second))
	}
	return nil
}

// key is what stands for the backup, compressed or not.
func (b Backup) key() string { return strings.TrimSuffix(filepath.Base(b.Path()), packedSuffix) }
