package config

import (
	"os"
	"path/filepath"
	"strings"

	"tcpmux/config/document"
)

// FilePath returns the path at which the daemon has a file that the configuration names. A relative
// path is below $LOGS_DIRECTORY (systemd.exec(5)), or else below the working directory. The path is
// cleaned lexically (filepath.Clean).
func FilePath(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	dir, _, _ := strings.Cut(os.Getenv("LOGS_DIRECTORY"), ":")
	return filepath.Join(dir, path)
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
	owners := map[string]string{} // by path, the key that has it
	claim := func(at document.Place, file, key, or string) {
		if at.Failed() || file == "" || file == "-" {
			return
		}
		path := FilePath(file)
		if owner, taken := owners[path]; taken {
			at.Want(file, "another file than that of "+owner+or)
			return
		}
		owners[path] = key
	}
	claim(r.At("record", "file"), c.Record.File, "record.file", "")
	claim(r.At("log", "file"), c.Log.File, "log.file", `, or "" for the journal`)
	for i, t := range tables {
		claim(t.At("file"), c.Listeners[i].File, t.owner, "")
	}
}
