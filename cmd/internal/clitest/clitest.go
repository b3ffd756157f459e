// Package clitest runs the built programs of this project for their tests: in a pipe or at a pseudo
// terminal, against servers that the test plays.
package clitest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Patience is how long a test waits for what must come, and how long its connections may live. It
// is long because a machine may be busy; only a failing test waits that long.
const Patience = 5 * time.Minute

// Version is what the programs that Build built call themselves.
const Version = "1.2.3"

// Build builds the command in the directory pkg into dir, as "make build" does, with which it
// shares what is compiled, and returns the path of the program. The linker gets flags too.
func Build(dir, pkg string, flags ...string) (string, error) {
	abs, err := filepath.Abs(pkg)
	if err != nil {
		return "", err
	}
	program := filepath.Join(dir, filepath.Base(abs))
	flags = append(flags, "-X tcpmux/cmd/internal/cli.version="+Version)
	cmd := exec.Command("go", "build", "-tags", "nethttpomithttp2", "-trimpath", "-buildvcs=false", "-ldflags", strings.Join(flags, " "), "-o", program, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
	}
	return program, nil
}

// Program returns a program that the end of the test kills. Its standard input is empty.
func Program(t *testing.T, path string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.WaitDelay = Patience
	return cmd
}

// Outcome runs cmd to its end.
func Outcome(t *testing.T, cmd *exec.Cmd) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// Listen serves every connection on a free port of 127.0.0.1.
func Listen(t *testing.T, serve func(*net.TCPConn)) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() {
		_ = ln.Close() // nothing was written
		serving.Wait()
	})
	serving.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				serve(conn.(*net.TCPConn))
			})
		}
	})
	return ln.Addr().String()
}

// Refused returns an address where nobody listens.
func Refused(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// Contains reports an error unless part is in got. An empty part wants an empty got.
func Contains(t *testing.T, what, got, part string) {
	t.Helper()
	if (got == "") != (part == "") || !strings.Contains(got, part) {
		t.Errorf("%s: got %q, want %q in it", what, got, part)
	}
}
