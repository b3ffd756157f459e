package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tcpmux/config/document"
)

// FilePath returns the path at which the daemon has a file that the configuration names. A relative
// path is below $LOGS_DIRECTORY (systemd.exec(5)), or else below the working directory. The path is
// cleaned lexically (filepath.Clean). Stdout stays as it is.
func FilePath(path string) string {
	if path == Stdout || filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	dir, _, _ := strings.Cut(os.Getenv("LOGS_DIRECTORY"), ":")
	if path = filepath.Join(dir, path); path == Stdout {
		return "./" + path // a file of that name
	}
	return path
}

// recordsInFiles reports whether records are written to files, and not all to standard output.
func (c *Config) recordsInFiles() bool {
	return c.Record.File != Stdout || slices.ContainsFunc(c.Listeners, func(l Listener) bool { return l.File != "" })
}

// ownFile takes the path of a listener's record file, or "" for that of [record].
func ownFile() kind[string] {
	k := filePath("for that of [record]")
	read := func(v any, at place) (string, bool) {
		if v == "-" {
			return "", at.Want(v, "a file: standard output is for all records (file under [record])")
		}
		return filePath("for that of [record]").read(v, at)
	}
	return kind[string]{k.allowed, read, k.write}
}

// checkFiles reports files that are named twice: two rotating files would take each other's lines.
// tables are those of the listeners, in their order.
func (r *reader) checkFiles(c *Config, tables []table) {
	type owner struct {
		key string
		at  document.Place
	}
	owners := map[string]owner{} // by path
	claim := func(at document.Place, file, key, or string) {
		if at.Failed() || file == "" || file == "-" {
			return
		}
		path := FilePath(file)
		if other, taken := owners[path]; taken {
			key := other.key
			if other.at.Line() > 0 { // a default stands on no line
				key += fmt.Sprintf(" (%s)", other.at.Seen(at))
			}
			at.Want(file, "another file than that of "+key+or)
			return
		}
		owners[path] = owner{key, at}
	}
	claim(r.At("record", "file"), c.Record.File, "record.file", "")
	claim(r.At("log", "file"), c.Log.File, "log.file", `, or "" for the journal`)
	for i, t := range tables {
		claim(t.At("file"), c.Listeners[i].File, t.owner, "")
	}
}
