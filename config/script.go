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

	"tcpmux/config/document"
	"tcpmux/config/fault"
)

// maxScriptHead is the size of what the kernel reads of a program to find its format
// (BINPRM_BUF_SIZE, linux/binfmts.h).
const maxScriptHead = 256

// programDirs are the PATH of programs, where env(1) looks for an interpreter.
var programDirs = []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}

// warnOfScript warns of an executable script that the kernel cannot start because its interpreter
// is missing. It ignores a file that it cannot read: the user who checks may be another than the
// one who runs the program.
func warnOfScript(path string, at document.Place) {
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
	if problem := scriptProblem(head[:n]); problem != "" {
		at.Item(0).Warn("has %s, %s", fault.Quote(path), problem)
	}
}

// scriptProblem returns why the kernel cannot start a file with this beginning, see execve(2). It
// returns "" when it knows no reason.
func scriptProblem(head []byte) string {
	line, script := bytes.CutPrefix(head, []byte("#!"))
	switch {
	case len(head) == 0:
		return "which is empty: want a program"
	case !script && bytes.IndexByte(head, 0) >= 0: // a program of machine code
		return ""
	case !script:
		return "which is text that does not begin with #!: want a first line such as #!/bin/sh"
	}
	line, _, _ = bytes.Cut(line, []byte("\n")) // the whole text if it has no line end
	words := strings.FieldsFunc(string(line), func(r rune) bool { return r == ' ' || r == '\t' })
	if len(words) == 0 {
		return "a script without an interpreter after #!"
	}
	if problem := interpreterProblem(words[0]); problem != "" {
		return problem
	}
	if len(words) > 1 && filepath.Base(words[0]) == "env" {
		return envProblem(words[1])
	}
	return ""
}

func interpreterProblem(path string) string {
	info, err := os.Stat(path)
	switch {
	case strings.HasSuffix(path, "\r"):
		return fmt.Sprintf("a script whose interpreter %s ends with a carriage return: want lines that end with LF only", fault.Quote(path))
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Sprintf("a script whose interpreter %s does not exist", fault.Quote(path))
	case err == nil && (!info.Mode().IsRegular() || info.Mode()&0o111 == 0):
		return fmt.Sprintf("a script whose interpreter %s nobody may execute", fault.Quote(path))
	}
	return ""
}

// envProblem is interpreterProblem for the argument of env(1). It ignores options and variables.
func envProblem(name string) string {
	if strings.HasPrefix(name, "-") || strings.ContainsAny(name, "=/") {
		return ""
	}
	if strings.HasSuffix(name, "\r") {
		return interpreterProblem(name)
	}
	for _, dir := range programDirs {
		if _, err := os.Stat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			return ""
		}
	}
	return fmt.Sprintf("a script whose interpreter %s is not in the PATH of programs", fault.Quote(name))
}
