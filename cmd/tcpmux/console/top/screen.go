package top

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/term"

	"tcpmux/cmd/internal/text"
)

// Control sequences (ECMA-48, and xterm's private modes).
const (
	enterScreen = "\x1b[?1049h\x1b[?25l" // the alternate screen, no cursor
	leaveScreen = "\x1b[0m\x1b[?25h\x1b[?1049l"
	clearScreen = "\x1b[H\x1b[2J"
)

// screen is a terminal that shows lines. Its methods may be called by several goroutines.
type screen struct {
	in, out *os.File
	painter text.Painter
	mu      sync.Mutex
	saved   *term.State // what to restore; nil: the terminal is as it was
	shown   []line
}

// enter takes the terminal over: raw mode, and the alternate screen.
func (s *screen) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	saved, err := term.MakeRaw(int(s.in.Fd()))
	if err != nil {
		return fmt.Errorf("set terminal to raw mode: %w", err)
	}
	if s.saved == nil { // otherwise only the mode was lost, while the process was stopped
		s.saved = saved
	}
	s.shown = nil
	_, err = s.out.WriteString(enterScreen + clearScreen)
	return err
}

// leave gives the terminal back as it was. It may be called again.
func (s *screen) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.saved == nil {
		return
	}
	_, _ = s.out.WriteString(leaveScreen)     // it fails when the terminal is gone
	_ = term.Restore(int(s.in.Fd()), s.saved) // likewise
	s.saved, s.shown = nil, nil
}

// guard is deferred by goroutines, whose panics would end the process before anybody else restores
// the terminal.
func (s *screen) guard() {
	if p := recover(); p != nil {
		s.leave()
		panic(p)
	}
}

// forget has the next draw write all lines.
func (s *screen) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shown = nil
}

// size returns the size of the terminal, or that of most terminals if it is not known.
func (s *screen) size() (width, height int) {
	width, height, err := term.GetSize(int(s.out.Fd()))
	if err != nil || width == 0 || height == 0 {
		return 80, 24
	}
	return width, height
}

// draw shows lines. It writes only those that have changed.
func (s *screen) draw(lines []line) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.saved == nil {
		return nil
	}
	var out []byte
	if len(s.shown) != len(lines) {
		out, s.shown = append(out, clearScreen...), make([]line, len(lines))
	}
	for i, l := range lines {
		if l == s.shown[i] {
			continue
		}
		// Cleared first: in the last column, a cursor is still on what it has written.
		out = fmt.Appendf(out, "\x1b[%d;1H\x1b[2K%s", i+1, s.painter.Paint(l.colour, l.text))
		s.shown[i] = l
	}
	if len(out) == 0 {
		return nil
	}
	_, err := s.out.Write(out)
	return err
}
