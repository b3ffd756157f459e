package session

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"tcpmux/config"
)

// Template is text that is sent to clients, cut at its placeholders. The zero value is empty. Safe
// for concurrent use.
type Template struct {
	text   string
	places [][]int // where the placeholders stand in text
	fixed  []byte  // MuxReply and text, when there are none
}

// facts are what the placeholders of their names are filled in with: config's, which warns of
// others. Only an acknowledgement has more, which are its message's.
var facts = map[string]func(dst []byte, s *Session) []byte{
	"client":   func(dst []byte, s *Session) []byte { return append(dst, s.Source.Remote...) },
	"server":   func(dst []byte, s *Session) []byte { return s.Conn.LocalAddr().AppendTo(dst) },
	"listener": func(dst []byte, s *Session) []byte { return append(dst, s.Source.Listener...) },
	"session":  func(dst []byte, s *Session) []byte { return append(dst, s.Source.Session...) },
	"time":     func(dst []byte, _ *Session) []byte { return time.Now().UTC().AppendFormat(dst, time.RFC3339) },
	"hostname": func(dst []byte, _ *Session) []byte {
		// The kernel's; it cannot fail where /proc or uname(2) is there.
		host, _ := os.Hostname()
		return append(dst, host...)
	},
}

// ofMessage are the placeholders that an acknowledgement fills in for each message.
var ofMessage = map[string]func(dst []byte, m extent) []byte{
	"offset": func(dst []byte, m extent) []byte { return strconv.AppendInt(dst, m.offset, 10) },
	"length": func(dst []byte, m extent) []byte { return strconv.AppendInt(dst, m.length, 10) },
}

// extent is where in the stream a message is, framing included.
type extent struct{ offset, length int64 }

// placeholder is what is filled in; all else is sent as written.
var placeholder = sync.OnceValue(func() *regexp.Regexp {
	names := append(slices.Collect(maps.Keys(facts)), slices.Collect(maps.Keys(ofMessage))...)
	return regexp.MustCompile(`\{(?:` + strings.Join(names, "|") + `)\}`)
})

// NewBanner returns a template in which those of messages are no placeholders.
func NewBanner(text config.Bytes) Template {
	t := NewAck(text)
	var places [][]int
	for _, p := range t.places {
		if ofMessage[t.name(p)] == nil {
			places = append(places, p)
		}
	}
	return Template{text: t.text, places: places, fixed: t.fixed}
}

// NewAck returns the template of an acknowledgement.
func NewAck(text config.Bytes) Template {
	if text.Hex || !strings.Contains(text.Raw, "{") { // most are so short
		return FixedText(text.Raw)
	}
	return Template{text: text.Raw, places: placeholder().FindAllStringIndex(text.Raw, -1)}
}

// FixedText returns a template without placeholders, whatever text says.
func FixedText(text string) Template {
	return Template{text: text, fixed: []byte(MuxReply + text)}
}

func (t Template) name(place []int) string { return t.text[place[0]+1 : place[1]-1] }

// Text returns the text with its placeholders.
func (t Template) Text() string { return t.text }

// Empty reports whether there is nothing to send.
func (t Template) Empty() bool { return t.text == "" }

// For returns the text for a session, which others may share: it is not to be changed.
func (t Template) For(s *Session) []byte {
	if t.fixed != nil {
		return t.fixed[len(MuxReply):]
	}
	return t.appendTo(nil, s, extent{})
}

// BehindReply is For, but the text stands behind MuxReply.
func (t Template) BehindReply(s *Session) []byte {
	if t.fixed != nil {
		return t.fixed
	}
	return t.appendTo([]byte(MuxReply), s, extent{})
}

// appendTo appends the text for a session and, where it is an acknowledgement, for a message.
func (t Template) appendTo(dst []byte, s *Session, m extent) []byte {
	from := 0
	for _, p := range t.places {
		dst = append(dst, t.text[from:p[0]]...)
		if name := t.name(p); ofMessage[name] != nil {
			dst = ofMessage[name](dst, m)
		} else {
			dst = facts[name](dst, s)
		}
		from = p[1]
	}
	return append(dst, t.text[from:]...)
}

// Bind fills in what does not change during a session: what is left takes no system call and no
// allocation.
func (t Template) Bind(s *Session) Template {
	var bound []byte
	var places [][]int
	from := 0
	for _, p := range t.places {
		bound = append(bound, t.text[from:p[0]]...)
		from = p[1]
		if name := t.name(p); ofMessage[name] != nil || name == "time" {
			start := len(bound)
			bound = append(bound, t.text[p[0]:p[1]]...)
			places = append(places, []int{start, len(bound)})
		} else {
			bound = facts[name](bound, s)
		}
	}
	if len(places) == len(t.places) {
		return t
	}
	return Template{text: string(append(bound, t.text[from:]...)), places: places}
}
