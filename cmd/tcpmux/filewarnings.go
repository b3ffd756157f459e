package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"tcpmux/config"
	"tcpmux/daemon"
)

// fileWarnings returns a line for each obstacle to the files that cfg names. It only looks at
// names: it opens nothing, and ignores what it has no permission to see, because the user who
// checks need not be the daemon's.
func fileWarnings(cfg config.Config) (warnings []string) {
	type file struct{ key, path string }
	files := []file{{"record.file", cfg.Record.File}, {"log.file", cfg.Log.File}}
	for _, l := range cfg.Listeners {
		files = append(files, file{fmt.Sprintf("listener %q: file", l.Name), l.File})
	}
	for i, f := range files {
		if obstacle := fileObstacle(f.path); obstacle != "" {
			warnings = append(warnings, fmt.Sprintf("%s is %q: %s", f.key, f.path, obstacle))
		}
		if f.path == "" || f.path == config.Stdout {
			continue
		}
		for _, other := range files[:i] {
			if daemonPath(f.path) == daemonPath(other.path) {
				warnings = append(warnings, fmt.Sprintf("%s is %q, the same file as %s %q", f.key, f.path, other.key, other.path))
			}
		}
	}
	warnings = append(warnings, socketWarnings(cfg.Listeners)...)
	return append(warnings, stateWarnings(cfg.Forward)...)
}

// socketWarnings returns a line for each obstacle to the unix sockets of listeners.
func socketWarnings(listeners []config.Listener) (warnings []string) {
	for _, l := range listeners {
		for _, address := range l.Address {
			if obstacle := socketObstacle(config.UnixPath(address)); obstacle != "" {
				warnings = append(warnings, fmt.Sprintf("listener %q: address is %q: %s", l.Name, address, obstacle))
			}
		}
	}
	return warnings
}

// socketObstacle returns why no socket could be made at a path; "" if no reason is known, or there
// is no path.
func socketObstacle(path string) string {
	if path == "" {
		return ""
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() != fs.ModeSocket {
		return "there is something else of that name, which systemd would replace; without systemd the listener is not served"
	}
	dir := filepath.Dir(path)
	switch info, err := os.Stat(dir); {
	case os.IsNotExist(err):
		return fmt.Sprintf("there is no directory %q: systemd makes it; without systemd the listener is not served", dir)
	case err == nil && !info.IsDir():
		return fmt.Sprintf("%q is no directory", dir)
	}
	return ""
}

// stateWarnings returns a line if nothing is delivered, as far as is known: tcpmux-forward or its
// unit makes the directory of its state.
func stateWarnings(f config.Forward) []string {
	if !f.On() {
		return nil
	}
	if _, err := os.Stat(f.State); !os.IsNotExist(err) {
		return nil
	}
	return []string{fmt.Sprintf("forward.state is %q: there is no such directory, so tcpmux-forward has never run, and rotated files are kept until it has", f.State)}
}

// daemonPath returns the absolute path at which the daemon opens a file; "" if the working
// directory is gone.
func daemonPath(path string) string {
	// Without a working directory there is nothing to compare with or look for.
	path, _ = filepath.Abs(daemon.FilePath(path))
	return path
}

// fileObstacle returns why the daemon could not open the file at path; "" if no reason is known.
func fileObstacle(path string) string {
	at := daemonPath(path)
	if path == "" || path == config.Stdout || at == "" {
		return ""
	}
	if info, err := os.Lstat(at); err == nil {
		return kindObstacle(info.Mode())
	}
	dir := filepath.Dir(at)
	info, err := os.Lstat(dir)
	switch {
	case os.IsNotExist(err):
		return fmt.Sprintf("there is no directory %q", dir)
	case err == nil && !info.IsDir() && info.Mode()&fs.ModeSymlink == 0:
		return fmt.Sprintf("%q is no directory", dir)
	}
	return ""
}

func kindObstacle(m fs.FileMode) string {
	switch {
	case m.IsRegular():
		return ""
	case m.IsDir():
		return "there is a directory of that name, want a regular file or none"
	case m&fs.ModeSymlink != 0:
		return "there is a symbolic link of that name, want the file itself"
	}
	return "what has that name is no regular file"
}
