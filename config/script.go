package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxScriptHead is how much of a file the kernel looks at to tell what it is (BINPRM_BUF_SIZE, linux/binfmts.h).
const maxScriptHead = 256

// programDirs are where env(1) looks for what a script names: the PATH that the daemon gives a program.
var programDirs = []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}

// warnOfScript warns of a program that can be executed, as its permissions go, and that the kernel cannot start: a script without
// its interpreter. What may not be read is passed over, as who checks need not be whom the daemon runs programs as.
func warnOfScript(path string, at place) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer func() { _ = f.Close() }() // nothing was written
	head := make([]byte, maxScriptHead)
	n, err := io.ReadFull(f, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return
	}
	if trouble := scriptTrouble(head[:n]); trouble != "" {
		at.item(0).warn("begins with %s, %s", quote(path), trouble)
	}
}

// scriptTrouble says why the kernel cannot start what begins so, see execve(2); "" if nothing is known against it.
func scriptTrouble(head []byte) string {
	line, script := bytes.CutPrefix(head, []byte("#!"))
	switch {
	case len(head) == 0:
		return "which is empty: it cannot be started"
	case !script && bytes.IndexByte(head, 0) >= 0: // a program of machine code
		return ""
	case !script:
		return "which is text that does not begin with #!: want a first line such as #!/bin/sh"
	}
	line, _, _ = bytes.Cut(line, []byte("\n"))
	words := strings.FieldsFunc(string(line), func(r rune) bool { return r == ' ' || r == '\t' })
	if len(words) == 0 {
		return "a script that names no interpreter behind #!"
	}
	if trouble := interpreterTrouble(words[0]); trouble != "" {
		return trouble
	}
	if len(words) > 1 && filepath.Base(words[0]) == "env" {
		return envTrouble(words[1])
	}
	return ""
}

func interpreterTrouble(path string) string {
	info, err := os.Stat(path)
	switch {
	case strings.HasSuffix(path, "\r"):
		return fmt.Sprintf("a script whose interpreter %s ends with a carriage return: want lines that end with LF alone", quote(path))
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Sprintf("a script whose interpreter %s is not there", quote(path))
	case err == nil && (!info.Mode().IsRegular() || info.Mode()&0o111 == 0):
		return fmt.Sprintf("a script whose interpreter %s nobody may execute", quote(path))
	}
	return ""
}

// envTrouble is about what env(1) is to look for; its options and variables are passed over.
func envTrouble(name string) string {
	if strings.HasPrefix(name, "-") || strings.ContainsAny(name, "=/") {
		return ""
	}
	if strings.HasSuffix(name, "\r") {
		return interpreterTrouble(name)
	}
	for _, dir := range programDirs {
		if _, err := os.Stat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			return ""
		}
	}
	return fmt.Sprintf("a script whose interpreter %s is in no directory of the PATH that programs get", quote(name))
}
