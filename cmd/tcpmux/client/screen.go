package client

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/term"
)

// prompt is shown before the line being typed, unless the server has begun a line itself. It must
// not be empty: the terminal redraws only when its cursor is not at the left.
const prompt = "> "

// clearRow is written before what the server says. The terminal goes left by as many columns as it
// has counted characters, which is too few where they are wide.
const clearRow = "\r\x1b[K"

var errHungUp = errors.New("the terminal hung up")

// screen is a terminal in raw mode with a line being typed at its foot and what the server says
// above it. A line that the server has not ended becomes the prompt, so a greeting or a question
// without a newline is seen at once.
type screen struct {
	in  io.Reader
	out *column

	// mu is held while keys are worked on and while something is drawn, that is by read except
	// while it waits for a key.
	mu      sync.Mutex
	term    *term.Terminal
	escaper escaper
	partial string // what the server has said since its last newline, as it is shown
	width   int    // columns, 1 or more
	typing  bool   // a line is being typed
	quit    bool   // Ctrl-C was typed
	closed  bool
}

func newScreen(in io.Reader, out io.Writer, width, height int) *screen {
	s := &screen{in: in, out: &column{out: out, left: true}, typing: true}
	s.term = term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{keys{s}, tabs{s.out}}, prompt)
	s.term.AutoCompleteCallback = insertTab
	s.resize(width, height)
	return s
}

// drawAtOnce is how many bytes from the server are drawn before keys are handled.
const drawAtOnce = 1 << 10

// Write shows what the server says.
func (s *screen) Write(p []byte) (n int, err error) {
	for n < len(p) {
		part := p[n:min(len(p), n+drawAtOnce)]
		if err := s.draw(part); err != nil {
			return n, err
		}
		n += len(part)
	}
	return n, nil
}

func (s *screen) draw(part []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.show(string(s.escaper.next(part)))
}

// show draws text, which is escaped, above the line being typed.
func (s *screen) show(text string) error {
	if !s.typing {
		_, err := io.WriteString(s.out, strings.ReplaceAll(text, "\n", "\r\n"))
		return err
	}
	text = s.partial + text
	end := strings.LastIndexByte(text, '\n') + 1
	// A prompt of more rows than the screen has could not be redrawn: whole rows become lines,
	// which looks the same.
	rows, rest := fold(expandTabs(text[end:]), s.width)
	s.setPartial(rest)
	_, err := s.term.Write([]byte(clearRow + text[:end] + rows))
	return err
}

// fold cuts line into rows of width characters, a newline behind each, and what is left, which is
// shorter.
func fold(line string, width int) (rows, rest string) {
	var b strings.Builder
	column, from := 0, 0
	for i := range line {
		if column == width {
			b.WriteString(line[from:i] + "\n")
			column, from = 0, i
		}
		column++
	}
	if column == width {
		b.WriteString(line[from:] + "\n")
		from = len(line)
	}
	return b.String(), line[from:]
}

func (s *screen) setPartial(text string) {
	s.partial = text
	if text == "" {
		text = prompt
	}
	s.term.SetPrompt(text)
}

// expandTabs replaces tabs by spaces, eight columns apart: the terminal counts each character of
// its prompt as a column.
func expandTabs(line string) string {
	var b strings.Builder
	column := 0
	for _, r := range line {
		if r != '\t' {
			b.WriteRune(r)
			column++
			continue
		}
		n := 8 - column%8
		b.WriteString(strings.Repeat(" ", n))
		column += n
	}
	return b.String()
}

// read queues each line typed, until Ctrl-D on an empty line ends them. Then only Ctrl-C is
// listened for, so read returns only with an error, ErrInterrupt for Ctrl-C.
func (s *screen) read(to *lines) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		line, err := s.term.ReadLine()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		s.setPartial("")
		to.add(strings.ReplaceAll(line, tab, "\t") + "\n")
	}
	to.end()
	if err := s.stopTyping(""); err != nil {
		return err
	}
	return discard(keys{s})
}

// discard reads until an error, for which the end counts too: a terminal in raw mode ends by
// hanging up only.
func discard(r io.Reader) error {
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	return errHungUp
}

// stopTyping removes the prompt and draws text above what has been typed.
func (s *screen) stopTyping(text string) error {
	s.typing = false
	s.term.SetPrompt("")
	_, err := s.term.Write([]byte(clearRow + s.partial + text))
	return err
}

// close shows what was held back and the note, a line or nothing, and leaves the cursor at the
// start of a row. It drops keys that are typed later.
func (s *screen) close(note string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	_ = s.show(string(s.escaper.flush())) // the terminal is what an error would be shown on
	if s.typing {
		if s.partial != "" {
			note = "\n" + note
		}
		_ = s.stopTyping(note) // as above
	} else {
		s.out.newRow()
		_ = s.show(note) // as above
	}
	s.out.newRow()
}

// resize sets the size of the terminal. A size of 0 columns is one that nobody has set.
func (s *screen) resize(width, height int) {
	if width <= 0 || height <= 0 {
		width, height = 80, 24
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.width = width
	_ = s.term.SetSize(width, height) // what it fails to draw the next key or line draws again
}

// keys is what is typed. Reading it is the one time that the screen's lock is let go by the
// goroutine that reads.
type keys struct{ s *screen }

// Read ends with ErrInterrupt at Ctrl-C, which the terminal would take for the end of the input.
func (k keys) Read(p []byte) (int, error) {
	if len(p) == 0 {
		// A key sequence without an end fills the terminal's buffer: it would ask for ever.
		return 0, io.ErrShortBuffer
	}
	if k.s.quit {
		// It was read together with a Ctrl-D, at which the terminal stopped reading.
		return 0, ErrInterrupt
	}
	k.s.mu.Unlock()
	n, err := k.s.in.Read(p)
	k.s.mu.Lock()
	if k.s.closed {
		return 0, os.ErrClosed
	}
	if i := bytes.IndexByte(p[:n], 'C'-'@'); i >= 0 {
		k.s.quit = true
		return i, ErrInterrupt
	}
	return n, err
}

// tab represents a tab in the line being typed, where the terminal would count one column for a
// real one and be wrong. It is a noncharacter (Unicode, 23.7), so nobody types it.
const tab = "\ufdd0"

// insertTab is the terminal's callback for keys that it has no use for itself.
func insertTab(line string, pos int, key rune) (string, int, bool) {
	if key != '\t' {
		return "", 0, false
	}
	return line[:pos] + tab + line[pos:], pos + len(tab), true
}

// tabs is where the terminal draws: a tab being typed is shown as a space.
type tabs struct{ out io.Writer }

// Write takes p whole, or nothing as far as its caller is told: out is given other bytes.
func (t tabs) Write(p []byte) (int, error) {
	if _, err := t.out.Write(bytes.ReplaceAll(p, []byte(tab), []byte(" "))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// column is a writer that knows whether the cursor is at the start of a row: after a newline, and
// after clearing a row to its end, which is done from its start only.
type column struct {
	out  io.Writer
	left bool
}

// Write passes p on, and takes it for written even when it is not: the terminal is then of no use.
func (c *column) Write(p []byte) (int, error) {
	if len(p) > 0 {
		c.left = bytes.HasSuffix(p, []byte("\n")) || bytes.HasSuffix(p, []byte("\x1b[K"))
	}
	return c.out.Write(p)
}

// newRow begins a row unless the cursor is at the start of one.
func (c *column) newRow() {
	if !c.left {
		_, _ = io.WriteString(c, "\r\n") // the terminal is what an error would be shown on
	}
}
