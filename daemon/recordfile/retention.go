package recordfile

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"
)

// rule is which backups of a file are kept, and how.
type rule struct {
	path     string        // of the file that was rotated
	most     int           // how many backups are kept; 0: all
	age      time.Duration // how long backups are kept; 0: no limit
	compress bool
	minFree  int64 // bytes that compression leaves free on the file system
	counts   *Counts
	disk     disk  // nil: kernel
	ages     *ages // nil: the saved ages
	// Called if the clock or the names of backups look wrong; nil: not called.
	clock func(error)
}

// storage returns the disk of the backups.
func (r rule) storage() disk { return Options{disk: r.disk}.storage() }

// rule returns the rule for the backups of a file with these options.
func (o *Options) rule() rule {
	return rule{
		path:     o.Path,
		most:     o.MaxBackups,
		age:      o.MaxAge,
		compress: o.Compress,
		minFree:  o.MinFree,
		counts:   o.counted(),
		disk:     o.disk,
	}
}

// idleFor is how often keep is called if nothing is rotated, because backups age.
const idleFor = time.Hour

// keeper removes and compresses backups by a rule, in the background and one file at a time.
type keeper struct {
	trouble func(Trouble, error)
	ages    *ages // nil before the first call of keep

	mu      sync.Mutex
	rule    rule
	asked   time.Time // when keep was called last
	running bool
	again   bool // the rule or the files changed during the run
	stopped bool
	failing bool
	ended   sync.Cond
}

func newKeeper(trouble func(Trouble, error)) *keeper {
	k := &keeper{trouble: trouble}
	k.ended.L = &k.mu
	return k
}

// keep applies r soon.
func (k *keeper) keep(r rule) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.rule, k.again, k.asked = r, true, time.Now()
	if !k.running && !k.stopped {
		k.running = true
		go k.run()
	}
}

// idle reports whether it is time to call keep again.
func (k *keeper) idle() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return time.Since(k.asked) >= idleFor
}

// stop stops the keeper and waits for it. Unfinished work is left for the next process.
func (k *keeper) stop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stopped = true
	for k.running {
		k.ended.Wait()
	}
}

func (k *keeper) run() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for k.again && !k.stopped {
		k.again = false
		r := k.rule
		k.mu.Unlock()
		if k.ages == nil {
			k.ages = r.newAges()
		}
		r.ages, r.clock = k.ages, func(err error) { k.trouble(Clock, err) }
		err := r.apply(k.over)
		k.mu.Lock()
		if changed := k.failing != (err != nil); changed && !k.stopped {
			k.failing = err != nil
			k.trouble(Retention, err)
		}
	}
	k.running = false
	k.ended.Broadcast()
}

// over reports whether a run must stop.
func (k *keeper) over() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.stopped
}

// newAges returns the ages of the backups.
func (r rule) newAges() *ages { return &ages{path: hidden(r.path, ".ages"), disk: r.storage()} }

// apply removes backups that are too many or too old, and compresses the others. Their order is
// that of the names, which is the order of rotation.
func (r rule) apply(over func() bool) error {
	backups, err := r.list()
	if err != nil {
		return err
	}
	if r.ages == nil {
		r.ages = r.newAges()
	}
	if r.counts != nil {
		r.counts.Backups.Store(int64(len(backups)))
	}
	errs := []error{r.look(backups)}
	var kept int
	for i, b := range slices.Backward(backups) {
		if over() {
			break
		}
		// A backup may exist compressed and uncompressed. It counts once.
		if i == len(backups)-1 || !b.At.Equal(backups[i+1].At) {
			kept++
		}
		switch {
		case r.most > 0 && kept > r.most, r.age > 0 && r.ages.of(b) > r.age:
			errs = append(errs, r.remove(b))
		case r.compress && !b.Packed:
			errs = append(errs, r.pack(b, over))
		}
	}
	return errors.Join(errs...)
}

// remove removes a backup.
func (r rule) remove(b Backup) error {
	err := os.Remove(b.Path())
	if err == nil && r.counts != nil {
		r.counts.Removed.Add(1)
		r.counts.Backups.Add(-1)
	}
	return err
}

// look updates the ages of the backups, and reports what is wrong with the clock or the names.
func (r rule) look(backups []Backup) (err error) {
	now := thisMoment()
	wrong := []error{r.ages.ahead(backups, now)}
	if r.age > 0 {
		var jump time.Duration
		jump, err = r.ages.look(backups, r.age, now)
		wrong = append(wrong, jumpedBy(jump))
	} else {
		r.ages.forget()
	}
	for _, w := range wrong {
		if w != nil && r.clock != nil {
			r.clock(fmt.Errorf("record file %q: %w", r.path, w))
		}
	}
	return err
}

// list returns the backups, the oldest first, and removes unfinished compressed files that a crash
// left.
func (r rule) list() ([]Backup, error) {
	all, unfinished, err := backupsOf(r.path)
	for _, name := range unfinished {
		_ = os.Remove(name) // the next call tries again
	}
	return all, err
}
