package record

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// RotatedFrom tells what the file at path was rotated from, and when, if its name is that of a backup; else it returns path
// itself and false. A compressed one is told by the same name and time.
func RotatedFrom(path string) (of string, at time.Time, ok bool) {
	dir, name := filepath.Split(strings.TrimSuffix(path, packedSuffix))
	for _, ext := range []string{filepath.Ext(name), ""} { // without one, what follows the seconds looks like one
		stem := strings.TrimSuffix(name, ext)
		base := len(stem) - len(stampForm) - 1
		if base < 0 || stem[base] != '-' {
			continue
		}
		if at, err := time.Parse(stampForm, stem[base+1:]); err == nil {
			return dir + stem[:base] + ext, at, true
		}
	}
	return path, time.Time{}, false
}

// Backups returns what the file at path was rotated to, the oldest first. One that is there compressed and not, after a crash,
// is told once.
func Backups(path string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("list backups: %w", err)
	}
	byTime := make(map[time.Time]string)
	for _, e := range entries { // the name without the suffix comes before the one with it
		name := filepath.Join(filepath.Dir(path), e.Name())
		of, at, ok := RotatedFrom(name)
		if _, twice := byTime[at]; ok && !twice && of == filepath.Clean(path) && e.Type().IsRegular() {
			byTime[at] = name
		}
	}
	var names []string
	for _, name := range byTime {
		names = append(names, name)
	}
	slices.SortFunc(names, byRotation)
	return names, nil
}

// byRotation compares the names of two backups of a file.
func byRotation(a, b string) int {
	_, at, _ := RotatedFrom(a)
	_, bt, _ := RotatedFrom(b)
	return at.Compare(bt)
}
