package daemon

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

// template is text that is sent to clients, cut at its placeholders. Safe for concurrent use.
type template struct {
	text   string
	places [][]int // where the placeholders stand in text
	fixed  []byte  // text, when there are none
}

// facts are what the placeholders of their names are filled in with: config's, which warns of others. Only an acknowledgement has one
// more, {offset}, which is its message's.
var facts = map[string]func(dst []byte, s *session) []byte{
	"client":   func(dst []byte, s *session) []byte { return append(dst, s.source.Remote...) },
	"server":   func(dst []byte, s *session) []byte { return s.local().AppendTo(dst) },
	"listener": func(dst []byte, s *session) []byte { return append(dst, s.source.Listener...) },
	"session":  func(dst []byte, s *session) []byte { return append(dst, s.source.Session...) },
	"time":     func(dst []byte, _ *session) []byte { return time.Now().UTC().AppendFormat(dst, time.RFC3339) },
	"hostname": func(dst []byte, _ *session) []byte {
		host, _ := os.Hostname() // the kernel's; it cannot fail where /proc or uname(2) is there
		return append(dst, host...)
	},
}

// placeholder is what is filled in; all else is sent as written.
var placeholder = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`\{(?:offset|` + strings.Join(slices.Collect(maps.Keys(facts)), "|") + `)\}`)
})

// newBanner makes a template in which {offset} is no placeholder.
func newBanner(text config.Bytes) template {
	t := newAck(text)
	var places [][]int
	for _, p := range t.places {
		if t.name(p) != "offset" {
			places = append(places, p)
		}
	}
	return template{text: t.text, places: places, fixed: t.fixed}
}

// newAck makes a template of an acknowledgement.
func newAck(text config.Bytes) template {
	if text.Hex || !strings.Contains(text.Raw, "{") { // most are so short
		return fixedText(text.Raw)
	}
	return template{text: text.Raw, places: placeholder().FindAllStringIndex(text.Raw, -1)}
}

// fixedText makes a template without placeholders, whatever text says.
func fixedText(text string) template { return template{text: text, fixed: []byte(text)} }

func (t template) name(place []int) string { return t.text[place[0]+1 : place[1]-1] }

// of is the text for a session, which may be that of others too: it is not to be changed.
func (t template) of(s *session) []byte {
	if t.fixed != nil {
		return t.fixed
	}
	return t.appendTo(nil, s, 0)
}

// appendTo appends the text for a session and, where it is an acknowledgement, the offset of its message.
func (t template) appendTo(dst []byte, s *session, offset int64) []byte {
	from := 0
	for _, p := range t.places {
		dst = append(dst, t.text[from:p[0]]...)
		if name := t.name(p); name == "offset" {
			dst = strconv.AppendInt(dst, offset, 10)
		} else {
			dst = facts[name](dst, s)
		}
		from = p[1]
	}
	return append(dst, t.text[from:]...)
}

// bind fills in what does not change during a session: what is left takes no system call and no allocation.
func (t template) bind(s *session) template {
	var bound []byte
	var places [][]int
	from := 0
	for _, p := range t.places {
		bound = append(bound, t.text[from:p[0]]...)
		from = p[1]
		if name := t.name(p); name == "offset" || name == "time" {
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
	return template{text: string(append(bound, t.text[from:]...)), places: places}
}
