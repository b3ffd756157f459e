package records

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"tcpmux/daemon/record"
)

// place is a line of a file, or the whole file if line is 0.
type place struct {
	file string
	line int
}

// String returns FILE:LINE. It is one line, whatever the name of the file.
func (p place) String() string {
	name := strconv.Quote(p.file)
	if strings.Contains(name, p.file) { // nothing had to be escaped
		name = p.file
	}
	if p.line == 0 {
		return name
	}
	return name + ":" + strconv.Itoa(p.line)
}

// visitor is called with what files contain, in order.
type visitor interface {
	// file is called before the first record of a file, with its format.
	file(name string, f record.Format)
	// record is called with each record. It is valid until the call returns.
	record(at place, r *record.Record)
	// fault is called with what is not a record.
	fault(at place, what string)
}

// walk reads all files. It ends early when the context is done, or when a file cannot be read.
func (fs *Files) walk(ctx context.Context, v visitor) error {
	for _, f := range fs.list {
		w := walker{ctx: ctx, visitor: v, name: f.name}
		if err := w.walk(fs, f); err != nil {
			return err
		}
	}
	return nil
}

// walker reads one file.
type walker struct {
	visitor
	ctx     context.Context
	name    string
	format  record.Format
	parser  *record.Parser // nil before the first line
	foreign *record.Parser // of the other format
	told    bool           // the format is certain, as there was a record
	holed   bool           // a hole stands before the piece
}

func (w *walker) walk(files *Files, f *file) error {
	in, packed, err := files.reader(w.ctx, f)
	var l *lines
	for at := 0; err == nil; at++ {
		if l == nil {
			l = newLines(in, f.grows(packed))
		}
		var p piece
		if p, err = l.next(); err == nil {
			w.piece(p)
		}
		if at%1024 == 0 && w.ctx.Err() != nil {
			return context.Cause(w.ctx)
		}
	}
	switch foreign, isForeign := errors.AsType[foreignError](err); {
	case w.ctx.Err() != nil:
		return context.Cause(w.ctx)
	case err == io.EOF && l != nil:
		return nil
	case isForeign:
		w.fault(place{file: w.name}, foreign.Error())
	case !packed || isOf[*fs.PathError](err):
		return fmt.Errorf("read record file %q: %w", f.name, reason(err))
	case errors.Is(err, io.ErrUnexpectedEOF), err == io.EOF:
		w.fault(w.at(l), "the compressed file is cut off here")
	default:
		w.fault(w.at(l), "the compressed file is damaged here: "+err.Error())
	}
	return nil
}

func isOf[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// at returns the place of the next line.
func (w *walker) at(l *lines) place {
	if l == nil {
		return place{file: w.name}
	}
	return place{w.name, l.line}
}

// piece handles what is on a line.
func (w *walker) piece(p piece) {
	at := place{w.name, p.line}
	holed := w.holed
	w.holed = p.nuls > 0
	switch {
	case p.nuls > 0:
		w.fault(at, fmt.Sprintf("a hole of %d NUL bytes, where no record has any", p.nuls))
	case p.long:
		w.fault(at, "the line is longer than any record")
	case p.torn:
		w.fault(at, fmt.Sprintf("the last line is torn: its end is missing behind %d bytes, as a crash or a full disk leaves it", len(p.text)))
	case !p.ended:
		w.fault(at, "the line is cut off by the hole behind it")
	case len(p.text) == 0 && holed: // what is left of the line that the hole has taken
	default:
		w.whole(at, p.text)
	}
}

// mostTries is how often the rest of a line that is not a record is tried as a whole. If its last
// byte is bad, each try reads all of it.
const mostTries = 16

// whole handles a whole line. A line that is not a record may be several, whose line ends were lost
// together with what was between them. What looks like the beginning of a record may also be data
// that a client sent; so the rest of the line is tried first.
func (w *walker) whole(at place, text []byte) {
	if w.parser == nil {
		w.guess(text)
	}
	for tries := 0; w.ctx.Err() == nil; tries++ {
		tried := tries < mostTries
		if tried && w.parse(at, text) == nil {
			return
		}
		next := w.beginning(text)
		if next < 0 {
			if tried || w.parse(at, text) != nil {
				w.fault(at, w.complaint(text))
			}
			return
		}
		if err := w.parse(at, text[:next]); err == nil {
			w.fault(at, fmt.Sprintf("two records are glued together: a line end is missing before %s", quote(text[next:])))
		} else {
			w.fault(at, fmt.Sprintf("bytes are missing: a piece of a record is glued to the record behind it (%v)", err))
		}
		text = text[next:]
	}
}

// guess determines the format of the file from its first line.
func (w *walker) guess(text []byte) {
	w.format = record.Text
	if bytes.HasPrefix(text, []byte("{")) {
		w.format = record.JSON
	}
	w.parser, w.foreign = record.NewParser(w.format), record.NewParser(other(w.format))
}

func other(f record.Format) record.Format {
	if f == record.Text {
		return record.JSON
	}
	return record.Text
}

// parse passes on text, which must be a record. The first record makes the format of the file
// certain.
func (w *walker) parse(at place, text []byte) error {
	r, err := w.parser.Parse(text)
	if err != nil && !w.told {
		if s, wrong := w.foreign.Parse(text); wrong == nil {
			r, err = s, nil
			w.format, w.parser, w.foreign = other(w.format), w.foreign, w.parser
		}
	}
	if err != nil {
		return err
	}
	if !w.told {
		w.told = true
		w.file(w.name, w.format)
	}
	w.record(at, r)
	return nil
}

// beginning returns where in text, after its first byte, another record seems to begin; -1 if
// nowhere.
func (w *walker) beginning(text []byte) int {
	if len(text) < 2 {
		return -1
	}
	next := -1
	if w.format == record.JSON {
		next = bytes.Index(text[1:], []byte(`{"time":"`))
	} else {
		next = textBeginning(text[1:])
	}
	if next < 0 {
		return -1
	}
	return next + 1
}

// textBeginning returns where in b a text record seems to begin: a time and what follows it.
func textBeginning(b []byte) int {
	const form = "0000-00-00T00:00:00.000000" // 0 stands for any digit
	for at := 0; ; at++ {
		z := bytes.IndexByte(b[at:], 'Z')
		if z < 0 {
			return -1
		}
		at += z
		if from := at - len(form); from >= 0 && hasForm(b[from:at], form) && announces(b[at+1:]) {
			return from
		}
	}
}

// hasForm reports whether b has digits where form, which is as long, has 0, and else the same
// bytes.
func hasForm(b []byte, form string) bool {
	for i, c := range b {
		if form[i] == '0' && c >= '0' && c <= '9' {
			continue
		}
		if c != form[i] || form[i] == '0' {
			return false
		}
	}
	return true
}

// announces reports whether b continues as a text record does after its time.
func announces(b []byte) bool {
	for _, s := range []string{" from ", " open from ", " close from "} {
		if bytes.HasPrefix(b, []byte(s)) {
			return true
		}
	}
	return false
}

// complaint returns why text is not a record.
func (w *walker) complaint(text []byte) string {
	if len(text) == 0 {
		return "an empty line, which is no record"
	}
	if _, wrong := w.foreign.Parse(text); wrong == nil {
		return "a record of another format than those before it"
	}
	_, err := w.parser.Parse(text)
	return "no record: " + err.Error()
}

// quote returns the first bytes of b, safe to print.
func quote(b []byte) string { return strconv.QuoteToASCII(string(b[:min(len(b), 40)])) }
