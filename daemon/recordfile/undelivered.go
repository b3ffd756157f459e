package recordfile

import (
	"fmt"
	"os"
	"time"
)

// Undelivered is what a forwarder has still to deliver of a record file and its backups. The zero
// value is nothing.
type Undelivered struct {
	// All is all of it.
	All bool
	// From is the mark of the oldest file that is not delivered. If neither the record file nor
	// a backup has this mark, that is All.
	From Mark
}

// overdue are the backups that retention leaves only because they are not delivered.
type overdue struct{ files, bytes int64 }

// add counts a backup.
func (o *overdue) add(b Backup) {
	o.files++
	if info, err := os.Lstat(b.Path()); err == nil { // else somebody has just removed it
		o.bytes += info.Size()
	}
}

// err says which backups these are; nil if there are none.
func (o overdue) err(path string) error {
	if o.files == 0 {
		return nil
	}
	return fmt.Errorf("record file %q: rotated files beyond max_backups and max_age are not delivered yet: %d of them, %d bytes",
		path, o.files, o.bytes)
}

// allDelivered is later than the time of any backup.
var allDelivered = time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)

// undeliveredSince returns the time of the oldest backup that is not delivered: that one and all
// newer ones have to stay. backups is all of them, the oldest first. If two have the mark, because
// somebody has made a copy, it is the older one.
func (r rule) undeliveredSince(backups []Backup) time.Time {
	var u Undelivered
	if r.undelivered != nil {
		u = r.undelivered()
	}
	switch {
	case u == Undelivered{}:
		return allDelivered
	case u.All:
		return time.Time{}
	}
	for _, b := range backups {
		if r.marks.of(b) == u.From {
			return b.At
		}
	}
	// If it is rotated at this moment, its backup is not among these, which are all older.
	if m, err := MarkOf(r.path); err == nil && m == u.From {
		return allDelivered
	}
	return time.Time{}
}

// marks are the marks of backups, by their keys, so that each is read once.
type marks map[string]Mark

// of returns the mark of a backup; "" if it has none, or cannot be read now.
func (m marks) of(b Backup) Mark {
	key := b.key()
	if mark, ok := m[key]; ok {
		return mark
	}
	mark, err := MarkOf(b.Path())
	if err != nil || mark == "" {
		return ""
	}
	m[key] = mark
	return mark
}

// trim forgets backups that are there no longer, once these are most.
func (m marks) trim(backups []Backup) {
	if len(m) > 2*len(backups)+64 {
		clear(m)
	}
}
