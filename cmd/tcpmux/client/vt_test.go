package client

import (
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"
)

// vt is as much of a terminal as the screen may use: text, CR, LF, tab, cursor movements and
// clearing to the right. All else that reaches it is noted as a fault. It wraps like xterm, only
// when a character follows the last column.
type vt struct {
	mu    sync.Mutex
	width int
	rows  [][]rune
	x, y  int
	rest  []byte
	fault string
}

func (v *vt) Write(p []byte) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.rest = append(v.rest, p...)
	for len(v.rest) > 0 {
		n := v.one(v.rest)
		if n == 0 {
			break
		}
		v.rest = v.rest[n:]
	}
	return len(p), nil
}

// one obeys the first character or sequence of p and returns its length, 0 when it is not complete.
func (v *vt) one(p []byte) int {
	if p[0] == 0x1b {
		return v.sequence(p)
	}
	if !utf8.FullRune(p) {
		return 0
	}
	r, n := utf8.DecodeRune(p)
	switch {
	case r == '\r':
		v.x = 0
	case r == '\n':
		v.y++
	case r == '\t':
		v.x = v.x/8*8 + 8
	case r < 0x20 || r >= 0x7f && r < 0xa0:
		v.fault = fmt.Sprintf("control character %q", r)
	default:
		v.put(r)
	}
	return n
}

func (v *vt) sequence(p []byte) int {
	var n int
	var kind rune
	end := strings.IndexFunc(string(p), func(r rune) bool { return r >= 'A' && r <= 'Z' })
	if end < 0 {
		return 0
	}
	if _, err := fmt.Sscanf(string(p[:end+1]), "\x1b[%d%c", &n, &kind); err != nil {
		n, kind = 1, rune(p[end])
	}
	switch kind {
	case 'A':
		v.y = max(0, v.y-n)
	case 'B':
		v.y += n
	case 'C':
		v.x = min(v.width-1, v.x+n)
	case 'D':
		v.x = max(0, v.x-n)
	case 'K':
		v.row()
		v.rows[v.y] = v.rows[v.y][:v.x]
	default:
		v.fault = fmt.Sprintf("sequence %q", p[:end+1])
	}
	return end + 1
}

// row makes the cursor's row exist and reach to the cursor.
func (v *vt) row() {
	for len(v.rows) <= v.y {
		v.rows = append(v.rows, nil)
	}
	for len(v.rows[v.y]) < v.x {
		v.rows[v.y] = append(v.rows[v.y], ' ')
	}
}

func (v *vt) put(r rune) {
	columns := []rune{r}
	if r >= 0x1100 {
		columns = []rune{r, 0} // wide; good enough for what the tests write
	}
	if v.x+len(columns) > v.width {
		v.x = 0
		v.y++
	}
	v.row()
	v.rows[v.y] = append(v.rows[v.y][:v.x], append(columns, v.rows[v.y][min(len(v.rows[v.y]), v.x+len(columns)):]...)...)
	v.x += len(columns)
}

// text is what can be seen: rows without spaces at their end, and | where the cursor is.
func (v *vt) text() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.row()
	var lines []string
	for y, row := range v.rows {
		line := string(row)
		if y == v.y {
			line = string(row[:v.x]) + "|" + string(row[v.x:])
		}
		lines = append(lines, strings.TrimRight(strings.ReplaceAll(line, "\x00", ""), " "))
	}
	if v.fault != "" {
		lines = append(lines, "FAULT: "+v.fault)
	}
	return strings.Join(lines, "\n")
}
