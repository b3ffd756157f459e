package record

import (
	"crypto/sha256"
	"fmt"
	"unicode/utf8"
)

const (
	// MaxServerName is how many bytes TLS.ServerName may have: a name in DNS is shorter.
	MaxServerName = 255
	// MaxSubject is how many bytes TLS.Subject may have.
	MaxSubject = 1024
)

// Bounded returns t with names that are short enough for records. One that is not keeps its
// beginning, and ends with "…" and half of its SHA-256 in hexadecimal: so nobody gets another's
// name by making it longer.
func (t TLS) Bounded() TLS {
	t.ServerName, t.Subject = bounded(t.ServerName, MaxServerName), bounded(t.Subject, MaxSubject)
	return t
}

func bounded(name string, most int) string {
	if len(name) <= most {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	end := fmt.Sprintf("…%x", sum[:sha256.Size/2])
	n := most - len(end)
	for back := 0; back < utf8.UTFMax-1 && !utf8.RuneStart(name[n]); back++ { // no rune is halved
		n--
	}
	return name[:n] + end
}
