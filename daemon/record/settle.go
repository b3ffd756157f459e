package record

import (
	"bytes"
	"io"
	"os"
	"syscall"
)

// unwritten returns the halves with lines that are not in the record file, the older one first.
func (j *Journal) unwritten() (halves []int) {
	h := j.header()
	for i := range h.halves {
		if h.halves[i].done.Load() < h.halves[i].size.Load() {
			halves = append(halves, i)
		}
	}
	if len(halves) == 2 && h.halves[0].base.Load() > h.halves[1].base.Load() {
		halves[0], halves[1] = 1, 0
	}
	return halves
}

// rest returns the lines of a half that are not in the record file.
func (j *Journal) rest(i int) []byte {
	h := &j.header().halves[i]
	return j.half(i)[min(h.done.Load(), h.size.Load()):h.size.Load()]
}

// Settle finds out how much another process has written to the record file at path, which is open
// now and ends with a line end. It returns the position up to which lines are in the file, or will
// be: the sink that keeps the journal writes the rest. If the format of records has changed, the
// rest cannot be written, and the sink forgets it.
func (j *Journal) Settle(path string, format Format) int64 {
	for n, i := range j.unwritten() {
		h := &j.header().halves[i]
		if m := &j.header().write; n == 0 && m.at.Load() == h.base.Load()+h.done.Load() {
			h.done.Add(int64(j.found(path, m, j.rest(i))))
		}
		if rest := j.rest(i); len(rest) > 0 && (rest[0] == '{') != (format == JSON) {
			j.stale = true
			return h.base.Load() + h.done.Load()
		}
	}
	return j.end()
}

// forget removes all lines that are not in the record file, if Settle has found that they cannot be
// written.
func (j *Journal) forget() {
	if !j.stale {
		return
	}
	for _, i := range j.unwritten() {
		h := &j.header().halves[i]
		h.done.Store(h.size.Load())
	}
}

// found returns how many bytes of lines, which were being written at m, are in the record file or
// in one of its backups, as whole lines. It returns 0 if the file does not exist any more, or
// continues otherwise.
func (j *Journal) found(path string, m *writeMark, lines []byte) int {
	paths := []string{path}
	backups, _ := Backups(path) // without the directory the file does not exist either
	for _, b := range backups {
		if !b.Packed {
			paths = append(paths, b.Path())
		}
	}
	for _, p := range paths {
		if device, inode := identity(os.Stat(p)); device == m.device.Load() && inode == m.inode.Load() {
			return bytes.LastIndexByte(lines[:common(p, m.size.Load(), lines)], '\n') + 1
		}
	}
	return 0
}

// identity returns the device and the inode of a file; zeros after an error.
func identity(info os.FileInfo, err error) (device, inode int64) {
	if err != nil {
		return 0, 0
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0
	}
	return int64(st.Dev), int64(st.Ino)
}

// common returns how many bytes at the head of lines are in the file at offset.
func common(path string, offset int64, lines []byte) (n int) {
	f, err := os.Open(path)
	if err != nil {
		return 0 // then lines may be written twice, but none is lost
	}
	defer f.Close() // nothing was written
	in := io.NewSectionReader(f, offset, int64(len(lines)))
	buf := make([]byte, 64<<10)
	for {
		got, err := in.Read(buf)
		for i := range got {
			if buf[i] != lines[n+i] {
				return n + i
			}
		}
		n += got
		if err != nil {
			return n
		}
	}
}
