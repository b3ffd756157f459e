package config

import (
	"fmt"
	"regexp"
	"strconv"
	"sync"

	"tcpmux/config/document"
)

var (
	modeForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^0?[0-7]{3}$`) })
	modeSlip = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(?:0o)?0*([0-7]{3})$`) })
)

// meantMode returns the mode that the author of a number most likely means, "" if there is none.
func meantMode(number string) string {
	if m := modeSlip().FindStringSubmatch(number); m != nil {
		return "0" + m[1]
	}
	return ""
}

// permissions takes permission bits, in which problem finds nothing wrong: it returns what is wanted
// in their place, or "". example is a value that can be written.
func permissions(example string, problem func(bits uint64) (want string)) kind[uint32] {
	allowed := "octal permissions in quotes, such as " + strconv.Quote(example)
	read := func(v any, at place) (uint32, bool) {
		s, _ := v.(string)
		_, isNumber := v.(int64)
		switch {
		case isNumber && meantMode(at.Written(v)) != "":
			return 0, at.Want(v, fmt.Sprintf("it in quotes: %q", meantMode(at.Written(v))))
		case !modeForm().MatchString(s):
			return 0, at.Want(v, allowed)
		}
		bits, _ := strconv.ParseUint(s, 8, 32) // it has the form of one
		if want := problem(bits); want != "" {
			return 0, at.Want(v, want)
		}
		return uint32(bits), true
	}
	return kind[uint32]{allowed, read, writeMode}
}

// mode takes the permission bits of a file.
func mode() kind[uint32] {
	return permissions("0640", func(bits uint64) string {
		switch {
		case bits&0o600 != 0o600:
			return "a mode that lets the owner read and write: it begins with 06 or 07"
		case bits&0o002 != 0:
			return "a mode that does not let everyone write"
		}
		return ""
	})
}

// socketMode takes the permission bits of a unix socket.
func socketMode() kind[uint32] {
	return permissions("0660", func(bits uint64) string {
		if bits&0o222 == 0 {
			return "a mode that lets somebody write: who may not write to a socket cannot connect to it"
		}
		return ""
	})
}

func writeMode(m uint32) string { return document.QuoteTOML(fmt.Sprintf("%04o", m)) }
