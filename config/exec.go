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
)

const (
	maxExec   = 64 << 10 // bytes of a program's arguments: half of what Linux takes as one
	minMemory = 1 << 20
	maxMemory = 1 << 50
)

const wantExec = `the program and its arguments, such as ["/usr/local/bin/handler", "arg"]: no shell takes them apart`

// program takes a program that can be run, and its arguments; [] for none.
func program(dst *[]string) setter {
	return func(v any, at place) {
		list, ok := v.([]any)
		if !ok {
			at.want(v, wantExec)
			return
		}
		var args []string
		size := 0
		for i, item := range list {
			s, ok := item.(string)
			if !ok || strings.ContainsRune(s, 0) {
				at.item(i).fault("has %s, want %s", show(item), wantExec)
				at.doc.failed[at.path] = true
				return
			}
			args = append(args, s)
			size += len(s) + 1
		}
		if size > maxExec {
			at.fault("is %d bytes long, want %s at most", size, formatSize(maxExec))
			return
		}
		if len(args) > 0 && !runnable(args[0], at) {
			return
		}
		*dst = args
	}
}

// runnable says whether the file at path can be executed by somebody; if not, it says at the place why. Whether the daemon can
// is for the daemon to find out: it may be another user, and see other files.
func runnable(path string, at place) bool {
	fault := func(what, want string) bool {
		at.item(0).fault("begins with %s, %s: want %s", quote(path), what, want)
		at.doc.failed[at.path] = true
		return false
	}
	if !filepath.IsAbs(path) {
		return fault("which is no absolute path", "all of it, such as /usr/local/bin/handler")
	}
	if at.doc.early {
		return true
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fault("which is not there", "a program that is; under systemd it sees no /home, no /root and a /tmp of its own")
	case err != nil:
		return fault(fmt.Sprintf("which cannot be looked at (%v)", cause(err)), "one below directories that everybody may enter")
	case !info.Mode().IsRegular():
		return fault("which is no regular file", "a program")
	case info.Mode()&0o111 == 0:
		return fault("which nobody may execute", "a program, or chmod +x")
	}
	return true
}

var userForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,63}\$?$`) })

// userName takes the name of a user that there is; "" for the daemon's own.
func userName(dst *string) setter {
	return func(v any, at place) {
		s, ok := v.(string)
		if !ok || s != "" && !userForm().MatchString(s) {
			at.want(v, `the name of a user in quotes, or "" for the daemon's own`)
			return
		}
		if s != "" && !at.doc.early {
			if _, err := user.Lookup(s); err != nil {
				at.want(v, "a user that this machine has: adduser --system makes one")
				return
			}
		}
		*dst = s
	}
}

// memory takes a size, "0B" for no limit.
func memory(dst *int64) setter {
	return func(v any, at place) {
		if s, _ := v.(string); s == "0B" {
			*dst = 0
			return
		}
		size(dst, minMemory, maxMemory)(v, at)
	}
}

// settleExec gives a listener with a program what its own table does not say: no banner, as a program speaks for itself, and
// nothing recorded. At the top level record is a table.
func (t table) settleExec(l *Listener) {
	_, greets := t.values["banner"]
	if _, own := t.values["exec"]; own && len(l.Exec) > 0 && !greets {
		l.Banner = Bytes{}
	}
	if _, says := t.values["record"].(bool); !says {
		l.Record = len(l.Exec) == 0
	}
}

// checkExec finds what contradicts a program, or has no effect beside one or without one.
func (d *document) checkExec(c *Config, tables []table) {
	for i, l := range c.Listeners {
		t := tables[i]
		if len(l.Exec) == 0 {
			if !l.Record && !d.failed[t.place("exec").path] {
				t.place("record").want(false, "true, or exec: without a program clients are recorded, or nothing would be done with them")
			}
			continue
		}
		if at := t.setting("model"); l.Model != "goroutine" && !d.failed[at.path] {
			at.fault(`is %s, and exec%s runs a program for each client: want "goroutine", or exec = []`, quote(l.Model), t.origin("exec"))
		}
		t.unheeded(l)
	}
}
