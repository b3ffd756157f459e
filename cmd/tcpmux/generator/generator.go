// Package generator tells systemd what /etc/tcpmux.toml and its drop-ins say about addresses, so
// that they are edited in one place. It promises to write all that files without a fault ask for,
// and nothing at all if one has a fault; to block on nothing but the disk; and that no value of a
// file becomes more than the one setting that it is meant for.
package generator

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"tcpmux/config"
)

// Run writes the units for the configuration at path below dir, which is the first argument of a
// systemd.generator(7), on a machine with or without ipv6: a socket unit that systemd cannot open
// one port of opens none. A missing file asks for nothing. With an error from a file
// nothing has been written, so the shipped units stay in force; its text has a line for each fault.
// Any other error, none of which is config.ErrInvalid, comes from writing.
func Run(path, dir string, ipv6 bool) error {
	cfg, err := config.LoadEarly(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	units, err := Units(cfg, ipv6)
	if err != nil {
		return err
	}
	return write(dir, units)
}

// write makes the files in their order. The drop-in of tcpmux.socket comes last: without it nobody
// asks for the others.
func write(dir string, units []Unit) error {
	for _, u := range units {
		path := filepath.Join(dir, u.Path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("write unit: %w", err)
		}
		if err := os.WriteFile(path, []byte(u.Text), 0o644); err != nil {
			return fmt.Errorf("write unit: %w", err)
		}
	}
	return nil
}

// TellLater makes systemd report what is wrong with the configuration at path once it opens the
// port: for a fault that Tell could not log, because there is neither a journal nor a kernel log
// when a container boots.
func TellLater(path, dir string) error {
	if !plainPath().MatchString(path) {
		return fmt.Errorf("configuration %q: want a path of letters, digits, dot, dash and underscore", path)
	}
	text := head(path) + "[Socket]\n# The journal is to have the faults; the port is opened all the same.\nExecStartPre=-/usr/bin/tcpmux check --quiet --config " + path + "\n"
	return write(dir, []Unit{{mainSocket + ".d/" + dropIn, text}})
}
