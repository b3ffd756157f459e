package document

import "strings"

// scanner finds the line of every value in a TOML text.
type scanner struct {
	text string
	pos  int // byte offset of the next byte
	line int // line of the next byte

	lines  map[string]int
	bares  map[string]string // numbers, dates and words as they are written, by path
	latin  map[string]string // the result of latinEscape, by the path of the value
	tables map[string]int    // the elements of an array of tables so far, by path
	first  map[int]int       // the line of the first definition, by that of a second one
	deep   int               // the line where the text nests more than maxDepth deep, else 0
	open   int               // the line where a value or header begins that has no end, else 0
	failed bool
}

// document scans lines until the end or the first that is not TOML.
func (s *scanner) document() {
	for table := ""; !s.failed; {
		s.blank(true)
		switch {
		case s.pos == len(s.text):
			return
		case s.peek("["):
			table = s.header()
		default:
			s.pair(table, 0)
		}
		if !s.failed && !s.atLineEnd() {
			s.failed = true
		}
	}
}

// header scans [a.b] or [[a.b]] and returns the path of the table that it opens.
func (s *scanner) header() string {
	line, closing := s.line, "]"
	s.pos++
	if s.skip("[") {
		closing = "]]"
	}
	keys := s.keys()
	if !s.expect(closing) {
		s.opened(line)
		return ""
	}
	path := ""
	for i, key := range keys {
		path = keyPath(path, key)
		if i == len(keys)-1 && closing == "]" {
			s.again(path, line)
		}
		s.note(path, line)
		if i == len(keys)-1 && closing == "]]" {
			s.tables[path]++
		}
		path = s.lastElement(path)
	}
	s.note(path, line)
	return path
}

// lastElement returns the table that a header means by the name of an array of tables: the last
// one.
func (s *scanner) lastElement(path string) string {
	if n := s.tables[path]; n > 0 {
		return itemPath(path, n-1)
	}
	return path
}

// pair scans KEY = VALUE of the given table.
func (s *scanner) pair(table string, depth int) {
	line := s.line
	path := table
	for _, key := range s.keys() {
		path = keyPath(path, key)
		s.again(path, line)
		s.note(path, line)
	}
	if s.expect("=") {
		s.blank(false)
		s.value(path, depth)
	}
}

// keys scans a dotted key and the blanks around it.
func (s *scanner) keys() []string {
	var keys []string
	for {
		s.blank(false)
		key, ok := s.key()
		if !ok {
			s.failed = true
			return nil
		}
		keys = append(keys, key)
		s.blank(false)
		if len(keys) > maxDepth {
			s.tooDeep()
			return nil
		}
		if !s.skip(".") {
			return keys
		}
	}
}

// key scans one part of a key, bare or quoted.
func (s *scanner) key() (string, bool) {
	start := s.pos
	if s.peek(`"`) || s.peek(`'`) {
		s.quoted(s.text[s.pos : s.pos+1])
		return unquote(s.text[start:s.pos])
	}
	for s.pos < len(s.text) && isBare(s.text[s.pos]) {
		s.pos++
	}
	return s.text[start:s.pos], s.pos > start
}

func isBare(c byte) bool {
	return c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

// unquote returns a quoted key without quotes and escapes, which the library decodes as a value.
func unquote(token string) (string, bool) {
	if !strings.Contains(token, `\`) && len(token) >= 2 {
		return token[1 : len(token)-1], true
	}
	values, err := decodeTOML("k=" + token)
	key, ok := values["k"].(string)
	return key, err == nil && ok
}

// value scans one value and notes what is inside it.
func (s *scanner) value(path string, depth int) {
	if depth >= maxDepth {
		s.tooDeep()
		return
	}
	start := s.pos
	switch {
	case s.peek(`"""`), s.peek(`'''`):
		s.multiline(s.text[s.pos : s.pos+3])
		s.noteLatin(path, start)
	case s.peek(`"`), s.peek(`'`):
		s.quoted(s.text[s.pos : s.pos+1])
		s.noteLatin(path, start)
	case s.skip("["):
		s.array(path, depth+1)
	case s.skip("{"):
		s.inline(path, depth+1)
	default:
		s.bare()
		s.bares[path] = strings.TrimSpace(s.text[start:s.pos])
	}
}

// array scans what follows [, up to and including ].
func (s *scanner) array(path string, depth int) {
	line := s.line
	for i := 0; !s.failed; i++ {
		s.blank(true)
		if s.skip("]") {
			return
		}
		item := itemPath(path, i)
		s.note(item, s.line)
		s.value(item, depth)
		s.blank(true)
		if !s.skip(",") {
			if !s.expect("]") {
				s.opened(line)
			}
			return
		}
	}
}

// inline scans what follows {, up to and including }. TOML 1.1 allows newlines.
func (s *scanner) inline(path string, depth int) {
	for !s.failed {
		s.blank(true)
		if s.skip("}") {
			return
		}
		s.pair(path, depth)
		s.blank(true)
		if !s.skip(",") {
			s.expect("}")
			return
		}
	}
}

// bare scans a number, date or word: all before what can end a value. A date may hold one blank.
func (s *scanner) bare() {
	n := strings.IndexAny(s.text[s.pos:], ",]}#\r\n")
	if n < 0 {
		n = len(s.text) - s.pos
	}
	s.pos += n
	s.failed = s.failed || n == 0
}

// quoted scans a string on one line.
func (s *scanner) quoted(quote string) {
	for s.pos++; s.pos < len(s.text); s.pos++ {
		switch c := s.text[s.pos]; {
		case c == quote[0]:
			s.pos++
			return
		case c == '\n':
			s.failed = true
			return
		case c == '\\' && quote == `"`:
			s.pos++
		}
	}
	s.pos, s.failed = len(s.text), true
}

// multiline scans a string in three quotes. Up to two more may precede the closing three.
func (s *scanner) multiline(quote string) {
	line := s.line
	for s.pos += 3; s.pos < len(s.text); s.pos++ {
		switch {
		case s.peek(quote):
			s.pos += 3
			for range 2 {
				s.skip(quote[:1])
			}
			return
		case s.text[s.pos] == '\n':
			s.line++
		case s.text[s.pos] == '\\' && quote == `"""` && !s.peek("\\\n"):
			s.pos++
		}
	}
	s.pos, s.failed = len(s.text), true
	s.opened(line)
}

// blank skips blanks, and with newlines set also line ends and comments.
func (s *scanner) blank(newlines bool) {
	for ; s.pos < len(s.text); s.pos++ {
		switch c := s.text[s.pos]; {
		case c == ' ' || c == '\t':
		case newlines && c == '\n':
			s.line++
		case newlines && c == '\r':
		case newlines && c == '#':
			s.comment()
		default:
			return
		}
	}
}

// comment moves to the last byte of the line.
func (s *scanner) comment() {
	n := strings.IndexByte(s.text[s.pos:], '\n')
	if n < 0 {
		n = len(s.text) - s.pos
	}
	s.pos += n - 1
}

// atLineEnd reports whether only blanks and a comment are left of the line.
func (s *scanner) atLineEnd() bool {
	s.blank(false)
	return s.pos == len(s.text) || s.peek("#") || s.peek("\n") || s.peek("\r")
}

// noteLatin notes what latinEscape finds in the string that begins at start. Single quotes have no
// escapes.
func (s *scanner) noteLatin(path string, start int) {
	if s.text[start] != '"' {
		return
	}
	if escape := latinEscape(s.text[start:s.pos]); escape != "" {
		s.latin[path] = escape
	}
}

func (s *scanner) note(path string, line int) {
	if _, ok := s.lines[path]; !ok {
		s.lines[path] = line
	}
}

// again notes a second definition of the key at path.
func (s *scanner) again(path string, line int) {
	if first, ok := s.lines[path]; ok {
		s.first[line] = first
	}
}

// opened notes where a value without an end begins. It is called for the innermost first.
func (s *scanner) opened(line int) {
	if s.open == 0 {
		s.open = line
	}
}

func (s *scanner) tooDeep() {
	if !s.failed {
		s.deep = s.line
	}
	s.failed = true
}

func (s *scanner) peek(token string) bool { return strings.HasPrefix(s.text[s.pos:], token) }

func (s *scanner) skip(token string) bool {
	if !s.peek(token) {
		return false
	}
	s.pos += len(token)
	return true
}

func (s *scanner) expect(token string) bool {
	s.failed = s.failed || !s.skip(token)
	return !s.failed
}
