package daemon

import (
	"os"
	"regexp"
	"sync"
	"time"
)

// banner is a listener's greeting, cut at its placeholders.
type banner struct {
	text   string
	places [][]int // where the placeholders stand in text
}

// placeholder is what is filled in; all else is sent as written.
var placeholder = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`\{(?:client|server|listener|session|time|hostname)\}`)
})

func newBanner(text string) banner {
	return banner{text, placeholder().FindAllStringIndex(text, -1)}
}

// appendTo appends the greeting for a session.
func (b banner) appendTo(dst []byte, s *session) []byte {
	from := 0
	for _, p := range b.places {
		dst = append(append(dst, b.text[from:p[0]]...), s.fact(b.text[p[0]+1:p[1]-1])...)
		from = p[1]
	}
	return append(dst, b.text[from:]...)
}

// fact is what stands for a placeholder.
func (s *session) fact(name string) string {
	switch name {
	case "client":
		return s.source.Remote
	case "server":
		return s.local().String()
	case "listener":
		return s.source.Listener
	case "session":
		return s.source.Session
	case "time":
		return time.Now().UTC().Format(time.RFC3339)
	}
	host, _ := os.Hostname() // the kernel's; it cannot fail where /proc or uname(2) is there
	return host
}
