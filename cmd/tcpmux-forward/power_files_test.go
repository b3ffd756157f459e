package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"tcpmux/daemon/delivery"
	"tcpmux/daemon/record"
	"tcpmux/daemon/recordfile"
)

// loseRecords leaves of the record files what was synced, and of the rest as much as chance wants,
// perhaps with zero bytes behind it; and of the state any version that ever was on disk, or none.
func (p *powerTrial) loseRecords() {
	p.t.Helper()
	p.disk.await()
	for _, name := range listeners {
		path := filepath.Join(p.dir, name+".log")
		backups, err := recordfile.Backups(path)
		if err != nil {
			p.t.Fatal(err)
		}
		for _, b := range backups {
			packed := b
			packed.Packed = true
			if _, err := os.Stat(packed.Path()); err == nil || b.Packed {
				continue // compression has synced it
			}
			p.loseEnd(b.Path())
		}
		p.loseEnd(path)
		if info, err := os.Stat(path); err == nil && info.Size() == 0 && p.rnd.IntN(2) == 0 {
			p.loseName(path, backups)
		}
	}
	p.loseState()
}

// loseEnd takes from a file some of what was not synced. The daemon may have cut off what was no
// whole record of what was.
func (p *powerTrial) loseEnd(path string) {
	p.t.Helper()
	f, size, _, err := fileOf(path)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	if err != nil {
		p.t.Fatal(err)
	}
	least := min(p.disk.synced(f), size)
	left := least
	switch p.rnd.IntN(4) {
	case 0:
		left += p.rnd.Int64N(size - least + 1)
	case 1:
		left = size
	}
	if left == size {
		return
	}
	p.cut++
	if left == 0 {
		p.emptied++
	}
	before := recordsOf(p.t, path)
	err = os.Truncate(path, left)
	if p.rnd.IntN(2) == 0 {
		err = errors.Join(err, os.Truncate(path, left+p.rnd.Int64N(size-left+1)))
	}
	if err != nil {
		p.t.Fatal(err)
	}
	for _, line := range before[len(recordsOf(p.t, path)):] {
		p.lost[line] = true
	}
}

// loseName removes a new file of which nothing is on disk, and perhaps undoes the rotation before
// it.
func (p *powerTrial) loseName(path string, backups []recordfile.Backup) {
	p.t.Helper()
	err := os.Remove(path)
	if n := len(backups); n > 0 && !backups[n-1].Packed && p.rnd.IntN(2) == 0 {
		err = errors.Join(err, os.Rename(backups[n-1].Path(), path))
		p.unrotated++
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// loseState leaves the newest state file, one that was there before, or none.
func (p *powerTrial) loseState() {
	p.t.Helper()
	saved, path := p.disk.saved(), delivery.Path(p.state)
	switch n := p.rnd.IntN(4); {
	case n == 0:
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			p.t.Fatal(err)
		}
	case n == 1 && len(saved) > 0:
		put(p.t, path, saved[p.rnd.IntN(len(saved))])
	case n == 2 && len(saved) > 0:
		put(p.t, path, saved[len(saved)-1])
	}
}

// survivors returns a writer that has written what was not lost.
func (p *powerTrial) survivors() *killWriter {
	w := &killWriter{}
	for _, lines := range p.written {
		w.written = append(w.written, slices.DeleteFunc(lines, func(line string) bool { return p.lost[line] }))
	}
	return w
}

// recordsOf returns the records that are in a file.
func recordsOf(t *testing.T, path string) (lines []string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err == nil && filepath.Ext(path) == ".gz" {
		var z *gzip.Reader
		if z, err = gzip.NewReader(bytes.NewReader(text)); err == nil {
			text, err = io.ReadAll(z)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	parser := record.NewParser(record.JSON)
	for line := range bytes.Lines(text) {
		line, whole := bytes.CutSuffix(line, []byte("\n"))
		if i := bytes.LastIndexByte(line, 0); i >= 0 {
			line = line[i+1:] // what was never written reads as zero bytes
		}
		if _, err := parser.Parse(line); err == nil && whole {
			lines = append(lines, string(line))
		}
	}
	return lines
}
