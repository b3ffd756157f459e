package record

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// stampForm is how the time of a rotation, UTC, stands in the name of a backup.
const stampForm = "2006-01-02T15-04-05.000"

const (
	packedSuffix = ".gz"
	tempSuffix   = ".tmp" // behind packedSuffix, of one that is being compressed
)

// Backup is what the name of a rotated file says.
type Backup struct {
	// Of is the path of the file that was rotated.
	Of string
	// At is when, to the millisecond. Two backups of a file with the same time are one, compressed and not.
	At time.Time
	// Packed says that it is compressed with gzip.
	Packed bool
}

// ParseBackup reads the name of the file at path. Of any other file than a backup it makes one of itself, at no time.
func ParseBackup(path string) (b Backup, ok bool) {
	plain, packed := strings.CutSuffix(path, packedSuffix)
	dir, name := filepath.Split(plain)
	for _, ext := range []string{filepath.Ext(name), ""} { // without one, what follows the seconds looks like one
		stem := strings.TrimSuffix(name, ext)
		base := len(stem) - len(stampForm) - 1
		if base < 0 || stem[base] != '-' {
			continue
		}
		if at, err := time.Parse(stampForm, stem[base+1:]); err == nil {
			return Backup{Of: filepath.Join(dir, stem[:base]+ext), At: at, Packed: packed}, true
		}
	}
	return Backup{Of: filepath.Clean(path)}, false
}

// Path is where the backup is.
func (b Backup) Path() string {
	ext := filepath.Ext(b.Of)
	path := strings.TrimSuffix(b.Of, ext) + "-" + b.At.UTC().Format(stampForm) + ext
	if b.Packed {
		return path + packedSuffix
	}
	return path
}

// Compare orders what a file was rotated to, the oldest first, and the file itself last. Of one that is there compressed and not,
// the latter comes first.
func (b Backup) Compare(c Backup) int {
	return cmp.Or(rank(b.At.IsZero())-rank(c.At.IsZero()), b.At.Compare(c.At), rank(b.Packed)-rank(c.Packed))
}

func rank(last bool) int {
	if last {
		return 1
	}
	return 0
}

// Backups returns what the file at path was rotated to, the oldest first. One that is there compressed and not, after a crash,
// is told once, as the latter.
func Backups(path string) ([]Backup, error) {
	all, _, err := backupsOf(path)
	return slices.CompactFunc(all, func(b, c Backup) bool { return b.At.Equal(c.At) }), err
}

// backupsOf returns the backups of the file at path, the oldest first, and what a crash left of the compression of others.
func backupsOf(path string) (all []Backup, unfinished []string, err error) {
	dir := filepath.Dir(path)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("list backups: %w", err)
	}
	for _, e := range entries {
		name, temp := strings.CutSuffix(filepath.Join(dir, e.Name()), tempSuffix)
		b, ok := ParseBackup(name)
		switch {
		case !ok || b.Of != filepath.Clean(path) || !e.Type().IsRegular():
		case !temp:
			all = append(all, b)
		case b.Packed:
			unfinished = append(unfinished, name+tempSuffix)
		}
	}
	slices.SortFunc(all, Backup.Compare)
	return all, unfinished, nil
}
