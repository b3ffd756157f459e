package sink

import (
	"bytes"
	"io"
	"os"

	"tcpmux/daemon/record"
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

// Unwritten reports whether lines may be missing in the record file that another process was
// writing.
func (j *Journal) Unwritten() bool { return len(j.unwritten()) > 0 }

// rest returns the lines of a half that are not in the record file.
func (j *Journal) rest(i int) []byte {
	h := &j.header().halves[i]
	return j.half(i)[min(h.done.Load(), h.size.Load()):h.size.Load()]
}

// Settle finds out how much another process has written to the record file, which is open now and
// ends with a line end. It returns the position up to which lines are in the file, or will be: the
// sink that keeps the journal writes the rest. If the format of records has changed, the rest
// cannot be written, and the sink forgets it.
//
// find returns the path of the file that had the device and the inode, as that of recordfile.Finder
// does, and "" if there is none.
func (j *Journal) Settle(find func(device, inode int64) string, format record.Format) int64 {
	for n, i := range j.unwritten() {
		h := &j.header().halves[i]
		if m := &j.header().write; n == 0 && m.at.Load() == h.base.Load()+h.done.Load() {
			h.done.Add(int64(m.found(find, j.rest(i))))
		}
		if rest := j.rest(i); len(rest) > 0 && (rest[0] == '{') != (format == record.JSON) {
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

// found returns how many bytes of lines, which were being written at m, are in the file, as whole
// lines.
func (m *writeMark) found(find func(device, inode int64) string, lines []byte) int {
	path := find(m.device.Load(), m.inode.Load())
	if path == "" {
		return 0
	}
	return bytes.LastIndexByte(lines[:common(path, m.size.Load(), lines)], '\n') + 1
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
