package recordfile

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
	// longestPause is the most that counts as age of the time between two looks at the backups
	// during which the daemon did not run or the machine was suspended. It is then unknown
	// whether the time passed or the clock jumped.
	longestPause = 24 * time.Hour
	// clockSlip is how much the clock may jump without a report.
	clockSlip = time.Minute
	// agesSaved is how often the ages are saved if nothing has changed.
	agesSaved = time.Hour
)

// began is when the process began.
var began = time.Now()

// moment is a time by two clocks.
type moment struct {
	wall  time.Time     // the clock, which can be set
	lived time.Duration // since the process began, by the monotonic clock
}

func thisMoment() moment { return moment{time.Now().Round(0).UTC(), time.Since(began)} }

// ages are the ages of the backups of a file: the time during which the daemon ran, plus, for each
// time during which it did not run, at most longestPause or half of the limit. So no jump of the
// clock, forward or back, makes a backup old at once. The ages are stored in a file next to the
// record file. If that does not exist, as on the first start, the age of a backup follows from its
// name.
type ages struct {
	path  string
	disk  disk
	at    moment // of the last look; zero: none
	alive bool   // the last look was by this process
	// When the age of a backup began, by key; moves if the clock jumps.
	since map[string]time.Time
	saved time.Duration // moment.lived when the ages were saved
	told  bool          // it was reported that names are in the future
}

// agesFile is the content of the file with the ages.
type agesFile struct {
	At    time.Time            `json:"at"`
	Since map[string]time.Time `json:"since"`
}

// look updates the ages for the present backups, and returns how far the clock has jumped since the
// last look. limit is the limit of age. An error means that the ages could not be read or saved;
// they are valid nevertheless until the process ends.
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

// jumped returns how much more the clock has advanced than the time that has passed since the last
// look. Of the time that was not measured, at most pause counts as passed.
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

// of returns the age of a backup at the last look.
func (a *ages) of(b Backup) time.Duration { return a.at.wall.Sub(a.since[b.key()]) }

// load reads the ages that another process has saved.
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

// save writes the ages to disk, atomically.
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

// forget removes the ages. They are not needed without a limit of age.
func (a *ages) forget() {
	if !a.at.wall.IsZero() || !a.alive {
		_ = os.Remove(a.path) // it usually does not exist
	}
	a.at, a.since, a.alive = moment{}, nil, true
}

// ahead returns an error if the name of the newest backup is in the future, and that was not
// reported yet.
func (a *ages) ahead(backups []Backup, now moment) error {
	n, told := len(backups), a.told
	a.told = n > 0 && backups[n-1].At.After(now.wall.Add(clockSlip))
	if !a.told || told {
		return nil
	}
	return fmt.Errorf("a rotated file is named by a time to come, %s: the order of the names stays "+
		"that of rotation, and new ones follow it until it is moved away",
		backups[n-1].At.Format(time.RFC3339))
}

// jumpedBy returns an error if the clock has jumped by more than clockSlip.
func jumpedBy(jump time.Duration) error {
	switch {
	case jump > clockSlip:
		return fmt.Errorf("the clock has gone %s further than time is known to have passed: "+
			"rotated files are taken to be no older for it", jump.Round(time.Second))
	case jump < -clockSlip:
		return fmt.Errorf("the clock has been set back by %s: "+
			"rotated files are taken to be no younger for it", (-jump).Round(time.Second))
	}
	return nil
}

// key returns the name of the backup without the suffix of compression.
func (b Backup) key() string { return strings.TrimSuffix(filepath.Base(b.Path()), packedSuffix) }
