package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"tcpmux/daemon/recordfile"
)

// listing is the files of a path at one moment.
type listing struct {
	// own are those that the daemon has rotated, the oldest first, and the path itself, if it
	// is there.
	own []entry
	// foreign returns those that another program has rotated or copied, such as logrotate.
	foreign func() []entry
}

// find returns the index of the file with a mark; -1 if none has it.
func find(files []entry, mark recordfile.Mark) int {
	return slices.IndexFunc(files, func(e entry) bool { return e.mark == mark })
}

// from returns the files from the one with a mark on. There are none if none has it. The error
// tells why that cannot be known.
func (ls listing) from(mark recordfile.Mark) ([]entry, error) {
	foreign := ls.foreign()
	if i := find(ls.own, mark); i >= 0 {
		return append(ls.own[i:i+1:i+1], ls.merge(ls.own[i+1:], foreign, ls.own[i])...), nil
	}
	if i := find(foreign, mark); i >= 0 {
		behind := slices.IndexFunc(ls.own, func(e entry) bool { return !e.rotated || e.mark != "" && e.compare(foreign[i]) >= 0 })
		if behind < 0 {
			behind = len(ls.own)
		}
		return append(foreign[i:i+1:i+1], ls.merge(ls.own[behind:], foreign, foreign[i])...), nil
	}
	for _, e := range ls.own {
		if e.err != nil {
			return nil, e.err
		}
	}
	for _, e := range foreign {
		if errors.Is(e.err, fs.ErrPermission) {
			return nil, e.err
		}
	}
	return nil, nil
}

// merge returns some of the path's own files, and between them those of the foreign files that
// follow f and are no copies. The path itself stays last.
func (ls listing) merge(own, foreign []entry, f entry) []entry {
	files := slices.Clone(own)
	for _, e := range foreign {
		if e.mark == "" || e.mark == f.mark || e.compare(f) < 0 || find(ls.own, e.mark) >= 0 || find(files, e.mark) >= 0 {
			continue
		}
		i := slices.IndexFunc(files, func(o entry) bool {
			return !o.rotated && find(ls.own, o.mark) >= 0 || o.mark != "" && o.compare(e) > 0
		})
		if i < 0 {
			i = len(files)
		}
		files = slices.Insert(files, i, e)
	}
	return files
}

// unseen returns the files whose marks are not among those given. They follow a file that is not
// listed any more.
func (ls listing) unseen(seen map[recordfile.Mark]bool, gone entry) []entry {
	return slices.DeleteFunc(ls.merge(ls.own, ls.foreign(), gone), func(e entry) bool { return seen[e.mark] })
}

// first returns the first of the files that has a first line. The error tells if one before it
// cannot be read.
func first(files []entry) (entry, error) {
	for _, e := range files {
		if e.err != nil || e.mark != "" {
			return e, e.err
		}
	}
	return entry{}, nil
}

// list returns the files of a path as of one moment, even if they are rotated or compressed
// meanwhile.
func (c *catalog) list(path string) (listing, error) {
	for range listTries {
		before := at(path)
		one, err := readDir(filepath.Dir(path))
		if err != nil {
			return listing{}, err
		}
		// Compression may have moved a file from where the directory was not read yet to
		// where it was read. Then the second reading has it.
		two, err := readDir(filepath.Dir(path))
		if err != nil {
			return listing{}, err
		}
		ls := c.of(path, two)
		if before == at(path) && slices.EqualFunc(one.rotated[path], two.rotated[path], same) {
			return ls, nil
		}
	}
	return listing{}, fmt.Errorf("list the files of %q: they change all the time", path)
}

const listTries = 20

// of returns the files of a path that a directory has.
func (c *catalog) of(path string, d *directory) listing {
	var ls listing
	marks := make(map[recordfile.Mark]bool)
	add := func(e entry) {
		if e.mark == "" || !marks[e.mark] { // else it is a copy
			marks[e.mark] = true
			ls.own = append(ls.own, e)
		}
	}
	for _, b := range d.rotated[path] {
		if e := c.rotated(b); !errors.Is(e.err, fs.ErrNotExist) {
			add(e)
		}
	}
	if e := c.entry(path); !errors.Is(e.err, fs.ErrNotExist) {
		add(e)
	}
	ls.foreign = func() []entry { return c.foreign(path, d) }
	return ls
}

// foreign returns the files of a directory whose names continue that of a path, those first that
// were written first.
func (c *catalog) foreign(path string, d *directory) (files []entry) {
	base := filepath.Base(path)
	for _, name := range d.others {
		rest, ok := strings.CutPrefix(name, base)
		full := filepath.Join(filepath.Dir(path), name)
		switch {
		case !ok || rest == "" || isLetterOrDigit(rest[0]) || strings.HasSuffix(name, ".tmp") || c.paths[full]:
		case strings.HasSuffix(name, ".gz") && slices.Contains(d.others, strings.TrimSuffix(name, ".gz")):
			// It is being compressed, or a crash has left both.
		default:
			e := c.entry(full)
			e.number = numberIn(rest)
			files = append(files, e)
		}
	}
	slices.SortStableFunc(files, entry.compare)
	return files
}

// numberIn returns one more than the number in what follows the name of a record file, such as
// ".1.gz"; 0 if there is none. More digits than three are a date.
func numberIn(rest string) int {
	digits, ok := strings.CutPrefix(strings.TrimSuffix(rest, ".gz"), ".")
	n, err := strconv.ParseUint(digits, 10, 32)
	if !ok || err != nil || len(digits) > 3 {
		return 0
	}
	return int(n) + 1
}

func isLetterOrDigit(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}
