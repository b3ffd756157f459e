package sink

import (
	"errors"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	journalMagic   = 0x0a4a_4d504354 // "TCPMJ\n"
	journalVersion = 1
	// journalHead is where the first half begins.
	journalHead = 4096
	// halfSize is the maximum size of a half. It is enough for the longest batch: maxGather,
	// and one record of 16 MiB with each byte escaped as six. What is not used takes no memory.
	halfSize = 128 << 20
	// journalStep is the step by which a half grows.
	journalStep = 64 << 10
)

// Journal keeps the lines that a sink has taken and that may not be in the record file yet. It is a
// file in memory that survives the process, but not the machine. Lines that a sink has taken are
// written exactly once, whenever the process is killed: the next process writes what the record
// file lacks.
//
// The file has two halves: lines are gathered in one half while those in the other half are
// written. Positions count the bytes of all lines that were ever taken, over all processes. Numbers
// are in the byte order of the machine, which the file does not leave.
//
// A sink and its file use the journal from one goroutine at a time. The methods that they call do
// nothing on a nil Journal.
type Journal struct {
	fd      int
	mem     []byte
	writing int    // the half that is being written
	stale   bool   // lines that are not written cannot be written any more
	spilled bool   // there was no room for the gathered lines: they are on the heap
	room    [2]int // the allocated size of each half
}

// journalHeader is the beginning of the file. The process may be killed between any two writes, so
// each field is valid on its own.
type journalHeader struct {
	magic, version uint64
	halves         [2]journalHalf
	write          writeMark
}

// journalHalf describes a half.
type journalHalf struct {
	base atomic.Int64 // the position at which it begins
	size atomic.Int64 // bytes of lines in it
	done atomic.Int64 // how many of these bytes are in the record file
}

// writeMark is where the current or last write(2) began: the device, inode and size of the file,
// and the position. The write is not finished while done does not go beyond that position.
type writeMark struct{ device, inode, size, at atomic.Int64 }

// NewJournal makes an empty journal. The caller closes it.
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
	// If another process that has the file could shorten it, access would crash (mmap(2),
	// SIGBUS).
	const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(uintptr(j.fd), unix.F_ADD_SEALS, seals); err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	if err := j.mapped(); err != nil {
		return err
	}
	h := j.header()
	h.magic, h.version = journalMagic, journalVersion
	return nil
}

// errJournal reports that a file is not a journal, or cannot be trusted.
var errJournal = errors.New("the journal is damaged, or of another version")

// OpenJournal takes over the journal of another process, and closes it after an error. From now on
// the Journal owns the descriptor.
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
		_ = unix.Munmap(j.mem) // nothing was changed
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

// half returns the memory of a half.
func (j *Journal) half(i int) []byte {
	start := journalHead + i*halfSize
	return j.mem[start : start+halfSize : start+halfSize]
}

// FD returns the file's descriptor, so that another process can be given a duplicate. The Journal
// still owns it.
func (j *Journal) FD() int { return j.fd }

// Close closes the file. It survives while another process has it. No sink may use the journal
// afterwards.
func (j *Journal) Close() error {
	return errors.Join(unix.Munmap(j.mem), unix.Close(j.fd))
}

// end returns the position after all lines that were taken.
func (j *Journal) end() (at int64) {
	h := j.header()
	for i := range h.halves {
		at = max(at, h.halves[i].base.Load()+h.halves[i].size.Load())
	}
	return at
}

// begin makes a half the one in which lines are gathered, and returns its empty buffer.
func (j *Journal) begin(i int) []byte {
	h, end := &j.header().halves[i], j.end()
	h.size.Store(0) // first, so that nothing is written again
	h.done.Store(0)
	h.base.Store(end)
	j.spilled = false
	return j.half(i)[:0:j.room[i]]
}

// gathered returns the lines of a half, as a buffer in which others can be gathered after them.
func (j *Journal) gathered(i int) []byte {
	return j.half(i)[:j.header().halves[i].size.Load():j.room[i]]
}

// grow returns the buffer of a half with room for n more bytes. If there is no memory, it returns
// the buffer as it is: then append moves the lines to the heap, and they are not kept.
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

// allocate allocates memory for the first room bytes of a half. Without that, access could crash
// the process (mmap(2), SIGBUS).
func (j *Journal) allocate(i, room int) error {
	err := error(unix.EINTR)
	for err == unix.EINTR {
		err = unix.Fallocate(j.fd, unix.FALLOC_FL_KEEP_SIZE, int64(journalHead+i*halfSize), int64(room))
	}
	return err
}

// position returns the position of byte n of a half; 0 if the gathered lines are not kept.
func (j *Journal) position(i, n int) int64 {
	if j == nil || j.spilled {
		return 0
	}
	return j.header().halves[i].base.Load() + int64(n)
}

// take notes that a half has n bytes.
func (j *Journal) take(i, n int) {
	if j != nil && !j.spilled {
		j.header().halves[i].size.Store(int64(n))
	}
}

// flush notes that the lines of a half are being written.
func (j *Journal) flush(i int) {
	if j != nil {
		j.writing = i
	}
}

// flushed notes that the lines of the half are in the record file. It frees the memory of the half
// if it is more than keep bytes.
func (j *Journal) flushed(keep int) {
	if j == nil {
		return
	}
	h := &j.header().halves[j.writing]
	h.done.Store(h.size.Load())
	if j.room[j.writing] > keep {
		j.room[j.writing] = 0
		const mode = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
		start := int64(journalHead + j.writing*halfSize)
		// Else the next long batch uses the memory.
		_ = unix.Fallocate(j.fd, mode, start, halfSize)
	}
}

// Mark notes that write(2) is about to append lines to a file of the given size.
func (j *Journal) Mark(device, inode, size int64) {
	if j == nil {
		return
	}
	h, m := &j.header().halves[j.writing], &j.header().write
	m.device.Store(device)
	m.inode.Store(inode)
	m.size.Store(size)
	m.at.Store(h.base.Load() + h.done.Load()) // last: it makes the mark valid
}

// Wrote notes that n more bytes are in the record file.
func (j *Journal) Wrote(n int) {
	if j != nil {
		j.header().halves[j.writing].done.Add(int64(n))
	}
}

// Unwrite notes that the last n bytes are about to be truncated, back to the given size. Until then
// they may be found in the file.
func (j *Journal) Unwrite(n int, size int64) {
	if j == nil {
		return
	}
	h, m := &j.header().halves[j.writing], &j.header().write
	m.size.Store(size)
	m.at.Store(h.base.Load() + h.done.Load() - int64(n))
	h.done.Add(-int64(n)) // last: it makes the mark valid
}
