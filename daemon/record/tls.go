package record

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"unicode/utf8"
)

const (
	// MaxServerName is how many bytes TLS.ServerName may have: a name in DNS is shorter.
	MaxServerName = 255
	// MaxSubject is how many bytes TLS.Subject may have. The state that outlives the process
	// has room for as many, so a session's records have one subject before a restart and after
	// it.
	MaxSubject = 489
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

// tls appends what is known of the source's TLS, if there is any.
func (e *Encoder) tls(dst []byte) []byte {
	t := e.src.TLS
	switch {
	case t == nil:
		return dst
	case e.format == Text:
		return e.textTLS(dst, t)
	}
	dst = append(append(append(dst, `,"tls":{"version":"`...), t.Version...), '"')
	if t.Cipher != "" {
		dst = append(append(append(dst, `,"cipher":"`...), t.Cipher...), '"')
	}
	dst = e.member(dst, `,"sni":"`, t.ServerName)
	return append(e.member(dst, `,"subject":"`, t.Subject), '}')
}

// member appends a JSON member as appendBytes does, unless its value is empty.
func (e *Encoder) member(dst []byte, before, value string) []byte {
	if value == "" {
		return dst
	}
	e.value = append(e.value[:0], value...)
	return appendBytes(dst, before, e.value)
}

// textTLS appends t as the end of a text record.
func (e *Encoder) textTLS(dst []byte, t *TLS) []byte {
	dst = append(append(dst, " tls="...), t.Version...)
	if t.Cipher != "" {
		dst = append(append(dst, " cipher="...), t.Cipher...)
	}
	dst = e.quoted(dst, ` sni="`, t.ServerName)
	return e.quoted(dst, ` subject="`, t.Subject)
}

// quoted appends before, which ends with a quote, a value and a quote, unless the value is empty.
// What could end the quotes or a line, or drive a terminal, is escaped as in messages.
func (e *Encoder) quoted(dst []byte, before, value string) []byte {
	if value == "" {
		return dst
	}
	e.value = append(e.value[:0], value...)
	dst = append(dst, before...)
	for rest := e.value; ; {
		plain, after, more := bytes.Cut(rest, []byte(`"`))
		dst = appendEscaped(dst, plain)
		if !more {
			return append(dst, '"')
		}
		dst, rest = append(dst, `\"`...), after
	}
}
