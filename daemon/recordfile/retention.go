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
	// What is not delivered; nil: all is.
	undelivered func() Undelivered
	marks       marks         // of the backups; nil: none is known
	overdue     func(overdue) // called with what a run has found; nil: not called
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

		undelivered: o.Undelivered,
	}
}

const (
	// idleFor is how often keep is called if nothing is rotated, because backups age.
	idleFor = time.Hour
	// overdueFor is how often it is called while backups are left until they are delivered.
	overdueFor = 10 * time.Second
	// A run looks at all backups. After one the keeper rests restShare times as long, but at most
	// longestRest, so that many backups of a file that is rotated many times a second take no
	// more than a tenth of a processor.
	restShare   = 9
	longestRest = time.Second
)

// keeper removes and compresses backups by a rule, in the background and one file at a time.
type keeper struct {
	trouble func(Trouble, error)
	ages    *ages // nil before the first call of keep
	marks   marks

	mu      sync.Mutex
	rule    rule
	asked   time.Time   // when keep was called last
	next    *time.Timer // began the last run, or begins the next
	rested  time.Time   // no run begins before
	running bool        // or about to
	again   bool        // the rule or the files changed during the run
	stopped bool
	failing bool
	overdue overdue // by the last run
	ended   sync.Cond
}

func newKeeper(trouble func(Trouble, error)) *keeper {
	k := &keeper{trouble: trouble, marks: marks{}}
	k.ended.L = &k.mu
	return k
}

// keep applies r soon.
func (k *keeper) keep(r rule) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keepLocked(r)
}

func (k *keeper) keepLocked(r rule) {
	now := time.Now()
	k.rule, k.again, k.asked = r, true, now
	if !k.running && !k.stopped {
		k.running = true
		k.next = time.AfterFunc(k.rested.Sub(now), k.run)
	}
}

// idle calls keep if it is time for that. It never waits.
func (k *keeper) idle(r rule) {
	if !k.mu.TryLock() {
		return
	}
	defer k.mu.Unlock()
	pause := idleFor
	if k.overdue.files > 0 {
		pause = overdueFor
	}
	if time.Since(k.asked) >= pause {
		k.keepLocked(r)
	}
}

// stop stops the keeper and waits for it. Unfinished work is left for the next process.
func (k *keeper) stop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stopped = true
	if k.running && k.next.Stop() {
		k.running = false
	}
	for k.running {
		k.ended.Wait()
	}
}

// run applies the rule once, and has that done again if the rule or the files have changed meanwhile.
func (k *keeper) run() {
	k.mu.Lock()
	defer k.mu.Unlock()
	defer k.ended.Broadcast()
	if k.stopped {
		k.running = false
		return
	}
	k.again = false
	r, found := k.rule, k.overdue
	k.mu.Unlock()
	if k.ages == nil {
		k.ages = r.newAges()
	}
	r.ages, r.clock = k.ages, func(err error) { k.trouble(Clock, err) }
	r.marks, r.overdue = k.marks, func(o overdue) { found = o }
	began := time.Now()
	err := r.apply(k.over)
	now := time.Now()
	rest := min(restShare*now.Sub(began), longestRest)
	k.mu.Lock()
	k.rested = now.Add(rest)
	if !k.stopped {
		k.tellLocked(err, found)
	}
	if k.running = k.again && !k.stopped; k.running {
		k.next = time.AfterFunc(rest, k.run)
	}
}

// tellLocked reports what has begun or ended with a run, which found these overdue backups.
func (k *keeper) tellLocked(err error, found overdue) {
	if k.failing != (err != nil) {
		k.failing = err != nil
		k.trouble(Retention, err)
	}
	began := k.overdue.files > 0
	k.overdue = found
	if began != (found.files > 0) {
		k.trouble(Overdue, found.err(k.rule.path))
	}
}

// forget reports that what has begun is over, because the file is another one. It has stopped.
func (k *keeper) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.failing {
		k.trouble(Retention, nil)
	}
	if k.overdue.files > 0 {
		k.trouble(Overdue, nil)
	}
	rule{counts: k.rule.counts}.found(overdue{})
	k.failing, k.overdue = false, overdue{}
}

// over reports whether a run must stop.
func (k *keeper) over() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.stopped
}

// newAges returns the ages of the backups.
func (r rule) newAges() *ages { return &ages{path: hidden(r.path, ".ages"), disk: r.storage()} }

// apply removes backups that are too many or too old, unless they are not delivered, and compresses
// the others. Their order is that of the names, which is the order of rotation.
func (r rule) apply(over func() bool) error {
	backups, err := r.list()
	if err != nil {
		return err
	}
	if r.ages == nil {
		r.ages = r.newAges()
	}
	if r.marks == nil {
		r.marks = marks{}
	}
	r.marks.trim(backups)
	if r.counts != nil {
		r.counts.Backups.Store(int64(len(backups)))
	}
	errs := []error{r.look(backups)}
	stay, err := r.thin(backups)
	errs = append(errs, err)
	for _, b := range slices.Backward(stay) {
		if over() {
			break
		}
		if r.compress && !b.Packed {
			errs = append(errs, r.pack(b, over))
		}
	}
	return errors.Join(errs...)
}

// thin removes backups, and returns those that stay.
func (r rule) thin(backups []Backup) (stay []Backup, err error) {
	// It is asked for only if a backup is to be removed.
	since := sync.OnceValue(func() time.Time { return r.undeliveredSince(backups) })
	var kept int
	var left overdue
	for i, b := range slices.Backward(backups) {
		// A backup may exist compressed and uncompressed. It counts once.
		again := i < len(backups)-1 && b.At.Equal(backups[i+1].At)
		if !again {
			kept++
		}
		due := r.most > 0 && kept > r.most || r.age > 0 && r.ages.of(b) > r.age
		if due && b.At.Before(since()) {
			err = errors.Join(err, r.remove(b))
			continue
		}
		if due && !again {
			left.add(b)
		}
		stay = append(stay, b)
	}
	slices.Reverse(stay)
	r.found(left)
	return stay, err
}

// found notes the overdue backups.
func (r rule) found(left overdue) {
	if r.counts != nil {
		r.counts.Overdue.Store(left.files)
		r.counts.OverdueBytes.Store(left.bytes)
	}
	if r.overdue != nil {
		r.overdue(left)
	}
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
