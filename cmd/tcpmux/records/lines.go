package records

import (
	"bufio"
	"bytes"
	"io"
	"time"
)

// maxLine is longer than any record: the longest message, with each byte escaped, and what
// surrounds it.
const maxLine = 6*16<<20 + 1<<20

// How long to wait for the rest of a line that is being written.
const (
	lingerStep  = 20 * time.Millisecond
	lingerTries = 25
)

// piece is a line of a file, or what is left of one.
type piece struct {
	text  []byte // without the line end; valid until the next one
	line  int    // its number, from 1
	ended bool   // a line end came
	torn  bool   // the file came to its end instead
	nuls  int64  // how many NUL bytes stand here, in place of text: no record has any
	long  bool   // it is longer than any record; text is its head
}

// lines cuts what r holds into lines. It keeps one line in memory, and at most maxLine bytes.
type lines struct {
	r    *bufio.Reader
	buf  []byte
	line int
	most int  // how much of a line is kept
	grow bool // the file may be written to at this moment
}

func newLines(r io.Reader, grow bool) *lines {
	return &lines{r: bufio.NewReaderSize(r, 256<<10), line: 1, most: maxLine, grow: grow}
}

// next returns the next piece, or io.EOF, or the error of reading.
func (l *lines) next() (piece, error) {
	p := piece{line: l.line}
	l.buf = l.buf[:0]
	for {
		b, err := l.peek(len(l.buf) > 0)
		switch {
		case len(b) == 0 && (err != io.EOF || len(l.buf) == 0):
			return p, err
		case len(b) == 0:
			p.torn = true
			return p, nil
		case b[0] == 0 && len(l.buf) > 0:
			return p, nil
		case b[0] == 0:
			p.nuls = l.hole()
			return p, nil
		}
		n := len(b)
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			n, p.ended = i, true
		}
		if i := bytes.IndexByte(b[:n], 0); i >= 0 {
			n, p.ended = i, false
		}
		p.text = b[:n]
		if len(l.buf) > 0 || !p.ended { // most come in one, and need no copy
			p.long = p.long || len(l.buf)+n > l.most
			l.buf = append(l.buf, b[:min(n, l.most-len(l.buf))]...)
			p.text = l.buf
		}
		if p.ended {
			l.line++
			n++
		}
		_, _ = l.r.Discard(n) // they are buffered
		if p.ended {
			return p, nil
		}
	}
}

// peek returns what is buffered, at least one byte, or an error. Within a line that may be under
// way it waits for more.
func (l *lines) peek(within bool) ([]byte, error) {
	for try := 0; ; try++ {
		_, err := l.r.Peek(1)
		if n := l.r.Buffered(); n > 0 {
			return l.r.Peek(n)
		}
		if err != io.EOF || !within || !l.grow || try == lingerTries {
			return nil, err
		}
		time.Sleep(lingerStep)
	}
}

// hole counts the NUL bytes at this place.
func (l *lines) hole() (nuls int64) {
	for {
		b, _ := l.peek(false) // an error comes again
		n := len(b) - len(bytes.TrimLeft(b, "\x00"))
		if n == 0 {
			return nuls
		}
		nuls += int64(n)
		_, _ = l.r.Discard(n) // they are buffered
	}
}
