package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"tcpmux/config/document"
	"tcpmux/config/fault"
	"tcpmux/config/notation"
)

// maxExec is the size of a program's arguments. Linux allows twice as much for a single one.
const maxExec = 64 << 10

// program takes a program that can be run, with its arguments.
func program() kind[[]string] {
	const allowed = "an array of a program's absolute path and its arguments, or [] for no program"
	const form = `, such as ["/usr/local/bin/handler", "arg"]: no shell splits it`
	read := func(v any, at place) ([]string, bool) {
		list, ok := v.([]any)
		if !ok {
			return nil, at.Want(v, allowed+form)
		}
		var args []string
		size := 0
		for i, item := range list {
			s, ok := item.(string)
			if !ok || strings.ContainsRune(s, 0) {
				at.Fail()
				return nil, at.Item(i).Fault("has %s, want %s", document.Show(item), allowed+form)
			}
			args = append(args, s)
			size += len(s) + 1
		}
		if size > maxExec {
			return nil, at.Fault("is %d bytes long, want at most %s", size, notation.FormatSize(maxExec))
		}
		return args, len(args) == 0 || executable(args[0], at)
	}
	return kind[[]string]{allowed, read, document.ArrayTOML}
}

// executable reports whether somebody can execute the file at path, and reports an error at the
// place if not. Whether the daemon can is known to the daemon alone: it may be another user, and
// see other files.
func executable(path string, at place) bool {
	reject := func(what, want string) bool {
		at.Fail()
		return at.Item(0).Fault("has %s, which %s: want %s", fault.Quote(path), what, want)
	}
	if !filepath.IsAbs(path) {
		return reject("is not an absolute path", "one such as /usr/local/bin/handler")
	}
	if at.reader.early {
		return true
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return reject("does not exist", "a program that exists; under systemd, the service has no /home, no /root and its own /tmp")
	case err != nil:
		return reject(fmt.Sprintf("cannot be accessed (%v)", cause(err)), "a path whose directories everyone may enter")
	case !info.Mode().IsRegular():
		return reject("is not a regular file", "a program")
	case info.Mode()&0o111 == 0:
		return reject("nobody may execute", "a program, or chmod +x")
	}
	warnOfScript(path, at.Place)
	return true
}

var userForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,63}\$?$`) })

// userName takes the name of an existing user, or "" for the daemon's own.
func userName() kind[string] {
	const allowed = `the name of a user, or "" for the daemon's user`
	read := func(v any, at place) (string, bool) {
		s, ok := v.(string)
		if !ok || s != "" && !userForm().MatchString(s) {
			return "", at.Want(v, allowed)
		}
		if s != "" && !at.reader.early {
			if _, err := user.Lookup(s); err != nil {
				return "", at.Want(v, "a user that exists; adduser --system creates one")
			}
		}
		return s, true
	}
	return kind[string]{allowed, read, document.QuoteTOML}
}
