// Package delivery says how far a forwarder has delivered each record file. The forwarder keeps it
// in a state file, which the retention of the daemon reads, and in a header of the messages that it
// publishes. The package promises that a state file is whole at any moment, also after a kill or a
// power failure.
package delivery

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"tcpmux/daemon/recordfile"
)

// Key names the record file at a path, and all files that it was rotated to.
type Key string

// KeyOf returns the key of the record file at a path. A relative path is below the working
// directory.
func KeyOf(path string) Key {
	if abs, err := filepath.Abs(path); err == nil { // else there is no working directory
		path = abs
	}
	sum := sha256.Sum256([]byte(path))
	return Key(hex.EncodeToString(sum[:4]))
}

// Position is a place in a record file or in one that it was rotated to. All records before it are
// delivered.
type Position struct {
	Key  Key             `json:"key"`
	Mark recordfile.Mark `json:"mark"`
	// Offset counts bytes of the uncompressed file.
	Offset int64 `json:"offset"`
}

// Cursor is a position for each record file, in no particular order, and none twice.
type Cursor []Position

// Find returns the position in the record file with the given key.
func (c Cursor) Find(key Key) (p Position, ok bool) {
	for _, p := range c {
		if p.Key == key {
			return p, true
		}
	}
	return Position{}, false
}

// With returns c with p in place of the position that has its key. It may change the elements of c.
func (c Cursor) With(p Position) Cursor {
	for i := range c {
		if c[i].Key == p.Key {
			c[i] = p
			return c
		}
	}
	return append(c, p)
}

// MaxPositions is how many positions a cursor has at most: with more, it would not fit into the
// headers of a message, for which a NATS server has 64 KiB.
const MaxPositions = 1100

// The first byte of a cursor's text.
const (
	whole = '1' // all positions, of version 1
	part  = '+' // the position of one file alone
)

// AppendTo appends the text of a whole cursor: "1", and for each position " KEY:MARK:OFFSET".
func (c Cursor) AppendTo(b []byte) []byte {
	b = append(b, whole)
	for _, p := range c {
		b = p.appendTo(append(b, ' '))
	}
	return b
}

// AppendTo appends the text of a cursor that has this position and says nothing of others: "+ ",
// and "KEY:MARK:OFFSET".
func (p Position) AppendTo(b []byte) []byte { return p.appendTo(append(b, part, ' ')) }

func (p Position) appendTo(b []byte) []byte {
	b = append(b, p.Key...)
	b = append(b, ':')
	b = append(b, p.Mark...)
	b = append(b, ':')
	return strconv.AppendInt(b, p.Offset, 10)
}

// ParseCursor parses what AppendTo has written. partial reports whether it is the text of a single
// position.
func ParseCursor(text string) (c Cursor, partial bool, err error) {
	fields := strings.Split(text, " ")
	if fields[0] != string(whole) && fields[0] != string(part) {
		return nil, false, fmt.Errorf("cursor %.40q: want it to begin with %c or %c", text, whole, part)
	}
	if partial = fields[0] == string(part); partial && len(fields) != 2 || len(fields) > 1+MaxPositions {
		return nil, false, fmt.Errorf("cursor %.40q: it has %d positions", text, len(fields)-1)
	}
	for _, f := range fields[1:] {
		p, err := parsePosition(f)
		if err != nil {
			return nil, false, fmt.Errorf("cursor %.40q: %w", text, err)
		}
		if _, twice := c.Find(p.Key); twice {
			return nil, false, fmt.Errorf("cursor %.40q: key %s is there twice", text, p.Key)
		}
		c = append(c, p)
	}
	return c, partial, nil
}

func parsePosition(s string) (p Position, err error) {
	key, rest, _ := strings.Cut(s, ":")
	mark, offset, _ := strings.Cut(rest, ":")
	p = Position{Key: Key(key), Mark: recordfile.Mark(mark)}
	p.Offset, err = strconv.ParseInt(offset, 10, 64)
	switch {
	case err != nil || p.Offset < 0 || offset != strconv.FormatInt(p.Offset, 10):
		return p, fmt.Errorf("%.60q: want an offset behind the last colon", s)
	case !isHex(key, 8):
		return p, fmt.Errorf("%.60q: want a key of 8 hexadecimal digits", s)
	case !p.Mark.Valid():
		return p, fmt.Errorf("%.60q: %w", s, errMark)
	}
	return p, nil
}

var errMark = errors.New("want the mark of a file between the colons")

func isHex(s string, n int) bool {
	return len(s) == n && strings.Trim(s, "0123456789abcdef") == ""
}
