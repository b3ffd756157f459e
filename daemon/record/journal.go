package record

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	journalMagic   = 0x0a4a_4d504354 // "TCPMJ\n"
	journalVersion = 1
	// journalHead is where the first half begins.
	journalHead = 4096
	// halfSize is how large a half can become: the longest batch there is, one record of 16 MiB with each byte escaped as six behind
	// maxGather. What is not used takes no memory.
	halfSize = 128 << 20
	// journalStep is by how much a half grows.
	journalStep = 64 << 10
)

// Journal keeps, in a file in memory that outlives the process, the lines that a sink has taken and that may not be in the record
// file yet. It promises that what a sink has taken is written exactly once, whenever the process is killed: the next one completes
// what the file lacks. It does not outlive the machine.
//
// The file has two halves: one gathers lines while those of the other are written. Positions count the bytes of all lines that were
// ever taken; they go on from process to process. Numbers are in the machine's byte order, as the file does not leave it.
//
// A sink and its file use it from one goroutine at a time. Those of its methods that they call do nothing on a nil Journal.
type Journal struct {
	fd      int
	mem     []byte
	writing int    // the half that is written
	stale   bool   // what is not written cannot be
	spilled bool   // what is gathered has found no room, and is on the heap
	room    [2]int // how much of each half there is memory for
}

// journalHeader is the beginning of the file. Its fields are written one by one, as a process may be killed between any two.
type journalHeader struct {
	magic, version uint64
	halves         [2]journalHalf
	write          writeMark
}

// journalHalf is one of the two.
type journalHalf struct {
	base atomic.Int64 // the position at which it begins
	size atomic.Int64 // bytes of lines in it
	done atomic.Int64 // of these, in the file
}

// writeMark is where the write(2) that is under way, or was the last one, began: the file's device, inode and size, and the position.
// It is under way when no more is done than that position.
type writeMark struct{ device, inode, size, at atomic.Int64 }

// NewJournal makes an empty journal.
func NewJournal() (*Journal, error) {
	fd, err := unix.MemfdCreate("tcpmux-journal", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	j := &Journal{fd: fd}
	if err := j.create(); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return j, nil
}

func (j *Journal) create() error {
	if err := unix.Ftruncate(j.fd, journalHead+2*halfSize); err != nil {
		return os.NewSyscallError("ftruncate", err)
	}
	// A file that another holder of it could shorten would be a trap (mmap(2), SIGBUS).
	if _, err := unix.FcntlInt(uintptr(j.fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	if err := j.mapped(); err != nil {
		return err
	}
	h := j.header()
	h.magic, h.version = journalMagic, journalVersion
	return nil
}

// errJournal reports that a file is no journal of ours, or cannot be trusted.
var errJournal = errors.New("the journal is damaged, or of another version")

// OpenJournal takes over the journal of another process; the descriptor is the Journal's from now on.
func OpenJournal(fd int) (*Journal, error) {
	j := &Journal{fd: fd}
	if err := j.open(); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return j, nil
}

func (j *Journal) open() error {
	seals, err := unix.FcntlInt(uintptr(j.fd), unix.F_GET_SEALS, 0)
	if err != nil || seals&unix.F_SEAL_SHRINK == 0 {
		return errJournal
	}
	var st unix.Stat_t
	if err := unix.Fstat(j.fd, &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if st.Size != journalHead+2*halfSize {
		return errJournal
	}
	if err := j.mapped(); err != nil {
		return err
	}
	if !j.sound() {
		_ = unix.Munmap(j.mem) // it is not ours
		return errJournal
	}
	return nil
}

// sound reports whether the header can be trusted.
func (j *Journal) sound() bool {
	h := j.header()
	if h.magic != journalMagic || h.version != journalVersion {
		return false
	}
	for i := range h.halves {
		size, done := h.halves[i].size.Load(), h.halves[i].done.Load()
		if h.halves[i].base.Load() < 0 || size < 0 || size > halfSize || done < 0 {
			return false
		}
		j.room[i] = int(size)
	}
	return true
}

func (j *Journal) mapped() (err error) {
	j.mem, err = unix.Mmap(j.fd, 0, journalHead+2*halfSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	return os.NewSyscallError("mmap", err)
}

func (j *Journal) header() *journalHeader { return (*journalHeader)(unsafe.Pointer(&j.mem[0])) }

// half is the memory of one.
func (j *Journal) half(i int) []byte {
	start := journalHead + i*halfSize
	return j.mem[start : start+halfSize : start+halfSize]
}

// FD is the file's descriptor, for whoever is to keep it. It stays the Journal's.
func (j *Journal) FD() int { return j.fd }

// Close lets go of the file, which stays while somebody else holds it. No sink may use it any longer.
func (j *Journal) Close() error {
	return errors.Join(unix.Munmap(j.mem), unix.Close(j.fd))
}

// end is the position behind all lines that were taken.
func (j *Journal) end() (at int64) {
	h := j.header()
	for i := range h.halves {
		at = max(at, h.halves[i].base.Load()+h.halves[i].size.Load())
	}
	return at
}

// unwritten are the halves that hold lines which are not in the file, the older one first.
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

// rest are the lines of a half that are not in the file.
func (j *Journal) rest(i int) []byte {
	h := &j.header().halves[i]
	return j.half(i)[min(h.done.Load(), h.size.Load()):h.size.Load()]
}

// Settle finds out how much of what another process was writing is in the record file at path, which is open by now and ends with a
// line end. It returns the position up to which lines are in the file, or will be: the sink that keeps the journal writes the rest. Where
// records have another format by now that could not be; then the sink forgets it.
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

// forget has the journal hold no lines that are not in the file, if Settle has found that they cannot be written.
func (j *Journal) forget() {
	if !j.stale {
		return
	}
	for _, i := range j.unwritten() {
		h := &j.header().halves[i]
		h.done.Store(h.size.Load())
	}
}

// found returns how many bytes of lines, of which the writing began at m, are in the file, as whole lines. A file that is somewhere
// else by now, or does not go on with them, has none.
func (j *Journal) found(path string, m *writeMark, lines []byte) int {
	paths := []string{path}
	backups, _ := Backups(path) // without the directory the file is not there either
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

// identity are the device and the inode of a file; zeros when there is none.
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

// common returns how many bytes at the head of lines stand in the file from an offset on.
func common(path string, offset int64, lines []byte) (n int) {
	f, err := os.Open(path)
	if err != nil {
		return 0 // then lines may be there twice, but none is missing
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

// begin returns the empty buffer of a half that gathers from now on.
func (j *Journal) begin(i int) []byte {
	h, end := &j.header().halves[i], j.end()
	h.size.Store(0) // first: what is no more there is not written again
	h.done.Store(0)
	h.base.Store(end)
	j.spilled = false
	return j.half(i)[:0:j.room[i]]
}

// grow returns a half's buffer with room for n bytes more, as long as there is memory for it: else append moves it to the heap, and
// what does not fit is not kept.
func (j *Journal) grow(i int, buf []byte, n int) []byte {
	if j == nil || j.spilled || cap(buf)-len(buf) >= n {
		return buf
	}
	room := (len(buf) + n + journalStep - 1) / journalStep * journalStep
	if room > halfSize || j.allocate(i, room) != nil {
		j.spilled = true
		return buf
	}
	j.room[i] = room
	return j.half(i)[:len(buf):room]
}

// allocate has memory there for the head of a half: without, using it could end the process (mmap(2), SIGBUS).
func (j *Journal) allocate(i, room int) error {
	err := error(unix.EINTR)
	for err == unix.EINTR {
		err = unix.Fallocate(j.fd, unix.FALLOC_FL_KEEP_SIZE, int64(journalHead+i*halfSize), int64(room))
	}
	return err
}

// position is that of the end of what is gathered in a half, n bytes; 0 when it is not kept.
func (j *Journal) position(i, n int) int64 {
	if j == nil || j.spilled {
		return 0
	}
	return j.header().halves[i].base.Load() + int64(n)
}

// take notes that a half holds n bytes.
func (j *Journal) take(i, n int) {
	if j != nil && !j.spilled {
		j.header().halves[i].size.Store(int64(n))
	}
}

// flush notes that what a half holds is written from now on.
func (j *Journal) flush(i int) {
	if j != nil {
		j.writing = i
	}
}

// flushed notes that what the half holds is in the file, and lets go of memory beyond keep bytes.
func (j *Journal) flushed(keep int) {
	if j == nil {
		return
	}
	h := &j.header().halves[j.writing]
	h.done.Store(h.size.Load())
	if j.room[j.writing] > keep {
		j.room[j.writing] = 0
		_ = unix.Fallocate(j.fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, int64(journalHead+j.writing*halfSize), halfSize) // else the next long batch uses it
	}
}

// mark notes that write(2) is about to append what is not done to a file of that size.
func (j *Journal) mark(device, inode, size int64) {
	if j == nil {
		return
	}
	h, m := &j.header().halves[j.writing], &j.header().write
	m.device.Store(device)
	m.inode.Store(inode)
	m.size.Store(size)
	m.at.Store(h.base.Load() + h.done.Load()) // last: now it holds
}

// wrote notes that n bytes more are in the file.
func (j *Journal) wrote(n int) {
	if j != nil {
		j.header().halves[j.writing].done.Add(int64(n))
	}
}

// unwrite notes that the last n bytes which were written are about to be cut off again, back to that size: until they are, they may
// be found there.
func (j *Journal) unwrite(n int, size int64) {
	if j == nil {
		return
	}
	h, m := &j.header().halves[j.writing], &j.header().write
	m.size.Store(size)
	m.at.Store(h.base.Load() + h.done.Load() - int64(n))
	h.done.Add(-int64(n)) // last: now the mark holds
}
