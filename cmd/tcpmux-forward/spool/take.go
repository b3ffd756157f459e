package spool

import (
	"bytes"
	"io"

	"tcpmux/daemon/delivery"
	"tcpmux/daemon/record"
)

const (
	// maxLine is longer than any record: the longest message, with each byte escaped, and what
	// surrounds it.
	maxLine = 6*16<<20 + 1<<20
	// chunk is how much is read at once.
	chunk = 64 << 10
	// longLine is from where on a line is not parsed completely, which would need several times
	// its length.
	longLine = 1 << 20
	// leastArena is the size of a batch's first arena.
	leastArena = 4 * chunk
)

// limits are those of a batch.
type limits struct {
	records int
	bytes   int64
}

// reset empties a batch.
func (b *Batch) reset(most limits) {
	clear(b.Records) // they refer to arenas
	b.Records, b.Bytes, b.Cursor, b.arena = b.Records[:0], 0, nil, b.arena[:0]
	b.release(most)
}

// release releases the arena, which no record is in, if only a long line needed it.
func (b *Batch) release(most limits) {
	if int64(cap(b.arena)) > max(2*leastArena, most.bytes+2*chunk) {
		b.arena = nil
	}
}

// full reports whether n bytes more are too many for a batch that has records.
func (b *Batch) full(n int, most limits) bool {
	return len(b.Records) > 0 && b.Bytes+int64(n) > most.bytes
}

// room makes room behind the arena's bytes from start on, and returns where these are then. Records
// keep the arena that they are in.
func (b *Batch) room(start int, most limits) int {
	if cap(b.arena)-len(b.arena) >= chunk {
		return start
	}
	part := b.arena[start:]
	size := min(2*cap(b.arena), int(min(most.bytes, maxLine)))
	size = max(size, leastArena, 2*len(part)) + chunk
	b.arena = append(make([]byte, 0, size), part...)
	return 0
}

// take adds whole lines of the open file to a batch. It reports whether the batch can take no more.
func (s *Spool) take(l *lane, b *Batch, most limits) (full bool, err error) {
	limit := l.src.limit()
	start, scanned := len(b.arena), 0
	defer func() {
		l.src.hold(b.arena[start:])
		b.arena = b.arena[:start]
	}()
	for !l.over() {
		part := b.arena[start:]
		if i := bytes.IndexByte(part[scanned:], '\n'); i >= 0 {
			n := scanned + i + 1
			if b.full(n, most) {
				s.again = true
				return true, nil
			}
			s.line(l, b, part[:n-1])
			start, scanned = start+n, 0
			if len(b.Records) >= most.records {
				return true, nil
			}
			continue
		}
		scanned = len(part)
		if b.full(len(part)+1, most) {
			s.again = true
			return true, nil
		}
		if len(part) > s.longest {
			b.arena, scanned = b.arena[:start], 0
			if more, err := s.skip(l, part); !more {
				return false, err
			}
			continue
		}
		start = b.room(start, most)
		n, err := l.src.read(b.arena[len(b.arena):cap(b.arena)][:chunk], l.pos.Offset+int64(len(part)))
		b.arena = b.arena[:len(b.arena)+n]
		switch {
		case err == io.EOF:
			l.tried = limit
			if l.src.complete() && scanned > 0 {
				s.torn(l, int64(scanned))
				start = len(b.arena)
			}
			return false, nil
		case err != nil:
			return false, err
		}
	}
	return false, nil
}

// torn passes over the end of a finished file that has no line end.
func (s *Spool) torn(l *lane, n int64) {
	s.fault(l, l.src.name, l.pos.Offset, "the last line has no end")
	l.pos.Offset += n
}

// line adds a line to a batch, or passes over it if it is no record.
func (s *Spool) line(l *lane, b *Batch, line []byte) {
	begin := l.pos.Offset
	l.pos.Offset += int64(len(line)) + 1
	rec, err := s.parse(line)
	if err != nil {
		if i := bytes.LastIndexByte(line, 0); i >= 0 {
			// After a power failure, zero bytes may stand before a record.
			s.fault(l, l.src.name, begin, "there are zero bytes, as a power failure leaves them")
			begin, line = begin+int64(i)+1, line[i+1:]
			if len(line) == 0 {
				return
			}
			rec, err = s.parse(line)
		}
	}
	if err != nil {
		s.fault(l, l.src.name, begin, "the line is no record: "+err.Error())
		return
	}
	rec.Line, rec.End = line[:len(line):len(line)], l.pos
	b.Records = append(b.Records, rec)
	b.Bytes += l.pos.Offset - begin
}

// parse parses a line.
func (s *Spool) parse(line []byte) (Record, error) {
	if len(line) > longLine {
		h, err := s.heads.Parse(line)
		return Record{Kind: h.Kind, Listener: string(h.Listener), Session: string(h.Session), Remote: string(h.Remote),
			Time: h.Time, Offset: h.Offset}, err
	}
	r, err := s.parser.Parse(line)
	if err != nil {
		return Record{}, err
	}
	rec := Record{Kind: r.Kind, Listener: r.Listener, Session: r.Session, Remote: r.Remote, Time: r.Time}
	if r.Kind == record.KindMessage {
		rec.Offset = r.Offset
	}
	return rec, nil
}

// skip passes over a line that is longer than any record, if its end is there, and reports whether
// it is. Of one that begins with a hole, the record behind the hole stays, if the file can be read
// again. part is how the line begins.
func (s *Spool) skip(l *lane, part []byte) (bool, error) {
	at, behind := l.pos.Offset, int64(-1) // behind the last zero byte
	limit := l.src.limit()
	for b := part; ; {
		end := bytes.IndexByte(b, '\n')
		if end >= 0 {
			b = b[:end]
		}
		if i := bytes.LastIndexByte(b, 0); i >= 0 {
			behind = at + int64(i) + 1
		}
		at += int64(len(b))
		if end >= 0 {
			return true, s.skipped(l, at, behind)
		}
		n, err := l.src.read(part[:chunk], at)
		switch {
		case err == io.EOF && l.src.complete():
			s.fault(l, l.src.name, l.pos.Offset, tooLong)
			l.pos.Offset = at
			return true, nil
		case err != nil:
			l.tried = limit
			return false, notEOF(err)
		}
		b = part[:n]
	}
}

const tooLong = "the line is longer than any record"

// notEOF returns an error that is not the end of a file.
func notEOF(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

// skipped passes over a line that is too long and has its end at an offset.
func (s *Spool) skipped(l *lane, end, behind int64) error {
	s.fault(l, l.src.name, l.pos.Offset, tooLong)
	l.pos.Offset = end + 1
	if l.src.z != nil { // what follows was read
		return s.reread(l)
	}
	if behind > 0 && end-behind <= int64(s.longest) {
		l.pos.Offset = behind
	}
	return nil
}

// reread has a compressed file be read from the lane's position on.
func (s *Spool) reread(l *lane) (err error) {
	l.src.z, err = newUnpacker(l.src.file)
	return err
}

// fault tells of a place that is no record, unless that was told before.
func (s *Spool) fault(l *lane, file string, offset int64, what string) {
	p := delivery.Position{Key: l.key, Mark: l.pos.Mark, Offset: offset}
	if file != l.srcName() { // the whole of another file
		p.Mark = ""
	}
	if told, ok := s.told[p.Mark]; ok && told >= offset && p.Mark != "" {
		return
	}
	if len(s.told) > 1000 {
		clear(s.told)
	}
	s.told[p.Mark] = offset
	if s.opt.Fault != nil {
		s.opt.Fault(Fault{Path: l.path, File: file, Offset: offset, What: what})
	}
}

// srcName returns the name of the open file.
func (l *lane) srcName() string {
	if l.src == nil {
		return ""
	}
	return l.src.name
}
