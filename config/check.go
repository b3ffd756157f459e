package config

import (
	"path/filepath"
	"strings"
)

// check finds what no key is to blame for alone. tables are those of the listeners, in the same order.
func (d *document) check(c *Config, top table, tables []table) {
	d.checkAddresses()
	if len(tables) == 0 && !d.failed[top.place("listener").path] {
		top.place("address").want([]any{}, "at least one address here, or a [[listener]]")
	}
	d.checkFiles(c)
	d.checkSizes(c, tables)
}

// checkFiles keeps what clients send apart from what the daemon says.
func (d *document) checkFiles(c *Config) {
	at := place{d, keyPath(keyPath("", "log"), "file"), "log.file"}
	if d.failed[at.path] || d.failed[keyPath(keyPath("", "record"), "file")] || c.Log.File == "" {
		return
	}
	if filepath.Clean(c.Log.File) == filepath.Clean(c.Record.File) {
		at.want(c.Log.File, `another file than that of record.file, or "" for the journal`)
	}
}

// A record is written in one piece, so a file must hold the longest. A byte of a message becomes up to 4 in text (\xNN) and
// up to 6 in json (\u00NN); time, address and the like take up to recordHead.
var growth = map[string]int64{"text": 4, "json": 6}

const recordHead = 1 << 10

// checkSizes finds a file too small for the longest record. It says so once, for the listener that needs most.
func (d *document) checkSizes(c *Config, tables []table) {
	if d.sizesFailed() || len(tables) == 0 {
		return
	}
	most := 0
	for i, l := range c.Listeners {
		if l.MaxMessage > c.Listeners[most].MaxMessage {
			most = i
		}
	}
	longest, times := c.Listeners[most].MaxMessage, growth[c.Record.Format]
	if longest*times+recordHead <= c.Record.MaxSize {
		return
	}
	owner := ""
	if name := tables[most].name; name != "" {
		owner = " of " + strings.TrimSuffix(name, ": ")
	}
	place{d, keyPath(keyPath("", "record"), "max_size"), "record.max_size"}.fault(
		"is %q, and with max_message = %q%s a record can be longer: want max_size %q or more, or max_message %q or less",
		formatSize(c.Record.MaxSize), formatSize(longest), owner,
		formatSize(up(longest*times+recordHead)), formatSize(down((c.Record.MaxSize-recordHead)/times)))
}

// sizesFailed reports whether a key that the sizes depend on was faulty: the default that stands for it proves nothing.
func (d *document) sizesFailed() bool {
	for path := range d.failed {
		for _, name := range []string{"max_message", "max_size", "format"} {
			if strings.HasSuffix(path, keyPath("", name)) {
				return true
			}
		}
	}
	return false
}

// up and down round to whole KiB, where there is one, for values that people can read.
func up(n int64) int64 { return (n + 1023) / 1024 * 1024 }

func down(n int64) int64 {
	if n < 1024 {
		return n
	}
	return n / 1024 * 1024
}
