package forward

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/cmd/tcpmux-forward/stream"
	"tcpmux/config"
	"tcpmux/daemon/delivery"
)

const (
	// saveEvery is how often the state is saved while it changes. A state that is behind costs
	// nothing: the stream knows better.
	saveEvery = time.Second
	// pastSteps is how many steps what is kept takes to age.
	pastSteps = 30
	lockName  = "lock"
)

// journal is the state of a delivery, on disk and in memory. It is for one goroutine.
type journal struct {
	dir   string
	lock  *os.File
	state delivery.State
	keep  time.Duration
	past  []moment // the oldest first
	dirty bool
	saved time.Time
}

// moment is where a delivery stood.
type moment struct {
	at     time.Time
	cursor delivery.Cursor
}

// openJournal locks the state directory and reads the state, if there is one.
func openJournal(cfg config.Config) (*journal, error) {
	dir := cfg.Forward.State
	lock, err := lockState(dir)
	if err != nil {
		return nil, err
	}
	j := &journal{dir: dir, lock: lock, keep: cfg.Forward.Keep}
	j.state, err = delivery.Load(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(fmt.Errorf("%w: if it cannot be restored, remove it: the stream still knows "+
			"where the delivery stands", err), lock.Close())
	}
	if j.state.Paths == nil {
		j.state.Paths = map[delivery.Key]string{}
	}
	now := time.Now()
	j.past = []moment{{now, j.state.Kept}}
	if next := j.state.Next; !next.At.IsZero() {
		j.past = append(j.past, moment{now.Add(-j.ageOf(next, now)), next.Delivered})
		j.dirty = true // its age
	}
	return j, nil
}

// ageOf returns how old a moment is. Of the time since the state was saved, nobody knows whether it
// has passed or the clock was set, so it counts for half of what is kept, and for a day, at most.
func (j *journal) ageOf(m delivery.Moment, now time.Time) time.Duration {
	age, since := m.Saved.Sub(m.At), now.Sub(m.Saved)
	if m.Saved.IsZero() {
		age, since = 0, now.Sub(m.At)
	}
	return max(0, age) + min(max(0, since), j.keep/2, 24*time.Hour)
}

// lockState locks the state directory until the file is closed.
func lockState(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("state directory: %w (the packaged unit makes it; elsewhere set state under [forward])", err)
	}
	path := filepath.Join(dir, lockName)
	f, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock state directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close() // nothing was written
		if err == unix.EWOULDBLOCK {
			err = errors.New("another tcpmux-forward uses it: end that one first (systemctl stop tcpmux-forward)")
		}
		return nil, fmt.Errorf("lock state directory %q: %w", dir, err)
	}
	return f, nil
}

// names notes the paths of record files.
func (j *journal) names(paths []string) {
	for _, p := range paths {
		j.state.Paths[delivery.KeyOf(p)] = p
	}
}

// paths returns those of the record files: those that are configured, and those that were before,
// as long as their files are there.
func (j *journal) paths(configured []string) []string {
	j.names(configured)
	paths := slices.Clone(configured)
	for _, p := range j.state.Delivered {
		path, known := j.state.Paths[p.Key]
		if known && !slices.Contains(paths, path) && len(paths) < delivery.MaxPositions {
			if _, err := os.Stat(path); err == nil {
				paths = append(paths, path)
			}
		}
	}
	return paths
}

// forget notes that everything before the ends of paths is let go of. A path without an end begins
// with its next record.
func (j *journal) forget(paths []string, ends delivery.Cursor) {
	all := slices.DeleteFunc(slices.Clone(j.state.Delivered), func(p delivery.Position) bool {
		return slices.ContainsFunc(paths, func(path string) bool { return delivery.KeyOf(path) == p.Key })
	})
	j.state.Delivered = over(all, ends)
	j.state.Kept = slices.Clone(j.state.Delivered)
	j.past = []moment{{time.Now(), j.state.Kept}}
	for _, path := range paths {
		if key := delivery.KeyOf(path); !slices.Contains(j.state.Forgotten, key) {
			j.state.Forgotten = append(j.state.Forgotten, key)
		}
	}
	j.state.Skip, j.dirty = true, true
}

// acknowledged notes that a stream has everything before c, up to a message of its own.
func (j *journal) acknowledged(s delivery.Stream, sequence uint64, c delivery.Cursor) {
	j.state.Stream, j.state.Sequence = s, sequence
	j.state.Skip, j.state.Accept, j.state.Forgotten = false, false, nil
	j.moved(c)
}

// moved notes where the delivery stands. Nothing need have been delivered: it goes on to the next
// file too.
func (j *journal) moved(c delivery.Cursor) {
	if !slices.Equal(j.state.Delivered, c) {
		j.state.Delivered = slices.Clone(c)
		j.dirty = true
	}
}

// adopt notes where the delivery begins, as far as the stream says so.
func (j *journal) adopt(last stream.Last, begin start) {
	if (last.Found || begin.lost) && !j.state.Skip {
		j.state.Stream, j.state.Sequence = last.Stream, last.Sequence
		j.dirty = true
	}
	if begin.lost {
		// What is kept is needed again.
		j.past = []moment{{time.Now(), slices.Clone(begin.cursor)}}
		j.state.Kept = slices.Clone(begin.cursor)
		j.dirty = true
	}
	j.moved(begin.cursor)
}

// tick ages what is kept, and saves the state if it has changed and it is time.
func (j *journal) tick(now time.Time) error {
	if newest := j.past[len(j.past)-1]; now.Sub(newest.at) >= max(j.keep/pastSteps, time.Second) {
		j.past = append(j.past, moment{now, slices.Clone(j.state.Delivered)})
	}
	for len(j.past) > 1 && now.Sub(j.past[1].at) >= j.keep {
		j.past = j.past[1:]
	}
	if oldest := j.past[0]; now.Sub(oldest.at) >= j.keep && !slices.Equal(j.state.Kept, oldest.cursor) {
		j.state.Kept = oldest.cursor
		j.dirty = true
	}
	if !j.dirty || now.Sub(j.saved) < saveEvery {
		return nil
	}
	return j.save(now)
}

// save saves the state if it has changed.
func (j *journal) save(now time.Time) error {
	if !j.dirty {
		return nil
	}
	if !slices.Equal(j.past[len(j.past)-1].cursor, j.state.Delivered) && len(j.past) == 1 {
		j.past = append(j.past, moment{now, slices.Clone(j.state.Delivered)})
	}
	j.state.Next = delivery.Moment{}
	if len(j.past) > 1 {
		wall := now.Round(0).UTC()
		j.state.Next = delivery.Moment{At: wall.Add(-now.Sub(j.past[1].at)), Delivered: j.past[1].cursor, Saved: wall}
	}
	if err := delivery.Save(j.dir, j.state); err != nil {
		j.saved = now // not at every turn again
		return fmt.Errorf("save the state: %w", err)
	}
	j.dirty, j.saved = false, now
	return nil
}

// close saves the state and unlocks the directory.
func (j *journal) close() error { return errors.Join(j.save(time.Now()), j.lock.Close()) }
