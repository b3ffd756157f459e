package top

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"tcpmux/cmd/internal/text"
)

// Keys with a name. Any other key is the character that it types.
const (
	keyUp, keyDown           = "up", "down"
	keyPageUp, keyPageDown   = "page up", "page down"
	keyHome, keyEnd          = "home", "end"
	keyEscape, keyEnter      = "escape", "enter"
	keyBackspace             = "backspace"
	keyInterrupt, keySuspend = "interrupt", "suspend"
	keyRedraw                = "redraw"
)

// sequences are what terminals send for keys (xterm's and the Linux console's).
var sequences = map[string]string{
	"\x1b[A": keyUp, "\x1bOA": keyUp, "\x1b[B": keyDown, "\x1bOB": keyDown,
	"\x1b[5~": keyPageUp, "\x1b[6~": keyPageDown,
	"\x1b[H": keyHome, "\x1bOH": keyHome, "\x1b[1~": keyHome, "\x1b[F": keyEnd, "\x1bOF": keyEnd, "\x1b[4~": keyEnd,
	"\r": keyEnter, "\n": keyEnter, "\x7f": keyBackspace, "\b": keyBackspace,
	"\x03": keyInterrupt, "\x04": "q", "\x1a": keySuspend, "\x0c": keyRedraw,
}

// nextKey returns the first key in what was read, and what follows it. The key is "" if it has no
// meaning. An Escape that nothing follows is the key itself.
func nextKey(in []byte) (key string, rest []byte) {
	n := 1
	switch {
	case in[0] == 0x1b && len(in) > 1 && (in[1] == '[' || in[1] == 'O'):
		n = sequenceLen(in)
	case in[0] == 0x1b:
		return keyEscape, in[1:]
	case in[0] >= 0x80:
		_, n = utf8.DecodeRune(in)
	}
	if name, ok := sequences[string(in[:n])]; ok {
		return name, in[n:]
	}
	if in[0] < 0x20 || in[0] == 0x7f {
		return "", in[n:]
	}
	return string(in[:n]), in[n:]
}

// sequenceLen returns the length of a control sequence: ESC [ or ESC O, and all up to its final
// byte (ECMA-48, 5.4).
func sequenceLen(in []byte) int {
	for i := 2; i < len(in); i++ {
		if in[i] >= 0x40 && in[i] <= 0x7e {
			return i + 1
		}
	}
	return len(in)
}

// action is what a key asks of the program around the model.
type action uint8

const (
	nothing action = iota
	ask            // the daemon, at once
	kill           // the victim
	quit
	interrupt
	suspend
	redraw
)

// key changes what is shown.
func (m *model) key(k string) action {
	switch k {
	case keyInterrupt:
		return interrupt
	case keySuspend:
		return suspend
	case keyRedraw:
		return redraw
	}
	m.message = ""
	switch m.mode {
	case inFilter:
		return m.filterKey(k)
	case inConfirm:
		m.mode = m.back
		if k == "y" || k == "Y" {
			return kill
		}
		m.message = "not killed"
		return nothing
	case inHelp:
		m.mode = inList
		return quitBy(k, "q")
	case inDetail:
		return m.detailKey(k)
	}
	return m.listKey(k)
}

// quitBy returns quit for one key and nothing for others.
func quitBy(k, key string) action {
	if k == key {
		return quit
	}
	return nothing
}

func (m *model) filterKey(k string) action {
	switch k {
	case keyEscape:
		m.mode = inList
	case keyEnter:
		m.mode, m.filter, m.first = inList, strings.TrimSpace(m.typed), 0
		m.arrange()
		return ask
	case keyBackspace:
		_, n := utf8.DecodeLastRuneInString(m.typed)
		m.typed = m.typed[:len(m.typed)-n]
	default:
		if utf8.RuneCountInString(k) == 1 && len(m.typed) < 64 {
			m.typed += k
		}
	}
	return nothing
}

func (m *model) detailKey(k string) action {
	switch k {
	case "K":
		m.confirm()
	case keyEscape, keyEnter, keyBackspace:
		m.mode = inList
	}
	return quitBy(k, "q")
}

func (m *model) listKey(k string) action {
	switch k {
	case "s", "S":
		step := 1
		if k == "S" {
			step = len(orders) - 1
		}
		m.order, m.reversed, m.first = (m.order+step)%len(orders), false, 0
		m.arrange()
		return ask
	case "r":
		m.reversed, m.first = !m.reversed, 0
		m.arrange()
		return ask
	case "/":
		m.mode, m.typed = inFilter, m.filter
	case keyEscape:
		if m.filter != "" {
			m.filter, m.first = "", 0
			m.arrange()
			return ask
		}
		m.selected = ""
	case keyEnter:
		if m.need() {
			m.mode = inDetail
			return ask
		}
	case "K":
		if m.need() {
			m.confirm()
		}
	case "p", " ":
		m.paused = !m.paused
	case "h", "?":
		m.mode = inHelp
	default:
		m.move(k)
	}
	return quitBy(k, "q")
}

// need reports whether a session is selected, and says how to select one if none is.
func (m *model) need() bool {
	if m.index() >= 0 {
		return true
	}
	m.message = "select a session first, with the arrow keys"
	return false
}

// confirm asks whether to kill the selected session.
func (m *model) confirm() { m.mode, m.back, m.victim = inConfirm, m.mode, m.selected }

// move moves the selection.
func (m *model) move(k string) {
	at, page := m.index(), max(1, m.rows)
	switch k {
	case keyUp, "k":
		at--
	case keyDown, "j":
		at++
	case keyPageUp:
		at -= page
	case keyPageDown:
		at += page
	case keyHome, "g":
		at = 0
	case keyEnd, "G":
		at = len(m.list) - 1
	default:
		return
	}
	if len(m.list) > 0 {
		m.selected = m.list[min(len(m.list)-1, max(0, at))].ID
	}
}

// killed takes the result of a kill.
func (m *model) killed(id string, n int, err error) {
	switch {
	case err != nil:
		m.message = "not killed: " + err.Error()
	default:
		m.message = fmt.Sprintf("killed %s (%s)", text.Number(int64(n), "session"), id)
	}
}
