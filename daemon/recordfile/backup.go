package recordfile

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// stampForm is the form of the time of a rotation, in UTC, in the name of a backup.
const stampForm = "2006-01-02T15-04-05.000"

const (
	packedSuffix = ".gz"
	tempSuffix   = ".tmp" // after packedSuffix, while the file is being compressed
)

// Backup is the name of a rotated file.
type Backup struct {
	// Of is the path of the file that was rotated.
	Of string
	// At is the time of the rotation, to the millisecond. Two backups of a file with the same
	// time are one backup, compressed and uncompressed.
	At time.Time
	// Packed reports whether the backup is compressed with gzip.
	Packed bool
}

// ParseBackup parses the name of the file at path. If that is no backup, it returns a Backup of the
// file itself with the zero time, and false.
func ParseBackup(path string) (b Backup, ok bool) {
	plain, packed := strings.CutSuffix(path, packedSuffix)
	dir, name := filepath.Split(plain)
	// Without an extension, the milliseconds look like one.
	for _, ext := range []string{filepath.Ext(name), ""} {
		stem := strings.TrimSuffix(name, ext)
		base := len(stem) - len(stampForm) - 1
		if base < 0 || stem[base] != '-' {
			continue
		}
		// time.Parse takes a comma for the point too.
		if at, err := time.Parse(stampForm, stem[base+1:]); err == nil && !strings.Contains(stem[base+1:], ",") {
			return Backup{Of: filepath.Join(dir, stem[:base]+ext), At: at, Packed: packed}, true
		}
	}
	return Backup{Of: filepath.Clean(path)}, false
}

// Path returns the path of the backup.
func (b Backup) Path() string {
	ext := filepath.Ext(b.Of)
	path := strings.TrimSuffix(b.Of, ext) + "-" + b.At.UTC().Format(stampForm) + ext
	if b.Packed {
		return path + packedSuffix
	}
	return path
}

// Compare orders the backups of a file, the oldest first, and the file itself last. If a backup
// exists compressed and uncompressed, the uncompressed one comes first.
func (b Backup) Compare(c Backup) int {
	return cmp.Or(rank(b.At.IsZero())-rank(c.At.IsZero()), b.At.Compare(c.At), rank(b.Packed)-rank(c.Packed))
}

func rank(last bool) int {
	if last {
		return 1
	}
	return 0
}

// Backups returns the backups of the file at path, the oldest first. A backup that exists
// compressed and uncompressed, after a crash, is returned once, as the uncompressed one.
func Backups(path string) ([]Backup, error) {
	all, _, err := backupsOf(path)
	return slices.CompactFunc(all, func(b, c Backup) bool { return b.At.Equal(c.At) }), err
}

// Finder returns a function that finds the file with a device and an inode among the file at path
// and its uncompressed backups. It returns the file's path, or "" if it is none of them.
func Finder(path string) func(device, inode int64) string {
	return func(device, inode int64) string {
		if path == Stdout { // what was written there is gone
			return ""
		}
		paths := []string{path}
		backups, _ := Backups(path) // without the directory the file does not exist either
		for _, b := range backups {
			if !b.Packed {
				paths = append(paths, b.Path())
			}
		}
		for _, p := range paths {
			if info, err := os.Stat(p); err == nil && identify(info) == (identity{device, inode}) {
				return p
			}
		}
		return ""
	}
}

// newest returns the newest backup of the file at path; ok is false if none is found. Of thousands
// of backups it parses few names and sorts none.
func newest(path string) (b Backup, ok bool) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return Backup{}, false
	}
	defer dir.Close()
	entries, _ := dir.ReadDir(-1) // those before an error count
	before := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)) + "-"
	latest := "" // in stampForm, whose order is that of time
	for _, e := range entries {
		stamp, of := strings.CutPrefix(e.Name(), before)
		if !of || stamp <= latest || !e.Type().IsRegular() {
			continue
		}
		if found, is := backupNamed(path, e.Name()); is {
			b, ok, latest = found, true, stamp
		}
	}
	return b, ok
}

// backupNamed returns the backup of the file at path that has this name in the same directory; ok is
// false if it is the name of none.
func backupNamed(path, name string) (b Backup, ok bool) {
	b, ok = ParseBackup(filepath.Join(filepath.Dir(path), name))
	return b, ok && b.Of == filepath.Clean(path)
}

// backupsOf returns the backups of the file at path, the oldest first, and unfinished compressed
// files that a crash left.
func backupsOf(path string) (all []Backup, unfinished []string, err error) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil, nil, fmt.Errorf("list backups: %w", err)
	}
	for _, e := range entries {
		name, temp := strings.CutSuffix(e.Name(), tempSuffix)
		b, ok := backupNamed(path, name)
		switch {
		case !ok || !e.Type().IsRegular():
		case !temp:
			all = append(all, b)
		case b.Packed:
			unfinished = append(unfinished, b.Path()+tempSuffix)
		}
	}
	slices.SortFunc(all, Backup.Compare)
	return all, unfinished, nil
}
